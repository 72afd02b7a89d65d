//! A file to which each thing is appended as a line: incident time, message, log location, with tabs between.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Notifier, NotifyError, Parcel, Sending};
use crate::model::{Document, FileSpec};

/// The notifier.
pub struct LineFile {
    path: PathBuf,
}

impl LineFile {
    /// For this file; it is created when it is first needed.
    pub fn new(spec: &FileSpec) -> Self {
        Self { path: spec.path.clone() }
    }
}

impl Notifier for LineFile {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let document = document(parcel)?;
            let (path, lines) = (self.path.clone(), lines(&document));
            let append = move || append(&path, lines.as_bytes());
            let appended =
                crate::threads::blocking(append).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            appended.map_err(|error| NotifyError::Down(format!("can't write {}: {error}", self.path.display())))
        })
    }
}

/// In one piece, so that others who append come before or after, and on the disk before it counts.
fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut file = std::fs::File::options().append(true).create(true).mode(0o640).custom_flags(no_link).open(path)?;
    file.write_all(lines)?;
    file.sync_data()
}

/// The document as its lines.
fn lines(document: &Document) -> String {
    let stamp = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let severity = document.severity.as_str().to_uppercase();
    if document.items.is_empty() {
        return format!("{}\t{severity} {}\t-\n", stamp(document.at), document.title);
    }
    let line = |item: &crate::model::Item| {
        let location = if item.location.is_empty() { "-" } else { &item.location };
        let severity = item.severity.as_str().to_uppercase();
        format!("{}\t{severity} {}: {}\t{location}\n", stamp(item.at), item.name, item.sentence)
    };
    let mut lines: String = document.items.iter().map(line).collect();
    if document.held_back > 0 {
        let held_back = document.held_back;
        lines.push_str(&format!("{}\t{severity} of these, {held_back} were held back\t-\n", stamp(document.at)));
    }
    if document.more_items > 0 {
        lines.push_str(&format!("{}\t{severity} and {} more\t-\n", stamp(document.at), document.more_items));
    }
    lines
}

/// The document of a message for anything but mail.
///
/// # Errors
/// Says that it is none, which can't be mended.
pub(super) fn document(parcel: &Parcel) -> Result<Document, NotifyError> {
    serde_json::from_slice(&parcel.body).map_err(|error| NotifyError::Never(format!("this message is none: {error}")))
}
