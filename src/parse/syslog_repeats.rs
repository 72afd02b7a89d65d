//! Lines of syslog that say that the line before came again: what is remembered of one that told of failed logins.

use memchr::memmem;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::escapes::plain;
use super::syslog::number;
use super::syslog_head::{Said, word};
use crate::model::event::Shape;
use crate::model::repeated::MAX_REPEATED;
use crate::model::short::ShortBytes;
use crate::model::{Action, Address, Category, Event, Peer};

/// Failed logins that a line may say came again, with all that is known of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failed {
    times: u32,
    shape: Shape,
    category: Category,
    #[serde(default)]
    peer: Option<Address>,
    #[serde(default)]
    user: Option<ShortBytes>,
    pid: u32,
    /// The host that wrote it, and its program: of each line one is made, so most lie in place.
    host: SmallVec<[u8; 40]>,
    program: SmallVec<[u8; 24]>,
    /// How its message began, as far as syslog-ng tells that.
    #[serde(default)]
    start: SmallVec<[u8; TOLD_START]>,
}

/// How much of a message syslog-ng tells where it was repeated, in bytes.
const TOLD_START: usize = 20;

/// Hosts have no longer names.
const LONGEST_NAME: usize = 255;

impl Failed {
    /// Those of an event, if it tells of such.
    pub fn new(event: &Event<'_>, said: &Said<'_>) -> Option<Self> {
        let Action::LoginFailed { times, shape } = event.action else { return None };
        if event.host.len() > LONGEST_NAME || said.program.len() > LONGEST_NAME {
            return None;
        }
        let (category, pid) = (event.category, event.pid);
        let peer = event.peer.map(Address::from);
        let user = event
            .user
            .filter(|user| user.len() <= LONGEST_NAME)
            .map(|user| ShortBytes::from(&*plain(user, event.user_escapes)));
        let (host, program) = (SmallVec::from_slice(event.host), SmallVec::from_slice(said.program));
        let start = SmallVec::from_slice(&said.message[..said.message.len().min(TOLD_START)]);
        Some(Self { times, shape, category, peer, user, pid, host, program, start })
    }

    /// The same once more, if a line says so that the syslogd wrote, or the program itself for it.
    pub fn again<'a>(&self, event: &Event<'a>, said: &Said<'a>) -> Option<Event<'a>> {
        if let Some((start, times)) = suppressed(said.message) {
            // It keeps the program's name, but not the process.
            let is_it = *event.host == *self.host && said.program == &*self.program && start == &*self.start;
            return is_it.then(|| self.times_more(times, *event));
        }
        let times = repeats(said.message)?;
        // macOS names no host there.
        let host = if event.host == b"---" { b"" } else { event.host };
        let is_syslogd = said.program.is_empty() || said.program == b"syslogd";
        let is_same = || (said.program, event.pid) == (&*self.program, self.pid);
        if !host.is_empty() && *host != *self.host || !(is_syslogd || is_same()) {
            return None;
        }
        Some(self.times_more(times, Event { host, ..*event }))
    }

    /// The account, and what stood in the client's place but an address, which are texts of the line before.
    pub fn texts(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let name = match &self.peer {
            Some(Address::Name(name)) => Some(&**name),
            _ => None,
        };
        (self.user.as_ref().map(ShortBytes::as_slice), name)
    }

    /// So many more of the same, at the time and on the host of this event.
    pub fn times_more<'a>(&self, times: u32, event: Event<'a>) -> Event<'a> {
        let times = times.min(MAX_REPEATED).saturating_mul(self.times);
        let action = Action::LoginFailed { times, shape: self.shape };
        let peer = self.peer.as_ref().and_then(|peer| peer.peer().ip()).map(Peer::Ip);
        Event { action, peer, pid: self.pid, category: self.category, ..event }
    }
}

/// How often the line before came again: `last message repeated N time[s]` (sysklogd, FreeBSD's syslogd); macOS puts `---` around it.
pub fn repeats(message: &[u8]) -> Option<u32> {
    let rest = message.strip_prefix(b"--- ").unwrap_or(message).strip_prefix(b"last message repeated ")?;
    let (times, rest) = word(rest.trim_ascii_end())?;
    matches!(rest, b"times" | b"time" | b"times ---" | b"time ---").then(|| number(times))?
}

/// How a message began that came so many more times, where syslog-ng suppresses it (logwriter.c): `Last message 'START' repeated N times,
/// suppressed by syslog-ng on HOST`.
fn suppressed(message: &[u8]) -> Option<(&[u8], u32)> {
    let rest = message.strip_prefix(b"Last message '")?;
    let end = memmem::rfind(rest, b"' repeated ")?;
    let (times, by) = word(&rest[end + b"' repeated ".len()..])?;
    by.starts_with(b"times, suppressed by syslog-ng").then_some((&rest[..end], number(times)?))
}

/// How often the line before came again, as metalog says in a line of its own: `- Last output repeated N times -`.
pub fn repeats_of_metalog(line: &[u8]) -> Option<u32> {
    let told = line.strip_prefix(b"  ")?.trim_ascii().strip_prefix(b"- Last output repeated ")?.strip_suffix(b" -")?;
    if told == b"twice" { Some(2) } else { number(told.strip_suffix(b" times")?) }
}
