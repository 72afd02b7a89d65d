//! Every mistake is shown at once, with its place and a way out, and exit code 2.

use crate::support::TestBed;

const SCAN: &str = "schedule = \"*/10 * * * *\"\n[scan]\nsources = [\"web\"]\nrules = [\"failed-logins\"]\n";

/// The file that is broken, its text, where the mistake is, and a part of what is said about it.
const BROKEN: [(&str, &str, &str, &str); 45] = [
    (
        "config/rules/quiet.toml",
        "severity = \"low\"\nmeaning = \"m\"\nadvice = \"a\"\nonly = [\"192.0.2.7\"]\n[silent]\n",
        "config/rules/quiet.toml:4:8",
        "only means nothing here",
    ),
    (
        "jobs/x.toml",
        "schedule = \"0 12 * * FRY\"\n[scan]\nsources = [\"web\"]\nrules = [\"failed-logins\"]\n",
        "jobs/x.toml:1:22",
        "\"FRY\" is not a weekday",
    ),
    ("jobs/x.toml", "schedule = \"0 0 30 2 *\"\n[command]\nshell = \"true\"\n", "jobs/x.toml:1:17", "never comes"),
    (
        "jobs/x.toml",
        "shedule = \"0 12 * * 5\"\n[command]\nshell = \"true\"\n",
        "jobs/x.toml:1:1",
        "did you mean \"schedule\"?",
    ),
    (
        "jobs/x.toml",
        "[scan]\nsources = [\"wep\"]\nrules = [\"failed-logins\"]\n",
        "jobs/x.toml:2:12",
        "there is no source \"wep\"",
    ),
    (
        "jobs/x.toml",
        "[scan]\nsources = [\"web\"]\nrules = [\"failed-login\"]\n",
        "jobs/x.toml:3:10",
        "did you mean \"failed-logins\"?",
    ),
    (
        "jobs/x.toml",
        "schedule = \"0 12 * * 5\"\n",
        "jobs/x.toml:1:1",
        "[archive], [rotate], [verify], [scan], [report] or [command]",
    ),
    (
        "jobs/x.toml",
        "[command]\nshell = \"true\"\n[report]\nperiod = \"weekly\"\nto = [\"admins\"]\n",
        "jobs/x.toml:1:1",
        "a job is of one kind",
    ),
    (
        "jobs/x.toml",
        "timeout = \"soon\"\n[command]\nshell = \"true\"\n",
        "jobs/x.toml:1:11",
        "\"soon\" is not a length of time",
    ),
    (
        "jobs/x.toml",
        "zone = \"Europe/Berlim\"\n[command]\nshell = \"true\"\n",
        "jobs/x.toml:1:8",
        "did you mean \"Europe/Berlin\"?",
    ),
    (
        "jobs/x.toml",
        "[report]\nperiod = \"weekly\"\nto = [\"managment\"]\n",
        "jobs/x.toml:3:7",
        "did you mean \"management\"?",
    ),
    ("jobs/x.toml", "enabled = \"yes\"\n[command]\nshell = \"true\"\n", "jobs/x.toml:1:11", "enabled"),
    ("jobs/x.toml", "[command\nshell = \"true\"\n", "jobs/x.toml:1:9", "table"),
    ("jobs/X y.toml", "[command]\nshell = \"true\"\n", "jobs/X y.toml:1:1", "\"X y\" is not a name"),
    (
        "config/formats/f.toml",
        "category = \"access\"\n[lines.all]\napache = '%h %l %u \"%r\"'\n",
        "config/formats/f.toml:3:10",
        "no time",
    ),
    (
        "config/formats/f.toml",
        "category = \"access\"\n[lines.all]\nnginx = '$remote_addr [${time_local] x'\n",
        "config/formats/f.toml:3:9",
        "} is missing",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\nregex = '^(?<time>\\S+) (?<address>\\S+)'\n",
        "config/formats/f.toml:3:9",
        "one of: time source.ip forwarded.for user.name",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { \"source.ip\" = \"ip\" }\n",
        "config/formats/f.toml:3:8",
        "say where the time stands",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\nregex = '^(?<time>\\S+)'\nwhere = { a = \"b\" }\n",
        "config/formats/f.toml:4:9",
        "only json has fields that hold something",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { time = \"t\" }\nwhere = {}\n",
        "config/formats/f.toml:4:9",
        "this holds for every line",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { time = \"t\" }\nwhere = { a = [] }\n",
        "config/formats/f.toml:4:15",
        "no value is named",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { time = \"t\" }\nwhere = { a = \"*b\" }\n",
        "config/formats/f.toml:4:15",
        "stands at the end only",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { time = \"t\" }\nwhere = { a = [\"b\", \"c**\"] }\n",
        "config/formats/f.toml:4:15",
        "stands at the end only",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\n[lines.all]\njson = { time = \"t\" }\nwhere = { a = 1 }\n",
        "config/formats/f.toml:4:15",
        "a text in quotation marks",
    ),
    (
        "config/formats/f.toml",
        "category = \"auth\"\ntime = \"%H:%M:%S\"\n[lines.all]\nregex = '^(?<time>\\S+)'\n",
        "config/formats/f.toml:2:8",
        "needs year, month, day, hour, minute and second",
    ),
    (
        "config/logkeeper.toml",
        "[sources.shop]\nfiles = [\"/x.log\"]\nformat = \"shop\"\n",
        "config/logkeeper.toml:3:10",
        "describe it in config/formats/shop.toml",
    ),
    (
        "config/rules/r.toml",
        "severity = \"hihg\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\n",
        "config/rules/r.toml:1:12",
        "one of: low medium high critical",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[spike]\nstatuses = [\"404\", \"6xx\"]\n",
        "config/rules/r.toml:5:20",
        "\"6xx\" is not an HTTP status",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[spike]\nstatuses = [\"404\"]\nmail_factor = 5\n",
        "config/rules/r.toml:6:15",
        "mail_factor is 5, but report_factor is 6",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nthreshold = 0\n",
        "config/rules/r.toml:6:13",
        "threshold is 0",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[pattern]\nregex = \"a(b\"\n",
        "config/rules/r.toml:5:9",
        "unclosed group",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[sequence]\nevents = \"logins\"\nby = \"source.ip\"\n",
        "config/rules/r.toml:5:10",
        "a sequence ends with a login",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nkinds = [\"error\"]\n",
        "config/rules/r.toml:6:9",
        "kinds of logs are for urgent lines",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[pattern]\nregex = \"x*\"\n",
        "config/rules/r.toml:5:9",
        "fits every line",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nwindow = \"292000000000y\"\n",
        "config/rules/r.toml:6:10",
        "longer than anything lasts",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nwindow = \"1500ms\"\n",
        "config/rules/r.toml:6:10",
        "no whole number of seconds",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nby = \"source.ip\"\nwindow = \"10ms\"\n",
        "config/rules/r.toml:6:10",
        "too short",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[spike]\nstatuses = [\"404\", \"5xx\", \"404\"]\n",
        "config/rules/r.toml:5:12",
        "a status is named twice",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[spike]\nstatuses = [\"+404\"]\n",
        "config/rules/r.toml:5:13",
        "\"+404\" is not an HTTP status",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[distinct]\nby = \"source.ip\"\nvalues = \"source.network\"\n",
        "config/rules/r.toml:6:10",
        "values is one of the fields of by",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[distinct]\nevents = \"lockouts\"\nby = \"source.ip\"\nvalues = \"url.path\"\n",
        "config/rules/r.toml:7:10",
        "lockouts are about no path",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[count]\nevents = \"probes\"\nby = [\"source.ip\", \"url.path\"]\n",
        "config/rules/r.toml:6:6",
        "probes are about no path",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[new]\nevents = \"cleared-logs\"\nby = \"url.path\"\n",
        "config/rules/r.toml:6:6",
        "cleared logs are about no path",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\nonly = [\"192.0.2.7\", \"account Eve\"]\nallow = [\"192.0.2.0/24\", \"account eve\"]\n[count]\nby = \"source.ip\"\n",
        "config/rules/r.toml:5:9",
        "allow lets everybody alone whom only names",
    ),
    (
        "config/rules/r.toml",
        "severity = \"high\"\nmeaning = \"m\"\nadvice = \"a\"\n[silent]\nafter = \"15d\"\n",
        "config/rules/r.toml:5:9",
        "longer than two weeks",
    ),
];

const WEB: &str = "[sources.web]\nfiles = [\"/var/log/nginx/access.log\"]\n";

#[test]
fn each_mistake_is_shown_with_its_place_and_help() {
    for (file, text, place, said) in BROKEN {
        let bed = TestBed::new();
        bed.main(WEB).file(file, text);
        let ran = bed.run(&["check"]);
        assert_eq!(ran.code, 2, "{file} {text}: {ran:?}");
        let place = format!("--> {place}\n");
        assert!(ran.stderr.contains(&place), "{text}: wants {place:?} in\n{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{text}: wants {said:?} in\n{}", ran.stderr);
        assert!(ran.stderr.contains("help: "), "{}", ran.stderr);
    }
}

#[test]
fn mistakes_in_the_main_file_are_shown_too() {
    for (more, place, said) in [
        ("[sources.web]\nfiles = [\"nginx/access.log\"]\n", "10:10", "is not a full path"),
        ("[sources.web]\nfile = [\"/a\"]\n", "10:1", "did you mean \"files\"?"),
        ("[mail]\nfrom = \"nobody\"\n", "10:8", "is not a mail address"),
        ("[mail.smtp]\nhost = \"mail.example.org\"\ntls = \"none\"\n", "11:7", "would go unencrypted"),
        ("[mail.smtp]\nhost = \"mail.example.org\"\nuser = \"x\"\n", "9:1", "\"password_file\" is missing"),
        ("[mail.smtp]\nhost = \"h\"\nport = 99999\n", "11:8", "port"),
    ] {
        let bed = TestBed::new();
        bed.main(more);
        let ran = bed.run(&["check"]);
        assert_eq!(ran.code, 2, "{more}: {ran:?}");
        let place = format!("--> config/logkeeper.toml:{place}\n");
        assert!(ran.stderr.contains(&place), "{more}: wants {place:?} in\n{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{more}: wants {said:?} in\n{}", ran.stderr);
    }
}

#[test]
fn a_log_is_scanned_whatever_is_wrong_with_a_configuration_that_it_does_not_need() {
    let bed = TestBed::new();
    bed.file("auth.log", "2026-11-20T10:00:00Z web1 sshd[7]: Failed password for root from 192.0.2.7 port 22 ssh2\n");
    let log = bed.path("auth.log");
    let scan = ["scan", "--json", log.to_str().unwrap()];
    for (file, text) in [
        ("config/logkeeper.toml", "[sources.web]\nfiles = [\n"),
        ("config/formats/f.toml", "category = \"auth\"\n"),
        ("config/rules/r.toml", "severity = \n"),
    ] {
        let bed = TestBed::new();
        bed.main(WEB).file(file, text);
        let ran = bed.run(&scan);
        assert_eq!(ran.code, 0, "{file}: {ran:?}");
        let scanned: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(scanned["failed_logins"], 1, "{file}");
        assert!(ran.stderr.contains(&format!("--> {file}:")), "{}", ran.stderr);
        assert!(ran.stderr.contains("what follows goes without that"), "{}", ran.stderr);
    }
    // A format that is asked for is in the configuration.
    let bed = TestBed::new();
    bed.main(WEB).file("config/formats/f.toml", "category = \"auth\"\n");
    assert_eq!(bed.run(&[&scan[..], &["--format", "f"]].concat()).code, 2);
}

#[test]
fn all_mistakes_of_all_files_come_in_one_go() {
    let bed = TestBed::new();
    bed.main(WEB);
    bed.file("jobs/a.toml", "schedule = \"61 * * * *\"\ntimeout = \"x\"\ncolour = 1\n[command]\nrun = []\n");
    bed.file("jobs/b.toml", SCAN.replace("web", "wob").as_str());
    let ran = bed.run(&["check"]);
    assert_eq!(ran.stderr.matches("error: ").count(), 5, "{}", ran.stderr);
    assert!(ran.stderr.ends_with("5 errors in 2 files; nothing was started or changed\n"), "{}", ran.stderr);
}

#[test]
fn a_world_writable_file_and_a_readable_password_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let bed = TestBed::new();
    bed.main("[mail.smtp]\nhost = \"localhost\"\nuser = \"u\"\npassword_file = \"pw\"\n").file("pw", "secret\n");
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n");
    std::fs::set_permissions(bed.path("jobs/a.toml"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let ran = bed.run(&["check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("can be changed by every user"), "{}", ran.stderr);
    assert!(ran.stderr.contains("can be read by others") && ran.stderr.contains("chmod 600"), "{}", ran.stderr);
}

#[test]
fn a_flawless_configuration_shows_the_next_three_runs() {
    let bed = TestBed::new();
    bed.main(WEB).file("jobs/a.toml", "schedule = \"0 12 * * 5\"\n[command]\nshell = \"true\"\n");
    let ran = bed.run(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.matches("Fri ").count(), 3, "{}", ran.stdout);
    assert!(ran.stdout.contains("12:00:00 UTC"), "{}", ran.stdout);
}

#[test]
fn the_shipped_configuration_is_flawless_as_it_is() {
    let root = env!("CARGO_MANIFEST_DIR");
    let ran = TestBed::new().run(&["--config", root, "check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for job in ["archive-logs", "failed-logins", "error-spikes", "weekly-summary"] {
        assert!(ran.stdout.contains(job), "{}", ran.stdout);
    }
}

#[test]
fn a_mistake_in_a_rule_hides_nothing_of_what_is_on_record() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let line = |n: u32| {
        format!("2026-11-20T10:00:{n:02}Z web1 sshd[{n}]: Failed password for eve from 192.0.2.7 port 22 ssh2\n")
    };
    let log = bed.file("auth.log", &(0..5).map(line).collect::<String>()).path("auth.log");
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    bed.file("config/rules/mine.toml", "severity = 7\n");
    for command in
        [&["findings"][..], &["findings", "show", "1"], &["history"], &["stats"], &["scan", log.to_str().unwrap()]]
    {
        let ran = bed.run(command);
        assert!(ran.code == 0 && ran.stderr.contains("config/rules/mine.toml:1"), "{command:?}: {ran:?}");
        assert!(ran.stderr.contains("4 errors in 1 file; what follows goes without that\n"), "{command:?}: {ran:?}");
    }
    assert!(bed.run(&["findings"]).stdout.contains("192.0.2.7"));
    // What does something refuses to, and so does all where the main file is wrong.
    assert_eq!(bed.run(&["run-now", "scan"]).code, 2);
    bed.main("zone = 7\n");
    assert_eq!(bed.run(&["findings"]).code, 2);
}
