//! Triage: which lines somebody should look at today. All others are standard.

use super::{Action, Category, Event, Selection};

/// Which lines are urgent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triage {
    /// By HTTP status, of answers that are no failed login.
    statuses: Box<[bool]>,
    /// What else happened.
    events: Vec<Selection>,
    /// Lines with one of these texts.
    pub texts: Vec<String>,
}

impl Triage {
    /// Urgent are these events.
    pub fn new(urgent: Vec<Selection>) -> Self {
        let statuses = (0..=999).map(|status| holds(&urgent, Action::Request { status }, 0)).collect();
        Self { statuses, events: urgent, texts: Vec::new() }
    }

    /// Whether what happened is urgent, which is so many failed logins as far as that is settled.
    pub fn is_urgent(&self, action: Action, failures: u32) -> bool {
        match action {
            Action::Request { status } if failures == 0 => {
                self.statuses.get(usize::from(status)).is_some_and(|urgent| *urgent)
            }
            Action::Other => false,
            // Another line may yet tell that this one is none.
            Action::LoginFailed { .. } => holds(&self.events, action, 1),
            _ => holds(&self.events, action, failures),
        }
    }
}

fn holds(urgent: &[Selection], action: Action, failures: u32) -> bool {
    let event = Event { action, ..Event::plain(None, Category::Unknown) };
    urgent.iter().any(|of| of.holds(&event, failures, false))
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
        let is_urgent = |status| Triage::default().is_urgent(Action::Request { status }, 0);
        assert!(is_urgent(500) && is_urgent(599) && is_urgent(404));
        assert!(!is_urgent(302) && !is_urgent(400));
        assert!(Triage::default().is_urgent(Action::LogCleared, 0) && !Triage::default().is_urgent(Action::Other, 0));
    }

    #[test]
    fn a_table_of_ones_own_replaces_the_usual_one() {
        let triage = Triage::new(vec![Selection::FailedLogins, Selection::Answers(vec!["410".parse().unwrap()])]);
        let is_urgent = |action, failures| triage.is_urgent(action, failures);
        assert!(is_urgent(Action::Request { status: 410 }, 0) && !is_urgent(Action::Request { status: 401 }, 0));
        assert!(is_urgent(Action::Request { status: 401 }, 1) && is_urgent(Action::Request { status: 200 }, 1));
        assert!(!is_urgent(Action::Request { status: 500 }, 0) && !is_urgent(Action::ErrorLogged, 0));
    }
}
