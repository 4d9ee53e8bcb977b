//! How Python writes values: `repr`, and by the alternate form `ascii`.

use std::fmt::{self, Display, Write};

use super::{Exception, Instance, Object};

impl Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => float(*number, f),
            Self::Complex(re, im) => complex(*re, *im, f),
            Self::Str(it) => text(it, f),
            Self::Bytes(it) => bytes(it, f),
            Self::ByteArray(it) => {
                f.write_str("bytearray(")?;
                bytes(it, f)?;
                f.write_char(')')
            }
            Self::List(items) => listed("[", items, "]", f),
            Self::Tuple(items) if items.len() == 1 => listed("(", items, ",)", f),
            Self::Tuple(items) => listed("(", items, ")", f),
            Self::Dict(items) => dict(items, f),
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => listed("{", items, "}", f),
            Self::FrozenSet(items) if items.is_empty() => f.write_str("frozenset()"),
            Self::FrozenSet(items) => listed("frozenset({", items, "})", f),
            Self::Exception(it) => exception(it, f),
            Self::Instance(it) => instance(it, f),
        }
    }
}

/// As Python's `repr`: the shortest digits that give the same number, with an exponent from 1e16 on and below 1e-4.
fn float(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if number.is_nan() {
        return f.write_str("nan");
    }
    // Debug has the same digits and the same bounds, but writes `1e-7` for `1e-07` and `1e16` for `1e+16`.
    let digits = format!("{number:?}");
    let Some((mantissa, exponent)) = digits.split_once('e') else { return f.write_str(&digits) };
    match exponent.strip_prefix('-') {
        Some(exponent) => write!(f, "{mantissa}e-{exponent:0>2}"),
        None => write!(f, "{mantissa}e+{exponent:0>2}"),
    }
}

/// One part of a complex number, which has no `.0`.
fn part(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    struct Part(f64);
    impl Display for Part {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            float(self.0, f)
        }
    }
    let digits = Part(number).to_string();
    f.write_str(digits.strip_suffix(".0").unwrap_or(&digits))
}

fn complex(re: f64, im: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if re == 0.0 && re.is_sign_positive() {
        part(im, f)?;
        return f.write_char('j');
    }
    f.write_char('(')?;
    part(re, f)?;
    if im.is_nan() || im.is_sign_positive() {
        f.write_char('+')?;
    }
    part(im, f)?;
    f.write_str("j)")
}

/// In single quotes, unless there are such in it and no double ones.
fn quote(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

fn text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote(text.contains('\''), text.contains('"'));
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            c if !f.alternate() && is_printable(c) => f.write_char(c)?,
            c => match u32::from(c) {
                code @ ..0x100 => write!(f, "\\x{code:02x}")?,
                code @ 0x100..0x1_0000 => write!(f, "\\u{code:04x}")?,
                code => write!(f, "\\U{code:08x}")?,
            },
        }
    }
    f.write_char(quote)
}

/// Nearly what Python calls printable; the two follow different versions of Unicode anyway.
fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || c.escape_debug().len() > 1)
}

fn bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = quote(bytes.contains(&b'\''), bytes.contains(&b'"'));
    write!(f, "b{quote}")?;
    for &byte in bytes {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            byte if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            byte => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}

fn listed(open: &str, items: &[Object], close: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(open)?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    f.write_str(close)
}

fn dict(items: &[(Object, Object)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('{')?;
    for (at, (key, value)) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        key.fmt(f)?;
        f.write_str(": ")?;
        value.fmt(f)?;
    }
    f.write_char('}')
}

fn exception(exception: &Exception, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(exception.type_name.rsplit('.').next().unwrap_or_default())?;
    listed("(", &exception.args, ")", f)
}

fn instance(instance: &Instance, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = instance.class.rsplit('.').next().unwrap_or_default();
    write!(f, "{name}(")?;
    instance.state.fmt(f)?;
    f.write_char(')')
}
