//! What lies in a sliding window: how many events, or how many different values.

use foldhash::{HashMap, HashMapExt};

use super::track::Measure;

/// What a window holds.
pub enum Window {
    /// How many events.
    Events(u64),
    /// How many events of each value.
    Values(HashMap<u64, u64>),
}

impl Window {
    /// An empty one.
    pub fn new(measure: Measure) -> Self {
        match measure {
            Measure::Events => Self::Events(0),
            Measure::Values => Self::Values(HashMap::new()),
        }
    }

    /// Takes so many events of a value in.
    pub fn take_in(&mut self, times: u32, value: u64) {
        match self {
            Self::Events(events) => *events += u64::from(times),
            Self::Values(values) => *values.entry(value).or_default() += u64::from(times),
        }
    }

    /// Lets so many events of a value go that it took in.
    pub fn let_go(&mut self, times: u32, value: u64) {
        match self {
            Self::Events(events) => *events -= u64::from(times),
            Self::Values(values) => {
                let left = values.get(&value).map_or(0, |events| events.saturating_sub(u64::from(times)));
                if left == 0 {
                    values.remove(&value);
                } else {
                    values.insert(value, left);
                }
            }
        }
    }

    /// How many events, or different values, it holds.
    pub fn size(&self) -> u64 {
        match self {
            Self::Events(events) => *events,
            Self::Values(values) => values.len() as u64,
        }
    }
}
