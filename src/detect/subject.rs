//! What makes a subject: the fields by which a rule groups events, as a compact key and as words.

use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::episodes::Names;
use crate::model::untrusted::printable;
use crate::model::{Event, Field, Peer, Subject};

/// Subjects are named by their fields.
pub const NAMES: Names = Names { stored, restored, subject };

/// Writes the key of an event's subject; false where the event lacks one of the fields.
pub fn write_key(by: &[Field], event: &Event<'_>, key: &mut Vec<u8>) -> bool {
    key.clear();
    by.iter().all(|field| match (field, event.peer) {
        (Field::SourceIp, Some(Peer::Ip(ip))) => push_ip(key, ip),
        (Field::SourceIp, Some(Peer::Name(name))) => push_text(key, b'd', name),
        (Field::SourceNetwork, Some(Peer::Ip(ip))) => push_network(key, ip),
        (Field::SourceIp | Field::SourceNetwork, _) => false,
        (Field::UserName, _) => event.user.is_some_and(|user| push_account(key, user)),
        (Field::HostName, _) => !event.host.is_empty() && push_text(key, b'h', event.host),
        (Field::LogKind, _) => push_text(key, b'k', event.category.as_str().as_bytes()),
        (Field::UrlPath, _) => event.path().is_some_and(|path| push_text(key, b'p', path)),
    })
}

/// A digest of these fields of an event: they are only compared. None where the event lacks one.
pub fn digest(fields: &[Field], event: &Event<'_>, key: &mut Vec<u8>) -> Option<u64> {
    if !write_key(fields, event, key) {
        return None;
    }
    let mut digest = DefaultHasher::new();
    digest.write(key);
    Some(digest.finish())
}

/// A digest of who logs in where: the account, the address, and the host that wrote the line, which a log may not tell. None where
/// the account or the address isn't told.
pub fn person(event: &Event<'_>) -> Option<u64> {
    let (user, peer) = (event.user?, event.peer?);
    let mut digest = FixedState::with_seed(0).build_hasher();
    match peer {
        Peer::Ip(IpAddr::V4(ip)) => digest.write_u32(ip.to_bits()),
        Peer::Ip(IpAddr::V6(ip)) => digest.write_u128(ip.to_bits()),
        Peer::Name(name) => digest.write(name),
    }
    let mut account = SmallVec::<[u8; 64]>::from_slice(user);
    if user.is_ascii() {
        account.make_ascii_lowercase();
    } else {
        account = SmallVec::from_slice(printable(user).to_lowercase().as_bytes());
    }
    digest.write_usize(account.len());
    digest.write(&account);
    digest.write(event.host);
    Some(digest.finish())
}

fn push_ip(key: &mut Vec<u8>, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            key.extend_from_slice(&[b'4', a, b, c, d]);
        }
        IpAddr::V6(ip) => {
            key.push(b'6');
            key.extend_from_slice(&ip.octets());
        }
    }
    true
}

/// A /24 of IPv4, a /64 of IPv6.
fn push_network(key: &mut Vec<u8>, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            key.push(b'3');
            key.extend_from_slice(&ip.octets()[..3]);
        }
        IpAddr::V6(ip) => {
            key.push(b'8');
            key.extend_from_slice(&ip.octets()[..8]);
        }
    }
    true
}

/// An account in small letters: Windows and directories take its name in any, and tell of a failure as it was typed and of a login as
/// it is.
fn push_account(key: &mut Vec<u8>, account: &[u8]) -> bool {
    if !account.is_ascii() || account.len() > LONGEST {
        return push_text(key, b'u', printable(account).to_lowercase().as_bytes());
    }
    let start = key.len();
    push_text(key, b'u', account);
    // Behind the tag and the length.
    key[start + 2..].make_ascii_lowercase();
    true
}

/// The longest text that is told whole, in bytes; of a longer one, so much of its beginning, and a digest of it all.
const LONGEST: usize = 255;
const BEGINNING: usize = LONGEST - "…0123456789abcdef".len();

/// What is printed is what is compared, so that a subject is the same after it was stored.
fn push_text(key: &mut Vec<u8>, tag: u8, text: &[u8]) -> bool {
    let mut push = |text: &[u8]| {
        key.extend_from_slice(&[tag, text.len() as u8]);
        key.extend_from_slice(text);
        true
    };
    if text.len() <= LONGEST && text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return push(text);
    }
    let printed = printable(text);
    if printed.len() <= LONGEST {
        return push(printed.as_bytes());
    }
    let beginning = &printed[..printed.floor_char_boundary(BEGINNING)];
    push(format!("{beginning}…{:016x}", FixedState::with_seed(0).hash_one(text)).as_bytes())
}

/// The fields behind a key, named as in the Elastic Common Schema.
pub fn fields(key: &[u8]) -> Vec<(&'static str, String)> {
    let (mut fields, mut rest) = (Vec::new(), key);
    while let Some((field, after)) = field(rest) {
        fields.push(field);
        rest = after;
    }
    fields
}

fn field(key: &[u8]) -> Option<((&'static str, String), &[u8])> {
    let (tag, rest) = key.split_first()?;
    if let b'd' | b'u' | b'h' | b'p' | b'k' = tag {
        let (length, rest) = rest.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        let name = match tag {
            b'd' => "source.domain",
            b'u' => "user.name",
            b'h' => "host.name",
            b'k' => "log.kind",
            _ => "url.path",
        };
        return Some(((name, String::from_utf8_lossy(text).into_owned()), rest));
    }
    let length = match tag {
        b'4' => 4,
        b'6' => 16,
        b'3' => 3,
        _ => 8,
    };
    let (bytes, rest) = rest.split_at_checked(length)?;
    let mut wide = [0; 16];
    wide[..length].copy_from_slice(bytes);
    let v4 = Ipv4Addr::new(wide[0], wide[1], wide[2], wide[3]);
    let field = match tag {
        b'4' => ("source.ip", v4.to_string()),
        b'6' => ("source.ip", Ipv6Addr::from(wide).to_string()),
        b'3' => ("source.network", format!("{v4}/24")),
        _ => ("source.network", format!("{}/64", Ipv6Addr::from(wide))),
    };
    Some((field, rest))
}

/// The subject behind a key.
pub fn subject(key: &[u8]) -> Subject {
    fields(key).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A key as it is stored.
pub fn stored(key: &[u8]) -> String {
    serde_json::json!(fields(key)).to_string()
}

/// The key of a stored one; nothing where it can't be read.
pub fn restored(text: &str) -> Option<Vec<u8>> {
    let fields: Vec<(String, String)> = serde_json::from_str(text).ok()?;
    let mut key = Vec::new();
    for (name, value) in fields {
        let written = match name.as_str() {
            "source.ip" => push_ip(&mut key, value.parse().ok()?),
            "source.network" => push_network(&mut key, value.split_once('/')?.0.parse().ok()?),
            "source.domain" => push_text(&mut key, b'd', value.as_bytes()),
            "user.name" => push_account(&mut key, value.as_bytes()),
            "host.name" => push_text(&mut key, b'h', value.as_bytes()),
            "log.kind" => push_text(&mut key, b'k', value.as_bytes()),
            "url.path" => push_text(&mut key, b'p', value.as_bytes()),
            _ => false,
        };
        written.then_some(())?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    #[test]
    fn an_account_is_the_same_in_capital_and_small_letters() {
        let key = |user: &[u8]| {
            let mut key = Vec::new();
            let event = Event { user: Some(user), ..Event::plain(None, Category::Auth) };
            assert!(write_key(&[Field::UserName, Field::LogKind], &event, &mut key));
            key
        };
        let long = [b'X'; 65];
        let large = "M\u{dc}LLER".as_bytes();
        for (one, other) in [(&b"ADMINISTRATOR"[..], "administrator"), (&long, &"x".repeat(65)), (large, "m\u{fc}ller")]
        {
            assert_eq!(key(one), key(other.as_bytes()));
            assert_eq!(fields(&key(one))[0].1, other);
        }
        assert_ne!(key(b"admin"), key(b"adm1n"));
    }

    #[test]
    fn texts_that_only_begin_alike_are_not_the_same() {
        let key = |user: &str, path: &str| {
            let (mut key, request) = (Vec::new(), format!("GET /{path} HTTP/1.1"));
            let plain = Event::plain(None, Category::Auth);
            let event = Event { user: Some(user.as_bytes()), request: request.as_bytes(), ..plain };
            assert!(write_key(&[Field::UserName, Field::UrlPath], &event, &mut key));
            assert_eq!(restored(&stored(&key)).unwrap(), key);
            key
        };
        for long in ["x".repeat(300), "\u{e4}".repeat(140), "\u{1}".repeat(256)] {
            let (one, other) = (format!("{long}a"), format!("{long}b"));
            assert_ne!(key(&one, "x"), key(&other, "x"));
            assert_ne!(key("x", &one), key("x", &other));
            assert_eq!(key(&one, &one), key(&one.to_uppercase(), &one));
        }
    }

    #[test]
    fn a_stored_key_is_the_same_again_whatever_the_names_hold() {
        let all =
            [Field::SourceIp, Field::SourceNetwork, Field::UserName, Field::HostName, Field::UrlPath, Field::LogKind];
        let long = [b'x'; 400];
        let names: [&[u8]; 8] =
            [b"root", b"a b", b"\\x41", b"\xff\xfe", "äöü".as_bytes(), b"\x1b[31m", &long, b"\"],["];
        for name in names {
            for ip in ["192.0.2.7", "2001:db8::7", "host.example.org"] {
                let request = [b"GET /", name, b" HTTP/1.1"].concat();
                let event = Event {
                    peer: Peer::read(ip.as_bytes()),
                    user: Some(name),
                    host: b"web1",
                    request: &request,
                    ..Event::plain(None, Category::Auth)
                };
                let by = if ip.starts_with('h') { &all[2..] } else { &all[..] };
                let mut key = Vec::new();
                assert!(write_key(by, &event, &mut key));
                assert_eq!(restored(&stored(&key)).unwrap(), key, "{name:?} {ip}");
                assert_eq!(fields(&key).len(), by.len());
            }
        }
    }
}
