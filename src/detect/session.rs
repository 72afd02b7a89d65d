//! One failed login tells of itself in several shapes: sshd's "Failed …", PAM's "authentication failure", "Invalid user" and others ([`Shape`]).
//! Of one address within one session (a process of a host) the strongest shape counts, the others repeat it.
//! A line without an address belongs to whatever session its process has.
//! sshd may ask PAM in another process: what that said of the same account lately belongs to sshd's own word of it.
//!
//! An explicit failure counts at once. The other shapes wait until their session is surely over; a refused key counts
//! then unless the same client was let in, and an error log's line unless the request behind it stands in the same log.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use foldhash::{HashMap, HashMapExt};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Sighting;
use super::held::{Held, LOGIN_ASKS, SU_ASKS, is_key, strength};
use crate::model::event::Shape;
use crate::model::short::ShortBytes;
use crate::model::{Address, Event, Peer};

/// How long after its first waiting line a session may still log an explicit failure, in seconds.
/// (sshd ends an unfinished login after LoginGraceTime, 120 s by default.)
pub const SESSION: i64 = 600;

/// How long a login lasts at most where many are open, in seconds.
const LOGIN: i64 = 120;

/// How many sessions are open at most, and how many lines each holds; further lines count at once.
const MAX_SESSIONS: usize = 20_000;
const MAX_HELD: usize = 32;

/// sshd asks PAM in a process that it begins for that, and says itself what came of it: how much higher the number of that process may
/// be, how much where it said anything else besides, and how long before it may have spoken, in seconds.
const CHILDREN: u32 = 4096;
const CHILDREN_OF_QUIET_MACHINES: u32 = 32;
const CHILD: i64 = 60;

/// How many processes are looked at for one of these.
const MAX_CHILDREN: usize = 64;

/// Within how many seconds two modules that say the same of an account say it of one attempt: the next one may have to ask another machine.
/// Less where the first one doesn't tell the account, which may be another.
const ONE_ATTEMPT: i64 = 60;
const ONE_NAMELESS_ATTEMPT: i64 = 10;

/// How long PAM may take to ask its next module, in seconds, where that tells the next attempt from the same: who mistypes waits
/// longer (pam_unix's delay is 2 s, give or take 1).
const NEXT_MODULE: i64 = 1;

/// The longest line that is held back, in bytes; a longer one counts at once.
const MAX_HELD_LINE: usize = 4096;

/// Of how many hosts it is remembered that their lines come late.
const MAX_LATE_HOSTS: usize = 1000;

/// How su's own word of a failure begins (shadow, util-linux).
const SU_FAILED: [&[u8]; 2] = [b" FAILED SU (to ", b" FAILED su for "];

/// How PAM tells the sum of what it didn't tell one by one.
const MORE: &[u8] = b" more authentication failure";

/// The sessions of one stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Sessions {
    /// By how many seconds the lines of hosts come late, of those whose lines do.
    late: BTreeMap<u64, i64>,
    open: HashMap<Key, Session>,
    /// In which of a host's processes, in ascending order, sshd's PAM refused a client; some may hold nothing of that any more.
    refused: Refused,
    /// Lines of sessions that were over before they were asked about.
    over: Vec<Held>,
    /// How many lines are turned away before room is made again: that looks at every session.
    patience: usize,
}

/// By host and client.
type Refused = HashMap<(u64, Client), SmallVec<[u32; 4]>>;

/// Who was refused: from where, or the account where that is a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Client {
    From(Address),
    Account(ShortBytes),
}

/// What tells one session from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// A digest of the host's name: no list of hosts has to be kept.
    host: u64,
    /// 0 where the log tells no process.
    pid: u32,
    /// Where the log tells no process: the address, or else the account.
    peer: Option<Address>,
}

impl Hash for Key {
    // In as few pieces as can be: see that of an address.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.host ^ u64::from(self.pid));
        if let Some(peer) = &self.peer {
            peer.hash(state);
        }
    }
}

/// What one process of a host told of lately. A process may serve several addresses, and some processes' numbers are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Session {
    /// Addresses with an explicit failure, and when it last was.
    explicit: SmallVec<[(Option<IpAddr>, i64); 1]>,
    /// Lines that wait, in the order in which they came; most have one only.
    held: SmallVec<[Held; 1]>,
    /// When its client didn't greet as it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_greeted: Option<i64>,
    /// Of how many failures PAM's sum may still come that an account's program told of, and when it did, where no process is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untold: Option<(i64, u32)>,
    /// No time of all these is earlier; nothing is over before [`SESSION`] seconds after it.
    #[serde(skip)]
    earliest: i64,
}

impl Sessions {
    /// Takes a line in that tells of `times` failed logins in this shape; returns how many failures count at once.
    pub fn observe(&mut self, sighting: &Sighting<'_>, event: &Event<'_>, shape: Shape, times: u32) -> u32 {
        let time = sighting.time;
        let shape = if shape == Shape::Barred { Shape::Explicit } else { shape };
        if shape == Shape::Refused && event.peer.is_none() && event.pid == 0 {
            // Without address and process nobody knows which other line tells of it.
            return 0;
        }
        let key = Self::key(event);
        let (host, pid) = (key.host, key.pid);
        if !self.has_room_for(&key, time) {
            return times;
        }
        if shape == Shape::PamTold {
            // sshd says so of each, however many processes were begun in between.
            self.forget_attempt_of_child(&key, event, time, u32::MAX);
        }
        if shape == Shape::Explicit && pid != 0 && event.peer.is_none() && is_of_su(sighting.line) {
            self.take_over_what_su_asked(host, event, times, time);
        }
        let is_of_account = pid == 0 && event.peer.is_none();
        let session = self.open.entry(key).or_default();
        session.expire(time, &mut self.over);
        session.earliest = session.earliest.min(time);
        let ip = event.peer.and_then(|peer| peer.ip());
        if shape == Shape::Explicit && is_of_account {
            let left = session.take_over(times, time, |_| true);
            session.untold = (left > 0).then_some((time, left));
            return times;
        }
        let times = if is_of_account { session.without_told(sighting.line, times, time) } else { times };
        if times == 0 {
            return 0;
        }
        if matches!(shape, Shape::Explicit | Shape::Questioned) {
            session.held.retain(|held| is_of_its_own(held.shape) || !is_same(held.ip(), ip));
            if shape == Shape::Questioned {
                session.forget_told(ip, times, time);
            }
            session.note_explicit(ip, time);
            return times;
        }
        if !is_of_its_own(shape) && session.explicit.iter().any(|(known, _)| is_same(*known, ip)) {
            return 0;
        }
        session.tell_address(event, time);
        if session.repeats_another(event, shape, times, time)
            || pid != 0 && shape == Shape::TooMany && session.sends_away(event, time)
        {
            return 0;
        }
        let sent_away = if pid != 0 && is_refusal(shape) { session.take_sent_away(event, time) } else { None };
        if times > 1 && shape == Shape::Pam {
            session.forget_repeated_by_sum(event, times, time);
        }
        if session.held.len() >= MAX_HELD && strength(shape) == Shape::Pam {
            // The oldest counts, so that the next module's line still finds the one that it repeats.
            let oldest = session.held.iter().position(|held| strength(held.shape) == Shape::Pam);
            self.over.extend(oldest.map(|oldest| session.held.remove(oldest)));
        }
        if session.held.len() >= MAX_HELD || sighting.line.len() > MAX_HELD_LINE {
            return times;
        }
        let mut held = Held::new(sighting, event, shape, times);
        if held.lacks_address() {
            let known = session
                .held
                .iter()
                .rfind(|other| other.ip().is_some() && other.is_attempt_of(event, time, ONE_ATTEMPT));
            let away = sent_away.and_then(|away| away.peer);
            held.peer = known.and_then(|known| known.peer.clone()).or(away).or(held.peer);
        }
        note_refused(&mut self.refused, (host, pid), &held);
        session.held.push(held);
        0
    }

    /// Whether a session is open or may be opened; where there are very many, those are over early that no login lasts for.
    fn has_room_for(&mut self, key: &Key, time: i64) -> bool {
        if self.open.len() < MAX_SESSIONS || self.open.contains_key(key) {
            return true;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        let over = &mut self.over;
        self.open.retain(|_, session| {
            session.expire(time.saturating_add(SESSION - LOGIN), over);
            !session.is_empty()
        });
        let free = MAX_SESSIONS - self.open.len();
        self.patience = (MAX_SESSIONS / 10).saturating_sub(free);
        free > 0
    }

    /// Takes a good login in: keys that were refused before were only not the right one, or not from here, and what PAM's modules said just
    /// before was only that another one has to be asked.
    pub fn accept(&mut self, event: &Event<'_>, time: i64) {
        let (key, ip) = (Self::key(event), event.peer.and_then(|peer| peer.ip()));
        if let Some(session) = self.open.get_mut(&key) {
            session.expire(time, &mut self.over);
            // Of a line that may hold the client's own words no account is known.
            let is_its = |held: &Held| {
                let user = held.user.as_ref().map(ShortBytes::as_slice).unwrap_or_default();
                let accepted = event.user.unwrap_or_default();
                is_same(held.ip(), ip) && (user.is_empty() || accepted.is_empty() || user == accepted)
            };
            session.held.retain(|held| !(is_key(held.shape) && is_its(held)));
            // login asks for another password in the same process.
            session.forget_attempt(event, time, CHILD, |held| is_same(held.ip(), ip) && !held.is_asked_by(LOGIN_ASKS));
        }
        self.forget_attempt_of_child(&key, event, time, CHILDREN);
    }

    /// Takes in that somebody on the machine was let do something: what PAM said just before was no failure. `by_module`: PAM's next
    /// module says so itself, which may have to ask another machine.
    pub fn grant(&mut self, event: &Event<'_>, time: i64, by_module: bool) {
        let key = Self::key(event);
        if let Some(session) = self.open.get_mut(&key) {
            session.expire(time, &mut self.over);
            let peer = |held: &Held| held.peer.as_ref().map(Address::peer) == event.peer;
            // What two modules have said was refused by both.
            let is_its = |held: &Held| {
                if by_module { !held.repeated && peer(held) } else { held.user.is_some() || held.peer.is_none() }
            };
            session.forget_attempt(event, time, if by_module { CHILD } else { NEXT_MODULE }, is_its);
            if key.pid == 0 && !by_module {
                // With that the call of a program is over, so that the next one's own word isn't about what is left.
                let is_asked = |held: &Held| strength(held.shape) == Shape::Pam;
                self.over.extend(session.held.iter().filter(|held| is_asked(held)).cloned());
                session.held.retain(|held| !is_asked(held));
            }
        }
    }

    /// What PAM said of the same client's last attempt, in a process begun for that, is told by this one, too; by one whose number lies at
    /// most so far above, and behind the highest numbers come the lowest.
    fn forget_attempt_of_child(&mut self, key: &Key, event: &Event<'_>, time: i64, farthest: u32) {
        if key.pid == 0 || event.peer.is_none() {
            return;
        }
        let from = event.peer.map(|peer| Client::From(Address::from(peer)));
        let account = event.user.map(|user| Client::Account(user.into()));
        let distance = |pid: u32| pid.wrapping_sub(key.pid);
        let mut children = SmallVec::<[u32; 8]>::new();
        for client in [from, account].into_iter().flatten() {
            let known = (key.host, client);
            let Some(pids) = self.refused.get(&known) else { continue };
            let (lower, higher) = pids.split_at(pids.partition_point(|pid| *pid <= key.pid));
            let near = higher.iter().chain(lower).copied().take_while(|pid| (1..=farthest).contains(&distance(*pid)));
            children.extend(near.filter(|pid| holds_refused(&self.open, &known, *pid)).take(MAX_CHILDREN));
        }
        children.sort_unstable_by_key(|pid| distance(*pid));
        for pid in children {
            let Some(session) = self.open.get_mut(&Key { host: key.host, pid, peer: None }) else { continue };
            session.expire(time, &mut self.over);
            if distance(pid) > CHILDREN_OF_QUIET_MACHINES && !session.only_asks() {
                continue;
            }
            let is_its = |held: &Held| held.is_of_sshd() && held.is_from_or_names(event);
            if session.forget_attempt(event, time, CHILD, is_its) {
                return;
            }
        }
    }

    /// su's own word of a failure tells of what PAM has just said of the same account, before su had told its process.
    fn take_over_what_su_asked(&mut self, host: u64, event: &Event<'_>, times: u32, time: i64) {
        let peer = event.user.map(|user| Address::Name(user.into()));
        if let Some(session) = self.open.get_mut(&Key { host, pid: 0, peer }) {
            session.expire(time, &mut self.over);
            session.take_over(times, time, |held| held.is_asked_by(SU_ASKS));
        }
    }

    /// The host's requests stand in the same log from this one on: what an error log's lines said just before was said of them.
    pub fn leave_error_logs(&mut self, host: &[u8], time: i64) {
        let host = digest(host);
        for (_, session) in self.open.iter_mut().filter(|(key, _)| key.host == host) {
            session.expire(time, &mut self.over);
            session.held.retain(|held| held.shape != Shape::ErrorLog);
        }
    }

    /// Takes in that a client went; says whether its process told of a failed login of its address before, or of one without an address.
    /// An account that was refused without an address was so from there.
    pub fn went(&mut self, event: &Event<'_>, time: i64) -> bool {
        let (key, ip) = (Self::key(event), event.peer.and_then(|peer| peer.ip()));
        let Some(session) = self.open.get_mut(&key) else { return false };
        session.expire(time, &mut self.over);
        let mut has_tried = session.explicit.iter().any(|(known, _)| is_same(*known, ip));
        for held in session.held.iter_mut().filter(|held| is_same(held.ip(), ip)) {
            has_tried = true;
            if held.lacks_address() {
                held.peer = event.peer.map(Address::from);
            }
        }
        has_tried
    }

    /// Takes in that a client of a process didn't greet as it should.
    pub fn note_not_greeted(&mut self, event: &Event<'_>, time: i64) {
        let key = Self::key(event);
        if key.pid == 0 || !self.has_room_for(&key, time) {
            return;
        }
        let session = self.open.entry(key).or_default();
        session.expire(time, &mut self.over);
        session.earliest = session.earliest.min(time);
        session.not_greeted = Some(time);
    }

    /// Whether the client that goes is one of a process whose client didn't greet just before.
    pub fn had_not_greeted(&mut self, event: &Event<'_>, time: i64) -> bool {
        let key = Self::key(event);
        let since = self.open.get_mut(&key).and_then(|session| session.not_greeted.take());
        since.is_some_and(|since| (0..=ONE_ATTEMPT).contains(&time.saturating_sub(since)))
    }

    /// Takes in that lines of a host come so many seconds late, or don't.
    pub fn note_late(&mut self, host: &[u8], by: Option<i64>) {
        if by.is_none() && self.late.is_empty() {
            return;
        }
        let host = digest(host);
        match by {
            Some(by) if self.late.len() < MAX_LATE_HOSTS || self.late.contains_key(&host) => self.late.insert(host, by),
            _ => self.late.remove(&host),
        };
    }

    /// Whether nothing waits to be settled.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.over.is_empty()
    }

    /// Whether a line waits that is so.
    pub fn any_held(&self, is_so: impl Fn(&Held) -> bool) -> bool {
        self.open.values().any(|session| session.held.iter().any(&is_so))
    }

    fn key(event: &Event<'_>) -> Key {
        let host = digest(event.host);
        let account = || event.user.map(|user| Address::Name(user.into()));
        let peer = if event.pid == 0 { event.peer.map(Address::from).or_else(account) } else { None };
        Key { host, pid: event.pid, peer }
    }

    /// Adds the lines that count because their session is over, given that the stream has reached `now`.
    pub fn settle(&mut self, now: i64, settled: &mut Vec<Held>) {
        settled.append(&mut self.over);
        let late = &self.late;
        self.open.retain(|key, session| {
            session.expire(now.saturating_sub(late.get(&key.host).copied().unwrap_or(0)), settled);
            !session.is_empty()
        });
        self.refused.retain(|known, pids| {
            pids.retain(|pid| holds_refused(&self.open, known, *pid));
            !pids.is_empty()
        });
        settled.sort_unstable_by_key(|held| (held.time, held.number));
    }
}

/// The same in every process, so that it may be stored.
fn digest(host: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(host)
}

/// Remembers in which of a host's processes a client was refused, if it was by sshd's PAM.
fn note_refused(refused: &mut Refused, (host, pid): (u64, u32), held: &Held) {
    if pid == 0 || strength(held.shape) != Shape::Pam || !held.is_of_sshd() {
        return;
    }
    let is_name = matches!(held.peer.as_ref().map(Address::peer), Some(Peer::Name(_)));
    let account = held.user.clone().filter(|_| is_name).map(Client::Account);
    for client in held.peer.clone().map(Client::From).into_iter().chain(account) {
        let pids = refused.entry((host, client)).or_default();
        let at = pids.partition_point(|known| *known < pid);
        if pids.get(at) != Some(&pid) {
            pids.insert(at, pid);
        }
    }
}

/// Whether a process of a host still holds what PAM said of a client.
fn holds_refused(open: &HashMap<Key, Session>, (host, client): &(u64, Client), pid: u32) -> bool {
    let is_its = |held: &Held| match client {
        Client::From(address) => held.peer.as_ref() == Some(address),
        Client::Account(user) => held.user.as_ref() == Some(user),
    };
    let session = open.get(&Key { host: *host, pid, peer: None });
    session.is_some_and(|session| session.held.iter().any(|held| strength(held.shape) == Shape::Pam && is_its(held)))
}

/// Whether it is su's own word of a failure.
fn is_of_su(line: &[u8]) -> bool {
    SU_FAILED.iter().any(|failed| memmem::find(line, failed).is_some())
}

impl Session {
    fn is_empty(&self) -> bool {
        let Self { explicit, held, not_greeted, untold, .. } = self;
        explicit.is_empty() && held.is_empty() && not_greeted.is_none() && untold.is_none()
    }

    /// Whether its process said nothing but what PAM did.
    fn only_asks(&self) -> bool {
        self.explicit.is_empty()
            && self.not_greeted.is_none()
            && self.held.iter().all(|held| strength(held.shape) == Shape::Pam)
    }

    /// Whether somebody is sent away who was told before that he is let in nowhere; that came from where this line tells.
    fn sends_away(&mut self, event: &Event<'_>, time: i64) -> bool {
        let ip = event.peer.and_then(|peer| peer.ip());
        let was_told = |held: &&mut Held| {
            is_refusal(held.shape) && is_same(held.ip(), ip) && held.is_attempt_of(event, time, LOGIN)
        };
        let Some(told) = self.held.iter_mut().find(was_told) else { return false };
        if told.lacks_address() {
            told.peer = event.peer.map(Address::from).or(told.peer.take());
        }
        true
    }

    /// Takes out that somebody was sent away later whose refusal comes late.
    fn take_sent_away(&mut self, event: &Event<'_>, time: i64) -> Option<Held> {
        let ip = event.peer.and_then(|peer| peer.ip());
        let is_later = |held: &Held| (0..=LOGIN).contains(&held.time.saturating_sub(time));
        let at = self.held.iter().position(|held| {
            held.shape == Shape::TooMany && is_same(held.ip(), ip) && held.may_be_of_account(event) && is_later(held)
        });
        at.map(|at| self.held.remove(at))
    }

    /// Whether another of PAM's modules, or the other one of sshd's processes, has just said the same.
    fn repeats_another(&mut self, event: &Event<'_>, shape: Shape, times: u32, time: i64) -> bool {
        let other = match shape {
            Shape::Pam => Shape::PamSecond,
            Shape::PamSecond => Shape::Pam,
            Shape::Refused => Shape::RefusedSecond,
            Shape::RefusedSecond => Shape::Refused,
            _ => return false,
        };
        let seconds = |held: &Held| match (strength(shape), &held.user) {
            (Shape::Refused, _) => NEXT_MODULE,
            (_, Some(_)) => ONE_ATTEMPT,
            (_, None) => ONE_NAMELESS_ATTEMPT,
        };
        let is_from = |held: &Held| match strength(shape) {
            // Another line may have told the address of one of them.
            Shape::Refused => is_same(held.ip(), event.peer.and_then(|peer| peer.ip())),
            _ => held.peer.as_ref().map(Address::peer) == event.peer,
        };
        let same = self.held.iter_mut().find(|held| {
            (held.shape, held.times, held.repeated) == (other, times, false)
                && is_from(held)
                && held.is_attempt_of(event, time, seconds(held))
        });
        same.map(|held| held.repeated = true).is_some()
    }

    /// Who was refused without an address just before came from where this line of the same attempt tells.
    fn tell_address(&mut self, event: &Event<'_>, time: i64) {
        let Some(ip) = event.peer.and_then(|peer| peer.ip()) else { return };
        let is_its = |held: &&mut Held| held.lacks_address() && held.is_attempt_of(event, time, ONE_ATTEMPT);
        self.held.iter_mut().filter(is_its).for_each(|held| held.peer = Some(Address::Ip(ip)));
    }

    /// Takes out what other modules said of attempts that pam_unix tells of in one line.
    fn forget_repeated_by_sum(&mut self, event: &Event<'_>, times: u32, time: i64) {
        let mut left = times;
        self.held.retain(|held| {
            let is_told = left > 0
                && (held.shape, held.times, held.repeated) == (Shape::PamSecond, 1, false)
                && held.peer.as_ref().map(Address::peer) == event.peer
                && held.is_attempt_of(event, time, CHILD);
            left -= u32::from(is_told);
            !is_told
        });
    }

    /// Takes out what sshd told last of so many attempts from there that PAM refused: of an account that there is it tells of each what PAM
    /// said, and of the last ones as well that they failed.
    fn forget_told(&mut self, ip: Option<IpAddr>, times: u32, time: i64) {
        let is_lately = |held: &Held| time.saturating_sub(held.time) <= CHILD;
        self.take_off(times, |held| held.shape == Shape::PamTold && is_same(held.ip(), ip) && is_lately(held));
    }

    /// Takes out what PAM said last of an attempt on this event's account, so many seconds before at most; says whether there was such.
    fn forget_attempt(&mut self, event: &Event<'_>, time: i64, seconds: i64, is_its: impl Fn(&Held) -> bool) -> bool {
        let is_said = |held: &Held| strength(held.shape) == Shape::Pam && held.times == 1;
        let is_meant = |held: &Held| is_said(held) && is_its(held) && held.is_attempt_of(event, time, seconds);
        let last = self.held.len().wrapping_sub(1);
        // Without the account only the last line is surely about it.
        let found = self.held.iter().rposition(is_meant);
        let found = found.filter(|at| *at == last || self.held[*at].user.is_some() && event.user.is_some());
        found.map(|at| self.held.remove(at)).is_some()
    }

    /// Takes out what PAM said last of so many attempts within a call of a program; tells of how many it hadn't.
    fn take_over(&mut self, times: u32, time: i64, is_its: impl Fn(&Held) -> bool) -> u32 {
        let is_lately = |held: &Held| (0..=SESSION).contains(&time.saturating_sub(held.time));
        self.take_off(times, |held| strength(held.shape) == Shape::Pam && is_its(held) && is_lately(held))
    }

    /// Takes so many failures off these lines, the last ones first; tells how many are left.
    fn take_off(&mut self, times: u32, is_its: impl Fn(&Held) -> bool) -> u32 {
        let mut left = times;
        for held in self.held.iter_mut().rev().filter(|held| is_its(held)) {
            let told = held.times.min(left);
            (held.times, left) = (held.times - told, left - told);
        }
        self.held.retain(|held| held.times > 0);
        left
    }

    /// How many failures a line tells of that the account's program hadn't told of already.
    fn without_told(&mut self, line: &[u8], times: u32, time: i64) -> u32 {
        let is_its = |(since, _): &(i64, u32)| (0..=CHILD).contains(&time.saturating_sub(*since));
        match self.untold.filter(is_its) {
            Some((since, left)) if memmem::find(line, MORE).is_some() => {
                self.untold = Some((since, left - left.min(times))).filter(|(_, left)| *left > 0);
                times - left.min(times)
            }
            _ => times,
        }
    }

    fn note_explicit(&mut self, ip: Option<IpAddr>, time: i64) {
        match self.explicit.iter_mut().find(|(known, _)| *known == ip) {
            Some((_, last)) => *last = (*last).max(time),
            None => {
                if self.explicit.len() >= MAX_HELD {
                    self.explicit.remove(0);
                }
                self.explicit.push((ip, time));
            }
        }
    }

    /// Takes out what is over at `now`: of each address the lines of one shape count.
    fn expire(&mut self, now: i64, over: &mut Vec<Held>) {
        let is_over = |since: i64| since.saturating_add(SESSION) < now;
        if !is_over(self.earliest) {
            return;
        }
        self.explicit.retain(|(_, last)| !is_over(*last));
        self.not_greeted = self.not_greeted.filter(|since| !is_over(*since));
        self.untold = self.untold.filter(|(since, _)| !is_over(*since));
        // Most processes told of it once.
        if self.held.len() == 1 && is_over(self.held[0].time) {
            over.extend(self.held.pop());
        }
        while let Some(first) = self.held.iter().min_by_key(|held| held.time).filter(|held| is_over(held.time)) {
            // Lines are merged with those of their address, or all where no two addresses are known.
            let mut known = self.held.iter().filter_map(Held::ip);
            let any = known.next();
            let is_one = known.all(|ip| Some(ip) == any);
            let ip = first.ip();
            let belongs = |held: &Held| is_one || held.ip() == ip;
            let ([others, keys], mut repeated) = counting(&self.held.iter().filter(|held| belongs(held)));
            for mut held in std::mem::take(&mut self.held) {
                if !belongs(&held) {
                    self.held.push(held);
                } else if Some(strength(held.shape)) == others {
                    over.push(held);
                } else if Some(held.shape) == keys {
                    let told = repeated.min(held.times.into());
                    repeated -= told;
                    // It is not more than what it is taken from.
                    held.times -= told as u32;
                    over.extend((held.times > 0).then_some(held));
                }
            }
        }
        let times = self.explicit.iter().map(|(_, last)| *last).chain(self.held.iter().map(|held| held.time));
        let untold = self.untold.map(|(since, _)| since);
        self.earliest = times.chain(self.not_greeted).chain(untold).min().unwrap_or(i64::MAX);
    }
}

/// Of which shapes lines count: the strongest but for keys, and the strongest of keys; and how many of the former there are. Where keys are
/// more, so many more count besides, so that neither hides the other.
fn counting<'h>(held: &(impl Iterator<Item = &'h Held> + Clone)) -> ([Option<Shape>; 2], u64) {
    let shapes = held.clone().map(|held| strength(held.shape));
    let strongest = [false, true].map(|keys| shapes.clone().filter(|shape| is_key(*shape) == keys).min());
    let of_it = held.clone().filter(|held| Some(strength(held.shape)) == strongest[0]);
    (strongest, of_it.map(|held| u64::from(held.times)).sum())
}

/// Whether somebody is told that he is let in nowhere.
fn is_refusal(shape: Shape) -> bool {
    matches!(shape, Shape::Refused | Shape::RefusedSecond)
}

/// Whether no explicit failure repeats it that merely follows.
fn is_of_its_own(shape: Shape) -> bool {
    is_key(shape) || shape == Shape::PamTold
}

/// Whether two lines of one process may be about the same client: PAM may tell its name instead of its address.
fn is_same(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Sessions as stored: JSON's keys are texts only.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    late: BTreeMap<u64, i64>,
    open: Vec<(Key, Session)>,
    over: Vec<Held>,
}

impl From<Saved> for Sessions {
    fn from(saved: Saved) -> Self {
        let (mut open, mut refused) = (HashMap::new(), HashMap::new());
        for (key, session) in saved.open {
            session.held.iter().for_each(|held| note_refused(&mut refused, (key.host, key.pid), held));
            // When the earliest of theirs was is looked up at once.
            open.insert(key, Session { earliest: i64::MIN, ..session });
        }
        Self { late: saved.late, open, refused, over: saved.over, patience: 0 }
    }
}

impl From<Sessions> for Saved {
    fn from(sessions: Sessions) -> Self {
        let mut open: Vec<_> = sessions.open.into_iter().collect();
        open.sort_by_key(|(key, _)| (key.host, key.pid));
        Self { late: sessions.late, open, over: sessions.over }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;

    use super::*;
    use crate::model::{Action, Category};

    #[test]
    fn a_line_that_waits_is_the_same_after_it_was_stored() {
        let users: [&[u8]; 4] = [b"eve", b"", b"\xff\x00\"\\", &[b'x'; 900]];
        for user in users {
            let line = [&b"Nov 20 10:00:00 web1 sshd[7]: Invalid user "[..], user, b" from 192.0.2.7\r\n"].concat();
            let (peer, user) = (Peer::read(b"192.0.2.7"), Some(user));
            let event = Event { peer, user, host: b"web1", pid: 7, ..Event::plain(Some(5), Category::Auth) };
            let (file, kept, who) = ("/var/log/b\u{fc}ro/auth.log", OnceCell::new(), OnceCell::new());
            let (time, failures, urgent, late, number, line) = (5, 0, false, false, 3, &*line);
            let sighting = Sighting { time, event: Some(event), failures, urgent, late, line, file, number, kept, who };
            let mut sessions = Sessions::default();
            assert_eq!(sessions.observe(&sighting, &event, Shape::InvalidUser, 1), 0);
            let stored = serde_json::to_string(&sessions).unwrap();
            let mut restored: Sessions = serde_json::from_str(&stored).unwrap();
            assert_eq!(serde_json::to_string(&restored).unwrap(), stored);
            for sessions in [&mut sessions, &mut restored] {
                let mut over = Vec::new();
                sessions.settle(i64::MAX, &mut over);
                let told = over[0].sighting();
                let action = Action::LoginFailed { times: 1, shape: Shape::InvalidUser };
                assert_eq!((over.len(), told.event), (1, Some(Event { action, pid: 0, ..event })));
                assert_eq!(told.evidence().evidence(), sighting.evidence().evidence());
            }
        }
    }
}
