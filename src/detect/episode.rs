//! Events of one subject with no long pause between them: what is found of them, and with which success.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::track::{Limits, Meaning, Measure, Single, Success, Successes};
use super::tries::{Guesses, Tries, Try};
use super::values::Values;
use super::{EVIDENCE_LINES, Kept, KeptLine, Sighting};
use crate::model::{Breach, Finding, Login, Rule, Severity, Subject};

/// How many different values of one episode are told apart.
const MAX_VALUES: usize = 10_000;

/// What is said of failures of which too few are guesses at a password.
const NO_GUESSES: &str = "most of these may be no guesses: refused keys, expired passwords, or requests without a name, as browsers make them first";

/// Events of one subject with no long pause between them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[repr(C)]
pub struct Episode {
    /// When the first one was.
    pub first: i64,
    /// When the last one was.
    pub last: i64,
    /// How many events.
    pub count: u64,
    /// When enough had come together for the first time.
    pub reached: Option<i64>,
    /// From when on no line is kept, because enough earlier ones are.
    #[serde(skip, default = "not_known")]
    pub(super) kept_before: i64,
    /// The different values, where these are counted.
    pub(super) values: Values,
    /// Who failed, as far as that matters.
    #[serde(default)]
    pub(super) tries: Tries,
    /// The first lines.
    pub(super) evidence: Kept,
}

fn not_known() -> i64 {
    i64::MAX
}

impl Episode {
    /// One that begins with these events.
    pub fn beginning_with(Single { told, evidence }: Single, limits: Limits) -> Self {
        let Try { time, times, value, .. } = told;
        let mut values = Values::default();
        if limits.measure == Measure::Values {
            values.insert(value);
        }
        let tries = if limits.success == Meaning::Nothing { Tries::default() } else { Tries::of(told) };
        let (count, evidence) = (u64::from(times), smallvec![(time, evidence)]);
        let (first, last, reached, kept_before) = (time, time, None, not_known());
        Self { first, last, count, reached, kept_before, values, tries, evidence }
    }

    /// Takes in what one more line tells.
    pub fn add(&mut self, told: Try, limits: Limits, sighting: &Sighting<'_>) {
        let Try { time, times, value, .. } = told;
        if limits.measure == Measure::Values && self.values.len() < MAX_VALUES {
            self.values.insert(value);
        }
        if limits.success != Meaning::Nothing {
            self.tries.add(told.by(sighting));
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.count += u64::from(times);
        if time < self.kept_before {
            sighting.keep_among_first(&mut self.evidence);
            let last = self.evidence.last().filter(|_| self.evidence.len() >= EVIDENCE_LINES);
            self.kept_before = last.map_or_else(not_known, |(last, _)| *last);
        }
    }

    /// How much it matters: how many events, how near to this time.
    pub fn size(&self, time: i64) -> (u64, Reverse<u64>) {
        (self.count, Reverse(self.last.abs_diff(time)))
    }

    /// Whether enough events had come together at this time: then one of it doesn't make it so any earlier, nor does it together with
    /// another one; and a window doesn't reach into another episode, because pauses within one are at least as long.
    pub fn is_reached_by(&self, time: i64) -> bool {
        self.reached.is_some_and(|reached| reached <= time)
    }

    /// Takes in the next one, once a line lies between that leaves no long pause.
    pub fn join(&mut self, later: Self) {
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.count += later.count;
        for value in Vec::from(later.values) {
            if self.values.len() < MAX_VALUES {
                self.values.insert(value);
            }
        }
        self.tries.join(later.tries);
        self.reached = [self.reached, later.reached].into_iter().flatten().min();
        self.evidence.extend(later.evidence);
        self.evidence.sort_by_key(|(time, _)| *time);
        self.evidence.truncate(EVIDENCE_LINES);
        self.kept_before = not_known();
    }

    /// When enough events had come together, and the first success that followed soon, if all happened that the rule looks for.
    pub fn is_found<'s>(&self, known: Successes<'s>, limits: Limits) -> Option<(i64, Option<&'s Success>)> {
        let reached = self.reached?;
        let guesses = self.guesses(known, limits);
        let since = match guesses {
            Guesses::All => Some(reached),
            Guesses::Few(_) => None,
            Guesses::Since(time) => Some(time),
            Guesses::OfAll(since) => since,
        };
        let span = |since| since..=self.last.saturating_add(limits.window);
        let follows =
            |time| since.is_some_and(|since| span(since).contains(&time)) && self.tries.any_before(time, limits.window);
        // Others may log in behind the same address: an account that failed before is more likely the one that was guessed.
        let followed = self.near(known, limits).filter(|success| follows(success.time));
        let first = followed.min_by_key(|success| (!self.tries.are_of(success.who), success.time, &success.user));
        match (limits.success, limits.measure) {
            (Meaning::Found, _) => first.map(|success| (reached, Some(success))),
            // Whether there were enough different ones is another question than whether there were enough failures.
            (_, Measure::Values) if !matches!(guesses, Guesses::OfAll(_)) => since.map(|since| (since, first)),
            _ => Some((reached, first)),
        }
    }

    /// The successes while it lasted, and as long behind it as they may follow from it.
    fn near<'s>(&self, known: Successes<'s>, limits: Limits) -> impl Iterator<Item = &'s Success> + use<'s> {
        let until = self.last.saturating_add(limits.window);
        let early = known.successes.partition_point(|success| success.time < self.first);
        known.successes[early..].iter().take_while(move |success| success.time <= until)
    }

    /// The successes to tell of: the first one, and that of each further account that had been guessed at as well.
    pub fn told_of<'s>(&self, first: &'s Success, known: Successes<'s>, limits: Limits) -> Vec<&'s Success> {
        let guessed_at = |success: &&Success| self.tries.guessed_at(success.who, success.time, limits.window);
        let mut others: Vec<&Success> =
            self.near(known, limits).filter(|success| success.time >= first.time).filter(guessed_at).collect();
        // Whatever order lines of the same second came in.
        others.sort_by_key(|success| (success.time, &success.user));
        let mut told = vec![first];
        for success in others {
            if told.len() <= Breach::MOST_OTHERS && told.iter().all(|known| known.user != success.user) {
                told.push(success);
            }
        }
        told
    }

    /// Which of its failures were mistakes.
    pub fn guesses(&self, known: Successes<'_>, limits: Limits) -> Guesses {
        self.tries.guesses(known.logins, limits)
    }

    /// What is found if enough events came together; `open` if further lines may change it.
    pub fn finding(
        &self,
        rule: &Rule,
        subject: impl FnOnce() -> Subject,
        known: Successes<'_>,
        limits: Limits,
        open: bool,
    ) -> Option<Finding> {
        let (reached, success) = self.is_found(known, limits)?;
        let told = success.map_or_else(Vec::new, |first| self.told_of(first, known, limits));
        let shown = told.iter().take(1 + Breach::NAMED).filter_map(|success| success.evidence.as_ref());
        let shown = self.evidence.iter().map(|(_, line)| line).chain(shown);
        let breach = Breach::of(told.iter().map(|one| Login { time: one.time, user: one.user.clone() }));
        let guesses = self.guesses(known, limits);
        let few_are_guesses = limits.measure == Measure::Events
            && guesses == Guesses::OfAll(None)
            && self.tries.guesses_told() < self.count.div_ceil(2);
        let note = match (limits.measure, guesses) {
            (Measure::Values, _) => {
                let capped = self.values.len() >= MAX_VALUES;
                capped.then(|| "there may be more, which are not told apart".to_owned())
            }
            (Measure::Events, Guesses::Few(people)) => {
                Some(format!("{people} accounts got in after a few failures each, as people behind one address do"))
            }
            _ => few_are_guesses.then(|| NO_GUESSES.to_owned()),
        };
        let severity = match success {
            Some(_) => Severity::Critical,
            None if few_are_guesses => rule.severity.min(Severity::Medium),
            None => rule.severity,
        };
        Some(Finding {
            rule: rule.name.clone(),
            severity,
            subject: subject(),
            count: match limits.measure {
                Measure::Events => self.count,
                Measure::Values => self.values.len() as u64,
            },
            counted: rule.counted(),
            first: self.first,
            last: self.last,
            reached,
            breach,
            note,
            can_wait: false,
            evidence: shown.map(KeptLine::evidence).collect(),
            open,
        })
    }
}
