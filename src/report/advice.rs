//! Recommendations for administrators, each with what it rests on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::Figures;
use super::sentence::quoted_accounts;
use super::words::{bytes, counted, grouped, percent, span_words};
use crate::model::Audience;
use crate::model::untrusted::printable;

/// A recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub what: String,
    /// Why: the figures it rests on.
    pub evidence: String,
}

/// From so many failed logins on, an address is worth a rule in the firewall.
const ATTEMPTS: u64 = 20;

/// From so many such addresses on, it is their network.
const NEIGHBOURS: usize = 3;

/// From this share of all failed logins on, in per cent.
const SHARE: u64 = 15;

/// From this share of a source's lines that are not understood on, in per cent.
const UNPARSED: u64 = 5;

/// What the figures of a period suggest, most urgent first.
pub fn advice(figures: &Figures) -> Vec<Advice> {
    let mut all = Vec::new();
    all.extend(breaches(figures));
    all.extend(networks(figures));
    all.extend(accounts(figures));
    all.extend(jobs(figures));
    all.extend(coverage(figures));
    all.extend(disks(figures));
    all.extend(paths(figures));
    all
}

/// How much is recommended to those whom the report is for: nothing but to administrators.
pub fn recommended(figures: &Figures) -> usize {
    if figures.audience == Audience::Admins { advice(figures).len() } else { 0 }
}

/// What a report says that asks for nothing.
pub fn nothing_asked(figures: &Figures) -> &'static str {
    if recommended(figures) > 0 { "Nothing but the recommendations below." } else { "Nothing. No action is needed." }
}

fn breaches(figures: &Figures) -> Option<Advice> {
    let first = figures.findings.iter().find(|finding| finding.finding.breach.is_some())?;
    let breach = first.finding.breach.as_ref()?;
    let users = quoted_accounts(breach.accounts());
    let (passwords, accounts) =
        if breach.others.is_empty() { ("password", "that account") } else { ("passwords", "those accounts") };
    let more = match figures.breaches.saturating_sub(first.finding.logins().count()) {
        0 => String::new(),
        more => format!("; {more} more like it"),
    };
    Some(Advice {
        what: format!("Change the {passwords} of {users} and look at what was done under {accounts}."),
        evidence: format!(
            "finding {}: {} got in after {} failed logins{more}",
            first.id,
            printable(first.finding.subject_words().as_bytes()),
            grouped(first.finding.count)
        ),
    })
}

/// Whoever makes up for a large part of all attempts: a network where at least three of its addresses are at it, else an address.
fn networks(figures: &Figures) -> Vec<Advice> {
    let total = attempts(figures);
    let mut networks: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
    let known = |name: &str| figures.acquaintances.iter().find(|known| known.address == name);
    let logins = |name: &str| known(name).map_or(0, |known| known.logins);
    let blamed = figures.attackers.iter().filter(|(name, _)| !known(name).is_some_and(|known| known.is_allowed));
    for (name, count) in blamed {
        let Ok(address) = name.parse::<IpAddr>() else { continue };
        networks.entry(network_of(address)).or_default().push((name, *count));
    }
    let mut heavy: Vec<(String, u64, usize)> = Vec::new();
    for (network, addresses) in networks {
        let busy: Vec<_> = addresses.into_iter().filter(|(_, n)| *n >= ATTEMPTS).collect();
        let sum = busy.iter().map(|(_, n)| n).sum();
        if busy.len() >= NEIGHBOURS && busy.iter().all(|(name, _)| !is_inside(name) && logins(name) == 0) {
            heavy.push((network, sum, busy.len()));
        } else {
            heavy.extend(busy.into_iter().map(|(name, n)| (name.to_owned(), n, 1)));
        }
    }
    heavy.retain(|(_, n, _)| n * 100 >= total * SHARE);
    heavy.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
    let word = |(who, n, addresses): (String, u64, usize)| {
        let what = if is_inside(&who) {
            format!("Ask who uses {who}: it is one of your own, and keeps giving wrong passwords.")
        } else if logins(&who) > 0 {
            format!(
                "Ask who uses {who} before you block it: it also logged in, {}.",
                counted(logins(&who) as usize, "time")
            )
        } else {
            format!("Block {who}, unless it is one of your own.")
        };
        let (share, counts) = (percent(n, total), format!("{} of {}", grouped(n), grouped(total)));
        let from = if addresses == 1 { String::new() } else { format!(", from {addresses} addresses") };
        Advice { what, evidence: format!("{share} % of all wrong passwords ({counts}){from}") }
    };
    heavy.into_iter().take(3).map(word).collect()
}

/// All failed logins; at least as many as the most frequent addresses have, of which whole hours are on record.
fn attempts(figures: &Figures) -> u64 {
    let listed: u64 = figures.attackers.iter().map(|(_, n)| n).sum();
    figures.total().failed_logins.max(listed)
}

/// The /24 or /64 of an address.
fn network_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => Ipv4Net::new_assert(ip, 24).trunc().to_string(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 64).trunc().to_string(),
    }
}

fn is_inside(name: &str) -> bool {
    match name.parse() {
        Ok(IpAddr::V4(ip)) => {
            let shared = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10).contains(&ip);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
        Err(_) => false,
    }
}

fn accounts(figures: &Figures) -> Option<Advice> {
    let total = attempts(figures);
    let (_, n) = figures.targets.iter().find(|(user, _)| user == "root")?;
    (n * 100 >= total * SHARE && *n >= ATTEMPTS).then(|| Advice {
        what: "See that nobody can log in as root with a password (for sshd: PermitRootLogin prohibit-password)."
            .to_owned(),
        evidence: format!(
            "{} % of all wrong passwords were for root ({} of {})",
            percent(*n, total),
            grouped(*n),
            grouped(total)
        ),
    })
}

fn jobs(figures: &Figures) -> Vec<Advice> {
    let mut failing: Vec<_> =
        figures.jobs.iter().filter(|job| job.failed > 0 || job.missed > 0 || job.partial > 0).collect();
    failing.sort_by_key(|job| std::cmp::Reverse((job.needs_a_look(), job.failed, job.partial, job.missed)));
    let word = |job: &super::JobRecord| {
        let (show, said) = match &job.last_failed {
            Some((run, said)) => (format!(": logkeeper show {run}"), format!("; {}", printable(said.as_bytes()))),
            None => (String::new(), String::new()),
        };
        let mut counts = vec![format!("due {} times", job.due)];
        for (n, what) in
            [(job.failed, "failed"), (job.partial, "in part only"), (job.missed, "missed, skipped or stopped")]
        {
            if n > 0 {
                counts.push(format!("{n} {what}"));
            }
        }
        Advice { what: format!("Look at the job {}{show}.", job.id), evidence: format!("{}{said}", counts.join(", ")) }
    };
    failing.into_iter().take(3).map(word).collect()
}

fn coverage(figures: &Figures) -> Vec<Advice> {
    let mut all = Vec::new();
    let gaps = figures.gaps();
    if !gaps.is_empty() {
        let what = "Find out why nothing was read: logkeeper history, and the logs themselves.".to_owned();
        all.push(Advice { what, evidence: format!("no data for {}", span_words(&gaps)) });
    }
    for source in &figures.sources {
        if source.fell_silent() {
            let what = format!("Find out why nothing came from the source {} any more.", source.name);
            all.push(Advice {
                what,
                evidence: format!("no line; there were some on {} before", counted(source.days_before, "day")),
            });
        }
        if source.scanned && source.lines > 0 && source.unparsed * 100 >= source.lines * UNPARSED {
            let what = format!(
                "Describe the format of the source {} (config/formats), or look at its lines: logkeeper scan.",
                source.name
            );
            let share = percent(source.unparsed, source.lines);
            let (unparsed, lines) = (grouped(source.unparsed), grouped(source.lines));
            all.push(Advice {
                what,
                evidence: format!("{share} % of its lines were not understood ({unparsed} of {lines})"),
            });
        }
    }
    for name in figures.archives.damaged.iter().take(3) {
        let what = format!("Get the archive {name} from a copy: logkeeper archive verify {name}.");
        all.push(Advice { what, evidence: "it was found damaged".to_owned() });
    }
    if figures.undelivered > 0 {
        let what = "See why messages were not delivered: logkeeper outbox.".to_owned();
        all.push(Advice { what, evidence: format!("{} were given up", figures.undelivered) });
    }
    all
}

fn disks(figures: &Figures) -> Vec<Advice> {
    let full = figures.disks.iter().filter(|disk| disk.free * 10 < disk.total);
    let word = |disk: &super::Disk| Advice {
        what: format!("Make room on the disk of {}.", disk.path),
        evidence: format!("{} of {} are free", bytes(disk.free), bytes(disk.total)),
    };
    full.map(word).collect()
}

/// A page that many look for in vain.
fn paths(figures: &Figures) -> Option<Advice> {
    let total = figures.total();
    let errors = total.status_4xx + total.status_5xx;
    let (path, n) = figures.error_paths.first()?;
    let path = printable(path.as_bytes());
    (*n >= 50 && n * 100 >= errors * SHARE).then(|| Advice {
        what: format!("Mend what leads to {path}, or answer it from the web server at once."),
        evidence: format!(
            "{} % of all answers with an error ({} of {})",
            percent(*n, errors),
            grouped(*n),
            grouped(errors)
        ),
    })
}
