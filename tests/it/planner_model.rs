//! The real planner and the real store against a reference that walks through every minute.
//!
//! Random sequences of ticks, clock steps, sleep, restarts, kills, slow jobs and configuration changes; at the end of each,
//! what is on record must be what the reference has, and nothing may have begun twice.
//! `LOGKEEPER_SEQUENCES=100000` tells how many.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use logkeeper::clock::Clock;
use logkeeper::config::Config;
use logkeeper::daemon::planner::Planner;
use logkeeper::model::{CatchUp, Expression, Job, Outcome, Schedule};
use logkeeper::runner::App;
use logkeeper::store::{Ended, QueuedRun, Store};

use crate::support::{self, TestBed};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const STEP: i64 = 60;
const WINDOW: i64 = 2 * DAY;
const KEPT: usize = 100;

/// Wall clock and time since boot in seconds, both set by hand.
#[derive(Clone)]
struct HandClock {
    wall: Arc<AtomicI64>,
    boot: Arc<AtomicI64>,
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        // Between two seconds, as real instants are.
        DateTime::from_timestamp(self.wall.load(Ordering::Relaxed), 437_000_000).unwrap()
    }
    fn since_boot(&self) -> Duration {
        Duration::from_secs(self.boot.load(Ordering::Relaxed).unsigned_abs())
    }
    fn boot(&self) -> String {
        "one".to_owned()
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n.unsigned_abs()) as i64
    }
}

/// An expression, and what the reference takes it for: whether it is a wildcard one, and which minutes of a day match.
type Kind = (&'static str, bool, fn(i64) -> bool);

const KINDS: [Kind; 6] = [
    ("*/20 * * * *", true, |minute| minute % 20 == 0),
    ("7 * * * *", true, |minute| minute % 60 == 7),
    ("30 */6 * * *", true, |minute| minute % 360 == 30),
    ("30 2,13 * * *", false, |minute| minute == 150 || minute == 810),
    ("0 0 * * *", false, |minute| minute == 0),
    ("0,10,20 0-23 * * *", false, |minute| [0, 10, 20].contains(&(minute % 60))),
];

/// What the reference knows of a job.
#[derive(Clone)]
struct Known {
    kind: usize,
    catch_up: CatchUp,
    enabled: bool,
    /// `None`: not planned yet, or not any more.
    cursor: Option<i64>,
    epoch: i64,
    /// Whether it runs (or is still to run), by epoch and instant.
    slots: BTreeMap<(i64, i64), bool>,
}

struct Reference {
    jobs: Vec<Known>,
    /// Slots on record whose run has not begun, in the order of their record.
    open: Vec<(usize, i64, i64)>,
    seen: Option<(i64, i64)>,
}

impl Reference {
    fn look(&mut self, wall: i64, boot: i64) -> i64 {
        self.seen.replace((wall, boot)).map_or(0, |(w, b)| (wall - w) - (boot - b))
    }

    /// Decides about every job that is due; `all` decides about all of them.
    fn decide(&mut self, wall: i64, step: i64, all: bool) {
        for id in 0..self.jobs.len() {
            let job = &mut self.jobs[id];
            let (_, wildcard, matches) = KINDS[job.kind];
            let Some(cursor) = job.cursor.filter(|_| job.enabled) else { continue };
            let from = cursor.max(wall - WINDOW);
            let mut slots: Vec<i64> = (from.div_euclid(60) + 1..=wall.div_euclid(60))
                .filter(|minute| matches(minute.rem_euclid(DAY / 60)))
                .map(|minute| minute * 60)
                .collect();
            if slots.is_empty() && !all && step.abs() <= STEP {
                continue;
            }
            let bearable = if wildcard { STEP } else { 3 * HOUR };
            if cursor > wall + bearable || step < -bearable {
                job.epoch += 1;
                job.cursor = Some(wall);
                continue;
            }
            slots.drain(..slots.len().saturating_sub(KEPT));
            let last = slots.last().copied();
            job.cursor = Some(cursor.max(last.unwrap_or(wall)));
            for slot in slots {
                let skipped = step > STEP && slot > wall - step;
                let runs = if skipped {
                    !wildcard && step <= 3 * HOUR && Some(slot) == last
                } else if slot > wall - 60 {
                    true
                } else {
                    let in_time = wall - slot < WINDOW;
                    in_time && (job.catch_up == CatchUp::All || (job.catch_up == CatchUp::Last && Some(slot) == last))
                };
                let epoch = job.epoch;
                if let Entry::Vacant(free) = job.slots.entry((epoch, slot)) {
                    free.insert(runs);
                    self.open.extend(runs.then_some((id, epoch, slot)));
                }
            }
        }
    }

    /// What is on record and has not begun when logkeeper starts again.
    fn recover(&mut self, wall: i64) {
        let mut kept: Vec<(usize, i64, i64)> = Vec::new();
        let mut last: BTreeMap<usize, (usize, i64, i64)> = BTreeMap::new();
        let mut missed = Vec::new();
        for open in std::mem::take(&mut self.open) {
            let job = &self.jobs[open.0];
            let fresh = open.2 > wall - 60;
            if !job.enabled || (!fresh && (job.catch_up == CatchUp::None || wall - open.2 >= WINDOW)) {
                missed.push(open);
            } else if fresh || job.catch_up == CatchUp::All {
                kept.push(open);
            } else {
                missed.extend(last.insert(open.0, open));
            }
        }
        for (id, epoch, slot) in missed {
            self.jobs[id].slots.insert((epoch, slot), false);
        }
        self.open = kept;
        self.open.extend(last.into_values());
    }

    /// Plans anew; jobs that were not planned begin now.
    fn plan(&mut self, wall: i64, step: i64) {
        for job in &mut self.jobs {
            // A job that is new, or planned otherwise from now on, begins in the newest epoch that is known of.
            let recorded = job.slots.keys().map(|(epoch, _)| *epoch).max().unwrap_or(0);
            if !job.enabled {
                job.epoch = recorded;
            } else if job.cursor.is_none() {
                job.epoch = job.epoch.max(recorded);
            }
            job.cursor = if job.enabled { Some(job.cursor.unwrap_or(wall)) } else { None };
        }
        self.decide(wall, step, true);
    }
}

/// A machine with a logkeeper that runs, both real and as the reference has it.
struct World {
    random: Random,
    clock: HandClock,
    base: Config,
    template: Job,
    names: Vec<String>,
    database: Option<Store>,
    app: Option<(Arc<App>, Arc<Planner>)>,
    reference: Reference,
    begun: BTreeSet<(String, i64, i64)>,
    running: Vec<QueuedRun>,
    log: Vec<String>,
}

impl World {
    fn new(base: &Config, template: &Job, seed: u64, store: Option<Store>) -> Self {
        let mut random = Random(seed);
        let begin = 1_780_000_000 + random.below(DAY);
        let clock = HandClock { wall: Arc::new(begin.into()), boot: Arc::new(1_000_000.into()) };
        let jobs = (0..3).map(|_| Known {
            kind: random.below(6) as usize,
            catch_up: [CatchUp::Last, CatchUp::All, CatchUp::None][random.below(3) as usize],
            enabled: true,
            cursor: None,
            epoch: 0,
            slots: BTreeMap::new(),
        });
        let reference = Reference { jobs: jobs.collect(), open: Vec::new(), seen: None };
        Self {
            random,
            clock,
            base: base.clone(),
            template: template.clone(),
            names: (0..3).map(|n| format!("s{seed}-{n}")).collect(),
            database: store,
            app: None,
            reference,
            begun: BTreeSet::new(),
            running: Vec::new(),
            log: Vec::new(),
        }
    }

    fn config(&self) -> Config {
        let mut config = self.base.clone();
        config.jobs.clear();
        for (name, known) in self.names.iter().zip(&self.reference.jobs) {
            let mut job = self.template.clone();
            job.id = name.parse().unwrap();
            job.enabled = known.enabled;
            job.policy.catch_up = known.catch_up;
            job.policy.catch_up_window = Duration::from_secs(WINDOW.unsigned_abs());
            let expression = KINDS[known.kind].0.parse::<Expression>().unwrap();
            job.schedule = Some(Schedule { expression, zone: chrono_tz::UTC });
            config.jobs.insert(job.id.clone(), Arc::new(job));
        }
        config
    }

    fn wall(&self) -> i64 {
        self.clock.wall.load(Ordering::Relaxed)
    }

    fn pass(&self, seconds: i64) {
        self.clock.wall.fetch_add(seconds, Ordering::Relaxed);
        self.clock.boot.fetch_add(seconds, Ordering::Relaxed);
    }

    fn start(&mut self) {
        let store = self.database.take().unwrap();
        let (app, _) = App::new(self.config(), store, Arc::new(self.clock.clone()));
        let planner = Planner::new(app.clone());
        self.app = Some((app, planner.clone()));
        self.reference.seen = None;
        self.reference.recover(self.wall());
        let step = self.reference.look(self.wall(), self.clock.boot.load(Ordering::Relaxed));
        self.reference.plan(self.wall(), step);
        let due = planner.plan_blocking(true).unwrap();
        self.begin(due);
    }

    /// The process is gone; what it had begun is open, the store stays.
    fn kill(&mut self) {
        let (app, planner) = self.app.take().unwrap();
        drop(planner);
        self.running.clear();
        let app = Arc::into_inner(app).unwrap();
        self.database = Arc::into_inner(app.store);
    }

    /// Begins what is due, as the runner would; each run ends at once, later, or not at all.
    fn begin(&mut self, due: Vec<QueuedRun>) {
        let (app, _) = self.app.clone().unwrap();
        for run in due {
            let slot = run.slot.clone().unwrap();
            let id = self.names.iter().position(|name| *name == run.job.id.as_str()).unwrap();
            let key = (id, slot.epoch, slot.instant.timestamp());
            self.reference.open.retain(|open| *open != key);
            assert!(app.store.start_run(run.id, app.clock.now()).unwrap());
            let named = (run.job.id.to_string(), slot.epoch, slot.instant.timestamp());
            assert!(self.begun.insert(named.clone()), "{named:?} began twice: {:#?}", self.log);
            self.running.push(run);
        }
        let finished = self.random.below(self.running.len() as i64 + 1) as usize;
        for run in self.running.drain(..finished) {
            app.store.finish_run(run.id, &Ended::new(Outcome::Succeeded, ""), app.clock.now()).unwrap();
        }
    }

    fn tick(&mut self, dies: bool) {
        let (_, planner) = self.app.clone().unwrap();
        let step = self.reference.look(self.wall(), self.clock.boot.load(Ordering::Relaxed));
        self.reference.decide(self.wall(), step, false);
        let due = planner.due_blocking();
        drop(planner);
        if dies {
            // Recorded, and dead before anything began.
            self.kill();
            let down = self.random.below(200);
            self.pass(down);
            self.start();
        } else {
            self.begin(due);
        }
    }

    fn change(&mut self) {
        let id = self.random.below(self.names.len() as i64) as usize;
        let (what, value) = (self.random.below(3), self.random.below(6) as usize);
        let job = &mut self.reference.jobs[id];
        match what {
            0 if job.kind != value => (job.kind, job.cursor) = (value, None),
            1 => job.catch_up = [CatchUp::Last, CatchUp::All, CatchUp::None][value % 3],
            _ => job.enabled = !job.enabled,
        }
        let (app, planner) = self.app.clone().unwrap();
        app.replace_config(self.config());
        let step = self.reference.look(self.wall(), self.clock.boot.load(Ordering::Relaxed));
        self.reference.plan(self.wall(), step);
        let due = planner.plan_blocking(false).unwrap();
        drop((app, planner));
        self.begin(due);
    }

    fn act(&mut self) {
        let what = self.random.below(12);
        let amount = self.random.below(4 * HOUR);
        self.log.push(format!("{} {what} {amount}", self.clock.now()));
        match what {
            0..=3 => {
                // Time passes with the daemon awake: it wakes for every slot.
                for _ in 0..self.random.below(40) {
                    self.pass(60);
                    self.tick(false);
                }
            }
            4 => self.pass(amount / 100),
            5 => self.pass(amount),
            6 => drop(self.clock.wall.fetch_add(amount, Ordering::Relaxed)),
            7 => drop(self.clock.wall.fetch_sub(amount, Ordering::Relaxed)),
            8 => drop(self.clock.wall.fetch_sub(DAY, Ordering::Relaxed)),
            9 => {
                self.kill();
                let down = if amount % 3 == 0 { 3 * DAY } else { amount };
                self.pass(down);
                self.start();
            }
            10 => self.tick(true),
            _ => self.change(),
        }
        self.tick(false);
    }

    /// What is on record is what the reference has.
    fn compare(&mut self, seed: u64) {
        let (app, _) = self.app.clone().unwrap();
        for (id, name) in self.names.iter().enumerate() {
            let recorded = app.store.slots_of(&name.parse().unwrap()).unwrap().into_iter();
            let got: BTreeMap<(i64, i64), bool> = recorded
                .map(|(slot, outcome)| ((slot.epoch, slot.instant.timestamp()), outcome != Some(Outcome::Missed)))
                .collect();
            let want = &self.reference.jobs[id].slots;
            let show = |slots: &BTreeMap<(i64, i64), bool>| {
                slots
                    .iter()
                    .map(|((e, s), r)| format!("{e} {} {r}", DateTime::from_timestamp(*s, 0).unwrap()))
                    .collect::<Vec<_>>()
            };
            let known = &self.reference.jobs[id];
            assert!(
                got == *want,
                "seed {seed}, {:?} {}: got {:#?}, want {:#?}, after {:#?}",
                KINDS[known.kind].0,
                known.catch_up,
                show(&got),
                show(want),
                self.log
            );
        }
    }
}

#[test]
fn no_slot_is_lost_or_doubled_whatever_happens() {
    let sequences = support::sequences(2000);
    let bed = TestBed::new();
    bed.file("jobs/a.toml", "[command]\nshell = \"true\"\n");
    let base = bed.config();
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let slots: usize = std::thread::scope(|scope| {
        let work = |worker| {
            let base = &base;
            scope.spawn(move || play(base, (worker..sequences).step_by(workers as usize)))
        };
        let playing: Vec<_> = (0..workers).map(work).collect();
        playing.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{sequences} sequences, {slots} slots");
    assert!(slots as u64 > 20 * sequences, "only {slots} slots came");
}

/// Plays the sequences of these seeds; returns how many slots came.
fn play(base: &Config, seeds: impl Iterator<Item = u64>) -> usize {
    let template = Job::clone(base.jobs.values().next().unwrap());
    let (mut store, mut slots) = (Some(Store::open_in_memory().unwrap()), 0);
    for (n, seed) in seeds.enumerate() {
        if n % 200 == 0 {
            // A store of its own now and then, so that none grows too large.
            store = Some(Store::open_in_memory().unwrap());
        }
        let mut world = World::new(base, &template, seed, store.take());
        world.start();
        (0..8).for_each(|_| world.act());
        world.compare(seed);
        slots += world.reference.jobs.iter().map(|job| job.slots.len()).sum::<usize>();
        world.kill();
        // The next sequence finds no open runs.
        store = world.database.take();
        let left = store.as_ref().unwrap();
        for run in left.open_runs().unwrap() {
            left.finish_run(run.id, &Ended::new(Outcome::Cancelled, ""), DateTime::UNIX_EPOCH).unwrap();
        }
    }
    slots
}
