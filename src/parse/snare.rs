//! Security events of Windows as Snare's agent and NXLog's `to_syslog_snare` send them to a syslog: `MSWinEventLog`, and behind it, with
//! tabs in between, criticality, log, counter, date, id, source, account, its kind, result, machine, category, data and the event in English
//! words (<https://docs.nxlog.co/refman/current/xm/syslog.html>).
//!
//! What followed on lines of its own in the words stands behind two blanks or more, or tabs.

use memchr::{memchr, memmem};

use super::syslog::number;
use super::windows::Record;

/// How such messages begin.
const BEGINNING: &[u8] = b"MSWinEventLog";

/// What tabs are to rsyslog.
const ESCAPED_TAB: &[u8] = b"#011";

/// The event that a message tells of; none for any other message.
pub fn record<'a>(message: &'a [u8]) -> Option<Record<'a, impl Fn(&str) -> Option<&'a [u8]>>> {
    let (host, rest) = message.split_at(memmem::find(message, BEGINNING)?);
    let rest = &rest[BEGINNING.len()..];
    let tab = if rest.starts_with(ESCAPED_TAB) { ESCAPED_TAB } else { b"\t" };
    // Some put the host once more in front.
    let is_host = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    (host.is_empty() || host.strip_suffix(tab).is_some_and(is_host)).then_some(())?;
    let mut rest = rest.strip_prefix(tab)?;
    let mut columns = [&b""[..]; 12];
    for column in &mut columns {
        let end = memmem::find(rest, tab)?;
        (*column, rest) = (&rest[..end], &rest[end + tab.len()..]);
    }
    let [_, channel, _, _, id, _, _, _, result, ..] = columns;
    let (id, words) = (number(id)?, Words::new(rest, tab, result));
    Some(Record { id, channel, level: b"", text: rest, field: move |name: &str| words.field(id, name) })
}

/// The same of agents that send the words alone: NXLog's `to_syslog_bsd` in the name of the program that Windows calls the source, Purdue's evtsys
/// with `4625: AUDIT_FAILURE ` before them, and OSSEC's and Wazuh's as
/// `WinEvtLog: Security: AUDIT_FAILURE(4625): SOURCE: USER: DOMAIN: HOST: WORDS`.
pub fn record_of<'a>(program: &[u8], message: &'a [u8]) -> Option<Record<'a, impl Fn(&str) -> Option<&'a [u8]>>> {
    let (id, result, text) = match program {
        b"Microsoft-Windows-Security-Auditing" | b"Security-Auditing" => {
            let behind_id = memmem::find(message, b": ").filter(|end| number(&message[..*end]).is_some());
            let told = behind_id.map_or(message, |end| &message[end + 2..]);
            let of = |result: &'static [u8]| Some((result, told.strip_prefix(result)?.strip_prefix(b" ")?));
            let (result, text) = of(b"AUDIT_FAILURE").or_else(|| of(b"AUDIT_SUCCESS")).unwrap_or((b"", told));
            (SENTENCES.iter().find(|known| text.starts_with(known.begins))?.id, result, text)
        }
        b"WinEvtLog" => {
            let rest = message.strip_prefix(b"Security: ")?;
            let (result, rest) = rest.split_at(memchr(b'(', rest)?);
            let mut fields = rest.splitn(6, |byte| *byte == b':');
            let id = fields.next()?.strip_prefix(b"(")?.strip_suffix(b")")?;
            (number(id)?, result, fields.nth(4)?.trim_ascii_start())
        }
        _ => return None,
    };
    // What is cut off is not known, nor which of the labels are a name's.
    let words = Words { text, are_whole: false, is_failure: is_failure(result) };
    Some(Record { id, channel: b"Security", level: b"", text, field: move |name: &str| words.field(id, name) })
}

/// What an event says in words.
struct Sentence {
    id: u32,
    begins: &'static [u8],
    /// What stands before the fields of the account that it is about.
    account: &'static [u8],
}

const SENTENCES: [Sentence; 6] = [
    Sentence { id: 4624, begins: b"An account was successfully logged on.", account: b"New Logon:" },
    Sentence { id: 4625, begins: b"An account failed to log on.", account: b"Account For Which Logon Failed:" },
    Sentence { id: 4740, begins: b"A user account was locked out.", account: b"Account That Was Locked Out:" },
    Sentence { id: 4771, begins: b"Kerberos pre-authentication failed.", account: b"Account Information:" },
    Sentence { id: 4776, begins: b"The computer attempted to validate ", account: b"" },
    Sentence { id: 4776, begins: b"The domain controller attempted to validate ", account: b"" },
];

/// Whether it is, where that is told.
fn is_failure(result: &[u8]) -> Option<bool> {
    (!result.is_empty()).then_some(matches!(result, b"Failure Audit" | b"Audit Failure" | b"AUDIT_FAILURE"))
}

/// What an event says of itself.
struct Words<'a> {
    text: &'a [u8],
    /// Whether a number stands behind them, as it does where nothing was cut off, and no name can have put it there: agents make blanks of
    /// tabs in them.
    are_whole: bool,
    /// Nothing where that isn't told.
    is_failure: Option<bool>,
}

impl<'a> Words<'a> {
    fn new(rest: &'a [u8], tab: &[u8], result: &[u8]) -> Self {
        let end = memmem::rfind(rest, tab).filter(|end| {
            let number = rest[end + tab.len()..].trim_ascii_end();
            !number.is_empty() && number.iter().all(u8::is_ascii_hexdigit)
        });
        let are_whole = end.is_some() && tab != ESCAPED_TAB;
        Self {
            text: end.map_or(rest, |end| &rest[..end]),
            are_whole,
            is_failure: Some(is_failure(result) == Some(true)),
        }
    }

    /// What they say of a field. In other languages nothing is understood, because there an account's name may be all that is English.
    fn field(&self, id: u32, name: &str) -> Option<&'a [u8]> {
        if (name, id) == ("Status", 4776) {
            // Its code stands behind names that a client chose, so that the last one is Windows' own.
            let code = || memmem::rfind(self.text, b"Error Code:").map(|at| &self.text[at + b"Error Code:".len()..]);
            let is_failure = || code().and_then(first_word).is_some_and(|code| !is_zero(code));
            let is_failure = self.is_failure.unwrap_or_else(is_failure);
            return (!is_failure).then_some(b"0x0");
        }
        let is_said = |known: &&Sentence| known.id == id && self.text.starts_with(known.begins);
        let account = SENTENCES.iter().find(is_said)?.account;
        let of_account = || memmem::find(self.text, account).map(|at| &self.text[at + account.len()..]);
        match (name, id) {
            ("TargetUserName", 4776) => behind(self.text, b"Logon Account:"),
            ("TargetUserName", _) => behind(of_account()?, b"Account Name:"),
            ("TargetUserSid", _) => behind(of_account()?, b"Security ID:"),
            ("LogonType", _) => behind(self.text, b"Logon Type:"),
            ("Status", 4771) => self.alone(b"Failure Code:", b"Pre-Authentication Type:"),
            ("IpAddress", _) if !self.are_whole => None,
            ("IpAddress", 4771) => self.alone(b"Client Address:", b"Client Port:"),
            ("IpAddress", _) => self.alone(b"Source Network Address:", b"Source Port:"),
            _ => None,
        }
    }

    /// What stands behind a label that is told once only, and before the next one: an account's name may hold both.
    fn alone(&self, label: &[u8], next: &[u8]) -> Option<&'a [u8]> {
        let mut places = memmem::find_iter(self.text, label);
        let start = places.next().filter(|_| places.next().is_none())?;
        let rest = &self.text[start + label.len()..];
        Some(rest[..memmem::find(rest, next)?].trim_ascii())
    }
}

/// Whether a code is that of success, or none at all; what isn't understood is a failure's.
fn is_zero(code: &[u8]) -> bool {
    let digits = code.strip_prefix(b"0x").or_else(|| code.strip_prefix(b"0X")).unwrap_or(code);
    let end = digits.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(digits.len());
    code.is_empty() || end > 0 && digits[..end].iter().all(|byte| *byte == b'0')
}

/// The first word behind a label.
fn first_word(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.trim_ascii_start();
    while let Some(more) = rest.strip_prefix(ESCAPED_TAB) {
        rest = more.trim_ascii_start();
    }
    rest.split(|byte| byte.is_ascii_whitespace() || *byte == b'#').next()
}

/// What may follow a name, and what else is looked for.
const NEXT_LABELS: [&[u8]; 6] = [
    b"Account Name:",
    b"Account Domain:",
    b"Source Workstation:",
    b"Service Information:",
    b"Additional Information:",
    b"Account For Which Logon Failed:",
];

/// What stands behind a label, up to the next one; nothing where that follows at once.
fn behind<'a>(words: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let mut rest = words[memmem::find(words, label)? + label.len()..].trim_ascii_start();
    while let Some(more) = rest.strip_prefix(ESCAPED_TAB) {
        rest = more.trim_ascii_start();
    }
    let ends = [&b"  "[..], b"\t", b" #011"].into_iter().filter_map(|end| memmem::find(rest, end));
    let value = &rest[..ends.min().unwrap_or(rest.len())];
    let next = NEXT_LABELS.iter().filter_map(|label| memmem::find(value, label)).min();
    let value = value[..next.unwrap_or(value.len())].trim_ascii_end();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Shape;
    use crate::model::{Action, Category, Event};
    use crate::parse::windows::read_record;

    const FAILED: Action = Action::LoginFailed { times: 1, shape: Shape::Explicit };

    fn read_line(id: u32, words: &str) -> (Action, String, String) {
        read_result(id, "Failure Audit", &format!("{words}\t733"))
    }

    fn read_result(id: u32, result: &str, words: &str) -> (Action, String, String) {
        let head = format!("MSWinEventLog\t1\tSecurity\t7\tFri Nov 20 10:00:05 2026\t{id}");
        let line = format!("{head}\tMicrosoft-Windows-Security-Auditing\tN/A\tN/A\t{result}\tWIN-1\tLogon\t\t{words}");
        let read_it = |line: &str| {
            let mut event = Event::plain(None, Category::System);
            read_record(&record(line.as_bytes()).unwrap(), &mut event);
            let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
            (event.action, user.unwrap_or_default(), event.peer.map(|peer| peer.to_string()).unwrap_or_default())
        };
        let told = read_it(&line);
        assert_eq!(read_it(&format!("WIN-1\t{line}")), told);
        assert_eq!(read_it(&format!("WIN-1\t{line}").replace('\t', "#011")).0, told.0);
        for other in [format!("he said {line}"), format!("x{line}"), format!("a\tb\t{line}"), format!("/x\t{line}")] {
            assert!(record(other.as_bytes()).is_none());
        }
        // What rsyslog makes of a tab may be part of a name as well.
        let (action, user, _) = told.clone();
        assert_eq!(read_it(&line.replace('\t', "#011")), (action, user, String::new()));
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
        // Some agents leave the tabs of the words as they are.
        let tabs = failed("eve smith", "192.0.2.7").replace("   ", " \t").replace(":  ", ":\t\t");
        assert_eq!(read_line(4625, &tabs), (FAILED, "eve smith".into(), "192.0.2.7".into()));
        let ntlm = "The computer attempted to validate the credentials for an account.    Authentication Package: X   Logon Account: eve   \
                    Source Workstation: PC   Error Code: ";
        assert_eq!(read_line(4776, &format!("{ntlm}0xc000006a    ")), (FAILED, "eve".into(), "".into()));
        assert_eq!(read_line(4776, &format!("{}0xc000006a", ntlm.replace("PC", "PC   Error Code:  0x0"))).0, FAILED);
        assert_eq!(read_result(4776, "Success Audit", &format!("{ntlm}0x0    \t7")).0, Action::Other);
        let nameless = failed("", "192.0.2.7");
        assert_eq!(read_line(4625, &nameless), (FAILED, "".into(), "192.0.2.7".into()));
        let kerberos = |code: &str| {
            format!(
                "Kerberos pre-authentication failed.    Account Information:   Security ID:  S-1   Account Name:  eve    Service Information:   \
                 Service Name:  krbtgt/X    Network Information:   Client Address:  ::ffff:192.0.2.7   Client Port:  4711    \
                 Additional Information:   Ticket Options:  0x4   Failure Code:  {code}   Pre-Authentication Type: 2"
            )
        };
        assert_eq!(read_line(4771, &kerberos("0x18")), (FAILED, "eve".into(), "192.0.2.7".into()));
        assert_eq!(read_line(4771, &kerberos("0x25")).0, Action::Other);
        let expired = kerberos("0x18").replace("eve", "eve   Failure Code:  0x25   Pre-Authentication Type: 2");
        assert_eq!(read_line(4771, &expired).0, FAILED);
        let good = failed("eve", "192.0.2.7")
            .replace("An account failed to log on.", "An account was successfully logged on.");
        let good = good.replace("Account For Which Logon Failed:", "New Logon:");
        assert_eq!(
            read_line(4624, &good),
            (Action::LoginSucceeded { by_key: false }, "eve".into(), "192.0.2.7".into())
        );
        assert_eq!(read_line(4624, &good.replace("S-1-0-0", "S-1-5-7")).0, Action::Other, "nobody");
    }

    #[test]
    fn words_alone_tell_the_account_and_no_address() {
        let read_it = |program: &str, message: &str| {
            let mut event = Event::plain(None, Category::System);
            read_record(&record_of(program.as_bytes(), message.as_bytes())?, &mut event);
            let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
            Some((event.action, user.unwrap_or_default(), event.peer.map(|peer| peer.to_string()).unwrap_or_default()))
        };
        let source = "Microsoft-Windows-Security-Auditing";
        let plain = failed("eve", "192.0.2.7");
        assert_eq!(read_it(source, &plain), Some((FAILED, "eve".into(), "".into())));
        let tabs = plain.replace("   ", " \t").replace(":  ", ":\t\t");
        assert_eq!(read_it(source, &tabs), Some((FAILED, "eve".into(), "".into())));
        let ossec = |id: u32, words: &str| {
            read_it(
                "WinEvtLog",
                &format!("Security: AUDIT_FAILURE({id}): {source}: (no user): no domain: DC1: {words}"),
            )
        };
        assert_eq!(ossec(4625, &plain), Some((FAILED, "eve".into(), "".into())));
        let evtsys = plain.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let told = |before: &str, words: &str| read_it("Security-Auditing", &format!("{before}{words}"));
        for before in ["4625: AUDIT_FAILURE ", "4625: ", ""] {
            assert_eq!(told(before, &evtsys), Some((FAILED, "eve".into(), "".into())), "{before}");
            assert_eq!(told(before, &evtsys.replace(" eve ", " ")), Some((FAILED, "".into(), "".into())), "{before}");
        }
        let ntlm = "The computer attempted to validate the credentials for an account. Authentication Package: X Logon Account: eve \
                    Source Workstation: PC Error Code: 0xc000006a";
        assert_eq!(told("4776: AUDIT_FAILURE ", ntlm), Some((FAILED, "eve".into(), "".into())));
        assert_eq!(told("4776: AUDIT_SUCCESS ", ntlm).unwrap().0, Action::Other);
        assert_eq!(told("", ntlm).unwrap().0, FAILED);
        for good in ["0x0", "#0110x0", "\t0x0 733", "", "0x00000000"] {
            assert_eq!(told("", &ntlm.replace("0xc000006a", good)).unwrap().0, Action::Other, "{good}");
        }
        for bad in ["0xc000006a,", "0XC000006A", "3221225578", ": 0xc000006a", "0x"] {
            assert_eq!(told("", &ntlm.replace("0xc000006a", bad)).unwrap().0, FAILED, "{bad}");
        }
        assert_eq!(ossec(4672, "Special privileges assigned to new logon.").unwrap().0, Action::Other);
        assert_eq!(read_it(source, "A new process has been created."), None);
        assert_eq!(read_it("app", &plain), None);
    }

    #[test]
    fn an_account_name_forges_no_address_and_what_is_cut_has_none() {
        let forged = failed("a   Source Network Address: 203.0.113.9   Source Port:  1", "192.0.2.7");
        assert_eq!(read_line(4625, &forged), (FAILED, "a".into(), "".into()));
        let cut = forged.split_at(forged.find("Workstation Name").unwrap()).0;
        assert_eq!(read_result(4625, "Failure Audit", cut), (FAILED, "a".into(), "".into()));
        let german = forged.replace("An account failed to log on.", "Fehler beim Anmelden eines Kontos.");
        let german = german.replace("Source Network Address: 192", "Quellnetzwerkadresse: 192");
        assert_eq!(read_line(4625, &german), (FAILED, "".into(), "".into()));
        let unknown = "Es wurde versucht, die Anmeldeinformationen zu pruefen.";
        for result in ["AUDIT_SUCCESS", "Audit Success", "N/A"] {
            assert_eq!(read_result(4776, result, unknown).0, Action::Other, "{result}");
        }
        for line in ["MSWinEventLog", "MSWinEventLog\t1\tSecurity\t7\tx\t4625", "MSWinEventLogs\t1", "x"] {
            assert!(record(line.as_bytes()).is_none(), "{line}");
        }
    }
}
