//! Access logs of Nginx Proxy Manager, which are the same everywhere:
//! `[STAMP] [CACHE UPSTREAM-STATUS ]STATUS - METHOD SCHEME HOST "URI" [Client ADDRESS] [Length N] …`
//! (<https://github.com/NginxProxyManager/nginx-proxy-manager>, `log_format proxy` and `standard`).

use memchr::memchr;

use super::Parser;
use super::access::stamp;
use super::syslog::number;
use crate::model::event::is_page;
use crate::model::peer::parse_ip;
use crate::model::{Action, Category, Event, Peer};

/// The parser.
pub struct ProxyManager;

impl Parser for ProxyManager {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let inner = line.strip_prefix(b"[")?;
        let (time, rest) = inner.split_at(memchr(b']', inner)?);
        let time = stamp(time)?;
        // nginx writes a quotation mark in what a visitor asks for as \x22.
        let (before, rest) = rest.split_at(memchr(b'"', rest)?);
        let (uri, rest) = rest[1..].split_at(memchr(b'"', &rest[1..])?);
        let client = rest.strip_prefix(b"\" [Client ")?;
        let (client, rest) = client.split_at(memchr(b']', client)?);
        rest.starts_with(b"] [Length ").then_some(())?;
        let mut words = before.trim_ascii_end().rsplit(|byte| *byte == b' ');
        let (_host, _scheme, method) = (words.next()?, words.next()?, words.next()?);
        let status = words.nth(1).filter(|status| status.len() == 3)?;
        let status = u16::try_from(number(status)?).ok()?;
        // Which name was given, if any, stands nowhere.
        let is_page = status == 401 && is_page(method, uri);
        let (action, peer) = (Action::Request { status }, Some(Peer::Ip(parse_ip(client)?)));
        let plain = Event::plain(Some(time), Category::Access);
        Some(Event { action, peer, request: uri, is_post: method == b"POST", is_page, ..plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_tell_client_and_answer() {
        let rest = "[Length 0] [Gzip -] \"Mozilla/5.0\" \"-\"";
        for (line, status, is_post) in [
            (r#"- 401 401 - GET https example.org "/a?b" [Client 192.0.2.7]"#, 401, false),
            (r#"HIT 502, 200 200 - POST https example.org "/a" [Client 192.0.2.7]"#, 200, true),
            (r#"444 - GET http example.org "/a" [Client 192.0.2.7]"#, 444, false),
            (r#"400 - - http localhost-nginx-proxy-manager "-" [Client 192.0.2.7]"#, 400, false),
        ] {
            let line = format!("[20/Nov/2026:11:00:05 +0100] {line} {rest}");
            let event = ProxyManager.parse(line.as_bytes()).unwrap();
            assert_eq!(event.action, Action::Request { status }, "{line}");
            assert_eq!((event.peer, event.time), (Peer::read(b"192.0.2.7"), Some(1_795_168_805)), "{line}");
            assert_eq!(event.is_post, is_post, "{line}");
        }
        for other in [
            r#"[20/Nov/2026:11:00:05 +0100] 200 - GET https a "/ [Client 203.0.113.9] [Length 1]"#,
            r#"[20/Nov/2026:11:00:05 +0100] 200 - GET https a "/" "[Client 203.0.113.9] [Length 1]"#,
            r#"[x] 200 - GET https a "/" [Client 203.0.113.9] [Length 1]"#,
        ] {
            assert!(ProxyManager.parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
