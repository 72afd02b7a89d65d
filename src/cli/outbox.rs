//! `logkeeper outbox`: what waits to be told, what was told, and which channels don't work.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::untrusted::printable;
use crate::model::{About, DeliveryState, Problem};
use crate::store::{DeliveryRow, Store};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Only those that are queued, sending, sent or dead
    #[arg(long, value_name = "STATE", value_parser = |text: &str| text.parse::<DeliveryState>())]
    state: Option<DeliveryState>,
    /// How many to show, the newest
    #[arg(short = 'n', long, default_value_t = 20)]
    count: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Print a message as it leaves
    Show {
        /// Its number
        message: i64,
    },
    /// Try what waits or was given up at once, again for two days
    Retry {
        /// Only this message
        message: Option<i64>,
    },
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        None => list(root, args),
        Some(What::Show { message }) => show(root, *message),
        Some(What::Retry { message }) => retry(root, *message),
    }
}

/// The findings that something to tell is about.
fn of(about: &About) -> &[i64] {
    if let About::Findings { findings, .. } = about { findings } else { &[] }
}

fn list(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (config, store) = super::open(root)?;
    let deliveries = store.deliveries(args.state, args.count)?;
    let troubles = store.troubles()?;
    let pending = store.pending_intents()?;
    let findings: BTreeSet<i64> = pending.iter().flat_map(|pending| of(&pending.intent.about)).copied().collect();
    let pending = pending.len();
    if args.json {
        let told = serde_json::json!({ "held_back": pending, "held_back_findings": findings, "channels": troubles, "deliveries": deliveries });
        output::print_json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    for trouble in &troubles {
        let (since, next) = (output::stamp(trouble.since, config.zone), output::stamp(trouble.next, config.zone));
        let how = if trouble.paused { "is paused until somebody mends it" } else { "does not work" };
        let error = printable(trouble.error.as_bytes());
        output::print(&format!("{} {how} since {since}, next try {next}: {error}\n\n", trouble.channel));
    }
    if pending > 0 {
        let things = crate::jobs::counted(pending, "thing");
        let numbers: Vec<String> = findings.iter().map(i64::to_string).collect();
        let word = if numbers.len() == 1 { "finding" } else { "findings" };
        let findings = if numbers.is_empty() { String::new() } else { format!(": {word} {}", numbers.join(", ")) };
        output::print(&format!("{things} held back, to be told together{findings}\n\n"));
    }
    if deliveries.is_empty() {
        output::print("no messages\n");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |delivery: &DeliveryRow| {
        let whom = if delivery.recipient.is_empty() { &delivery.channel } else { &delivery.recipient };
        let error = delivery.error.as_deref().filter(|_| delivery.state != DeliveryState::Sent);
        let subject = printable(delivery.subject.as_bytes());
        let about = error.map_or(subject.clone(), |error| format!("{subject}\n{}", printable(error.as_bytes())));
        let (message, state) = (delivery.message.to_string(), delivery.state.to_string());
        vec![
            message,
            state,
            output::stamp(delivery.at, config.zone),
            delivery.attempts.to_string(),
            whom.clone(),
            about,
        ]
    };
    output::print_table(&["MESSAGE", "STATE", "MADE", "TRIES", "TO", "SUBJECT"], deliveries.iter().map(row).collect());
    Ok(ExitCode::SUCCESS)
}

fn show(root: &Path, message: i64) -> anyhow::Result<ExitCode> {
    let (_, store) = super::open(root)?;
    let body = store.message_body(message)?;
    let body =
        body.ok_or_else(|| Problem::new(format!("there is no message {message}"), "", "logkeeper outbox lists them"))?;
    // Mails are ASCII, and everything else JSON, which has no control characters.
    std::io::stdout().write_all(&body)?;
    Ok(ExitCode::SUCCESS)
}

fn retry(root: &Path, message: Option<i64>) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    crate::runner::refuse_foreign(&config.state)?;
    let store = Store::open(&config.state)?;
    let retried = store.retry_deliveries(message, SystemClock.now())?;
    let what = if retried == 1 { "1 delivery is" } else { &format!("{retried} deliveries are") };
    output::print(&format!("{what} tried again by the daemon within half a minute\n"));
    Ok(ExitCode::SUCCESS)
}
