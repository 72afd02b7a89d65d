//! People behind one address, or in one network, who mistype and then get in are told apart from one who guesses.

use serde_json::Value;

use crate::cuts::assert_cuts_change_nothing_with;
use crate::support::TestBed;

/// One line of sshd at so many seconds after eight o'clock; a session for each attempt.
fn line(second: u32, outcome: &str, user: &str, ip: &str) -> String {
    let (hour, minute, rest) = (8 + second / 3600, second / 60 % 60, second % 60);
    format!(
        "Nov 20 {hour:02}:{minute:02}:{rest:02} web1 sshd[{second}]: {outcome} password for {user} from {ip} port 1 ssh2\n"
    )
}

/// Somebody fails so often and is in so many seconds later.
fn mistyped(second: u32, times: u32, user: &str, ip: &str) -> String {
    let failed: String = (0..times).map(|n| line(second + n, "Failed", user, ip)).collect();
    failed + &line(second + times + 5, "Accepted", user, ip)
}

fn found(text: &str) -> Vec<(String, String, Option<String>, String)> {
    let bed = TestBed::new();
    bed.file("auth.log", text);
    let scanned = bed.json(&["scan", "--all-rules", bed.path("auth.log").to_str().unwrap()]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = |f: &Value| {
        (text(&f["rule"]), text(&f["severity"]), f["breach"]["user"].as_str().map(str::to_owned), text(&f["note"]))
    };
    let mut found: Vec<_> = scanned["findings"].as_array().unwrap().iter().map(told).collect();
    found.sort();
    found
}

fn short(found: &[(String, String, Option<String>, String)]) -> Vec<(&str, &str, Option<&str>)> {
    found.iter().map(|(rule, severity, breach, _)| (rule.as_str(), severity.as_str(), breach.as_deref())).collect()
}

const OFFICE: &str = "192.0.2.77";

fn office() -> String {
    let users = ["anna", "bob", "carl", "dora", "erika", "fritz"];
    users.iter().zip(0..).map(|(user, n)| mistyped(n * 200, 1 + n % 2, user, OFFICE)).collect()
}

#[test]
fn an_office_where_many_mistype_is_no_break_in_and_no_spraying() {
    let found = found(&office());
    assert_eq!(short(&found), [("failed-logins", "high", None)]);
    assert_eq!(found[0].3, "6 accounts got in after a few failures each, as people behind one address do");
}

#[test]
fn an_office_that_mistypes_every_morning_is_one_at_the_end_of_the_week() {
    let day = |day: u32| {
        (0..13)
            .map(move |n| mistyped(n * 60, 1, &format!("u{n}"), OFFICE).replace("Nov 20", &format!("Nov {}", 16 + day)))
    };
    let found = found(&(0..5).flat_map(day).collect::<String>());
    assert_eq!(short(&found), [("failed-logins", "high", None)]);
    assert!(found[0].3.starts_with("13 accounts got in"), "{found:?}");
}

#[test]
fn of_very_many_names_that_one_is_told_that_was_guessed_at_whatever_came_first() {
    let names =
        |from: u32| (0..70).map(move |n| line(from + n, "Failed", &format!("v{n}"), OFFICE)).collect::<String>();
    let zed: String = (0..10).map(|n| line(200 + n, "Failed", "zed", OFFICE)).collect();
    let logins = line(290, "Accepted", "carol", OFFICE) + &line(300, "Accepted", "zed", OFFICE);
    for text in [names(0) + &zed + &logins, zed.clone() + &names(210) + &logins] {
        let rules = found(&text);
        assert!(short(&rules).contains(&("failed-logins", "critical", Some("zed"))), "{rules:?}");
    }
}

#[test]
fn a_break_in_is_one_however_many_logins_follow_before_its_failures_are_settled() {
    // PAM's lines wait until their sessions are over.
    let pam = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost";
    let failed = |n: u32| format!("Nov 20 08:00:{n:02} web1 sshd[{n}]: {pam}={OFFICE}  user=zed\n");
    let after: String = (0..400).map(|n| line(70 + n, "Accepted", "dave", OFFICE)).collect();
    let rules = found(&((0..6).map(failed).collect::<String>() + &line(60, "Accepted", "zed", OFFICE) + &after));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("zed"))), "{rules:?}");
}

#[test]
fn keys_that_were_refused_are_no_guesses_where_only_a_web_server_lets_somebody_in() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/log/*.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    let key = |n: u32| {
        format!(
            "2026-11-20T05:28:0{n}Z web1 sshd[{n}]: Failed publickey for bob from 192.0.2.9 port {n} ssh2: RSA SHA256:x\n"
        )
    };
    let request = |second: u32, status: u16| {
        format!("192.0.2.9 - bob [20/Nov/2026:05:30:{second:02} +0000] \"GET /x HTTP/1.1\" {status} 5\n")
    };
    bed.file("log/auth.log", &(1..5).map(key).collect::<String>());
    bed.file("log/access.log", &(request(1, 401) + &request(9, 200)));
    bed.run_job("scan", "2026-11-20T12:00:00Z");
    let found = bed.json(&["findings"]);
    assert_eq!((&found[0]["count"], &found[0]["breach"]), (&5.into(), &Value::Null), "{found}");
    // That they were refused for good is told by the first run that knows, also if nothing was written since.
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"failed-logins\"]\n");
    bed.file("auth.log", &(1..7).map(key).collect::<String>());
    for (at, count) in [("05:30", 0), ("05:37", 0), ("05:45", 1), ("06:00", 1)] {
        bed.run_job("scan", &format!("2026-11-20T{at}:00Z"));
        assert_eq!(bed.json(&["findings"]).as_array().unwrap().len(), count, "{at}");
    }
}

#[test]
fn further_accounts_are_told_in_whatever_order_they_got_in_and_however_many_log_in_besides() {
    let others = |log: &str| {
        let bed = TestBed::new();
        bed.file("auth.log", log);
        let scanned = bed.json(&["scan", bed.path("auth.log").to_str().unwrap()]);
        let found =
            scanned["findings"].as_array().unwrap().iter().find(|found| found["rule"] == "failed-logins").unwrap();
        let others = found["breach"]["others"].as_array().unwrap().iter();
        others.map(|login| login["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let guesses = |second: u32| -> String {
        let of = |user: &str| (0..5).map(|n| line(second + n, "Failed", user, OFFICE)).collect::<String>();
        ["g1", "g2", "g3"].map(of).concat()
    };
    let in_as = |second: u32, user: &str| line(second, "Accepted", user, OFFICE);
    for last in [["g2", "g3"], ["g3", "g2"]] {
        let log = guesses(0) + &in_as(10, "g1") + &last.map(|user| in_as(11, user)).concat();
        assert_eq!(others(&log), ["g2", "g3"], "within the same second");
    }
    let besides = |second: u32, times: u32| (0..times).map(|n| in_as(second + n, &format!("o{n}"))).collect::<String>();
    let three = guesses(8000) + &in_as(8010, "g1") + &in_as(8011, "g2") + &in_as(8012, "g3");
    assert_eq!(others(&(besides(0, 700) + &three + &besides(8100, 1100))), ["g2", "g3"]);
    // Nor does it matter that there are more failures than are remembered one by one.
    let failed = |second: u32, times: u32, user: &str| {
        (0..times).map(|n| line(second + n, "Failed", user, OFFICE)).collect::<String>()
    };
    let eve = failed(500, 20, "eve") + &in_as(530, "eve");
    // Who mistypes now and then is nobody who was guessed at, and neither is one who is guessed at only then.
    let mistypes: String =
        (0..5).map(|n| failed(540 + n * 4000, 1, "carol") + &in_as(545 + n * 4000, "carol")).collect();
    let mistypes = in_as(480, "dave") + &mistypes + &failed(25_000, 8, "dave");
    for (before, behind) in [(60, 200), (300, 0)] {
        let log = failed(0, before, "bob") + &in_as(400, "bob") + &eve + &mistypes + &failed(600, behind, "bob");
        assert_eq!(others(&log), ["eve"], "{before} {behind}");
    }
}

#[test]
fn pages_asked_for_without_a_name_are_no_guesses_and_forms_are() {
    let request = |second: u32, ip: &str, user: &str, method: &str, status: u16| {
        let (minute, rest) = (second / 60, second % 60);
        format!(
            "{ip} - {user} [20/Nov/2026:10:{minute:02}:{rest:02} +0000] \"{method} /git HTTP/1.1\" {status} 5 \"-\" \"-\"\n"
        )
    };
    // Browsers and git ask once without a name.
    let asked =
        |n: u32| request(n * 10, "192.0.2.7", "-", "GET", 401) + &request(n * 10 + 1, "192.0.2.7", "ann", "GET", 200);
    let mistyped = request(90, "192.0.2.7", "ann", "GET", 401) + &request(95, "192.0.2.7", "ann", "GET", 200);
    let found_in = |log: &str| {
        let mut found = found(log);
        found.retain(|(rule, ..)| rule != "error-spikes");
        found
    };
    let of_one = found_in(&((0..7).map(asked).collect::<String>() + &mistyped));
    assert_eq!(short(&of_one), [("failed-logins", "medium", None)], "{of_one:?}");
    assert!(of_one[0].3.contains("no guesses"), "{of_one:?}");
    // Caddy names nobody who was refused.
    let caddy = |n: u32, method: &str| {
        format!(
            "{{\"ts\":{}.5,\"logger\":\"http.log.access\",\"request\":{{\"remote_ip\":\"192.0.2.7\",\"uri\":\"/git\",\"method\":\"{method}\"}},\"user_id\":\"\",\"status\":401}}\n",
            1_795_168_800 + n
        )
    };
    for (method, severity) in [("GET", "high"), ("POST", "high")] {
        let found = found_in(&(0..7).map(|n| caddy(n, method)).collect::<String>());
        assert_eq!(short(&found), [("failed-logins", severity, None)], "{found:?}");
    }
    // Nor are colleagues a network that attacks.
    let colleagues = |method: &str| {
        (0..6).map(|n| request(n * 10, &format!("192.0.2.{}", 10 + n), "-", method, 401)).collect::<String>()
    };
    assert!(short(&found_in(&colleagues("GET"))).iter().all(|(rule, ..)| *rule != "attacking-network"));
    assert!(short(&found_in(&colleagues("POST"))).contains(&("attacking-network", "high", None)));
    // A few of those do not excuse what is guessed besides.
    let guesses = (0..30).map(|n| request(n * 10, "192.0.2.7", "ann", "GET", 401)).collect::<String>();
    let both = found_in(&(request(0, "192.0.2.7", "-", "GET", 401) + &guesses));
    assert!(short(&both).contains(&("failed-logins", "high", None)) && both[0].3.is_empty(), "{both:?}");
    let slowly = (0..4).map(|n| request(n * 10, "192.0.2.7", "ann", "GET", 401)).collect::<String>();
    let most = found_in(&(request(0, "192.0.2.7", "-", "GET", 401) + &slowly));
    assert_eq!(short(&most), [("failed-logins", "high", None)], "{most:?}");
    let form = (0..7).map(|n| request(n * 10, "192.0.2.7", "-", "POST", 401)).collect::<String>();
    assert!(short(&found_in(&form)).contains(&("failed-logins", "high", None)));
}

#[test]
fn very_many_attempts_at_once_count_once_each() {
    // 40 a second for ten minutes, none of them often enough for a finding.
    let attempt = |n: u32| {
        let (second, ip) = (n / 40, std::net::Ipv4Addr::from(0x0a00_0000 + n / 4));
        let at = format!("Nov 20 08:{:02}:{:02} web1 sshd[{n}]:", second / 60, second % 60);
        format!(
            "{at} Invalid user u{n} from {ip} port 1\n{at} Failed password for invalid user u{n} from {ip} port 1 ssh2\n"
        )
    };
    let bed = TestBed::new();
    bed.file("auth.log", &(1..24_000).map(attempt).collect::<String>());
    let scanned = bed.json(&["scan", bed.path("auth.log").to_str().unwrap()]);
    assert_eq!(scanned["failed_logins"], 23_999);
    assert_eq!(scanned["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn one_of_the_office_who_still_fails_is_no_guesser_and_a_guesser_there_is_one() {
    let one_more =
        |times: u32| office() + &(0..times).map(|n| line(1300 + n, "Failed", "gustav", OFFICE)).collect::<String>();
    assert_eq!(short(&found(&one_more(4))), [("failed-logins", "high", None)]);
    let guessed = found(&(one_more(5) + &line(1400, "Accepted", "hugo", OFFICE)));
    let rules = short(&guessed);
    assert!(rules.contains(&("failed-logins", "critical", Some("hugo"))), "{rules:?}");
}

#[test]
fn what_was_told_and_turns_out_to_be_mistakes_is_withdrawn_and_still_shown_to_who_was_told() {
    let bed = TestBed::new();
    bed.main("[sources.logs]\nfiles = [\"DIR/auth.log\"]\n");
    bed.file("jobs/scan.toml", "[scan]\nsources = [\"logs\"]\nrules = [\"password-spraying\"]\nalert = [\"admins\"]\n");
    let users = ["anna", "bob", "carl", "dora", "erika"];
    let all = |from: u32, outcome: &str| -> String {
        (from..).zip(users).map(|(second, user)| line(second, outcome, user, OFFICE)).collect()
    };
    let strangers: String = (0..6).map(|n| line(300 + n, "Failed", &format!("v{n}"), OFFICE)).collect();
    let mut text = String::new();
    let mut scan = |more: &str, at: &str| {
        text.push_str(more);
        bed.file("auth.log", &text);
        let ended = bed.run_job("scan", at);
        let listed: Vec<i64> = bed.store().findings(&Default::default()).unwrap().iter().map(|f| f.id).collect();
        (ended.summary, listed, bed.run(&["findings", "show", "1"]).stdout)
    };
    let (_, listed, shown) = scan(&all(0, "Failed"), "2026-11-20T08:01:00Z");
    assert!(listed == [1] && !shown.contains("withdrawn"), "{shown}");
    let (summary, listed, shown) = scan(&all(100, "Accepted"), "2026-11-20T08:03:00Z");
    assert!(
        listed.is_empty() && shown.contains("withdrawn") && shown.contains("further lines disproved it"),
        "{shown}"
    );
    assert!(summary.contains("1 that somebody was told of turned out to be none"), "{summary}");
    // It was an attack after all, of which somebody is told again.
    let (_, listed, shown) = scan(&strangers, "2026-11-20T08:06:00Z");
    assert!(listed == [1] && !shown.contains("withdrawn") && shown.contains("2026-11-20 08:06"), "{shown}");
}

#[test]
fn who_guesses_at_two_accounts_until_both_are_open_got_in_however_often_it_logs_in_then() {
    let guesses: String =
        (0..16).map(|n| line(n, "Failed", ["root", "admin"][n as usize % 2], "198.51.100.7")).collect();
    let logins: String =
        (0..12).map(|n| line(20 + n, "Accepted", ["root", "admin"][n as usize % 2], "198.51.100.7")).collect();
    let found = found(&(guesses + &logins));
    assert!(short(&found).contains(&("failed-logins", "critical", Some("root"))), "{found:?}");
}

#[test]
fn logins_behind_the_same_address_and_behind_a_break_in_change_nothing() {
    let logins = |from: u32, user: &str, times: u32| -> String {
        (0..times).map(|n| line(from + n * 3, "Accepted", user, OFFICE)).collect()
    };
    let mut lines: Vec<String> = (office() + &logins(1, "git", 300)).split_inclusive('\n').map(str::to_owned).collect();
    lines.sort();
    assert_eq!(short(&found(&lines.concat())), [("failed-logins", "high", None)]);
    // Whoever is in after many guesses doesn't take them back by further logins, nor by those of others.
    let guesses: String = (0..4).map(|n| line(n, "Failed", "root", OFFICE)).collect();
    let more = line(4, "Failed", "admin", OFFICE) + &logins(10, "root", 5) + &logins(40, "admin", 2);
    let rules = found(&(guesses + &more));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("root"))), "{rules:?}");
    // A login of one account excuses no failures of others, not even in one's own network.
    let from = |n: u32| format!("10.4.2.{n}");
    let guesser = |n: u32| (0..4).map(|k| line(n * 20 + k, "Failed", &format!("v{k}"), &from(n))).collect::<String>();
    let network: String = (0..6).map(|n| guesser(n) + &line(n * 20 + 8, "Accepted", "mallory", &from(n))).collect();
    let rules = found(&network);
    assert!(short(&rules).contains(&("attacking-network", "high", None)), "{rules:?}");
}

#[test]
fn who_mistypes_alone_and_gets_in_is_told_as_one_who_got_in() {
    let text: String = (0..5).map(|n| line(n, "Failed", "anna", OFFICE)).collect();
    let rules = found(&(text + &line(10, "Accepted", "anna", OFFICE)));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("anna"))), "{rules:?}");
}

#[test]
fn a_login_with_a_key_is_no_result_of_guesses_and_excuses_none() {
    let with_key = |second: u32, user: &str| line(second, "Accepted", user, OFFICE).replace(" password", " publickey");
    let guesses: String = (0..6).map(|n| line(n, "Failed", "anna", OFFICE)).collect();
    assert_eq!(
        short(&found(&(guesses.clone() + &with_key(20, "git")))),
        [("failed-logins", "high", None), ("failed-logins-account", "medium", None)]
    );
    let rules = found(&(guesses + &with_key(20, "anna") + &line(30, "Accepted", "anna", OFFICE)));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("anna"))), "{rules:?}");
    // Keys of an agent that are not the right ones, and then one that is.
    let refused: String =
        (0..6).map(|n| line(n, "Failed", "anna", OFFICE).replace(" password", " publickey")).collect();
    let rules = found(&(refused + &with_key(900, "anna")));
    assert!(rules.iter().all(|(_, _, breach, _)| breach.is_none()), "{rules:?}");
    // Two accounts, guessed at three times each before every login with a key.
    let guess = |n: u32, user: &str| -> String { (0..3).map(|k| line(n + k, "Failed", user, OFFICE)).collect() };
    let rounds = (0..4).flat_map(|n| {
        let at = n * 60;
        [guess(at, "ci"), with_key(at + 10, "ci"), guess(at + 20, "deploy"), with_key(at + 30, "deploy")]
    });
    let rules = found(&(rounds.collect::<String>() + &line(300, "Accepted", "deploy", OFFICE)));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("deploy"))), "{rules:?}");
}

#[test]
fn who_guesses_at_many_accounts_is_no_office_although_one_is_his_own() {
    let own = mistyped(0, 1, "guest", "198.51.100.7");
    let tried = |n: u32| -> String {
        (0..3).map(|k| line(40 + n * 10 + k, "Failed", &format!("u{n}"), "198.51.100.7")).collect()
    };
    let others: String = (1..18).map(tried).collect();
    let first: String = (0..6).map(|n| line(10 + n, "Failed", &format!("v{}", n / 3), "198.51.100.7")).collect();
    let guessed = mistyped(20, 3, "boss", "198.51.100.7");
    let rules = found(&(own + &first + &guessed + &others));
    assert!(short(&rules).contains(&("failed-logins", "critical", Some("boss"))), "{rules:?}");
}

#[test]
fn failures_on_one_host_are_no_mistakes_of_who_logs_in_on_another() {
    let ip = "198.51.100.7";
    let on = |host: u32, text: String| text.replace("web1", &format!("web{host}"));
    let round = |n: u32| {
        let guesses: String =
            (0..3).map(|k| line(n * 60 + k, "Failed", ["root", "admin"][n as usize % 2], ip)).collect();
        on(n + 2, guesses) + &line(n * 60 + 10, "Accepted", ["root", "admin"][n as usize % 2], ip)
    };
    let rules = found(&(0..6).map(round).collect::<String>());
    let failed_logins = rules.iter().find(|(rule, ..)| rule == "failed-logins").unwrap();
    assert_eq!((failed_logins.1.as_str(), failed_logins.2.is_some()), ("critical", true), "{rules:?}");
}

#[test]
fn the_account_that_was_guessed_at_is_named_before_others_behind_the_address() {
    let ip = "198.51.100.7";
    let guesses =
        |from: u32, times: u32| -> String { (0..times).map(|n| line(from + n, "Failed", "root", ip)).collect() };
    let first = guesses(0, 6) + &line(10, "Accepted", "alice", ip);
    let then = guesses(20, 40) + &line(70, "Accepted", "root", ip);
    let named = |text: &str| found(text).iter().find(|(rule, ..)| rule == "failed-logins").unwrap().2.clone();
    assert_eq!(named(&first).as_deref(), Some("alice"));
    let both = first + &then;
    assert_eq!(named(&both).as_deref(), Some("root"));
    assert_eq!(named(&(both + &guesses(100, 60))).as_deref(), Some("root"), "however many there are");
}

#[test]
fn a_login_long_after_failures_is_not_their_doing_whatever_fails_the_next_day() {
    let bob: String = (0..5).map(|n| line(n, "Failed", "bob", OFFICE)).collect();
    let alice = line(8 * 3600, "Accepted", "alice", OFFICE);
    let carol = mistyped(15 * 3600, 1, "carol", OFFICE);
    let rules = found(&(bob + &alice + &carol));
    let failed_logins = rules.iter().find(|(rule, ..)| rule == "failed-logins").unwrap();
    assert_ne!(failed_logins.2.as_deref(), Some("alice"), "{rules:?}");
}

#[test]
fn every_rule_about_an_address_says_that_it_got_in() {
    let text: String = (0..4).map(|n| line(n, "Failed", "root", "198.51.100.7")).collect();
    let few = text + &line(10, "Accepted", "root", "198.51.100.7");
    assert_eq!(short(&found(&few)), [("privileged-accounts", "critical", Some("root"))]);
    let sprayed: String = (0..5).map(|n| line(n, "Failed", &format!("u{n}"), "198.51.100.7")).collect();
    let sprayed = found(&(sprayed + &line(10, "Accepted", "u7", "198.51.100.7")));
    let want = [("failed-logins", "critical", Some("u7")), ("password-spraying", "critical", Some("u7"))];
    assert_eq!(short(&sprayed), want);
}

#[test]
fn neighbours_who_mistype_are_no_attacking_network_and_neighbours_who_only_fail_are() {
    let people: String = (0..4).map(|n| mistyped(n * 100, 1, &format!("u{n}"), &format!("10.4.2.{n}"))).collect();
    assert_eq!(short(&found(&people)), []);
    let guessers: String = (0..4).map(|n| line(n * 100, "Failed", &format!("u{n}"), &format!("10.4.2.{n}"))).collect();
    let rules = found(&(people + &guessers.replace("10.4.2.", "10.4.2.10")));
    assert!(short(&rules).contains(&("attacking-network", "high", None)), "{rules:?}");
}

#[test]
fn an_office_is_one_however_its_log_is_cut() {
    let rules = "[\"failed-logins\", \"failed-logins-account\", \"password-spraying\", \"attacking-network\", \"privileged-accounts\"]";
    let prepare = |bed: &TestBed| {
        bed.file("jobs/scan.toml", &format!("[scan]\nsources = [\"logs\"]\nrules = {rules}\n"));
    };
    let guesser: String = (0..6).map(|n| line(400 + n, "Failed", "root", "192.0.2.78")).collect();
    let mut lines: Vec<String> = (office() + &guesser + &line(500, "Accepted", "root", "192.0.2.78"))
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_cuts_change_nothing_with(&prepare, &[("auth.log", lines.concat().as_bytes())], 0..12);
}

#[test]
fn keys_that_were_refused_are_no_guesses_at_a_password() {
    let too_many = "error: maximum authentication attempts exceeded for dave from 192.0.2.7 port 4711 ssh2 [preauth]";
    let key = "Failed publickey for dave from 192.0.2.7 port 4711 ssh2: ED25519 SHA256:x";
    let wrong = "Failed password for dave from 192.0.2.7 port 4711 ssh2";
    let got_in = "Accepted password for dave from 192.0.2.7 port 4712 ssh2";
    let breaches = |said: &[&str]| {
        let bed = TestBed::new();
        let line = |(n, said): (usize, &&str)| format!("Nov 20 10:{n:02}:00 web1 sshd[{}]: {said}\n", 100 + n);
        bed.file("auth.log", &said.iter().enumerate().map(line).collect::<String>());
        let log = bed.path("auth.log");
        let read = bed.json(&["scan", "--year", "2026", "--all-rules", log.to_str().unwrap()]);
        let findings = read["findings"].as_array().unwrap().clone();
        let breach = |finding: &&Value| finding["severity"] == "critical";
        (findings.iter().filter(breach).count(), read["failed_logins"].as_u64().unwrap())
    };
    assert_eq!(breaches(&[too_many, too_many, too_many, too_many, too_many, got_in]), (0, 5));
    assert_eq!(breaches(&[key, key, key, key, wrong, got_in]), (0, 5));
    // Keys that are more than what else was tried hide nothing of it.
    let bed = TestBed::new();
    let said = |n: usize| {
        let pam = "error: PAM: Authentication failure for dave from 192.0.2.7";
        let all = [pam, pam, key, key, key, too_many];
        all.map(|said| format!("Nov 20 10:{n:02}:00 web1 sshd[{}]: {said}\n", 100 + n)).concat()
    };
    let last = format!("Nov 20 10:06:00 web1 sshd[900]: {}\n", got_in.replace("password", "keyboard-interactive/pam"));
    bed.file("auth.log", &((0..5).map(said).collect::<String>() + &last));
    let read = bed.json(&["scan", "--year", "2026", "--all-rules", bed.path("auth.log").to_str().unwrap()]);
    let critical =
        read["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "critical").count();
    assert!(critical >= 2 && read["failed_logins"] == 15, "{read}");
    let (guessed, failed) = breaches(&[key, wrong, wrong, wrong, wrong, wrong, got_in]);
    assert!(guessed >= 2 && failed == 6, "{guessed} {failed}");
}
