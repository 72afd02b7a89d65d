//! Archives and machines that die: whatever happens, every line is in a log or in a verified archive, and nothing needs a hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use logkeeper::archive::{Effort, Opened, Shelf, read_manifest, verify};

use crate::cuts::Random;
use crate::support::strace::{points, traced};
use crate::support::{TestBed, has, sequences, skip};

const JOB: &str = "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\nremove_originals = true\n";

/// A configuration and three rotated logs of two days, one of them compressed.
fn small() -> (TestBed, BTreeMap<String, Vec<u8>>) {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("jobs/pack.toml", JOB);
    let line =
        |day: u32, n: u32| format!("192.0.2.1 - - [{day:02}/Nov/2026:10:00:00 +0000] \"GET /{n} HTTP/1.1\" 200 1\n");
    let text = |day: u32| (0..50).map(|n| line(day, n)).collect::<String>().into_bytes();
    bed.bytes("log/a.log", &text(21)).bytes("log/a.log.1", &text(20)).bytes("log/b.log.1", &text(19));
    bed.bytes("log/b.log.2.gz", &crate::archives::gzip(&text(18)));
    let logs = ["a.log.1", "b.log.1", "b.log.2.gz"];
    let logs = logs.map(|name| (name.to_owned(), fs::read(bed.path("log").join(name)).unwrap())).into();
    (bed, logs)
}

/// What is in archives that hold, by the last part of its name; each once.
fn archived(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in Shelf::look(store).archives {
        let Ok(entry) = read_manifest(&path) else { continue };
        if verify(&path, &entry, Effort { threads: 0, nice: false }, &|_| false).is_err() {
            continue;
        }
        let each = |member: &logkeeper::model::Member, text: &mut dyn Read| -> std::io::Result<()> {
            let mut bytes = Vec::new();
            text.read_to_end(&mut bytes)?;
            let name = String::from_utf8_lossy(&member.name.0).rsplit('/').next().unwrap().to_owned();
            assert!(found.insert(name.clone(), bytes).is_none(), "{name} is in two archives");
            Ok(())
        };
        Opened::new(&path, None, &|_| Box::new(|_| None)).unwrap().each(|_| true, each).unwrap();
    }
    found
}

/// That no line is lost.
fn assert_nothing_lost(bed: &TestBed, logs: &BTreeMap<String, Vec<u8>>, when: &str) {
    let archived = archived(&bed.path("state/archives"));
    for (name, text) in logs {
        let original = fs::read(bed.path("log").join(name)).is_ok_and(|found| found == *text);
        assert!(original || archived.get(name) == Some(text), "{when}: {name} is lost");
    }
}

/// That the next run puts everything right.
fn assert_next_run_mends(bed: &TestBed, logs: &BTreeMap<String, Vec<u8>>, when: &str) {
    let ran = bed.run(&["run-now", "pack"]);
    assert_eq!(ran.code, 0, "{when}: {ran:?}");
    assert_eq!(archived(&bed.path("state/archives")), *logs, "{when}");
    assert_eq!(Shelf::look(&bed.path("state/archives")).leftovers, Vec::<PathBuf>::new(), "{when}");
    assert!(logs.keys().all(|name| !bed.path("log").join(name).exists()), "{when}: originals stay");
    assert_eq!(bed.run(&["archive", "verify"]).code, 0, "{when}");
}

#[test]
fn a_kill_at_any_system_call_loses_nothing_and_the_next_run_mends_it() {
    if !has("strace") {
        return skip("a_kill_at_any_system_call_loses_nothing_and_the_next_run_mends_it", "strace");
    }
    let points = points(&small().0, "pack");
    assert!(points.len() > 20, "{points:?}");
    for (call, when) in points {
        let (bed, logs) = small();
        traced(&bed, "pack", &format!("inject={call}:signal=KILL:when={when}"));
        let when = format!("killed at {call} {when}");
        assert_nothing_lost(&bed, &logs, &when);
        assert_next_run_mends(&bed, &logs, &when);
    }
}

#[test]
fn a_full_or_failing_disk_at_any_write_loses_nothing_and_the_next_run_mends_it() {
    if !has("strace") {
        return skip("a_full_or_failing_disk_at_any_write_loses_nothing_and_the_next_run_mends_it", "strace");
    }
    for error in ["ENOSPC", "EIO"] {
        for (call, when) in points(&small().0, "pack") {
            if ["openat", "unlink", "unlinkat"].contains(&call) {
                continue;
            }
            let (bed, logs) = small();
            traced(&bed, "pack", &format!("inject={call}:error={error}:when={when}"));
            let when = format!("{error} at {call} {when}");
            assert_nothing_lost(&bed, &logs, &when);
            assert_next_run_mends(&bed, &logs, &when);
        }
    }
}

/// A configuration and logs of some megabytes, below a folder.
fn larger(bed: &TestBed) -> BTreeMap<String, Vec<u8>> {
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n").file("jobs/pack.toml", JOB);
    let mut logs = BTreeMap::new();
    for n in 1..9_usize {
        let text: String = (0..8_000 * n).map(|i| format!("line {i} of {n} {}\n", i * 7919 % 1009)).collect();
        bed.file(&format!("log/b{n}.log.1"), &text);
        logs.insert(format!("b{n}.log.1"), text.into_bytes());
    }
    logs
}

#[test]
fn kills_at_random_instants_lose_nothing() {
    let mut random = Random(7);
    let mut kills = 0;
    let wanted = sequences(12).min(300);
    while kills < wanted {
        let bed = TestBed::new();
        let logs = larger(&bed);
        for _ in 0..6 {
            let mut child =
                bed.command(&["run-now", "pack"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(random.below(250) as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            assert_nothing_lost(&bed, &logs, "killed");
        }
        assert_next_run_mends(&bed, &logs, "killed");
    }
}

/// An ext4 file system in a file that can be cut off from its disk.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn make(folder: &Path, at: &Path) -> Option<Self> {
        let image = folder.join("disk");
        fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status().is_ok_and(|status| status.success());
        fs::create_dir_all(at).unwrap();
        let disk = Self { image, at: at.to_owned() };
        (made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&self.image).arg(&self.at).status().is_ok_and(|status| status.success())
    }

    /// What was not on the disk is lost, also the journal's last part (EXT4_IOC_SHUTDOWN without a flush).
    fn cut_off(&self) {
        let script = "import fcntl,os,struct,sys; \
                      fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        assert!(Command::new("python3").args(["-c", script]).arg(&self.at).status().unwrap().success());
    }

    fn unmount(&self) {
        let unmounted = || Command::new("umount").arg(&self.at).status().unwrap().success();
        crate::support::wait_until("the disk is free", Duration::from_secs(20), unmounted);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

#[test]
fn a_power_cut_at_any_instant_loses_nothing() {
    const NAME: &str = "a_power_cut_at_any_instant_loses_nothing";
    if !rustix::process::geteuid().is_root() || !has("mkfs.ext4") || !has("python3") {
        return skip(NAME, "root, mkfs.ext4 and Python");
    }
    let mut random = Random(11);
    for _ in 0..sequences(60).min(1000).div_ceil(10) {
        let outside = tempfile::tempdir().unwrap();
        let bed = TestBed::new();
        let Some(disk) = Disk::make(outside.path(), &bed.path("disk")) else {
            return skip(NAME, "the right to mount a file system");
        };
        let logs = larger(&bed);
        for folder in ["log", "state"] {
            let inside = bed.path("disk").join(folder);
            if bed.path(folder).exists() {
                assert!(Command::new("cp").arg("-a").arg(bed.path(folder)).arg(&inside).status().unwrap().success());
                fs::remove_dir_all(bed.path(folder)).unwrap();
            } else {
                fs::create_dir(&inside).unwrap();
            }
            std::os::unix::fs::symlink(&inside, bed.path(folder)).unwrap();
        }
        assert!(Command::new("sync").status().unwrap().success());
        let mut child = bed.command(&["run-now", "pack"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let instant = random.below(400);
        std::thread::sleep(Duration::from_millis(instant as u64));
        disk.cut_off();
        let _ = child.kill();
        child.wait().unwrap();
        disk.unmount();
        assert!(disk.mount());
        let when = format!("power cut after {instant} ms");
        assert_nothing_lost(&bed, &logs, &when);
        assert_next_run_mends(&bed, &logs, &when);
        disk.unmount();
    }
}
