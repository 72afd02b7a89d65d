//! `logkeeper allow`: has every rule let an address, a network or an account alone for a while.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::untrusted::printable;
use crate::model::{Exemption, Problem, Who};
use crate::runner::refuse_foreign;
use crate::store::Store;

#[derive(clap::Args)]
pub struct Args {
    /// An address, a network such as 192.0.2.0/24, or "account NAME"; without it, all that are let alone are listed
    #[arg(value_name = "WHO")]
    who: Option<Who>,
    /// For how long from now on
    #[arg(long = "for", value_name = "TIME", value_parser = output::period, default_value = "7d")]
    period: Duration,
    /// Why, for whoever reads the list later; it has to be said
    #[arg(long, requires = "who")]
    why: Option<String>,
    /// End it now
    #[arg(long, requires = "who", conflicts_with = "why")]
    end: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let Some(who) = &args.who else { return list(root, args.json) };
    let config = Config::load(&super::absolute(root))?;
    refuse_foreign(&config.state)?;
    let store = Store::open(&config.state)?;
    let now = SystemClock.now();
    if args.end {
        let is_ended = store.end_exemption(&who.to_string(), now)?;
        let others = store.exemptions()?;
        if !is_ended {
            let wider = others.iter().find(|other| other.until > now.timestamp() && covers(&other.who, who));
            return Err(not_let_alone(who, wider.map(|wider| &wider.who)).into());
        }
        let mut others = others.iter().filter(|other| other.until > now.timestamp());
        let also = others.find(|other| covers(&other.who, who) || covers(who, &other.who));
        output::print(&match also {
            None => format!("{who}: the rules look at it again\n"),
            Some(also) => {
                let until = output::stamp(DateTime::from_timestamp(also.until, 0).unwrap_or_default(), config.zone);
                format!("{who}: that is over, but {} is let alone until {until}\n", also.who)
            }
        });
        return Ok(ExitCode::SUCCESS);
    }
    if args.period < Duration::from_secs(1) {
        return Err(Problem::new("that is no time at all", "", "write for example --for 7d").into());
    }
    let until = TimeDelta::from_std(args.period).ok().and_then(|period| now.checked_add_signed(period));
    let until = until.ok_or_else(|| Problem::new("that is too long", "", "write for example --for 7d"))?;
    let why = args.why.clone().filter(|why| !why.trim().is_empty());
    let why =
        why.ok_or_else(|| Problem::new("say why", "", "add --why \"our scanner, ticket 7\": others will wonder"))?;
    let exemption = Exemption { who: who.clone(), since: now.timestamp(), until: until.timestamp(), why };
    store.exempt(&exemption)?;
    if args.json {
        output::print_json(&json(&exemption, &config))?;
    } else {
        let until = output::stamp(until, config.zone);
        output::print(&format!(
            "{who}: no rule counts what it does until {until}; end it with: logkeeper allow {} --end\n",
            argument(who)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Why nothing is ended of who is not let alone, or only as part of a wider network.
fn not_let_alone(who: &Who, wider: Option<&Who>) -> Problem {
    let Some(wider) = wider else {
        let help = "\"logkeeper allow\" lists whom they let alone";
        return Problem::new(format!("the rules don't let {who} alone"), "", help);
    };
    let help = format!("end that with: logkeeper allow {} --end", argument(wider));
    Problem::new(format!("{who} is let alone as part of {wider}"), "", help)
}

/// Whether letting the one alone lets the other alone.
fn covers(one: &Who, other: &Who) -> bool {
    match (one, other) {
        (Who::Network(network), Who::Network(part)) => network.contains(part),
        _ => one == other,
    }
}

/// As a shell wants it.
fn argument(who: &Who) -> String {
    match who {
        Who::Network(_) => who.to_string(),
        Who::Account(_) => format!("'{}'", who.to_string().replace('\'', "'\\''")),
    }
}

fn list(root: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let now = SystemClock.now().timestamp();
    let mut all = store.exemptions()?;
    all.retain(|exemption| exemption.until > now);
    if as_json {
        output::print_json(&all.iter().map(|exemption| json(exemption, &config)).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let stamp = |seconds| output::stamp(DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default(), config.zone);
    let row = |exemption: &Exemption| {
        let why = printable(exemption.why.as_bytes());
        vec![exemption.who.to_string(), stamp(exemption.since), stamp(exemption.until), why]
    };
    output::print_table(&["WHO", "SINCE", "UNTIL", "WHY"], all.iter().map(row).collect());
    Ok(ExitCode::SUCCESS)
}

fn json(exemption: &Exemption, config: &Config) -> serde_json::Value {
    let Exemption { who, since, until, why } = exemption;
    serde_json::json!({
        "who": who.to_string(), "since": output::rfc3339(*since, config.zone),
        "until": output::rfc3339(*until, config.zone), "why": why,
    })
}
