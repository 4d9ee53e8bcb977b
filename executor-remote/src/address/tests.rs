use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> (String, u16) {
    let address: Address = text.parse().unwrap_or_else(|error| panic!("{error}"));
    (address.host.clone(), address.port)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[test]
fn hosts_and_ports_are_told_apart() {
    for (text, host, port) in [
        ("node-1", "node-1", 7077),
        ("node_1.lan:80", "node_1.lan", 80),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[::1]:9", "::1", 9),
        ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
        ("[::1]", "::1", 7077),
        ("localhost:0", "localhost", 0),
    ] {
        assert_eq!(parsed(text), (host.into(), port));
    }
}

#[test]
fn what_is_no_address_is_named_with_the_reason() {
    for (text, reason) in [
        ("", "host is missing"),
        (":7077", "host is missing"),
        ("::1", "in brackets"),
        ("::1:7077", "in brackets"),
        ("[::1", "not closed"),
        ("[::1]7077", "after `]`"),
        ("[node]:1", "no IPv6 address"),
        ("[]:1", "no IPv6 address"),
        ("host:", "port"),
        ("host:http", "port"),
        ("host:+80", "port"),
        ("host:65536", "port"),
        ("host:-1", "port"),
        ("a b:1", "letters, digits"),
        ("user@host:1", "letters, digits"),
        ("host/path", "letters, digits"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(&format!("`{text}`")), "{error}");
    }
}

#[test]
fn lists_are_separated_by_commas() {
    let list = Address::parse_list("a:1, b ,[::1]:3").unwrap();
    let texts: Vec<_> = list.iter().map(Address::to_string).collect();
    assert_eq!(texts, ["a:1", "b:7077", "[::1]:3"]);
    assert!(matches!(Address::parse_list("a,,b"), Err(AddressError::Syntax { .. })));
    assert!(matches!(Address::parse_list("a,"), Err(AddressError::Syntax { .. })));
    let error = Address::parse_list("a,b,a:7077").unwrap_err();
    assert!(error.to_string().contains("a:7077 is given twice"), "{error}");
}

#[test]
fn loopback_is_known_in_all_its_forms() {
    for (ip, loopback) in [
        ("127.0.0.1", true),
        ("127.8.9.10", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("0.0.0.0", false),
        ("::", false),
        ("10.0.0.1", false),
        ("::ffff:10.0.0.1", false),
    ] {
        assert_eq!(is_loopback(ip.parse().unwrap()), loopback, "{ip}");
    }
}

#[test]
fn without_a_key_no_network_is_listened_on() {
    for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let address: Address = text.parse().unwrap();
        let error = address.listen(None).unwrap_err();
        assert!(matches!(error, AddressError::Exposed { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(text) && error.contains("--key FILE"), "{error}");
    }
    "127.0.0.1:0".parse::<Address>().unwrap().listen(None).unwrap();
}

#[test]
fn with_a_key_any_address_is_listened_on() {
    let key = ClusterKey::from_bytes([1; 32]);
    "0.0.0.0:0".parse::<Address>().unwrap().listen(Some(&key)).unwrap();
}

#[test]
fn without_a_key_no_network_is_connected_to() {
    let address: Address = "192.0.2.1:7077".parse().unwrap();
    let error = address.connect(None, soon()).unwrap_err();
    assert!(matches!(error, AddressError::Exposed { act: "connected to", .. }), "{error}");
}

#[test]
fn a_client_reaches_a_listener() {
    let listener = "127.0.0.1:0".parse::<Address>().unwrap().listen(None).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let stream = address.connect(None, soon()).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    drop(listener);
    let error = address.connect(None, soon()).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("no agent listens"), "{error}");
}

#[test]
fn a_deadline_that_has_passed_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let error = address.connect(None, Instant::now()).unwrap_err();
    assert!(error.to_string().contains("nothing answered in time"), "{error}");
}

#[test]
fn an_address_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let error = address.listen(None).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("another program"), "{error}");
}

#[test]
fn a_host_that_is_not_known_is_named() {
    // A label of 64 characters is none, so nobody is asked.
    let address: Address = format!("{}:1", "x".repeat(64)).parse().unwrap();
    let error = address.connect(None, soon()).unwrap_err();
    assert!(matches!(error, AddressError::Resolve { .. }), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_an_address_or_an_error(text in ".{0,40}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
    }
}
