//! Copies of archives elsewhere: whole, gone on with after an interruption, and there before anything is let go here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::support::python::{S3Server, interpreter};
use crate::support::{Ran, TestBed, skip, wait_until};

const NEEDS: &str = "python3 with venv and PyPI";

/// A configuration with a folder and, where there is one, a bucket as places of copies.
fn bed(port: Option<u16>, archive: &str) -> TestBed {
    let bed = TestBed::new();
    let bucket = port.map_or_else(String::new, |port| {
        format!(
            "[copies.offsite]\nbucket = \"logs\"\nprefix = \"web1\"\nendpoint = \"http://localhost:{port}\"\n\
             key_id_file = \"key-id\"\nsecret_file = \"secret\"\n"
        )
    });
    for (name, text) in [("key-id", "AKIA\n"), ("secret", "s3cret\n")] {
        bed.file(name, text);
        fs::set_permissions(bed.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    bed.main(&format!("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n[copies.nas]\nfolder = \"DIR/nas\"\n{bucket}"));
    bed.file("jobs/pack.toml", &format!("[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n{archive}"));
    fs::create_dir(bed.path("nas")).unwrap();
    bed
}

fn line(day: u32) -> String {
    format!("192.0.2.1 - - [{day:02}/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n")
}

fn pack(bed: &TestBed) -> Ran {
    bed.run(&["run-now", "pack"])
}

fn key(day: u32) -> String {
    format!("web1/logs/2026/11/web1-logs-2026-11-{day:02}.tar.gz")
}

#[test]
fn copies_are_the_same_to_the_last_byte_and_come_back() {
    let Some(python) = interpreter() else {
        return skip("copies_are_the_same_to_the_last_byte_and_come_back", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "plain");
    let bed = bed(Some(server.port), "copies = [\"nas\", \"offsite\"]\n");
    bed.file("log/a.log.1", &line(20)).file("log/a.log.2", &line(19));
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 4 archives, and read the copies back"), "{ran:?}");
    for day in [19, 20] {
        for end in ["", ".manifest.json"] {
            let name = format!("{}{end}", key(day));
            let here = fs::read(bed.path("state/archives").join(&name)).unwrap();
            assert_eq!(fs::read(bed.path("nas").join(&name)).unwrap(), here, "{name}");
            assert_eq!(server.object(&format!("web1/{name}")), here, "{name}");
        }
    }
    // Nothing is sent twice, also where the record was lost.
    let sent = server.requests("PUT", "/logs/web1/");
    assert_eq!(sent, 4);
    assert_eq!(pack(&bed).code, 0);
    fs::remove_file(bed.path("state/logkeeper.db")).unwrap();
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 4 archives"), "{ran:?}");
    assert_eq!(server.requests("PUT", "/logs/web1/"), sent);
    // Back from each place, by name and by path.
    for (name, place) in [("web1-logs-2026-11-20", "nas"), (&*key(20), "offsite")] {
        let to = bed.path(format!("back-{place}"));
        let ran = bed.run(&["archive", "fetch", name, "--from", place, "--to", &to.to_string_lossy()]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let fetched = to.join("web1-logs-2026-11-20.tar.gz").to_string_lossy().into_owned();
        assert_eq!(bed.run(&["archive", "cat", &fetched]).stdout, line(20));
    }
    let ran = bed.run(&["archive", "fetch", "web1-logs-2026-11-20", "--to", &bed.path("back-nas").to_string_lossy()]);
    assert!(ran.code != 0 && ran.stderr.contains("is there already"), "{ran:?}");
}

#[test]
fn nothing_is_let_go_before_its_copies_hold() {
    let Some(python) = interpreter() else {
        return skip("nothing_is_let_go_before_its_copies_hold", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "plain");
    let rules = "copies = [\"offsite\"]\n[archive.keep]\nlast = 1\n";
    // A service that can't be reached.
    let bed = bed(Some(1), rules);
    for day in 17..=20 {
        bed.file(&format!("log/a.log.{}", 21 - day), &line(day));
    }
    let ran = pack(&bed);
    assert!(ran.code == 1 && ran.stdout.contains("partial") && ran.stdout.contains("no copies to offsite"), "{ran:?}");
    let there = |day| bed.path("state/archives").join(key(day)).exists();
    assert!((17..=20).all(there));
    let ran = bed.run(&["archive", "prune", "--dry-run"]);
    assert!(ran.stdout.contains("not copied to offsite yet"), "{ran:?}");
    // Now it can, but one copy is damaged after it was compared.
    let main = fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &main.replace(":1\"", &format!(":{}\"", server.port)));
    bed.file("jobs/pack.toml", "[archive]\nsources = [\"logs\"]\nquiet = \"none\"\ncopies = [\"offsite\"]\n");
    assert_eq!(pack(&bed).code, 0);
    let size = server.object(&format!("web1/{}", key(18))).len();
    server.put(&format!("web1/{}", key(18)), &"x".repeat(size));
    bed.file("jobs/pack.toml", &format!("[archive]\nsources = [\"logs\"]\nquiet = \"none\"\n{rules}"));
    let ran = bed.run(&["archive", "prune"]);
    assert!(ran.code == 1 && ran.stderr.contains("its copy at offsite is gone or not the same any more"), "{ran:?}");
    assert_eq!((17..=20).filter(|day| there(*day)).collect::<Vec<_>>(), [18, 20]);
    // It is copied again, under a name of its own, and then goes, too.
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 1 archive") && ran.stdout.contains("removed 1"), "{ran:?}");
    let to = bed.path("back18").to_string_lossy().into_owned();
    assert_eq!(bed.run(&["archive", "fetch", "web1-logs-2026-11-18", "--to", &to]).code, 0);
    let fetched = format!("{to}/web1-logs-2026-11-18.tar.gz");
    assert_eq!(bed.run(&["archive", "cat", &fetched]).stdout, line(18));
    // What was let go here comes back from there.
    let to = bed.path("back").to_string_lossy().into_owned();
    assert_eq!(bed.run(&["archive", "fetch", "web1-logs-2026-11-17.tar.gz", "--to", &to]).code, 0);
}

#[test]
fn an_upload_that_the_service_has_forgotten_begins_anew() {
    let Some(python) = interpreter() else {
        return skip("an_upload_that_the_service_has_forgotten_begins_anew", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "plain");
    let bed = bed(Some(server.port), "date = \"file\"\ncopies = [\"offsite\"]\n");
    large(&bed, 350_000);
    killed_while_sending(&bed, &server);
    server.forget_uploads();
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 1 archive"), "{ran:?}");
    assert_eq!(server.requests("POST", "uploads"), 2);
}

/// Kills a run once the first part of its archive is there.
fn killed_while_sending(bed: &TestBed, server: &S3Server) {
    let mut running = bed.command(&["run-now", "pack"]).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the first part is there", Duration::from_secs(60), || {
        server.requests("PUT", "partNumber=1") > 0 || running.try_wait().unwrap().is_some()
    });
    std::thread::sleep(Duration::from_millis(20));
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(server.requests("POST", "uploadId="), 0, "it was finished before it could be killed");
}

/// An archive of several parts.
fn large(bed: &TestBed, lines: u32) {
    let mut random = crate::cuts::Random(7);
    let line = |_| (0..24).map(|_| format!("{:06x}", random.below(1 << 24))).collect::<String>() + "\n";
    bed.file("log/a.log.1", &(0..lines).map(line).collect::<String>());
}

#[test]
fn a_killed_upload_goes_on_where_it_was() {
    let Some(python) = interpreter() else {
        return skip("a_killed_upload_goes_on_where_it_was", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "plain");
    let bed = bed(Some(server.port), "date = \"file\"\ncopies = [\"offsite\"]\n");
    large(&bed, 350_000);
    killed_while_sending(&bed, &server);
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 1 archive"), "{ran:?}");
    assert_eq!(server.requests("POST", "uploads"), 1, "one upload in all");
    let last = (1..20).filter(|part| server.requests("PUT", &format!("partNumber={part}&")) > 0).count();
    let parts = server.requests("PUT", "partNumber=");
    assert!(last > 2 && parts <= last + 1, "{parts} requests for {last} parts");
}

#[test]
fn a_bucket_over_tls_is_used_only_where_its_certificate_is_trusted() {
    let Some(python) = interpreter() else {
        return skip("a_bucket_over_tls_is_used_only_where_its_certificate_is_trusted", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "tls");
    let bed = bed(Some(server.port), "copies = [\"offsite\"]\n");
    let main = fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap().replace("http://", "https://");
    bed.file("config/logkeeper.toml", &main).file("log/a.log.1", &line(20));
    let ran = pack(&bed);
    assert!(ran.code == 1 && ran.stdout.contains("invalid peer certificate"), "{ran:?}");
    let ca = folder.path().join("ca.pem");
    bed.file("config/logkeeper.toml", &format!("{main}ca_file = \"{}\"\n", ca.display()));
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 1 archive"), "{ran:?}");
}

#[test]
fn a_copy_to_a_folder_goes_on_where_it_was_and_a_damaged_beginning_is_noticed() {
    let bed = bed(None, "copies = [\"nas\"]\n");
    bed.file("log/a.log.1", &line(20));
    assert_eq!(pack(&bed).code, 0);
    let copy = bed.path("nas").join(key(20));
    let whole = fs::read(&copy).unwrap();
    let partial = copy.with_file_name(format!(".{}.partial", copy.file_name().unwrap().to_string_lossy()));
    let half = whole[..whole.len() / 2].to_vec();
    for begun in [half.clone(), vec![0; half.len()], vec![b'x'; 2 * whole.len()]] {
        fs::remove_file(&copy).unwrap();
        fs::write(&partial, &begun).unwrap();
        fs::remove_file(bed.path("state/logkeeper.db")).unwrap();
        let ran = pack(&bed);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(fs::read(&copy).unwrap(), whole);
        assert!(!partial.exists());
    }
    // A disk that is not mounted.
    fs::rename(bed.path("nas"), bed.path("away")).unwrap();
    bed.file("log/a.log.2", &line(19));
    let ran = pack(&bed);
    assert!(ran.code == 1 && ran.stdout.contains("is no folder; is its disk mounted?"), "{ran:?}");
    assert!(bed.path("state/archives").join(key(19)).exists());
    // Its mount point is there without it.
    fs::create_dir(bed.path("nas")).unwrap();
    let ran = pack(&bed);
    assert!(ran.code == 1 && ran.stdout.contains("is not the disk that was copied to before"), "{ran:?}");
    assert_eq!(fs::read_dir(bed.path("nas")).unwrap().count(), 0);
    // A new one, said to be so, gets everything.
    fs::write(bed.path("nas/.logkeeper-copies"), "").unwrap();
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 2 archives"), "{ran:?}");
}

#[test]
fn a_store_is_no_place_for_copies() {
    let bed = bed(None, "copies = [\"nas\"]\n[archive.keep]\nlast = 1\n");
    bed.file("log/a.log.1", &line(20)).file("log/a.log.2", &line(19));
    fs::remove_dir(bed.path("nas")).unwrap();
    fs::create_dir_all(bed.path("state/archives")).unwrap();
    std::os::unix::fs::symlink(bed.path("state/archives"), bed.path("nas")).unwrap();
    let ran = pack(&bed);
    assert!(ran.code == 1 && ran.stdout.contains("lie in one another"), "{ran:?}");
    assert!([19, 20].iter().all(|day| bed.path("state/archives").join(key(*day)).exists()));
}

#[test]
fn copies_are_known_whatever_becomes_of_the_catalogue() {
    let bed = bed(None, "copies = [\"nas\"]\n[archive.keep]\nlast = 1\n");
    bed.file("log/a.log.1", &line(20)).file("log/a.log.2", &line(19));
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("removed 1"), "{ran:?}");
    // A late log of the day whose archive is elsewhere only gets a name of its own.
    bed.file("log/a.log.3", &line(19).replace("GET / ", "GET /late "));
    let ran = pack(&bed);
    assert_eq!(ran.code, 0, "{ran:?}");
    let second = key(19).replace(".tar.gz", "-2.tar.gz");
    assert!(bed.path("nas").join(&second).exists() && bed.path("nas").join(key(19)).exists());
    // Nor does a lost archive disturb the record.
    fs::remove_file(bed.path("state/archives").join(key(20))).unwrap();
    let ran = bed.run(&["archive", "reindex", "--forget"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let to = bed.path("back").to_string_lossy().into_owned();
    for name in ["web1-logs-2026-11-19", "web1-logs-2026-11-20"] {
        let ran = bed.run(&["archive", "fetch", name, "--to", &to]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let ran = bed.run(&["archive", "fetch", "../../etc/passwd", "--to", &to]);
    assert!(ran.code != 0 && ran.stderr.contains("no copy of"), "{ran:?}");
}

#[test]
fn a_copy_that_is_damaged_there_is_fetched_from_another_place() {
    let bed = bed(None, "copies = [\"nas\", \"usb\"]\n");
    let main = fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &format!("{main}[copies.usb]\nfolder = \"DIR/usb\"\n"));
    fs::create_dir(bed.path("usb")).unwrap();
    bed.file("log/a.log.1", &line(20));
    assert_eq!(pack(&bed).code, 0);
    let mut bytes = fs::read(bed.path("nas").join(key(20))).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(bed.path("nas").join(key(20)), bytes).unwrap();
    let to = bed.path("back").to_string_lossy().into_owned();
    let ran = bed.run(&["archive", "fetch", "web1-logs-2026-11-20", "--to", &to, "--from", "nas"]);
    assert!(ran.code != 0 && ran.stderr.contains("does not hold"), "{ran:?}");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    let ran = bed.run(&["archive", "fetch", "web1-logs-2026-11-20", "--to", &to]);
    assert!(ran.code == 0 && ran.stdout.contains("fetched from usb"), "{ran:?}");
}

#[test]
fn places_are_checked_with_the_configuration() {
    let bed = bed(None, "copies = [\"nas\", \"naz\"]\n");
    bed.file("secret", "x\n");
    let main = fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    let wrong = "[copies.a]\nbucket = \"x\"\nendpoint = \"http://s3.example.org\"\nkey_id_file = \"none\"\nsecret_file = \"secret\"\n[copies.b]\n";
    bed.file("config/logkeeper.toml", &format!("{main}{wrong}"));
    fs::set_permissions(bed.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = bed.run(&["check"]);
    for said in
        ["http:// only for localhost", "none: No such file", "secret can be read by others", "\"bucket\" is missing"]
    {
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
    }
    bed.file("config/logkeeper.toml", &main);
    let ran = bed.run(&["check"]);
    assert!(ran.stderr.contains("there is no place of copies \"naz\"") && ran.stderr.contains("did you mean \"nas\"?"));
}

#[test]
fn a_copy_that_takes_longer_to_read_than_a_run_may_last_is_compared_by_several() {
    let Some(python) = interpreter() else {
        return skip("a_copy_that_takes_longer_to_read_than_a_run_may_last_is_compared_by_several", NEEDS);
    };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(python, folder.path(), "plain");
    let bed = bed(Some(server.port), "date = \"file\"\ncopies = [\"offsite\"]\n");
    large(&bed, 900_000);
    let read = || server.requests("GET", ".tar.gz HTTP");
    let mut runs = 0;
    loop {
        let before = read();
        let mut running = bed.command(&["run-now", "pack"]).stdout(Stdio::null()).spawn().unwrap();
        let mut ended = None;
        wait_until("a part more is read back, or the run is over", Duration::from_secs(60), || {
            ended = running.try_wait().unwrap();
            ended.is_some() || read() > before + 1
        });
        runs += 1;
        assert!(runs < 20, "it begins anew each time");
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        running.kill().unwrap();
        running.wait().unwrap();
    }
    let parts = (1..99).filter(|part| server.requests("PUT", &format!("partNumber={part}&")) > 0).count();
    assert!(runs > 2 && parts > 4, "{runs} runs for {parts} parts");
    assert!(read() < parts + 2 * runs, "{} parts of {parts} were read by {runs} runs", read());
}

#[test]
fn the_weekly_look_at_archives_is_one_at_their_copies_too() {
    let bed = bed(None, "copies = [\"nas\"]\n");
    bed.file("jobs/verify.toml", "[verify]\n");
    for day in 17..=20 {
        bed.file(&format!("log/a.log.{}", 21 - day), &line(day));
    }
    assert_eq!(pack(&bed).code, 0);
    let verify = || bed.run(&["run-now", "verify"]);
    assert_eq!(verify().code, 0);
    // Two archives are elsewhere only.
    for day in [17, 18] {
        fs::remove_file(bed.path("state/archives").join(key(day))).unwrap();
    }
    assert_eq!(bed.run(&["archive", "reindex", "--forget"]).code, 0);
    let nas = |day| bed.path("nas").join(key(day));
    // One was moved from disk to disk and is the same; three are not.
    let bytes = fs::read(nas(17)).unwrap();
    fs::remove_file(nas(17)).unwrap();
    fs::write(nas(17), bytes).unwrap();
    fs::write(nas(18), "x").unwrap();
    fs::remove_file(nas(19)).unwrap();
    fs::write(nas(20), "x").unwrap();
    let ran = verify();
    assert!(
        ran.code == 1 && ran.stdout.contains("2 archives verified, all whole; 3 copies can't be relied on"),
        "{ran:?}"
    );
    let told = |day: u32, rest: &str| {
        ran.stdout.contains(&format!("{}: its copy at nas is gone or not the same any more{rest}\n", key(day)))
    };
    assert!(
        told(18, ", and the archive is no longer here")
            && told(19, "")
            && told(20, "")
            && !ran.stdout.contains(&key(17)),
        "{ran:?}"
    );
    // What is here is copied again, and what is lost was told.
    for day in [17, 18] {
        fs::remove_file(bed.path(format!("log/a.log.{}", 21 - day))).unwrap();
    }
    let ran = pack(&bed);
    assert!(ran.code == 0 && ran.stdout.contains("copied 2 archives"), "{ran:?}");
    let ran = verify();
    assert_eq!(ran.code, 0, "{ran:?}");
    // What comes back is a copy again, and one without its manifest is none.
    let manifest = format!("{}.manifest.json", key(17));
    for name in [key(17), manifest] {
        fs::rename(bed.path("nas").join(&name), bed.path("aside")).unwrap();
        let ran = verify();
        assert!(ran.code == 1 && ran.stdout.contains("the archive is no longer here"), "{name}: {ran:?}");
        assert_eq!(verify().code, 0, "told once");
        fs::rename(bed.path("aside"), bed.path("nas").join(&name)).unwrap();
        assert_eq!(verify().code, 0);
        let to = bed.path("back");
        let ran = bed.run(&["archive", "fetch", "web1-logs-2026-11-17", "--to", &to.to_string_lossy()]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        fs::remove_dir_all(to).unwrap();
    }
    // A disk that is not there.
    fs::rename(bed.path("nas"), bed.path("away")).unwrap();
    let ran = verify();
    assert!(
        ran.code == 1 && ran.stdout.contains("can't be looked at") && ran.stdout.contains("is its disk mounted?"),
        "{ran:?}"
    );
    fs::rename(bed.path("away"), bed.path("nas")).unwrap();
    assert_eq!(verify().code, 0);
}
