//! `logkeeper test-mail`

use std::path::Path;
use std::process::ExitCode;

use super::send::send_now;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::channel::MAIL;
use crate::model::{Document, DocumentKind, Mail, Message, Problem, Severity};
use crate::report::text_page;

#[derive(clap::Args)]
pub struct Args {
    /// To whom: an address, a recipient group or a channel; default: the recipient group admins
    #[arg(long, value_name = "WHOM")]
    to: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let to = if args.to.is_empty() { vec!["admins".to_owned()] } else { args.to.clone() };
    let routes = config.routes(&to, Severity::Critical);
    if let Some((unknown, _)) = routes.iter().find(|(channel, _)| !config.channels.contains_key(channel)) {
        let known = config.recipients.keys().chain(config.channels.keys().filter(|name| *name != MAIL));
        let known: Vec<&str> = known.map(String::as_str).collect();
        let help = format!("name an address, or one of: {}", known.join(" "));
        return Err(Problem::new(format!("there is no recipient group or channel {unknown:?}"), "", help).into());
    }
    let recipients = |(channel, to): (String, Vec<String>)| {
        let recipients = if channel == MAIL { config.addresses(&to) } else { vec![String::new()] };
        (channel, recipients)
    };
    let routes: Vec<(String, Vec<String>)> = routes.into_iter().map(recipients).collect();
    if routes.is_empty() {
        let help = "name one with --to, or set admins under [recipients] in config/logkeeper.toml";
        return Err(Problem::new("there is nobody to send it to", "", help).into());
    }
    crate::runner::refuse_foreign(&config.state)?;
    let now = SystemClock.now();
    let text = format!("This is a test mail of logkeeper on {}. Alerts and reports will come this way.\n", config.host);
    let key = format!("test {} {}", config.host, now.timestamp_millis());
    let message = Message {
        document: Document {
            version: 1,
            id: crate::digest::sha256(key.as_bytes())[..32].to_owned(),
            kind: DocumentKind::Test,
            at: now,
            host: config.host.clone(),
            severity: Severity::Low,
            title: "Test message of logkeeper".to_owned(),
            text: text.clone(),
            held_back: 0,
            items: Vec::new(),
            more_items: 0,
        },
        mail: Mail {
            subject: format!("[{}] Test mail of logkeeper", config.host),
            html: text_page("Test mail of logkeeper", &text),
            text,
            images: Vec::new(),
            attachments: Vec::new(),
            key,
        },
    };
    let sent = send_now(&message, &routes, &config, now, args.json)?;
    Ok(if sent { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) })
}
