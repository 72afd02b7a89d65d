//! Copies of archives elsewhere: sent, read back and compared, and looked at again before the archive here is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::comparison::Comparison;
use super::keep::check_catalogued;
use super::{Context, JobError};
use crate::archive::{Effort, MANIFEST, manifest_path, parse_manifest};
use crate::config::Config;
use crate::copies::{CopyError, Place, Seen, Sending, open};
use crate::digest::Hasher;
use crate::model::{ArchiveSpec, CopyPlace, Work};
use crate::store::{ArchiveFilter, Catalogued, Copy, Store, StoreError};

/// After so many archives in a row that could not be copied, a place is given up for this run.
const PATIENCE: usize = 3;

/// How many digits of an archive's digest tell it from another one of its name.
const DIGITS: usize = 12;

/// What came of copying.
#[derive(Debug, Default)]
pub struct Copied {
    /// How many copies were made.
    pub made: usize,
    /// What could not be copied, and why.
    pub problems: Vec<String>,
}

/// The places that get copies of an archive in a store: of every job that puts such there.
pub fn places_for<'c>(config: &'c Config, store: &Path, archive: &Catalogued) -> BTreeSet<&'c str> {
    let specs = config.jobs.values().filter_map(|job| match &job.work {
        Work::Archive(spec) if spec.store == store && may_leave(spec, archive) => Some(spec),
        _ => None,
    });
    specs.flat_map(|spec| spec.copies.iter().map(String::as_str)).collect()
}

/// Whether copies of an archive are made for a job: not of plain ones that were there before it began to encrypt.
fn may_leave(spec: &ArchiveSpec, archive: &Catalogued) -> bool {
    spec.sources.contains(&archive.entry.source) && (spec.encrypt.is_empty() || archive.entry.inside.is_some())
}

/// The archives of a job that have no copy at a place yet, or at one of that identity.
///
/// # Errors
/// Fails where the database can't be read.
pub fn uncopied(
    spec: &ArchiveSpec,
    store: &Store,
    place: &str,
    identity: Option<&str>,
) -> Result<Vec<Catalogued>, StoreError> {
    let mut archives = store.catalogue(&ArchiveFilter::default())?;
    archives.retain(|archive| {
        let is_ours = archive.path.starts_with(&spec.store) && may_leave(spec, archive);
        is_ours && archive.damage.is_none() && archive.path.exists()
    });
    let known = archives.iter().map(|archive| store.copy_of(&archive.entry.sha256, place));
    let known: Vec<Option<Copy>> = known.collect::<Result<_, _>>()?;
    let holds = |copy: &Copy| copy.version.is_some() && identity.is_none_or(|identity| identity == copy.identity);
    let missing = archives.into_iter().zip(known).filter(|(_, copy)| !copy.as_ref().is_some_and(holds));
    Ok(missing.map(|(archive, _)| archive).collect())
}

/// Copies every whole archive of a job to each of its places where it is not yet.
pub fn copy_archives(spec: &ArchiveSpec, context: &Context<'_>) -> Result<Copied, JobError> {
    let mut copied = Copied::default();
    let mut places = Places::new(context.config, context.store);
    for name in &spec.copies {
        // To a place that is another one now, everything is copied again.
        let identity = places.get(name).map(|place| place.identity().to_owned()).ok();
        let mut failed = 0;
        for archive in uncopied(spec, context.store, name, identity.as_deref())? {
            context.check()?;
            let stop = || context.check().is_err();
            let file = archive.path.display();
            match (Copying { spec, name, store: context.store, stop: &stop }).archive(&archive, &mut places) {
                Ok(()) => {
                    copied.made += 1;
                    failed = 0;
                }
                Err(CopyError::Stopped) => context.check()?,
                Err(CopyError::Place(why)) => {
                    copied.problems.push(format!("no copies to {name}: {why}; the next run goes on"));
                    break;
                }
                Err(CopyError::One(why)) => {
                    copied.problems.push(format!("{file} was not copied to {name}: {why}; the next run tries again"));
                    failed += 1;
                    let effort = Effort::up_to(2, true);
                    if let Err(error) = check_catalogued(&archive, effort, &|_| stop()) {
                        context.check()?;
                        context.store.record_verification(
                            &archive.path,
                            Some(&error.to_string()),
                            context.clock.now(),
                        )?;
                        copied.problems.push(error.to_string());
                    } else if failed == PATIENCE {
                        copied.problems.push(format!("{name} is given up for this run"));
                        break;
                    }
                }
            }
        }
    }
    Ok(copied)
}

/// Copying to one place.
struct Copying<'a> {
    spec: &'a ArchiveSpec,
    name: &'a str,
    store: &'a Store,
    stop: &'a dyn Fn() -> bool,
}

impl Copying<'_> {
    /// Copies an archive and its manifest under a name that nothing else has there, and puts that on record.
    fn archive(&self, archive: &Catalogued, places: &mut Places<'_>) -> Result<(), CopyError> {
        let place = places.get(self.name)?;
        let sha256 = &archive.entry.sha256;
        let known = self.store.copy_of(sha256, self.name).map_err(|error| CopyError::One(error.to_string()))?;
        let known = known.filter(|copy| copy.identity == place.identity());
        let name = archive.path.strip_prefix(&self.spec.store).unwrap_or(&archive.path);
        let plain = name.to_string_lossy().into_owned();
        let apart = name.with_file_name(&sha256[..DIGITS.min(sha256.len())]).join(&archive.entry.name);
        let mut keys = vec![plain, apart.to_string_lossy().into_owned()];
        if let Some(known) = &known {
            // Where it was begun.
            keys.sort_by_key(|key| *key != known.key);
        }
        for key in keys {
            let known = known.clone().filter(|known| known.key == key).unwrap_or_default();
            let (sha256, place_name) = (sha256.clone(), self.name.to_owned());
            let row = Copy { sha256, place: place_name, identity: place.identity().to_owned(), key, ..known };
            let Some(manifest) = self.manifest(archive, &row.key, place)? else { continue };
            if let Some(seen) = self.whole(archive, &row, place)? {
                let manifest = Some(manifest.version);
                let row =
                    Copy { version: Some(seen.version), manifest, sent: None, noted: None, compared: None, ..row };
                return self.record(&row);
            }
        }
        Err(CopyError::One("other files have its name there".to_owned()))
    }

    /// Copies the manifest, first as in the store, and compares the copy; `None` where another file has its name there.
    fn manifest(&self, archive: &Catalogued, key: &str, place: &mut dyn Place) -> Result<Option<Seen>, CopyError> {
        let (path, key) = (manifest_path(&archive.path), format!("{key}{MANIFEST}"));
        let file = File::open(&path).map_err(|error| one(&path, &error))?;
        let mut hash = Hasher::default();
        let size = io::copy(&mut &file, &mut hash).map_err(|error| one(&path, &error))?;
        let sha256 = hash.finish();
        if place.look(&key, self.stop)?.is_none() {
            let sending = Sending { key: &key, file: &file, size, sha256: &sha256, noted: None, note: &|_| Ok(()) };
            place.send(&sending, self.stop)?;
        }
        let Some(seen) = place.look(&key, self.stop)?.filter(|seen| seen.size == size) else { return Ok(None) };
        let mut digest = Hasher::default();
        place.read(&key, 0, &mut digest, self.stop)?;
        let is_same = digest.finish() == sha256 && place.look(&key, self.stop)?.as_ref() == Some(&seen);
        Ok(is_same.then_some(seen))
    }

    /// What is there, where it is the archive to the last byte. How far that is known is noted, so that one that takes longer to read
    /// than a run may last is compared by several.
    fn compared(&self, archive: &Catalogued, row: &Copy, place: &mut dyn Place) -> Result<Option<Seen>, CopyError> {
        let (key, path, size) = (&row.key, &archive.path, archive.entry.size);
        let Some(seen) = place.look(key, self.stop)?.filter(|seen| seen.size == size) else { return Ok(None) };
        let known = row.compared.as_deref().and_then(|known| known.split_once(' '));
        let known = known.filter(|(_, version)| *version == seen.version).and_then(|(at, _)| at.parse().ok());
        let note = |at: u64| {
            let row = Copy { compared: Some(format!("{at} {}", seen.version)), ..row.clone() };
            self.store.record_copy(&row).map_err(io::Error::other)
        };
        let mut from = known.unwrap_or(0);
        loop {
            let comparison = File::open(path).and_then(|file| Comparison::behind(from, file, &note));
            let mut comparison = comparison.map_err(|error| one(path, &error))?;
            place.read(key, from, &mut comparison, self.stop)?;
            if place.look(key, self.stop)?.as_ref() != Some(&seen) {
                return Ok(None);
            }
            if comparison.digest.finish() == archive.entry.sha256 {
                return Ok(Some(seen));
            }
            // The archive here may have changed since its beginning was compared.
            if from == 0 {
                return Ok(None);
            }
            from = 0;
        }
    }

    /// Copies the archive and compares the copy; `None` where another file has its name there.
    fn whole(&self, archive: &Catalogued, row: &Copy, place: &mut dyn Place) -> Result<Option<Seen>, CopyError> {
        let (key, path) = (&row.key, &archive.path);
        let mut row = row.clone();
        if place.look(key, self.stop)?.is_none() {
            let file = File::open(path).map_err(|error| one(path, &error))?;
            let note = |noted: &str| {
                let row = Copy { noted: Some(noted.to_owned()), sent: None, compared: None, ..row.clone() };
                self.store.record_copy(&row).map_err(io::Error::other)
            };
            let (size, sha256) = (archive.entry.size, &*archive.entry.sha256);
            let sending = Sending { key, file: &file, size, sha256, noted: row.noted.clone(), note: &note };
            let sent = Some(place.send(&sending, self.stop)?);
            row = Copy { sent, noted: None, compared: None, ..row };
            self.record(&row)?;
        }
        if let Some(seen) = self.compared(archive, &row, place)? {
            return Ok(Some(seen));
        }
        let version = place.look(&row.key, self.stop)?.map(|seen| seen.version);
        if version.is_none() || version != row.sent {
            return Ok(None);
        }
        place.remove(&row.key, self.stop)?;
        self.store.forget_copy(&row).map_err(|error| CopyError::One(error.to_string()))?;
        Err(CopyError::One("what arrived there was not the same, and was removed again".to_owned()))
    }

    fn record(&self, row: &Copy) -> Result<(), CopyError> {
        self.store.record_copy(row).map_err(|error| CopyError::One(error.to_string()))
    }
}

fn one(path: &Path, error: &io::Error) -> CopyError {
    CopyError::One(format!("{}: {error}", path.display()))
}

/// The places of the configuration, opened once each; one that fails is not asked again.
pub struct Places<'a> {
    config: &'a Config,
    store: &'a Store,
    /// Whether a folder to which nothing was copied yet may be marked as a place.
    may_mark: bool,
    open: BTreeMap<String, Result<Box<dyn Place>, String>>,
}

impl<'a> Places<'a> {
    /// None of them is open yet.
    pub fn new(config: &'a Config, store: &'a Store) -> Self {
        Self { config, store, may_mark: true, open: BTreeMap::new() }
    }

    /// The same for reading only.
    pub fn for_reading(config: &'a Config, store: &'a Store) -> Self {
        Self { may_mark: false, ..Self::new(config, store) }
    }

    /// The place of that name.
    ///
    /// # Errors
    /// Says why it can't be used.
    pub fn get(&mut self, name: &str) -> Result<&mut dyn Place, CopyError> {
        if !self.open.contains_key(name) {
            let opened = self.opened(name).map_err(|error| error.to_string());
            self.open.insert(name.to_owned(), opened);
        }
        match self.open.get_mut(name) {
            Some(Ok(place)) => Ok(&mut **place),
            Some(Err(why)) => Err(CopyError::Place(why.clone())),
            None => Err(CopyError::Place(format!("there is no place {name:?}"))),
        }
    }

    fn opened(&self, name: &str) -> Result<Box<dyn Place>, CopyError> {
        // The names in jobs were checked when the configuration was read.
        let place = self.config.copies.get(name);
        let place = place.ok_or_else(|| CopyError::Place(format!("there is no place {name:?}")))?;
        if let CopyPlace::Folder(folder) = place {
            self.refuse_store(folder)?;
        }
        let known = self.store.copied_to(name).map_err(|error| CopyError::Place(error.to_string()))?;
        open(place, known.as_deref(), self.may_mark)
    }

    /// A store is no place for copies: an archive would be its own copy, and one job would remove what another has put there.
    fn refuse_store(&self, folder: &Path) -> Result<(), CopyError> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let numbers = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        for job in self.config.jobs.values() {
            let Work::Archive(spec) = &job.work else { continue };
            let (place, store) = (real(folder), real(&spec.store));
            let same = numbers(folder).is_some_and(|folder| Some(folder) == numbers(&spec.store));
            if same || place.starts_with(&store) || store.starts_with(&place) {
                let (folder, store) = (folder.display(), spec.store.display());
                let why = format!(
                    "{folder} and the store of job {} ({store}) lie in one another; name another folder",
                    job.id
                );
                return Err(CopyError::Place(why));
            }
        }
        Ok(())
    }

    /// Remembers that a place can't be reached.
    fn give_up(&mut self, name: &str, why: &str) {
        self.open.insert(name.to_owned(), Err(why.to_owned()));
    }

    /// Why an archive in a store has to stay: a copy is missing, or not what it was when it was compared.
    ///
    /// # Errors
    /// Fails where the database can't be used.
    pub fn missing(
        &mut self,
        store: &Path,
        archive: &Catalogued,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<String>, StoreError> {
        for name in places_for(self.config, store, archive) {
            let Some(copy) = self.store.copy_of(&archive.entry.sha256, name)?.filter(|copy| copy.version.is_some())
            else {
                return Ok(Some(format!("it is not copied to {name} yet")));
            };
            if let Some(why) = self.lost(&copy, archive.entry.size, stop)? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Why a finished copy of an archive of so many bytes can't be relied on: it is gone, or not what it was when it was compared, so that
    /// the next run copies it again; or it can't be looked at.
    ///
    /// # Errors
    /// Fails where the database can't be used.
    pub fn lost(&mut self, copy: &Copy, size: u64, stop: &dyn Fn() -> bool) -> Result<Option<String>, StoreError> {
        match self.holds(copy, Some(size), stop) {
            Ok(true) => Ok(None),
            Ok(false) => {
                self.store.forget_copy(copy)?;
                Ok(Some(format!("its copy at {} is gone or not the same any more", copy.place)))
            }
            Err(error) => Ok(Some(self.unseen(copy, &error))),
        }
    }

    /// The same of a copy whose archive is no longer here: one that looks different is read again before it is given up. Of one on a disk
    /// that is not there now nothing is known.
    ///
    /// # Errors
    /// Fails where the database can't be used.
    pub fn lost_for_good(&mut self, copy: &Copy, stop: &dyn Fn() -> bool) -> Result<Option<String>, StoreError> {
        let held = match self.get(&copy.place).map(|place| place.identity() == copy.identity) {
            Ok(true) => self.holds(copy, None, stop),
            elsewhere => elsewhere.map(|_| true),
        };
        let held = match held {
            Ok(false) => self.read_again(copy, stop),
            held => held.map(|_| Some(Copy { lost: false, ..copy.clone() })),
        };
        match held {
            Ok(Some(now)) if now == *copy => Ok(None),
            Ok(Some(now)) => self.store.record_copy(&now).map(|()| None),
            // It stays on record, because it may come back, but it is told once.
            Ok(None) if copy.lost => Ok(None),
            Ok(None) => {
                self.store.record_copy(&Copy { lost: true, ..copy.clone() })?;
                let place = &copy.place;
                Ok(Some(format!(
                    "its copy at {place} is gone or not the same any more, and the archive is no longer here"
                )))
            }
            Err(error) => Ok(Some(self.unseen(copy, &error))),
        }
    }

    /// What is on record of a copy that was changed but holds the same bytes, and whose manifest is still about them.
    fn read_again(&mut self, copy: &Copy, stop: &dyn Fn() -> bool) -> Result<Option<Copy>, CopyError> {
        let place = self.get(&copy.place)?;
        let manifest_key = format!("{}{MANIFEST}", copy.key);
        let (Some(seen), Some(manifest)) = (place.look(&copy.key, stop)?, place.look(&manifest_key, stop)?) else {
            return Ok(None);
        };
        let mut text = Vec::new();
        place.read(&manifest_key, 0, &mut text, stop)?;
        let is_its = parse_manifest(Path::new(&manifest_key), &text).is_ok_and(|entry| entry.sha256 == copy.sha256);
        let mut digest = Hasher::default();
        place.read(&copy.key, 0, &mut digest, stop)?;
        let is_same = is_its
            && digest.finish() == copy.sha256
            && place.look(&copy.key, stop)?.as_ref() == Some(&seen)
            && place.look(&manifest_key, stop)?.as_ref() == Some(&manifest);
        let (version, manifest) = (Some(seen.version), Some(manifest.version));
        Ok(is_same.then(|| Copy { version, manifest, lost: false, ..copy.clone() }))
    }

    /// Why a copy can't be looked at.
    fn unseen(&mut self, copy: &Copy, error: &CopyError) -> String {
        let name = &copy.place;
        if let CopyError::Place(why) = error {
            self.give_up(name, why);
        }
        format!("its copy at {name} can't be looked at: {error}")
    }

    fn holds(&mut self, copy: &Copy, size: Option<u64>, stop: &dyn Fn() -> bool) -> Result<bool, CopyError> {
        let place = self.get(&copy.place)?;
        if place.identity() != copy.identity {
            return Ok(false);
        }
        let seen = place.look(&copy.key, stop)?;
        let is_same =
            seen.is_some_and(|seen| size.is_none_or(|size| seen.size == size) && Some(seen.version) == copy.version);
        let manifest = place.look(&format!("{}{MANIFEST}", copy.key), stop)?.map(|seen| seen.version);
        Ok(is_same && manifest == copy.manifest)
    }
}
