//! The daemon's side. Only root, the daemon's own user and its group may speak; only configured jobs can be started.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use tokio::net::UnixListener;

use crate::model::{JobId, Run, RunId};
use crate::runner::{App, blocking};

/// How long a run that doesn't run may have no end on record.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: u32,
    gid: u32,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        // A peer that can't be identified is nobody.
        stream
            .io()
            .peer_cred()
            .map_or(Self { uid: u32::MAX, gid: u32::MAX }, |peer| Self { uid: peer.uid(), gid: peer.gid() })
    }
}

/// Binds the socket and returns what serves it until `ended` completes and the last answer is given.
///
/// # Errors
/// Says why the socket can't be bound.
pub fn serve(
    app: Arc<App>,
    socket: PathBuf,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<impl Future<Output = ()>> {
    if let Err(error) = std::fs::remove_file(&socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660))?;
    let router = Router::new()
        .route("/jobs/{job}/runs", post(start))
        .route("/runs/{run}/end", get(end))
        .layer(middleware::from_fn(admit))
        .with_state(app);
    let service = router.into_make_service_with_connect_info::<Peer>();
    Ok(async move {
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(ended).await {
            tracing::error!("the socket {} is not served any more: {error}", socket.display());
        }
    })
}

async fn admit(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if peer.uid == 0 || peer.uid == uid || peer.gid == gid {
        return next.run(request).await;
    }
    tracing::warn!(uid = peer.uid, "refused a connection");
    (StatusCode::FORBIDDEN, "only root and logkeeper's own user and group may do this").into_response()
}

/// Puts a run on record, begins it and returns its number.
async fn start(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<RunId>, (StatusCode, String)> {
    if app.is_ending() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending; no run begins any more".to_owned()));
    }
    let config = app.config();
    let job = id.parse::<JobId>().ok().and_then(|id| config.jobs.get(&id)).cloned();
    let job = job.ok_or_else(|| {
        (StatusCode::NOT_FOUND, format!("the daemon knows no job {id:?}; \"logkeeper jobs\" lists them"))
    })?;
    let (recording, requested) = (app.clone(), job.clone());
    let recorded = blocking(move || {
        let now = recording.clock.now();
        recording.store.request_run(&requested, now).map(|run| (run, now))
    });
    let (run, now) = recorded.await.map_err(internal)?.map_err(internal)?;
    tokio::spawn(async move { app.execute(job, run, now).await });
    Ok(Json(run))
}

/// Waits for a run to end and returns it.
async fn end(State(app): State<Arc<App>>, Path(run): Path<RunId>) -> Result<Json<Run>, (StatusCode, String)> {
    let mut finished = app.finished();
    let mut gone_since = None;
    loop {
        let reading = app.clone();
        let found = blocking(move || reading.store.run(run)).await.map_err(internal)?.map_err(internal)?;
        let found = found.ok_or((StatusCode::NOT_FOUND, format!("there is no run {run}")))?;
        if found.outcome.is_some() {
            return Ok(Json(found));
        }
        // Woken or not, it is looked at again.
        let _ = tokio::time::timeout(PATIENCE, finished.changed()).await;
        let gone = *gone_since.get_or_insert_with(tokio::time::Instant::now);
        if app.is_running(run) {
            gone_since = None;
        } else if gone.elapsed() > PATIENCE {
            return Err(internal(format!("run {run} is over, but its end could not be recorded")));
        }
    }
}

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
