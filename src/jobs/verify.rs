//! `[verify]`: read archives again and compare them with what they should hold, before somebody needs them.

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
        let all = counted(archives.len(), "archive");
        if damaged.is_empty() {
            return Ok(Ended::new(Outcome::Succeeded, format!("{all} verified, all whole")));
        }
        let summary = format!("{} of {all} damaged", damaged.len());
        Ok(Ended { notes: damaged, ..Ended::new(Outcome::Failed, summary) })
    }

    fn preview(&self, context: &Context<'_>) -> Result<Vec<String>, JobError> {
        let would = |archive: &Catalogued| format!("would verify {}", archive.path.display());
        let lines: Vec<String> = self.due(context)?.iter().map(would).collect();
        Ok(if lines.is_empty() { vec!["would do nothing: there are no archives".to_owned()] } else { lines })
    }
}

impl VerifySpec {
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
