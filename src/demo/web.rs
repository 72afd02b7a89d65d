//! The web server's logs.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;

use super::random::Random;
use super::{Lines, instant};

/// Requests per hour of an ordinary day.
const HOURS: [usize; 24] =
    [8, 5, 4, 4, 5, 9, 25, 60, 110, 150, 160, 150, 120, 140, 150, 150, 140, 120, 100, 110, 100, 70, 40, 18];
const PAGES: [&str; 10] = [
    "/",
    "/news",
    "/members",
    "/calendar",
    "/contact",
    "/style.css",
    "/logo.png",
    "/members/list?page=2",
    "/downloads/minutes.pdf",
    "/robots.txt",
];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
];
const HOLES: [&str; 8] = [
    "/wp-login.php",
    "/.env",
    "/admin.php",
    "/phpmyadmin/",
    "/.git/config",
    "/backup.zip",
    "/cgi-bin/test",
    "/xmlrpc.php",
];

/// The access log and the error log of these days, unsorted.
pub fn lines(days: &[NaiveDate], zone: Tz, random: &mut Random) -> (Lines, Lines) {
    let (mut access, mut errors) = (Lines::new(), Lines::new());
    for day in days {
        ordinary_day(*day, zone, random, &mut access);
    }
    let back = |n: usize| days[days.len() - 1 - n];
    scanner(back(3), zone, random, &mut access);
    scanner(back(17), zone, random, &mut access);
    outage(back(2), zone, random, &mut access, &mut errors);
    (access, errors)
}

fn ordinary_day(day: NaiveDate, zone: Tz, random: &mut Random, access: &mut Lines) {
    // All members log in on Thursdays.
    let factor = if day.weekday() == Weekday::Thu { 3 } else { 1 };
    for (hour, weight) in HOURS.iter().enumerate() {
        for _ in 0..weight * factor + random.below(weight / 4 + 1) {
            let at = instant(day, hour as i64 * 60, zone) + TimeDelta::seconds(random.below(3600) as i64);
            let address = format!("192.0.2.{}", 1 + random.below(180));
            let (page, status) = match random.below(1000) {
                0..=5 => ("/old-page", 404),
                6..=7 => ("/members", 401),
                8 => ("/private", 403),
                9..=60 => (random.pick(&PAGES), 304),
                _ => (random.pick(&PAGES), 200),
            };
            let size = if status == 304 { 0 } else { 300 + random.below(40_000) };
            access.push(request(at, &address, page, status, size, random.pick(&AGENTS), zone));
        }
    }
}

/// Looks for holes: hundreds of pages that don't exist, within minutes.
fn scanner(day: NaiveDate, zone: Tz, random: &mut Random, access: &mut Lines) {
    let start = instant(day, 3 * 60 + 20, zone);
    for n in 0..320 {
        let at = start + TimeDelta::milliseconds(n * 400);
        access.push(request(at, "198.51.100.200", random.pick(&HOLES), 404, 492, "curl/8.5.0", zone));
    }
}

/// Eleven minutes in which the application behind the web server was gone.
fn outage(day: NaiveDate, zone: Tz, random: &mut Random, access: &mut Lines, errors: &mut Lines) {
    let start = instant(day, 14 * 60 + 5, zone);
    for n in 0..220 {
        let at = start + TimeDelta::seconds(n * 3);
        let address = format!("192.0.2.{}", 1 + random.below(180));
        access.push(request(at, &address, random.pick(&PAGES), 503, 299, random.pick(&AGENTS), zone));
        let stamp = at.with_timezone(&zone).format("%a %b %d %H:%M:%S.000000 %Y");
        errors.push((at, format!("[{stamp}] [proxy:error] [pid 812:tid 8121] [client {address}:40112] AH01114: HTTP: failed to make connection to backend: 127.0.0.1")));
    }
}

fn request(
    at: DateTime<Utc>,
    address: &str,
    page: &str,
    status: u16,
    size: usize,
    agent: &str,
    zone: Tz,
) -> (DateTime<Utc>, String) {
    let stamp = at.with_timezone(&zone).format("%d/%b/%Y:%H:%M:%S %z");
    (at, format!("{address} - - [{stamp}] \"GET {page} HTTP/1.1\" {status} {size} \"-\" \"{agent}\""))
}
