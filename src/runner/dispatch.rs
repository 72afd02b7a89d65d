//! Which of the waiting runs may begin: limits, groups, and runs of one job that would overlap.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::{JobId, Overlap, RunId, Trigger, Work};
use crate::store::QueuedRun;

/// How many runs of one job may wait for their turn.
const LONGEST_QUEUE: usize = 100;

/// The waiting and the running runs.
#[derive(Debug, Default)]
pub struct Dispatch {
    limit: usize,
    groups: BTreeMap<String, usize>,
    waiting: VecDeque<QueuedRun>,
    running: BTreeMap<RunId, QueuedRun>,
    jobs: HashMap<JobId, Load>,
    in_group: HashMap<String, usize>,
}

/// What a job has under way.
#[derive(Debug, Default)]
struct Load {
    waiting: Vec<RunId>,
    running: Vec<RunId>,
}

/// Why a run is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// This run of the same job has not ended.
    Overlaps(RunId),
    /// Too many runs of the same job wait already.
    QueueFull,
    /// The job is no more.
    Gone,
}

impl Dispatch {
    /// Sets how many runs may go on together, overall and per group. Runs that go on stay.
    pub fn set_limits(&mut self, limit: usize, groups: BTreeMap<String, usize>) {
        (self.limit, self.groups) = (limit, groups);
    }

    /// Lets a run wait for its turn, or says why it may not.
    ///
    /// # Errors
    /// The run and the reason.
    pub fn admit(&mut self, run: QueuedRun) -> Result<(), (QueuedRun, Refusal)> {
        let load = self.jobs.entry(run.job.id.clone()).or_default();
        let other = load.running.first().or(load.waiting.first()).copied();
        // What makes up for something must not be lost because it comes while the job runs.
        let makes_up = matches!(run.trigger, Trigger::CatchUp | Trigger::Retry | Trigger::Watch);
        // A slot is not lost because a log happened to grow just then.
        let known = |id| self.running.get(&id).or_else(|| self.waiting.iter().find(|run| run.id == id));
        let is_watch = |id: &RunId| known(*id).is_some_and(|other| other.trigger == Trigger::Watch);
        let other = load.running.iter().chain(&load.waiting).copied().find(|id| !is_watch(id)).or(other);
        let makes_up = makes_up || other.as_ref().is_some_and(is_watch);
        let overlap = match run.job.policy.overlap {
            Overlap::Skip if makes_up => Overlap::Queue,
            overlap => overlap,
        };
        match (overlap, other) {
            (Overlap::Skip, Some(other)) => return Err((run, Refusal::Overlaps(other))),
            (Overlap::Queue | Overlap::Allow, _) if load.waiting.len() >= LONGEST_QUEUE => {
                return Err((run, Refusal::QueueFull));
            }
            _ => {}
        }
        load.waiting.push(run.id);
        self.waiting.push_back(run);
        Ok(())
    }

    /// The runs whose turn it is, in the order they came; they count as running from now on.
    pub fn ready(&mut self) -> Vec<QueuedRun> {
        let mut ready = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() && self.running.len() < self.limit {
            if !self.may_begin(&self.waiting[at]) {
                at += 1;
                continue;
            }
            let Some(run) = self.waiting.remove(at) else { break };
            let load = self.jobs.entry(run.job.id.clone()).or_default();
            load.waiting.retain(|id| *id != run.id);
            load.running.push(run.id);
            if let Some(group) = &run.job.group {
                *self.in_group.entry(group.clone()).or_default() += 1;
            }
            self.running.insert(run.id, run.clone());
            ready.push(run);
        }
        ready
    }

    /// Takes a run that has ended out.
    pub fn release(&mut self, id: RunId) {
        let Some(run) = self.running.remove(&id) else { return };
        if let Some(count) = run.job.group.as_ref().and_then(|group| self.in_group.get_mut(group)) {
            *count -= 1;
        }
        self.forget(&run);
    }

    /// Takes a run that has not begun out.
    pub fn withdraw(&mut self, id: RunId) -> Option<QueuedRun> {
        let at = self.waiting.iter().position(|run| run.id == id)?;
        let run = self.waiting.remove(at)?;
        self.forget(&run);
        Some(run)
    }

    /// How many runs go on.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many runs wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a run waits or goes on.
    pub fn holds(&self, id: RunId) -> bool {
        self.running.contains_key(&id) || self.waiting.iter().any(|run| run.id == id)
    }

    fn may_begin(&self, run: &QueuedRun) -> bool {
        // Two scans at once would both read what is new, and count it twice.
        let alone = run.job.policy.overlap == Overlap::Allow && !matches!(run.job.work, Work::Scan(_))
            || self.jobs.get(&run.job.id).is_none_or(|load| load.running.is_empty());
        let limit = run.job.group.as_ref().and_then(|group| Some((self.groups.get(group)?, self.in_group.get(group))));
        alone && limit.is_none_or(|(limit, used)| used.copied().unwrap_or(0) < *limit)
    }

    fn forget(&mut self, run: &QueuedRun) {
        if let Some(load) = self.jobs.get_mut(&run.job.id) {
            load.running.retain(|id| *id != run.id);
            load.waiting.retain(|id| *id != run.id);
            if load.running.is_empty() && load.waiting.is_empty() {
                self.jobs.remove(&run.job.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{Audience, CatchUp, Job, Policy, ReportKind, ReportSpec, ScanSpec};

    fn run(id: RunId, job: &str, overlap: Overlap, group: Option<&str>) -> QueuedRun {
        let policy = Policy {
            catch_up: CatchUp::Last,
            catch_up_window: Duration::ZERO,
            overlap,
            timeout: None,
            grace: Duration::ZERO,
            retries: 0,
            retry_delay: Duration::ZERO,
            jitter: Duration::ZERO,
        };
        let job = Job {
            id: job.parse().unwrap(),
            description: String::new(),
            schedule: None,
            after: Vec::new(),
            enabled: true,
            policy,
            group: group.map(str::to_owned),
            mail: Default::default(),
            heartbeat: None,
            work: Work::Report(ReportSpec {
                period: ReportKind::Weekly,
                audience: Audience::Management,
                to: Vec::new(),
            }),
        };
        let at = chrono::DateTime::UNIX_EPOCH;
        QueuedRun { id, job: Arc::new(job), trigger: Trigger::Scheduled, slot: None, at, attempt: 1, begin: None }
    }

    fn dispatch(limit: usize) -> Dispatch {
        let mut dispatch = Dispatch::default();
        dispatch.set_limits(limit, [("disk".to_owned(), 1)].into());
        dispatch
    }

    fn ready(dispatch: &mut Dispatch) -> Vec<RunId> {
        dispatch.ready().into_iter().map(|run| run.id).collect()
    }

    #[test]
    fn a_run_that_would_overlap_is_skipped_queued_or_let_through() {
        let mut all = dispatch(10);
        for (n, overlap) in [Overlap::Skip, Overlap::Queue, Overlap::Allow].into_iter().enumerate() {
            let (job, id) = (format!("job-{n}"), n as RunId * 10);
            assert!(all.admit(run(id, &job, overlap, None)).is_ok());
            let second = all.admit(run(id + 1, &job, overlap, None)).err().map(|(_, refusal)| refusal);
            assert_eq!(second, (overlap == Overlap::Skip).then_some(Refusal::Overlaps(id)));
        }
        let made_up = QueuedRun { trigger: Trigger::Retry, ..run(2, "job-0", Overlap::Skip, None) };
        assert!(all.admit(made_up).is_ok(), "a retry waits");
        assert!(all.withdraw(2).is_some());
        assert_eq!(ready(&mut all), [0, 10, 20, 21]);
        all.release(10);
        assert_eq!(ready(&mut all), [11]);
        all.release(0);
        assert!(all.admit(run(2, "job-0", Overlap::Skip, None)).is_ok(), "the first one has ended");
    }

    #[test]
    fn a_slot_is_not_lost_to_a_log_that_grows() {
        let mut all = dispatch(10);
        let watch = |id| QueuedRun { trigger: Trigger::Watch, ..run(id, "a", Overlap::Skip, None) };
        assert!(all.admit(watch(1)).is_ok());
        assert!(all.admit(run(2, "a", Overlap::Skip, None)).is_ok(), "it waits for the one that waits");
        assert_eq!(ready(&mut all), [1]);
        assert!(all.admit(watch(3)).is_ok());
        let third = all.admit(run(4, "a", Overlap::Skip, None)).err().map(|(_, refusal)| refusal);
        assert_eq!(third, Some(Refusal::Overlaps(2)), "one that waits is enough");
        all.release(1);
        assert_eq!(ready(&mut all), [2]);
    }

    #[test]
    fn limits_hold_overall_and_per_group_and_the_order_stays() {
        let mut all = dispatch(3);
        for id in 0..3 {
            assert!(all.admit(run(id, &format!("disk-{id}"), Overlap::Skip, Some("disk"))).is_ok());
        }
        for id in 3..6 {
            assert!(all.admit(run(id, &format!("free-{id}"), Overlap::Skip, None)).is_ok());
        }
        assert_eq!(ready(&mut all), [0, 3, 4], "one of the group, three in all");
        all.release(3);
        assert_eq!(ready(&mut all), [5]);
        all.release(0);
        assert_eq!(ready(&mut all), [1]);
        assert!(all.withdraw(2).is_some() && all.withdraw(2).is_none());
        assert_eq!((all.running(), all.waiting()), (3, 0));
    }

    #[test]
    fn two_scans_of_a_job_never_go_on_together() {
        let mut all = dispatch(10);
        let scan = |id| {
            let mut run = run(id, "a", Overlap::Allow, None);
            let spec = ScanSpec { sources: vec![], rules: vec![], alert: vec![], follow: false, record: None };
            Arc::make_mut(&mut run.job).work = Work::Scan(spec);
            run
        };
        assert!(all.admit(scan(1)).is_ok() && all.admit(scan(2)).is_ok());
        assert_eq!(ready(&mut all), [1]);
        all.release(1);
        assert_eq!(ready(&mut all), [2]);
    }

    #[test]
    fn a_queue_has_an_end() {
        let mut all = dispatch(1);
        let admitted = (0..200).filter(|id| all.admit(run(*id, "a", Overlap::Queue, None)).is_ok()).count();
        assert_eq!(admitted, LONGEST_QUEUE);
    }
}
