//! Recommendations for administrators, each with what it rests on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Figures;
use super::words::{bytes, grouped, percent, span_words};
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

fn breaches(figures: &Figures) -> Option<Advice> {
    let first = figures.findings.iter().find(|finding| finding.finding.breach.is_some())?;
    let user = printable(first.finding.breach.as_ref()?.user.as_bytes());
    let more = match figures.breaches {
        0 | 1 => String::new(),
        n => format!("; {} more like it", n - 1),
    };
    Some(Advice {
        what: format!("Change the password of “{user}” and look at what was done under that account."),
        evidence: format!(
            "finding {}: {} got in after {} failed logins{more}",
            first.id,
            printable(first.finding.subject_words().as_bytes()),
            grouped(first.finding.count)
        ),
    })
}

/// Whoever makes up for a large part of all attempts.
fn networks(figures: &Figures) -> Vec<Advice> {
    let total = figures.total().failed_logins;
    let mut networks: BTreeMap<String, (u64, Vec<&str>)> = BTreeMap::new();
    for (name, count) in &figures.attackers {
        let Ok(address) = name.parse::<IpAddr>() else { continue };
        let entry = networks.entry(network_of(address)).or_default();
        entry.0 += count;
        entry.1.push(name);
    }
    let mut heavy: Vec<_> =
        networks.into_iter().filter(|(_, (n, _))| *n >= ATTEMPTS && n * 100 >= total * SHARE).collect();
    heavy.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    let word = |(network, (n, addresses)): (String, (u64, Vec<&str>))| {
        let who = if addresses.len() == 1 { addresses[0].to_owned() } else { network };
        let inside = addresses[0].parse().is_ok_and(is_inside);
        let what = if inside {
            format!("Ask who uses {who}: it is one of your own, and keeps giving wrong passwords.")
        } else {
            format!("Block {who}.")
        };
        let share = percent(n, total);
        let count = addresses.len();
        let from = if count == 1 { "one address".to_owned() } else { format!("{count} addresses") };
        Advice {
            what,
            evidence: format!("{share} % of all wrong passwords ({} of {}), from {from}", grouped(n), grouped(total)),
        }
    };
    heavy.into_iter().take(3).map(word).collect()
}

/// The /24 or /64 of an address.
fn network_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => Ipv4Net::new_assert(ip, 24).trunc().to_string(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 64).trunc().to_string(),
    }
}

fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

fn accounts(figures: &Figures) -> Option<Advice> {
    let total = figures.total().failed_logins;
    let (user, n) =
        figures.targets.iter().find(|(user, _)| user == "root" || user.eq_ignore_ascii_case("administrator"))?;
    (n * 100 >= total * SHARE && *n >= ATTEMPTS).then(|| Advice {
        what: format!(
            "Let nobody log in as {user} with a password (PermitRootLogin prohibit-password in sshd_config)."
        ),
        evidence: format!(
            "{} % of all wrong passwords were for {user} ({} of {})",
            percent(*n, total),
            grouped(*n),
            grouped(total)
        ),
    })
}

fn jobs(figures: &Figures) -> Vec<Advice> {
    let mut failing: Vec<_> = figures.jobs.iter().filter(|job| job.failed > 0 || job.missed > 0).collect();
    failing.sort_by_key(|job| std::cmp::Reverse((job.failed, job.missed)));
    let word = |job: &super::JobRecord| {
        let show = job.last_failed.map(|run| format!(": logkeeper show {run}")).unwrap_or_default();
        let evidence = format!("due {} times, failed {}, missed or skipped {}", job.due, job.failed, job.missed);
        Advice { what: format!("Look at the job {}{show}.", job.id), evidence }
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
