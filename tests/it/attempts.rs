//! What one attempt to log in leaves in the logs, as services and their PAM modules write it: each counts once, and none that got in.

use chrono::{TimeDelta, Utc};

use crate::cuts::assert_cuts_change_nothing_with;
use crate::support::TestBed;

/// How many failed logins a scan counts in these lines, and whom it names.
fn failures(name: &str, lines: &[&str]) -> (u64, Vec<String>) {
    let bed = TestBed::new();
    bed.file(name, &(lines.join("\n") + "\n"));
    let scanned = bed.json(&["scan", "--zone", "UTC", "--year", "2026", bed.path(name).to_str().unwrap()]);
    let addresses = scanned["addresses"].as_array().unwrap().iter().filter(|known| known["failures"] != 0);
    let named = addresses.map(|known| format!("{} {}", known["address"].as_str().unwrap(), known["failures"]));
    assert_eq!(scanned["files"][0]["unparsed"], 0, "{lines:?}");
    (scanned["failed_logins"].as_u64().unwrap(), named.collect())
}

const PAM: &str = "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=eve";

fn at(second: u32, said: &str) -> String {
    format!("Nov 20 10:00:{second:02} web1 {said}")
}

fn of(lines: &[(u32, String)]) -> u64 {
    let lines: Vec<String> = lines.iter().map(|(second, said)| at(*second, said)).collect();
    failures("auth.log", &lines.iter().map(String::as_str).collect::<Vec<_>>()).0
}

#[test]
fn what_pam_says_in_a_process_of_its_own_is_said_again_by_sshd_and_counts_once() {
    let child = |second: u32, module: &str| (second, format!("sshd[825]: {module}(sshd:auth): {PAM}"));
    let told = (2, "sshd[822]: error: PAM: Authentication failure for eve from 192.0.2.7".to_owned());
    let accepted = (2, "sshd[822]: Accepted keyboard-interactive/pam for eve from 192.0.2.7 port 4711 ssh2".to_owned());
    assert_eq!(of(&[child(0, "pam_unix"), told.clone()]), 1);
    assert_eq!(of(&[child(0, "pam_unix"), child(0, "pam_sss"), told.clone()]), 1);
    assert_eq!(of(&[child(0, "pam_unix"), accepted.clone()]), 0);
    // Three attempts, each asked in a process of its own, the last of which gets in.
    let attempt = |n: u32| (n * 5, format!("sshd[{}]: pam_unix(sshd:auth): {PAM}", 823 + n));
    let told_at = |n: u32| (n * 5 + 2, told.1.clone());
    assert_eq!(of(&[attempt(0), told_at(0), attempt(1), told_at(1), attempt(2), (13, accepted.1.clone())]), 2);
    // Many at once, of one client.
    let asked = |n: u32| (0, format!("sshd[{}]: pam_unix(sshd:auth): {PAM}", 2000 + n));
    let answered = |n: u32| (3, told.1.replace("822", &(1000 + n).to_string()));
    assert_eq!(of(&(0..100).map(asked).chain((0..100).map(answered)).collect::<Vec<_>>()), 100);
    // On a busy machine many others were begun in between.
    let far = (0, format!("sshd[2999]: pam_unix(sshd:auth): {PAM}"));
    assert_eq!(of(&[far.clone(), told.clone()]), 1);
    assert_eq!(of(&[far.clone(), accepted]), 0);
    let its_own = (1, "sshd[2999]: Invalid user eve from 192.0.2.7 port 4711".to_owned());
    assert_eq!(of(&[far, its_own, told.clone()]), 2, "of a process that says more than PAM");
    // On a busier one very many, or the numbers began anew.
    for pid in [9999, 99, 4] {
        assert_eq!(of(&[(0, format!("sshd[{pid}]: pam_unix(sshd:auth): {PAM}")), told.clone()]), 1, "{pid}");
    }
    // Somebody else's process, and one of another time, are no child of it.
    let other = (0, format!("sshd[825]: pam_unix(sshd:auth): {}", PAM.replace("192.0.2.7", "192.0.2.8")));
    assert_eq!(of(&[other, told.clone()]), 2);
    assert_eq!(of(&[(0, format!("sshd[822]: pam_unix(sshd:auth): {PAM}")), child(0, "pam_unix")]), 2);
}

#[test]
fn a_severity_in_the_hosts_place_or_behind_it_hides_nobody() {
    let esxi = |level: &str, said: &str| format!("2026-11-20T10:15:37.456Z {level} sshd[1050434]: {said}");
    let told = esxi("Er(35)", "error: PAM: Authentication failure for root from 192.0.2.7");
    let failed = esxi("In(38)", "Failed keyboard-interactive/pam for root from 192.0.2.7 port 51234 ssh2");
    let once = (1, vec!["192.0.2.7 1".to_owned()]);
    assert_eq!(failures("esxi.log", &[&told, &failed]), once);
    let failed = "sshd[22277]: Failed password for root from 192.0.2.7 port 51234 ssh2";
    let relayed = format!("2026-11-20T10:15:37.456Z esx1 In(38) {failed}");
    assert_eq!(failures("esxi.log", &[&relayed]), once);
    for said in [failed, &failed.replace("[22277]", "")] {
        assert_eq!(failures("auth.log", &[&format!("Nov 20 10:00:00 sonic INFO {said}")]), once, "{said}");
    }
    for head in ["<85>Nov 20 10:00:00 big1 notice", "Nov 20 10:00:00 big1 err", "Nov 20 10:00:00.123456 sonic NOTICE"] {
        assert_eq!(failures("auth.log", &[&format!("{head} {failed}")]), once, "{head}");
    }
}

#[test]
fn what_stands_between_stamp_and_program_hides_nobody() {
    let once = (1, vec!["192.0.2.7 1".to_owned()]);
    let (failed, dropbear) = (
        "sshd[22277]: Failed password for root from 192.0.2.7 port 51234 ssh2",
        "dropbear[3560]: Bad password attempt for 'root' from 192.0.2.7:51234",
    );
    for line in [
        "Nov 20 10:00:00 [sshd] error: PAM: Authentication failure for root from 192.0.2.7".to_owned(),
        "Nov 20 10:00:00 [sshd(pam_unix)] authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root"
            .to_owned(),
        format!("Nov 20 10:00:00 console console {failed}"),
        format!("Nov 20 10:00:00 ap1 0123456789ab,AP-1-6.0.21+13673: {dropbear}"),
        format!("Nov 20 10:00:00 192.0.2.200 Nov 20 10:00:00 web1 {failed}"),
        format!("2026-11-20T10:00:00.123Z Nov 20 10:00:00 web1 {failed}"),
        "2026-11-20T10:00:00.123+03:00 web1 sshd 20857 - -  Failed password for root from 192.0.2.7 port 4711 ssh2"
            .to_owned(),
    ] {
        assert_eq!(failures("auth.log", &[&line]), once, "{line}");
    }
    let web = r#"192.0.2.7 - eve [20/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 401 5 "-" "-""#;
    assert_eq!(failures("web.log", &[&format!("2026-11-20T10:00:00Z web1 web1 nginx: {web}")]), once);
}

#[test]
fn old_shapes_of_failures_at_the_machine_count_each_attempt_once() {
    let pam = "authentication failure; logname= uid=0 euid=0 tty=pts/0 ruser= rhost=";
    let sudo = [
        format!("Nov 20 10:00:00 web1 sudo(pam_unix)[16290]: {pam}  user=eve"),
        format!("Nov 20 10:00:09 web1 sudo(pam_unix)[16290]: {} ", pam.replace("auth", "2 more auth").replace("re;", "res;")) + " user=eve",
        "Nov 20 10:00:09 web1 sudo:      eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"
            .to_owned(),
    ];
    assert_eq!(failures("secure", &sudo.each_ref().map(String::as_str)).0, 3);
    let telnet = [
        format!("Nov 20 10:00:00 web1 login: pam_unix(remote:auth): {pam}host.example.org  user=eve"),
        "Nov 20 10:00:02 web1 login: FAILED LOGIN 1 FROM host.example.org FOR eve, Authentication failure".to_owned(),
    ];
    assert_eq!(failures("secure", &telnet.each_ref().map(String::as_str)), (1, vec!["host.example.org 1".to_owned()]));
    let last = [
        "Nov 20 10:00:00 web1 login[7]: FAILED LOGIN 1 FROM tty1 FOR root, Authentication failure",
        "Nov 20 10:00:09 web1 login[7]: TOO MANY LOGIN TRIES (2) FROM tty1 FOR root, Have exhausted maximum number of retries",
    ];
    assert_eq!(failures("secure", &last).0, 2);
    let shadow = [
        "Nov 20 10:00:00 web1 login[7]: FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure",
        "Nov 20 10:00:00 web1 login[7]: TOO MANY LOGIN TRIES (1) on '/dev/tty1' FOR 'root'",
    ];
    assert_eq!(failures("auth.log", &shadow).0, 1);
    let ancient = "Nov 20 10:00:00 web1 PAM_pwdb[842]: authentication failure; (uid=0) -> eve for samba service";
    assert_eq!(failures("messages", &[ancient]).0, 1);
}

#[test]
fn su_and_sudo_tell_of_each_attempt_once_where_pam_names_no_process() {
    let pam = |program: &str, user: &str| {
        format!(
            "{program}: pam_unix({program}:auth): authentication failure; logname= uid=1003 euid=0 tty= ruser=dave rhost=  user={user}"
        )
    };
    let at = |second: u32, said: &str| format!("Nov 20 10:{:02}:{:02} web1 {said}", second / 60, second % 60);
    let count = |lines: &[String]| failures("auth.log", &lines.iter().map(String::as_str).collect::<Vec<_>>()).0;
    let su = |second, pid: u32| {
        [at(second, &pam("su", "root")), at(second + 2, &format!("su[{pid}]: FAILED SU (to root) dave on pts/1"))]
    };
    assert_eq!(count(&[su(0, 700), su(3, 800), su(6, 900)].concat()), 3);
    let told = |second, n| {
        at(
            second,
            &format!(
                "sudo:     dave : {n} incorrect password attempts ; TTY=pts/9 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"
            ),
        )
    };
    let done = |second| at(second, "sudo:     dave : TTY=pts/7 ; PWD=/ ; USER=root ; COMMAND=/bin/sh");
    let asked = |second| at(second, &pam("sudo", "dave"));
    // One who mistypes and is in; two attempts and no more; one that was broken off.
    assert_eq!(count(&[asked(0), done(2), asked(4), told(9, 2), asked(9)]), 4);
    // An own word hides nothing that follows.
    let many: Vec<String> = (1..50).map(|n| asked(10 * n)).collect();
    assert_eq!(count(&[vec![asked(0), told(5, 1)], many].concat()), 50);
    // PAM's sum may come behind it.
    let more = at(9, &pam("sudo", "dave").replace("authentication failure", "2 more authentication failures"));
    assert_eq!(count(&[asked(0), told(9, 3), more.clone()]), 3);
    assert_eq!(count(&[asked(0), more, told(9, 3)]), 3);
}

#[test]
fn dropbear_names_who_tried_an_account_that_there_is_not_when_the_client_goes() {
    let said = |pid: u32| {
        [
            format!("Nov 20 10:00:00 web1 dropbear[{pid}]: Child connection from 192.0.2.7:48851"),
            format!("Nov 20 10:00:01 web1 dropbear[{pid}]: Login attempt for nonexistent user"),
            format!("Nov 20 10:00:02 web1 dropbear[{pid}]: Exit before auth from <192.0.2.7:48851>: Exited normally"),
        ]
    };
    let lines: Vec<String> = (1..7).flat_map(said).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(failures("auth.log", &lines), (6, vec!["192.0.2.7 6".to_owned()]));
    let nameless = "Nov 20 10:00:01 web1 dropbear: Login attempt for nonexistent user";
    assert_eq!(failures("auth.log", &[nameless, nameless]).0, 2);
}

#[test]
fn modules_that_are_asked_one_after_the_other_tell_of_one_attempt() {
    let said = |second: u32, module: &str| (second, format!("sshd[822]: {module}(sshd:auth): {PAM}"));
    let closed =
        (3, "sshd[822]: Connection closed by authenticating user eve 192.0.2.7 port 4711 [preauth]".to_owned());
    let failed = |second: u32| (second, "sshd[822]: Failed password for eve from 192.0.2.7 port 4711 ssh2".to_owned());
    let accepted =
        |second: u32| (second, "sshd[822]: Accepted password for eve from 192.0.2.7 port 4711 ssh2".to_owned());
    assert_eq!(of(&[said(0, "pam_unix"), said(0, "pam_sss"), closed]), 1);
    assert_eq!(of(&[said(0, "pam_krb5"), said(0, "pam_unix"), accepted(0)]), 0);
    assert_eq!(of(&[said(0, "pam_unix"), said(0, "pam_krb5"), accepted(0)]), 0);
    assert_eq!(of(&[said(0, "pam_unix"), said(0, "pam_sss"), failed(2), said(9, "pam_unix"), accepted(9)]), 1);
    // The second one waits for another machine.
    assert_eq!(of(&[said(0, "pam_unix"), said(21, "pam_krb5")]), 1);
    // Where nothing else is logged of failures, each is one.
    assert_eq!(of(&[said(0, "pam_unix"), said(5, "pam_unix"), said(9, "pam_unix"), accepted(9)]), 2);
    let more = (9, format!("sshd(pam_unix)[9]: 2 more {}", PAM.replace("failure", "failures")));
    assert_eq!(of(&[(0, format!("sshd(pam_unix)[9]: {PAM}")), more]), 3);
}

#[test]
fn whoever_is_let_do_it_by_the_next_module_did_not_fail() {
    let sudo = "logname=eve uid=1000 euid=0 tty=/dev/pts/8 ruser=eve rhost=";
    let said = |second: u32, module: &str, user: &str| {
        (second, format!("sudo: {module}(sudo:auth): authentication failure; {sudo}{user}"))
    };
    let command = |second: u32| (second, "sudo:   eve : TTY=pts/8 ; PWD=/ ; USER=root ; COMMAND=/bin/ls".to_owned());
    let success = (0, format!("sudo: pam_sss(sudo:auth): authentication success; {sudo} user=eve"));
    assert_eq!(of(&[said(0, "pam_krb5", ""), said(0, "pam_unix", "  user=eve"), command(0)]), 0);
    assert_eq!(of(&[said(0, "pam_unix", "  user=eve"), success]), 0);
    // The next module may have to ask another machine, and says so itself.
    let sudo7 = |second: u32, module: &str, what: &str| {
        (second, format!("sudo[7]: {module}(sudo:auth): authentication {what}; {sudo} user=eve"))
    };
    assert_eq!(of(&[sudo7(0, "pam_unix", "failure"), sudo7(4, "pam_sss", "success")]), 0);
    let display = |second: u32, said: &str| (second, format!("lightdm: {said}"));
    let failure = PAM.replace("tty=ssh ruser= rhost=192.0.2.7", "tty=:0 ruser= rhost=");
    for said in [
        "pam_krb5(lightdm:auth): user eve authenticated as eve@EXAMPLE.ORG",
        "pam_winbind(lightdm:auth): user 'eve' granted access",
    ] {
        assert_eq!(of(&[display(0, &format!("pam_unix(lightdm:auth): {failure}")), display(0, said)]), 0, "{said}");
    }
    // Another module doesn't say so, nor of another account.
    for said in
        ["pam_unix(lightdm:auth): user 'eve' granted access", "pam_winbind(lightdm:auth): user 'bob' granted access"]
    {
        assert_eq!(of(&[display(0, &format!("pam_unix(lightdm:auth): {failure}")), display(0, said)]), 1, "{said}");
    }
    // Whoever mistyped waits, and types again.
    assert_eq!(of(&[said(0, "pam_unix", "  user=eve"), command(5)]), 1);
    assert_eq!(
        of(&[
            said(0, "pam_unix", "  user=eve"),
            (
                4,
                "sudo: eve : 1 incorrect password attempt ; TTY=pts/8 ; PWD=/ ; USER=root ; COMMAND=/bin/ls".to_owned()
            )
        ]),
        1
    );
    let su = |second: u32, said: &str| (second, format!("su[7]: pam_unix(su:{said}"));
    let refused = "auth): authentication failure; logname=eve uid=1000 euid=0 tty=pts/8 ruser=eve rhost=  user=root";
    let opened = "session): session opened for user root(uid=0) by eve(uid=1000)";
    assert_eq!(of(&[su(0, refused), su(1, opened)]), 0);
    assert_eq!(of(&[su(0, refused), su(6, opened)]), 1);
}

#[test]
fn what_clients_try_unasked_counts_only_where_nobody_gets_in() {
    let said = |second: u32, said: &str| (second, format!("sshd[9]: {said} for eve from 192.0.2.7 port 4711 ssh2"));
    for way in ["Failed none", "Failed gssapi-with-mic", "Failed publickey"] {
        assert_eq!(of(&[said(0, way), said(1, "Accepted password")]), 0, "{way}");
        assert_eq!(of(&[said(0, way)]), 1, "{way}");
    }
    // What ends a line may be the client's own, so it tells nobody.
    let cut = (
        0,
        format!(
            "sshd[9]: Failed publickey for eve from 192.0.2.7 port 4711 ssh2: RSA-CERT ID {} from 203.0.113.9 port 1",
            "x".repeat(900)
        ),
    );
    assert_eq!(of(&[cut, said(1, "Accepted password")]), 0);
    let certificate = "RSA-CERT SHA256:x ID bob from 198.51.100.1 port 22 (serial 0) CA RSA SHA256:z";
    let (second, accepted) = said(1, "Accepted publickey");
    assert_eq!(of(&[said(0, "Failed publickey"), (second, format!("{accepted}: {certificate}"))]), 0);
}

#[test]
fn what_pam_says_of_an_account_that_sshd_escapes_is_of_the_same_attempt() {
    for (pams, sshds) in [(r"EX\eve", r"EX\\eve"), ("jérôme", r"j\303\251r\303\264me"), (r"EX\n\303", r"EX\\n\\303")]
    {
        let said = PAM.replace("user=eve", &format!("user={pams}"));
        let pam = |second: u32, pid: u32, by: &str| (second, format!("sshd[{pid}]: {by}(sshd:auth): {said}"));
        let accepted = |second: u32, pid: u32| {
            (second, format!("sshd[{pid}]: Accepted password for {sshds} from 192.0.2.7 port 4711 ssh2"))
        };
        let told = |said: &str| (1, format!("sshd[9]: {said} for {sshds} from 192.0.2.7"));
        assert_eq!(of(&[pam(0, 9, "pam_unix"), accepted(1, 9)]), 0, "{sshds}");
        // By the next module in the same process, question by question in one of its own, and several times.
        assert_eq!(of(&[pam(0, 9, "pam_unix"), pam(0, 9, "pam_sss"), accepted(1, 9)]), 0, "{sshds}");
        assert_eq!(of(&[pam(0, 12, "pam_unix"), told("error: PAM: Authentication failure")]), 1, "{sshds}");
        let logins = (0..6).flat_map(|n| [pam(n * 9, 30 + n, "pam_unix"), accepted(n * 9 + 1, 30 + n)]);
        assert_eq!(of(&logins.collect::<Vec<_>>()), 0, "{sshds}");
        // Another account's is another attempt.
        let other = (0, pam(0, 9, "pam_unix").1.replace(pams, "bob"));
        assert_eq!(of(&[other, accepted(1, 9)]), 1, "{sshds}");
    }
}

#[test]
fn who_is_refused_without_an_address_comes_from_where_the_end_of_the_connection_tells() {
    let told = failures(
        "auth.log",
        &[
            "Nov 20 10:00:00 web1 sshd[7]: User root not allowed because account is locked",
            "Nov 20 10:00:00 web1 sshd[7]: input_userauth_request: invalid user root [preauth]",
            "Nov 20 10:00:01 web1 sshd[7]: error: Received disconnect from 192.0.2.7: 11: Bye Bye [preauth]",
        ],
    );
    assert_eq!(told, (1, vec!["192.0.2.7 1".to_owned()]));
}

#[test]
fn an_account_is_the_same_in_every_log() {
    let bed = TestBed::new();
    let day = (Utc::now() - TimeDelta::days(1)).date_naive();
    let (stamp, clf) = (format!("{day}T10:00:00Z"), day.format("%d/%b/%Y:10:00:00 +0000"));
    let (year, millionths) =
        (day.format("%b %e 10:00:00"), day.and_hms_opt(10, 0, 0).unwrap().and_utc().timestamp_micros());
    let sshd = r"Failed password for ex\\j\303\266 from 192.0.2.7 port 22 ssh2";
    let again = format!("{year} web1 last message repeated 2 times");
    let quoted = serde_json::to_string(sshd).unwrap();
    let entry = |message: &str| {
        format!(
            r#"{{"MESSAGE":{message},"__REALTIME_TIMESTAMP":"{millionths}","SYSLOG_IDENTIFIER":"sshd","_PID":"8"}}"#
        )
    };
    let pam = r"pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=ex\jö rhost=192.0.2.7 user=ex\jö";
    let list = |said: &[u8]| format!("{said:?}");
    let logs = [
        ("auth.log", format!("{year} web1 sshd[7]: {sshd}\n{again}"), 3),
        (
            "vsftpd.log",
            format!("{day}T10:00:00Z web1 vsftpd: {pam}\n{day}T10:30:00Z web1 vsftpd: nothing else came"),
            1,
        ),
        ("journal.json", [entry(&quoted), entry(&list(sshd.as_bytes()))].join("\n"), 2),
        ("collected.json", format!(r#"{{"date":"{stamp}","ident":"sshd","pid":"9","message":{quoted}}}"#), 1),
        ("apache.log", format!(r#"192.0.2.7 - ex\\j\xc3\xb6 [{clf}] "GET /a HTTP/1.1" 401 5"#), 1),
        ("nginx.log", format!(r#"192.0.2.7 - ex\x5Cj\xC3\xB6 [{clf}] "GET /a HTTP/1.1" 401 5 "-" "-""#), 1),
        (
            "nginx.json",
            format!(
                r#"{{"time":"{stamp}","remote_addr":"192.0.2.7","remote_user":"ex\\j\u00f6","request":"GET /a HTTP/1.1","status":401}}"#
            ),
            1,
        ),
        (
            "winlogbeat.json",
            format!(
                r#"{{"@timestamp":"{stamp}","winlog":{{"channel":"Security","computer_name":"W","event_id":4625,"event_data":{{"TargetUserName":"ex\\jö","IpAddress":"192.0.2.7"}}}}}}"#
            ),
            1,
        ),
    ];
    for (name, log, _) in &logs {
        bed.file(&format!("logs/{name}"), &format!("{log}\n"));
    }
    bed.main("[sources.logs]\nfiles = [\"DIR/logs/*\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    assert_eq!(bed.run(&["run-now", "scan"]).code, 0);
    let count: u32 = logs.iter().map(|(.., count)| count).sum();
    assert_eq!(bed.json(&["stats", "--by", "user"]), serde_json::json!([{ "account": r"ex\jö", "count": count }]));
}

#[test]
fn whoever_has_an_account_hides_nothing_that_he_tries_with_others() {
    let refused =
        |n: u32| (n, "sshd: User root from 192.0.2.7 not allowed because not listed in AllowUsers".to_owned());
    let none = |n: u32| (n, format!("sshd: Failed none for invalid user u{n} from 192.0.2.7 port 4711 ssh2"));
    let accepted = (20, "sshd: Accepted password for eve from 192.0.2.7 port 4711 ssh2".to_owned());
    assert_eq!(of(&(0..10).map(refused).chain([accepted.clone()]).collect::<Vec<_>>()), 10);
    assert_eq!(of(&(0..10).map(none).chain([accepted]).collect::<Vec<_>>()), 10);
}

#[test]
fn each_attempt_that_pam_refused_counts_although_sshd_itself_tells_only_of_the_last_ones() {
    let pam = |second: u32| (second, "sshd[9]: error: PAM: Authentication failure for eve from 192.0.2.7".to_owned());
    let failed =
        |second: u32, method: &str| (second, format!("sshd[9]: Failed {method} for eve from 192.0.2.7 port 4711 ssh2"));
    let keyboard = "keyboard-interactive/pam";
    assert_eq!(of(&[pam(0), pam(3), pam(6), pam(9), failed(9, keyboard)]), 4);
    assert_eq!(of(&[pam(0), failed(2, keyboard), pam(3), failed(4, keyboard)]), 2);
    assert_eq!(of(&[pam(0), pam(0), failed(0, keyboard)]), 2);
    let again = (9, format!("sshd[9]: message repeated 3 times: [ {}]", pam(0).1.replace("sshd[9]: ", "")));
    assert_eq!(of(&[pam(0), again, failed(9, keyboard)]), 4);
    // Who tries passwords in turn, or a key at the end, hides nothing.
    let password = |second| failed(second, "password");
    assert_eq!(of(&[password(0), pam(1), password(3), pam(4), password(6), pam(7)]), 6);
    assert_eq!(of(&[pam(0), pam(3), pam(6), failed(7, "publickey")]), 3);
    assert_eq!(of(&[failed(0, "none"), pam(1), pam(3), pam(6)]), 3);
    let keys = (0..5).map(|n| failed(n, "publickey"));
    assert_eq!(of(&keys.chain([pam(6)]).collect::<Vec<_>>()), 5);
    assert_eq!(of(&[pam(0), failed(0, "challenge-response")]), 1);
    assert_eq!(of(&[pam(0), pam(3), pam(6), failed(9, "password"), failed(12, "password")]), 5);
    assert_eq!(of(&[failed(0, "password"), pam(3), pam(6)]), 3);
    // PAM's own lines tell of the same.
    let module = |second: u32| (second, format!("sshd[9]: pam_unix(sshd:auth): {PAM}"));
    assert_eq!(of(&[module(0), pam(1), module(4), pam(5), module(8), pam(9), failed(9, keyboard)]), 3);
    // Linux-PAM before 0.99 names no service.
    let old = (0, format!("sshd[11]: (pam_unix) {PAM}"));
    assert_eq!(of(&[old, pam(2), failed(2, keyboard)]), 1);
}

#[test]
fn who_gets_in_by_telnet_after_a_wrong_password_had_one() {
    let pam = "logname= uid=0 euid=0 tty=/dev/pts/0 ruser= rhost=192.0.2.7  user=eve";
    let wrong = |n: u32| at(n, &format!("login[9]: pam_unix(login:auth): authentication failure; {pam}"));
    let told = |n: u32| at(n, &format!("login[9]: FAILED LOGIN {n} FROM 192.0.2.7 FOR eve, Authentication failure"));
    let lines = [wrong(1), wrong(5), at(9, "login[9]: LOGIN ON pts/0 BY eve FROM 192.0.2.7")];
    assert_eq!(failures("auth.log", &lines.each_ref().map(String::as_str)).0, 2);
    let lines = [wrong(1), told(2), wrong(5), told(6), at(9, "login[9]: LOGIN ON pts/0 BY eve FROM 192.0.2.7")];
    assert_eq!(failures("auth.log", &lines.each_ref().map(String::as_str)).0, 2);
}

#[test]
fn accounts_that_may_not_log_in_and_a_program_of_another_name_are_known() {
    for said in [
        "sshd[9]: User git not allowed because account is locked",
        "sshd[9]: User git not allowed because shell /bin/x does not exist",
        "sshd[9]: User git not allowed because listed in DenyUsers",
        "sshd[9]: fatal: Access denied for user git by PAM account configuration [preauth]",
    ] {
        assert_eq!(failures("auth.log", &[&at(0, said)]), (1, Vec::new()), "{said}");
        let closed = at(1, "sshd[9]: Connection closed by invalid user git 192.0.2.7 port 4711 [preauth]");
        assert_eq!(failures("auth.log", &[&at(0, said), &closed]), (1, vec!["192.0.2.7 1".to_owned()]), "{said}");
        // Whose process has that number much later is another one.
        let other = closed.replace("10:00:01", "10:12:00");
        assert_eq!(failures("auth.log", &[&at(0, said), &other]), (1, Vec::new()), "{said}");
        let failed = at(0, "sshd[9]: Failed password for git from 192.0.2.7 port 4711 ssh2");
        assert_eq!(failures("auth.log", &[&failed, &at(0, said)]).0, 1, "{said}");
    }
    // Without the process nobody knows that both tell of one attempt.
    let failed = at(0, "sshd: Failed password for git from 192.0.2.7 port 4711 ssh2");
    let denied = at(0, "sshd: fatal: Access denied for user git by PAM account configuration [preauth]");
    assert_eq!(failures("auth.log", &[&failed, &denied]).0, 1);
    for program in ["sshd.pam[9]", "sshd-session.pam[9]"] {
        let failed = at(0, &format!("{program}: Failed password for git from 192.0.2.7 port 4711 ssh2"));
        assert_eq!(failures("auth.log", &[&failed]), (1, vec!["192.0.2.7 1".to_owned()]), "{program}");
    }
}

#[test]
fn who_does_not_greet_is_a_scanner_and_who_only_goes_is_none() {
    let greeting = |pid: u32, reason: &str| format!("sshd[{pid}]: error: kex_exchange_identification: {reason}");
    let gone = |pid: u32, ip: &str, how: &str| format!("sshd-session[{pid}]: Connection {how} by {ip} port 4711");
    let probes = |lines: &[String]| {
        let bed = TestBed::new();
        let lines: Vec<String> = lines.iter().map(|said| at(0, said)).collect();
        bed.file("auth.log", &(lines.join("\n") + "\n"));
        let scanned = bed.json(&["scan", "--zone", "UTC", "--year", "2026", bed.path("auth.log").to_str().unwrap()]);
        assert_eq!(scanned["failed_logins"], 0, "{lines:?}");
        let named = scanned["addresses"].as_array().unwrap().iter();
        named.map(|known| format!("{} {}", known["address"].as_str().unwrap(), known["events"])).collect::<Vec<_>>()
    };
    for (reason, how) in
        [("Connection closed by remote host", "closed"), ("read: Connection reset by peer", "reset"), ("x", "closed")]
    {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let lines = [greeting(7, reason), gone(7, ip, how)];
            assert_eq!(probes(&lines), [format!("{ip} 1")], "{lines:?}");
        }
    }
    // Others' lines may stand between them; each client counts once.
    let (first, second) = (greeting(7, "x"), greeting(8, "x"));
    let lines = [first, second, gone(8, "192.0.2.8", "closed"), gone(7, "192.0.2.7", "closed")];
    assert_eq!(probes(&lines), ["192.0.2.7 1", "192.0.2.8 1"]);
    assert_eq!(probes(&[greeting(7, "x"), gone(7, "192.0.2.7", "closed"), gone(7, "192.0.2.7", "closed")]).len(), 1);
    // With LogLevel VERBOSE whoever was let in goes in the same words.
    let known = |said: &str| said.replace(" by ", " by user eve ");
    for lines in [
        vec![gone(7, "192.0.2.7", "closed")],
        vec![greeting(8, "x"), gone(7, "192.0.2.7", "closed")],
        vec![greeting(7, "x"), known(&gone(7, "192.0.2.7", "closed"))],
        vec![greeting(7, "Connection from 192.0.2.7 port 22")],
    ] {
        assert_eq!(probes(&lines), Vec::<String>::new(), "{lines:?}");
    }
}

#[test]
fn what_both_of_sshds_processes_say_of_a_refused_account_counts_once() {
    let refused = |second: u32, end: &str| (second, format!("sshd[7]: ROOT LOGIN REFUSED FROM 192.0.2.7 port 22{end}"));
    let (plain, before_login) = (|second| refused(second, ""), |second| refused(second, " [preauth]"));
    let closed = (9, "sshd[7]: Connection closed by authenticating user root 192.0.2.7 port 22 [preauth]".to_owned());
    assert_eq!(of(&[plain(0), before_login(0), closed.clone()]), 1);
    assert_eq!(of(&[before_login(0), plain(1), closed.clone()]), 1);
    assert_eq!(of(&[plain(0), before_login(0), before_login(3), plain(3), closed.clone()]), 2);
    assert_eq!(of(&[plain(0), plain(0), closed.clone()]), 2);
    assert_eq!(of(&[before_login(0), closed]), 1);
    // However the line comes.
    let lines = ["", " [preauth]"].map(|end| {
        format!("<38>1 2026-11-20T10:00:00Z web1 sshd 7 - - ROOT LOGIN REFUSED FROM 192.0.2.7 port 22{end}")
    });
    assert_eq!(failures("auth.log", &[&lines[0], &lines[1]]).0, 1);
}

#[test]
fn whoever_may_not_come_in_and_is_sent_away_tried_once() {
    let no = |said: &str| (1, format!("sshd[7]: User eve {said} [preauth]"));
    let away = |second: u32, pid: u32, user: &str| {
        let told = format!(
            "error: maximum authentication attempts exceeded for {user} from 192.0.2.7 port 4711 ssh2 [preauth]"
        );
        (second, format!("sshd[{pid}]: {told}"))
    };
    for said in ["from 192.0.2.7 not allowed because not listed in AllowUsers", "not allowed because account is locked"]
    {
        // Whichever line comes first, the address is known.
        let lines = [no(said), away(20, 7, "invalid user eve")].map(|(second, said)| at(second, &said));
        for lines in [[&*lines[0], &lines[1]], [&lines[1], &lines[0]]] {
            assert_eq!(failures("auth.log", &lines), (1, vec!["192.0.2.7 1".to_owned()]), "{lines:?}");
        }
        // Somebody else's word, and that of another process, tell of another attempt.
        assert_eq!(of(&[no(said), away(20, 7, "invalid user bob")]), 2, "{said}");
        assert_eq!(of(&[no(said), away(20, 8, "invalid user eve")]), 2, "{said}");
    }
    assert_eq!(of(&[away(1, 7, "eve"), away(9, 8, "eve")]), 2);
    assert_eq!(of(&[away(1, 7, "eve"), away(9, 7, "eve")]), 2);
    assert_eq!(of(&[away(1, 7, "eve"), (9, "last message repeated 25 times".to_owned())]), 26);
    let reason = "error: PAM: Cannot make/remove an entry for the specified session for eve from 192.0.2.7";
    let bed = TestBed::new();
    bed.file("auth.log", &(0..6).map(|n| at(n, &format!("sshd[{n}]: {reason}\n"))).collect::<String>());
    let log = bed.path("auth.log");
    let scanned = bed.json(&["scan", "--zone", "UTC", "--year", "2026", log.to_str().unwrap()]);
    assert!(
        scanned["findings"].as_array().unwrap().iter().any(|one| one["subject"]["user.name"] == "eve"),
        "{scanned}"
    );
}

#[test]
fn what_names_no_program_or_its_host_for_it_is_known() {
    let sudo = "Nov 20 10:00:01 2026 : eve : 3 incorrect password attempts ; HOST=web1 ;";
    assert_eq!(failures("sudo.log", &[sudo]).0, 3, "its own file with the year");
    let bed = TestBed::new();
    bed.file("sudo.log", &(sudo.replace("2026", "2024") + "\n").repeat(6));
    let log = bed.path("sudo.log");
    let scanned = bed.json(&["scan", "--zone", "UTC", log.to_str().unwrap()]);
    assert_eq!(scanned["findings"][0]["first"], "2024-11-20T10:00:01+00:00", "{scanned}");
    let nginx = |message: &str| format!("<187>1 2026-11-20T10:00:00+00:00 web1 web1 - - -  nginx: {message}");
    let refused = nginx("192.0.2.7 - eve [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 401 5 \"-\" \"x\"");
    assert_eq!(failures("nginx.log", &[&refused]), (1, vec!["192.0.2.7 1".to_owned()]), "its host for its program");
}

#[test]
fn a_refusal_without_an_address_is_told_with_that_of_its_process() {
    let key = at(0, "sshd[7]: Failed publickey for invalid user bob from 192.0.2.7 port 22 ssh2: RSA SHA256:c");
    let locked = at(0, "sshd[7]: User bob not allowed because account is locked");
    assert_eq!(failures("auth.log", &[&locked, &key]), (1, vec!["192.0.2.7 1".to_owned()]));
    // A name is whatever the owner of an address says that it is called.
    let named = at(0, "sshd[7]: User bob from evil.example.org not allowed because not listed in AllowUsers");
    assert_eq!(failures("auth.log", &[&named, &key]), (1, vec!["192.0.2.7 1".to_owned()]));
    assert_eq!(failures("auth.log", &[&key, &locked]), (1, vec!["192.0.2.7 1".to_owned()]));
    let gone = at(1, "sshd[7]: Connection closed by invalid user bob 192.0.2.7 port 22 [preauth]");
    assert_eq!(failures("auth.log", &[&named, &gone]), (1, vec!["192.0.2.7 1".to_owned()]));
    let somebody_else = key.replace("bob", "eve");
    assert_eq!(failures("auth.log", &[&locked, &somebody_else]).1, Vec::<String>::new());
    let later = key.replace("10:00:00", "10:01:01");
    assert_eq!(failures("auth.log", &[&locked, &later]).1, Vec::<String>::new());
    let other = key.replace("sshd[7]", "sshd[8]");
    assert_eq!(failures("auth.log", &[&locked, &other]), (2, vec!["192.0.2.7 1".to_owned()]));
}

#[test]
fn whoever_gets_in_by_a_module_that_says_nothing_did_not_fail_anywhere() {
    let said = |service: &str| PAM.replace("tty=ssh", &format!("tty={service}"));
    for service in ["vsftpd", "cockpit", "gdm-password", "lightdm"] {
        let failed = |second: u32| (second, format!("{service}[7]: pam_unix({service}:auth): {}", said(service)));
        let opened = |second: u32, user: &str| {
            (
                second,
                format!("{service}[7]: pam_unix({service}:session): session opened for user {user}(uid=7) by (uid=0)"),
            )
        };
        assert_eq!(of(&[failed(0), opened(0, "eve")]), 0, "{service}");
        assert_eq!(of(&[failed(0), failed(5), opened(5, "eve")]), 1, "{service}");
        assert_eq!(of(&[failed(0), opened(5, "eve")]), 1, "who types again has failed before");
        assert_eq!(of(&[failed(0), opened(0, "bob")]), 1, "somebody else");
        let nameless = (0, failed(0).1.replace("  user=eve", ""));
        assert_eq!(of(&[nameless, opened(0, "bob")]), 1, "who has an account hides no guess at names");
    }
}

#[test]
fn words_of_sshd_that_somebody_wrote_otherwise_are_known() {
    let from = |said: &str| failures("auth.log", &[&at(0, &format!("sshd[7]: {said}"))]);
    for said in [
        "Failed password for root from 192.0.2.7",
        "Failed password for invalid user admin from 192.0.2.7",
        "failed password for root from 192.0.2.7 port 1175 ssh2",
        "Invalid user admin from 192.0.2.7 port 22 ssh2",
        "Invalid user admin from 192.0.2.7 port 22 [preauth]",
        "message repeated 1 times: [ Failed password for root from 192.0.2.7]",
        "Failed password for invalid user a from 203.0.113.9 from 192.0.2.7",
    ] {
        assert_eq!(from(said), (1, vec!["192.0.2.7 1".to_owned()]), "{said}");
    }
    let escaped = "Failed password for invalid user \\001\\001 from 203.0.113.9";
    assert_eq!(from(escaped).1, Vec::<String>::new(), "which may have been cut");
}

#[test]
fn sessions_of_thousands_of_hosts_are_told_apart() {
    let bed = TestBed::new();
    let line =
        |host: u32, said: &str| format!("2026-11-20T10:00:00Z h{host} sshd[7]: {said} from 192.0.2.7 port 1 ssh2\n");
    let others: String = (0..1500).map(|host| line(host, "Accepted password for root")).collect();
    let failed = line(1600, "Failed password for root") + &line(1601, "Failed password for eve");
    let asked = "2026-11-20T10:00:00Z h1602 sshd[7]: Invalid user eve from 192.0.2.7 port 1\n";
    bed.file("auth.log", &(others + &failed + asked));
    assert_eq!(bed.json(&["scan", bed.path("auth.log").to_str().unwrap()])["failed_logins"], 3);
}

#[test]
fn a_key_that_is_used_from_elsewhere_is_a_failed_login_of_that_address() {
    let refused = "Authentication tried for root with correct key but not from a permitted host (host=a.example.org, ip=192.0.2.7, required=10.0.0.0/8).";
    for said in [format!("sshd[9]: {refused}"), format!("sshd[9]: /root/.ssh/authorized_keys:3: {refused}")] {
        assert_eq!(failures("auth.log", &[&at(0, &said)]), (1, vec!["192.0.2.7 1".to_owned()]), "{said}");
        let refused = at(0, "sshd[9]: Failed publickey for root from 192.0.2.7 port 4711 ssh2: RSA SHA256:abc");
        assert_eq!(failures("auth.log", &[&at(0, &said), &refused]).0, 1);
        let failed = at(1, "sshd[9]: Failed password for root from 192.0.2.7 port 4711 ssh2");
        assert_eq!(failures("auth.log", &[&at(0, &said), &failed]).0, 2);
        let accepted = at(1, "sshd[9]: Accepted publickey for root from 192.0.2.7 port 4711 ssh2");
        assert_eq!(failures("auth.log", &[&at(0, &said), &accepted]).0, 0, "let in with another key");
    }
}

#[test]
fn what_dropbear_says_on_a_router_counts_each_attempt_once() {
    let failed = |second: u32| at(second, "dropbear[9]: Bad password attempt for 'root' from 192.0.2.7:4711");
    let gone = at(9, "dropbear[9]: Exit before auth from <192.0.2.7:4711>: (user 'root', 2 fails): Exited normally");
    // What else may stand there counts nothing.
    for fails in ["fails): x", " fails): x", "-1 fails): x", "4294967294 fails): x", "0 fails): x", ""] {
        let said = format!("dropbear[9]: Exit before auth from <192.0.2.7:4711>: (user 'root', {fails}");
        assert_eq!(failures("messages", &[&at(0, &said)]).0, 0, "{said}");
    }
    // Where root may not log in by a password (-g) nothing else is told.
    assert_eq!(failures("messages", &[&gone]), (2, vec!["192.0.2.7 2".to_owned()]));
    let accepted = at(9, "dropbear[9]: Password auth succeeded for 'root' from 192.0.2.7:4711");
    assert_eq!(failures("messages", &[&failed(0), &failed(3), &gone]), (2, vec!["192.0.2.7 2".to_owned()]));
    assert_eq!(failures("messages", &[&failed(0), &failed(3), &accepted]).0, 2);
    let pam = at(0, &format!("dropbear[9]: pam_unix(dropbear:auth): {}", PAM.replace("=ssh", "=dropbear")));
    assert_eq!(failures("messages", &[&pam]), (1, vec!["192.0.2.7 1".to_owned()]));
    for said in [
        "User account 'root' is locked",
        "User 'root' has blank password, rejected",
        "root login rejected",
        "Logins are restricted to the group ssh but user 'root' is not a member",
    ] {
        let refused = at(0, &format!("dropbear[9]: {said}"));
        assert_eq!(failures("messages", &[&refused, &gone]), (1, vec!["192.0.2.7 1".to_owned()]), "{said}");
    }
    let logread =
        "Fri Nov 20 10:00:00 2026 authpriv.warn dropbear[9]: Login attempt for nonexistent user from 192.0.2.7:4711";
    assert_eq!(failures("messages", &[logread]), (1, vec!["192.0.2.7 1".to_owned()]));
}

#[test]
fn logins_at_a_terminal_are_told_apart_from_the_name_that_nobody_has() {
    for (said, want) in [
        ("login[40]: invalid password for 'root' on 'console'", 1),
        ("login[40]: invalid password for 'a' on 'x' from '203.0.113.9' on 'pts/0' from '192.0.2.7'", 1),
        ("login: 1 LOGIN FAILURE ON ttyp2, mysql", 1),
        ("login: 1 LOGIN FAILURE ON ttyp2", 0),
        ("login: [ID 507249 auth.notice] Login failure on /dev/pts/7 from 192.0.2.7", 1),
        ("login: [ID 507249 auth.notice] Login failure on /dev/pts/7 from 192.0.2.7, eve", 1),
        ("syslog: vty0: failed login attempt for x from 203.0.113.9", 1),
        ("syslog: pts/1: failed login attempt for UNKNOWN_USER from 192.0.2.7", 1),
        ("syslog: ssh: failed login attempt for eve from 203.0.113.9", 0),
        ("login: 2 LOGIN FAILURES FROM 192.0.2.7, a FROM 203.0.113.9, b", 2),
        ("login[4]: FAILED LOGIN (1) on '/dev/pts/3' from '192.0.2.7' FOR 'eve', Authentication failure", 1),
        (
            "login[4]: FAILED LOGIN (1) on `tty2' FOR `UNKNOWN', User not known to the underlying authentication module",
            1,
        ),
        ("sudo: eve : user NOT authorized on host ; TTY=pts/8 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", 1),
    ] {
        let (counted, named) = failures("auth.log", &[&at(0, said)]);
        assert_eq!(counted, want, "{said}");
        let address = if said.contains("192.0.2.7") { vec![format!("192.0.2.7 {want}")] } else { Vec::new() };
        assert_eq!(named, address, "{said}");
    }
    // CentOS 7 names no process.
    let pam = "login: pam_unix(login:auth): authentication failure; logname=LOGIN uid=0 euid=0 tty=tty1 ruser= rhost=";
    let failed =
        "login: FAILED LOGIN 1 FROM tty1 FOR (unknown), User not known to the underlying authentication module";
    assert_eq!(of(&[(0, pam.to_owned()), (2, failed.to_owned())]), 1);
}

#[test]
fn lines_that_came_again_count_as_often_as_is_said() {
    let failed = "sshd[9]: Failed password for eve from 192.0.2.7 port 4711 ssh2";
    for (said, want) in [
        ("last message repeated 2 times", 3),
        ("sshd[9]: last message repeated 1 time", 2),
        ("syslogd: last message repeated 4 times", 5),
        ("--- last message repeated 3 times ---", 4),
        ("app: he said last message repeated 2 times", 1),
        ("last message repeated 500000 times", 10_001),
        ("last message repeated many times", 1),
    ] {
        let (counted, named) = failures("auth.log", &[&at(0, failed), &at(30, said)]);
        assert_eq!((counted, named), (want, vec![format!("192.0.2.7 {want}")]), "{said}");
    }
    // Neither another host nor another program knows.
    for said in [
        "db2 last message repeated 9 times",
        "web1 app[7]: last message repeated 9 times",
        "web1 sshd[8]: last message repeated 9 times",
    ] {
        let (counted, _) = failures("auth.log", &[&at(0, failed), &format!("Nov 20 10:00:30 {said}")]);
        assert_eq!(counted, 1, "{said}");
    }
    // macOS names no host there.
    let apple = "Nov 20 10:00:30 --- last message repeated 5 times ---";
    assert_eq!(failures("system.log", &[&at(0, failed), apple]).0, 6);
    let apple = "Nov 20 10:00:30: --- last message repeated 1 time ---";
    assert_eq!(failures("system.log", &[&at(0, failed), apple]).0, 2);
    let two = |between: &str| {
        of(&[(0, failed.to_owned()), (5, between.to_owned()), (9, "last message repeated 2 times".to_owned())])
    };
    assert_eq!((two("last message repeated 3 times"), two("CRON[7]: (root) CMD (true)")), (6, 1));
    // They are about the same account and the same client, also where that is a name.
    let bed = TestBed::new();
    let pam = PAM.replace("192.0.2.7", "dsl7.example.net");
    let lines = [at(0, &format!("sshd(pam_unix)[9]: {pam}")), at(30, "last message repeated 5 times")];
    bed.file("messages", &(lines.join("\n") + "\n"));
    let path = bed.path("messages");
    let scanned = bed.json(&["scan", "--zone", "UTC", "--year", "2026", path.to_str().unwrap()]);
    let found = scanned["findings"].as_array().unwrap().iter();
    let found: Vec<String> = found.map(|one| format!("{} {}", one["subject"], one["count"])).collect();
    assert_eq!(found, [r#"{"source.domain":"dsl7.example.net"} 6"#, r#"{"user.name":"eve"} 6"#]);
}

#[test]
fn nobody_hides_attempts_behind_a_good_login_or_what_another_process_said() {
    let mail = |n: u32, module: &str, what: &str, user: &str| {
        let user = format!("ruser={user} rhost=192.0.2.7  user={user}");
        (
            n % 60,
            format!(
                "auth[500]: {module}(dovecot:auth): authentication {what}; logname= uid=0 euid=0 tty=dovecot {user}"
            ),
        )
    };
    let many = || (0..30).map(|n| mail(n, "pam_sss", "failure", &format!("u{n}")));
    assert_eq!(of(&many().collect::<Vec<_>>()), 30);
    assert_eq!(of(&[mail(0, "pam_unix", "failure", "root")].into_iter().chain(many()).collect::<Vec<_>>()), 31);
    assert_eq!(of(&many().chain([mail(31, "pam_sss", "success", "eve")]).collect::<Vec<_>>()), 30);
    // Without the account one line repeats one.
    let nameless =
        |second: u32| (second, format!("vsftpd[500]: pam_krb5(vsftpd:auth): {}", PAM.replace("  user=eve", "")));
    let root = |second: u32| (second, format!("vsftpd[500]: pam_unix(vsftpd:auth): {}", PAM.replace("eve", "root")));
    assert_eq!(of(&[nameless(0)].into_iter().chain((0..20).map(|_| root(1))).collect::<Vec<_>>()), 20);
    // However many there are, each is told by two lines, and some by a sum.
    let both = (0..50).flat_map(|n| [mail(n, "pam_unix", "failure", "eve"), mail(n, "pam_sss", "failure", "eve")]);
    assert_eq!(of(&both.collect::<Vec<_>>()), 50);
    let sum = (
        59,
        mail(0, "pam_unix", "failure", "eve").1.replace("authentication failure", "2 more authentication failures"),
    );
    let again = |n: u32| mail(n, "pam_sss", "failure", "eve");
    assert_eq!(of(&[mail(0, "pam_unix", "failure", "eve"), again(0), again(20), again(40), sum]), 3);
    // Two who get in at the same time, behind one address and without a process.
    let good = |n: u32, module: &str, what: &str, user: &str| {
        let (second, said) = mail(n, module, what, user);
        (second, said.replace("auth[500]", "auth"))
    };
    let (eve, bob) = (|n, m, w| good(n, m, w, "eve"), |n, m, w| good(n, m, w, "bob"));
    let four = [
        eve(0, "pam_unix", "failure"),
        bob(0, "pam_unix", "failure"),
        eve(1, "pam_sss", "success"),
        bob(1, "pam_sss", "success"),
    ];
    assert_eq!(of(&four), 0);
    // Thirty processes of another service, and what sshd says of one attempt.
    let ftp = (0..30).map(|n| {
        (0, format!("vsftpd[{}]: pam_unix(vsftpd:auth): {}", 1001 + n, PAM.replace("user=eve", &format!("user=u{n}"))))
    });
    let told = (1, "sshd[1000]: error: PAM: Authentication failure for root from 192.0.2.7".to_owned());
    let accepted = (1, "sshd[1000]: Accepted password for root from 192.0.2.7 port 4 ssh2".to_owned());
    assert_eq!(of(&ftp.clone().chain([told]).collect::<Vec<_>>()), 31);
    assert_eq!(of(&ftp.chain([accepted]).collect::<Vec<_>>()), 30);
    // Kerberos tells no address, so it may be somebody else's good login.
    let good = (30, "auth[500]: pam_krb5(dovecot:auth): user eve authenticated as eve@EXAMPLE.ORG".to_owned());
    assert_eq!(of(&[mail(0, "pam_unix", "failure", "eve"), good]), 1);
    // Who was refused by both modules tried before.
    let display = |second: u32, said: &str| (second, format!("lightdm[7]: {said}"));
    let failure = PAM.replace("tty=ssh ruser= rhost=192.0.2.7", "tty=:0 ruser= rhost=");
    let twice =
        ["pam_krb5(lightdm:auth)", "pam_unix(lightdm:auth)"].map(|module| display(0, &format!("{module}: {failure}")));
    let good = display(12, "pam_krb5(lightdm:auth): user eve authenticated as eve@EXAMPLE.ORG");
    assert_eq!(of(&[&twice[..], &[good]].concat()), 1);
    // Without a process nobody knows whether it was eve who got in.
    let su = |said: &str| (0, format!("su: pam_unix(su:{said}"));
    let refused = "auth): authentication failure; logname=eve uid=1000 euid=0 tty=pts/8 ruser=eve rhost=  user=root";
    assert_eq!(of(&[su(refused), su("session): session opened for user root by bob(uid=1002)")]), 1);
}

#[test]
fn a_named_nginx_is_no_apache() {
    let forged = "Nov 20 10:00:00 web1 nginx/web[7]: [Fri Nov 20 10:00:00.123456 2026] [auth_basic:error] [pid 7] [client 203.0.113.9:4711] AH01618: user eve not found: /";
    assert_eq!(failures("syslog", &[forged]), (0, Vec::new()));
}

#[test]
fn a_line_that_came_again_counts_alike_however_the_log_is_cut() {
    let mut log = String::new();
    for n in 0..900 {
        let (minute, second) = (n / 60, n % 60);
        let stamp = format!("Nov 20 10:{minute:02}:{second:02} web1");
        log += &match n % 3 {
            0 => format!(
                "{stamp} sshd[{n}]: Failed password for {} from 192.0.2.{} port 4711 ssh2\n",
                "\u{e4}".repeat(250),
                n % 7
            ),
            1 => format!("{stamp} last message repeated {} times\n", 1 + n % 4),
            _ => format!("{stamp} CRON[{n}]: (root) CMD (true)\n"),
        };
    }
    crate::cuts::assert_cuts_change_nothing(&[("auth.log", log.as_bytes())], 0..6);
}

#[test]
fn an_ntlm_handshake_and_a_request_without_a_name_are_no_failed_logins_where_iis_tells() {
    let fields = "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken";
    let line = |user: &str, status: &str| {
        format!(
            "2026-11-20 10:00:00 192.0.2.1 POST /Autodiscover/Autodiscover.xml - 443 {user} 192.0.2.7 Outlook - {status} 1"
        )
    };
    for (user, status, want) in [
        ("-", "401 1 2148074254", 0),
        ("-", "401 2 5", 0),
        ("-", "401 1 0", 0),
        ("-", "401 1 1326", 1),
        ("-", "401 1 2148074252", 1),
        ("-", "401 0 0", 1),
        ("CUSTOMER\\eve", "401 1 2148074254", 1),
        ("CUSTOMER\\eve", "200 0 0", 0),
    ] {
        let (counted, _) = failures("u_ex261120.log", &[fields, &line(user, status)]);
        assert_eq!(counted, want, "{user} {status}");
        let bare = failures("u_ex261120.log", &[&line(user, status)]);
        assert_eq!(bare.0, want, "without a header: {user} {status}");
    }
    // A page that is refused with a reason was asked for with a name and a password.
    for (status, severity) in [("401 1 1326", "high"), ("401 0 0", "medium")] {
        let bed = TestBed::new();
        let asked = line("-", status).replace("POST", "GET") + "\n";
        bed.file("u_ex261120.log", &format!("{fields}\n{}", asked.repeat(6)));
        let scanned = bed.json(&["scan", bed.path("u_ex261120.log").to_str().unwrap()]);
        let found = scanned["findings"].as_array().unwrap().iter().find(|found| found["rule"] == "failed-logins");
        assert_eq!(found.map(|found| found["severity"].as_str()), Some(Some(severity)), "{scanned}");
    }
}

#[test]
fn stamps_of_macos_and_servers_behind_a_slash_are_understood() {
    let failed =
        "2026-11-20 10:00:00.344447-0700  localhost sshd[2519]: Failed password for eve from 192.0.2.7 port 4711 ssh2";
    assert_eq!(failures("system.log", &[failed]), (1, vec!["192.0.2.7 1".to_owned()]));
    let error = "Nov 20 10:00:00 web1 httpd/backend1[22034]: [auth_basic:error] [pid 7] [client 192.0.2.7:4711] AH01618: user eve not found: /";
    assert_eq!(failures("syslog", &[error]), (1, vec!["192.0.2.7 1".to_owned()]));
}

#[test]
fn accounts_that_pam_locks_are_told() {
    let bed = TestBed::new();
    let lines = [
        at(0, "sshd[7]: pam_faillock(sshd:auth): Consecutive login failures for user root account temporarily locked"),
        at(1, "sshd[8]: pam_tally2(sshd:auth): user test1 (1001) tally 7, deny 3"),
        at(2, "su[9]: pam_faillock(su:auth): Consecutive login failures for user anna account temporarily locked"),
    ];
    bed.file("secure", &(lines.join("\n") + "\n"));
    let scanned =
        bed.json(&["scan", "--all-rules", "--zone", "UTC", "--year", "2026", bed.path("secure").to_str().unwrap()]);
    let found = scanned["findings"].as_array().unwrap().iter().filter(|found| found["rule"] == "locked-accounts");
    let mut accounts: Vec<&str> = found.filter_map(|found| found["subject"]["user.name"].as_str()).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, ["anna", "root", "test1"]);
}

#[test]
fn sudo_counts_as_often_as_it_says_whosever_password_it_asked_for() {
    let pam = "pam_unix(sudo:auth): authentication failure; logname=eve uid=1000 euid=0 tty=/dev/pts/1 ruser=eve rhost=  user=root";
    let told = "eve : 3 incorrect password attempts ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls";
    let granted = "eve : TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls";
    for tag in ["sudo", "sudo[7]"] {
        assert_eq!(of(&[(0, format!("{tag}: {pam}")), (9, format!("{tag}: {told}"))]), 3, "{tag}");
        assert_eq!(of(&[(0, format!("{tag}: {pam}")), (1, format!("{tag}: {granted}"))]), 0, "{tag}");
    }
}

#[test]
fn who_is_not_told_is_nobody() {
    let fronts =
        ["- - -", "192.0.2.7:51234 - -", "www.example.org:443 - - eve", "unix: - -", "203.0.113.9 unix: - eve"];
    for front in fronts {
        let line = |n| format!(r#"{front} [20/Nov/2026:10:05:0{n} +0100] "GET / HTTP/1.1" 401 5 "-" "x""#);
        let lines: Vec<String> = (0..6).map(line).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(failures("access.log", &lines), (6, vec![]), "{front}");
    }
}

#[test]
fn whatever_a_client_may_send_a_web_server_hides_no_request_of_it() {
    let long = r"\xff".repeat(8150);
    let line = |second: u32| {
        let request = format!("GET /adm?{} HTTP/1.1", r"\xff".repeat(8000));
        format!("192.0.2.7 - eve [20/Nov/2026:10:00:{second:02} +0000] \"{request}\" 401 5 \"{long}\" \"{long}\"")
    };
    let lines: Vec<String> = (0..6).map(line).collect();
    assert!(lines[0].len() > 90_000);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(failures("access.log", &lines), (6, vec!["192.0.2.7 6".to_owned()]));
}

#[test]
fn clients_that_ask_without_a_name_first_guess_at_nothing_whatever_their_method() {
    let severities = |method: &str| {
        let line = |n: u32, user: &str, status: u16| {
            format!(
                "192.0.2.7 - {user} [20/Nov/2026:10:00:{n:02} +0000] \"{method} /cal/eve/ HTTP/1.1\" {status} 5 \"-\" \"-\"\n"
            )
        };
        let bed = TestBed::new();
        bed.file("access.log", &(0..8).map(|n| line(n, "-", 401) + &line(n, "eve", 207)).collect::<String>());
        let scanned = bed.json(&["scan", bed.path("access.log").to_str().unwrap()]);
        let found = scanned["findings"].as_array().unwrap().iter().filter(|f| f["rule"] == "failed-logins");
        found.map(|f| f["severity"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for method in ["PROPFIND", "REPORT", "LOCK", "MKCOL", "PROPPATCH", "MOVE"] {
        assert_eq!(severities(method), ["medium"], "{method}");
    }
    for method in ["POST", "PUT"] {
        assert_eq!(severities(method), ["high"], "{method}");
    }
}

#[test]
fn who_is_let_in_by_a_web_server_after_guessing_is_told() {
    let request = |second: u32, ip: &str, user: &str, path: &str, status: u16| {
        format!("{ip} - {user} [20/Nov/2026:10:00:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} 5 \"-\" \"-\"\n")
    };
    let guesses = |users: &[&str]| {
        let guess = |second: u32| request(second, "192.0.2.7", users[second as usize % users.len()], "/private/", 401);
        (0..6).map(guess).collect::<String>()
    };
    let breaches = |log: &str| {
        let bed = TestBed::new();
        bed.file("access.log", log);
        let read = bed.json(&["scan", "--all-rules", bed.path("access.log").to_str().unwrap()]);
        let found = read["findings"].as_array().unwrap().clone();
        let told = |f: &serde_json::Value| {
            f["breach"]["user"].as_str().map(|user| format!("{} {user}", f["rule"].as_str().unwrap()))
        };
        found.iter().filter_map(told).collect::<Vec<_>>()
    };
    let let_in = request(30, "192.0.2.7", "eve", "/private/", 200);
    assert_eq!(breaches(&(guesses(&["eve"]) + &let_in)), ["failed-logins eve", "login-after-failures eve"]);
    // Of what anybody may have, of others behind the address, and of the same name elsewhere nothing is said.
    for other in [
        request(30, "192.0.2.7", "eve", "/", 200),
        request(30, "192.0.2.7", "bob", "/private/", 200),
        request(30, "192.0.2.7", "-", "/private/", 200),
        request(30, "192.0.2.8", "eve", "/private/", 200),
        request(30, "192.0.2.7", "eve", "/private/", 404),
        request(30, "192.0.2.7", "eve", "/private/", 301),
        request(30, "192.0.2.7", "eve", "/private/?page=1", 200),
        let_in.replace("GET", "HEAD"),
    ] {
        assert_eq!(breaches(&(guesses(&["eve"]) + &other)), [""; 0], "{other}");
    }
    // A request is logged when it ends, with the time at which it began.
    let parallel = guesses(&["eve"]) + &request(4, "192.0.2.7", "eve", "/private/", 200);
    assert_eq!(breaches(&parallel), ["failed-logins eve", "login-after-failures eve"]);
    // It is only inferred, and excuses nobody.
    let names: Vec<String> = (0..6).map(|n| format!("user{n}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let excuses = (0..3).map(|n| request(30 + n, "192.0.2.7", users[n as usize], "/private/", 200)).collect::<String>();
    let bed = TestBed::new();
    bed.file("access.log", &(guesses(&users) + &excuses));
    let read = bed.json(&["scan", "--all-rules", bed.path("access.log").to_str().unwrap()]);
    assert!(read["findings"].as_array().unwrap().iter().any(|f| f["rule"] == "password-spraying"), "{read}");
    let log = guesses(&["eve", "bob"]) + &let_in + &request(31, "192.0.2.7", "eve", "/private/", 200);
    let elsewhere = |n: usize| {
        log.replace("192.0.2.7", &format!("192.0.2.{}", 10 + n)).replace(":10:00:", &format!(":{}:{:02}:", 10 + n, n))
    };
    let log = (0..10).map(elsewhere).collect::<String>();
    let prepare = |bed: &TestBed| {
        let job = "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\", \"login-after-failures\"]\n";
        bed.file("jobs/scan.toml", job);
    };
    assert_cuts_change_nothing_with(&prepare, &[("access.log", log.as_bytes())], 0..6);
}
