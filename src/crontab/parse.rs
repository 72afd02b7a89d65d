//! Reading crontab(5) and anacrontab(5).

use std::path::Path;

/// Which columns a crontab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Five fields and the command: a user's own crontab.
    User,
    /// Five fields, the account and the command: `/etc/crontab` and `/etc/cron.d`.
    System,
    /// Period, delay, name and command: `/etc/anacrontab`.
    Anacron,
}

/// What stands in a crontab.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crontab {
    /// The lines that run something, in order.
    pub entries: Vec<Entry>,
    /// Lines that can't be understood, and why.
    pub refused: Vec<(usize, String, String)>,
}

/// A line that runs something, with what the lines before it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line's number.
    pub line: usize,
    /// The line as it stands there.
    pub text: String,
    /// The comments right above it.
    pub comments: Vec<String>,
    /// When it is due.
    pub schedule: String,
    /// How many days a missed time is made up for (anacron).
    pub catch_up_days: Option<u32>,
    /// Minutes by which it may begin later (anacron).
    pub jitter: Option<u32>,
    /// As whom it runs, where the line tells.
    pub user: Option<String>,
    /// What the shell gets.
    pub command: String,
    /// What the command reads.
    pub stdin: Option<String>,
    /// The variables set above it, in order, but for those that cron itself reads.
    pub env: Vec<(String, String)>,
    /// `SHELL`.
    pub shell: Option<String>,
    /// `MAILTO`; empty: nobody.
    pub mail_to: Option<String>,
    /// `CRON_TZ`.
    pub zone: Option<String>,
}

/// Variables with a meaning for cron itself.
#[derive(Default)]
struct Settings {
    env: Vec<(String, String)>,
    shell: Option<String>,
    mail_to: Option<String>,
    zone: Option<String>,
    start_hour: Option<u32>,
    random_delay: Option<u32>,
}

/// Reads a crontab.
pub fn read(text: &str, layout: Layout) -> Crontab {
    let (mut crontab, mut settings, mut comments) = (Crontab::default(), Settings::default(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() {
            comments.clear();
        } else if let Some(comment) = line.strip_prefix('#') {
            comments.push(comment.trim().to_owned());
        } else if let Some((name, value)) = variable(line) {
            settings.set(name, value);
        } else {
            let comments = std::mem::take(&mut comments);
            match entry(line, layout, &settings) {
                Ok(entry) => crontab.entries.push(Entry { line: number + 1, comments, ..entry }),
                Err(reason) => crontab.refused.push((number + 1, line.to_owned(), reason)),
            }
        }
    }
    crontab
}

/// The folders that `/etc/crontab` hands to run-parts, with Debian's times: one entry, as there.
pub fn run_parts(folder: &Path) -> Option<Crontab> {
    let schedule = match folder.file_name()?.to_str()? {
        "cron.hourly" => "17 * * * *",
        "cron.daily" => "25 6 * * *",
        "cron.weekly" => "47 6 * * 7",
        "cron.monthly" => "52 6 1 * *",
        "cron.yearly" => "@yearly",
        _ => return None,
    };
    let line = format!("{schedule} root cd / && run-parts --report {}", folder.display());
    Some(read(&line, Layout::System))
}

impl Settings {
    fn set(&mut self, name: String, value: String) {
        match name.as_str() {
            "SHELL" => self.shell = Some(value),
            "MAILTO" => self.mail_to = Some(value),
            "CRON_TZ" => self.zone = Some(value),
            "START_HOURS_RANGE" => self.start_hour = value.split('-').next().and_then(|hour| hour.parse().ok()),
            "RANDOM_DELAY" => self.random_delay = value.parse().ok(),
            _ => {
                self.env.retain(|(known, _)| *known != name);
                self.env.push((name, value));
            }
        }
    }
}

/// `NAME = value`, with quotes around either; crontab(5) expands nothing.
fn variable(line: &str) -> Option<(String, String)> {
    let unquoted = |text: &str| {
        let text = text.trim();
        let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
        inner.unwrap_or(text).to_owned()
    };
    let (name, value) = line.split_once('=')?;
    let name = unquoted(name);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| (name, unquoted(value)))
}

fn entry(line: &str, layout: Layout, settings: &Settings) -> Result<Entry, String> {
    if layout == Layout::Anacron {
        return anacron(line, settings);
    }
    let (schedule, rest) = match line.strip_prefix('@') {
        Some(_) => take_words(line, 1),
        None => take_words(line, 5),
    }
    .ok_or("this is no variable, and fewer than five fields and a command")?;
    let (user, command) = match layout {
        Layout::System => take_words(rest, 1).map(|(user, rest)| (Some(user), rest)).ok_or("the command is missing")?,
        _ => (None, rest),
    };
    if command.is_empty() {
        return Err("the command is missing".to_owned());
    }
    let (command, stdin) = percent(command);
    Ok(Entry { schedule, user, stdin, ..plain(line, command, settings) })
}

/// anacrontab(5): `period delay name command`. Debian starts anacron at 07:30 every day.
fn anacron(line: &str, settings: &Settings) -> Result<Entry, String> {
    let (period, rest) = take_words(line, 1).ok_or("the delay is missing")?;
    let (delay, rest) = take_words(rest, 1).ok_or("the name is missing")?;
    let (_, command) = take_words(rest, 1).ok_or("the command is missing")?;
    let delay: u32 = delay.parse().map_err(|_| format!("{delay:?} is not a number of minutes"))?;
    let begin = settings.start_hour.map_or(7 * 60 + 30, |hour| hour * 60) + delay;
    let (minute, hour) = (begin % 60, begin / 60 % 24);
    let (days, window) = match period.as_str() {
        "1" | "@daily" => ("* * *", 1),
        "7" | "@weekly" => ("* * 1", 7),
        "30" | "31" | "@monthly" => ("1 * *", 31),
        "365" | "@yearly" | "@annually" => ("1 1 *", 366),
        other => return Err(format!("every {other} days is no calendar time; choose a schedule for it")),
    };
    let schedule = format!("{minute} {hour} {days}");
    let (catch_up_days, jitter, user) = (Some(window), settings.random_delay, Some("root".to_owned()));
    Ok(Entry { schedule, catch_up_days, jitter, user, ..plain(line, command.to_owned(), settings) })
}

fn plain(line: &str, command: String, settings: &Settings) -> Entry {
    Entry {
        line: 0,
        text: line.to_owned(),
        comments: Vec::new(),
        schedule: String::new(),
        catch_up_days: None,
        jitter: None,
        user: None,
        command,
        stdin: None,
        env: settings.env.clone(),
        shell: settings.shell.clone(),
        mail_to: settings.mail_to.clone(),
        zone: settings.zone.clone(),
    }
}

/// The first `count` words joined by blanks, and the rest of the line.
fn take_words(line: &str, count: usize) -> Option<(String, &str)> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    for _ in 0..count {
        let end = rest.find([' ', '\t'])?;
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Some((words.join(" "), rest))
}

/// crontab(5): the first `%` ends the command, what follows is its input, with newlines for further ones; `\%` is a `%`.
fn percent(command: &str) -> (String, Option<String>) {
    let (mut parts, mut escaped) = (vec![String::new()], false);
    for c in command.chars() {
        let last = parts.len() - 1;
        match c {
            '%' if escaped => {
                parts[last].pop();
                parts[last].push('%');
            }
            '%' => parts.push(String::new()),
            c => parts[last].push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    let command = parts.remove(0).trim_end().to_owned();
    let mut stdin = parts.join("\n");
    if !stdin.is_empty() && !stdin.ends_with('\n') {
        stdin.push('\n');
    }
    (command, Some(stdin).filter(|stdin| !stdin.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_comments_users_and_percents_are_kept() {
        let text = "SHELL=/bin/bash\nMAILTO = \"ops@example.org\"\nCRON_TZ=Asia/Tokyo\nFOO='a b'\n\n# old\n\n# clean up\n# at night\n\
                    5 4 * * sun root  rm -rf /tmp/x # not a comment\n@daily www mail -s hi bob%Hello\\% there%bye\nnonsense here\n";
        let crontab = read(text, Layout::System);
        let first = &crontab.entries[0];
        assert_eq!((first.line, first.schedule.as_str(), first.user.as_deref()), (10, "5 4 * * sun", Some("root")));
        assert_eq!(first.command, "rm -rf /tmp/x # not a comment");
        assert_eq!(first.comments, ["clean up", "at night"]);
        assert_eq!((first.shell.as_deref(), first.mail_to.as_deref()), (Some("/bin/bash"), Some("ops@example.org")));
        assert_eq!(
            (first.zone.as_deref(), &first.env[..]),
            (Some("Asia/Tokyo"), &[("FOO".to_owned(), "a b".to_owned())][..])
        );
        let second = &crontab.entries[1];
        assert_eq!((second.command.as_str(), second.stdin.as_deref()), ("mail -s hi bob", Some("Hello% there\nbye\n")));
        assert_eq!((crontab.refused.len(), crontab.refused[0].0), (1, 12));
    }

    #[test]
    fn anacron_periods_become_calendar_times() {
        let text = "RANDOM_DELAY=30\nSTART_HOURS_RANGE=3-22\n1\t5\tcron.daily\trun-parts /etc/cron.daily\n@monthly 45 m run-parts x\n10 5 odd y\n";
        let crontab = read(text, Layout::Anacron);
        assert_eq!(crontab.entries[0].schedule, "5 3 * * *");
        assert_eq!((crontab.entries[0].jitter, crontab.entries[0].catch_up_days), (Some(30), Some(1)));
        assert_eq!(crontab.entries[0].command, "run-parts /etc/cron.daily");
        assert_eq!(crontab.entries[1].schedule, "45 3 1 * *");
        assert!(crontab.refused[0].2.contains("every 10 days"));
    }
}
