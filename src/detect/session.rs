//! One failed login tells of itself in up to three shapes: "Failed …", PAM's "authentication failure" and
//! "Invalid user". Within one session (host and process) the strongest shape counts, the others repeat it.
//!
//! An explicit failure counts at once. The other shapes wait until their session is surely over.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::event::Shape;

/// How long after its first waiting line a session may still log an explicit failure, in seconds.
/// (sshd ends an unfinished login after LoginGraceTime, 120 s by default.)
const SESSION: i64 = 600;

/// How many sessions are open at most, and how many lines each holds; further lines count at once.
const MAX_SESSIONS: usize = 20_000;
const MAX_HELD: usize = 32;

/// The longest line that is held back, in bytes; a longer one counts at once.
const MAX_HELD_LINE: usize = 4096;

/// The sessions of one stream.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Sessions {
    open: HashMap<String, Session>,
    /// Lines of sessions that were over before they were asked about.
    over: Vec<Held>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Session {
    first: i64,
    last: i64,
    explicit: bool,
    held: Vec<Held>,
}

/// A line whose failures are not settled yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// When it was logged.
    pub time: i64,
    /// Its shape.
    pub shape: Shape,
    /// How many failures it tells of.
    pub times: u32,
    /// The line.
    pub line: Vec<u8>,
    /// The file it stands in.
    pub file: String,
    /// Its number in the file.
    pub number: u64,
}

impl Sessions {
    /// Takes a failed login's line in; returns how many failures count at once.
    /// `key` names the session: host and process, or the address where the log tells no process.
    pub fn observe(&mut self, key: String, shape: Shape, times: u32, time: i64, held: impl FnOnce() -> Held) -> u32 {
        if self.open.len() >= MAX_SESSIONS && !self.open.contains_key(&key) {
            return times;
        }
        let session = self.open.entry(key).or_insert_with(|| Session { first: time, last: time, ..Session::default() });
        if time - session.since() > SESSION {
            // The process number came round again.
            let ended = std::mem::replace(session, Session { first: time, last: time, ..Session::default() });
            self.over.extend(ended.strongest());
        }
        session.last = session.last.max(time);
        if shape == Shape::Explicit {
            session.explicit = true;
            session.held.clear();
            return times;
        }
        if session.explicit {
            return 0;
        }
        let held = held();
        if session.held.len() >= MAX_HELD || held.line.len() > MAX_HELD_LINE {
            return times;
        }
        session.held.push(held);
        0
    }

    /// The lines that count because their session is over, given that the stream has reached `now`.
    pub fn settle(&mut self, now: i64) -> Vec<Held> {
        let mut settled = std::mem::take(&mut self.over);
        self.open.retain(|_, session| {
            let open = session.since().saturating_add(SESSION) >= now;
            if !open {
                settled.extend(std::mem::take(session).strongest());
            }
            open
        });
        settled.sort_by_key(|held| (held.time, held.number));
        settled
    }
}

impl Session {
    /// The instant from which its end is reckoned.
    fn since(&self) -> i64 {
        if self.explicit { self.last } else { self.first }
    }

    /// The lines of the strongest shape it held; none where an explicit failure was counted already.
    fn strongest(self) -> Vec<Held> {
        let strongest = self.held.iter().map(|held| held.shape).min();
        self.held.into_iter().filter(|held| Some(held.shape) == strongest).collect()
    }
}
