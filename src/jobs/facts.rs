//! What is counted of each line, whatever rules make of it.

use super::parsed::ParsedLine;
use super::settler::SettledLine;
use crate::detect::Sighting;
use crate::model::rule::is_error;
use crate::model::{Action, Category, Peer, Tally, Triage};

/// What counts need to know of a line.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// As [`Sighting::time`].
    pub time: i64,
    /// What happened; none where no parser understood the line.
    pub action: Option<Action>,
    /// The kind of log it belongs to.
    pub category: Category,
    /// Who caused it.
    pub peer: Option<Peer<'a>>,
    /// As [`Sighting::failures`].
    pub failures: u32,
    /// As [`Sighting::urgent`].
    pub urgent: bool,
    /// As [`Sighting::late`].
    pub late: bool,
}

impl<'a> Facts<'a> {
    /// Those of a line that no parser understood.
    pub fn unparsed(time: i64, late: bool) -> Self {
        Self { time, action: None, category: Category::Unknown, peer: None, failures: 0, urgent: false, late }
    }

    /// Those of a line that turned out to be this.
    #[inline]
    pub fn of_line(line: ParsedLine<'a>, settled: &SettledLine, triage: &Triage) -> Self {
        let SettledLine { time, action, failures, late, .. } = *settled;
        let Some((category, _)) = line.what() else { return Self::unparsed(time, late) };
        let urgent = triage.is_urgent(action, failures);
        Self { time, action: Some(action), category, peer: line.peer(), failures, urgent, late }
    }

    /// Those of a line that rules look at, too.
    pub fn of(sighting: &Sighting<'a>) -> Self {
        let Sighting { time, event, failures, urgent, late, .. } = sighting;
        let category = event.as_ref().map_or(Category::Unknown, |event| event.category);
        let (action, peer) = (event.as_ref().map(|event| event.action), event.as_ref().and_then(|event| event.peer));
        Self { time: *time, action, category, peer, failures: *failures, urgent: *urgent, late: *late }
    }

    /// How many events of somebody it tells of: requests, failed and successful logins, and probes.
    pub fn events(&self) -> u32 {
        match self.action {
            None => 0,
            Some(Action::Request { .. } | Action::LoginSucceeded { .. } | Action::Probed) => 1,
            Some(_) => self.failures,
        }
    }

    /// Counts them.
    pub fn count(&self, tally: &mut Tally) {
        tally.lines += 1;
        tally.failed_logins += u64::from(self.failures);
        tally.urgent += u64::from(self.urgent);
        tally.late += u64::from(self.late);
        let Some(action) = self.action else {
            tally.unparsed += 1;
            return;
        };
        match self.category {
            Category::Access => tally.access_lines += 1,
            Category::Error => tally.error_lines += 1,
            Category::Auth => tally.auth_lines += 1,
            Category::System => tally.system_lines += 1,
            // When it was written is all that is understood of it.
            Category::Unknown => tally.unparsed += u64::from(action == Action::Other),
        }
        match action {
            Action::Request { status } => {
                tally.requests += 1;
                tally.status_401 += u64::from(status == 401);
                tally.status_403 += u64::from(status == 403);
                tally.status_404 += u64::from(status == 404);
                tally.status_4xx += u64::from((400..500).contains(&status));
                tally.status_5xx += u64::from((500..600).contains(&status));
            }
            Action::LoginSucceeded { .. } => tally.logins += 1,
            // It is counted as what it is: a request.
            Action::LetIn => {}
            action if is_error(action) => tally.errors_logged += 1,
            Action::ErrorLogged
            | Action::NotServed
            | Action::LoginFailed { .. }
            | Action::Probed
            | Action::Gone
            | Action::NotGreeted
            | Action::Granted { .. }
            | Action::LockedOut
            | Action::LogCleared
            | Action::Other => {}
        }
    }
}

/// The categories of triage, in the order in which they are counted.
pub const CATEGORIES: [Category; 5] =
    [Category::Access, Category::Auth, Category::Error, Category::System, Category::Unknown];

/// The place of a category among them.
pub fn category_index(category: Category) -> usize {
    match category {
        Category::Access => 0,
        Category::Auth => 1,
        Category::Error => 2,
        Category::System => 3,
        Category::Unknown => 4,
    }
}

/// Kinds of logs, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// These; all where none is named.
    pub fn of(categories: &[Category]) -> Self {
        let named = categories.iter().fold(Self::NONE, |all, category| all.with(*category));
        if categories.is_empty() { Self(u8::MAX) } else { named }
    }

    /// These and this one.
    #[inline]
    pub fn with(self, category: Category) -> Self {
        Self(self.0 | 1 << category_index(category))
    }

    /// These and those.
    pub fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether one is in both.
    pub fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}
