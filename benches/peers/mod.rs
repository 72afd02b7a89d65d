//! What the benchmarks share: logs, running a program and its peer in turn, and the rows of the table.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

const ROUNDS: usize = 3;

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// This program.
pub fn program() -> String {
    env!("CARGO_BIN_EXE_logkeeper").to_owned()
}

/// A command.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A command line.
pub fn shell(line: &str) -> Vec<String> {
    words(&["sh", "-c", line])
}

/// Runs both in turn and prints a row.
pub fn compare(what: &str, ours: &[String], peer: &[String]) {
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

/// Prints what the columns are.
pub fn header() {
    println!("{:<52} {:>9} {:>9} {:>9} {:>8}", "", "seconds", "MiB", "peer", "ratio");
}

/// Prints a row.
pub fn row(what: &str, time: Duration, memory: u64, peer: Option<Duration>) {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let ratio = peer.map_or("-".to_owned(), |peer| format!("{:.3}", time.as_secs_f64() / peer.as_secs_f64()));
    let peer = peer.map_or("-".to_owned(), seconds);
    println!("{what:<52} {:>9} {:>9} {peer:>9} {ratio:>8}", seconds(time), memory >> 20);
}

/// How long a program takes, and the most memory it holds; `None` where it is not installed.
pub fn once(command: &[String]) -> Option<(Duration, u64)> {
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

/// The two logs, by loggen or made here.
pub fn logs(folder: &Path) -> (PathBuf, PathBuf) {
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
