use super::*;

/// What `WIRE-PYTHON` replaces the random bytes by.
fn counted<const N: usize>() -> [u8; N] {
    std::array::from_fn(|n| n as u8)
}

/// `#CHALLENGE#` and the modern challenge with counted bytes.
fn modern() -> Vec<u8> {
    [b"#CHALLENGE#{sha256}".as_slice(), &counted::<40>()].concat()
}

fn legacy() -> Vec<u8> {
    [b"#CHALLENGE#".as_slice(), &counted::<20>()].concat()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A handshake whose own challenge nobody else in these tests has: `nonce` is its first byte.
fn side(side: Side, key: &str, nonce: u8) -> Authenticator {
    let mut bytes = [0xa5; 40];
    bytes[0] = nonce;
    bytes[1] = side as u8;
    Authenticator::new(key.into(), Rules::default(), Challenge::from_nonce(side, bytes))
}

/// Lets both talk until neither has anything to say: each side's outcome.
fn talk(server: &mut Authenticator, client: &mut Authenticator) -> [Result<(), AuthFailure>; 2] {
    let mut outcomes = [Ok(()), Ok(())];
    loop {
        let mut silent = true;
        while let Some(message) = server.poll_transmit() {
            silent = false;
            outcomes[1] = outcomes[1].and(client.handle_message(&message));
        }
        while let Some(message) = client.poll_transmit() {
            silent = false;
            outcomes[0] = outcomes[0].and(server.handle_message(&message));
        }
        if silent {
            return outcomes;
        }
    }
}

// VECTORS

#[test]
fn a_legacy_challenge_is_answered_as_the_vector_says() {
    assert_eq!(legacy(), bytes("234348414c4c454e474523 000102030405060708090a0b0c0d0e0f10111213"));
    let mut client = side(Side::Client, "secret", 1);
    client.handle_message(&legacy()).unwrap();
    assert_eq!(client.poll_transmit().unwrap(), bytes("7defa9cc46abc3583325d17ccda75190"));
}

#[test]
fn a_modern_challenge_is_made_as_the_vector_says() {
    let challenge = Challenge::from_nonce(Side::Server, counted());
    let mut server = Authenticator::new("secret".into(), Rules::default(), challenge);
    let vector = "234348414c4c454e474523 7b7368613235367d \
        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627";
    assert_eq!(server.poll_transmit().unwrap(), bytes(vector));
    assert_eq!(server.poll_transmit(), None);
}

#[test]
fn a_modern_challenge_is_answered_as_the_vector_says() {
    let mut client = side(Side::Client, "secret", 2);
    client.handle_message(&modern()).unwrap();
    let vector = "7b7368613235367d fc57fbe650d6124b98215e7b5d197d5807ad69982d275a9735ea2d56f1fa6989";
    assert_eq!(client.poll_transmit().unwrap(), bytes(vector));
}

#[test]
fn the_md5_answer_of_an_old_client_is_that_of_the_vector() {
    let key = AuthKey::from("secret");
    let (challenge, response) = (&modern()[11..], bytes("8e48d2bb349b4b72b9382999ed5b62eb"));
    assert_eq!(verify(&key, Rules::default(), challenge, &response), Ok(()));
    assert_eq!(verify(&key, Rules { refuse_md5: true }, challenge, &response), Err(AuthFailure::Md5Refused));
}

#[test]
fn verdicts_are_those_of_the_vectors() {
    let mut server = side(Side::Server, "secret", 3);
    let challenge = server.poll_transmit().unwrap();
    let response = respond(Side::Client, &"secret".into(), Rules::default(), &challenge[11..]).unwrap();
    server.handle_message(&response).unwrap();
    assert_eq!(server.poll_transmit().unwrap(), bytes("2357454c434f4d4523"));

    let mut server = side(Side::Server, "secret", 4);
    server.poll_transmit().unwrap();
    assert_eq!(server.handle_message(&[0; 16]), Err(AuthFailure::WrongKey));
    assert_eq!(server.poll_transmit().unwrap(), bytes("234641494c55524523"));
}

// BOTH SIDES

#[test]
fn who_holds_the_key_gets_through() {
    let (mut server, mut client) = (side(Side::Server, "k", 5), side(Side::Client, "k", 5));
    assert_eq!(talk(&mut server, &mut client), [Ok(()), Ok(())]);
    assert!(server.is_done() && client.is_done());
}

#[test]
fn who_does_not_hold_the_key_learns_it_and_does_not_get_through() {
    let (mut server, mut client) = (side(Side::Server, "k", 6), side(Side::Client, "other", 6));
    let outcomes = talk(&mut server, &mut client);
    assert_eq!(outcomes, [Err(AuthFailure::WrongKey), Err(AuthFailure::Rejected)]);
    assert!(!server.is_done() && !client.is_done());
}

#[test]
fn a_server_without_the_key_does_not_get_a_client_either() {
    // It welcomes whatever the client answers, and then cannot answer itself.
    let mut client = side(Side::Client, "k", 7);
    client.handle_message(&modern()).unwrap();
    client.handle_message(WELCOME).unwrap();
    client.poll_transmit().unwrap();
    let challenge = client.poll_transmit().unwrap();
    let answer = respond(Side::Server, &"guess".into(), Rules::default(), &challenge[11..]).unwrap();
    assert_eq!(client.handle_message(&answer), Err(AuthFailure::WrongKey));
    assert_eq!(client.poll_transmit().unwrap(), FAILURE);
    assert!(!client.is_done());
}

#[test]
fn every_digest_is_taken_and_made() {
    let key = AuthKey::from("k");
    for digest in Digest::ALL {
        let name = format!("{{{}}}", digest.name());
        let challenge = [name.as_bytes(), &[3; 40]].concat();
        let response = respond(Side::Client, &key, Rules::default(), &challenge).unwrap();
        assert!(response.starts_with(name.as_bytes()));
        // As an answer to a challenge that asks for another digest.
        let asked = [b"{sha256}".as_slice(), &[4; 40]].concat();
        let response = [name.as_bytes(), &digest.hmac(&key, &asked)].concat();
        assert_eq!(verify(&key, Rules::default(), &asked, &response), Ok(()), "{name}");
    }
}

#[test]
fn md5_is_refused_in_each_of_its_forms_if_asked_for() {
    let rules = Rules { refuse_md5: true };
    let key = AuthKey::from("k");
    let named = [b"{md5}".as_slice(), &[3; 40]].concat();
    for challenge in [&named, &[3; 20].to_vec()] {
        assert_eq!(respond(Side::Client, &key, rules, challenge), Err(AuthFailure::Md5Refused));
        assert!(respond(Side::Client, &key, Rules::default(), challenge).is_ok());
    }
    let answer = [b"{md5}".as_slice(), &Digest::Md5.hmac(&key, b"x")].concat();
    assert_eq!(verify(&key, rules, b"x", &answer), Err(AuthFailure::Md5Refused));
    assert_eq!(verify(&key, Rules::default(), b"x", &answer), Ok(()));
}

// BAD INPUT

#[test]
fn a_challenge_is_not_answered_by_the_side_that_sent_it() {
    let key = AuthKey::from("k");
    let challenge = Challenge::from_nonce(Side::Client, [9; 40]);
    let sent = challenge.as_bytes().to_vec();
    let relabelled = [b"{sha384}".as_slice(), &[9; 40]].concat();
    for challenge in [&sent, &relabelled] {
        let refused = respond(Side::Client, &key, Rules::default(), challenge);
        assert_eq!(refused, Err(AuthFailure::Reflected));
        // A program may connect to itself.
        assert!(respond(Side::Server, &key, Rules::default(), challenge).is_ok());
    }
    drop(challenge);
    assert!(respond(Side::Client, &key, Rules::default(), &sent).is_ok());
}

#[test]
fn two_clients_of_one_process_do_not_answer_each_other() {
    // A rogue server with two clients, and no key.
    let (mut victim, mut oracle) = (side(Side::Client, "k", 10), side(Side::Client, "k", 11));
    victim.handle_message(&modern()).unwrap();
    victim.handle_message(WELCOME).unwrap();
    victim.poll_transmit().unwrap();
    let challenge = victim.poll_transmit().unwrap();
    assert_eq!(oracle.handle_message(&challenge), Err(AuthFailure::Reflected));
    assert_eq!(oracle.poll_transmit(), None);
}

#[test]
fn a_server_does_not_answer_its_own_challenge_to_another_peer() {
    let (mut victim, mut oracle) = (side(Side::Server, "k", 12), side(Side::Server, "k", 13));
    let challenge = victim.poll_transmit().unwrap();
    // The peer of the oracle is honest so far.
    let mut honest = side(Side::Client, "k", 14);
    honest.handle_message(&oracle.poll_transmit().unwrap()).unwrap();
    oracle.handle_message(&honest.poll_transmit().unwrap()).unwrap();
    assert_eq!(oracle.handle_message(&challenge), Err(AuthFailure::Reflected));
}

#[test]
fn a_message_out_of_turn_ends_the_handshake() {
    let unexpected = |authenticator: &mut Authenticator, message: &[u8]| {
        let failure = authenticator.handle_message(message).unwrap_err();
        assert!(matches!(failure, AuthFailure::Unexpected { .. }), "{failure}");
        // Nothing helps any more.
        assert!(authenticator.handle_message(&modern()).is_err());
        assert!(!authenticator.is_done());
    };
    // A verdict before the challenge.
    for verdict in [WELCOME, FAILURE, b"", b"#CHALLENGE", b"#challenge#00000000000000000000"] {
        unexpected(&mut side(Side::Client, "k", 15), verdict);
    }
    // A challenge, or half a verdict, in the place of the verdict.
    for message in [&modern()[..], b"#WELCOME", b"#WELCOME##", b""] {
        let mut client = side(Side::Client, "k", 16);
        client.handle_message(&modern()).unwrap();
        unexpected(&mut client, message);
    }
    // The client's verdict, before its challenge.
    let (mut server, mut client) = (side(Side::Server, "k", 17), side(Side::Client, "k", 17));
    client.handle_message(&server.poll_transmit().unwrap()).unwrap();
    server.handle_message(&client.poll_transmit().unwrap()).unwrap();
    unexpected(&mut server, WELCOME);
    // Anything after the end.
    let (mut server, mut client) = (side(Side::Server, "k", 18), side(Side::Client, "k", 18));
    assert_eq!(talk(&mut server, &mut client), [Ok(()), Ok(())]);
    unexpected(&mut client, WELCOME);
}

#[test]
fn a_verdict_does_not_stand_for_a_response() {
    for message in [WELCOME, FAILURE, b"", &modern()] {
        let mut server = side(Side::Server, "k", 19);
        server.poll_transmit().unwrap();
        assert!(server.handle_message(message).is_err());
        assert_eq!(server.poll_transmit().unwrap(), FAILURE);
        assert!(!server.is_done());
    }
}

#[test]
fn challenges_that_name_no_digest_are_refused() {
    let key = AuthKey::from("k");
    let refused = |challenge: &[u8]| respond(Side::Client, &key, Rules::default(), challenge).unwrap_err();
    assert_eq!(refused(&[0; 19]), AuthFailure::ShortChallenge { len: 19 });
    assert_eq!(refused(&[0; 33]), AuthFailure::UnknownDigest { len: 33 });
    for name in ["{sha1}", "{}", "{sha256", "sha256}", "{SHA256}", "{sha3_256 }", "{0123456789}", "}{sha256}"]
    {
        let challenge = [name.as_bytes(), &[3; 40]].concat();
        assert_eq!(refused(&challenge), AuthFailure::UnknownDigest { len: challenge.len() }, "{name}");
    }
}

#[test]
fn a_response_of_another_length_is_wrong() {
    let (key, challenge) = (AuthKey::from("k"), [7; 48]);
    let right = [b"{sha256}".as_slice(), &Digest::Sha256.hmac(&key, &challenge)].concat();
    let judge = |response: &[u8]| verify(&key, Rules::default(), &challenge, response);
    assert_eq!(judge(&right), Ok(()));
    assert_eq!(judge(&right[..39]), Err(AuthFailure::WrongKey));
    assert_eq!(judge(&[&right[..], &[0]].concat()), Err(AuthFailure::WrongKey));
    assert_eq!(judge(b"{sha256}"), Err(AuthFailure::WrongKey));
    assert_eq!(judge(&[&b"{sha384}"[..], &right[8..]].concat()), Err(AuthFailure::WrongKey));
    assert_eq!(judge(b""), Err(AuthFailure::UnknownDigest { len: 0 }));
}

#[test]
fn a_key_is_made_from_bytes_and_text_and_not_shown() {
    let same: [AuthKey; 6] = [
        b"key".into(),
        b"key".as_slice().into(),
        "key".into(),
        String::from("key").into(),
        b"key".to_vec().into(),
        Some(b"key".as_slice()).into(),
    ];
    for key in &same {
        assert_eq!((key.bytes(), key.is_none()), (b"key".as_slice(), false));
        assert_eq!(format!("{key:?}"), "AuthKey(..)");
    }
    assert!(AuthKey::from(None).is_none() && AuthKey::default().is_none() && AuthKey::none().is_none());
    assert_eq!(format!("{:?}", side(Side::Server, "visible", 20)).find("visible"), None);
}
