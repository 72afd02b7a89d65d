//! Copies in a folder, which is often another machine's disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{CopyError, Place, Seen, Sending};
use crate::fs::{create_folder, forget_cached, identity, open_regular, partial_name, publish_new, remove};

/// How much is copied between two looks whether to stop.
const PART: usize = 1 << 20;

/// A folder.
pub struct Folder(PathBuf);

impl Folder {
    /// That must be there: one that isn't is usually a disk that is not mounted.
    pub fn new(path: &Path) -> Result<Self, CopyError> {
        if path.is_dir() {
            return Ok(Self(path.to_owned()));
        }
        Err(CopyError::Place(format!("{} is no folder; is its disk mounted?", path.display())))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.join(key)
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CopyError {
    move |error| CopyError::One(format!("{}: {error}", path.display()))
}

impl Place for Folder {
    fn look(&mut self, key: &str, _: &dyn Fn() -> bool) -> Result<Option<Seen>, CopyError> {
        let path = self.path(key);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => {
                let identity = identity(&meta);
                Ok(Some(Seen { size: identity.size, version: identity.modified_ns.to_string() }))
            }
            Ok(_) => Err(CopyError::One(format!("{} is no file", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn send(&mut self, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(sending.key);
        let partial = partial_name(&path);
        let io = failed(&path);
        create_folder(path.parent().unwrap_or(&self.0)).map_err(&io)?;
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let options =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).custom_flags(flags).clone();
        let mut copy = options.open(&partial).map_err(&io)?;
        // What is there already is compared with the rest when the whole is read back.
        let begun = copy.seek(SeekFrom::End(0)).map_err(&io)?;
        if begun > sending.size {
            copy.set_len(0).map_err(&io)?;
        }
        let mut at = if begun > sending.size { 0 } else { begun };
        let mut from = sending.file;
        from.seek(SeekFrom::Start(at)).and_then(|_| copy.seek(SeekFrom::Start(at))).map_err(&io)?;
        while at < sending.size {
            if stop() {
                return Err(CopyError::Stopped);
            }
            let part = io::copy(&mut from.take(PART as u64), &mut copy).map_err(&io)?;
            if part == 0 {
                return Err(CopyError::One("the archive became shorter while it was copied".to_owned()));
            }
            at += part;
        }
        copy.sync_all().map_err(&io)?;
        publish_new(&partial, &path).map_err(&io)
    }

    fn read(&mut self, key: &str, to: &mut dyn Write, stop: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key);
        let io = failed(&path);
        let (file, _): (File, _) = open_regular(&path).map_err(&io)?;
        forget_cached(&file);
        loop {
            if stop() {
                return Err(CopyError::Stopped);
            }
            if io::copy(&mut (&file).take(PART as u64), to).map_err(&io)? == 0 {
                return Ok(());
            }
        }
    }

    fn remove(&mut self, key: &str, _: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key);
        remove(&path).map_err(failed(&path))
    }
}
