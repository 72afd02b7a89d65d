//! Files as nobody would write them: they cost little memory, and only themselves.

use std::io::Write;

use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::TestBed;

fn failures(from: u32, ip: &str) -> String {
    let line =
        |n| format!("2026-11-20T10:00:{n:02}Z web1 sshd[{n}]: Failed password for root from {ip} port 22 ssh2\n");
    (from..from + 5).map(line).collect()
}

fn packed(pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    pieces.iter().for_each(|piece| encoder.write_all(piece).unwrap());
    encoder.finish().unwrap()
}

/// Scans a file as a command, whose peak of memory is on record; returns what was found in it, lines read and not parsed, and
/// the peak in MiB.
fn scan(bed: &TestBed) -> (Vec<String>, u64, u64, u64) {
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    let peak = bed.json(&["history"])[0]["peak_bytes"].as_u64().unwrap();
    let read: serde_json::Value = serde_json::from_slice(&std::fs::read(bed.path("out.json")).unwrap()).unwrap();
    let found = read["findings"].as_array().unwrap().iter().filter_map(|f| f["subject"]["source.ip"].as_str());
    let file = &read["files"][0];
    let mut found: Vec<String> = found.map(str::to_owned).collect();
    found.sort();
    let counts = [&file["lines"], &file["unparsed"]].map(|count| count.as_u64().unwrap());
    (found, counts[0], counts[1], peak >> 20)
}

#[test]
fn hostile_files_cost_little_memory_and_only_themselves() {
    let bed = TestBed::new();
    let program = env!("CARGO_BIN_EXE_logkeeper");
    let shell = format!("{program} scan --json {0}/hostile.log > {0}/out.json || true", bed.path("").display());
    bed.file("jobs/scan.toml", &format!("[command]\nshell = '{shell}'\n"));
    let (before, after) = (failures(0, "192.0.2.1"), failures(10, "192.0.2.2"));
    let around = |middle: &[u8]| [before.as_bytes(), middle, after.as_bytes()].concat();
    let both = ["192.0.2.1", "192.0.2.2"];
    let long = vec![b'x'; 100 << 20];
    // 8191 has no divisor in common with the hours of these years.
    let hour = |n: i64| DateTime::from_timestamp(n * 8191 % (24 * 365 * 8000) * 3600, 0).unwrap().to_rfc3339();
    let line = |n| format!("{} web1 sshd[7]: Failed password for root from 192.0.2.3 port 22 ssh2\n", hour(n));
    let any_time: String = (1..60_000).map(line).collect();
    let cases: [(&str, Vec<u8>, u64, u64); 10] = [
        ("lines of all times", around(any_time.as_bytes()), 60_009, 0),
        ("a line of 100 MB", around(&[&long[..], b"\n"].concat()), 11, 1),
        ("NUL bytes", around(&[&vec![0; 8 << 20][..], b"\n"].concat()), 11, 1),
        ("NUL bytes before a line", around(&[0; 8192]), 10, 0),
        (
            "NUL bytes before a line that waits",
            around(
                &[&[0; 5000][..], b"2026-11-19T11:00:00Z web1 sshd[7]: Invalid user x from 192.0.2.3 port 4\n"]
                    .concat(),
            ),
            11,
            0,
        ),
        ("a mark of UTF-8 in front", [b"\xef\xbb\xbf", &*around(b"")].concat(), 10, 0),
        ("no UTF-8", around(&b"\xff\xfe\xfd\n".repeat(100_000)), 100_010, 100_000),
        ("nothing but line breaks", around(&vec![b'\n'; 4 << 20]), (4 << 20) + 10, 4 << 20),
        ("a line of 100 MB, packed", packed(&[before.as_bytes(), &long, b"\n", after.as_bytes()]), 11, 1),
        ("a cut last line", around(b"")[..before.len() + after.len() - 9].to_vec(), 10, 0),
    ];
    for (what, text, lines, unparsed) in cases {
        bed.bytes("hostile.log", &text);
        let (found, read, not_parsed, peak) = scan(&bed);
        let want = if what.starts_with("a cut") { &both[..1] } else { &both[..] };
        assert_eq!(
            (found, read, not_parsed),
            (want.iter().map(|ip| (*ip).to_owned()).collect(), lines, unparsed),
            "{what}"
        );
        assert!(peak < 64, "{what} took {peak} MiB");
    }
    // A bomb is put down, and what came before it counts.
    let mut bomb = vec![before.as_bytes()];
    bomb.extend(std::iter::repeat_n(&long[..], 15));
    bed.bytes("hostile.log", &packed(&bomb));
    let (found, _, _, peak) = scan(&bed);
    assert!(found == both[..1] && peak < 64, "{found:?} {peak} MiB");
}

#[test]
fn a_first_scan_of_most_of_a_year_costs_little_memory() {
    let (bed, outer) = (TestBed::new(), TestBed::new());
    bed.file("jobs/web.toml", "[scan]\nsources = [\"web\"]\nrules = [\"failed-logins\"]\n");
    bed.main(&format!("[sources.web]\nfiles = [\"{}\"]\n", bed.path("access.log").display()));
    let now = chrono::Utc::now().timestamp();
    let lines = (0..24 * 300 * 60).map(|n: i64| {
        let time = DateTime::from_timestamp(now + (n - 24 * 300 * 60) * 60, 0).unwrap().format("%d/%b/%Y:%H:%M:%S");
        format!(
            "10.0.{}.{} - - [{time} +0000] \"GET /page/{} HTTP/1.1\" 404 5 \"-\" \"-\"\n",
            n % 256,
            n % 64,
            n % 1021
        )
    });
    bed.bytes("access.log", lines.collect::<String>().as_bytes());
    let (program, config) = (env!("CARGO_BIN_EXE_logkeeper"), bed.path(""));
    outer.file(
        "jobs/scan.toml",
        &format!("[command]\nrun = ['{program}', '--config', '{}', 'run-now', 'web']\n", config.display()),
    );
    assert_eq!(outer.run(&["run-now", "scan"]).code, 0);
    let peak = outer.json(&["history"])[0]["peak_bytes"].as_u64().unwrap() >> 20;
    // Half of it is the program itself, as tests build it.
    assert!(peak < 100, "{peak} MiB");
    let paths = bed.json(&["stats", "--since", "299d", "--by", "path"]);
    assert_eq!(paths.as_array().map_or(0, Vec::len), 20, "{paths}");
}
