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

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (access, auth) = logs(folder.path());
    println!("{:<52} {:>9} {:>9} {:>9} {:>8}", "", "seconds", "MiB", "peer", "ratio");
    let files = [access.as_os_str(), auth.as_os_str()];
    let text = |file: usize| files[file].to_str().unwrap();
    compare("access log, basic rules, against wc -l", &scan(&["--json", text(0)]), &words(&["wc", "-l", text(0)]));
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
    let packed = packed(&access);
    let packed = packed.to_str().unwrap();
    compare("access.log.gz, against inflating it", &scan(&[packed]), &shell(&format!("gzip -dc {packed} > /dev/null")));
    compare(
        "access.log.gz, against zcat | grep",
        &scan(&[packed]),
        &shell(&format!("zcat {packed} | grep -c ' 404 '")),
    );
    as_a_job(folder.path(), &access);
    hundred_rules(folder.path(), &access);
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
    let job =
        vec![program(), "--config".to_owned(), root.display().to_string(), "run-now".to_owned(), "scan".to_owned()];
    let ad_hoc = scan(&[access.to_str().unwrap()]);
    let (first, memory) = once(&job).unwrap();
    row("access log as a job, against the ad-hoc scan", first, memory, once(&ad_hoc).map(|(time, _)| time));
    let idle = vec![program(), "--config".to_owned(), root.display().to_string(), "jobs".to_owned()];
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

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn program() -> String {
    env!("CARGO_BIN_EXE_logkeeper").to_owned()
}

fn scan(args: &[&str]) -> Vec<String> {
    [words(&[&program(), "--config", "/nonexistent", "scan", "--zone", "UTC"]), words(args)].concat()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn shell(line: &str) -> Vec<String> {
    words(&["sh", "-c", line])
}

fn compare(what: &str, ours: &[String], peer: &[String]) {
    let (mut best, mut memory, mut other) = (Duration::MAX, 0, None);
    for _ in 0..ROUNDS {
        let (time, bytes) = once(ours).unwrap();
        best = best.min(time);
        memory = memory.max(bytes);
        let Some((time, _)) = once(peer) else { break };
        other = Some(other.map_or(time, |known: Duration| known.min(time)));
    }
    row(what, best, memory, other);
}

fn row(what: &str, time: Duration, memory: u64, peer: Option<Duration>) {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let ratio = peer.map_or("-".to_owned(), |peer| format!("{:.3}", time.as_secs_f64() / peer.as_secs_f64()));
    let peer = peer.map_or("-".to_owned(), seconds);
    println!("{what:<52} {:>9} {:>9} {peer:>9} {ratio:>8}", seconds(time), memory >> 20);
}

/// How long a program takes, and the most memory it holds; `None` where it is not installed.
fn once(command: &[String]) -> Option<(Duration, u64)> {
    // Not to /dev/null: GNU grep stops at the first match there.
    let out = tempfile::tempfile().unwrap();
    let begun = Instant::now();
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let usage = child.wait4().unwrap();
    Some((begun.elapsed(), usage.rusage.maxrss))
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

fn packed(log: &Path) -> PathBuf {
    let packed = log.with_extension("log.gz");
    let done = Command::new("gzip").arg("-c").arg(log).stdout(fs::File::create(&packed).unwrap()).status();
    assert!(done.unwrap().success());
    packed
}

/// The two logs, by loggen or made here.
fn logs(folder: &Path) -> (PathBuf, PathBuf) {
    let (access, auth) = (folder.join("access.log"), folder.join("auth.log"));
    let loggen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools/loggen/Cargo.toml");
    if loggen.exists() {
        let target = folder.join("target");
        for (kind, bytes, log) in [("access", "1073741824", &access), ("auth", "524288000", &auth)] {
            let mut make = Command::new("cargo");
            make.args(["run", "--release", "--quiet", "--manifest-path"]).arg(&loggen).arg("--target-dir").arg(&target);
            make.args(["--", kind, "--bytes", bytes, "--seed", "1"]).arg(log).arg(folder.join("truth.json"));
            assert!(make.status().unwrap().success());
        }
        return (access, auth);
    }
    println!("no ../shared: the logs are a quarter as large, and made here");
    let mut file = std::io::BufWriter::new(fs::File::create(&access).unwrap());
    let mut line = String::new();
    for n in 0..1_200_000_u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let status = if random % 17 == 0 { 404 } else { 200 };
        let (minute, second) = (n / 60 % 60, n % 60);
        line.clear();
        writeln!(line, "10.{}.{}.{} - - [19/Nov/2026:{:02}:{minute:02}:{second:02} +0000] \"GET /page/{} HTTP/1.1\" {status} {} \"https://www.example.org/\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\"", random % 7, random % 200, random % 251, n / 3600 % 24, random % 9000, random % 60_000).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    let mut file = std::io::BufWriter::new(fs::File::create(&auth).unwrap());
    for n in 0..1_200_000_u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (hour, minute, second) = (n / 3600 % 24, n / 60 % 60, n % 60);
        line.clear();
        writeln!(line, "Nov 19 {hour:02}:{minute:02}:{second:02} web1 sshd[{}]: Failed password for invalid user u{} from 10.{}.{}.7 port {} ssh2", n % 30_000, random % 999, random % 7, random % 250, 1024 + random % 60_000).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    (access, auth)
}
