//! The command line's side.

use std::path::Path;

use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::model::{Glance, JobId, Run, RunId};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens.
    #[error("no daemon is running here")]
    NoDaemon,
    /// The daemon says no, and why.
    #[error("{0}")]
    Refused(String),
    /// Whether one listens can't be seen.
    #[error("can't look for the daemon at {0}: Permission denied; use sudo, or an account of the group of its folder")]
    Denied(String),
    /// The connection fails.
    #[error("the daemon can't be reached: {0}")]
    Broken(String),
}

/// A connection to the daemon.
pub struct Client {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] where nobody listens.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
            NotFound | ConnectionRefused => ClientError::NoDaemon,
            PermissionDenied => ClientError::Denied(socket.display().to_string()),
            _ => ClientError::Broken(format!("{}: {error}", socket.display())),
        })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Starts a job, for the slot `at` if one is given, and returns its run's number.
    ///
    /// # Errors
    /// Says why the daemon didn't start it.
    pub async fn start(&mut self, job: &JobId, at: Option<DateTime<Utc>>) -> Result<RunId, ClientError> {
        let query = at.map_or_else(String::new, |at| format!("?at={}", at.format("%Y-%m-%dT%H:%M:%SZ")));
        self.ask(Method::POST, &format!("/jobs/{job}/runs{query}")).await
    }

    /// What a running command has printed from line number `from` on, and how far the run is.
    ///
    /// # Errors
    /// Says why that can't be told.
    pub async fn glance(&mut self, run: RunId, from: usize) -> Result<Glance, ClientError> {
        self.ask(Method::GET, &format!("/runs/{run}/output?from={from}")).await
    }

    /// Stops a run.
    ///
    /// # Errors
    /// Says why it can't be stopped.
    pub async fn stop(&mut self, run: RunId) -> Result<(), ClientError> {
        self.ask(Method::POST, &format!("/runs/{run}/stop")).await
    }

    /// How many runs go on, and how many wait for their turn.
    ///
    /// # Errors
    /// Says why that can't be told.
    pub async fn load(&mut self) -> Result<(usize, usize), ClientError> {
        self.ask(Method::GET, "/load").await
    }

    /// Stops following a job's schedule (or follows it again); false where nothing changes.
    ///
    /// # Errors
    /// Says why that can't be done.
    pub async fn set_paused(&mut self, job: &JobId, paused: bool) -> Result<bool, ClientError> {
        self.ask(Method::POST, &format!("/jobs/{job}/{}", if paused { "pause" } else { "resume" })).await
    }

    /// Has the daemon read its configuration again.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub async fn reload(&mut self) -> Result<(), ClientError> {
        self.ask(Method::POST, "/reload").await
    }

    /// Waits for a run to end.
    ///
    /// # Errors
    /// Says why its end can't be told.
    pub async fn end(&mut self, run: RunId) -> Result<Run, ClientError> {
        self.ask(Method::GET, &format!("/runs/{run}/end")).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&mut self, method: Method, path: &str) -> Result<T, ClientError> {
        let broken = |error: &dyn std::fmt::Display| ClientError::Broken(error.to_string());
        let request = Request::builder().method(method).uri(path).header("host", "logkeeper").body(Empty::new());
        let request = request.map_err(|error| broken(&error))?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
        if status != StatusCode::OK {
            return Err(ClientError::Refused(String::from_utf8_lossy(&body).into_owned()));
        }
        serde_json::from_slice(&body).map_err(|error| broken(&error))
    }
}
