//! Secrets in files, read when they are needed.

use std::path::Path;

use super::NotifyError;
use crate::model::Secret;

/// The first line of a file.
///
/// # Errors
/// Says why it can't be read.
pub fn first_line(path: &Path) -> Result<String, NotifyError> {
    let text = read(path)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim_end();
    if line.is_empty() {
        return Err(NotifyError::Refused(format!("{} has nothing in its first line", path.display())));
    }
    Ok(line.to_owned())
}

/// A file as it is.
///
/// # Errors
/// Says why it can't be read.
pub fn read(path: &Path) -> Result<Vec<u8>, NotifyError> {
    std::fs::read(path).map_err(|error| NotifyError::Refused(format!("can't read {}: {error}", path.display())))
}

/// A secret's text.
///
/// # Errors
/// Says why its file can't be read.
pub fn text(secret: &Secret) -> Result<String, NotifyError> {
    match secret {
        Secret::Text(text) => Ok(text.clone()),
        Secret::File(path) => first_line(path),
    }
}
