//! `logkeeper stats` shows what scan jobs counted.

use chrono::{TimeDelta, Utc};

use crate::support::TestBed;

fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.main("[sources.web]\nfiles = [\"DIR/log/access.log\"]\n[sources.auth]\nfiles = [\"DIR/log/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"web\", \"auth\"]\nrules = [\"failed-logins\"]\n");
    bed
}

/// Rows as `NAME COUNT…`.
fn rows(bed: &TestBed, args: &[&str]) -> Vec<String> {
    let csv = bed.run(&[&["stats", "--csv"], args].concat()).stdout;
    csv.lines().skip(1).map(|row| row.trim().replace(',', " ")).collect()
}

#[test]
fn what_was_counted_is_shown_by_status_address_account_path_hour_and_source() {
    let bed = bed();
    let yesterday = (Utc::now() - TimeDelta::days(1)).date_naive();
    let web = |n: u32, hour: u32| {
        let (ip, path, status) = (n % 3, n % 2, [200, 404, 500][n as usize % 3]);
        let date = yesterday.format("%d/%b/%Y");
        format!(
            "192.0.2.{ip} - - [{date}:{hour:02}:{:02}:00 +0000] \"GET /p{path}?q={n} HTTP/1.1\" {status} 5\n",
            n % 60
        )
    };
    let auth = |n: u32| {
        let what = if n.is_multiple_of(4) { "Accepted" } else { "Failed" };
        format!(
            "{yesterday}T05:00:{n:02}Z web1 sshd[{n}]: {what} password for {}{} from 2001:db8::7 port 22 ssh2\n",
            if n < 10 { 'u' } else { 'U' },
            n % 2
        )
    };
    let text: String = (0..120).map(|n| web(n, 3)).chain((0..60).map(|n| web(n, 7))).collect();
    // Two runs see the same hour in halves.
    let half = text[..text.len() / 4].rfind('\n').unwrap() + 1;
    bed.file("log/access.log", &text[..half]).file("log/auth.log", &(0..20).map(auth).collect::<String>());
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    bed.file("log/access.log", &(text + "no request\n"));
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    let status = ["1xx to 3xx 60", "401 not logged in 0", "403 forbidden 0", "404 not found 60", "other 4xx 0"];
    assert_eq!(rows(&bed, &[])[..5], status);
    assert_eq!(rows(&bed, &["--by", "status"])[5], "5xx the server failed 60");
    assert_eq!(rows(&bed, &["--by", "ip"]), ["192.0.2.0 60", "192.0.2.1 60", "192.0.2.2 60", "2001:db8::7 20"]);
    assert_eq!(rows(&bed, &["--by", "ip", "--source", "auth"]), ["2001:db8::7 20"]);
    assert_eq!(rows(&bed, &["--by", "user"]), ["u0 10", "u1 10"]);
    assert_eq!(rows(&bed, &["--by", "path", "-n", "1"]), ["/p0 90"]);
    let hours = rows(&bed, &["--by", "hour"]);
    assert_eq!((hours.len(), hours[3].as_str(), hours[5].as_str()), (24, "03:00 120 80 0 0", "05:00 0 0 15 5"));
    assert_eq!(rows(&bed, &["--by", "weekday"]), [format!("{} 180 120 15 5", yesterday.format("%A"))]);
    assert_eq!(rows(&bed, &["--by", "day"]), [format!("{} 180 120 15 5", yesterday.format("%a %F"))]);
    assert_eq!(rows(&bed, &["--by", "source"]), ["auth 20 0 0", "web 181 120 1"]);
    assert_eq!(bed.json(&["stats", "--by", "user"])[0], serde_json::json!({ "account": "u0", "count": 10 }));
    let shown = bed.run(&["stats", "--by", "hour"]).stdout;
    assert!(shown.contains(&"\u{2588}".repeat(30)) && shown.contains("FAILED LOGINS"), "{shown}");
    let later = bed.run(&["stats", "--since", "1h"]).stdout;
    assert!(later.contains("Nothing of this was counted in this time"), "{later}");
    assert_eq!(bed.run(&["stats", "--source", "nothing"]).code, 2);
    assert_eq!(bed.run(&["stats", "--by", "ip", "-n", "0"]).code, 2);
    assert_eq!(bed.run(&["stats", "--since", "1h", "--until", "2h"]).code, 2);
    let store = logkeeper::store::Store::open(&bed.path("state")).unwrap();
    assert!(store.prune_tops(Utc::now(), 1).unwrap() == 1 && store.prune_tops(Utc::now(), 100).unwrap() > 3);
    assert_eq!(rows(&bed, &["--by", "ip"]), [""; 0]);
}

#[test]
fn who_comes_late_in_an_hour_is_among_the_most_frequent_however_it_is_cut() {
    let bed = bed();
    let now = Utc::now() - TimeDelta::minutes(1);
    let line =
        |n: u32| format!("192.0.2.{n} - - [{}] \"GET / HTTP/1.1\" 200 5\n", now.format("%d/%b/%Y:%H:%M:%S +0000"));
    let mut text: String = (0..60).map(|n| line(n % 20)).collect();
    for _ in 0..6 {
        text.push_str(&line(99));
        bed.file("log/access.log", &text);
        assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    }
    // The hour that goes on counts.
    assert_eq!(rows(&bed, &["--by", "ip", "-n", "1", "--since", "30m"]), ["192.0.2.99 6"]);
    assert_eq!(rows(&bed, &["--since", "30m"])[0], "1xx to 3xx 66");
    // Of an hour that is over the most frequent are kept.
    let later = (now + TimeDelta::hours(5)).to_rfc3339();
    bed.file("log/access.log", &(text + &line(99)));
    bed.run_job("scan", &later);
    assert_eq!(rows(&bed, &["--by", "ip", "-n", "100", "--since", "30m"]).len(), 20);
}

#[test]
fn of_very_many_addresses_those_that_come_again_and_again_are_on_record() {
    let bed = bed();
    let now = Utc::now() - TimeDelta::hours(2);
    let line = |ip: String| format!("{ip} - - [{}] \"GET / HTTP/1.1\" 200 5\n", now.format("%d/%b/%Y:%H:00:00 +0000"));
    let text: String = (0..30_000_u32)
        .map(|n| {
            let once = line(format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255));
            if n.is_multiple_of(30) { once + &line(format!("192.0.2.{}", n / 30 % 10)) } else { once }
        })
        .collect();
    bed.file("log/access.log", &text);
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    let shown = rows(&bed, &["--by", "ip", "-n", "100"]);
    assert!(shown.len() >= 20, "of an hour so many are kept: {shown:?}");
    assert!((0..10).all(|n| shown.contains(&format!("192.0.2.{n} 100"))), "{shown:?}");
}

#[test]
fn of_an_hour_that_is_over_twenty_of_each_kind_stay_whether_they_come_at_once_or_in_two_runs() {
    let before = Utc::now() - TimeDelta::hours(5);
    let line =
        |ip: String| format!("{ip} - - [{}] \"GET / HTTP/1.1\" 200 5\n", before.format("%d/%b/%Y:%H:%M:%S +0000"));
    // The ones of IPv4 come first in order, and the last five of IPv6 twice.
    let text: String = (0..15).map(|n| line(format!("192.0.2.{n}")) + &line(format!("2001:db8::{n}"))).collect();
    let text = text + &(10..15).map(|n| line(format!("2001:db8::{n}"))).collect::<String>();
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    for pieces in [vec![&text[..]], vec![&text[..half], &text]] {
        let bed = bed();
        for piece in pieces {
            bed.file("log/access.log", piece);
            assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
        }
        let shown = rows(&bed, &["--by", "ip", "-n", "100"]);
        assert_eq!(shown.len(), 20, "{shown:?}");
        assert!((10..15).all(|n| shown.contains(&format!("2001:db8::{n} 2"))), "{shown:?}");
        assert!((0..15).all(|n| shown.contains(&format!("192.0.2.{n} 1"))), "{shown:?}");
    }
}
