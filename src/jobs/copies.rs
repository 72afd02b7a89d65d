//! Copies of archives elsewhere: sent, read back and compared, and looked at again before the archive here is let go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Context, JobError};
use crate::archive::manifest_path;
use crate::config::Config;
use crate::copies::{CopyError, Place, Seen, Sending, open};
use crate::model::ArchiveSpec;
use crate::model::archive::hex;
use crate::store::{ArchiveFilter, Catalogued, Store, StoreError};

/// What came of copying.
#[derive(Debug, Default)]
pub struct Copied {
    /// How many copies were made.
    pub made: usize,
    /// What could not be copied, and why.
    pub problems: Vec<String>,
}

/// Copies every whole archive of a job to each of its places where it is not yet.
pub fn copy_archives(spec: &ArchiveSpec, context: &Context<'_>) -> Result<Copied, JobError> {
    let mut copied = Copied::default();
    for name in &spec.copies {
        let mut archives = context.store.catalogue(&ArchiveFilter::default())?;
        archives.retain(|archive| {
            archive.path.starts_with(&spec.store)
                && spec.sources.contains(&archive.entry.source)
                && archive.damage.is_none()
        });
        let mut place = None;
        for archive in archives {
            context.check()?;
            let known = context.store.copy_of(&archive.path, name)?;
            if known.is_some_and(|copy| copy.version.is_some()) || !archive.path.exists() {
                continue;
            }
            let done =
                Job { spec, name, config: context.config, store: context.store, stop: &|| context.check().is_err() }
                    .copy(&archive, &mut place);
            match done {
                Ok(version) => {
                    let key = key_of(spec, &archive.path);
                    context.store.record_copy(&archive.path, name, &key, &version, context.clock.now())?;
                    copied.made += 1;
                }
                Err(CopyError::Stopped) => {
                    context.check()?;
                }
                Err(error @ CopyError::Place(_)) => {
                    copied.problems.push(format!("no copies to {name}: {error}; the next run goes on"));
                    break;
                }
                Err(CopyError::One(why)) => {
                    let file = archive.path.display();
                    copied.problems.push(format!("{file} was not copied to {name}: {why}; the next run tries again"));
                }
            }
        }
    }
    Ok(copied)
}

/// One copying.
struct Job<'a> {
    spec: &'a ArchiveSpec,
    name: &'a str,
    config: &'a Config,
    store: &'a Store,
    stop: &'a dyn Fn() -> bool,
}

impl Job<'_> {
    /// Gives the version of the copy that was compared with the archive.
    fn copy(&self, archive: &Catalogued, place: &mut Option<Box<dyn Place>>) -> Result<String, CopyError> {
        let place = match place {
            Some(place) => place,
            None => place.insert(place_named(self.config, self.name)?),
        };
        let manifest = manifest_path(&archive.path);
        let bytes = std::fs::read(&manifest).map_err(|error| one(&manifest, &error))?;
        let text = hex(&Sha256::digest(&bytes));
        // The manifest first, as in the store.
        self.copy_file(&manifest, bytes.len() as u64, &text, &mut **place, None, &|_| Ok(()))?;
        let key = key_of(self.spec, &archive.path);
        let noted = self.store.copy_of(&archive.path, self.name).map_err(|error| CopyError::One(error.to_string()))?;
        let note = |noted: &str| self.store.note_copy(&archive.path, self.name, &key, noted).map_err(io::Error::other);
        let noted = noted.and_then(|copy| copy.noted);
        let seen =
            self.copy_file(&archive.path, archive.entry.size, &archive.entry.sha256, &mut **place, noted, &note)?;
        Ok(seen.version)
    }

    fn copy_file(
        &self,
        path: &Path,
        size: u64,
        sha256: &str,
        place: &mut dyn Place,
        noted: Option<String>,
        note: &dyn Fn(&str) -> io::Result<()>,
    ) -> Result<Seen, CopyError> {
        let key = &key_of(self.spec, path);
        let send = place.look(key, self.stop)?.is_none();
        if send {
            let file = File::open(path).map_err(|error| one(path, &error))?;
            place.send(&Sending { key, file: &file, size, noted, note }, self.stop)?;
        }
        if let Some(seen) = self.compared(key, size, sha256, place)? {
            return Ok(seen);
        }
        if send {
            place.remove(key, self.stop)?;
            return Err(CopyError::One("what arrived there was not the same, and was removed again".to_owned()));
        }
        Err(CopyError::One(format!("what is there as {key} is another file; remove it there if nobody needs it")))
    }

    /// What is there, where it is the same to the last byte.
    fn compared(&self, key: &str, size: u64, sha256: &str, place: &mut dyn Place) -> Result<Option<Seen>, CopyError> {
        let Some(seen) = place.look(key, self.stop)?.filter(|seen| seen.size == size) else { return Ok(None) };
        let mut digest = Hash(Sha256::new());
        place.read(key, &mut digest, self.stop)?;
        let is_same = hex(&digest.0.finalize()) == sha256 && place.look(key, self.stop)?.as_ref() == Some(&seen);
        Ok(is_same.then_some(seen))
    }
}

struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The place of that name.
///
/// # Errors
/// Says why it can't be used.
pub fn place_named(config: &Config, name: &str) -> Result<Box<dyn Place>, CopyError> {
    // The names in jobs were checked when the configuration was read.
    let place = config.copies.get(name).ok_or_else(|| CopyError::Place(format!("there is no place {name:?}")))?;
    open(place)
}

/// The path of an archive at the places of copies: as in the store.
fn key_of(spec: &ArchiveSpec, path: &Path) -> String {
    path.strip_prefix(&spec.store).unwrap_or(path).to_string_lossy().into_owned()
}

fn one(path: &Path, error: &io::Error) -> CopyError {
    CopyError::One(format!("{}: {error}", path.display()))
}

/// Looks at the copies of archives that are to be let go.
pub struct Lookout<'a> {
    spec: &'a ArchiveSpec,
    config: &'a Config,
    store: &'a Store,
    places: BTreeMap<String, Result<Box<dyn Place>, String>>,
}

impl<'a> Lookout<'a> {
    /// For the archives of a job.
    pub fn new(spec: &'a ArchiveSpec, config: &'a Config, store: &'a Store) -> Self {
        Self { spec, config, store, places: BTreeMap::new() }
    }

    /// Why an archive has to stay: a copy is missing, or not what it was when it was compared.
    ///
    /// # Errors
    /// Fails where the database can't be used.
    pub fn missing(&mut self, archive: &Catalogued, stop: &dyn Fn() -> bool) -> Result<Option<String>, StoreError> {
        for name in &self.spec.copies {
            let known = self.store.copy_of(&archive.path, name)?;
            let Some((key, version)) = known.and_then(|copy| Some((copy.key, copy.version?))) else {
                return Ok(Some(format!("it is not copied to {name} yet")));
            };
            let open = || place_named(self.config, name).map_err(|error| error.to_string());
            let seen = match self.places.entry(name.clone()).or_insert_with(open) {
                Ok(place) => place.look(&key, stop).map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match seen {
                Ok(Some(seen)) if seen == (Seen { size: archive.entry.size, version }) => {}
                Ok(_) => {
                    // The next run copies it again.
                    self.store.forget_copy(&archive.path, name)?;
                    return Ok(Some(format!("its copy at {name} is gone or not the same any more")));
                }
                Err(error) => return Ok(Some(format!("its copy at {name} can't be looked at: {error}"))),
            }
        }
        Ok(None)
    }
}
