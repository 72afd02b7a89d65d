//! The login server's log.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;

use super::random::Random;
use super::{Lines, instant};

const MEMBERS: [&str; 12] =
    ["anna", "ben", "carla", "david", "eva", "felix", "greta", "hans", "ida", "jonas", "karin", "lukas"];
const GUESSES: [&str; 6] = ["root", "admin", "test", "oracle", "ubuntu", "postgres"];

/// The log of these days, unsorted.
pub fn lines(days: &[NaiveDate], zone: Tz, random: &mut Random) -> Lines {
    let mut log = Lines::new();
    for day in days {
        members(*day, zone, random, &mut log);
        passers_by(*day, zone, random, &mut log);
    }
    let back = |n: usize| days[days.len() - 1 - n];
    // Guessing that fails, this week and in the weeks before.
    log.extend(guessing("203.0.113.45", "root", instant(back(4), 3 * 60 + 10, zone), 312, zone, 4000));
    log.extend(guessing("203.0.113.81", "admin", instant(back(6), 22 * 60, zone), 48, zone, 5000));
    log.extend(guessing("203.0.113.45", "root", instant(back(11), 4 * 60, zone), 140, zone, 6000));
    log.extend(guessing("198.51.100.9", "test", instant(back(20), 60, zone), 90, zone, 7000));
    // Guessing that succeeds.
    let start = instant(back(2), 2 * 60 + 14, zone);
    let guesses = guessing("198.51.100.77", "backup", start, 64, zone, 8000);
    let end = guesses.last().map_or(start, |(at, _)| *at) + TimeDelta::seconds(20);
    log.extend(guesses);
    log.push(sshd(end, 8400, "Accepted password for backup from 198.51.100.77 port 52114 ssh2", zone));
    log
}

/// Failed logins of one address on one account, about ten seconds apart.
pub fn guessing(address: &str, user: &str, start: DateTime<Utc>, count: i64, zone: Tz, pid: i64) -> Lines {
    let mut log = Lines::new();
    for n in 0..count {
        let (at, port) = (start + TimeDelta::seconds(n * 9), 40_000 + n);
        let pam = format!(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user={user}"
        );
        log.push(sshd(at, pid + n, &pam, zone));
        log.push(sshd(
            at + TimeDelta::seconds(2),
            pid + n,
            &format!("Failed password for {user} from {address} port {port} ssh2"),
            zone,
        ));
        let closed = format!("Connection closed by authenticating user {user} {address} port {port} [preauth]");
        log.push(sshd(at + TimeDelta::seconds(3), pid + n, &closed, zone));
    }
    log
}

fn members(day: NaiveDate, zone: Tz, random: &mut Random, log: &mut Lines) {
    let logins = if day.weekday() == Weekday::Thu { 40 } else { 6 };
    for n in 0..logins {
        let at = instant(day, 8 * 60, zone) + TimeDelta::seconds(random.below(10 * 3600) as i64);
        let (member, address) = (random.pick(&MEMBERS), format!("192.0.2.{}", 1 + random.below(180)));
        let pid = 1000 + n;
        if random.below(12) == 0 {
            let failed = format!("Failed password for {member} from {address} port 51000 ssh2");
            log.push(sshd(at - TimeDelta::seconds(8), pid, &failed, zone));
        }
        log.push(sshd(
            at,
            pid,
            &format!("Accepted publickey for {member} from {address} port 51000 ssh2: ED25519 SHA256:demo"),
            zone,
        ));
        log.push(sshd(
            at,
            pid,
            &format!("pam_unix(sshd:session): session opened for user {member}(uid=1000) by (uid=0)"),
            zone,
        ));
    }
}

/// What every server on the internet sees all day: a try or two, then gone.
fn passers_by(day: NaiveDate, zone: Tz, random: &mut Random, log: &mut Lines) {
    for n in 0..8 {
        let address = format!("203.0.113.{}", 100 + random.below(150));
        let at = instant(day, 0, zone) + TimeDelta::seconds(random.below(86_000) as i64);
        let user = random.pick(&GUESSES);
        let pid = 2000 + n;
        log.push(sshd(at, pid, &format!("Invalid user {user} from {address} port 60000"), zone));
        let failed = format!("Failed password for invalid user {user} from {address} port 60000 ssh2");
        log.push(sshd(at + TimeDelta::seconds(2), pid, &failed, zone));
    }
}

fn sshd(at: DateTime<Utc>, pid: i64, message: &str, zone: Tz) -> (DateTime<Utc>, String) {
    let stamp = at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S.000000%:z");
    (at, format!("{stamp} web1 sshd[{pid}]: {message}"))
}
