//! Heartbeats: pings that somebody else waits for (healthchecks and the like), so that the silence of logkeeper itself is noticed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::planner::Planner;
use super::ticker::HUNG;
use crate::runner::App;

/// How often the daemon itself says that it goes on.
const EVERY: Duration = Duration::from_secs(60);

/// The longest one ping may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Pings for as long as the daemon runs: each minute in which what was due was planned, and what jobs have to say.
pub async fn beat(app: Arc<App>, planner: Arc<Planner>, mut told: Receiver<String>) {
    // That another part of the program was faster is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = reqwest::Client::builder().timeout(DEADLINE).user_agent("logkeeper").build();
    let client = match built {
        Ok(client) => client,
        Err(error) => return tracing::error!("no heartbeats: {error}"),
    };
    let mut minute = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = minute.tick() => {
                let is_well = planner.next().is_none_or(|next| next > planner.now() - HUNG);
                if let Some(url) = app.config().heartbeat.clone().filter(|_| is_well) {
                    tokio::spawn(ping(client.clone(), url));
                }
            }
            url = told.recv() => match url {
                Ok(url) => drop(tokio::spawn(ping(client.clone(), url))),
                Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} heartbeats of jobs were left out"),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn ping(client: reqwest::Client, url: String) {
    let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    if let Err(error) = answer {
        // Whoever knows the address can ping, so it doesn't belong into a log.
        tracing::warn!("a heartbeat was not taken: {}", error.without_url());
    }
}
