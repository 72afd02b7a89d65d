//! The demo does the whole job, and its mail is something a person can read.

use crate::support::{self, TestBed, chromium};

#[test]
fn the_demo_does_the_whole_job() {
    let bed = TestBed::new();
    let dir = bed.path("demo");
    let ran = bed.run(&["demo", dir.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in [
        "33 logs archived in ",
        "archives verified, all whole",
        "Then it got in as",
        "ALERT: failed-logins: 203.0.113.99",
        "ATTENTION: 2 things",
    ] {
        assert!(ran.stdout.contains(said), "wants {said:?} in {}", ran.stdout);
    }
    let again = bed.run(&["--config", dir.to_str().unwrap(), "history", "--json"]);
    let history: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert!(history.as_array().unwrap().iter().all(|run| run["outcome"] == "succeeded"), "{history}");
    let page = bed.path("page.html");
    let preview =
        bed.run(&["--config", dir.to_str().unwrap(), "report", "weekly", "--preview", page.to_str().unwrap()]);
    assert_eq!(preview.code, 0, "{preview:?}");
    assert!(std::fs::metadata(&page).unwrap().len() < 80_000);
    assert_eq!(bed.run(&["demo", dir.to_str().unwrap()]).code, 0, "a demo replaces an earlier one");
    bed.file("mine/file", "x");
    assert_eq!(bed.run(&["demo", bed.path("mine").to_str().unwrap()]).code, 2, "but nothing else");
}

/// Opened on a telephone: nothing sticks out, the chart is drawn, and the words are there.
#[test]
fn the_weekly_summary_fits_a_telephone() {
    let Some(chromium) = chromium::program() else {
        return support::skip("the_weekly_summary_fits_a_telephone", "Chromium");
    };
    let bed = TestBed::new();
    let dir = bed.path("demo");
    assert_eq!(bed.run(&["demo", dir.to_str().unwrap()]).code, 0);
    let frame = "<iframe id=f style='width:360px;height:3000px;border:0' src='demo/weekly-summary.html'></iframe><script>\
        f.onload=()=>{const d=f.contentDocument;document.title=[d.documentElement.scrollWidth,\
        d.querySelectorAll('svg rect').length,d.body.innerText.includes('What we ask of you')].join(' ')}</script>";
    bed.file("frame.html", frame);
    let title = chromium::title(chromium, &bed.path("frame.html"));
    let words: Vec<&str> = title.split(' ').collect();
    assert!(words[0].parse::<u32>().unwrap() <= 360, "the page is {} pixels wide", words[0]);
    assert!(words[1].parse::<u32>().unwrap() > 10 && words[2] == "true", "{title}");
}

#[test]
fn in_a_half_hour_zone_no_request_is_lost_between_two_reports() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    let config = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &config.replace("zone = \"UTC\"", "zone = \"Asia/Kolkata\""));
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"error-spikes\"]\n");
    let line = |n: i64| {
        let at = chrono::DateTime::from_timestamp(1_794_940_200 - 7 * 86_400 + n * 1800, 0).unwrap();
        format!("192.0.2.1 - - [{}] \"GET / HTTP/1.1\" 200 1\n", at.format("%d/%b/%Y:%H:%M:%S +0000"))
    };
    // 1 794 940 200 is midnight in Kolkata: seven days of 48 half hours, and one request on either side.
    bed.file("log/access.log", &(-1..=7 * 48).map(line).collect::<String>());
    bed.run_job("scan", "2026-11-21T12:00:00Z");
    let text = bed.run(&["report", "weekly", "--ending", "2026-11-17"]).stdout;
    let pages = text.lines().find(|line| line.starts_with("Requests answered")).unwrap();
    assert_eq!(pages.split_whitespace().nth(2), Some("336"), "{text}");
}
