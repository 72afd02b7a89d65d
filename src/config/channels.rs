//! `[mail]` and `[channels]` of `config/logkeeper.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveTime;

use super::fields::{Fields, Text};
use super::main_file::unsafe_secret;
use super::values::{AbsolutePath, Address, Period, Url};
use crate::model::channel::{MAIL, safe_url};
use crate::model::{
    Channel, FileSpec, FolderSpec, JobId, Preset, Problem, QuietHours, Secret, SendmailSpec, Severity, SmtpSpec,
    SyslogSpec, Tls, Way, WebhookSpec,
};

/// How long a mail server may take to answer unless the main file says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The sender of mail, and all channels by name.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    host: &str,
    state: &Path,
    root: &Path,
) -> (String, BTreeMap<String, Channel>) {
    let mut channels = BTreeMap::new();
    let from = format!("logkeeper@{host}");
    let (from, mail) = match fields.table("mail") {
        Some(mut table) => {
            let from = table.parsed::<Address>("from").map_or(from, |address| address.0);
            let way = read_mail(&mut table, state, root);
            (from, way.map(|way| finished(MAIL.to_owned(), way, table)))
        }
        None => {
            let (name, way) = (MAIL.to_owned(), folder_in(state));
            (from, Some(Channel { name, way, least: Severity::Low, quiet: None }))
        }
    };
    channels.extend(mail.map(|channel| (MAIL.to_owned(), channel)));
    for (name, mut table) in fields.tables("channels") {
        if let Err(problem) = name.parse::<JobId>() {
            table.refuse_key("severity", problem);
        }
        if name == MAIL {
            let help = "set it up below [mail], or give this one another name";
            table.refuse_key("severity", Problem::new("the channel \"mail\" is that of [mail]", "taken", help));
        }
        if let Some(way) = read_way(&mut table, root) {
            let channel = finished(name.clone(), way, table);
            channels.entry(name).or_insert(channel);
        }
    }
    (from, channels)
}

/// What holds for every channel.
fn finished(name: String, way: Way, mut table: Fields<'_, '_>) -> Channel {
    let least = table.parsed("severity").unwrap_or(Severity::Low);
    let quiet = table.made("quiet_hours", quiet_hours);
    table.finish();
    Channel { name, way, least, quiet }
}

fn quiet_hours(text: &str) -> Result<QuietHours, Problem> {
    let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
    let hours = text.split_once('-').and_then(|(from, to)| Some(QuietHours { from: time(from)?, to: time(to)? }));
    hours.filter(|hours| hours.from != hours.to).ok_or_else(|| {
        let message = format!("{text:?} is no span of hours");
        Problem::new(message, "from-to on a clock of 24 hours", "write for example quiet_hours = \"22:00-07:00\"")
    })
}

fn read_mail(table: &mut Fields<'_, '_>, state: &Path, root: &Path) -> Option<Way> {
    match table.present(&["smtp", "sendmail", "folder"]).as_slice() {
        [] => Some(folder_in(state)),
        ["smtp"] => table.table("smtp").and_then(|smtp| read_smtp(smtp, root)).map(Way::Smtp),
        ["sendmail"] => table.table("sendmail").map(read_sendmail).map(Way::Sendmail),
        ["folder"] => table.table("folder").map(|folder| read_folder(folder, state)).map(Way::Folder),
        [.., second] => {
            let help = "keep one of [mail.smtp], [mail.sendmail] and [mail.folder]";
            table.refuse_key(second, Problem::new("mail can go only one way", "a second way", help));
            None
        }
    }
}

fn read_smtp(mut table: Fields<'_, '_>, root: &Path) -> Option<SmtpSpec> {
    let host = table.parsed::<Text>("host").map(|text| text.0);
    let host = table.required("host", host, "name the mail server: host = \"mail.example.org\"");
    let tls: Option<Tls> = table.value("tls");
    let tls = tls.unwrap_or(Tls::Starttls);
    let port: Option<u16> = table.value("port");
    let user = table.parsed::<Text>("user").map(|text| text.0);
    let password_file = secret_file(&mut table, "password_file", root);
    let ca_file = table.parsed::<Text>("ca_file").map(|text| root.join(text.0));
    let timeout = table.parsed::<Period>("timeout").map_or(TIMEOUT, |period| period.0);
    if user.is_some() != password_file.is_some() {
        let key = if user.is_some() { "password_file" } else { "user" };
        table.required(key, None::<()>, "a login needs both user and password_file");
    }
    if let Some(host) = &host
        && tls == Tls::None
        && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")
    {
        let help = "use tls = \"starttls\" (port 587) or tls = \"implicit\" (port 465)";
        table.refuse_key(
            "tls",
            Problem::new(format!("mail to {host} would go unencrypted"), "only for localhost", help),
        );
    }
    table.finish();
    let standard = match tls {
        Tls::Starttls => 587,
        Tls::Implicit => 465,
        Tls::None => 25,
    };
    Some(SmtpSpec { host: host?, port: port.unwrap_or(standard), tls, user, password_file, ca_file, timeout })
}

fn read_sendmail(mut table: Fields<'_, '_>) -> SendmailSpec {
    let program = table.parsed::<AbsolutePath>("program").map_or_else(|| "/usr/sbin/sendmail".into(), |path| path.0);
    table.finish();
    SendmailSpec { program }
}

fn read_folder(mut table: Fields<'_, '_>, state: &Path) -> FolderSpec {
    let path = table.parsed::<AbsolutePath>("path").map_or_else(|| state.join("mail"), |path| path.0);
    table.finish();
    FolderSpec { path }
}

fn folder_in(state: &Path) -> Way {
    Way::Folder(FolderSpec { path: state.join("mail") })
}

fn read_way(table: &mut Fields<'_, '_>, root: &Path) -> Option<Way> {
    match table.present(&["webhook", "syslog", "file"]).as_slice() {
        ["webhook"] => table.table("webhook").and_then(|webhook| read_webhook(webhook, root)).map(Way::Webhook),
        ["syslog"] => table.table("syslog").and_then(read_syslog).map(Way::Syslog),
        ["file"] => table.table("file").and_then(read_file).map(Way::File),
        [] => table.required("webhook", None, "give it one of the tables webhook, syslog or file"),
        [.., second] => {
            table.refuse_key(second, Problem::new("a channel is of one kind", "a second kind", "make two of it"));
            None
        }
    }
}

fn read_webhook(mut table: Fields<'_, '_>, root: &Path) -> Option<WebhookSpec> {
    let preset: Preset = table.parsed("preset").unwrap_or(Preset::Json);
    let url = table.made("url", |text| {
        text.parse::<Url>()?;
        safe_url(text).map(|()| Secret::Text(text.to_owned()))
    });
    let url_file = secret_file(&mut table, "url_file", root).map(Secret::File);
    if url.is_some() && url_file.is_some() {
        table.refuse_key("url_file", Problem::new("a webhook has one address", "besides url", "keep one of the two"));
    }
    let pager = "https://events.pagerduty.com/v2/enqueue";
    let url = url.or(url_file).or_else(|| (preset == Preset::PagerDuty).then(|| Secret::Text(pager.to_owned())));
    let help = "write url = \"https://…\", or url_file = \"NAME\" where the address is a secret";
    let url = if table.present(&["url_file"]).is_empty() { table.required("url", url, help) } else { url };
    let secret_file = secret_file(&mut table, "secret_file", root);
    if preset == Preset::PagerDuty && secret_file.is_none() {
        table.required("secret_file", None::<()>, "name a file with the integration key of the service, mode 0600");
    }
    let template = table.parsed::<Text>("template").map(|text| text.0);
    if preset == Preset::Template {
        table.required("template", template.as_ref(), "write template = '{\"text\": \"{title}\"}'");
    } else if template.is_some() {
        let help = "write preset = \"template\", or leave it out";
        table.refuse_key("template", Problem::new("template is for the preset \"template\"", "of no use", help));
    }
    if preset == Preset::Slack && secret_file.is_some() {
        let help = "leave it out; where the address is the secret, write url_file = \"NAME\" instead of url";
        table.refuse_key("secret_file", Problem::new("Slack takes no signature", "of no use", help));
    }
    if preset != Preset::Template && !table.present(&["content_type"]).is_empty() {
        let help = "write preset = \"template\", or leave it out";
        table
            .refuse_key("content_type", Problem::new("content_type is for the preset \"template\"", "of no use", help));
    }
    let content_type = table.made("content_type", content_type).unwrap_or_else(|| "application/json".to_owned());
    let ca_file = table.parsed::<Text>("ca_file").map(|text| root.join(text.0));
    table.finish();
    Some(WebhookSpec { url: url?, preset, secret_file, template, content_type, ca_file })
}

fn content_type(text: &str) -> Result<String, Problem> {
    match text {
        "application/json" | "application/x-www-form-urlencoded" | "text/plain" => Ok(text.to_owned()),
        _ => {
            let known = "application/json, application/x-www-form-urlencoded or text/plain";
            Err(Problem::new(format!("texts can't be made safe for {text:?}"), known, "use one of these"))
        }
    }
}

fn read_syslog(mut table: Fields<'_, '_>) -> Option<SyslogSpec> {
    let socket = table.parsed::<AbsolutePath>("socket").map(|path| SyslogSpec::Socket(path.0));
    let udp = table.made("udp", host_and_port).map(SyslogSpec::Udp);
    let tcp = table.made("tcp", host_and_port).map(SyslogSpec::Tcp);
    if let [_, second, ..] = table.present(&["socket", "udp", "tcp"]).as_slice() {
        table.refuse_key(second, Problem::new("a syslog is at one place", "a second place", "make two channels of it"));
    }
    table.finish();
    Some(socket.or(udp).or(tcp).unwrap_or_else(|| SyslogSpec::Socket("/dev/log".into())))
}

fn host_and_port(text: &str) -> Result<String, Problem> {
    let parts = text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    parts.map(|_| text.to_owned()).ok_or_else(|| {
        Problem::new(format!("{text:?} is no host with its port"), "HOST:PORT", "write for example \"loghost:514\"")
    })
}

fn read_file(mut table: Fields<'_, '_>) -> Option<FileSpec> {
    let path = table.parsed::<AbsolutePath>("path").map(|path| path.0);
    let path = table.required("path", path, "name the file: path = \"/var/log/logkeeper-alerts.log\"");
    table.finish();
    Some(FileSpec { path: path? })
}

/// A file beside `config/` and `jobs/` that holds a secret.
pub(super) fn secret_file(table: &mut Fields<'_, '_>, key: &'static str, root: &Path) -> Option<PathBuf> {
    let path = table.parsed::<Text>(key).map(|text| root.join(text.0));
    if let Some(problem) = path.as_deref().and_then(unsafe_secret) {
        table.refuse_key(key, problem);
    }
    path
}
