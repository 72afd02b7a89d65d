//! Archiving against its peers, on the same logs in the same run: `cargo bench --bench archive`.
//!
//! The logs are the access log of the scan benchmark, cut into 50. Each program runs three times in turn with the others, and the
//! fastest counts. Peers that are not installed are left out. Nothing is asserted, because a busy machine would make any limit wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that can't go on fails"
)]

mod peers;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peers::{compare, header, logs, once, program, row, shell, words};

const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (access, _) = logs(folder.path());
    let cut = folder.path().join("logs");
    fs::create_dir(&cut).unwrap();
    let split = Command::new("split").args(["-n", "l/50"]).arg(&access).arg(cut.join("access.log.")).status().unwrap();
    assert!(split.success());
    header();
    let (cut, gz, zst) = (cut.display(), folder.path().join("peer.tar.gz"), folder.path().join("peer.tar.zst"));
    let (gz, zst) = (gz.display(), zst.display());
    let (into, zinto) = (folder.path().join("gz"), folder.path().join("zst"));
    let pigz = shell(&format!("tar cf - {cut} | pigz -p2 > {gz}"));
    pack("pack .tar.gz", &into, &cut.to_string(), &[], &pigz, &[shell(&format!("tar czf {gz}.one {cut}"))]);
    sizes("its size, against pigz", &into, &folder.path().join("peer.tar.gz"));
    let proven = shell(&format!("tar cf - {cut} | pigz -p2 > {gz}; sync; tar -dzf {gz} -C /"));
    compare("pack, digest, verify, against tar | pigz; tar -d", &fresh(&into, &cut.to_string(), &[]), &proven);
    let zstd = shell(&format!("tar cf - {cut} | zstd -q -f -T0 -o {zst}"));
    pack("pack .tar.zst", &zinto, &cut.to_string(), &["--zstd"], &zstd, &[]);
    sizes("its size, against tar --zstd", &zinto, &folder.path().join("peer.tar.zst"));
    let archive = only_archive(&into);
    let search = |more: &[&str]| {
        [
            words(&[&program(), "--config", "/nonexistent", "archive", "search", "-c", "-F", " 404 ", &archive]),
            words(more),
        ]
        .concat()
    };
    let quarter = quarter(&archive);
    let window = search(&["--since", &quarter.0, "--until", &quarter.1]);
    compare("search of 15 minutes, against zgrep", &window, &shell(&format!("zgrep -c ' 404 ' {archive}")));
    compare("search of all, against zgrep", &search(&[]), &shell(&format!("zgrep -c ' 404 ' {archive}")));
}

/// A command that packs into a fresh folder.
fn fresh(into: &Path, logs: &str, more: &[&str]) -> Vec<String> {
    let (program, into, more) = (program(), into.display(), more.join(" "));
    shell(&format!("rm -rf {into}; {program} --config /nonexistent archive pack {logs}/* --into {into} {more}"))
}

/// Packing proves what it wrote; for peers that don't, the time that reading it again takes is left out.
fn pack(what: &str, into: &Path, logs: &str, more: &[&str], peer: &[String], others: &[Vec<String>]) {
    let best = |command: &[String]| (0..ROUNDS).filter_map(|_| once(command)).map(|(time, _)| time).min();
    let (mut packing, mut memory, mut other) = (Duration::MAX, 0, None);
    for _ in 0..ROUNDS {
        let (time, bytes) = once(&fresh(into, logs, more)).unwrap();
        let verify = words(&[&program(), "--config", "/nonexistent", "archive", "verify", &only_archive(into)]);
        let (verifying, _) = once(&verify).unwrap();
        packing = packing.min(time.saturating_sub(verifying));
        memory = memory.max(bytes);
        let Some((time, _)) = once(peer) else { continue };
        other = Some(other.map_or(time, |known: Duration| known.min(time)));
    }
    row(
        &format!("{what}, against {}", peer[2].split(" > ").next().unwrap().replace(logs, "…")),
        packing,
        memory,
        other,
    );
    for other in others {
        row(
            &format!("{what}, against {}", other[2].split(' ').take(2).collect::<Vec<_>>().join(" ")),
            packing,
            memory,
            best(other),
        );
    }
}

fn only_archive(into: &Path) -> String {
    let is_archive =
        |path: &std::path::PathBuf| logkeeper::archive::is_archive_name(&path.file_name().unwrap().to_string_lossy());
    fs::read_dir(into).unwrap().map(|entry| entry.unwrap().path()).find(is_archive).unwrap().display().to_string()
}

fn sizes(what: &str, into: &Path, peer: &Path) {
    let Ok(peer) = fs::metadata(peer) else { return };
    let ours = fs::metadata(only_archive(into)).unwrap().len();
    println!("{what:<52} {:>9} {:>9} {:>9} {:>8.3}", ours, "bytes", peer.len(), ours as f64 / peer.len() as f64);
}

/// A quarter of an hour in the middle of the archive.
fn quarter(archive: &str) -> (String, String) {
    let entry = logkeeper::archive::read_manifest(Path::new(archive)).unwrap();
    let middle = (entry.first().unwrap() + entry.last().unwrap()) / 2;
    let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339();
    (at(middle), at(middle + 900))
}
