//! One failed login tells of itself in several shapes: sshd's "Failed …", PAM's "authentication failure", "Invalid user" and others ([`Shape`]).
//! Of one address within one session (a process of a host) the strongest shape counts, the others repeat it.
//! A line without an address belongs to whatever session its process has.
//! sshd may ask PAM in another process: what that said of the same account lately belongs to sshd's own word of it.
//!
//! An explicit failure counts at once. The other shapes wait until their session is surely over; a refused key counts
//! then unless the same client was let in, and an error log's line unless the request behind it stands in the same log.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use foldhash::{HashMap, HashMapExt};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Sighting;
use super::held::{Held, LOGIN_ASKS, SU_ASKS, is_key, strength};
use super::session::{
    CHILD, LOGIN, MAX_HELD, NEXT_MODULE, ONE_ATTEMPT, SESSION, Session, is_of_its_own, is_refusal, is_same,
};
use crate::model::event::Shape;
use crate::model::short::ShortBytes;
use crate::model::{Address, Event, Peer};

/// How many sessions are open at most; what further ones tell counts at once.
const MAX_SESSIONS: usize = 20_000;

/// sshd asks PAM in a process that it begins for that, and says itself what came of it: how much higher the number of that process may
/// be, and how much where it said anything else besides.
const CHILDREN: u32 = 4096;
const CHILDREN_OF_QUIET_MACHINES: u32 = 32;

/// How many processes are looked at for one of these.
const MAX_CHILDREN: usize = 64;

/// The longest line that is held back, in bytes; a longer one counts at once.
const MAX_HELD_LINE: usize = 4096;

/// Of how many hosts it is remembered that their lines come late.
const MAX_LATE_HOSTS: usize = 1000;

/// How su's own word of a failure begins (shadow, util-linux).
const SU_FAILED: [&[u8]; 2] = [b" FAILED SU (to ", b" FAILED su for "];

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
