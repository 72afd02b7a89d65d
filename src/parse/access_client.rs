//! Who asked: what stands in front of the stamp of an access log's line. A client, with a virtual host or a proxy's list before it, as far as
//! it is sure who is who.

use std::net::IpAddr;

use memchr::{memchr, memmem};

use super::access::{is_stamp, stamp_length, stamp_start};
use crate::model::Peer;
use crate::model::peer::{leading_ipv4, parse_ip};

/// The client, if one is told, and where its name ends, or what stands in its place.
pub fn client(line: &[u8]) -> Option<(Option<Peer<'_>>, usize)> {
    peer(line).or_else(|| Some((None, end_of_many(line)?)))
}

/// One client, where nothing but a virtual host stands before it, in Debian's other_vhosts_access.log with its port.
fn peer(line: &[u8]) -> Option<(Option<Peer<'_>>, usize)> {
    if let Some((ip, rest)) = leading_ipv4(line)
        && rest.starts_with(b" - ")
    {
        return Some((Some(Peer::Ip(ip.into())), line.len() - rest.len()));
    }
    let end = memchr(b' ', line)?;
    // What stands between quotation marks may be a visitor's words, and what is in it looks like the next field.
    if line.starts_with(b"\"") && !line[1..end].ends_with(b"\"") {
        return None;
    }
    let first = Peer::read(&line[..end]);
    // nginx' configurations write `$host - $remote_addr - $remote_user`; but behind a client's name that may be a user's word.
    if let Some(Peer::Name(_)) = first
        && let Some(client_end) = client_behind(line, end)
    {
        return Some((None, client_end));
    }
    // No server of today asks a client who it is (RFC 1413), so that the word after an address is this.
    if first.is_some() && line[end..].starts_with(b" - ") {
        return Some((first, end));
    }
    if line[..end].ends_with(b",") {
        return last_of_list(line);
    }
    let second = end + 1 + memchr(b' ', &line[end + 1..])?;
    let is_told = !is_nobody(&line[..end]);
    if line[end..].starts_with(b" - ") && (!is_told || is_host_with_port(&line[..end])) {
        // A virtual host has the client behind it, that is one more word.
        let is_host = is_told && is_client_of_host(&line[second..]);
        return Some((None, if is_host { second } else { end }));
    }
    if line[end + 1..second] == *SOCKET && is_client_of_host(&line[second..]) {
        return Some((None, second));
    }
    let client = Peer::read(&line[end + 1..second]);
    let is_address = client.is_some_and(|client| client.ip().is_some());
    if first.is_some_and(|first| first.ip().is_some()) {
        // Of two addresses, or a list, one may be what a proxy, or the client itself, says of the client: that takes a configured format. One
        // may also be the host that was asked for, so that the answer counts all the same.
        if is_address && is_client_of_host(&line[second..]) {
            return Some((None, second));
        }
        return (!line[..second].ends_with(b",")).then_some((first, end));
    }
    // A name alone may be the month of another format's line.
    let has_port = is_host_with_port(&line[..end]) && line[second..].starts_with(b" - ");
    (client.is_some() && has_port || is_address && is_client_of_host(&line[second..])).then_some((client, second))
}

/// Where an address ends that stands behind a host, each with a hyphen behind it.
fn client_behind(line: &[u8], host_end: usize) -> Option<usize> {
    let start = host_end + 3;
    let rest = line[host_end..].strip_prefix(b" - ")?;
    let end = memchr(b' ', rest)?;
    (parse_ip(&rest[..end]).is_some() && rest[end..].starts_with(b" - ")).then_some(start + end)
}

/// A longer list of hosts and clients is none, in bytes.
const LONGEST_LIST: usize = 1000;

/// What nginx calls a client that comes through a socket of the machine.
const SOCKET: &[u8] = b"unix:";

/// The client of a log that begins with whom a request came for (`X-Forwarded-For`): the last of the list, which the nearest proxy has added.
/// Nobody where that is a proxy as well, because nobody knows whose word the others are, or a user's name may belong to the list.
fn last_of_list(line: &[u8]) -> Option<(Option<Peer<'_>>, usize)> {
    let mut start = 0;
    loop {
        let end = start + memchr(b' ', &line[start..])?;
        let word = &line[start..end];
        if !word.ends_with(b",") {
            let address = parse_ip(word).filter(|_| line[end..].starts_with(b" - "))?;
            let names = line.get(end + 2..stamp_start(line, end)?)?;
            let is_whole = memmem::find(&names[1..], b" - ").is_none();
            let client = Some(address).filter(|address| is_whole && !is_of_proxy(*address));
            return Some((client.map(Peer::Ip), end));
        }
        start = end + 1;
    }
}

/// Where a virtual host and a list of clients end of which nobody knows who was there, so that all that counts is the answer.
fn end_of_many(line: &[u8]) -> Option<usize> {
    let end = memmem::find(line, b" - - [").filter(|end| (1..=LONGEST_LIST).contains(end))?;
    let first = line.split(|byte| *byte == b' ').next()?;
    // Behind an address it takes a configured format to tell who is who.
    if !is_stamp(line, end + 6) || parse_ip(first).is_some() {
        return None;
    }
    memchr(b',', &line[..end])?;
    // One may stand in quotation marks. Nothing of a stamp, or of a program's name, passes for a host.
    let mut names = line[..end].split(|byte| matches!(byte, b' ' | b',' | b'"')).filter(|name| !name.is_empty());
    let is_one = |name: &[u8]| is_nobody(name) || is_host_with_port(name) || Peer::read(name).is_some();
    let is_address = |name: &[u8]| {
        let host = memchr::memrchr(b':', name).filter(|_| is_host_with_port(name)).map_or(name, |at| &name[..at]);
        parse_ip(host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)).is_some()
    };
    let has_address = names.clone().any(is_address);
    (has_address && names.all(is_one)).then_some(end)
}

/// Whether it is an address within an organisation, or of one machine.
fn is_of_proxy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Whether a client's place is filled although nothing is known of it.
fn is_nobody(word: &[u8]) -> bool {
    word == SOCKET || !word.is_empty() && word.iter().all(|byte| b"-._".contains(byte))
}

/// Whether an address in second place, or what stands for none, says that a virtual host stands in the first: an identity, which is
/// never known, and a user follow.
fn is_client_of_host(rest: &[u8]) -> bool {
    rest.strip_prefix(b" - ").is_some_and(|user| !user.starts_with(b"[") || stamp_length(user, 1).is_none())
}

fn is_host_with_port(word: &[u8]) -> bool {
    let Some(at) = memchr::memrchr(b':', word) else { return false };
    let (host, port) = (&word[..at], &word[at + 1..]);
    let is_host = host.starts_with(b"[") && host.ends_with(b"]") || Peer::read(host).is_some();
    is_host && (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
}
