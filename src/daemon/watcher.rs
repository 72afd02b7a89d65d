//! Scans as soon as a log grows, for jobs with `follow = true`.
//!
//! The system says when a file in one of the logs' folders changes. What it can't say, because its watches are used up or
//! the folder is on another machine, is seen by looking at sizes and times every now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{CreateKind, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::logs;
use crate::model::{Identity, Job, Outcome, Source, Work};
use crate::runner::App;
use crate::store::StoreError;
use crate::threads::blocking;

/// How long it is waited for more after a change: programs write several lines at once.
const COLLECT: Duration = Duration::from_millis(50);

/// How often sizes and times are looked at, beside the system's word and without it.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_UNAIDED: Duration = Duration::from_millis(500);

/// After a scan it is paused so many times as long as it took, within these limits, so that a busy log costs a small part of
/// one processor and an attack is told within a second.
const PAUSE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(700);

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
    let news = Arc::new(News::default());
    let mut eyes = Eyes::new(job.clone(), sources, news.clone());
    let mut due = false;
    loop {
        // A panic in there is in the log, and would come again.
        let Ok((seen, is_new)) = blocking(move || eyes.look()).await else { return };
        eyes = seen;
        if due || is_new {
            let took = scan(&app, &job).await;
            // What could not be scanned, as while the job is paused, is tried again.
            due = took.is_none();
            let pause = took.map_or(LOOK, |took| (took * PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
            tokio::time::sleep(pause).await;
        }
        let look = if eyes.is_unaided() { LOOK_UNAIDED } else { LOOK };
        if tokio::time::timeout(look, news.come.notified()).await.is_ok() {
            tokio::time::sleep(COLLECT).await;
        }
        due |= news.log_changed.swap(false, Ordering::Relaxed);
    }
}

/// Runs the job and waits for its end. How long it took; none where the logs were not scanned.
async fn scan(app: &Arc<App>, job: &Arc<Job>) -> Option<Duration> {
    let (asking, asked) = (app.clone(), job.clone());
    let request = move || {
        let store = &asking.store;
        if asking.is_ending() || store.paused()?.contains_key(asked.id.as_str()) {
            return Ok(None);
        }
        let run = store.request_watch(&asked, asking.clock.now())?;
        let id = run.id;
        // Here, so that no run is on record that nobody begins, should whoever asked be gone.
        asking.begin(vec![run]);
        Ok::<_, StoreError>(Some(id))
    };
    let id = match blocking(request).await {
        Ok(Ok(id)) => id?,
        Ok(Err(error)) => {
            tracing::error!(job = %job.id, "a scan could not be put on record: {error}");
            return None;
        }
        Err(_) => return None,
    };
    let run = match app.ended(id).await {
        Ok(run) => run,
        Err(error) => {
            tracing::error!(job = %job.id, "{error}");
            return None;
        }
    };
    run.outcome.filter(|outcome| matches!(outcome, Outcome::Succeeded | Outcome::Partial))?;
    (run.finished? - run.started?).to_std().ok()
}

/// What the system tells.
#[derive(Default)]
struct News {
    come: Notify,
    /// Whether it is about a log.
    log_changed: AtomicBool,
    /// The folders that are watched.
    watched: Mutex<BTreeSet<PathBuf>>,
    /// Folders that came, went or were renamed: watches may be gone with them.
    moved: Mutex<BTreeSet<PathBuf>>,
}

impl News {
    fn hear(&self, event: notify::Result<notify::Event>, patterns: &logs::Patterns) {
        // An error, or too many events at once, may mean that one was lost.
        let is_of_log = event.as_ref().map_or(true, |event| {
            event.need_rescan() || !event.kind.is_access() && event.paths.iter().any(|path| patterns.may_hold(path))
        });
        let moved = event.map(|event| self.moved_folders(&event)).unwrap_or_default();
        if is_of_log || !moved.is_empty() {
            self.log_changed.fetch_or(is_of_log, Ordering::Relaxed);
            self.moved.lock().unwrap_or_else(PoisonError::into_inner).extend(moved);
            self.come.notify_one();
        }
    }

    /// The folders of an event that came, or that are watched, or have such in them, and went. Beside logs other files come and go often.
    fn moved_folders(&self, event: &notify::Event) -> Vec<PathBuf> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_watched = |path: &PathBuf| watched.iter().any(|folder| folder.starts_with(path));
        let counts = |path: &&PathBuf| match event.kind {
            EventKind::Create(CreateKind::Folder) => true,
            EventKind::Remove(_) => is_watched(path),
            EventKind::Modify(ModifyKind::Name(_)) => is_watched(path) || path.is_dir(),
            _ => false,
        };
        event.paths.iter().filter(counts).cloned().collect()
    }
}

/// What sees that logs change.
struct Eyes {
    job: Arc<Job>,
    sources: Arc<[Source]>,
    /// None where the system gives no watches.
    watcher: Option<RecommendedWatcher>,
    /// The folders that are watched, with their device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// The logs as they were when they were looked at last.
    seen: Vec<(PathBuf, Identity)>,
    news: Arc<News>,
}

impl Eyes {
    fn new(job: Arc<Job>, sources: Arc<[Source]>, news: Arc<News>) -> Self {
        let (patterns, hears) = (logs::Patterns::new(&sources), news.clone());
        let watcher = notify::recommended_watcher(move |event| hears.hear(event, &patterns));
        let mut eyes = Self { job, sources, watcher: None, watched: BTreeMap::new(), seen: Vec::new(), news };
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
        let folders: Vec<PathBuf> = self.sources.iter().flat_map(logs::folders).collect();
        // One that comes back gets a new watch, also where it gets the old number.
        let moved = std::mem::take(&mut *self.news.moved.lock().unwrap_or_else(PoisonError::into_inner));
        let has_moved = |folder: &PathBuf| moved.iter().any(|moved| folder.starts_with(moved));
        self.watched.retain(|folder, _| folders.contains(folder) && !has_moved(folder));
        *self.news.watched.lock().unwrap_or_else(PoisonError::into_inner) = folders.iter().cloned().collect();
        folders.into_iter().for_each(|folder| self.watch(folder));
        for source in self.sources.iter() {
            seen.extend(logs::files(source).into_iter().filter_map(|path| {
                let meta = std::fs::metadata(&path).ok()?;
                Some((path, crate::fs::identity(&meta)))
            }));
        }
        let is_new = seen != self.seen;
        self.seen = seen;
        (self, is_new)
    }

    fn watch(&mut self, folder: PathBuf) {
        let (Some(watcher), Ok(meta)) = (&mut self.watcher, std::fs::metadata(&folder)) else { return };
        let is = (meta.dev(), meta.ino());
        if self.watched.get(&folder) == Some(&is) {
            return;
        }
        if self.watched.contains_key(&folder) {
            // Another one of that name; the watch of the old one may be gone with it.
            let _ = watcher.unwatch(&folder);
        }
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => return self.go_unaided(&error),
            Err(error) => {
                let every = LOOK.as_secs();
                tracing::warn!(job = %self.job.id, "{} can't be watched, so it is looked at every {every} s: {error}", folder.display());
            }
        }
        self.watched.insert(folder, is);
    }
}
