//! Heartbeats: somebody else hears that logkeeper and its jobs go on, and nothing waits for who doesn't listen.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{TestBed, wait_until};

/// A web server that collects the paths it is asked for; its port and the paths.
fn server(answers: bool) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let paths = asked.clone();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let read = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            paths.lock().unwrap().extend(text.split(' ').nth(1).map(str::to_owned));
            if answers {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            } else {
                silent.push(stream);
            }
        }
    });
    (port, asked)
}

fn bed(port: u16) -> TestBed {
    let bed = TestBed::new();
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &format!("heartbeat = \"http://127.0.0.1:{port}/all\"\n{main}"));
    let job = |command: &str, more: &str, path: &str| {
        format!(
            "schedule = \"* * * * * *\"\n{more}heartbeat = \"http://127.0.0.1:{port}/{path}\"\n[command]\nrun = [\"{command}\"]\n"
        )
    };
    bed.file("jobs/good.toml", &job("/bin/true", "", "good"))
        .file("jobs/bad.toml", &job("/bin/false", "", "bad"))
        .file(
            "jobs/part.toml",
            &format!("schedule = \"* * * * * *\"\nretries = 0\nheartbeat = \"http://127.0.0.1:{port}/part?to=1\"\n[rotate]\nfiles = [\"DIR/none.log\"]\n"),
        )
        .file("jobs/again.toml", &job("/bin/false", "retries = 3\nretry_delay = \"1h\"\n", "again"));
    bed
}

#[test]
fn the_daemon_and_its_jobs_are_heard() {
    let (port, asked) = server(true);
    let bed = bed(port);
    let _daemon = bed.daemon();
    wait_until("all were pinged", Duration::from_secs(30), || {
        let asked = asked.lock().unwrap();
        ["/all", "/good", "/bad/fail", "/part/fail?to=1"].iter().all(|path| asked.iter().any(|asked| asked == path))
    });
    // What is tried again has not failed yet.
    assert!(!asked.lock().unwrap().iter().any(|path| path.starts_with("/again") || path == "/bad"));
}

#[test]
fn jobs_go_on_where_nobody_answers() {
    let (port, asked) = server(false);
    let bed = bed(port);
    let _daemon = bed.daemon();
    wait_until("runs go on", Duration::from_secs(30), || {
        let runs = bed.json(&["history", "good"]);
        runs.as_array().unwrap().iter().filter(|run| run["outcome"] == "succeeded").count() > 3
    });
    assert!(asked.lock().unwrap().len() > 2);
}

#[test]
fn a_run_that_ends_with_the_daemon_is_heard_and_one_by_hand_is_not() {
    let (port, asked) = server(true);
    let bed = TestBed::new();
    let job = |schedule: &str, command: &str, path: &str| {
        format!("{schedule}heartbeat = \"http://127.0.0.1:{port}/{path}?x=1\"\n[command]\nshell = \"{command}\"\n")
    };
    let started = "touch DIR/started; sleep 1";
    bed.file("jobs/last.toml", &job("schedule = \"* * * * * *\"\n", started, "last"))
        .file("jobs/hand.toml", &job("", "true", "hand"));
    let daemon = bed.daemon();
    assert_eq!(bed.run(&["run-now", "hand"]).code, 0);
    wait_until("it has begun", Duration::from_secs(10), || bed.path("started").exists());
    daemon.signal("TERM");
    wait_until("it was heard", Duration::from_secs(20), || {
        asked.lock().unwrap().iter().any(|path| path == "/last?x=1")
    });
    assert!(!asked.lock().unwrap().iter().any(|path| path.starts_with("/hand")));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let bed = TestBed::new();
    bed.file("jobs/x.toml", "heartbeat = \"hc.example.org\"\n[command]\nrun = [\"/bin/true\"]\n");
    let ran = bed.run(&["check"]);
    assert!(ran.code == 2 && ran.stderr.contains("is no address of the web"), "{ran:?}");
}
