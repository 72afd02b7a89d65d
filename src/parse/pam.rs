//! What PAM's modules say of failed logins, whatever the service. (Linux-PAM, pam_unix support.c and pam_unix_auth.c)

use std::sync::LazyLock;

use memchr::{memchr, memchr_iter, memmem};

use super::syslog::number;
use crate::model::Peer;
use crate::model::event::Shape;

/// What a message tells of.
pub struct Failure<'a> {
    /// How many failed logins.
    pub times: u32,
    /// The account.
    pub user: Option<&'a [u8]>,
    /// The other end.
    pub peer: Option<Peer<'a>>,
}

/// Whether a message may be PAM's, of a program that is no matter of logging in itself: `vsftpd: pam_unix(vsftpd:auth): …`,
/// `proftpd: (pam_unix) …`, `pop(pam_unix)[7]: …`.
pub fn may_speak(program: &[u8], message: &[u8]) -> bool {
    message.starts_with(b"pam_")
        || message.starts_with(b"(pam_")
        || program.ends_with(b"(pam_unix)")
        || matches!(program, b"PAM_pwdb" | b"PAM_unix")
}

/// Of a longer message the end may be missing, and with it the address that is PAM's own word.
pub const SURELY_WHOLE: usize = 800;

/// `[pam_unix(SERVICE:auth): |(pam_unix) ]authentication failure; … ruser=NAME rhost=ADDRESS[  user=USER]`, and with
/// `PAM N more authentication failure[s]` or `N more …` in its place. `by_client`: the service is one that may give the name that a
/// client sent as NAME, as servers of files and mail do.
pub fn failure(message: &[u8], by_client: bool) -> Option<Failure<'_>> {
    let said = without_module(message)?;
    let (times, fields) = match said.strip_prefix(b"authentication failure; ") {
        Some(fields) => (1, fields),
        None => more(said)?,
    };
    if let Some(rest) = before_rhost(fields) {
        let user = rest.strip_suffix(b" service").and_then(|user| Some(&user[..memmem::rfind(user, b" for ")?]))?;
        return Some(Failure { times, user: (!user.is_empty()).then_some(user), peer: None });
    }
    let (user, peer) = who(fields, by_client)?;
    Some(Failure { times, user, peer })
}

/// What it said before 2000, `[NAME](uid=0) -> USER for SERVICE service`, behind the arrow.
fn before_rhost(fields: &[u8]) -> Option<&[u8]> {
    let (asker, rest) = fields.split_at(memchr(b' ', fields)?);
    let asker = asker.strip_suffix(b")")?;
    number(&asker[memmem::rfind(asker, b"(uid=")? + 5..])?;
    rest.strip_prefix(b" -> ")
}

/// `[pam_sss(SERVICE:auth): ]authentication success; … rhost=ADDRESS[ user=USER]`: what the module before said only meant that
/// this one had to be asked.
pub fn success(message: &[u8]) -> Option<(Option<&[u8]>, Option<Peer<'_>>)> {
    who(without_module(message)?.strip_prefix(b"authentication success; ")?, true)
}

/// The same in other modules' words, which tell no address: `pam_krb5(SERVICE:auth): user USER authenticated as PRINCIPAL`,
/// `pam_winbind(SERVICE:auth): user 'USER' granted access`.
pub fn granted(message: &[u8]) -> Option<&[u8]> {
    let rest = without_module(message)?.strip_prefix(b"user ")?;
    if message.starts_with(b"pam_krb5(") {
        return Some(&rest[..memmem::find(rest, b" authenticated as ")?]);
    }
    let user = rest.strip_prefix(b"'")?.strip_suffix(b"' granted access");
    user.filter(|_| message.starts_with(b"pam_winbind("))
}

/// Who asks, on the machine itself: `ruser=NAME`.
pub fn asker(message: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(message, b" ruser=")?;
    let rest = &message[at + 7..];
    rest.get(..memmem::find(rest, b" rhost=")?).filter(|name| !name.is_empty() && !name.contains(&b' '))
}

/// `pam_unix(SERVICE:session): session opened for user USER[(uid=N)] by …`
pub fn opened(message: &[u8]) -> Option<&[u8]> {
    let rest = without_module(message)?.strip_prefix(b"session opened for user ")?;
    let user = &rest[..memmem::find(rest, b" by ")?];
    Some(memchr(b'(', user).map_or(user, |uid| &user[..uid]))
}

/// The account that was locked: `pam_faillock(SERVICE:auth): Consecutive login failures for user USER account temporarily locked`,
/// `pam_tally2(SERVICE:auth): user USER (UID) tally N, deny M`.
pub fn locked(message: &[u8]) -> Option<&[u8]> {
    let said = without_module(message)?;
    if message.starts_with(b"pam_faillock(") {
        let user = said.strip_prefix(b"Consecutive login failures for user ")?;
        return user.strip_suffix(b" account temporarily locked");
    }
    let rest = said.strip_prefix(b"user ").filter(|_| message.starts_with(b"pam_tally"))?;
    memmem::find(rest, b", deny ")?;
    Some(&rest[..memmem::rfind(rest, b" (")?])
}

/// Whether pam_unix says it or another module: where both are asked, one repeats the other.
pub fn shape(message: &[u8]) -> Shape {
    if message.starts_with(b"pam_") && !message.starts_with(b"pam_unix(") { Shape::PamSecond } else { Shape::Pam }
}

fn without_module(message: &[u8]) -> Option<&[u8]> {
    Some(match message {
        [b'p', b'a', b'm', b'_', module @ ..] => {
            &module[memchr_iter(b':', module).find(|at| module.get(at + 1) == Some(&b' '))? + 2..]
        }
        [b'(', b'p', b'a', b'm', b'_', module @ ..] => &module[memmem::find(module, b") ")? + 2..],
        said => said,
    })
}

static RHOST: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new("rhost="));

/// The account and the other end, in `… ruser=NAME rhost=ADDRESS[  user=USER]`.
fn who(fields: &[u8], by_client: bool) -> Option<(Option<&[u8]>, Option<Peer<'_>>)> {
    let at = RHOST.find(fields)?;
    let (before, rhost) = (&fields[..at], &fields[at + 6..]);
    let end = memchr(b' ', rhost).unwrap_or(rhost.len());
    let user = rhost[end..].trim_ascii_start().strip_prefix(b"user=").filter(|user| !user.is_empty());
    if !by_client {
        // A second rhost= can only be part of the account.
        return Some((user, Peer::read(&rhost[..end])));
    }
    let ruser = memmem::find(before, b"ruser=").map(|at| before[at + 6..].trim_ascii()).filter(|name| !name.is_empty());
    // NAME may hold anything, so what looks like the rest of the line may be part of it.
    let is_one = RHOST.find(rhost).is_none() && fields.len() <= SURELY_WHOLE;
    let agree = ruser.is_none() || user.is_none() || ruser == user;
    if !is_one || !agree {
        return Some((None, None));
    }
    let peer = Peer::read(&rhost[..end]);
    // Of somebody on this machine it is who asks, and not the account that is meant.
    Some((user.or(ruser.filter(|_| peer.is_some())), peer))
}

/// `[PAM ]N more authentication failure[s]; …`
fn more(said: &[u8]) -> Option<(u32, &[u8])> {
    let said = said.strip_prefix(b"PAM ").unwrap_or(said);
    let end = memchr(b' ', said)?;
    let rest = said[end..].strip_prefix(b" more authentication failure")?;
    Some((number(&said[..end])?, rest.strip_prefix(b"s").unwrap_or(rest).strip_prefix(b"; ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_pams_own_word() {
        let told = |message: &str, by_client: bool| {
            let Failure { times, user, peer } = failure(message.as_bytes(), by_client)?;
            let user = user.map(|user| String::from_utf8_lossy(user).into_owned()).unwrap_or_default();
            Some((times, user, peer.map(|peer| peer.to_string()).unwrap_or_default()))
        };
        let known = |times, user: &str, peer: &str| Some((times, user.to_owned(), peer.to_owned()));
        let said = "authentication failure; logname= uid=0 euid=0 tty=x";
        for (message, want) in [
            (format!("pam_unix(vsftpd:auth): {said} ruser=eve rhost=192.0.2.7"), known(1, "eve", "192.0.2.7")),
            (format!("(pam_unix) {said} ruser= rhost=192.0.2.7  user=root"), known(1, "root", "192.0.2.7")),
            (format!("{said} ruser= rhost=host.example.org user=root"), known(1, "root", "host.example.org")),
            (format!("{said} ruser= rhost=  user=root"), known(1, "root", "")),
            (format!("{said} ruser= rhost=203.0.113.9 rhost=192.0.2.7"), known(1, "", "")),
            (format!("{said} ruser= rhost=203.0.113.9  user=x rhost=192.0.2.7"), known(1, "", "")),
            (format!("{said} ruser=x rhost=203.0.113.9  user=AAA"), known(1, "", "")),
            (format!("{said} ruser= rhost=203.0.113.9  user={}", "A".repeat(900)), known(1, "", "")),
            (format!("{said} ruser=eve rhost=192.0.2.7  user=eve"), known(1, "eve", "192.0.2.7")),
            (format!("pam_unix(vsftpd:auth): {said} ruser=x rhost=203.0.113.9 rhost=192.0.2.7"), known(1, "", "")),
            (
                said.replace("auth", "PAM 2 more auth").replace("re;", "res;") + " ruser= rhost=192.0.2.7",
                known(2, "", "192.0.2.7"),
            ),
            (format!("pam_unix(su:auth): {said} ruser=eve rhost="), known(1, "", "")),
            ("authentication failure; (uid=0) -> eve for ssh service".to_owned(), known(1, "eve", "")),
            ("authentication failure; mike(uid=10) -> eve for su service".to_owned(), known(1, "eve", "")),
            ("2 more authentication failures; (uid=0) -> eve for ssh service".to_owned(), known(2, "eve", "")),
            ("authentication failure; (uid=0) -> x rhost=203.0.113.9  user=root".to_owned(), None),
            (format!("{said} ruser=x(uid=1) -> a for su service rhost=  user=eve"), known(1, "", "")),
            ("pam_unix(sshd:auth): check pass; user unknown".to_owned(), None),
            (format!("pam_unix(x:session): session opened for user {said} rhost=203.0.113.9"), None),
        ] {
            assert_eq!(told(&message, true), want, "{message}");
        }
        // sshd never gives a name there.
        let message = format!("{said} ruser= rhost=192.0.2.7  user=x rhost=203.0.113.9");
        assert_eq!(told(&message, false), known(1, "x rhost=203.0.113.9", "192.0.2.7"));
    }
}
