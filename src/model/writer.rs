//! Who wrote a line: web servers by their names in syslog, and what any user of a machine may have written into its journal.

use memchr::memmem;

use super::Category;

/// Programs that write lines of access and error logs to syslog.
const WEB_SERVERS: [&str; 4] = ["nginx", "apache2", "httpd", "apache"];

/// A web server whose line it is, by the name of the program, and the log where that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebServer {
    /// Its name.
    pub name: &'static str,
    /// [`Category::Access`] or [`Category::Error`]. Visitors can write lines of their own into nginx' error log, so none of it is a request.
    pub log: Option<Category>,
}

/// The web server of this name, as programs have it in syslog: one of several is named behind a slash, and which log it is may follow, as in
/// nginx' `tag=nginx_access` or behind Apache's `| logger -t apache-error`.
pub fn web_server(program: &[u8]) -> Option<WebServer> {
    let end = program.iter().position(|byte| matches!(byte, b'/' | b'_' | b'-')).unwrap_or(program.len());
    let (name, rest) = program.split_at(end);
    let log = match rest {
        [] | [b'/', ..] => None,
        [_, log @ ..] => match log.strip_suffix(b"_log").or(log.strip_suffix(b"-log")).unwrap_or(log) {
            b"access" => Some(Category::Access),
            b"error" => Some(Category::Error),
            _ => return None,
        },
    };
    let name = WEB_SERVERS.into_iter().find(|server| server.as_bytes() == name)?;
    Some(WebServer { name, log })
}

/// The name of a program, of which some write the path.
pub fn without_path(program: &[u8]) -> &[u8] {
    let name = if program.starts_with(b"/") { program.rsplit(|byte| *byte == b'/').next() } else { None };
    name.unwrap_or(program)
}

/// Whether it is a server that writes requests as JSON, in which a visitor can begin no line.
fn writes_json(program: &[u8]) -> bool {
    matches!(program, b"caddy" | b"traefik")
}

/// Whether what a program of this name says may be a line of an access log in JSON, which nginx can be told to write, too. What other programs
/// say may be what their clients sent them.
pub fn may_log_requests_in_json(program: &[u8]) -> bool {
    writes_json(program) || web_server(program).is_some_and(|server| server.log != Some(Category::Error))
}

/// What stands behind a web server's name where the journal has what it printed: to standard error nginx prints decoded paths, so a
/// line may be a visitor's own.
pub const PRINTED: &str = "(printed)";

/// What stands behind the name that an entry of the journal gives itself where whoever runs on the machine may have written it.
pub const BY_ANYBODY: &str = "(by-anybody)";

/// Whether any user's own program may have written what an entry of the journal tells of logins, as `logger -t sshd` does: it is not
/// root's, nor that of a program that runs as root whoever starts it, nor a service's own word. `uid` and `executable` are
/// what journald found out itself (systemd.journal-fields(7), `_UID` and `_EXE`), `program` is what the entry calls itself.
pub fn is_by_anybody(uid: &[u8], executable: &[u8], program: &[u8], message: &[u8]) -> bool {
    let program = without_path(program);
    // Only we give such names.
    if [PRINTED, BY_ANYBODY].iter().any(|mark| program.ends_with(mark.as_bytes())) {
        return true;
    }
    if matches!(uid, b"" | b"0") || !may_tell_of_logins(program, message) {
        return false;
    }
    // They run as root whoever starts them, so nobody can tell them what to say. sshd tells of logins as root (by its monitor).
    const ASKING: [&[u8]; 9] = [
        b"sudo",
        b"su",
        b"doas",
        b"passwd",
        b"chsh",
        b"chfn",
        b"unix_chkpwd",
        b"polkit-agent-helper-1",
        b"cockpit-session",
    ];
    const FOLDERS: [&[u8]; 4] = [b"/usr/", b"/bin/", b"/sbin/", b"/nix/store/"];
    let name = executable.rsplit(|byte| *byte == b'/').next().unwrap_or(executable);
    let name = name.strip_suffix(b"-rs").unwrap_or(name);
    let is_of_system = FOLDERS.iter().any(|folder| executable.starts_with(folder));
    // A service of its own user speaks for itself.
    let is_service = uid.len() < 4 && name != b"logger" && !is_of_logins(program);
    let server = web_server(program).map(|server| server.name.as_bytes());
    // Debian's ways of having several call them caddy.default and caddy.custom.
    let is_one_of_them = name.strip_prefix(program).is_some_and(|rest| rest.starts_with(b"."));
    let is_same = name == program || is_one_of_them || server == Some(name);
    !(is_of_system && is_same && (is_service || ASKING.contains(&name)))
}

/// Whether a program's lines are about logging in, or changing the account, on the machine itself.
pub fn is_about_logins(program: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [b"sudo", b"doas", b"su", b"login", b"systemd-logind", b"passwd", b"polkitd"];
    NAMES.contains(&program.strip_suffix(b"(pam_unix)").unwrap_or(program))
}

/// Whether a program of this name tells of logins by whatever it says.
fn is_of_logins(name: &[u8]) -> bool {
    const OTHERS: [&[u8]; 10] = [
        b"",
        b"-",
        b"dropbear",
        b"windows",
        b"PAM_pwdb",
        b"PAM_unix",
        b"syslog",
        b"WinEvtLog",
        b"Security-Auditing",
        b"Microsoft-Windows-Security-Auditing",
    ];
    name.starts_with(b"ssh") || is_about_logins(name) || OTHERS.contains(&name)
}

/// Whether a program of this name, or this message of any, may be taken for one that tells of logins.
fn may_tell_of_logins(program: &[u8], message: &[u8]) -> bool {
    // Some write the path of the program, and a name may hold what follows one elsewhere.
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    let name = name.split(|byte| matches!(byte, b'[' | b':' | b'(')).next().unwrap_or(name);
    is_of_logins(name)
        || web_server(program).is_some()
        || writes_json(program)
        || [program, message].iter().any(|text| memmem::find(text, b"pam_").is_some())
}
