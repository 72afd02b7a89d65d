//! A folder of `.eml` files: what mail programs open with a double click.

use std::path::PathBuf;

use super::{Notifier, NotifyError, Parcel, Sending};
use crate::model::FolderSpec;

/// The notifier.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// For this folder; it is created when the first mail comes.
    pub fn new(spec: &FolderSpec) -> Self {
        Self { path: spec.path.clone() }
    }
}

impl Notifier for Folder {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let fit = |c: char| if c.is_ascii_alphanumeric() || "@.-_".contains(c) { c } else { '_' };
            let recipient: String = parcel.recipient.chars().map(fit).take(80).collect();
            let path = self.path.join(format!("{}-{recipient}.eml", parcel.name));
            let (folder, target, bytes) = (self.path.clone(), path.clone(), parcel.body.clone());
            let write = move || crate::fs::create_folder(&folder).and_then(|()| crate::fs::replace(&target, &bytes));
            let written =
                crate::threads::blocking(write).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            written.map_err(|error| NotifyError::Down(format!("can't write {}: {error}", path.display())))
        })
    }
}
