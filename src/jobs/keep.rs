//! Retention: lets archives go that no rule keeps, and only where that is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use super::copies::{Places, places_for};
use super::counted;
use crate::archive::{
    ArchiveError, Effort, Item, Step, Verdict, hold, manifest_path, read_manifest, remove_archive, retain, verify,
};
use crate::config::Config;
use crate::model::ArchiveSpec;
use crate::store::{ArchiveFilter, Catalogued, Store, StoreError};

/// An archive and what becomes of it.
pub struct Judged {
    /// The archive.
    pub archive: Catalogued,
    /// Whether it goes, and why.
    pub verdict: Verdict,
    group: (String, String),
}

/// What is to become of each archive of a job, by path.
///
/// # Errors
/// Fails where the catalogue can't be read, or says why nothing may go now.
pub fn judge(
    spec: &ArchiveSpec,
    config: &Config,
    store: &Store,
    now: DateTime<Utc>,
) -> Result<Result<Vec<Judged>, String>, StoreError> {
    let mut archives = store.catalogue(&ArchiveFilter::default())?;
    archives.retain(|archive| archive.path.starts_with(&spec.store) && spec.sources.contains(&archive.entry.source));
    if let Some(later) = archives.iter().find(|archive| archive.at > now) {
        let why = "was made in the future: the clock goes wrong, so no archive is removed";
        let help = "if it is right now, \"logkeeper archive reindex\" mends the record";
        return Ok(Err(format!("{} {why}; {help}", later.path.display())));
    }
    let mut uncopied = Vec::new();
    for archive in &archives {
        let places = places_for(config, &spec.store, archive).into_iter();
        let copies = places.map(|place| Ok((place, store.copy_of(&archive.entry.sha256, place)?)));
        let copies: Vec<_> = copies.collect::<Result<_, StoreError>>()?;
        let missing = copies.into_iter().find(|(_, copy)| copy.as_ref().is_none_or(|copy| copy.version.is_none()));
        uncopied.push(missing.map(|(place, _)| place));
    }
    let items: Result<Vec<Item>, String> =
        archives.iter().zip(uncopied).map(|(archive, uncopied)| item(archive, uncopied)).collect();
    let items = match items {
        Ok(items) => items,
        Err(error) => return Ok(Err(error)),
    };
    let free = match rustix::fs::statvfs(&spec.store) {
        Ok(fs) => fs.f_bavail.saturating_mul(fs.f_frsize),
        Err(_) if archives.is_empty() => u64::MAX,
        Err(error) => return Ok(Err(format!("{}: {error}", spec.store.display()))),
    };
    let verdicts = retain(&items, &spec.keep, now, free);
    let judged = archives.into_iter().zip(items).zip(verdicts);
    Ok(Ok(judged.map(|((archive, item), verdict)| Judged { archive, verdict, group: item.group }).collect()))
}

fn item(archive: &Catalogued, uncopied: Option<&str>) -> Result<Item, String> {
    let held = hold(&archive.path).map_err(|error| format!("{}: {error}", archive.path.display()))?;
    let whole = archive.damage.is_none() && archive.path.exists();
    let held = match held {
        Some(why) => Some(format!("on hold: {why}")),
        None if !whole => Some("damaged or not there; see \"logkeeper archive list\"".to_owned()),
        None => uncopied.map(|place| format!("not copied to {place} yet")),
    };
    let date = archive.entry.date.parse::<NaiveDate>().unwrap_or(archive.at.date_naive());
    let manifest = std::fs::metadata(manifest_path(&archive.path)).map_or(0, |meta| meta.len());
    let group = (archive.entry.host.clone(), archive.entry.source.clone());
    Ok(Item { group, date, made: archive.at.timestamp(), size: archive.entry.size + manifest, held, whole })
}

/// What was done.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The archives that are gone.
    pub removed: Vec<PathBuf>,
    /// What went wrong.
    pub problems: Vec<String>,
}

/// Removes what may go. Of a source whose newest archive doesn't verify, nothing goes; nor does an archive whose copies are not
/// there any more.
///
/// # Errors
/// Fails where the database can't be written, or `step` says so.
pub fn prune(
    judged: &[Judged],
    (folder, places): (&Path, &mut Places<'_>),
    store: &Store,
    now: DateTime<Utc>,
    step: Step<'_>,
) -> Result<Pruned, StoreError> {
    let mut pruned = Pruned::default();
    let going: BTreeSet<&(String, String)> =
        judged.iter().filter(|one| one.verdict.goes).map(|one| &one.group).collect();
    let mut newest: BTreeMap<&(String, String), Vec<&Catalogued>> = BTreeMap::new();
    let whole = |one: &&Judged| one.archive.damage.is_none() && one.archive.path.exists();
    for Judged { archive, group, .. } in judged.iter().filter(|one| going.contains(&one.group)).filter(whole) {
        let known = newest.entry(group).or_default();
        known.retain(|other| other.entry.date >= archive.entry.date);
        if known.iter().all(|other| other.entry.date == archive.entry.date) {
            known.push(archive);
        }
    }
    let mut unsafe_groups: BTreeSet<&(String, String)> =
        going.iter().copied().filter(|group| !newest.contains_key(group)).collect();
    let newest = newest.into_iter().flat_map(|(group, archives)| archives.into_iter().map(move |one| (group, one)));
    for (group, archive) in newest {
        match check(&archive.path, Effort::up_to(2, true), &|_| step(0)) {
            Ok(()) => store.record_verification(&archive.path, None, now)?,
            Err(ArchiveError::Stopped) => return Ok(pruned),
            Err(error) => {
                store.record_verification(&archive.path, Some(&error.to_string()), now)?;
                let (host, source) = group;
                pruned.problems.push(format!("no archive of {host}'s {source} is removed: {error}"));
                unsafe_groups.insert(group);
            }
        }
    }
    for Judged { archive, .. } in judged.iter().filter(|one| one.verdict.goes && !unsafe_groups.contains(&one.group)) {
        if step(0) {
            break;
        }
        match hold(&archive.path) {
            Ok(None) => {}
            Ok(Some(_)) => continue,
            Err(error) => {
                pruned.problems.push(format!("{}: {error}", archive.path.display()));
                continue;
            }
        }
        if let Some(why) = places.missing(folder, archive, &|| step(0))? {
            if step(0) {
                break;
            }
            pruned.problems.push(format!("{} stays: {why}", archive.path.display()));
            continue;
        }
        store.record_removal(&archive.path, now)?;
        match remove_archive(&archive.path) {
            Ok(()) => {
                store.record_gone(&archive.path)?;
                pruned.removed.push(archive.path.clone());
            }
            Err(error) => pruned.problems.push(format!("can't remove {}: {error}", archive.path.display())),
        }
    }
    Ok(pruned)
}

/// Compares an archive with the manifest beside it.
///
/// # Errors
/// Says in which way it doesn't hold.
pub fn check(path: &Path, effort: Effort, step: Step<'_>) -> Result<(), ArchiveError> {
    verify(path, &read_manifest(path)?, effort, step)
}

/// The same archive and manifest as are on record.
///
/// # Errors
/// Says in which way they don't hold.
pub fn check_catalogued(archive: &Catalogued, effort: Effort, step: Step<'_>) -> Result<(), ArchiveError> {
    let manifest = read_manifest(&archive.path)?;
    if !archive.entry.has_manifest(&manifest) {
        let reason = "its manifest is not the one on record".to_owned();
        return Err(ArchiveError::Differs { path: archive.path.clone(), reason });
    }
    verify(&archive.path, &manifest, effort, step)
}

/// `removed 3 archives that no rule keeps`
pub(super) fn removed_words(removed: &[PathBuf]) -> Option<String> {
    (!removed.is_empty()).then(|| format!("removed {} that no rule keeps", counted(removed.len(), "archive")))
}
