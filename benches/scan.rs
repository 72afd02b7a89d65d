//! Scanning against its peers, on the same files in the same run: `cargo bench --bench scan`.
//!
//! The files come from `../shared/tools/loggen` (1 GiB of access log, 500 MiB of auth.log); where it is absent, a small
//! generator of our own makes a quarter of that. Each program runs three times in turn with the others, and the fastest
//! counts. Peers that are not installed are left out. Nothing is asserted, because a busy machine would make any limit wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that can't go on fails"
)]

mod peers;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::{compare, header, logs, program, shell, words, write};

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().is_some_and(|first| first == INFLATE) {
        return inflate(&args.next().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let (access, auth) = logs(folder.path());
    header();
    let files = [access.as_os_str(), auth.as_os_str()];
    let text = |file: usize| files[file].to_str().unwrap();
    compare("access log, basic rules, against wc -l", &scan(&[text(0)]), &words(&["wc", "-l", text(0)]));
    compare("access log, all rules, against wc -l", &scan(&["--all-rules", text(0)]), &words(&["wc", "-l", text(0)]));
    compare("access log, basic rules, against grep -c", &scan(&[text(0)]), &words(&["grep", "-c", " 404 ", text(0)]));
    let goaccess = ["goaccess", text(0), "--log-format=COMBINED", "-o", "/dev/null", "--no-progress"];
    compare("access log, basic rules, against goaccess", &scan(&[text(0)]), &words(&goaccess));
    compare(
        "auth.log, basic rules, against wc -l",
        &scan(&["--year", "2026", text(1)]),
        &words(&["wc", "-l", text(1)]),
    );
    let slice = slice_of(&auth, folder.path(), 8 << 20);
    let fail2ban = ["fail2ban-regex", slice.to_str().unwrap(), "sshd"];
    compare("8 MiB of it, against fail2ban-regex", &scan(&[slice.to_str().unwrap()]), &words(&fail2ban));
    // Not beside the log: there it would be one of its rotated files, and the job would read both.
    let packed = packed(&access, &folder.path().join("access.gz"));
    let packed = packed.to_str().unwrap();
    let alone = std::env::current_exe().unwrap();
    compare(
        "access.log.gz, against inflating it with zlib-rs",
        &scan(&[packed]),
        &words(&[alone.to_str().unwrap(), INFLATE, packed]),
    );
    compare(
        "access.log.gz, against zcat | grep",
        &scan(&[packed]),
        &shell(&format!("zcat {packed} | grep -c ' 404 '")),
    );
    as_a_job(folder.path(), &access);
    hundred_rules(folder.path(), &access);
}

/// What this program is told to be the peer of a scan that only inflates.
const INFLATE: &str = "inflate";

/// Inflates a file with the library that scans use, and does nothing with the text.
fn inflate(packed: &str) {
    let mut text = flate2::read::MultiGzDecoder::new(fs::File::open(packed).unwrap());
    let mut block = vec![0; 256 << 10];
    while text.read(&mut block).unwrap() > 0 {}
}

/// The scan job with its database, the first time and when nothing has changed, against the ad-hoc scan.
fn as_a_job(folder: &Path, access: &Path) {
    let root = folder.join("job");
    let main = format!(
        "zone = \"UTC\"\nhost = \"b\"\nstate = \"{0}/state\"\n[sources.a]\nfiles = [\"{1}\"]\n",
        root.display(),
        access.display()
    );
    write(&root.join("config/logkeeper.toml"), &main);
    write(&root.join("jobs/scan.toml"), "[scan]\nsources = [\"a\"]\nrules = [\"error-spikes\", \"failed-logins\"]\n");
    for (path, text) in logkeeper::config::SHIPPED.iter().filter(|(path, _)| path.starts_with("config/rules")) {
        write(&root.join(path), text);
    }
    let job = words(&[&program(), "--config", &root.to_string_lossy(), "run-now", "scan"]);
    let afresh = shell(&format!("rm -rf {}/state; {}", root.display(), job.join(" ")));
    compare("access log as a job, against the ad-hoc scan", &afresh, &scan(&[access.to_str().unwrap()]));
    let idle = words(&[&program(), "--config", &root.to_string_lossy(), "jobs"]);
    compare("unchanged, against starting the program", &job, &idle);
}

/// A hundred rules at once against one of them.
fn hundred_rules(folder: &Path, access: &Path) {
    let rule = |n: u32| {
        format!(
            "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\n[pattern]\ntext = \"wanted text {n}\"\nmore_than = 3\n"
        )
    };
    let root = |name: &str, rules: u32| {
        let root = folder.join(name);
        let main = format!(
            "zone = \"UTC\"\nhost = \"b\"\nstate = \"{0}/state\"\n[sources.a]\nfiles = [\"/x\"]\n",
            root.display()
        );
        write(&root.join("config/logkeeper.toml"), &main);
        (0..rules).for_each(|n| write(&root.join(format!("config/rules/r{n}.toml")), &rule(n)));
        let args = ["--config", root.to_str().unwrap(), "rules", "test", access.to_str().unwrap()].map(str::to_owned);
        [vec![program()], args.to_vec()].concat()
    };
    let (many, one) = (root("hundred", 100), root("one", 1));
    compare("a hundred rules, against one", &many, &one);
}

fn scan(args: &[&str]) -> Vec<String> {
    [words(&[&program(), "--config", "/nonexistent", "scan", "--zone", "UTC"]), words(args)].concat()
}

/// Not read whole: a child's peak memory begins with what this process ever held.
fn slice_of(log: &Path, folder: &Path, bytes: usize) -> PathBuf {
    let mut text = Vec::new();
    fs::File::open(log).unwrap().take(bytes as u64).read_to_end(&mut text).unwrap();
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let slice = folder.join("slice.log");
    fs::write(&slice, &text[..end]).unwrap();
    slice
}

fn packed(log: &Path, packed: &Path) -> PathBuf {
    let done = Command::new("gzip").arg("-c").arg(log).stdout(fs::File::create(packed).unwrap()).status();
    assert!(done.unwrap().success());
    packed.to_owned()
}
