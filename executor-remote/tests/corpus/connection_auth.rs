//! What the fuzzer does with what a peer says in a handshake; also what the ordinary tests do with the corpus.

use executor_remote::connection::auth::{AuthKey, Authenticator, Challenge, Rules, Side};

const KEY: &str = "secret";

/// The first byte chooses the side and its rules. Then each byte is an act of the peer: what it says.
pub fn run(input: &[u8]) {
    let Some((&settings, mut acts)) = input.split_first() else { return };
    let side = if settings & 1 == 0 { Side::Server } else { Side::Client };
    let rules = Rules { refuse_md5: settings & 2 != 0 };
    let mut ours = Authenticator::new(AuthKey::from(KEY), rules, challenge(side, settings));
    // An honest peer, of whom the fuzzer has as much as it likes.
    let other = if side == Side::Server { Side::Client } else { Side::Server };
    let theirs_rules = Rules { refuse_md5: settings & 4 != 0 };
    let mut theirs = Authenticator::new(AuthKey::from(KEY), theirs_rules, challenge(other, settings));

    let mut said_by_us: Vec<Vec<u8>> = Vec::new();
    let mut proven = false;
    while let Some((&act, rest)) = acts.split_first() {
        acts = rest;
        drain(&mut ours, &mut said_by_us);
        let message = match act {
            // What the honest peer says to all that we have said.
            0 => {
                for message in said_by_us.drain(..) {
                    let _ = theirs.handle_message(&message);
                }
                let Some(message) = theirs.poll_transmit() else { continue };
                proven |= message.len() == 40 || message.len() == 16;
                message
            }
            1 => b"#WELCOME#".to_vec(),
            2 => b"#FAILURE#".to_vec(),
            // Our own words.
            3 => said_by_us.last().cloned().unwrap_or_default(),
            4 => [b"#CHALLENGE#", take(&mut acts)].concat(),
            _ => take(&mut acts).to_vec(),
        };
        let was_done = ours.is_done();
        let handled = ours.handle_message(&message);
        assert!(!was_done || handled.is_err(), "a handshake that is over takes nothing");
        if handled.is_err() {
            assert!(!ours.is_done());
            drain(&mut ours, &mut said_by_us);
            assert!(ours.handle_message(b"#WELCOME#").is_err(), "it goes on after an error");
            assert!(ours.poll_transmit().is_none());
            return;
        }
        assert!(!ours.is_done() || proven, "somebody got through without the key");
    }
}

fn drain(ours: &mut Authenticator, said: &mut Vec<Vec<u8>>) {
    while let Some(message) = ours.poll_transmit() {
        assert!(message.len() <= 256 && said.len() < 8);
        said.push(message);
    }
}

/// A length and as many bytes, or what there is.
fn take<'a>(acts: &mut &'a [u8]) -> &'a [u8] {
    let Some((&len, rest)) = acts.split_first() else { return &[] };
    let (taken, rest) = rest.split_at(usize::from(len).min(rest.len()));
    *acts = rest;
    taken
}

fn challenge(side: Side, settings: u8) -> Challenge {
    // The tests of a process run at the same time, and a challenge is there once.
    let mut nonce = [settings; 40];
    let thread = format!("{:?}", std::thread::current().id());
    nonce[..thread.len().min(40)].copy_from_slice(&thread.as_bytes()[..thread.len().min(40)]);
    Challenge::from_nonce(side, nonce)
}
