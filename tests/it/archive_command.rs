//! `logkeeper archive`: packing, listing, searching, restoring, verifying by hand; other programs' archives; damage.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use logkeeper::archive::{Bundle, Opened};
use logkeeper::archive::{Effort, TextTimes, inspect, pack, read_manifest};
use logkeeper::model::archive::{Codec, DateRule};

use crate::archives::gzip;
use crate::cuts::Random;
use crate::support::{TestBed, has, skip};

/// A log of so many lines, one a second from midnight of 20 November on.
fn access(lines: u32) -> String {
    let line = |n: u32| {
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        let status = if n.is_multiple_of(7) { 404 } else { 200 };
        let path = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        format!(
            "192.0.2.{} - - [20/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET /page/{path} HTTP/1.1\" {status} {n}\n",
            n % 251
        )
    };
    (0..lines).map(line).collect()
}

/// Names and texts that archivers get wrong.
fn odd(folder: &Path) -> Vec<PathBuf> {
    let long = format!("{}/{}.log.1", "very-long-folder-name".repeat(5), "long-name".repeat(15));
    let names: [&[u8]; 6] =
        [b"a.log.1", b"with a blank.1", b"b\\slash.1", b"new\nline.1", b"not-\xff-utf8.1", long.as_bytes()];
    let texts = [access(3), access(100), "x".repeat(511), "y".repeat(512), "z".repeat(513), access(30_000)];
    let mut paths = Vec::new();
    for (name, text) in names.into_iter().zip(texts) {
        let path = folder.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    let packed = folder.join("c.log.2.gz");
    fs::write(&packed, gzip(access(20_000).as_bytes())).unwrap();
    paths.push(packed);
    paths
}

/// The program without any configuration.
fn logkeeper(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logkeeper"));
    command.current_dir(folder).args(["--config", "/nonexistent", "archive"]);
    command
}

fn printed(command: &mut Command) -> (i32, String) {
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap_or(-1), text)
}

fn only(folder: &Path, end: &str) -> PathBuf {
    let mut found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.to_string_lossy().ends_with(end)).unwrap()
}

fn assert_same(originals: &[PathBuf], below: &Path, by: &str) {
    for original in originals {
        let got = fs::read(below.join(original.strip_prefix("/").unwrap())).unwrap_or_default();
        assert!(got == fs::read(original).unwrap(), "{by}: {} differs", original.display());
    }
}

#[test]
fn other_programs_read_our_archives_to_identical_bytes() {
    const NAME: &str = "other_programs_read_our_archives_to_identical_bytes";
    let bed = TestBed::new();
    fs::create_dir(bed.path("logs")).unwrap();
    let logs = odd(&bed.path("logs"));
    for codec in [".tar.gz", ".tar.zst"] {
        let into = bed.path(format!("into{codec}"));
        let mut pack = logkeeper(&bed.path(""));
        pack.arg("pack").args(&logs).arg("--into").arg(&into);
        let (code, text) = printed(if codec == ".tar.zst" { pack.arg("--zstd") } else { &mut pack });
        assert_eq!(code, 0, "{text}");
        let archive = only(&into, codec);
        let gz = "gzip -dc \"$0\" | tar xf - -C \"$1\" && cd \"$1\" && sha256sum --quiet -c SHA256SUMS";
        let python = "python3 -c 'import sys,tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' \"$0\" \"$1\"";
        let mut readers = vec![("tar", "tar xf \"$0\" -C \"$1\" && cd \"$1\" && sha256sum --quiet -c SHA256SUMS")];
        readers.push(("bsdtar", "bsdtar xf \"$0\" -C \"$1\""));
        if codec == ".tar.gz" {
            readers.extend([("gzip", gz), ("busybox", "busybox tar xzf \"$0\" -C \"$1\""), ("python3", python)]);
            readers.push(("7z", "7z x -so \"$0\" | bsdtar xf - -C \"$1\""));
        }
        for (reader, script) in readers {
            if !has(reader) || !has("bsdtar") {
                skip(NAME, &format!("{reader} and bsdtar"));
                continue;
            }
            let out = bed.path(format!("out-{reader}{codec}"));
            fs::create_dir(&out).unwrap();
            let ran = Command::new("sh").args(["-c", script]).arg(&archive).arg(&out).output().unwrap();
            assert!(ran.status.success(), "{reader}: {ran:?}");
            assert_same(&logs, &out, reader);
        }
        let out = bed.path(format!("ours{codec}"));
        let (code, text) = printed(logkeeper(&bed.path("")).arg("restore").arg(&archive).arg("--to").arg(&out));
        assert_eq!(code, 0, "{text}");
        assert_same(&logs, &out, "ours");
    }
}

#[test]
fn we_read_the_archives_of_other_programs() {
    let bed = TestBed::new();
    fs::create_dir(bed.path("logs")).unwrap();
    let logs = odd(&bed.path("logs"));
    let logs_below = bed.path("logs").strip_prefix("/").unwrap().to_owned();
    let writers = [
        ("tar", "czf", "gnu.tar.gz"),
        ("tar", "--format=pax -cJf", "pax.tar.xz"),
        ("tar", "--zstd -cf", "gnu.tar.zst"),
        ("bsdtar", "-cjf", "bsd.tar.bz2"),
        ("busybox tar", "-cf", "busybox.tar"),
    ];
    for (program, options, name) in writers {
        if !has(program.split(' ').next().unwrap()) {
            skip("we_read_the_archives_of_other_programs", program);
            continue;
        }
        let script = format!("cd / && {program} {options} \"$0\" \"$1\"");
        let ran = Command::new("sh").args(["-c", &script]).arg(bed.path(name)).arg(&logs_below).output().unwrap();
        assert!(ran.status.success(), "{program}: {ran:?}");
        let out = bed.path(format!("out-{name}"));
        let (code, text) = printed(logkeeper(&bed.path("")).arg("restore").arg(bed.path(name)).arg("--to").arg(&out));
        assert_eq!(code, 0, "{program}: {text}");
        assert_same(&logs, &out, program);
        let (_, listed) = printed(logkeeper(&bed.path("")).arg("list").arg(bed.path(name)));
        assert!(listed.contains("logs/a.log.1") && !listed.contains("new\nline"), "{listed}");
    }
}

#[test]
fn hostile_archives_write_nothing_outside_their_folder() {
    let bed = TestBed::new();
    if !has("python3") {
        return skip("hostile_archives_write_nothing_outside_their_folder", "Python");
    }
    let script = r#"
import io, sys, tarfile
def file(tar, name, text):
    info = tarfile.TarInfo(name); info.size = len(text); tar.addfile(info, io.BytesIO(text))
def link(tar, name, to, kind):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = to; tar.addfile(info)
with tarfile.open(sys.argv[1], 'w:gz') as tar:
    file(tar, '../escaped', b'x'); file(tar, '/tmp/../' + sys.argv[2] + '/escaped', b'x')
    file(tar, sys.argv[2] + '/escaped', b'x'); file(tar, 'a/../../escaped', b'x')
    link(tar, 'away', sys.argv[2], tarfile.SYMTYPE); file(tar, 'away/escaped', b'x')
    link(tar, 'hard', '/etc/hostname', tarfile.LNKTYPE); link(tar, 'fifo', '', tarfile.FIFOTYPE)
    file(tar, 'good.log', b'good\n')
"#;
    let (archive, out, outside) = (bed.path("evil.tar.gz"), bed.path("out"), bed.path("outside"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("a")).unwrap();
    assert!(Command::new("python3").args(["-c", script]).arg(&archive).arg(&outside).status().unwrap().success());
    let (code, text) = printed(logkeeper(&bed.path("")).arg("restore").arg(&archive).arg("--to").arg(&out));
    assert_eq!(code, 1, "{text}");
    assert!(fs::read_dir(&outside).unwrap().next().is_none(), "{text}");
    assert!(!bed.path("escaped").exists() && !out.join("fifo").exists() && !out.join("hard").exists(), "{text}");
    assert_eq!(fs::read(out.join("good.log")).unwrap(), b"good\n");
}

fn packed(bed: &TestBed, logs: &[PathBuf], codec: Codec, threads: usize, name: &str) -> PathBuf {
    packed_by(bed, logs, codec, Effort { threads, nice: false }, name)
}

fn packed_by(bed: &TestBed, logs: &[PathBuf], codec: Codec, effort: Effort, name: &str) -> PathBuf {
    let times = |_| -> TextTimes {
        Box::new(|text| {
            let second = |line: &[u8]| {
                let at = line.windows(9).position(|at| at.starts_with(b"2026:"))? + 5;
                let number = |at: usize| (i64::from(line[at]) - 48) * 10 + i64::from(line[at + 1]) - 48;
                Some(number(at) * 3600 + number(at + 3) * 60 + number(at + 6))
            };
            let times: Vec<i64> = text.split(|byte| *byte == b'\n').filter_map(second).collect();
            Some((*times.iter().min()?, *times.iter().max()?))
        })
    };
    let logs: Vec<_> = logs.iter().map(|log| inspect(log.parent().unwrap(), log, &times).unwrap()).collect();
    let bundle = Bundle {
        folder: bed.path(name),
        host: "web1",
        source: "logs",
        date: "2026-11-20".to_owned(),
        date_rule: DateRule::Run,
        zone: "UTC",
        codec,
        sealing: None,
        announce: &|_, _| Ok(()),
        is_taken: &|_| false,
    };
    let done = pack(&bundle, &logs, effort, &times, &|_| false).unwrap();
    assert!(done.skipped.is_empty(), "{:?}", done.skipped);
    done.packed.unwrap().path
}

fn times_unknown(_: i64) -> TextTimes {
    Box::new(|_| None)
}

#[test]
fn the_bytes_of_an_archive_are_the_same_for_any_number_of_threads() {
    let bed = TestBed::new();
    fs::create_dir(bed.path("logs")).unwrap();
    let mut logs = odd(&bed.path("logs"));
    bed.file("logs/large.log.1", &access(80_000));
    logs.push(bed.path("logs/large.log.1"));
    // Names of sessions and the like become hardly smaller.
    let mut random = Random(5);
    let mut byte = |at: usize| if at % 61 == 60 { '\n' } else { char::from(b'0' + random.below(75) as u8) };
    let secrets: String = (0..61 * 70_000).map(&mut byte).collect();
    bed.file("logs/secrets.log.1", &secrets);
    logs.push(bed.path("logs/secrets.log.1"));
    for codec in [Codec::Gzip, Codec::Zstd] {
        let with = |threads: usize, nice: bool| {
            packed_by(&bed, &logs, codec, Effort { threads, nice }, &format!("{codec:?}{threads}{nice}"))
        };
        let one = with(0, false);
        let manifest = read_manifest(&one).unwrap();
        for (threads, nice) in [(2, false), (4, false), (1, true), (2, true)] {
            let other = with(threads, nice);
            assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "{codec:?} with {threads} threads");
            assert_eq!(read_manifest(&other).unwrap(), manifest);
        }
        let large = manifest.members.iter().find(|member| member.name.0.ends_with(b"large.log.1")).unwrap();
        assert!(large.blocks.len() > 1);
        let opened = Opened::new(&one, None, &times_unknown).unwrap();
        let mut lines = 0_i64;
        let count = |_: &_, text: &mut dyn std::io::Read| -> std::io::Result<()> {
            let mut whole = Vec::new();
            text.read_to_end(&mut whole)?;
            let mut at = 0;
            for block in &large.blocks {
                let text = &whole[at..at + block.text as usize];
                assert!(text.ends_with(b"\n"), "a block ends in the middle of a line");
                let count = text.iter().filter(|byte| **byte == b'\n').count() as i64;
                assert_eq!((block.first, block.last), (Some(lines), Some(lines + count - 1)), "of a line each second");
                (at, lines) = (at + text.len(), lines + count);
            }
            Ok(())
        };
        opened.each(|member| member.name == large.name, count).unwrap();
        assert_eq!(lines, 80_000);
    }
}

#[test]
fn every_damage_is_found_and_what_is_whole_comes_out() {
    let bed = TestBed::new();
    for (name, lines) in [("a.log.1", 40_000), ("b.log.1", 30), ("c.log.1", 50_000)] {
        bed.file(&format!("logs/{name}"), &access(lines));
    }
    let logs: Vec<PathBuf> = ["a.log.1", "b.log.1", "c.log.1"].map(|name| bed.path("logs").join(name)).into();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let archive = packed(&bed, &logs, codec, 2, &format!("{codec:?}"));
        let manifest = read_manifest(&archive).unwrap();
        let whole = fs::read(&archive).unwrap();
        let check = || logkeeper::archive::verify(&archive, &manifest, Effort { threads: 2, nice: false }, &|_| false);
        let (mut random, out) = (Random(3), format!("out-{codec:?}"));
        for n in 0..crate::support::sequences(60).min(1000) {
            let (at, mut broken) = (random.below(whole.len()), whole.clone());
            if n % 2 == 0 {
                broken[at] ^= 1 << random.below(8);
            } else {
                broken.truncate(at);
            }
            fs::write(&archive, &broken).unwrap();
            assert!(check().is_err(), "damage {n} at {at} of {} was not found", whole.len());
        }
        let first = &manifest.members[0];
        let block = first.blocks[1];
        let mut broken = whole;
        broken[block.offset as usize + 1000] ^= 0x40;
        fs::write(&archive, &broken).unwrap();
        let found = check().unwrap_err().to_string();
        assert!(found.contains("a.log.1: block 2 of ") && !found.contains("c.log.1"), "{found}");
        let (code, text) = printed(logkeeper(&bed.path("")).args(["restore", "--to", &out]).arg(&archive));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("2 of 3 logs restored") && text.contains("block 2 of"), "{text}");
        assert_same(&logs[1..], &bed.path(&out), "a damaged archive");
        let saved =
            fs::read(only(&bed.path(&out).join(bed.path("logs").strip_prefix("/").unwrap()), ".damaged")).unwrap();
        assert_eq!(saved.len() as u64, first.size - u64::from(block.text), "all but the damaged block");
    }
}

#[test]
fn a_search_finds_what_grep_finds_in_and_out_of_a_window() {
    let bed = TestBed::new();
    let text = access(60_000);
    bed.file("logs/a.log.1", &text).bytes("logs/b.log.2.gz", &gzip(access(500).as_bytes()));
    let pack =
        |name: &str| logkeeper(&bed.path("")).args(["pack", &format!("logs/{name}"), "--into", "store"]).status();
    assert!(pack("a.log.1").unwrap().success() && pack("b.log.2.gz").unwrap().success());
    let (plain, packed) =
        (only(&bed.path("store"), "-a-2026-11-20.tar.gz"), only(&bed.path("store"), "-b-2026-11-20.tar.gz"));
    let search = |archive: &Path, args: &[&str]| {
        let mut command = logkeeper(&bed.path(""));
        let done = command.env("TZ", "UTC").arg("search").arg(" 404 ").arg(archive).args(args).output().unwrap();
        assert!(done.stderr.is_empty(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let want = |text: &str, from: &str, to: &str| -> String {
        let inside = |line: &&str| (from..to).contains(&&line[line.find("2026:").unwrap() + 5..][..8]);
        text.lines().filter(|line| line.contains(" 404 ")).filter(inside).map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(search(&plain, &[]), want(&text, "00", "99"));
    assert_eq!(search(&packed, &[]), want(&access(500), "00", "99"));
    for (from, to) in
        [("10:00:00", "10:15:00"), ("00:00:00", "00:00:08"), ("16:39:00", "23:00:00"), ("08:20:35", "08:20:36")]
    {
        let window = [format!("2026-11-20T{from}Z"), format!("2026-11-20T{to}Z")];
        let window = ["--since", &window[0], "--until", &window[1]];
        assert_eq!(search(&plain, &window), want(&text, from, to), "{from} to {to}");
        assert_eq!(search(&packed, &window), want(&access(500), from, to), "{from} to {to}, compressed");
    }
}

#[test]
fn lines_without_a_time_are_found_with_the_line_before() {
    let bed = TestBed::new();
    let entry = |hour: u32| {
        format!("2026-11-20T{hour:02}:00:00Z web1 app[1]: failed {hour}\n\tat Main.java:{hour}\n\tat Foo.java:{hour}\n")
    };
    bed.file("logs/trace.log.1", &(0..24).map(entry).collect::<String>());
    assert!(logkeeper(&bed.path("")).args(["pack", "logs/trace.log.1", "--into", "store"]).status().unwrap().success());
    let archive = only(&bed.path("store"), ".tar.gz");
    let mut search = logkeeper(&bed.path(""));
    search.args(["search", "Foo"]).arg(&archive).args([
        "--since",
        "2026-11-20T07:00:00Z",
        "--until",
        "2026-11-20T08:00:00Z",
    ]);
    assert_eq!(printed(&mut search), (0, "\tat Foo.java:7\n".to_owned()));
}

#[test]
fn empty_and_very_many_logs_are_archived_like_others() {
    let bed = TestBed::new();
    fs::create_dir(bed.path("logs")).unwrap();
    let logs: Vec<PathBuf> =
        (0..600).map(|n| bed.path("logs").join(format!("{}{n}.log.1", "long-".repeat(40)))).collect();
    for (n, log) in logs.iter().enumerate() {
        fs::write(log, if n % 3 == 0 { String::new() } else { access(2) }).unwrap();
    }
    for codec in [Codec::Gzip, Codec::Zstd] {
        let archive = packed(&bed, &logs, codec, 2, &format!("{codec:?}"));
        let (code, text) = printed(logkeeper(&bed.path("")).arg("verify").arg(&archive));
        assert_eq!(code, 0, "{text}");
        let out = bed.path(format!("out-{codec:?}"));
        let (code, text) = printed(logkeeper(&bed.path("")).arg("restore").arg(&archive).arg("--to").arg(&out));
        assert_eq!(code, 0, "{text}");
        assert_same(&logs, &out, "ours");
    }
}

#[test]
fn damage_costs_a_search_and_cat_only_its_part() {
    let bed = TestBed::new();
    for (name, lines) in [("a.log.1", 40_000), ("b.log.1", 30), ("c.log.1", 300)] {
        bed.file(&format!("logs/{name}"), &access(lines));
    }
    let logs: Vec<PathBuf> = ["a.log.1", "b.log.1", "c.log.1"].map(|name| bed.path("logs").join(name)).into();
    let archive = packed(&bed, &logs, Codec::Gzip, 2, "store");
    let block = read_manifest(&archive).unwrap().members[0].blocks[0];
    let mut broken = fs::read(&archive).unwrap();
    broken[block.offset as usize + 1000] ^= 0x40;
    fs::write(&archive, &broken).unwrap();
    let lost = access(40_000).as_bytes()[..block.text as usize].iter().filter(|byte| **byte == b'\n').count();
    let found = logkeeper(&bed.path("")).args(["search", "-c", "GET"]).arg(&archive).output().unwrap();
    assert_eq!(found.status.code(), Some(2), "{found:?}");
    assert_eq!(String::from_utf8(found.stdout).unwrap(), format!("{}\n", 40_330 - lost));
    let cat = logkeeper(&bed.path("")).arg("cat").arg(&archive).output().unwrap();
    assert!(
        cat.status.code() == Some(1) && String::from_utf8_lossy(&cat.stderr).contains("a.log.1"),
        "{:?}",
        cat.stderr
    );
    assert!(cat.stdout.ends_with((access(30) + &access(300)).as_bytes()), "the logs after it come out");

    // A manifest that can't be read is made up for by reading the archive.
    let whole = packed(&bed, &logs[1..], Codec::Gzip, 2, "second");
    fs::write(logkeeper::archive::manifest_path(&whole), "{\"sha256\": \"0\", \"manifest\": {}}").unwrap();
    let cat = logkeeper(&bed.path("")).arg("cat").arg(&whole).output().unwrap();
    assert!(cat.stdout == (access(30) + &access(300)).into_bytes(), "{cat:?}");
}

#[test]
fn a_manifest_that_lies_harms_nobody() {
    let bed = TestBed::new();
    bed.file("logs/a.log.1", &access(30));
    let archive = packed(&bed, &[bed.path("logs/a.log.1")], Codec::Gzip, 1, "store");
    let manifest = read_manifest(&archive).unwrap();
    for (size, offset, length, text) in [
        (1 << 60, 0, 10, 10),
        (100, u64::MAX - 9, 10, 10),
        (100, 0, u32::MAX, 10),
        (100, 0, 10, u32::MAX),
        (0, 0, 0, 0),
    ] {
        let mut lie = manifest.clone();
        lie.size = size;
        let block = &mut lie.members[0].blocks[0];
        (block.offset, block.length, block.text) = (offset, length, text);
        logkeeper::archive::write_manifest(&archive, &lie).unwrap();
        for what in ["verify", "cat", "restore", "search"] {
            let mut command = logkeeper(&bed.path(""));
            command.arg(what);
            let (code, text) =
                printed(if what == "search" { command.arg("x").arg(&archive) } else { command.arg(&archive) });
            assert!((1..=2).contains(&code), "{what} with {lie:?}: {code} {text}");
        }
    }
}
