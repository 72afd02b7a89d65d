//! `logkeeper report KIND`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use super::output;
use super::send::send_now;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::jobs::{ReportRequest, as_sent, compose_report, midnight, sent_report};
use crate::model::channel::MAIL;
use crate::model::{Audience, Problem, ReportKind, Work};
use crate::report;
use crate::store::Store;

#[derive(clap::Args)]
pub struct Args {
    /// Which report: daily, weekly or monthly
    #[arg(value_parser = |text: &str| text.parse::<ReportKind>())]
    kind: ReportKind,
    /// For whom: management, or admins, who get all the details
    #[arg(long = "for", value_name = "WHOM", default_value = "management", value_parser = |text: &str| text.parse::<Audience>())]
    audience: Audience,
    /// Write the page to this file instead of printing the text
    #[arg(long, value_name = "FILE.html")]
    preview: Option<PathBuf>,
    /// The last day it covers, as 2026-11-19; default: yesterday
    #[arg(long, value_name = "DATE")]
    ending: Option<NaiveDate>,
    /// Send it to this address now
    #[arg(long, value_name = "ADDRESS", value_parser = crate::config::address)]
    send_to: Option<String>,
    /// Count anew, also where the report was sent already
    #[arg(long)]
    fresh: bool,
    /// Print its figures as JSON
    #[arg(long, conflicts_with = "preview")]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let now = SystemClock.now();
    let zone = zone_of(args, &config);
    let made = match args.ending {
        Some(to) => midnight(end_of(to, now.with_timezone(&zone).date_naive())?, zone),
        None => now,
    };
    let request = ReportRequest { kind: args.kind, audience: args.audience, zone, made };
    let sent = if args.fresh { None } else { as_sent(&request, &config, &store)? };
    let figures = match sent {
        Some(Ok(figures)) => figures,
        Some(Err(error)) => {
            let why = "was sent by another version of logkeeper and can't be shown as it was; it is counted anew";
            eprintln!("note: this report {why} ({error})");
            compose_report(&request, &config, &store)?
        }
        None => compose_report(&request, &config, &store)?,
    };
    let (from, to) = (figures.from, figures.to);
    if let Some(path) = &args.preview {
        std::fs::write(path, report::page(&figures))
            .map_err(|error| anyhow::anyhow!("can't write {}: {error}", path.display()))?;
        let (kind, audience) = (args.kind, args.audience);
        output::print(&format!("{} shows the {kind} report for {audience} on {from} to {to}\n", path.display()));
    }
    if let Some(address) = &args.send_to {
        crate::runner::refuse_foreign(&config.state)?;
        let mut message = report::message(&figures);
        // Sent once more, it is another mail.
        message.mail.key = format!("{} by hand {}", message.mail.key, now.timestamp_millis());
        let routes = [(MAIL.to_owned(), vec![address.clone()])];
        let sent = send_now(&message, &routes, &config, now, args.json)?;
        if sent {
            let report = sent_report(&figures).map_err(|error| anyhow::anyhow!(error))?;
            Store::open(&config.state)?.save_report(&report, &[], now)?;
        }
        return Ok(if sent { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) });
    }
    if args.json {
        output::print_json(&figures)?;
    } else if args.preview.is_none() {
        output::print(&report::message(&figures).mail.text);
    }
    Ok(ExitCode::SUCCESS)
}

/// The day after the last one, which must be over.
fn end_of(to: NaiveDate, today: NaiveDate) -> Result<NaiveDate, Problem> {
    let early = NaiveDate::from_ymd_opt(1971, 1, 1).is_some_and(|first| to < first);
    match to.checked_add_days(Days::new(1)).filter(|end| *end <= today && !early) {
        Some(end) => Ok(end),
        None => Err(Problem::new(format!("{to} is not over yet, or too long ago"), "", "name a day before today")),
    }
}

/// The zone of the job that sends such a report, else that of the configuration.
fn zone_of(args: &Args, config: &Config) -> Tz {
    let same = config.jobs.values().find(|job| match &job.work {
        Work::Report(report) => report.period == args.kind && report.audience == args.audience,
        _ => false,
    });
    same.and_then(|job| job.schedule.as_ref()).map_or(config.zone, |schedule| schedule.zone)
}
