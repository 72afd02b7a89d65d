//! Copies of archives elsewhere: in a folder or a bucket, under the same path as in the store.

mod folder;
#[cfg(feature = "s3")]
mod s3;

use std::fs::File;
use std::io::{self, Write};

use crate::model::CopyPlace;

/// Why something could not be done there.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// The place can't be reached or used at all.
    #[error("{0}")]
    Place(String),
    /// This one file can't be copied or read.
    #[error("{0}")]
    One(String),
}

/// What is under a name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its size in bytes.
    pub size: u64,
    /// Changes when its bytes do: a bucket's entity tag, a folder's time of change.
    pub version: String,
}

/// A file on its way there.
pub struct Sending<'a> {
    /// Where it goes: a path with `/`, at which nothing is.
    pub key: &'a str,
    /// What is sent.
    pub file: &'a File,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: &'a str,
    /// What an interrupted sending of it had noted.
    pub noted: Option<String>,
    /// Notes how far it is.
    pub note: &'a dyn Fn(&str) -> io::Result<()>,
}

/// A place that holds copies. `stop` is asked every now and then whether to give up.
pub trait Place {
    /// What tells this place from others of its name: another disk, another bucket.
    fn identity(&self) -> &str;

    /// What is there under a name.
    ///
    /// # Errors
    /// Fails where that can't be told.
    fn look(&mut self, key: &str, stop: &dyn Fn() -> bool) -> Result<Option<Seen>, CopyError>;

    /// Sends a file, going on where an earlier attempt stopped. It is there whole or not at all, and replaces nothing. Gives its version.
    ///
    /// # Errors
    /// Fails where that can't be done.
    fn send(&mut self, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<String, CopyError>;

    /// Reads what is there from a byte on to its end.
    ///
    /// # Errors
    /// Fails where it can't be read.
    fn read(&mut self, key: &str, from: u64, to: &mut dyn Write, stop: &dyn Fn() -> bool) -> Result<(), CopyError>;

    /// Removes what is there.
    ///
    /// # Errors
    /// Fails where it can't be removed.
    fn remove(&mut self, key: &str, stop: &dyn Fn() -> bool) -> Result<(), CopyError>;
}

/// The code for a place. `known` is the identity of the place of that name to which was copied before; `may_mark` says whether a new one may get
/// an identity.
///
/// # Errors
/// Says what of it can't be used.
pub fn open(place: &CopyPlace, known: Option<&str>, may_mark: bool) -> Result<Box<dyn Place>, CopyError> {
    match place {
        CopyPlace::Folder(path) => Ok(Box::new(folder::Folder::new(path, known, may_mark)?)),
        #[cfg(feature = "s3")]
        CopyPlace::S3(spec) => Ok(Box::new(s3::Bucket::new(spec)?)),
        #[cfg(not(feature = "s3"))]
        CopyPlace::S3(_) => Err(CopyError::Place("this logkeeper was built without the feature s3".to_owned())),
    }
}
