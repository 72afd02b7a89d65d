//! Scans as soon as a log grows, for jobs with `follow = true`.
//!
//! The system says when a file in one of the logs' folders changes. What it can't say, because its watches are used up or
//! the folder is on another machine, is seen by looking at sizes and times every now and then.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::logs;
use crate::model::{Identity, Job, Source, Work};
use crate::runner::App;
use crate::threads::blocking;

/// How long it is waited for more after a change: programs write several lines at once.
const COLLECT: Duration = Duration::from_millis(50);

/// How often sizes and times are looked at, beside the system's word and without it.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_UNAIDED: Duration = Duration::from_millis(500);

/// After a scan it is paused so many times as long as it took, and at least so long, so that a busy log costs a small part of
/// one processor only.
const PAUSE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);

/// Follows the logs of every job that wants it; starts anew when the configuration changes.
pub async fn watch(app: Arc<App>) {
    loop {
        // Before the configuration is looked at, so that no change of it is missed.
        let reloaded = app.reloaded.notified();
        let config = app.config();
        let mut followed = JoinSet::new();
        for job in config.jobs.values().filter(|job| job.enabled) {
            if let Work::Scan(spec) = &job.work
                && spec.follow
            {
                let sources = config.sources_named(&spec.sources).cloned().collect();
                followed.spawn(follow(app.clone(), job.clone(), sources));
            }
        }
        reloaded.await;
        // Runs that go on are not part of these tasks.
        followed.shutdown().await;
    }
}

/// Scans after each change, one scan after the other.
async fn follow(app: Arc<App>, job: Arc<Job>, sources: Arc<[Source]>) {
    let changed = Arc::new(Notify::new());
    let mut eyes = Eyes::new(job.clone(), sources, changed.clone());
    let mut told = false;
    loop {
        // A panic in there is in the log, and would come again.
        let Ok((seen, is_new)) = blocking(move || eyes.look()).await else { return };
        eyes = seen;
        if told || is_new {
            let begun = Instant::now();
            scan(&app, &job).await;
            tokio::time::sleep((begun.elapsed() * PAUSE).max(SHORTEST_PAUSE)).await;
        }
        let look = if eyes.is_unaided() { LOOK_UNAIDED } else { LOOK };
        told = tokio::time::timeout(look, changed.notified()).await.is_ok();
        if told {
            tokio::time::sleep(COLLECT).await;
        }
    }
}

/// Runs the job and waits for its end.
async fn scan(app: &Arc<App>, job: &Arc<Job>) {
    let (asking, asked) = (app.clone(), job.clone());
    let request = move || {
        let store = &asking.store;
        let paused = asking.is_ending() || store.paused()?.contains_key(asked.id.as_str());
        if paused { Ok(None) } else { store.request_watch(&asked, asking.clock.now()).map(Some) }
    };
    match blocking(request).await {
        Ok(Ok(Some(run))) => {
            let id = run.id;
            app.begin(vec![run]);
            if let Err(error) = app.ended(id).await {
                tracing::error!(job = %job.id, "{error}");
            }
        }
        Ok(Ok(None)) | Err(_) => {}
        Ok(Err(error)) => tracing::error!(job = %job.id, "a scan could not be put on record: {error}"),
    }
}

/// What sees that logs change.
struct Eyes {
    job: Arc<Job>,
    sources: Arc<[Source]>,
    /// None where the system gives no watches.
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    /// The logs as they were when they were looked at last.
    seen: Vec<(PathBuf, Identity)>,
}

impl Eyes {
    fn new(job: Arc<Job>, sources: Arc<[Source]>, changed: Arc<Notify>) -> Self {
        let own = sources.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            // An error may mean that events were lost, so it counts as one.
            let counts = event.as_ref().map_or(true, |event| {
                !event.kind.is_access()
                    && event.paths.iter().any(|path| own.iter().any(|source| logs::may_be_of(source, path)))
            });
            if counts {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(tell);
        let mut eyes = Self { job, sources, watcher: None, watched: Vec::new(), seen: Vec::new() };
        match watcher {
            Ok(watcher) => eyes.watcher = Some(watcher),
            Err(error) => eyes.go_unaided(&error),
        }
        eyes
    }

    fn is_unaided(&self) -> bool {
        self.watcher.is_none()
    }

    fn go_unaided(&mut self, error: &notify::Error) {
        tracing::warn!(job = %self.job.id, "the system doesn't tell when logs change, so they are looked at twice a second \
            ({error}); see the limits fs.inotify.max_user_watches and max_user_instances");
        self.watcher = None;
    }

    /// Watches folders that are new, and says whether any log has changed since it was looked last.
    fn look(mut self) -> (Self, bool) {
        let mut seen = Vec::new();
        for folder in self.sources.iter().flat_map(logs::folders).collect::<Vec<_>>() {
            self.watch(folder);
        }
        for source in self.sources.iter() {
            let state = |path: PathBuf| Some((crate::fs::identity(&std::fs::metadata(&path).ok()?), path));
            seen.extend(logs::files(source).into_iter().filter_map(state).map(|(identity, path)| (path, identity)));
        }
        let is_new = seen != self.seen;
        self.seen = seen;
        (self, is_new)
    }

    fn watch(&mut self, folder: PathBuf) {
        if self.watched.contains(&folder) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => self.watched.push(folder),
            // It is gone, or not there yet.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => self.go_unaided(&error),
        }
    }
}
