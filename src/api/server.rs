//! The daemon's side. Only root, the daemon's own user and its group may speak; only configured jobs can be started.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use tokio::net::UnixListener;

use crate::model::{Glance, JobId, Run, RunId};
use crate::runner::{App, EndError};
use crate::threads::blocking;

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
pub fn serve<R: Future<Output = Result<(), String>> + Send>(
    app: Arc<App>,
    socket: PathBuf,
    ended: impl Future<Output = ()> + Send + 'static,
    reload: impl Fn() -> R + Clone + Send + Sync + 'static,
) -> std::io::Result<impl Future<Output = ()>> {
    let reload = async move || reload().await.map_err(|errors| (StatusCode::UNPROCESSABLE_ENTITY, errors)).map(Json);
    if let Err(error) = std::fs::remove_file(&socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660))?;
    let router = Router::new()
        .route("/jobs/{job}/runs", post(start))
        .route("/jobs/{job}/pause", post(|State(app), Path(id)| set_paused(app, id, true)))
        .route("/jobs/{job}/resume", post(|State(app), Path(id)| set_paused(app, id, false)))
        .route("/runs/{run}/end", get(end))
        .route("/runs/{run}/output", get(output))
        .route("/runs/{run}/stop", post(stop))
        .route("/load", get(load))
        .route("/reload", post(reload))
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
    if peer.uid == 0 || peer.uid == uid || peer.gid == gid || is_member(peer, gid) {
        return next.run(request).await;
    }
    tracing::warn!(uid = peer.uid, "refused a connection");
    (StatusCode::FORBIDDEN, "only root and logkeeper's own user and group may do this").into_response()
}

/// Whether the account at the other end is in a group, which need not be its first one.
fn is_member(peer: Peer, group: u32) -> bool {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(peer.uid)).ok().flatten();
    let groups = user.and_then(|user| {
        let name = std::ffi::CString::new(user.name).ok()?;
        nix::unistd::getgrouplist(&name, user.gid).ok()
    });
    groups.is_some_and(|groups| groups.iter().any(|gid| gid.as_raw() == group))
}

/// Stops or starts following a job's schedule; false where nothing changes.
async fn set_paused(app: Arc<App>, id: String, paused: bool) -> Result<Json<bool>, (StatusCode, String)> {
    let config = app.config();
    let job = id.parse::<JobId>().ok().filter(|id| config.jobs.contains_key(id));
    let job = job.ok_or_else(|| (StatusCode::NOT_FOUND, format!("the daemon knows no job {id:?}")))?;
    let set = blocking(move || if paused { app.store.pause(&job, app.clock.now()) } else { app.store.resume(&job) });
    set.await.map_err(internal)?.map(Json).map_err(internal)
}

/// What a request to start a job may say.
#[derive(serde::Deserialize)]
struct StartQuery {
    /// The slot to replay.
    at: Option<DateTime<Utc>>,
}

/// Puts a run on record, begins it and returns its number.
async fn start(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<StartQuery>,
) -> Result<Json<RunId>, (StatusCode, String)> {
    if app.is_ending() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending; no run begins any more".to_owned()));
    }
    let config = app.config();
    let job = id.parse::<JobId>().ok().and_then(|id| config.jobs.get(&id)).cloned();
    let job = job.ok_or_else(|| {
        (
            StatusCode::NOT_FOUND,
            format!("the daemon knows no job {id:?}; after a change, \"logkeeper reload\" makes it known"),
        )
    })?;
    let recording = app.clone();
    let recorded = blocking(move || recording.store.request_run(&job, query.at, recording.clock.now()));
    let run = recorded.await.map_err(internal)?.map_err(internal)?;
    let id = run.id;
    app.begin(vec![run]);
    Ok(Json(id))
}

/// Waits for a run to end and returns it.
async fn end(State(app): State<Arc<App>>, Path(run): Path<RunId>) -> Result<Json<Run>, (StatusCode, String)> {
    let ended = app.ended(run).await;
    ended.map(Json).map_err(|error| match error {
        EndError::Unknown(_) => (StatusCode::NOT_FOUND, error.to_string()),
        EndError::Lost(_) | EndError::Store(_) => internal(error),
    })
}

/// From which line on output is wanted.
#[derive(serde::Deserialize)]
struct OutputQuery {
    from: usize,
}

/// What a running command has printed, and how far the run is.
async fn output(State(app): State<Arc<App>>, Path(run): Path<RunId>, Query(query): Query<OutputQuery>) -> Json<Glance> {
    Json(app.glance(run, query.from))
}

/// Stops a run.
async fn stop(State(app): State<Arc<App>>, Path(run): Path<RunId>) -> Result<Json<()>, (StatusCode, String)> {
    match blocking(move || app.stop(run)).await.map_err(internal)?.map_err(internal)? {
        true => Ok(Json(())),
        false => Err((StatusCode::NOT_FOUND, format!("run {run} doesn't go on; \"logkeeper status\" lists what does"))),
    }
}

/// How many runs go on, and how many wait for their turn.
async fn load(State(app): State<Arc<App>>) -> Json<(usize, usize)> {
    Json(app.load())
}

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
