//! Accounts as they are, of which programs write some bytes in another way.

use super::json;
use crate::model::event::{Escapes, InJson};

/// Writes the account that stands in a line in this way. What is no escape stays as it is.
pub fn undo(account: &[u8], Escapes { json, c }: Escapes, plain: &mut Vec<u8>) {
    plain.clear();
    let is_read = match json {
        None => false,
        Some(InJson::String) => json::unescape(account, plain).is_some(),
        Some(InJson::List) => json::bytes(account, plain).is_some(),
    };
    if !is_read {
        plain.clear();
        plain.extend_from_slice(account);
    }
    if c {
        undo_c(plain);
    }
}

/// sshd writes `\\`, `\n` and `\303` (OpenBSD's vis(3) with VIS_CSTYLE and VIS_OCTAL), Apache and nginx `\\`, `\"`, `\n` and `\xc3`: none
/// of them writes what the others do and means something else.
fn undo_c(text: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, length) = escaped(&text[from..]).unwrap_or((text[from], 1));
        text[to] = byte;
        (from, to) = (from + length, to + 1);
    }
    text.truncate(to);
}

/// The byte that an escape stands for, and the escape's length.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let [b'\\', kind, digits @ ..] = text else { return None };
    let number = |digits: &[u8], radix| u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    let short = match kind {
        b'\\' | b'"' => *kind,
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'x' => {
            let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            return Some((number(digits, 16)?, 4));
        }
        b'0'..=b'7' => {
            let digits = text.get(1..4).filter(|digits| digits.iter().all(u8::is_ascii_digit));
            return match digits.and_then(|digits| number(digits, 8)) {
                Some(byte) => Some((byte, 4)),
                None if *kind == b'0' => Some((0, 2)),
                None => None,
            };
        }
        _ => return None,
    };
    Some((short, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_what_it_was_before_it_was_written() {
        let told = |written: &str, json, c| {
            let mut plain = Vec::new();
            undo(written.as_bytes(), Escapes { json, c }, &mut plain);
            plain
        };
        for (written, plain) in [
            (r"EX\\eve", &b"EX\\eve"[..]),
            (r"EX\x5ceve", b"EX\\eve"),
            (r"j\303\251r\xC3\xB4me", "jérôme".as_bytes()),
            (r#"a\"b\n\t\0\000x\x00"#, b"a\"b\n\t\0\0x\0"),
            (r"a\\n\\303\\x41", br"a\n\303\x41"),
            // None of these was written so.
            (r"EX\eve\", br"EX\eve\"),
            (r"\x5\xg1\x+1\9\400\+12\12", br"\x5\xg1\x+1\9\400\+12\12"),
            ("", b""),
        ] {
            assert_eq!(told(written, None, true), plain, "{written}");
            assert_eq!(told(written, None, false), written.as_bytes(), "{written}");
            let string = serde_json::to_string(written).unwrap();
            assert_eq!(told(&string[1..string.len() - 1], Some(InJson::String), true), plain, "{written}");
            let list = written.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
            assert_eq!(told(&list, Some(InJson::List), true), plain, "{written}");
        }
        assert_eq!(told(r"x\u00", Some(InJson::String), true), br"x\u00");
        assert_eq!(told("1,256", Some(InJson::List), false), b"1,256");
    }
}
