//! `logkeeper test-mail`

use std::path::Path;
use std::process::ExitCode;

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::{Delivery, Mail, Problem};
use crate::notify;

#[derive(clap::Args)]
pub struct Args {
    /// To whom; default: the recipient group admins
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&super::absolute(root))?;
    let recipients = if args.to.is_empty() { config.addresses(&["admins".to_owned()]) } else { args.to.clone() };
    if recipients.is_empty() {
        let help = "name one with --to, or set admins under [recipients] in config/logkeeper.toml";
        return Err(Problem::new("there is nobody to send it to", "", help).into());
    }
    crate::runner::refuse_foreign(&config.state)?;
    let now = SystemClock.now();
    let text = format!("This is a test mail of logkeeper on {}. Alerts and reports will come this way.\n", config.host);
    let mail = Mail {
        subject: format!("[{}] Test mail of logkeeper", config.host),
        html: maud::html! { p { (text) } }.into_string(),
        text,
        images: Vec::new(),
        key: format!("test {} {}", config.host, now.timestamp_millis()),
    };
    let mime = notify::freeze(&mail, &config.mail.from, &recipients, now)
        .map_err(|error| Problem::new(error, "", "correct the address"))?;
    let notifier = notify::notifier(&config.mail)?;
    let way = match &config.mail.delivery {
        Delivery::Smtp(smtp) => format!("{}:{}", smtp.host, smtp.port),
        Delivery::Folder(folder) => folder.path.display().to_string(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut failed, mut told) = (false, Vec::new());
    for recipient in &recipients {
        let name = format!("test-{}", now.timestamp_millis());
        let error = runtime.block_on(notifier.send(&name, recipient, &mime)).err().map(|error| error.to_string());
        failed |= error.is_some();
        if !args.json {
            let end =
                error.as_ref().map_or_else(|| format!("handed over to {way}"), |error| format!("failed: {error}"));
            output::print(&format!("{recipient}: {end}\n"));
        }
        told.push(serde_json::json!({ "recipient": recipient, "way": way, "error": error }));
    }
    if args.json {
        output::print_json(&told)?;
    }
    Ok(if failed { ExitCode::from(super::FAILED) } else { ExitCode::SUCCESS })
}
