//! Accounts as they are, of which programs write some bytes in another way.

use std::borrow::Cow;

use super::json;
use crate::model::event::{Escape, Escapes};

/// The account that stands in a line with these escapes. What is no escape stays as it is.
pub fn plain(account: &[u8], escapes: Escapes) -> Cow<'_, [u8]> {
    escapes.outermost_first().fold(Cow::Borrowed(account), |text, escape| {
        let mut plain = Vec::with_capacity(text.len());
        let is_read = match escape {
            Escape::JsonString => json::unescape(&text, &mut plain).is_some(),
            Escape::JsonList => json::bytes(&text, &mut plain).is_some(),
            Escape::Xml | Escape::Sshd | Escape::WebServer => false,
        };
        if is_read {
            return Cow::Owned(plain);
        }
        plain.clear();
        let begin = if escape == Escape::Xml { b'&' } else { b'\\' };
        let of_one = |text: &[u8]| match escape {
            Escape::Xml => entity(text),
            Escape::Sshd => of_sshd(text),
            // Servers' own escapes make of their formats of text what is nearly JSON.
            _ => of_web_server(text),
        };
        let mut rest = &text[..];
        while let Some(at) = memchr::memchr(begin, rest) {
            let (byte, length) = of_one(&rest[at..]).unwrap_or((begin, 1));
            plain.extend_from_slice(&rest[..at]);
            plain.push(byte);
            rest = &rest[at + length..];
        }
        plain.extend_from_slice(rest);
        Cow::Owned(plain)
    })
}

/// The byte that an escape of sshd's stands for, and the escape's length: `\\`, `\n`, `\303` (vis(3) with VIS_CSTYLE and VIS_OCTAL).
fn of_sshd(text: &[u8]) -> Option<(u8, usize)> {
    let short = match text.get(1)? {
        b'\\' => b'\\',
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        kind @ b'0'..=b'7' => {
            return match text.get(1..4).and_then(|digits| number(digits, 8)) {
                Some(byte) => Some((byte, 4)),
                None if *kind == b'0' => Some((0, 2)),
                None => None,
            };
        }
        _ => return None,
    };
    Some((short, 2))
}

/// The same of Apache and nginx: `\\`, `\"`, `\xc3`. Others write accounts as they came, and of these a backslash may be followed by any
/// letter, so no others are undone.
fn of_web_server(text: &[u8]) -> Option<(u8, usize)> {
    match text.get(1)? {
        kind @ (b'\\' | b'"') => Some((*kind, 2)),
        b'x' => Some((number(text.get(2..4)?, 16)?, 4)),
        _ => None,
    }
}

/// The same of the characters that XML can't hold otherwise (XML 1.0, 4.6), of which each is one byte.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    let known: [(&[u8], u8); 5] =
        [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\'')];
    known.iter().find(|(name, _)| text.starts_with(name)).map(|(name, byte)| (*byte, name.len()))
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_what_it_was_before_it_was_written() {
        let told = |written: &str, escapes: &[Escape]| {
            let escapes = escapes.iter().rev().fold(Escapes::NONE, |inner, outer| inner.within(*outer));
            plain(written.as_bytes(), escapes).into_owned()
        };
        for (by, written, want) in [
            (Escape::Sshd, r"EX\\eve", &b"EX\\eve"[..]),
            (Escape::Sshd, r"j\303\251r\303\264me", "jérôme".as_bytes()),
            (Escape::Sshd, r"a\n\t\0\000x\\n\\303", b"a\n\t\0\0x\\n\\303"),
            (Escape::Sshd, r#"\x41\"\9\400\+12\12\"#, br#"\x41\"\9\400\+12\12\"#),
            (Escape::WebServer, r"EX\\eve", b"EX\\eve"),
            (Escape::WebServer, r#"EX\x5Cj\xc3\xB6\""#, "EX\\jö\"".as_bytes()),
            (Escape::WebServer, r"EX\fred\nancy\123\x5\xg1\x+1\", br"EX\fred\nancy\123\x5\xg1\x+1\"),
            (Escape::Xml, "a&amp;b&lt;&gt;&quot;&apos;&amp;amp;&x&", b"a&b<>\"'&amp;&x&"),
            (Escape::Xml, "", b""),
        ] {
            assert_eq!(told(written, &[by]), want, "{written}");
            assert_eq!(told(written, &[]), written.as_bytes(), "{written}");
            let string = |text: &str| serde_json::to_string(text).unwrap()[1..].strip_suffix('"').unwrap().to_owned();
            let list = written.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
            assert_eq!(told(&list, &[Escape::JsonList, by]), want, "{written}");
            assert_eq!(told(&string(written), &[Escape::JsonString, by]), want, "{written}");
            let twice = [Escape::JsonString, Escape::JsonString, by];
            assert_eq!(told(&string(&string(written)), &twice), want, "{written}");
        }
        // What is no string of JSON was made one of a web server's text.
        assert_eq!(told(r"ex\x5Cj\xC3\xB6", &[Escape::JsonString]), r"ex\jö".as_bytes());
        assert_eq!(told(r"x\u00", &[Escape::JsonString]), br"x\u00");
        assert_eq!(told("1,256", &[Escape::JsonList]), b"1,256");
    }
}
