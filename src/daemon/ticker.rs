//! The ticker: the only user of tokio-cron-scheduler.
//!
//! The crate polls its storage twice a second, freezes a zone's offset when a job is created, and drops jobs in a burst. So
//! it is given one job and a storage that answers only when something is due: the crate drives the ticks,
//! [`Planner`] decides what they mean. The crate is pinned, because this rests on how it waits for its storage.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore, MetaDataStorage};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, SimpleJobCode, SimpleMetadataStore, SimpleNotificationCode,
    SimpleNotificationStore,
};
use uuid::Uuid;

use super::planner::{HUNG, Planner};
use super::service::Service;
use super::timer::Timer;

/// The crate's channels never hold more than one message.
const CHANNEL: usize = 16;

/// The crate sleeps for half a second after each tick before it asks again.
const CRATE_PAUSE: Duration = Duration::from_millis(550);

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

/// A running ticker.
pub struct Ticker {
    scheduler: JobScheduler,
    stop: watch::Sender<bool>,
}

impl Ticker {
    /// Ends it: no further tick comes.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!("the ticker did not end cleanly: {error}");
        }
    }
}

/// Starts ticking: the planner is told whenever a slot is due.
///
/// # Errors
/// Says why the crate could not start.
pub async fn start(
    planner: Arc<Planner>,
    timer: Arc<dyn Timer>,
    service: Arc<Service>,
) -> Result<Ticker, JobSchedulerError> {
    let (stop, stopped) = watch::channel(false);
    let jobs = SimpleMetadataStore::default();
    let storage = Pump { jobs, planner: planner.clone(), timer, service, stopped: stopped.clone() };
    let scheduler = JobScheduler::new_with_storage_and_code(
        Box::new(storage),
        Box::new(SimpleNotificationStore::default()),
        Box::new(SimpleJobCode::default()),
        Box::new(SimpleNotificationCode::default()),
        CHANNEL,
    )
    .await?;
    let ticking = Arc::new(AtomicBool::new(false));
    // The expression is never used: the storage decides when the job is due.
    let job = Job::new_async("0 0 0 1 1 *", move |_, _| {
        let (planner, stopped, ticking) = (planner.clone(), stopped.clone(), ticking.clone());
        Box::pin(async move {
            // A tick that is still under way, because the database is slow, sees what is due now.
            if !*stopped.borrow() && !ticking.swap(true, Ordering::AcqRel) {
                tick_through(&planner).await;
                ticking.store(false, Ordering::Release);
            }
        })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(Ticker { scheduler, stop })
}

/// Ticks, and goes on ticking for as long as the crate doesn't ask again.
async fn tick_through(planner: &Arc<Planner>) {
    let until = tokio::time::Instant::now() + CRATE_PAUSE;
    loop {
        planner.tick().await;
        let wait = planner.next().map(|next| (next - planner.now()).to_std().unwrap_or_default());
        let Some(at) = wait.map(|wait| tokio::time::Instant::now() + wait).filter(|at| *at < until) else { return };
        tokio::time::sleep_until(at).await;
    }
}

/// The storage that answers when something is due.
struct Pump {
    jobs: SimpleMetadataStore,
    planner: Arc<Planner>,
    timer: Arc<dyn Timer>,
    service: Arc<Service>,
    stopped: watch::Receiver<bool>,
}

/// Waits until something is due, whatever happens to plan and clock meanwhile, and tells the service manager that this goes on: where
/// planning hangs it is told nothing any more.
async fn until_due(planner: &Planner, timer: &dyn Timer, service: &Service, stopped: &mut watch::Receiver<bool>) {
    loop {
        let now = planner.now();
        let next = planner.next();
        if next.is_none_or(|next| next > now - HUNG) {
            service.tell("WATCHDOG=1");
        }
        if next.is_some_and(|next| next <= now) || *stopped.borrow() {
            return;
        }
        tokio::select! {
            () = timer.wait(next) => return,
            () = planner.changed() => {}
            () = pulse(service) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Returns when the service manager wants to hear from us again.
async fn pulse(service: &Service) {
    match service.pulse() {
        Some(pulse) => tokio::time::sleep(pulse).await,
        None => std::future::pending().await,
    }
}

impl MetaDataStorage for Pump {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let (planner, timer) = (self.planner.clone(), self.timer.clone());
        let (service, mut stopped) = (self.service.clone(), self.stopped.clone());
        let jobs = self.jobs.list_next_ticks();
        Box::pin(async move {
            until_due(&planner, &*timer, &service, &mut stopped).await;
            // The crate read its clock before it asked, so only an instant of long ago is due for it now.
            let due = |job: JobAndNextTick| JobAndNextTick { next_tick: 1, last_tick: None, ..job };
            Ok(jobs.await?.into_iter().map(due).collect())
        })
    }

    fn set_next_and_last_tick(&mut self, _: Uuid, _: Option<DateTime<Utc>>, _: Option<DateTime<Utc>>) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        self.jobs.time_till_next_job()
    }
}

impl DataStore<JobStoredData> for Pump {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        self.jobs.get(id)
    }

    fn add_or_update(&mut self, data: JobStoredData) -> Answer<()> {
        self.jobs.add_or_update(data)
    }

    fn delete(&mut self, id: Uuid) -> Answer<()> {
        self.jobs.delete(id)
    }
}

impl InitStore for Pump {
    fn init(&mut self) -> Answer<()> {
        self.jobs.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.jobs.inited()
    }
}
