//! Crontabs of other crons become jobs that do the same.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::{TestBed, has, printed, skip, wait_until};

const CRONTAB: &str = "\
# m h dom mon dow command
SHELL=/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin
MAILTO=\"ops@example.org,root\"
GREETING=\"hello there\"

# Say hello,
# at night
17 3 * * 1-5 echo \"$GREETING, $PATH\"
*/20 8-18 * jan,jul mon,wed echo often
CRON_TZ=Europe/Berlin
30 2 * * * echo 50\\% off; cat%first line%second line
0 0 */2 * 1 echo star rule
@weekly echo weekly
@reboot touch DIR/booted
MAILTO=
15 14 1 * 0 echo day or weekday
this line is nonsense
61 * * * * echo never
";

fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.file("etc/mine", CRONTAB);
    bed
}

fn import(bed: &TestBed, more: &[&str]) -> (i32, Vec<serde_json::Value>) {
    let path = bed.path("etc/mine").to_str().unwrap().to_owned();
    let ran = bed.run(&[&["import", "crontab", &path, "--json"], more].concat());
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    (ran.code, serde_json::from_str(&ran.stdout).unwrap())
}

#[test]
fn a_crontab_becomes_jobs_that_run_when_cron_would() {
    let bed = bed();
    let (code, told) = import(&bed, &[]);
    assert_eq!(code, 1, "two lines can't be carried over");
    let of = |state: &str| told.iter().filter(|line| line["state"] == state).collect::<Vec<_>>();
    assert_eq!((of("written").len(), of("refused").len()), (7, 2), "{told:#?}");
    assert_eq!((of("refused")[0]["line"].clone(), of("refused")[1]["line"].clone()), (18.into(), 19.into()));
    assert_eq!(bed.run(&["check"]).code, 0, "{}", bed.run(&["check"]).stderr);
    let (_, told) = import(&bed, &["--check"]);
    let same = told.iter().filter(|line| line["state"] == "same").count();
    assert_eq!(same, 7, "{told:#?}");
    let thousand = told.iter().filter(|line| line["detail"].as_str().unwrap().contains("next 1000 fires")).count();
    assert!(thousand >= 3, "{told:#?}");
}

#[test]
fn variables_comments_mail_zone_and_input_are_kept() {
    let bed = bed();
    import(&bed, &[]);
    let text = |job: &str| std::fs::read_to_string(bed.path("jobs").join(format!("{job}.toml"))).unwrap();
    let hello = text("mine-01-echo");
    assert!(hello.contains("# Say hello,\n# at night\n") && hello.contains("17 3 * * 1-5"), "{hello}");
    assert!(hello.contains("on_output = [\"ops@example.org\", \"root@localhost\"]"), "{hello}");
    assert!(!hello.contains("Berlin") && text("mine-03-echo").contains("zone = \"Europe/Berlin\""));
    assert!(text("mine-07-echo").contains("on_output = []"), "MAILTO= sends nothing");
    assert_eq!(bed.run(&["run-now", "mine-01-echo"]).code, 0);
    assert_eq!(printed(&bed.json(&["show", "1"])), "hello there, /usr/local/bin:/usr/bin:/bin\n");
    assert_eq!(bed.run(&["run-now", "mine-03-echo"]).code, 0);
    assert_eq!(printed(&bed.json(&["show", "2"])), "50% off\nfirst line\nsecond line\n");
}

#[test]
fn a_second_import_overwrites_nothing_and_a_changed_job_is_told() {
    let bed = bed();
    import(&bed, &[]);
    let job = bed.path("jobs/mine-04-echo.toml");
    let changed = std::fs::read_to_string(&job).unwrap().replace("0 0 */2 * 1", "0 1 */2 * 1");
    std::fs::write(&job, &changed).unwrap();
    let (_, told) = import(&bed, &[]);
    assert_eq!(told.iter().filter(|line| line["state"] == "exists").count(), 7);
    assert_eq!(std::fs::read_to_string(&job).unwrap(), changed);
    let (code, told) = import(&bed, &["--check"]);
    let differing: Vec<_> = told.iter().filter(|line| line["state"] == "differs").collect();
    assert!(code == 1 && differing.len() == 1, "{told:#?}");
    assert!(differing[0]["detail"].as_str().unwrap().starts_with("cron runs at"), "{differing:?}");
    let (_, told) = import(&bed, &["--force"]);
    assert_eq!(told.iter().filter(|line| line["state"] == "written").count(), 7);
    assert_ne!(std::fs::read_to_string(&job).unwrap(), changed);
}

#[test]
fn a_crontab_comes_from_standard_input_too() {
    let bed = TestBed::new();
    let mut child = bed
        .command(&["import", "crontab", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"5 4 * * * /usr/bin/true\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(bed.path("jobs/crontab-true.toml").exists(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn status_tells_of_lines_that_cron_still_runs_and_of_new_files() {
    let bed = TestBed::new();
    bed.file("etc/crontab", "17 * * * * root cd / && true\n").file("etc/cron.d/known", "@daily root true\n");
    bed.file("etc/cron.d/left.out", "@daily root true\n");
    let etc = bed.path("etc").to_str().unwrap().to_owned();
    let ran = bed.run(&["import", "crontab", "--system", "--etc", &etc]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains("left.out"), "cron itself doesn't read it: {}", ran.stdout);
    let daemon = bed.daemon();
    assert_eq!(bed.run(&["status"]).code, 0, "{}", bed.run(&["status"]).stdout);
    bed.file("etc/cron.d/newcomer", "@daily root true\n");
    let told = bed.run(&["status"]);
    assert!(told.code == 1 && told.stdout.contains("newcomer has appeared"), "{}", told.stdout);
    // A process that goes by the name of cron.
    let sleep = ["/usr/bin/sleep", "/bin/sleep"].into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
    std::fs::copy(sleep, bed.path("cron")).unwrap();
    let mut cron = Command::new(bed.path("cron")).arg("60").spawn().unwrap();
    wait_until("cron is seen", Duration::from_secs(10), || bed.run(&["status"]).stdout.contains("still runs 1 lines"));
    let told = bed.run(&["status"]).stdout;
    assert!(told.contains("etc/crontab, as logkeeper does") && told.contains("systemctl disable --now cron"), "{told}");
    cron.kill().unwrap();
    cron.wait().unwrap();
    bed.file("etc/anacrontab", "1 5 cron.daily true\n").file("run/systemd/system/x", "");
    let anacrontab = bed.path("etc/anacrontab");
    assert_eq!(bed.run(&["import", "crontab", anacrontab.to_str().unwrap()]).code, 0);
    std::fs::remove_file(bed.path("etc/cron.d/newcomer")).unwrap();
    assert_eq!(bed.run(&["reload"]).code, 0);
    assert!(!bed.run(&["status"]).stdout.contains("anacron"), "it is not switched on");
    // systemctl enable makes such a link.
    std::fs::create_dir_all(bed.path("etc/systemd/system/timers.target.wants")).unwrap();
    let link = bed.path("etc/systemd/system/timers.target.wants/anacron.timer");
    std::os::unix::fs::symlink("/lib/systemd/system/anacron.timer", link).unwrap();
    let told = bed.run(&["status"]).stdout;
    assert!(told.contains("etc/anacrontab, as logkeeper does") && told.contains("--now anacron.timer"), "{told}");
    assert_eq!(daemon.end(), 0);
}

/// The packages of Debian whose crontabs are taken from the archive: they are not ours to carry along.
const PACKAGES: [&str; 19] = [
    "cron-daemon-common",
    "anacron",
    "amavisd-new",
    "atop",
    "awstats",
    "backupninja",
    "cacti",
    "certbot",
    "cron-apt",
    "dma",
    "e2fsprogs",
    "logcheck",
    "mailman3",
    "mdadm",
    "munin",
    "munin-node",
    "ntpsec",
    "php-common",
    "sysstat",
];

/// Unpacks the packages once; `None` where that can't be done here.
fn debian() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("debian-crontabs");
    if folder.join("done").exists() {
        return Some(folder);
    }
    if !has("apt-get") || !has("dpkg-deb") {
        return None;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let mut fetched = 0;
    for package in PACKAGES {
        let got = Command::new("apt-get").args(["download", "-qq", package]).current_dir(&folder).output().unwrap();
        fetched += usize::from(got.status.success());
    }
    for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "deb") {
            assert!(Command::new("dpkg-deb").arg("-x").arg(&entry).arg(&folder).status().unwrap().success());
        }
    }
    // Some distributions lack some of the packages.
    (fetched >= 10 && folder.join("etc/cron.d").is_dir()).then(|| std::fs::write(folder.join("done"), "").unwrap())?;
    Some(folder)
}

#[test]
fn crontabs_of_debians_packages_come_over_without_a_difference() {
    let Some(debian) = debian() else {
        return skip("crontabs_of_debians_packages_come_over_without_a_difference", "apt-get download");
    };
    let bed = TestBed::new();
    let etc = debian.join("etc").to_str().unwrap().to_owned();
    let mut args = vec!["import", "crontab", "--system", "--etc", &etc];
    let anacrontab = debian.join("etc/anacrontab").to_str().unwrap().to_owned();
    if debian.join("etc/anacrontab").exists() {
        args.push(&anacrontab);
    }
    let told = bed.run(&[&args[..], &["--json"]].concat());
    assert_eq!(told.code, 0, "{told:?}");
    let told: Vec<serde_json::Value> = serde_json::from_str(&told.stdout).unwrap();
    assert!(told.len() >= 25, "{}", told.len());
    let checked = bed.run(&[&args[..], &["--check", "--json"]].concat());
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let checked: Vec<serde_json::Value> = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(checked.len(), told.len());
    assert!(checked.iter().all(|line| line["state"] == "same"), "{checked:#?}");
}
