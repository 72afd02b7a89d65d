//! The log formats that are known: those described in `config/formats`, and those that come with logkeeper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::{ConfigErrors, format_file, read, shipped, stem, toml_files};
use crate::model::{Format, Formats, Problem};

/// The formats by their names.
pub(super) struct KnownFormats {
    /// One that is wrong is known all the same, so that whoever names it is not told off, too.
    by_name: BTreeMap<String, Option<Arc<Format>>>,
    /// Those that a line tells by itself, the administrator's own before the shipped ones.
    recognised: Vec<Arc<Format>>,
}

impl KnownFormats {
    /// Reads those of the configuration below `root`; of two with one name its own counts.
    pub(super) fn read(root: &Path, errors: &mut Vec<Diagnostic>) -> Self {
        let mut known = Self { by_name: BTreeMap::new(), recognised: Vec::new() };
        // What comes with logkeeper is such also where it lies among them.
        let is_shipped = |path: &PathBuf| shipped::formats().any(|file| stem(file) == stem(path));
        let mut paths = toml_files(root, "config/formats", errors);
        paths.sort_by_key(is_shipped);
        for path in paths {
            let name = stem(&path);
            let format = read(root, &path, errors, |fields| format_file::read(fields, &name));
            known.add(name, format);
        }
        for file in shipped::formats() {
            let name = stem(file);
            if !known.by_name.contains_key(&name) {
                known.add(name.clone(), shipped::format(file, &name));
            }
        }
        known
    }

    fn add(&mut self, name: String, format: Option<Format>) {
        let format = format.map(Arc::new);
        self.recognised.extend(format.clone().filter(|format| format.is_recognised()));
        self.by_name.insert(name, format);
    }

    /// What the lines of a log may look like of which nothing is said.
    pub(super) fn any(&self) -> Formats {
        Formats::Known(self.recognised.clone())
    }

    /// Lines of this format only.
    pub(super) fn only(&self, name: &str) -> Result<Formats, Problem> {
        match self.by_name.get(name) {
            Some(format) => Ok(format.clone().map(Formats::Only).unwrap_or_default()),
            None => {
                let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
                let message = format!("there is no format {name:?}");
                let help = format!("describe it in config/formats/{name}.toml");
                Err(Problem::new(message, format!("known are: {}", known.join(" ")), help))
            }
        }
    }
}

/// What the lines of a log may look like of which nothing at all is known.
pub fn shipped_formats() -> Formats {
    let shipped = shipped::formats().filter_map(|file| shipped::format(file, &stem(file)).map(Arc::new));
    Formats::Known(shipped.filter(|format| format.is_recognised()).collect())
}

/// What the lines of a log may look like: of the format with that name, or of any that is known.
///
/// # Errors
/// Every mistake in the files of `config/formats`, and a name that none has.
pub fn formats(root: &Path, name: Option<&str>) -> Result<Formats, ConfigErrors> {
    let mut errors = Vec::new();
    let known = KnownFormats::read(root, &mut errors);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let Some(name) = name else { return Ok(known.any()) };
    known.only(name).map_err(|problem| {
        let file = Path::new("config/formats").join(format!("{name}.toml"));
        ConfigErrors(vec![Diagnostic::of_file(&file, problem)])
    })
}
