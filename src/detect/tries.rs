//! Which failures were mistakes. People behind one address, as those of an office, mistype a few times and are then in; who guesses
//! fails for many accounts, or often.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Sighting;
use super::track::Limits;
use super::window::Window;

/// From how many failures on nothing is told of which were mistakes: so many are no office, also if it is one episode all week.
const MANY: usize = 256;

/// How many of those who failed are remembered of more.
const MOST_WHOS: usize = 256;

/// How many failures before a login are mistakes: as many as sshd lets people try.
const MISTAKES: u32 = 3;

/// As many failures are no mistakes.
const FEWEST: usize = MISTAKES as usize + 1;

/// How long before the login the last of them is, in seconds.
pub const SOON: i64 = 10 * 60;

/// How many have to get in after mistakes: one alone may have guessed right.
const PEOPLE: usize = 2;

/// Failures of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub enum Tries {
    /// These, in no order.
    Few(SmallVec<[Try; 1]>),
    /// So many that it doesn't matter, of these, in order: of very many those with the smallest digests, whatever came first.
    Many(Guessers),
}

/// Who failed among very many.
#[derive(Debug, Clone, Default)]
pub struct Guessers {
    /// As [`Try::who`], in order; apart from the times, because somebody is looked for at every failure.
    whos: Vec<u64>,
    /// When each of them did.
    times: Vec<Times>,
}

/// When somebody failed, in order: the first times and the last ones.
type Times = SmallVec<[i64; 2 * FEWEST]>;

/// As stored.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    Few(Vec<Try>),
    Many {
        many: Vec<u64>,
        #[serde(default)]
        times: Vec<Vec<i64>>,
    },
    Unknown(()),
}

/// What one line adds to a subject: so many events, mostly failures, or a login where they are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, i64, u32, u64)", into = "(u64, i64, u32, u64)")]
pub struct Try {
    /// A digest of the account, the address and the host; 0 where no account is told.
    pub who: u64,
    /// When they were.
    pub time: i64,
    /// How many.
    pub times: u32,
    /// The value that is counted; 0 where events are.
    pub value: u64,
    /// Whether it was a guess ([`crate::model::event::Shape::is_guess`]). Others are stored as of no times.
    pub is_guess: bool,
}

impl Try {
    /// The same, told who it was, where that is asked for.
    pub fn by(self, sighting: &Sighting<'_>) -> Self {
        Self { who: sighting.who().unwrap_or_default(), ..self }
    }
}

/// What a subject's failures are beside its logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guesses {
    /// Nothing speaks for mistakes.
    All,
    /// So many people mistyped, and what else failed isn't enough for a finding.
    Few(usize),
    /// Enough had come together at this time, without the mistakes.
    Since(i64),
    /// Some were no guesses; without them enough had come together at this time, or never.
    OfAll(Option<i64>),
}

impl Guessers {
    /// Remembers who guessed, and when.
    fn take_in(&mut self, who: u64, times: impl Iterator<Item = i64>) {
        let at = match self.whos.binary_search(&who) {
            Ok(at) => at,
            Err(at) if at < MOST_WHOS => {
                self.whos.truncate(MOST_WHOS - 1);
                self.times.truncate(MOST_WHOS - 1);
                self.whos.insert(at, who);
                self.times.insert(at, Times::new());
                at
            }
            Err(_) => return,
        };
        times.for_each(|time| add(&mut self.times[at], time));
    }

    fn note(&mut self, one: &Try) {
        if one.is_guess && one.who != 0 {
            self.take_in(one.who, std::iter::repeat_n(one.time, (one.times as usize).min(FEWEST)));
        }
    }

    fn times_of(&self, who: u64) -> Option<&Times> {
        self.whos.binary_search(&who).ok().map(|at| &self.times[at])
    }
}

fn add(times: &mut Times, time: i64) {
    let at = match times.last() {
        Some(last) if *last > time => times.partition_point(|known| *known <= time),
        _ => times.len(),
    };
    times.insert(at, time);
    if times.len() > 2 * FEWEST {
        times.remove(FEWEST);
    }
}

impl Tries {
    /// These.
    pub fn of(one: Try) -> Self {
        Self::Few([one].into_iter().collect())
    }

    /// Takes a further one in. That there were such that were no guesses is all that has to be known of these.
    pub fn add(&mut self, one: Try) {
        match self {
            Self::Few(tries) if !one.is_guess && tries.iter().any(|known| !known.is_guess) => {}
            Self::Few(tries) if tries.len() < MANY => tries.push(one),
            Self::Few(tries) => *self = Self::many(tries.iter().chain([&one])),
            Self::Many(guessers) => guessers.note(&one),
        }
    }

    fn many<'t>(tries: impl Iterator<Item = &'t Try>) -> Self {
        let mut guessers = Guessers::default();
        tries.for_each(|one| guessers.note(one));
        Self::Many(guessers)
    }

    /// Takes those of a later time in.
    pub fn join(&mut self, later: Self) {
        if let (Self::Few(tries), Self::Many(_)) = (&*self, &later) {
            *self = Self::many(tries.iter());
        }
        match later {
            Self::Few(tries) => tries.into_iter().for_each(|one| self.add(one)),
            Self::Many(later) => {
                let Self::Many(known) = self else { return };
                for (who, times) in later.whos.into_iter().zip(later.times) {
                    known.take_in(who, times.into_iter());
                }
            }
        }
    }

    /// The only one.
    pub fn only(&self) -> Option<Try> {
        match self {
            Self::Few(tries) if tries.len() == 1 => Some(tries[0]),
            _ => None,
        }
    }

    /// What they are beside these logins, in the order of time, each with who it was. A login tells that the failures before it, since the login
    /// before, were mistakes if they were few; nothing that comes behind a login makes up for them.
    pub fn guesses(&self, logins: &[(i64, u64)], limits: Limits) -> Guesses {
        let Self::Few(known) = self else { return Guesses::All };
        let mut tries: Vec<Try> = known.iter().copied().filter(|one| one.is_guess).collect();
        tries.sort_unstable();
        let all = || {
            let mut tries = tries.clone();
            tries.sort_unstable_by_key(|one| one.time);
            if tries.len() == known.len() { Guesses::All } else { Guesses::OfAll(enough(&tries, limits)) }
        };
        let (mut guesses, mut people, mut others) = (Vec::new(), 0, 0);
        for same in tries.chunk_by(|a, b| a.who == b.who) {
            let known = guesses.len();
            guess(same, logins, &mut guesses);
            let mistyped = guesses.len() - known < same.len();
            people += usize::from(mistyped);
            others += usize::from(!mistyped);
        }
        if people < PEOPLE {
            return all();
        }
        guesses.sort_unstable_by_key(|guess: &Try| guess.time);
        match enough(&guesses, limits) {
            None => Guesses::Few(people),
            // Who guesses at many accounts may have one of his own, or have guessed one right soon.
            Some(_) if others > people => all(),
            Some(time) => Guesses::Since(time),
        }
    }

    /// Whether some of them happened at most so many seconds before this time; of many that isn't known, and taken for so.
    pub fn any_before(&self, time: i64, seconds: i64) -> bool {
        let Self::Few(tries) = self else { return true };
        tries.iter().any(|one| one.is_guess && (0..=seconds).contains(&time.saturating_sub(one.time)))
    }

    /// How many guesses these are; of many that isn't known, and told to be more than there can be.
    pub fn guesses_told(&self) -> u64 {
        let Self::Few(tries) = self else { return u64::MAX };
        tries.iter().filter(|one| one.is_guess).map(|one| u64::from(one.times)).sum()
    }

    /// Whether somebody is known to have failed more often than by mistake within so many seconds before this time.
    pub fn guessed_at(&self, who: u64, time: i64, seconds: i64) -> bool {
        let is_soon = |before: i64| (0..=seconds).contains(&time.saturating_sub(before));
        let failures = match self {
            Self::Few(tries) => {
                let its = tries.iter().filter(|one| one.is_guess && one.who == who && is_soon(one.time));
                its.map(|one| one.times).fold(0, u32::saturating_add)
            }
            Self::Many(guessers) => {
                let times = guessers.times_of(who).into_iter().flatten();
                times.filter(|before| is_soon(**before)).count() as u32
            }
        };
        who != 0 && failures > MISTAKES
    }

    /// Whether somebody is known to have failed.
    pub fn are_of(&self, who: u64) -> bool {
        match self {
            Self::Few(tries) => who != 0 && tries.iter().any(|one| one.is_guess && one.who == who),
            Self::Many(guessers) => guessers.times_of(who).is_some(),
        }
    }
}

/// Those failures of one account, in the order of time, that were no mistakes.
fn guess(tries: &[Try], logins: &[(i64, u64)], guesses: &mut Vec<Try>) {
    let (Some(first), Some(last)) = (tries.first(), tries.last()) else { return };
    let who = first.who;
    // Others come too early, or too late.
    let logins = &logins[logins.partition_point(|(time, _)| *time < first.time)..];
    let logins = &logins[..logins.partition_point(|(time, _)| *time <= last.time.saturating_add(SOON))];
    let mut rest = tries;
    for (login, _) in logins.iter().copied().filter(|(_, name)| *name == who && who != 0) {
        let (before, behind) = rest.split_at(rest.partition_point(|one| one.time <= login));
        let count: u32 = before.iter().map(|one| one.times).fold(0, u32::saturating_add);
        let soon = before.last().is_some_and(|last| login.saturating_sub(last.time) <= SOON);
        if count > MISTAKES || !soon {
            guesses.extend(before);
        }
        rest = behind;
    }
    guesses.extend(rest);
}

/// When enough of these, in the order of time, had come together for the first time.
fn enough(guesses: &[Try], limits: Limits) -> Option<i64> {
    let mut held = Window::new(limits.measure);
    let mut start = 0;
    for guess in guesses {
        held.take_in(guess.times, guess.value);
        while guesses[start].time < guess.time.saturating_sub(limits.window) {
            held.let_go(guesses[start].times, guesses[start].value);
            start += 1;
        }
        if held.size() >= u64::from(limits.threshold) {
            return Some(guess.time);
        }
    }
    None
}

impl Default for Tries {
    /// Not known.
    fn default() -> Self {
        Self::Many(Guessers::default())
    }
}

impl From<Tries> for Saved {
    fn from(tries: Tries) -> Self {
        match tries {
            Tries::Few(tries) => {
                let mut tries = tries.into_vec();
                tries.sort_unstable();
                Self::Few(tries)
            }
            Tries::Many(Guessers { whos, .. }) if whos.is_empty() => Self::Unknown(()),
            Tries::Many(Guessers { whos, times }) => {
                Self::Many { many: whos, times: times.into_iter().map(Times::into_vec).collect() }
            }
        }
    }
}

impl From<Saved> for Tries {
    fn from(stored: Saved) -> Self {
        match stored {
            Saved::Few(tries) => Self::Few(tries.into()),
            Saved::Many { many, times } => {
                let mut times: Vec<Times> = times.into_iter().map(SmallVec::from_vec).collect();
                times.resize(many.len(), Times::new());
                Self::Many(Guessers { whos: many, times })
            }
            Saved::Unknown(()) => Self::default(),
        }
    }
}

impl From<(u64, i64, u32, u64)> for Try {
    fn from((who, time, times, value): (u64, i64, u32, u64)) -> Self {
        Self { who, time, times, value, is_guess: times > 0 }
    }
}

impl From<Try> for (u64, i64, u32, u64) {
    fn from(Try { who, time, times, value, is_guess }: Try) -> Self {
        (who, time, if is_guess { times } else { 0 }, value)
    }
}
