//! What one process of a host told of lately, and which of its lines tell of the same failed login.

use std::net::IpAddr;

use memchr::memmem;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::held::{Held, is_key, strength};
use crate::model::event::Shape;
use crate::model::{Address, Event};

/// How long after its first waiting line a session may still log an explicit failure, in seconds.
/// (sshd ends an unfinished login after LoginGraceTime, 120 s by default.)
pub const SESSION: i64 = 600;

/// How long a login lasts at most where many are open, in seconds.
pub const LOGIN: i64 = 120;

/// How many lines a session holds; further ones count at once.
pub const MAX_HELD: usize = 32;

/// How long before sshd's own word PAM may have spoken of the same attempt, in seconds.
pub const CHILD: i64 = 60;

/// Within how many seconds two modules that say the same of an account say it of one attempt: the next one may have to ask another machine.
/// Less where the first one doesn't tell the account, which may be another.
pub const ONE_ATTEMPT: i64 = 60;
const ONE_NAMELESS_ATTEMPT: i64 = 10;

/// How long PAM may take to ask its next module, in seconds, where that tells the next attempt from the same: who mistypes waits
/// longer (pam_unix's delay is 2 s, give or take 1).
pub const NEXT_MODULE: i64 = 1;

/// How PAM tells the sum of what it didn't tell one by one.
const MORE: &[u8] = b" more authentication failure";

/// What one process of a host told of lately. A process may serve several addresses, and some processes' numbers are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Session {
    /// Addresses with an explicit failure, and when it last was.
    pub explicit: SmallVec<[(Option<IpAddr>, i64); 1]>,
    /// Lines that wait, in the order in which they came; most have one only.
    pub held: SmallVec<[Held; 1]>,
    /// When its client didn't greet as it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_greeted: Option<i64>,
    /// Of how many failures PAM's sum may still come that an account's program told of, and when it did, where no process is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<(i64, u32)>,
    /// No time of all these is earlier; nothing is over before [`SESSION`] seconds after it.
    #[serde(skip)]
    pub earliest: i64,
}

impl Session {
    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        let Self { explicit, held, not_greeted, untold, .. } = self;
        explicit.is_empty() && held.is_empty() && not_greeted.is_none() && untold.is_none()
    }

    /// Whether its process said nothing but what PAM did.
    pub fn only_asks(&self) -> bool {
        self.explicit.is_empty()
            && self.not_greeted.is_none()
            && self.held.iter().all(|held| strength(held.shape) == Shape::Pam)
    }

    /// Whether somebody is sent away who was told before that he is let in nowhere; that came from where this line tells.
    pub fn sends_away(&mut self, event: &Event<'_>, time: i64) -> bool {
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
    pub fn take_sent_away(&mut self, event: &Event<'_>, time: i64) -> Option<Held> {
        let ip = event.peer.and_then(|peer| peer.ip());
        let is_later = |held: &Held| (0..=LOGIN).contains(&held.time.saturating_sub(time));
        let at = self.held.iter().position(|held| {
            held.shape == Shape::TooMany && is_same(held.ip(), ip) && held.may_be_of_account(event) && is_later(held)
        });
        at.map(|at| self.held.remove(at))
    }

    /// Whether another of PAM's modules, or the other one of sshd's processes, has just said the same.
    pub fn repeats_another(&mut self, event: &Event<'_>, shape: Shape, times: u32, time: i64) -> bool {
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
    pub fn tell_address(&mut self, event: &Event<'_>, time: i64) {
        let Some(ip) = event.peer.and_then(|peer| peer.ip()) else { return };
        let is_its = |held: &&mut Held| held.lacks_address() && held.is_attempt_of(event, time, ONE_ATTEMPT);
        self.held.iter_mut().filter(is_its).for_each(|held| held.peer = Some(Address::Ip(ip)));
    }

    /// Takes out what other modules said of attempts that pam_unix tells of in one line.
    pub fn forget_repeated_by_sum(&mut self, event: &Event<'_>, times: u32, time: i64) {
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
    pub fn forget_told(&mut self, ip: Option<IpAddr>, times: u32, time: i64) {
        let is_lately = |held: &Held| time.saturating_sub(held.time) <= CHILD;
        self.take_off(times, |held| held.shape == Shape::PamTold && is_same(held.ip(), ip) && is_lately(held));
    }

    /// Takes out what PAM said last of an attempt on this event's account, so many seconds before at most; says whether there was such.
    pub fn forget_attempt(
        &mut self,
        event: &Event<'_>,
        time: i64,
        seconds: i64,
        is_its: impl Fn(&Held) -> bool,
    ) -> bool {
        let is_said = |held: &Held| strength(held.shape) == Shape::Pam && held.times == 1;
        let is_meant = |held: &Held| is_said(held) && is_its(held) && held.is_attempt_of(event, time, seconds);
        let last = self.held.len().wrapping_sub(1);
        // Without the account only the last line is surely about it.
        let found = self.held.iter().rposition(is_meant);
        let found = found.filter(|at| *at == last || self.held[*at].user.is_some() && event.user.is_some());
        found.map(|at| self.held.remove(at)).is_some()
    }

    /// Takes out what PAM said last of so many attempts within a call of a program; tells of how many it hadn't.
    pub fn take_over(&mut self, times: u32, time: i64, is_its: impl Fn(&Held) -> bool) -> u32 {
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
    pub fn without_told(&mut self, line: &[u8], times: u32, time: i64) -> u32 {
        let is_its = |(since, _): &(i64, u32)| (0..=CHILD).contains(&time.saturating_sub(*since));
        match self.untold.filter(is_its) {
            Some((since, left)) if memmem::find(line, MORE).is_some() => {
                self.untold = Some((since, left - left.min(times))).filter(|(_, left)| *left > 0);
                times - left.min(times)
            }
            _ => times,
        }
    }

    /// Remembers that an explicit failure of this address was told.
    pub fn note_explicit(&mut self, ip: Option<IpAddr>, time: i64) {
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
    pub fn expire(&mut self, now: i64, over: &mut Vec<Held>) {
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
pub fn is_refusal(shape: Shape) -> bool {
    matches!(shape, Shape::Refused | Shape::RefusedSecond)
}

/// Whether no explicit failure repeats it that merely follows.
pub fn is_of_its_own(shape: Shape) -> bool {
    is_key(shape) || shape == Shape::PamTold
}

/// Whether two lines of one process may be about the same client: PAM may tell its name instead of its address.
pub fn is_same(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    a.is_none() || b.is_none() || a == b
}
