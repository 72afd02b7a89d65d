//! Which crontabs were imported, so that nothing runs twice and nothing new is overlooked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file below the configuration's root that remembers them.
const FILE: &str = "config/imported-crontabs.json";

/// The name of anacron's table.
pub const ANACRONTAB: &str = "anacrontab";

/// The crontabs that were imported.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Imported {
    /// The folder where `crontab` and `cron.d` lie.
    pub etc: PathBuf,
    /// The files that were in `cron.d` when all of it was imported; `None`: it was not.
    pub cron_d: Option<Vec<PathBuf>>,
    /// The lines taken over, by file.
    pub lines: BTreeMap<PathBuf, Vec<String>>,
}

impl Imported {
    /// What is on record; nothing where nothing was imported.
    pub fn load(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_else(|_| Self { etc: PathBuf::from("/etc"), ..Self::default() })
    }

    /// Puts it on record.
    ///
    /// # Errors
    /// Fails where the file can't be written.
    pub fn save(&self, root: &Path) -> std::io::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        crate::fs::replace(&root.join(FILE), json.as_bytes())
    }
}

/// Lines that cron runs although logkeeper runs them, too, and new files in `cron.d`: what is wrong, and what to do.
pub fn still_run_by_cron(root: &Path) -> Vec<(String, String)> {
    let imported = Imported::load(root);
    if imported.lines.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (cron, anacron) = (cron_daemon(), anacron_timer(&imported.etc));
    for (file, lines) in &imported.lines {
        let is_anacrontab = file.file_name().is_some_and(|name| name == ANACRONTAB);
        let Some((who, unit)) = (if is_anacrontab { anacron.clone().or_else(|| cron.clone()) } else { cron.clone() })
        else {
            continue;
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let live = lines.iter().filter(|line| text.lines().any(|there| there.trim_start() == **line)).count();
        if live > 0 {
            let what = format!("{who} still runs {live} lines of {}, as logkeeper does", file.display());
            found.push((what, format!("stop it: systemctl disable --now {unit}; or take the lines out there")));
        }
    }
    let known = imported.cron_d.as_ref();
    let files = known.map_or_else(Vec::new, |_| cron_d_files(&imported.etc.join("cron.d")));
    let is_new = |file: &PathBuf| known.is_none_or(|known| !known.contains(file)) && !imported.lines.contains_key(file);
    for file in files.into_iter().filter(is_new) {
        let what = format!("{} has appeared since the import; logkeeper doesn't run it", file.display());
        found.push((what, format!("logkeeper import crontab {}", file.display())));
    }
    found
}

/// The files of `cron.d` that cron reads: names of letters, digits, underscores and hyphens only (cron(8)).
pub fn cron_d_files(folder: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.file_name());
    let is_read = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).filter(is_read).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// The timer by which systemd starts anacron, where it is switched on: what runs, and its unit.
fn anacron_timer(etc: &Path) -> Option<(String, &'static str)> {
    let unit = "anacron.timer";
    let systemd = etc.parent()?.join("run/systemd/system");
    let enabled = etc.join("systemd/system/timers.target.wants").join(unit).is_symlink();
    (enabled && systemd.exists()).then(|| ("anacron (by its timer)".to_owned(), unit))
}

/// A cron that runs here: its process, and its unit.
fn cron_daemon() -> Option<(String, &'static str)> {
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    // One in a container is not this machine's; where that can't be told, it is taken for ours.
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    let is_ours = |pid: &u32| namespace(&pid.to_string()).is_none_or(|theirs| Some(theirs) == namespace("self"));
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours);
    pids.find_map(|pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The unit goes by the name of its program.
        let unit = ["cron", "crond", "fcron"].into_iter().find(|unit| *unit == name.trim())?;
        Some((format!("{unit} (pid {pid})"), unit))
    })
}
