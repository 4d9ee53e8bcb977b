use super::*;

#[test]
fn an_address_is_printed_as_it_is_read() {
    for text in ["127.0.0.1:25000", "[::1]:0", "host-1.example:7", "unix:/tmp/a b", "unix:x", "unix:@name"] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    let socket: SocketAddr = "[::1]:80".parse().unwrap();
    assert_eq!(Address::from(socket).to_string().parse::<Address>().unwrap(), socket.into());
}

#[test]
fn an_address_of_each_kind_is_known() {
    let address: Address = "[::1]:25000".parse().unwrap();
    assert_eq!((address.port(), address.path()), (Some(25000), None));
    let address: Address = "unix:/tmp/a".parse().unwrap();
    assert_eq!((address.port(), address.path()), (None, Some(Path::new("/tmp/a"))));
    assert_eq!("unix:@a".parse::<Address>().unwrap(), Address::Abstract("a".into()));
}

#[test]
fn what_is_no_address_is_refused_with_a_remedy() {
    let long = format!("unix:/{}", "x".repeat(107));
    let unnamed = Address::Unnamed.to_string();
    let none = [
        "",
        "host",
        "host:",
        ":",
        ":1",
        "127.0.0.1",
        "::1",
        "::1:2",
        "[::1]",
        "[::1:2",
        "host:x",
        "host:65536",
        "host:+1",
        "/tmp/a",
        "unix:",
        "unix:@",
        "unix:a\0b",
        "tcp://host:1",
        &long,
        &unnamed,
    ];
    for text in none {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is no address: ")), "{error}");
        assert!(["host:port", "unix:", "107"].iter().any(|word| error.contains(word)), "{error}");
    }
}
