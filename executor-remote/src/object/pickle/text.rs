//! Text as protocol 0 has it, in lines.

/// Of `UNICODE`: bytes are characters by their number, others are `\uXXXX` and `\UXXXXXXXX`. `None` if that is no text.
pub(super) fn unescape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(next)) => {
                text.push('\\');
                text.push(char::from(*next));
                rest = &rest[1..];
                continue;
            }
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        let number = str::from_utf8(rest.get(1..=digits)?).ok()?;
        text.push(hex(number).and_then(char::from_u32)?);
        rest = &rest[1 + digits..];
    }
    Some(text)
}

/// Of `STRING`, the `repr` of a text of Python 2: in quotes, with escapes. `None` if it is not ASCII.
pub(super) fn unquote(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii_end();
    let quote = *line.first().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let mut rest = line[1..].strip_suffix(&[quote])?;
    let mut text = String::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            text.push(char::from(byte));
            continue;
        }
        let (&escape, behind) = rest.split_first()?;
        rest = behind;
        text.push(match escape {
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'\\' | b'\'' | b'"' => char::from(escape),
            b'x' => {
                let number = hex(str::from_utf8(rest.get(..2)?).ok()?)?;
                rest = &rest[2..];
                char::from_u32(number)?
            }
            _ => return None,
        });
    }
    text.is_ascii().then_some(text)
}

/// `from_str_radix` would take a sign.
fn hex(digits: &str) -> Option<u32> {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}
