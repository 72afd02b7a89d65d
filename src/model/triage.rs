//! Triage: which lines somebody should look at today. All others are standard.

use super::{Action, Category, Event, Selection};

/// Which lines are urgent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triage {
    /// By HTTP status.
    statuses: Box<[bool]>,
    /// What else happened.
    events: Vec<Selection>,
    /// Lines with one of these texts.
    pub texts: Vec<String>,
}

impl Triage {
    /// Urgent are these events.
    pub fn new(urgent: Vec<Selection>) -> Self {
        let statuses = (0..=999).map(|status| holds(&urgent, Action::Request { status })).collect();
        Self { statuses, events: urgent, texts: Vec::new() }
    }

    /// Whether what happened is urgent.
    pub fn is_urgent(&self, action: Action) -> bool {
        match action {
            Action::Request { status } => self.statuses.get(usize::from(status)).is_some_and(|urgent| *urgent),
            Action::Other => false,
            _ => holds(&self.events, action),
        }
    }
}

fn holds(urgent: &[Selection], action: Action) -> bool {
    let event = Event { action, ..Event::plain(None, Category::Unknown) };
    urgent.iter().any(|of| of.holds(&event, u32::from(event.tells_of_failure()), false))
}

impl Default for Triage {
    /// The statuses 401, 403, 404 and every 5xx, lines of level `error` and worse, locked accounts and emptied logs.
    fn default() -> Self {
        let statuses = ["401", "403", "404", "5xx"].iter().filter_map(|status| status.parse().ok()).collect();
        Self::new(vec![Selection::Answers(statuses), Selection::Errors, Selection::Lockouts, Selection::ClearedLogs])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_5xx_is_urgent_and_a_redirect_is_not() {
        let is_urgent = |status| Triage::default().is_urgent(Action::Request { status });
        assert!(is_urgent(500) && is_urgent(599) && is_urgent(404));
        assert!(!is_urgent(302) && !is_urgent(400));
        assert!(Triage::default().is_urgent(Action::LogCleared) && !Triage::default().is_urgent(Action::Other));
    }

    #[test]
    fn a_table_of_ones_own_replaces_the_usual_one() {
        let triage = Triage::new(vec![Selection::FailedLogins, Selection::Answers(vec!["410".parse().unwrap()])]);
        let is_urgent = |action| triage.is_urgent(action);
        assert!(is_urgent(Action::Request { status: 410 }) && is_urgent(Action::Request { status: 401 }));
        assert!(!is_urgent(Action::Request { status: 500 }) && !is_urgent(Action::ErrorLogged));
    }
}
