//! Apache's error log, version 2.2 and 2.4. (<https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>)

use chrono::NaiveDate;
use memchr::{memchr, memmem};

use super::syslog::number;
use super::time::{WallClock, clock, four, month, rfc3339, two};
use super::{Context, Parser};
use crate::model::event::{Escape, Escapes, Shape};
use crate::model::{Action, Category, Event, Peer};

/// The parser.
pub struct ApacheError {
    wall: WallClock,
}

impl ApacheError {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context) }
    }

    /// Reads `Sun Dec 04 04:47:44 2005`, `Fri Nov 20 10:15:30.123456 2026` or `2026-11-20 10:15:30.123456 +0100`.
    fn time(&mut self, stamp: &[u8]) -> Option<i64> {
        if stamp.first()?.is_ascii_digit() {
            return rfc3339(stamp).or_else(|| self.wall.zoneless(stamp));
        }
        let rest = stamp.get(4..)?;
        let month = month(rest.get(..3)?)?;
        let day = two([*rest.get(4)?, *rest.get(5)?])?;
        let clock = clock(rest.get(7..15)?)?;
        let year = four(&rest[memchr::memrchr(b' ', rest)? + 1..])?;
        self.wall.instant(NaiveDate::from_ymd_opt(year, month, day)?, clock)
    }
}

impl Parser for ApacheError {
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let (stamp, rest) = bracketed(line)?;
        let time = self.time(stamp)?;
        if stamp.first().is_some_and(u8::is_ascii_digit) && !is_of_apache(stamp, rest)? {
            return None;
        }
        Some(Event { time: Some(time), ..event(rest)? })
    }
}

/// Whether a compact stamp (`%{cu}t`) is that of 2.4, which writes module and process behind it: programs of all kinds write such stamps.
fn is_of_apache(stamp: &[u8], rest: &[u8]) -> Option<bool> {
    let (level, rest) = bracketed(rest)?;
    let has_blank = stamp.get(10) == Some(&b' ') && memchr(b',', stamp).is_none();
    // Or the numbers of request and connection, as in the manual's advanced example.
    let is_process = [&b"[pid "[..], b"[R:", b"[C:"].iter().any(|field| rest.trim_ascii_start().starts_with(field));
    Some(has_blank && memchr(b':', level).is_some() && is_process)
}

/// What follows `[Fri Nov 20 10:15:30.123456 2026]` or `[2026-11-20 10:15:30]`.
pub fn without_stamp(line: &[u8]) -> Option<&[u8]> {
    let (stamp, rest) = bracketed(line)?;
    let is_named = || stamp.len() >= 24 && month(&stamp[4..7]).is_some();
    let is_numeric = stamp.get(4) == Some(&b'-') && stamp.get(7) == Some(&b'-');
    (is_numeric || is_named()).then_some(rest).filter(|_| stamp.get(11..19).is_some_and(|text| clock(text).is_some()))
}

/// What follows the stamp tells.
pub fn event(text: &[u8]) -> Option<Event<'_>> {
    let (level, mut rest) = bracketed(text)?;
    let module = memchr(b':', level).map(|at| &level[..at]);
    let level = module.map_or(level, |module| &level[module.len() + 1..]);
    let bad = matches!(level, b"emerg" | b"alert" | b"crit" | b"error");
    if !bad && !matches!(level, b"warn" | b"notice" | b"info" | b"debug") && !level.starts_with(b"trace") {
        return None;
    }
    let mut peer = None;
    while let Some((field, after)) = bracketed(without_system_error(without_place(rest))) {
        rest = after;
        if let Some(client) = field.strip_prefix(b"client ").or_else(|| field.strip_prefix(b"remote ")) {
            peer = client_address(client, module.is_some());
            break;
        }
    }
    rest = without_place(rest);
    let plain = Event { peer, ..Event::plain(None, Category::Error) };
    let failure = if bad { failed_login(rest, module) } else { None };
    Some(match failure {
        Some(user) => {
            let action = Action::LoginFailed { times: 1, shape: Shape::ErrorLog };
            let user = Some(user).filter(|user| !user.is_empty());
            let user_escapes = Escapes::with_backslashes(Escape::WebServer, user);
            Event { action, user, user_escapes, ..plain }
        }
        None if level == b"error" && peer.is_some() && is_not_served(rest, module) => {
            Event { action: Action::NotServed, ..plain }
        }
        None => Event { action: if bad { Action::ErrorLogged } else { Action::Other }, ..plain },
    })
}

/// What follows `mod_auth_basic.c(312): `, the place in the source, where the client, an error of the system or a code does.
fn without_place(text: &[u8]) -> &[u8] {
    let inner = text.trim_ascii_start();
    let name = inner.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').filter(|end| *end > 0);
    let rest = name.and_then(|end| {
        let rest = inner[end..].strip_prefix(b".c(")?;
        let end = rest.iter().take(10).position(|byte| *byte == b')').filter(|end| number(&rest[..*end]).is_some())?;
        let rest = rest[end..].strip_prefix(b"): ")?;
        [&b"[client "[..], b"(", b"AH0"].iter().any(|words| rest.starts_with(words)).then_some(rest)
    });
    rest.unwrap_or(text)
}

/// What follows `(13)Permission denied: ` or `(OS 64)The specified network name is no longer available.  : `, where the client does.
fn without_system_error(text: &[u8]) -> &[u8] {
    let client = text.trim_ascii_start().strip_prefix(b"(").and_then(|rest| {
        let number = &rest[..memchr(b')', rest)?];
        let number = number.strip_prefix(b"OS ").unwrap_or(number);
        let client = &rest[memmem::find(rest, b": ")? + 2..];
        (number.iter().all(u8::is_ascii_digit) && client.starts_with(b"[client ")).then_some(client)
    });
    client.unwrap_or(text)
}

/// What mod_auth_basic, mod_authz_core, mod_auth_digest and mod_auth_form say when they answer 401.
const CODES: [&[u8]; 15] = [
    b"01614", b"01617", b"01618", b"01631", b"01781", b"01788", b"01789", b"01790", b"01791", b"01792", b"01793",
    b"01794", b"01806", b"01807", b"01808",
];

/// What mod_auth_digest says of credentials that are none.
const NO_CREDENTIALS: [&[u8]; 4] =
    [b"client used wrong authentication scheme", b"realm mismatch - got `", b"unknown algorithm `", b"invalid qop `"];

/// What Kerberos says of a wrong password (MIT and Heimdal, krb5_err.et), by mod_auth_kerb, whose lines some servers write without its
/// name. Accounts that a realm doesn't know are no failure: the next realm may, or another module.
const KERBEROS: &[u8] = b"krb5_get_init_creds_password() failed: ";
const WRONG_PASSWORD: [&[u8]; 3] =
    [b"Decrypt integrity check failed", b"Preauthentication failed", b"Pre-authentication failed"];

/// What mod_auth_gssapi says of a password that Kerberos refuses.
const GSSAPI: &[u8] = b"GSS ERROR In Basic Auth: gss_acquire_cred_with_password() failed: ";

/// The account of a login that failed, empty where none is told. In 2.4, which writes the module, a code tells the servers' words
/// from those of programs behind it; mod_auth_kerb has none.
fn failed_login<'a>(message: &'a [u8], module: Option<&[u8]>) -> Option<&'a [u8]> {
    let mut message = message.trim_ascii_start();
    if let Some(reason) =
        message.strip_prefix(KERBEROS).filter(|_| module.is_none_or(|module| matches!(module, b"" | b"auth_kerb")))
    {
        return WRONG_PASSWORD.iter().any(|said| reason.starts_with(said)).then_some(b"");
    }
    if let Some(reason) = message.strip_prefix(GSSAPI).filter(|_| module == Some(b"auth_gssapi")) {
        return WRONG_PASSWORD.iter().any(|said| memmem::find(reason, said).is_some()).then_some(b"");
    }
    // Without a module there may be a code as well, where the configuration says how lines look.
    if module.is_some() || message.starts_with(b"AH0") {
        // Programs behind it write in the names of their modules.
        let is_its = module.is_none_or(|module| module.starts_with(b"auth"));
        let (code, rest) = message.strip_prefix(b"AH")?.split_at_checked(5)?;
        message = rest.strip_prefix(b": ").filter(|_| is_its && CODES.contains(&code))?;
    } else if let Some(user) = unauthorized(message).or_else(|| of_pam(message)) {
        return Some(user);
    }
    let digest = message.strip_prefix(b"Digest: ");
    let may_say = if module.is_some() || digest.is_some() { &NO_CREDENTIALS[..] } else { &NO_CREDENTIALS[..1] };
    let message = digest.unwrap_or(message);
    if may_say.iter().any(|said| message.starts_with(said)) {
        return Some(b"");
    }
    let rest = message.strip_prefix(b"user ")?;
    let said: [&[u8]; 5] = [
        b"' in realm `",
        b" not found",
        b": authentication failure for \"",
        b": authorization failure for \"",
        b": password mismatch",
    ];
    let end = said.iter().filter_map(|said| memmem::find(rest, said)).min()?;
    let user = &rest[..end];
    Some(match user {
        [b'`', user @ ..] | [b'\'', user @ .., b'\''] => user,
        user => user,
    })
}

/// What core, mod_authz_core, mod_access_compat, mod_autoindex, mod_negotiation, mod_cgid and mod_cgi say when they answer 404 or 403, but
/// for want of rights to read.
const NOT_SERVED: [&[u8]; 11] =
    [b"00127", b"00128", b"00130", b"00687", b"01264", b"01265", b"01276", b"01630", b"01797", b"02811", b"02812"];

/// Whether it says that the answer is 404 or 403. As of failed logins, in 2.4 a code tells the servers' words from those of programs behind
/// it; PHP's module has none.
fn is_not_served(message: &[u8], module: Option<&[u8]>) -> bool {
    const SAID: [&[u8]; 7] = [
        b"File does not exist: ",
        b"client denied by server configuration: ",
        b"Directory index forbidden by ",
        b"Attempt to serve directory: ",
        b"Negotiation: discovered file(s) matching request: ",
        b"script not found or unable to stat: ",
        b"attempt to invoke directory as script: ",
    ];
    let message = message.trim_ascii_start();
    if module.is_none_or(|module| module.starts_with(b"php")) && message.starts_with(b"script '") {
        return memmem::find(message, b"' not found or unable to stat").is_some();
    }
    let coded = message.strip_prefix(b"AH").and_then(|rest| rest.split_at_checked(5));
    match coded {
        Some((b"01071", rest)) => rest
            .strip_prefix(b": Got error 'Primary script unknown")
            .is_some_and(|rest| rest.starts_with(b"\\n'") || rest.starts_with(b"'")),
        Some((code, rest)) => rest.starts_with(b": ") && NOT_SERVED.contains(&code),
        None => module.is_none() && SAID.iter().any(|said| message.starts_with(said)),
    }
}

/// Whom 2.2 lets in nowhere it asks for accounts: `Authorization of user USER to access URI failed, reason: …` (mod_authz_owner,
/// mod_authz_groupfile), `access to URI failed, reason: user 'USER' does not meet 'require'ments for …` (mod_authz_user), in 2.0 and before
/// `access to URI failed, reason: user USER not allowed access`.
fn unauthorized(message: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = message.strip_prefix(b"Authorization of user ") {
        let end = memmem::find(rest, b" to access ")?;
        return memmem::find(&rest[end..], b" failed, reason: ").map(|_| &rest[..end]);
    }
    const REASON: &[u8] = b" failed, reason: ";
    const NOT_MET: &[u8] = b"' does not meet 'require'ments for user/valid-user to be allowed access";
    const NOT_ALLOWED: &[u8] = b" not allowed access";
    let message = message.strip_prefix(b"access to ")?;
    let last = &message[memmem::rfind(message, REASON)? + REASON.len()..];
    let rest = last.strip_prefix(b"user ")?;
    let quoted = rest.strip_prefix(b"'").and_then(|user| Some(&user[..memmem::find(user, NOT_MET)?]));
    let plain = || {
        let (user, after) = rest.split_at(memmem::find(rest, NOT_ALLOWED)?);
        let after = &after[NOT_ALLOWED.len()..];
        (after.is_empty() || after.starts_with(b", referer: ")).then_some(user)
    };
    let user = quoted.or_else(plain)?;
    // What a visitor asks for, and comes from by its own word, may say the same of somebody else.
    let is_told_once = memmem::find_iter(message, REASON).nth(1).is_none();
    Some(if is_told_once { user } else { b"" })
}

/// mod_auth_pam's `PAM: user 'USER' - not authenticated: …`, of whom there is none, or whose password is wrong.
fn of_pam(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"PAM: user '")?;
    Some(&rest[..memmem::find(rest, b"' - not authenticated: ")?])
}

/// Splits `[field] rest` (leading blanks ignored) into both; an address in brackets may stand in the field.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.trim_ascii_start().strip_prefix(b"[")?;
    let mut end = memchr(b']', inner)?;
    if memchr(b'[', &inner[..end]).is_some() {
        end += 1 + memchr(b']', &inner[end + 1..])?;
    }
    Some((&inner[..end], &inner[end + 1..]))
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1:4711` or `[2001:db8::1]:4711`: 2.4, which writes the module, always writes the
/// port, and 2.2 never does.
fn client_address(text: &[u8], has_port: bool) -> Option<Peer<'_>> {
    if let Some(bracketed) = text.strip_prefix(b"[") {
        return Peer::read(&bracketed[..memchr(b']', bracketed)?]);
    }
    let without_port = || Peer::read(&text[..memchr::memrchr(b':', text)?]);
    let whole = Peer::read(text).filter(|_| !has_port);
    whole.or_else(without_port).or_else(|| Peer::read(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Triage;
    use crate::parse::YearRule;

    fn parse(line: &str) -> Option<(i64, bool, String)> {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let event = parser.parse(line.as_bytes())?;
        Some((
            event.time?,
            Triage::default().is_urgent(event.action, 0),
            event.peer.map(|p| p.to_string()).unwrap_or_default(),
        ))
    }

    #[test]
    fn both_generations_are_understood() {
        let at = |text| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        let old = "[Sun Dec 04 04:47:44 2005] [error] [client 192.0.2.7] File does not exist: /x";
        assert_eq!(parse(old), Some((at("2005-12-04T04:47:44Z"), true, "192.0.2.7".into())));
        let new = "[Fri Nov 20 10:15:30.123456 2026] [core:notice] [pid 7:tid 9] AH00094: Command line: 'apache2'";
        assert_eq!(parse(new), Some((at("2026-11-20T10:15:30Z"), false, String::new())));
        let client = "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [client 192.0.2.7:4711] AH00898: x";
        assert_eq!(parse(client).unwrap().2, "192.0.2.7");
        let v6 = "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [client 2001:db8::7:4711] AH00898: x";
        assert_eq!(parse(v6).unwrap().2, "2001:db8::7");
        let bracketed =
            "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] [remote [2001:db8::7]:4711] AH00898: x";
        assert_eq!(parse(bracketed).unwrap().2, "2001:db8::7");
        let without_module = "[Sun Dec 04 04:47:44 2005] [error] [client 2001:db8::7:47110] File does not exist: /x";
        assert_eq!(parse(without_module).unwrap().2, "2001:db8::7");
        let old_v6 = "[Sun Dec 04 04:47:44 2005] [error] [client 2001:db8::7:4711] File does not exist: /x";
        assert_eq!(parse(old_v6).unwrap().2, "2001:db8::7:4711");
        assert_eq!(parse("[not a stamp] [error] x"), None);
        let failed = "[Fri Nov 20 10:15:30.123456 2026] [core:error] [pid 7] (13)Permission denied: [client 192.0.2.7:4711] AH00132: x";
        assert_eq!(parse(failed).unwrap().2, "192.0.2.7");
        let of_windows =
            "[Fri Nov 20 10:15:30.123456 2026] [proxy:error] [pid 7] (OS 64)It is gone.  : [client 192.0.2.7:4711] x";
        assert_eq!(parse(of_windows).unwrap().2, "192.0.2.7");
        for told in ["(13)x: AH1: [client 203.0.113.9:1] y", "(x)y: [client 203.0.113.9:1] y"] {
            assert_eq!(parse(&format!("[Sun Dec 04 04:47:44 2005] [error] {told}")).unwrap().2, "", "{told}");
        }
        let compact = "[auth_basic:error] [pid 7] [client 192.0.2.7:4711] AH01618: user eve not found: /";
        for stamp in ["2026-11-20 11:15:30.123456 +0100", "2026-11-20 10:15:30.123456", "2026-11-20 10:15:30"] {
            let told = parse(&format!("[{stamp}] {compact}"));
            assert_eq!(told, Some((at("2026-11-20T10:15:30Z"), true, "192.0.2.7".into())), "{stamp}");
        }
        for manual in [
            "[Fri Nov 20 10:15:30 2026] [error] [pid 7] mod_auth_basic.c(312): [client 192.0.2.7:4711] AH01618: user eve not found: /x",
            "[Fri Nov 20 10:15:30 2026] [error] mod_auth_basic.c(312): (13)x: [client 192.0.2.7:4711] AH01618: user eve not found: /x",
            "[Fri Nov 20 10:15:30 2026] [error] [client 192.0.2.7:4711] AH01618: user eve not found: /x",
        ] {
            assert_eq!(parse(manual), Some((at("2026-11-20T10:15:30Z"), true, "192.0.2.7".into())), "{manual}");
        }
        for line in [
            "[2026-11-20 10:15:30] [error] x",
            "[2026-11-20 10:15:30] [worker:error] x",
            "[2026-11-20T10:15:30.123Z] [worker:error] [pid 7] x",
            "[2026-11-20 10:15:30,123] [worker:error] [pid 7] x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_served_is_told_from_what_went_wrong() {
        for (said, is_it) in [
            ("[core:error] [pid 7] [client 192.0.2.7:4711] AH00128: File does not exist: /srv/x", true),
            (
                "[core:error] [pid 7] (2)No such file or directory: [client 192.0.2.7:4711] AH00128: File does not exist: /x",
                true,
            ),
            ("[error] [client 192.0.2.7] File does not exist: /srv/x, referer: http://example.org/", true),
            ("[error] [client 192.0.2.7] script '/srv/x.php' not found or unable to stat", true),
            ("[php:error] [pid 7] [client 192.0.2.7:4711] script '/srv/x.php' not found or unable to stat", true),
            (
                "[authz_core:error] [pid 7] [client 192.0.2.7:4711] AH01630: client denied by server configuration: /x",
                true,
            ),
            (
                "[autoindex:error] [pid 7] [client 192.0.2.7:4711] AH01276: Cannot serve directory /srv/: No matching",
                true,
            ),
            ("[proxy_fcgi:error] [pid 7] [client 192.0.2.7:4711] AH01071: Got error 'Primary script unknown\\n'", true),
            (
                "[proxy_fcgi:error] [pid 7] [client 192.0.2.7:4711] AH01071: Got error 'PHP message: Fatal error: x'",
                false,
            ),
            (
                "[core:error] [pid 7] (13)Permission denied: [client 192.0.2.7:4711] AH00132: file permissions deny",
                false,
            ),
            ("[core:error] [pid 7] File does not exist: /srv/x", false),
            ("[core:crit] [pid 7] [client 192.0.2.7:4711] AH00128: File does not exist: /srv/x", false),
            (
                "[cgi:error] [pid 7] [client 192.0.2.7:4711] AH01215: File does not exist: /etc/app.conf: /srv/app",
                false,
            ),
            (
                "[cgid:error] [pid 7] [client 192.0.2.7:4711] AH01215: script '/opt/x' not found or unable to stat",
                false,
            ),
            ("[wsgi:error] [pid 7] [client 192.0.2.7:4711] File does not exist: /etc/app/db.conf", false),
            (
                "[proxy_fcgi:error] [pid 7] [client 192.0.2.7:4711] AH01071: Got error 'Primary script unknownPHP message: x'",
                false,
            ),
            (
                "[negotiation:error] [pid 7] [client 192.0.2.7:4711] AH00687: Negotiation: discovered file(s) matching",
                true,
            ),
            ("[cgid:error] [pid 7] [client 192.0.2.7:4711] AH01264: script not found or unable to stat: /srv/x", true),
            ("[php:error] [pid 7] [client 192.0.2.7:4711] PHP Warning:  File does not exist: /srv/x", false),
        ] {
            let action = event(said.as_bytes()).unwrap().action;
            assert_eq!(action, if is_it { Action::NotServed } else { Action::ErrorLogged }, "{said}");
        }
    }

    #[test]
    fn programs_behind_the_server_tell_of_no_failed_login() {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        for module in ["wsgi", "", "php", "cgid"] {
            let line = format!(
                "[Fri Nov 20 10:15:30.123456 2026] [{module}:error] [pid 7] [client 192.0.2.7:4711] AH01618: user root not found: /x"
            );
            assert_eq!(parser.parse(line.as_bytes()).unwrap().action, Action::ErrorLogged, "{module}");
        }
    }

    #[test]
    fn failed_logins_tell_their_account() {
        let mut parser = ApacheError::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) });
        let mut told = |level: &str, message: &str| {
            let line = format!("[Fri Nov 20 10:15:30.123456 2026] [{level}] [pid 7] [client 192.0.2.7:4711] {message}");
            let event = parser.parse(line.as_bytes()).unwrap();
            let user = event.user.map(|user| String::from_utf8_lossy(user).into_owned());
            (matches!(event.action, Action::LoginFailed { times: 1, shape: Shape::ErrorLog }), user)
        };
        let basic = "auth_basic:error";
        for (level, message, user) in [
            (basic, "AH01618: user eve not found: /private", "eve"),
            (basic, "AH01618: user eve not found: /private, referer: http://example.org/ not found: /", "eve"),
            (basic, "AH01617: user eve: authentication failure for \"/private\": Password Mismatch", "eve"),
            (basic, "AH01617: user a b: authentication failure for \"/private\": Password Mismatch", "a b"),
            ("error", "user eve not found", "eve"),
            ("authz_core:error", "AH01631: user eve: authorization failure for \"/private\": ", "eve"),
            ("auth_form:error", "AH01806: user 'eve' not found: /login", "eve"),
            ("auth_form:error", "AH01808: user 'eve' not found: /login", "eve"),
            ("auth_digest:error", "AH01790: user `eve' in realm `private' not found: /private", "eve"),
            ("auth_digest:error", "AH01792: user eve: password mismatch: /private", "eve"),
            ("error", "Digest: user eve: password mismatch: /private", "eve"),
            ("error", "AH01618: user eve not found: /private", "eve"),
            (basic, "mod_auth_basic.c(312): AH01618: user eve not found: /private", "eve"),
            ("auth_digest:error", "AH01791: user `eve' in realm `private' denied by provider: /private", "eve"),
            ("error", "Authorization of user eve to access /x failed, reason: file owner bob does not match.", "eve"),
            (
                "error",
                "access to /x failed, reason: user 'eve' does not meet 'require'ments for user/valid-user to be allowed access",
                "eve",
            ),
            ("error", "access to /x failed, reason: user eve not allowed access, referer: http://example.org/", "eve"),
            ("error", "PAM: user 'eve' - not authenticated: Authentication failure", "eve"),
        ] {
            assert_eq!(told(level, message), (true, Some(user.to_owned())), "{message}");
        }
        let (digest, kerberos) =
            ("auth_digest:error", "krb5_get_init_creds_password() failed: Preauthentication failed");
        for (level, message) in [
            (basic, "AH01618: user  not found: /private"),
            (basic, "AH01614: client used wrong authentication scheme: /private"),
            (digest, "AH01781: client used wrong authentication scheme `Basic': /private"),
            (digest, "AH01788: realm mismatch - got `a' but expected `b'"),
            (digest, "AH01793: invalid qop `auth' received: /private"),
            ("error", "Digest: unknown algorithm `x' received: /private"),
            ("error", kerberos),
            ("auth_kerb:error", kerberos),
            (":error", kerberos),
            (
                "auth_gssapi:error",
                "GSS ERROR In Basic Auth: gss_acquire_cred_with_password() failed: [Unspecified GSS failure (Pre-authentication failed: x)]",
            ),
            // Who asks for a page that is called so may not choose who is blamed.
            (
                "error",
                "access to / failed, reason: user 'bob' does not meet 'require'ments for x failed, reason: user 'eve' does not meet 'require'ments for user/valid-user to be allowed access",
            ),
        ] {
            assert_eq!(told(level, message), (true, None), "{message}");
        }
        for (level, message) in [
            ("auth_basic:debug", "AH01618: user eve not found: /private"),
            ("core:error", "File does not exist: /user eve not found: /private"),
            ("authz_core:error", "AH01630: client denied by server configuration: /srv/user eve not found"),
            ("core:error", "AH00126: Invalid URI in request user eve not found HTTP/1.1"),
            ("core:error", "AH0161: user eve not found: /private"),
            ("cgi:error", "AH01215: user 42 not found: /srv/cgi/x"),
            ("wsgi:error", "user 42 not found"),
            ("wsgi:error", kerberos),
            ("auth_gssapi:error", "GSS ERROR In Basic Auth: gss_acquire_cred_with_password() failed: [No credentials]"),
            ("error", "AH00128: user eve not found"),
            (basic, ".c(312): AH01618: user eve not found"),
            (basic, "mod_auth_basic.c(x): AH01618: user eve not found"),
            ("auth_kerb:error", "krb5_get_init_creds_password() failed: Cannot contact any KDC for requested realm"),
            ("auth_kerb:error", "krb5_get_init_creds_password() failed: Client not found in Kerberos database"),
            (
                "error",
                "access to /x failed, reason: user 'bob' does not meet 'require'ments for x failed, reason: SSL connection required",
            ),
            (
                "error",
                "access to / failed, reason: require directives present, referer: http://x/ failed, reason: user 'bob' does not meet 'require'ments for ",
            ),
            (
                "authz_owner:error",
                "AH01637: Authorization of user eve to access /x failed, reason: file owner bob does not match.",
            ),
            ("error", "realm mismatch - got `a' but expected `b'"),
            ("error", "access to /x failed, reason: user eve is unknown"),
        ] {
            assert!(!told(level, message).0, "{message}");
        }
    }
}
