//! `[verify]`: read archives again and compare them with what they should hold, before somebody needs them.

use std::collections::BTreeSet;

use super::copies::Places;
use super::keep::check_catalogued;
use super::{Context, JobError, JobKind, counted};
use crate::archive::{ArchiveError, Effort};
use crate::model::{Outcome, VerifySpec};
use crate::store::{ArchiveFilter, Catalogued, Ended};

impl JobKind for VerifySpec {
    fn run(&self, context: &Context<'_>) -> Result<Ended, JobError> {
        let archives = self.due(context)?;
        let mut damaged = Vec::new();
        context.live.extend(archives.iter().map(|archive| archive.entry.text_size()).sum());
        for archive in &archives {
            let found = match check_catalogued(archive, Effort::up_to(4, true), &|bytes| context.step(bytes)) {
                Ok(()) => None,
                Err(ArchiveError::Stopped) => return context.check().map(|()| unreachable!("it said to stop")),
                Err(error) => Some(error.to_string()),
            };
            // Another job may have let it go meanwhile.
            if !context.store.has_archive(&archive.path)? {
                continue;
            }
            context.store.record_verification(&archive.path, found.as_deref(), context.clock.now())?;
            damaged.extend(found);
        }
        let lost = self.lost_copies(&archives, context)?;
        let all = counted(archives.len(), "archive");
        let about_copies = match lost.len() {
            0 => String::new(),
            1 => "; 1 copy can't be relied on".to_owned(),
            n => format!("; {n} copies can't be relied on"),
        };
        let outcome = match (damaged.is_empty(), lost.is_empty()) {
            (true, true) => Outcome::Succeeded,
            (true, false) => Outcome::Partial,
            (false, _) => Outcome::Failed,
        };
        let whole = if damaged.is_empty() {
            format!("{all} verified, all whole")
        } else {
            format!("{} of {all} damaged", damaged.len())
        };
        damaged.extend(lost);
        Ok(Ended { notes: damaged, ..Ended::new(outcome, whole + &about_copies) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let would = |archive: &Catalogued| format!("would verify {}", archive.path.display());
        let lines: Vec<String> = self.due(context)?.iter().map(would).collect();
        Ok(if lines.is_empty() { vec!["would do nothing: there are no archives".to_owned()] } else { lines })
    }
}

impl VerifySpec {
    /// Copies that are not what they were when they were compared: of these archives, and of all that are no longer here, which nothing
    /// else can replace.
    fn lost_copies(&self, archives: &[Catalogued], context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let mut places = Places::for_reading(context.config, context.store);
        let here = context.store.catalogue(&ArchiveFilter::default())?;
        let here: BTreeSet<&str> = here.iter().map(|archive| archive.entry.sha256.as_str()).collect();
        let mut lost = Vec::new();
        let stop = || context.check().is_err();
        for copy in context.store.finished_copies()? {
            let archive = archives.iter().find(|archive| archive.entry.sha256 == copy.sha256);
            let is_gone = !here.contains(copy.sha256.as_str());
            if !context.config.copies.contains_key(&copy.place) || archive.is_none() && !is_gone {
                continue;
            }
            let why = match archive {
                Some(archive) => places.lost(&copy, archive.entry.size, &stop)?,
                None => places.lost_for_good(&copy, &stop)?,
            };
            context.check()?;
            lost.extend(why.map(|why| format!("{}: {why}", copy.key)));
        }
        Ok(lost)
    }

    /// The archives whose turn it is: those first that were not read for the longest time.
    fn due(&self, context: &Context<'_>) -> Result<Vec<Catalogued>, JobError> {
        let mut archives = context.store.catalogue(&ArchiveFilter::default())?;
        archives.retain(|archive| archive.path.starts_with(&self.store));
        archives.sort_by(|a, b| (a.checked, &a.path).cmp(&(b.checked, &b.path)));
        archives.truncate(share_of(archives.len(), self.share));
        Ok(archives)
    }
}

/// So many of a hundred, at least one.
pub fn share_of(count: usize, percent: u32) -> usize {
    (count * percent.min(100) as usize).div_ceil(100)
}
