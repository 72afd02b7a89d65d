//! How logkeeper lives under systemd.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{TestBed, has, skip, wait_until};

#[test]
fn the_service_manager_hears_that_the_daemon_is_ready_alive_and_ending() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "schedule = \"0 0 1 1 *\"\n[command]\nshell = \"env\"\n");
    let socket = UnixDatagram::bind(bed.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = bed.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", bed.path("notify")).env("WATCHDOG_USEC", "1000000").stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    let mut heard = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) && heard.iter().filter(|word| *word == "WATCHDOG=1").count() < 4 {
        heard.push(hear());
    }
    assert!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    assert_eq!(heard.iter().filter(|word| *word == "WATCHDOG=1").count(), 4, "twice a second: {heard:?}");
    assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
    while hear() != "STOPPING=1" {}
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_request_to_end_does_not_wait_for_runs() {
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "grace = \"1s\"\n[command]\nshell = \"touch DIR/runs; sleep 300; true\"\n");
    let daemon = bed.daemon();
    let mut asked = bed.command(&["run-now", "a"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("it runs", Duration::from_secs(10), || bed.path("runs").exists());
    let begun = Instant::now();
    daemon.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.end(), 0);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    asked.wait().unwrap();
    assert_eq!(bed.json(&["show", "1"])["outcome"], "interrupted");
}

#[test]
fn the_unprivileged_unit_is_well_hardened_and_both_units_are_valid() {
    if !has("systemd-analyze") {
        return skip("the_unprivileged_unit_is_well_hardened_and_both_units_are_valid", "systemd-analyze");
    }
    let unit = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    // systemd-analyze wants the program to exist where the unit says.
    let bed = TestBed::new();
    for name in ["logkeeper.service", "logkeeper-root.service"] {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        bed.file(name, &text.replace("/usr/local/bin/logkeeper", env!("CARGO_BIN_EXE_logkeeper")));
        let verified = Command::new("systemd-analyze").arg("verify").arg(bed.path(name)).output().unwrap();
        let said = String::from_utf8(verified.stderr).unwrap();
        let about_it: Vec<_> = said.lines().filter(|line| line.contains("logkeeper")).collect();
        assert!(about_it.is_empty(), "{name}: {about_it:?}");
    }
    let scored = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(unit("logkeeper.service"))
        .output()
        .unwrap();
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stdout));
}
