//! The files that come with logkeeper, embedded: for the demo, and for scans without a configuration.

use std::cell::RefCell;
use std::path::Path;

use super::diagnostic::SourceText;
use super::fields::{Fields, Reader};
use super::{format_file, rule_file, stem};
use crate::model::Rule;
use crate::model::format::Format;

macro_rules! shipped {
    ($($path:literal,)*) => { &[$(($path, include_str!(concat!("../../", $path))),)*] };
}

/// Path below the configuration's root and content of every shipped file.
pub const SHIPPED: &[(&str, &str)] = shipped![
    "config/logkeeper.toml",
    "config/formats/caddy.toml",
    "config/formats/json.toml",
    "config/formats/traefik.toml",
    "config/rules/account-under-attack.toml",
    "config/rules/attacking-network.toml",
    "config/rules/error-spikes.toml",
    "config/rules/cleared-logs.toml",
    "config/rules/failed-logins-account.toml",
    "config/rules/failed-logins.toml",
    "config/rules/locked-accounts.toml",
    "config/rules/login-after-failures.toml",
    "config/rules/new-logins.toml",
    "config/rules/password-spraying.toml",
    "config/rules/path-scanning.toml",
    "config/rules/privileged-accounts.toml",
    "config/rules/server-errors.toml",
    "config/rules/silent-sources.toml",
    "config/rules/slow-guessing.toml",
    "config/rules/ssh-probes.toml",
    "config/rules/urgent-bursts.toml",
    "config/rules/urgent-lines.toml",
    "jobs/archive-logs.toml",
    "jobs/error-spikes.toml",
    "jobs/failed-logins.toml",
    "jobs/rotate-records.toml",
    "jobs/verify-archives.toml",
    "jobs/weekly-details.toml",
    "jobs/weekly-summary.toml",
];

/// The shipped rules.
pub fn shipped_rules() -> Vec<Rule> {
    files_in("config/rules")
        .filter_map(|path| read(path, |fields| rule_file::read(fields, &stem(path), None)))
        .collect()
}

/// The files of the shipped formats.
pub(super) fn formats() -> impl Iterator<Item = &'static Path> {
    files_in("config/formats")
}

/// The shipped format in this file.
pub(super) fn format(file: &Path, name: &str) -> Option<Format> {
    read(file, |fields| format_file::read(fields, name))
}

fn files_in(folder: &'static str) -> impl Iterator<Item = &'static Path> {
    SHIPPED.iter().map(|(path, _)| Path::new(path)).filter(move |path| path.starts_with(folder))
}

fn read<T>(path: &Path, make: impl FnOnce(&mut Fields<'_, '_>) -> Option<T>) -> Option<T> {
    let (_, text) = SHIPPED.iter().find(|(known, _)| Path::new(known) == path)?;
    let (source, errors) = (SourceText::new(path, (*text).to_owned()), RefCell::new(Vec::new()));
    Reader::new(&source, &errors).document(make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_is_embedded_and_every_rule_is_flawless() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["config", "config/formats", "config/rules", "jobs"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                assert!(
                    path.is_dir() || SHIPPED.iter().any(|(known, _)| *known == relative),
                    "{relative} is not embedded"
                );
            }
        }
        let rules = SHIPPED.iter().filter(|(path, _)| path.starts_with("config/rules")).count();
        assert_eq!(shipped_rules().len(), rules);
    }
}
