//! Who failed how often. People behind one address, as those of an office, mistype once or twice and then get in; who guesses
//! fails for many accounts, or often.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// From how many on nothing is told of who failed: so many are no office.
const MANY: usize = 64;

/// How many failures for each success are mistakes, and how many in all.
const MISTAKES: usize = 2;
const ALL_MISTAKES: usize = 4;

/// How many have to get in after mistakes: one alone may have guessed right.
const PEOPLE: u64 = 2;

/// How often each of them failed, told apart by digests of their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Option<Vec<(u64, u32)>>", into = "Option<Vec<(u64, u32)>>")]
pub enum Tries {
    /// These, in no order.
    Few(SmallVec<[(u64, u32); 1]>),
    /// Of so many that it doesn't matter, or not known, as in what an older version stored.
    Many,
}

impl Tries {
    /// One that failed so often.
    pub fn of(who: u64, times: u32) -> Self {
        Self::Few([(who, times)].into_iter().collect())
    }

    /// Takes in that one failed so often.
    pub fn add(&mut self, who: u64, times: u32) {
        let Self::Few(tries) = self else { return };
        if let Some((_, count)) = tries.iter_mut().find(|(known, _)| *known == who) {
            *count = count.saturating_add(times);
        } else if tries.len() < MANY {
            tries.push((who, times));
        } else {
            *self = Self::Many;
        }
    }

    /// Takes in those of a later time.
    pub fn join(&mut self, later: Self) {
        match later {
            Self::Few(tries) => tries.into_iter().for_each(|(who, times)| self.add(who, times)),
            Self::Many => *self = Self::Many,
        }
    }

    /// The only one.
    pub fn only(&self) -> Option<u64> {
        match self {
            Self::Few(tries) if tries.len() == 1 => Some(tries[0].0),
            _ => None,
        }
    }

    /// How many mistyped and got in, and of the others how many there are and how often they failed; nothing where those are too few to
    /// be told from one who guessed right. Each success tells who it was.
    pub fn mistaken(&self, successes: &(impl Iterator<Item = u64> + Clone)) -> Option<Mistaken> {
        let Self::Few(tries) = self else { return None };
        let mut told = Mistaken { people: 0, others: 0, failures: 0 };
        for (who, times) in tries {
            let got_in = successes.clone().filter(|success| success == who).count();
            if *times as usize <= (MISTAKES * got_in).min(ALL_MISTAKES) {
                told.people += 1;
            } else {
                told.others += 1;
                told.failures += u64::from(*times);
            }
        }
        (told.people >= PEOPLE).then_some(told)
    }
}

/// Who of those that failed got in as if they had mistyped.
pub struct Mistaken {
    /// How many did.
    pub people: u64,
    /// How many others failed.
    pub others: u64,
    /// How often those did.
    pub failures: u64,
}

impl Default for Tries {
    /// Not known.
    fn default() -> Self {
        Self::Many
    }
}

impl From<Tries> for Option<Vec<(u64, u32)>> {
    fn from(tries: Tries) -> Self {
        let Tries::Few(tries) = tries else { return None };
        let mut tries = tries.into_vec();
        tries.sort_unstable();
        Some(tries)
    }
}

impl From<Option<Vec<(u64, u32)>>> for Tries {
    fn from(stored: Option<Vec<(u64, u32)>>) -> Self {
        stored.map_or(Self::Many, |tries| Self::Few(tries.into()))
    }
}
