//! Security events of Windows as Snare's agent and NXLog's `to_syslog_snare` send them to a syslog: `MSWinEventLog`, and behind it, with
//! tabs in between, criticality, log, counter, date, id, source, account, its kind, result, machine, category, data and the event in English
//! words (<https://docs.nxlog.co/refman/current/xm/syslog.html>).
//!
//! What followed on lines of its own in the words stands behind two blanks or more.

use memchr::memmem;

use super::syslog::number;
use super::windows::Record;

/// How such messages begin.
const BEGINNING: &[u8] = b"MSWinEventLog";

/// What tabs are to rsyslog.
const ESCAPED_TAB: &[u8] = b"#011";

/// The event that a message tells of; none for any other message.
pub fn record<'a>(message: &'a [u8]) -> Option<Record<'a, impl Fn(&str) -> Option<&'a [u8]>>> {
    let rest = message.strip_prefix(BEGINNING)?;
    let tab = if rest.starts_with(ESCAPED_TAB) { ESCAPED_TAB } else { b"\t" };
    let mut rest = rest.strip_prefix(tab)?;
    let mut columns = [&b""[..]; 12];
    for column in &mut columns {
        let end = memmem::find(rest, tab)?;
        (*column, rest) = (&rest[..end], &rest[end + tab.len()..]);
    }
    let [_, channel, _, _, id, ..] = columns;
    let id = number(id)?;
    Some(Record { id, channel, level: b"", text: rest, field: move |name: &str| field(rest, id, name) })
}

/// What the words say of a field.
fn field<'a>(words: &'a [u8], id: u32, name: &str) -> Option<&'a [u8]> {
    let account = match id {
        4624 => &b"New Logon:"[..],
        4625 => b"Account For Which Logon Failed:",
        4740 => b"Account That Was Locked Out:",
        4771 => b"Account Information:",
        _ => b"",
    };
    let of_account = || memmem::find(words, account).map(|at| &words[at + account.len()..]);
    match (name, id) {
        ("TargetUserName", 4776) => behind(words, b"Logon Account:"),
        ("TargetUserName", _) => behind(of_account()?, b"Account Name:"),
        ("TargetUserSid", _) => behind(of_account()?, b"Security ID:"),
        ("LogonType", _) => behind(words, b"Logon Type:"),
        ("Status", 4771) => behind(words, b"Failure Code:"),
        ("Status", _) => behind(words, b"Error Code:"),
        ("IpAddress", 4771) => alone(words, b"Client Address:", b"Client Port:"),
        ("IpAddress", _) => alone(words, b"Source Network Address:", b"Source Port:"),
        _ => None,
    }
}

/// What stands behind a label.
fn behind<'a>(words: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let rest = words[memmem::find(words, label)? + label.len()..].trim_ascii_start();
    let value = &rest[..memmem::find(rest, b"  ").unwrap_or(rest.len())];
    Some(value.trim_ascii_end()).filter(|value| !value.is_empty())
}

/// The same, where the label is told once only, and the next one follows: an account's name may hold both.
fn alone<'a>(words: &'a [u8], label: &[u8], next: &[u8]) -> Option<&'a [u8]> {
    let mut places = memmem::find_iter(words, label);
    let rest = &words[places.next().filter(|_| places.next().is_none())? + label.len()..];
    let end = memmem::find(rest, next)?;
    Some(rest[..end].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Shape;
    use crate::model::{Action, Category, Event};
    use crate::parse::windows::read_record;

    const FAILED: Action = Action::LoginFailed { times: 1, shape: Shape::Explicit };

    fn read_line(id: u32, words: &str) -> (Action, String, String) {
        let head = format!("MSWinEventLog\t1\tSecurity\t7\tFri Nov 20 10:00:05 2026\t{id}");
        let line = format!(
            "{head}\tMicrosoft-Windows-Security-Auditing\tN/A\tN/A\tFailure Audit\tWIN-1\tLogon\t\t{words}\t733"
        );
        let read_it = |line: &str| {
            let mut event = Event::plain(None, Category::System);
            read_record(&record(line.as_bytes()).unwrap(), &mut event);
            let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
            (event.action, user.unwrap_or_default(), event.peer.map(|peer| peer.to_string()).unwrap_or_default())
        };
        let told = read_it(&line);
        assert_eq!(read_it(&line.replace('\t', "#011")), told);
        told
    }

    fn failed(user: &str, address: &str) -> String {
        format!(
            "An account failed to log on.    Subject:   Security ID:  S-1-0-0   Account Name:  -   Account Domain:  -   Logon ID:  0x0    \
             Logon Type:   3    Account For Which Logon Failed:   Security ID:  S-1-0-0   Account Name:  {user}   Account Domain:  X    \
             Failure Information:   Failure Reason:  %%2313   Status:   0xc000006d   Sub Status:  0xc0000064    \
             Network Information:   Workstation Name: PC   Source Network Address: {address}   Source Port:  4711    \
             Detailed Authentication Information:   Logon Process:  NtLmSsp   Key Length:  0"
        )
    }

    #[test]
    fn a_failed_logon_names_the_account_and_the_address() {
        assert_eq!(read_line(4625, &failed("eve", "192.0.2.7")), (FAILED, "eve".into(), "192.0.2.7".into()));
        assert_eq!(read_line(4625, &failed("eve smith", "-")), (FAILED, "eve smith".into(), "".into()));
        let ntlm = "The computer attempted to validate the credentials for an account.    Authentication Package: X   Logon Account: eve   \
                    Source Workstation: PC   Error Code: ";
        assert_eq!(read_line(4776, &format!("{ntlm}0xc000006a    ")), (FAILED, "eve".into(), "".into()));
        assert_eq!(read_line(4776, &format!("{ntlm}0x0    ")).0, Action::Other);
        let kerberos = |code: &str| {
            format!(
                "Kerberos pre-authentication failed.    Account Information:   Security ID:  S-1   Account Name:  eve    Service Information:   \
                 Service Name:  krbtgt/X    Network Information:   Client Address:  ::ffff:192.0.2.7   Client Port:  4711    \
                 Additional Information:   Ticket Options:  0x4   Failure Code:  {code}   Pre-Authentication Type: 2"
            )
        };
        assert_eq!(read_line(4771, &kerberos("0x18")), (FAILED, "eve".into(), "192.0.2.7".into()));
        assert_eq!(read_line(4771, &kerberos("0x25")).0, Action::Other);
        let good = failed("eve", "192.0.2.7").replace("Account For Which Logon Failed:", "New Logon:");
        assert_eq!(read_line(4624, &good), (Action::LoginSucceeded, "eve".into(), "192.0.2.7".into()));
        assert_eq!(read_line(4624, &good.replace("S-1-0-0", "S-1-5-7")).0, Action::Other, "nobody");
    }

    #[test]
    fn an_account_name_forges_no_address_and_what_is_cut_has_none() {
        let forged = failed("a   Source Network Address: 203.0.113.9   Source Port:  1", "192.0.2.7");
        assert_eq!(read_line(4625, &forged), (FAILED, "a".into(), "".into()));
        let whole = failed("eve", "192.0.2.7");
        let cut = &whole[..whole.find("Source Port").unwrap()];
        assert_eq!(read_line(4625, cut), (FAILED, "eve".into(), "".into()));
        for line in ["MSWinEventLog", "MSWinEventLog\t1\tSecurity\t7\tx\t4625", "MSWinEventLogs\t1", "x"] {
            assert!(record(line.as_bytes()).is_none(), "{line}");
        }
    }
}
