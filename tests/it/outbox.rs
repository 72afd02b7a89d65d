//! The outbox against mail servers that behave badly, and against death.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use logkeeper::clock::Clock;
use logkeeper::daemon::outbox::{Delivered, deliver_due};
use logkeeper::model::{DeliveryState, Frozen};
use logkeeper::runner::App;
use logkeeper::store::{Enqueued, Store};

use crate::support::TestBed;
use crate::support::smtp::{Act, ScriptedSmtp};

/// A clock that a test sets.
struct Hands(Mutex<DateTime<Utc>>);

impl Hands {
    fn forward(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }

    fn boot(&self) -> String {
        String::new()
    }
}

/// An app whose mail goes to a port of this machine.
struct Desk {
    bed: TestBed,
    app: Arc<App>,
    clock: Arc<Hands>,
    runtime: tokio::runtime::Runtime,
}

fn smtp_to(bed: &TestBed, port: u16, more: &str) {
    bed.main(&format!(
        "[mail]\nfrom = \"logkeeper@example.org\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\ntimeout = \"1s\"\n{more}"
    ));
}

impl Desk {
    fn new(port: u16) -> Self {
        let bed = TestBed::new();
        smtp_to(&bed, port, "");
        let config = bed.config();
        let store = Store::open(&config.state).unwrap();
        // `logkeeper status`, which is asked as well, goes by the real clock.
        let clock = Arc::new(Hands(Mutex::new(Utc::now())));
        let (app, _) = App::new(config, store, clock.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { bed, app, clock, runtime }
    }

    fn put(&self, key: &str, recipients: &[&str], alert: bool) {
        let recipients: Vec<String> = recipients.iter().map(|recipient| (*recipient).to_owned()).collect();
        let body = format!("Message-ID: <{key}@example.org>\r\nSubject: {key}\r\n\r\n{key}\r\n").into_bytes();
        let frozen = Frozen { channel: "mail".into(), key: key.into(), subject: key.into(), alert, body };
        let enqueued = Enqueued { frozen: &frozen, recipients: &recipients, intents: &[], told: &[] };
        self.app.store.enqueue(&enqueued, self.clock.now()).unwrap();
    }

    fn deliver(&self) -> Delivered {
        self.runtime.block_on(deliver_due(&self.app)).unwrap()
    }

    fn states(&self) -> Vec<(String, String, DeliveryState)> {
        let mut rows = self.app.store.deliveries(None, 1_000_000).unwrap();
        rows.reverse();
        rows.into_iter().map(|row| (row.subject, row.recipient, row.state)).collect()
    }

    fn state(&self, subject: &str) -> DeliveryState {
        self.states().into_iter().find(|(known, ..)| known == subject).unwrap().2
    }
}

#[test]
fn a_greylisted_mail_arrives_a_little_later() {
    let mut times = 0;
    let server = ScriptedSmtp::start(move |phase, _| {
        times += usize::from(phase == "RCPT");
        if phase == "RCPT" && times == 1 { Act::Say("451 come back later") } else { Act::Accept }
    });
    let desk = Desk::new(server.port);
    desk.put("a", &["x@example.org"], false);
    assert_eq!(desk.deliver(), Delivered { deferred: 1, ..Delivered::default() });
    assert_eq!(desk.deliver(), Delivered::default(), "not at once");
    desk.clock.forward(TimeDelta::minutes(3));
    assert_eq!(desk.deliver(), Delivered { sent: 1, ..Delivered::default() });
    assert_eq!(server.taken().len(), 1);
}

#[test]
fn a_refused_recipient_is_given_up_and_the_others_get_theirs() {
    let server = ScriptedSmtp::start(|phase, line| match phase {
        "RCPT" if line.contains("nobody") => Act::Say("550 no such user"),
        _ => Act::Accept,
    });
    let desk = Desk::new(server.port);
    desk.put("a", &["anna@example.org", "nobody@example.org", "zoe@example.org"], false);
    assert_eq!(desk.deliver(), Delivered { sent: 2, dead: 1, ..Delivered::default() });
    let to: Vec<String> = server.taken().into_iter().map(|taken| taken.to).collect();
    assert_eq!(to, ["anna@example.org", "zoe@example.org"]);
    assert_eq!(server.phases().iter().filter(|phase| *phase == "connect").count(), 1, "one connection for all");
    let refused = desk.app.store.deliveries(Some(DeliveryState::Dead), 9).unwrap();
    assert!(refused[0].error.as_ref().unwrap().contains("550"), "{refused:?}");
    let status = desk.bed.run(&["status"]);
    assert!(status.code != 0 && status.stdout.contains("nobody@example.org was given up"), "{status:?}");
    desk.put("b", &["zoe@example.org"], false);
    assert_eq!(desk.deliver().sent, 1, "the channel works all the same");
}

#[test]
fn a_server_that_refuses_the_connection_or_sender_pauses_the_channel_and_no_mail_is_lost() {
    for (phase, answer) in [("connect", "554 go away"), ("EHLO", "550 not you"), ("MAIL", "550 not this sender")] {
        let open = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let opened = open.clone();
        let server = ScriptedSmtp::start(move |at, _| {
            let refuses = at == phase && !opened.load(std::sync::atomic::Ordering::Relaxed);
            if refuses { Act::Say(answer) } else { Act::Accept }
        });
        let desk = Desk::new(server.port);
        for n in 0..5 {
            desk.put(&format!("m{n}"), &["x@example.org"], n % 2 == 0);
        }
        assert_eq!(desk.deliver().deferred, 1, "{phase}: one attempt, not five");
        let troubles = desk.app.store.troubles().unwrap();
        assert!(troubles[0].paused && troubles[0].error.contains(&answer[..3]), "{phase}: {troubles:?}");
        for _ in 0..200 {
            desk.clock.forward(TimeDelta::hours(1));
            assert_eq!(desk.deliver().dead, 0, "{phase}: what waits for a paused channel is not given up");
        }
        let status = desk.bed.run(&["status"]);
        assert!(status.stdout.contains("the channel mail is paused") && status.stdout.contains("5 messages wait"));
        open.store(true, std::sync::atomic::Ordering::Relaxed);
        desk.clock.forward(TimeDelta::hours(1));
        assert_eq!(desk.deliver().sent, 5, "{phase}");
        assert!(desk.app.store.troubles().unwrap().is_empty());
    }
}

#[test]
fn a_paused_channel_is_tried_at_once_when_it_is_changed() {
    let bad = ScriptedSmtp::start(|phase, _| if phase == "MAIL" { Act::Say("553 no") } else { Act::Accept });
    let good = ScriptedSmtp::start(|_, _| Act::Accept);
    let desk = Desk::new(bad.port);
    desk.put("a", &["x@example.org"], false);
    desk.deliver();
    assert_eq!(desk.deliver(), Delivered::default(), "not at once");
    smtp_to(&desk.bed, good.port, "");
    desk.app.reload().unwrap();
    assert_eq!(desk.deliver().sent, 1);
    assert_eq!(good.taken().len(), 1);
}

#[test]
fn a_silent_server_costs_its_deadline_in_each_phase_and_holds_nothing_up_for_ever() {
    let phases = ["connect", "EHLO", "MAIL", "RCPT", "DATA", "message", "QUIT"];
    let tries =
        phases.map(|phase| {
            std::thread::spawn(move || {
                let mut first = true;
                let server = ScriptedSmtp::start(move |at, _| {
                    if at == phase && std::mem::take(&mut first) { Act::Stall } else { Act::Accept }
                });
                let desk = Desk::new(server.port);
                desk.put("a", &["x@example.org"], false);
                let begun = std::time::Instant::now();
                let first = desk.deliver();
                // The server would be silent for a minute.
                assert!(begun.elapsed() < Duration::from_secs(30), "{phase}");
                if phase == "QUIT" {
                    assert_eq!(first.sent, 1, "that the server doesn't say goodbye changes nothing");
                    return;
                }
                assert_eq!(first.deferred, 1, "{phase}");
                let row = desk.app.store.deliveries(None, 1).unwrap().remove(0);
                assert!(row.error.as_ref().unwrap().contains("did not answer"), "{phase}: {row:?}");
                desk.clock.forward(TimeDelta::minutes(10));
                assert_eq!(desk.deliver().sent, 1, "{phase}");
            })
        });
    tries.into_iter().for_each(|done| done.join().unwrap());
}

#[test]
fn a_server_that_hangs_up_in_any_phase_gets_the_mail_later() {
    for phase in ["connect", "EHLO", "MAIL", "RCPT", "DATA", "message"] {
        let mut first = true;
        let server =
            ScriptedSmtp::start(
                move |at, _| {
                    if at == phase && std::mem::take(&mut first) { Act::Drop } else { Act::Accept }
                },
            );
        let desk = Desk::new(server.port);
        desk.put("a", &["x@example.org"], false);
        assert_eq!(desk.deliver().deferred, 1, "{phase}");
        desk.clock.forward(TimeDelta::minutes(10));
        assert_eq!(desk.deliver().sent, 1, "{phase}");
        assert_eq!(server.taken().len(), 1, "{phase}");
    }
}

#[test]
fn a_mail_that_breaks_the_server_holds_up_no_other() {
    let mut poison = false;
    let server = ScriptedSmtp::start(move |phase, line| {
        if phase == "RCPT" {
            poison = line.contains("poison");
        }
        if phase == "message" && poison { Act::Drop } else { Act::Accept }
    });
    let desk = Desk::new(server.port);
    desk.put("bad", &["poison@example.org"], false);
    for n in 0..5 {
        desk.put(&format!("m{n}"), &["x@example.org"], false);
    }
    let delivered = desk.deliver();
    assert_eq!((delivered.sent, delivered.deferred), (5, 1));
    for _ in 0..60 {
        desk.clock.forward(TimeDelta::hours(1));
        desk.deliver();
    }
    assert_eq!(desk.state("bad"), DeliveryState::Dead, "after two days it is given up");
}

#[test]
fn what_waits_for_a_recipient_holds_back_what_is_newer_but_no_alert() {
    let mut first = true;
    let server = ScriptedSmtp::start(move |phase, line| {
        let deferred = phase == "RCPT" && line.contains("slow") && std::mem::take(&mut first);
        if deferred { Act::Say("450 busy") } else { Act::Accept }
    });
    let desk = Desk::new(server.port);
    desk.put("report", &["slow@example.org", "fast@example.org"], false);
    desk.put("notice", &["slow@example.org", "fast@example.org"], false);
    desk.put("alert", &["slow@example.org"], true);
    desk.deliver();
    let seen = |server: &ScriptedSmtp| -> Vec<(String, String)> {
        let line = |taken: crate::support::smtp::Taken| (taken.to.clone(), taken.id());
        server.taken().into_iter().map(line).collect()
    };
    let pair = |to: &str, key: &str| (format!("{to}@example.org"), format!("Message-ID: <{key}@example.org>"));
    assert_eq!(seen(&server), [pair("fast", "report"), pair("fast", "notice"), pair("slow", "alert")]);
    desk.clock.forward(TimeDelta::minutes(3));
    desk.deliver();
    assert_eq!(seen(&server)[3..], [pair("slow", "report"), pair("slow", "notice")]);
}

#[test]
fn ten_thousand_mails_survive_an_outage_of_47_hours_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let desk = Desk::new(port);
    let recipients = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
    let (mut put, start) = (0, desk.clock.now());
    while desk.clock.now() < start + TimeDelta::hours(47) {
        for _ in 0..54 {
            if put < 10_000 {
                desk.put(&format!("m{put:05}"), &[recipients[put % 4]], put % 10 == 0);
                put += 1;
            }
        }
        assert_eq!(desk.deliver().dead, 0);
        desk.clock.forward(TimeDelta::minutes(15));
    }
    assert_eq!(put, 10_000);
    let attempts: i64 = desk.app.store.deliveries(None, 20_000).unwrap().iter().map(|row| row.attempts).sum();
    assert!(attempts < 400, "a server that is down is not asked for each mail: {attempts} attempts");
    let server = ScriptedSmtp::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), |_, _| Act::Accept);
    for _ in 0..8 {
        desk.clock.forward(TimeDelta::minutes(7));
        desk.deliver();
    }
    let taken = server.taken();
    assert_eq!(taken.len(), 10_000);
    let mut by_recipient: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for taken in taken {
        by_recipient.entry(taken.to.clone()).or_default().push(taken.id());
    }
    for (to, ids) in by_recipient {
        assert_eq!(ids.len(), 2500, "{to}");
        assert!(ids.is_sorted(), "{to}: in order");
    }
    assert!(desk.states().iter().all(|(.., state)| *state == DeliveryState::Sent));
}

#[test]
fn a_mail_is_given_up_after_two_days_and_can_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let desk = Desk::new(port);
    desk.put("a", &["x@example.org"], false);
    for _ in 0..49 {
        desk.deliver();
        desk.clock.forward(TimeDelta::hours(1));
    }
    desk.deliver();
    assert_eq!(desk.state("a"), DeliveryState::Dead);
    let server = ScriptedSmtp::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), |_, _| Act::Accept);
    let retried = desk.bed.run(&["outbox", "retry"]);
    assert!(retried.stdout.contains("1 delivery is tried again"), "{retried:?}");
    // The command took the machine's time, which is later or earlier than the test's.
    *desk.clock.0.lock().unwrap() = Utc::now() + TimeDelta::hours(1);
    assert_eq!(desk.deliver().sent, 1);
    assert_eq!(server.taken().len(), 1);
    let listed = desk.bed.run(&["outbox"]).stdout;
    assert!(listed.contains("sent") && listed.contains("x@example.org"), "{listed}");
}

/// Killed while the server is in a phase: the mail comes again at the next start, at most once more, and as the same mail.
#[test]
fn a_kill_in_any_phase_costs_at_most_a_duplicate_with_the_same_id() {
    for phase in ["connect", "EHLO", "MAIL", "RCPT", "DATA", "message", "taken", "QUIT"] {
        let bed = TestBed::new();
        let (reached, is_there) = std::sync::mpsc::channel();
        let mut first = true;
        let server = ScriptedSmtp::start(move |at, _| {
            // "taken": the message counts, but the answer comes too late.
            let hit = at == phase || phase == "taken" && at == "message";
            if hit && std::mem::take(&mut first) {
                reached.send(()).unwrap();
                if phase != "taken" {
                    return Act::Stall;
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            Act::Accept
        });
        smtp_to(&bed, server.port, "");
        let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
        bed.file("config/logkeeper.toml", &main.replace("timeout = \"1s\"", "timeout = \"30s\""));
        bed.file("jobs/week.toml", "[report]\nperiod = \"weekly\"\nto = [\"management\"]\n");
        let mut running = bed.command(&["run-now", "week"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        is_there.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{phase} is never reached"));
        running.kill().unwrap();
        running.wait().unwrap();
        let daemon = bed.daemon();
        crate::support::wait_until("the mail is delivered", Duration::from_secs(40), || {
            let rows = bed.store().deliveries(None, 9).unwrap();
            rows.len() == 1 && rows[0].state == DeliveryState::Sent
        });
        assert_eq!(daemon.end(), 0);
        let taken = server.taken();
        assert!((1..=2).contains(&taken.len()), "{phase}: {} copies", taken.len());
        let ids: BTreeSet<String> = taken.iter().map(crate::support::smtp::Taken::id).collect();
        assert_eq!(ids.len(), 1, "{phase}: {ids:?}");
        let bytes: BTreeSet<Vec<u8>> = taken.into_iter().map(|taken| taken.wire).collect();
        assert_eq!(bytes.len(), 1, "{phase}: the same bytes");
    }
}

/// A channel that hangs holds up no other one.
#[test]
fn a_silent_mail_server_does_not_hold_up_an_alert_by_another_channel() {
    let bed = TestBed::new();
    let server = ScriptedSmtp::start(|_, _| Act::Stall);
    smtp_to(&bed, server.port, "[channels.log.file]\npath = \"DIR/alerts.log\"\n");
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &main.replace("timeout = \"1s\"", "timeout = \"60s\""));
    let schedule =
        "schedule = \"* * * * * *\"\non_failure = [\"admins\", \"log\"]\n[command]\nrun = [\"/bin/false\"]\n";
    bed.file("jobs/bad.toml", schedule);
    let daemon = bed.daemon();
    crate::support::wait_until("the file has the line", Duration::from_secs(20), || {
        std::fs::read_to_string(bed.path("alerts.log")).is_ok_and(|text| text.contains("FAILED: exit code 1"))
    });
    daemon.kill();
}

#[test]
fn what_waits_for_a_paused_channel_is_not_given_up_because_it_is_down_for_a_moment_or_greylists() {
    let phase = Arc::new(Mutex::new("refuse"));
    let now = phase.clone();
    let server = ScriptedSmtp::start(move |at, _| match (*now.lock().unwrap(), at) {
        ("refuse", "MAIL") => Act::Say("550 not you"),
        ("drop", "connect") => Act::Drop,
        ("greylist", "RCPT") => Act::Say("451 later"),
        _ => Act::Accept,
    });
    let desk = Desk::new(server.port);
    desk.put("a", &["x@example.org"], false);
    for _ in 0..72 {
        assert_eq!(desk.deliver().dead, 0);
        desk.clock.forward(TimeDelta::hours(1));
    }
    for state in ["drop", "greylist"] {
        *phase.lock().unwrap() = state;
        desk.clock.forward(TimeDelta::hours(1));
        assert_eq!(desk.deliver().dead, 0, "{state}");
    }
    *phase.lock().unwrap() = "fine";
    desk.clock.forward(TimeDelta::hours(1));
    assert_eq!(desk.deliver().sent, 1);
}

#[test]
fn a_channel_has_nothing_to_do_while_all_of_it_waits_behind_something_else() {
    let server = ScriptedSmtp::start(|phase, _| if phase == "RCPT" { Act::Say("450 busy") } else { Act::Accept });
    let desk = Desk::new(server.port);
    desk.put("first", &["x@example.org"], false);
    desk.deliver();
    desk.put("second", &["x@example.org"], false);
    let due = desk.app.store.due_channels(desk.clock.now()).unwrap();
    assert!(due.is_empty(), "else the pump would go round and round: {due:?}");
    desk.put("alert", &["x@example.org"], true);
    assert_eq!(desk.app.store.due_channels(desk.clock.now()).unwrap(), ["mail"]);
}

#[test]
fn a_clock_that_was_years_ahead_holds_no_mail_back() {
    let server = ScriptedSmtp::start(|_, _| Act::Accept);
    let desk = Desk::new(server.port);
    desk.clock.forward(TimeDelta::days(3000));
    desk.put("a", &["x@example.org"], false);
    desk.clock.forward(TimeDelta::days(-3000));
    assert_eq!(desk.deliver().sent, 1);
}

/// What is being sent when the daemon is asked to end is sent once.
#[test]
fn a_daemon_that_ends_waits_for_the_mail_that_it_sends() {
    let bed = TestBed::new();
    let server = ScriptedSmtp::start(|phase, _| {
        if phase == "message" {
            std::thread::sleep(Duration::from_secs(2));
        }
        Act::Accept
    });
    smtp_to(&bed, server.port, "");
    let main = std::fs::read_to_string(bed.path("config/logkeeper.toml")).unwrap();
    bed.file("config/logkeeper.toml", &main.replace("timeout = \"1s\"", "timeout = \"30s\""));
    bed.file(
        "jobs/bad.toml",
        "schedule = \"* * * * * *\"\non_failure = [\"admins\"]\n[command]\nrun = [\"/bin/false\"]\n",
    );
    let daemon = bed.daemon();
    crate::support::wait_until("the mail is on its way", Duration::from_secs(20), || {
        server.phases().contains(&"message".to_owned())
    });
    assert_eq!(daemon.end(), 0);
    let rows = bed.store().deliveries(None, 9).unwrap();
    assert_eq!(rows.last().unwrap().state, DeliveryState::Sent, "{rows:?}");
    assert_eq!(server.taken().len(), 1);
}
