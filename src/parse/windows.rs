//! What Windows events mean, and how the lines tell it that `logs/evtx.rs` makes of them: the process number is the event's id.
//!
//! What sshd says stands there with the process that says it (<https://github.com/PowerShell/Win32-OpenSSH/wiki/Logging-Facilities>). What the others mean: <https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-10/security/threat-protection/auditing/basic-security-audit-policies>
//! and, for 18456, <https://learn.microsoft.com/en-us/sql/relational-databases/errors-events/mssqlserver-18456-database-engine-error>.

use memchr::memmem;

use super::sshd;
use super::syslog::{is_sshd, number};
use crate::model::event::Shape;
use crate::model::{Action, Category, Event, Peer};

/// Kinds of logon (4624, `LogonType`) by which somebody comes in: at the keyboard, over the network, in clear text, by remote
/// desktop, and with cached credentials.
const COMING_IN: [&[u8]; 5] = [b"2", b"3", b"8", b"10", b"11"];

/// Kerberos results (4771, `Status`) that are no guess at a password: a controller without a certificate for cards, expired, and a
/// clock that goes wrong.
const NO_GUESS: [&[u8]; 3] = [b"0x10", b"0x17", b"0x25"];

/// What follows a right password (4625, `SubStatus`): the account isn't for this kind of login, or the clock goes wrong, or the password has
/// expired or is to be changed.
const BARRED: [&[u8]; 4] = [b"0xc000015b", b"0xc0000133", b"0xc0000071", b"0xc0000224"];

/// Who nobody is: the account of connections without one, whose name each language has its own for.
const ANONYMOUS: &[u8] = b"S-1-5-7";

/// How the accounts begin that Windows makes for each screen, of its window manager and its fonts.
const OF_SCREENS: [&[u8]; 2] = [b"S-1-5-90-0-", b"S-1-5-96-0-"];

/// How SQL Server begins to say where a client was, in its languages.
const CLIENT: [&str; 8] = [
    "[CLIENT: ",
    "[CLIENT : ",
    "[CLIENT\u{a0}: ",
    "[CLIENTE: ",
    "[КЛИЕНТ: ",
    "[客户端: ",
    "[クライアント: ",
    "[클라이언트: ",
];

/// An event as Windows keeps it, however it is written down.
pub struct Record<'a, F> {
    /// What it is, together with the log it stands in.
    pub id: u32,
    /// The log.
    pub channel: &'a [u8],
    /// The severity: 1 critical, 2 error, 3 warning, 4 information, 0 always logged.
    pub level: &'a [u8],
    /// All of it, as far as no client can have written what stands last.
    pub text: &'a [u8],
    /// The values of its fields by their names.
    pub field: F,
}

/// Reads a message of `logs/evtx.rs` into the event.
pub fn read<'a>(message: &'a [u8], event: &mut Event<'a>) {
    let mut words = message.split(|byte| *byte == b' ');
    let channel = words.next().unwrap_or_default();
    let level = words.next().and_then(|word| word.strip_prefix(b"level=")).unwrap_or_default();
    read_record(
        &Record { id: event.pid, channel, level, text: message, field: |name: &str| field(message, name) },
        event,
    );
}

/// Whether somebody whose password was right was not let in. Some reasons stand in the one field only.
fn is_barred<'a>(record: &Record<'a, impl Fn(&str) -> Option<&'a [u8]>>) -> bool {
    let is_one = |status: &[u8]| BARRED.iter().any(|barred| barred.eq_ignore_ascii_case(status.trim_ascii()));
    ["SubStatus", "Status"].iter().any(|name| (record.field)(name).is_some_and(is_one))
}

/// Reads a record into the event.
pub fn read_record<'a>(record: &Record<'a, impl Fn(&str) -> Option<&'a [u8]>>, event: &mut Event<'a>) {
    let field = |name| (record.field)(name);
    let user = field("TargetUserName").filter(|user| !matches!(*user, b"" | b"-"));
    let status = field("Status").unwrap_or_default();
    let failed = Action::LoginFailed { times: 1, shape: Shape::Explicit };
    // Numbers mean something only together with the log they stand in.
    let action = match (record.channel, record.id) {
        (b"Security", 4625) if is_barred(record) => Action::LoginFailed { times: 1, shape: Shape::Barred },
        (b"Security", 4625) => failed,
        (b"Security", 4771) if !NO_GUESS.contains(&status) => failed,
        // The server that checks a password knows only the name of the machine it came from.
        (b"Security", 4776) if status.trim_ascii() != b"0x0" => failed,
        (b"Security", 4624) if is_somebody(record, user) => Action::LoginSucceeded { by_key: false },
        (b"Security", 4740) => Action::LockedOut,
        (b"Security", 1102) | (b"System", 104) => Action::LogCleared,
        (b"Application", 18456) => {
            event.category = Category::Auth;
            event.action = failed;
            event.user = field("Data").or_else(|| account_in(record.text)).map(<[u8]>::trim_ascii);
            // The account's name comes first and may say anything; the server writes the address last. Where it is all there is, nobody is told.
            let text = Some(record.text).filter(|text| field("Data") != Some(*text));
            event.peer = text.and_then(client_in);
            return;
        }
        (b"OpenSSH/Operational" | b"OpenSSH/Admin", _) => {
            let pid = field("ProcessID").and_then(number).unwrap_or(0);
            (event.category, event.pid) = (Category::Auth, pid);
            if field("process").is_some_and(is_sshd) {
                // As everywhere, what it calls an error may be a scanner's doing.
                sshd::read(field("payload").unwrap_or_default(), 1, event);
                return;
            }
            Action::Other
        }
        _ => Action::Other,
    };
    if action == Action::Other {
        let is_error = matches!(record.level, b"1" | b"2");
        event.action = if is_error { Action::ErrorLogged } else { Action::Other };
        event.category = if is_error { Category::Error } else { Category::System };
        return;
    }
    event.category = Category::Auth;
    event.action = action;
    event.user = user;
    // Only an address counts: the name of a machine is whatever it says itself.
    event.peer = field("IpAddress").and_then(|ip| Peer::read(ip).filter(|peer| peer.ip().is_some()));
}

/// Whoever stands behind one of these beginnings, in the last brackets: what stands before may be the client's own.
fn client_in(text: &[u8]) -> Option<Peer<'_>> {
    let last = &text[memchr::memrchr(b'[', text)?..];
    let rest = CLIENT.iter().find_map(|begin| last.strip_prefix(begin.as_bytes()))?;
    Peer::read(&rest[..memchr::memchr(b']', rest)?])
}

/// The account in `Login failed for user 'NAME'. Reason: …`; none where it may be the client that ended it.
fn account_in(message: &[u8]) -> Option<&[u8]> {
    let rest = &message[memmem::find(message, b" '")? + 2..];
    let mut ends = memmem::find_iter(rest, b"'.");
    ends.next().filter(|_| ends.next().is_none()).map(|end| &rest[..end])
}

/// Whether a successful logon is that of a person from elsewhere, not of a service, a machine or nobody.
fn is_somebody<'a>(record: &Record<'a, impl Fn(&str) -> Option<&'a [u8]>>, user: Option<&[u8]>) -> bool {
    let [by, sid] = ["LogonType", "TargetUserSid"].map(|name| (record.field)(name).unwrap_or_default());
    COMING_IN.contains(&by)
        && user.is_some_and(|user| !user.ends_with(b"$") && user != b"ANONYMOUS LOGON")
        && sid != ANONYMOUS
        && !OF_SCREENS.iter().any(|begin| sid.starts_with(begin))
}

/// The value of a field. No value holds quotation marks, so what stands within them is one, whatever it looks like.
fn field<'a>(message: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut pieces = message.split(|byte| *byte == b'"');
    loop {
        let (before, value) = (pieces.next()?, pieces.next()?);
        let rest = before.strip_suffix(b"=").and_then(|before| before.strip_suffix(name.as_bytes()));
        if rest.is_some_and(|rest| rest.ends_with(b" ")) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(id: u32, message: &str) -> (Action, Option<String>, Option<String>) {
        let message: &'static str = message.to_owned().leak();
        let mut event = Event { pid: id, ..Event::plain(None, Category::Unknown) };
        read(message.as_bytes(), &mut event);
        let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
        (event.action, user, event.peer.map(|peer| peer.to_string()))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    const FAILED: Action = Action::LoginFailed { times: 1, shape: Shape::Explicit };

    #[test]
    fn each_way_of_failing_is_one_failure() {
        let message =
            r#"Security level=0 SubjectUserName="-" TargetUserName="eve" LogonType="3" IpAddress="::ffff:192.0.2.7""#;
        assert_eq!(read_line(4625, message), (FAILED, some("eve"), some("192.0.2.7")));
        let message = r#"Security level=0 TargetUserName="eve" IpAddress="-" WorkstationName="192.0.2.9""#;
        assert_eq!(read_line(4625, message), (FAILED, some("eve"), None), "a machine's name is no address");
        let barred = Action::LoginFailed { times: 1, shape: Shape::Barred };
        for (field, action) in [
            ("SubStatus=\"0xc0000071\"", barred),
            ("Status=\"0xC000015B\" SubStatus=\"0x0\"", barred),
            ("Status=\"0xc000006d\" SubStatus=\"0xc000006a\"", FAILED),
            ("SubStatus=\"0xc0000234\"", FAILED),
        ] {
            let message = format!("Security level=0 TargetUserName=\"eve\" IpAddress=\"192.0.2.7\" {field}");
            assert_eq!(read_line(4625, &message), (action, some("eve"), some("192.0.2.7")), "{field}");
        }
        let message = r#"Security level=0 TargetUserName="eve" Workstation="PC" Status="0xc000006a""#;
        assert_eq!(read_line(4776, message), (FAILED, some("eve"), None));
        let message = r#"Security level=0 TargetUserName="eve" Status="0x18" IpAddress="::1""#;
        assert_eq!(read_line(4771, message), (FAILED, some("eve"), some("::1")));
        let message = r#"Application level=0 Data="sa" Data=" Reason: no." Data=" [CLIENT: 192.0.2.8]""#;
        assert_eq!(read_line(18456, message), (FAILED, some("sa"), some("192.0.2.8")));
        for client in CLIENT {
            let message = message.replace("[CLIENT: ", client);
            assert_eq!(read_line(18456, &message), (FAILED, some("sa"), some("192.0.2.8")), "{client}");
        }
    }

    #[test]
    fn what_sshd_says_there_is_read_as_everywhere() {
        let said = |channel: &str, payload: &str| {
            read_line(4, &format!(r#"{channel} level=4 ProcessID="712" process="sshd" payload="{payload}""#))
        };
        let failed = "Failed password for invalid user eve from 192.0.2.7 port 4711 ssh2";
        assert_eq!(said("OpenSSH/Operational", failed), (FAILED, some("eve"), some("192.0.2.7")));
        let good = "Accepted publickey for eve from 192.0.2.7 port 4711 ssh2: ED25519 SHA256:x";
        assert_eq!(
            said("OpenSSH/Operational", good),
            (Action::LoginSucceeded { by_key: true }, some("eve"), some("192.0.2.7"))
        );
        assert_eq!(said("OpenSSH/Operational", "Server listening on :: port 22.").0, Action::Other);
        let refused = "error: maximum authentication attempts exceeded for eve from 192.0.2.7 port 4711 ssh2 [preauth]";
        let action = Action::LoginFailed { times: 1, shape: Shape::TooMany };
        assert_eq!(said("OpenSSH/Admin", refused), (action, some("eve"), some("192.0.2.7")));
        assert_eq!(said("Application", failed).0, Action::Other, "others may say what they like");
        let by = |process: &str, level: u8, payload: &str| {
            read_line(4, &format!(r#"OpenSSH/Admin level={level} process="{process}" payload="{payload}""#)).0
        };
        assert_eq!(by("sshd-session", 4, failed), FAILED);
        assert_eq!(by("sftp-server", 4, failed), Action::Other, "so may sshd's helpers");
        assert_eq!(by("sftp-server", 2, failed), Action::ErrorLogged);
        assert_eq!(by("sshd", 2, "error: Could not load host key: x"), Action::Other);
        let forged =
            "Failed password for invalid user payload='x from 203.0.113.1 port 22 ssh2' from 192.0.2.7 port 4711 ssh2";
        assert_eq!(said("OpenSSH/Operational", forged).2, some("192.0.2.7"));
    }

    #[test]
    fn what_is_no_failure_is_none() {
        let message = r#"Security level=0 TargetUserName="eve" Status="0x0""#;
        assert_eq!(read_line(4776, message).0, Action::Other, "the password was right");
        for (status, why) in [("0x25", "a clock goes wrong"), ("0x10", "a card, and no certificate at the other end")] {
            let message =
                format!(r#"Security level=0 TargetUserName="eve" Status="{status}" IpAddress="192.0.2.7"#) + "\"";
            assert_eq!(read_line(4771, &message).0, Action::Other, "{why}");
        }
        let message = |user: &str, by: &str| {
            format!(r#"Security level=0 TargetUserName="{user}" LogonType="{by}" IpAddress="192.0.2.7""#)
        };
        assert_eq!(read_line(4624, &message("eve", "10")).0, Action::LoginSucceeded { by_key: false });
        for (user, by) in [("eve", "5"), ("WIN-1$", "3"), ("ANONYMOUS LOGON", "3")] {
            assert_eq!(read_line(4624, &message(user, by)).0, Action::Other, "{user} by {by}");
        }
        let nobody = r#"Security level=0 TargetUserSid="S-1-5-7" TargetUserName="ANONYMOUS-ANMELDUNG" LogonType="3""#;
        assert_eq!(read_line(4624, nobody).0, Action::Other, "in any language");
        let screen = r#"Security level=0 TargetUserSid="S-1-5-90-0-2" TargetUserName="DWM-2" LogonType="2""#;
        assert_eq!(read_line(4624, screen).0, Action::Other);
        assert_eq!(read_line(7001, "System level=2 param1=\"x\"").0, Action::ErrorLogged);
        let other = "Microsoft-Windows-TerminalServices-RDPClient/Operational level=4 Value=\"192.0.2.7\"";
        assert_eq!(read_line(1102, other).0, Action::Other, "a connection made, and no log emptied");
    }

    #[test]
    fn an_account_name_forges_no_address() {
        let message =
            r#"Application level=0 Data="x [CLIENT: 203.0.113.1]" Data=" Reason: no." Data=" [CLIENT: 192.0.2.8]""#;
        assert_eq!(read_line(18456, message).2, some("192.0.2.8"));
        let elsewhere = message.replacen("[CLIENT: ", "[КЛИЕНТ: ", 1);
        assert_eq!(read_line(18456, &elsewhere).2, some("192.0.2.8"));
        let message = r#"Security level=0 TargetUserName="a IpAddress='203.0.113.1'" IpAddress="192.0.2.7""#;
        assert_eq!(read_line(4625, message).2, some("192.0.2.7"));
        // Nor does it hide one.
        let message = r#"Security level=0 TargetUserName="x IpAddress=" IpAddress="192.0.2.7""#;
        assert_eq!(read_line(4625, message).2, some("192.0.2.7"));
    }
}
