use super::*;

fn hello() -> Hello {
    Hello {
        protocol: wire::PROTOCOL,
        codec: CODEC_ID,
        target: own_target(),
        build: executor_core::build_id(),
        hash: [3; 32],
        size: 1 << 33,
        frame_limit: 1 << 20,
        heartbeat_ms: 2000,
    }
}

fn encoded(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    hello.encode(&mut out);
    out.split_off(wire::LENGTH)
}

#[test]
fn a_hello_arrives_as_it_was_sent() {
    assert_eq!(Hello::decode(&encoded(&hello())), Ok(Ok(hello())));
}

#[test]
fn answers_arrive_as_they_were_sent() {
    let refused = Refusal { reason: Reason::Executable, text: "the disk is full".to_owned() };
    let answers =
        [Answer::Welcome { slots: 7, frame_limit: 99 }, Answer::SendExecutable, Answer::Refused(refused)];
    for answer in answers {
        let mut out = Vec::new();
        answer.encode(&mut out);
        assert_eq!(out[..4], ((out.len() - 4) as u32).to_le_bytes());
        assert_eq!(Answer::decode(&out[4..]), Ok(answer));
    }
}

#[test]
fn another_protocol_codec_or_target_is_refused_with_what_we_are() {
    let others = [
        Hello { protocol: 99, ..hello() },
        Hello { codec: 9, ..hello() },
        Hello { target: "sparc-plan9-32".to_owned(), ..hello() },
    ];
    for other in others {
        let refusal = Hello::decode(&encoded(&other)).unwrap().unwrap_err();
        assert_eq!(refusal.reason, Reason::Build);
        let TaskError::BuildMismatch { ours, theirs, .. } = refusal.into_error("host:1") else {
            panic!("a build mismatch");
        };
        let version = format!("protocol {}", executor_core::wire::PROTOCOL);
        assert!(ours.contains(&version), "{ours}");
        assert!(theirs.contains("host:1"), "{theirs}");
    }
}

#[test]
fn a_hello_of_another_version_may_be_longer_or_shorter_behind_its_target() {
    let whole = encoded(&Hello { protocol: 98, ..hello() });
    let head = 8 + own_target().len();
    assert!(Hello::decode(&whole[..head]).unwrap().is_err());
}

#[test]
fn truncated_greetings_are_errors() {
    let whole = encoded(&hello());
    for len in 0..whole.len() {
        assert!(Hello::decode(&whole[..len]).is_err(), "{len} bytes");
        assert!(Answer::decode(&whole[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_long_refusal_is_cut_at_a_character() {
    let refusal = Refusal { reason: Reason::Busy, text: "ü".repeat(5000) };
    let mut out = Vec::new();
    Answer::Refused(refusal).encode(&mut out);
    assert!(out.len() < GREETING_LIMIT);
    assert!(matches!(Answer::decode(&out[4..]), Ok(Answer::Refused(_))));
}
