//! Heartbeats: pings that somebody else waits for (healthchecks and the like), so that the silence of logkeeper itself is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::planner::Planner;
use crate::model::problem::causes;
use crate::runner::{App, Heartbeat};

/// How often the daemon itself says that it goes on.
const EVERY: Duration = Duration::from_secs(60);

/// The longest one attempt may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// After how long a ping is tried again that got lost.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// How many pings are on their way at the same time.
const AT_ONCE: usize = 16;

/// How long the end of the daemon waits for the last pings.
const LAST: Duration = Duration::from_secs(5);

/// Whose heartbeat the daemon's own is.
const OWN: &str = "logkeeper";

/// Pings until the daemon ends: each minute in which what was due was started, and what jobs have to say.
pub async fn beat(app: Arc<App>, planner: Arc<Planner>, mut told: Receiver<Heartbeat>, mut end: oneshot::Receiver<()>) {
    let mut pings = Pings::default();
    let mut minute = tokio::time::interval(EVERY);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minute.tick() => {
                if let Some(url) = app.config().heartbeat.clone().filter(|_| planner.is_well()) {
                    pings.add(Heartbeat { of: OWN.to_owned(), url });
                }
            }
            heartbeat = told.recv() => match heartbeat {
                Ok(heartbeat) => pings.add(heartbeat),
                Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} heartbeats of jobs were left out"),
                Err(RecvError::Closed) => return,
            },
            () = pings.progress() => {}
            _ = &mut end => break,
        }
    }
    while let Ok(heartbeat) = told.try_recv() {
        pings.add(heartbeat);
    }
    // Who doesn't listen isn't waited for.
    let _ = tokio::time::timeout(LAST, pings.all()).await;
}

/// Pings on their way: one of each job, so that they arrive in order, and the latest of those that wait.
#[derive(Default)]
struct Pings {
    client: Option<Client>,
    sent: JoinSet<(String, Result<(), String>)>,
    under_way: BTreeSet<String>,
    waiting: BTreeMap<String, String>,
    failing: BTreeSet<String>,
}

impl Pings {
    fn add(&mut self, Heartbeat { of, url }: Heartbeat) {
        self.waiting.insert(of, url);
        self.send();
    }

    fn send(&mut self) {
        let ready = self.waiting.keys().filter(|of| !self.under_way.contains(*of)).cloned();
        let ready: Vec<String> = ready.take(AT_ONCE.saturating_sub(self.sent.len())).collect();
        for of in ready {
            let Some(url) = self.waiting.remove(&of) else { continue };
            self.under_way.insert(of.clone());
            let client = self.client();
            self.sent.spawn(async move {
                let answer = match client {
                    Ok(client) => ping(&client, &url).await,
                    Err(why) => Err(why),
                };
                (of, answer)
            });
        }
    }

    /// Made when it is first needed: a machine without certificates needs none for nothing.
    fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        // That another part of the program was faster is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = Client::builder().timeout(DEADLINE).user_agent("logkeeper").build();
        let client = built.map_err(|error| causes(&error))?;
        Ok(self.client.insert(client).clone())
    }

    /// Waits until a ping has come to its end, for ever where none is on its way.
    async fn progress(&mut self) {
        let Some(ended) = self.sent.join_next().await else { return std::future::pending().await };
        // A panic in there is in the log; its job is pinged no more until the next start.
        let Ok((of, answer)) = ended else { return };
        self.under_way.remove(&of);
        // Once: a line for each would make the log grow, which may be the very log that is followed.
        match answer {
            Ok(()) if self.failing.remove(&of) => tracing::info!("the heartbeat of {of} is heard again"),
            Ok(()) => {}
            Err(why) if self.failing.insert(of.clone()) => tracing::warn!("the heartbeat of {of} is not heard: {why}"),
            Err(_) => {}
        }
        self.send();
    }

    async fn all(&mut self) {
        while !self.sent.is_empty() {
            self.progress().await;
        }
    }
}

async fn ping(client: &Client, url: &str) -> Result<(), String> {
    let mut again = AGAIN.iter();
    loop {
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        // Whoever knows the address can ping, so it doesn't belong into a log.
        let Err(error) = answer.map_err(reqwest::Error::without_url) else { return Ok(()) };
        let is_lost = error.status().is_none_or(|status| status.is_server_error());
        match again.next().filter(|_| is_lost) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(causes(&error)),
        }
    }
}
