//! Copies in a bucket of S3, or of what understands its protocol, through object_store.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path as FilePath;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::{CopyError, Place, Seen, Sending};
use crate::model::{S3Spec, problem};

/// The size of a part of a large object. S3 takes up to 10,000 parts of at least 5 MiB.
const PART: u64 = 8 << 20;

/// How many parts an object may have.
const MOST_PARTS: u64 = 10_000;

/// The longest one request may take: a part over a slow line.
const DEADLINE: Duration = Duration::from_secs(300);

/// How long reaching the service may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How often it is asked whether to stop.
const GLANCE: Duration = Duration::from_millis(200);

/// A bucket.
pub struct Bucket {
    store: AmazonS3,
    runtime: Runtime,
    prefix: String,
    name: String,
    identity: String,
    /// The status of the service's last refusal.
    refused: Cell<Option<u16>>,
}

/// How far a large object is: what an interrupted sending notes.
#[derive(Serialize, Deserialize)]
struct Upload {
    id: String,
    part: u64,
    tags: Vec<String>,
}

impl Bucket {
    /// Reads the credentials; nothing is sent yet.
    pub fn new(spec: &S3Spec) -> Result<Self, CopyError> {
        // That another part of the program was faster is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = spec.endpoint.as_deref().unwrap_or_default();
        let mut client = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout(DEADLINE)
            .with_read_timeout(DEADLINE)
            // The configuration lets only a service on this machine be without TLS.
            .with_allow_http(endpoint.starts_with("http://"));
        if let Some(path) = &spec.ca_file {
            let pem = std::fs::read(path).map_err(|error| unusable(path, &error))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| unusable(path, &error))? {
                client = client.with_root_certificate(certificate);
            }
        }
        let retry = RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&spec.bucket)
            .with_region(&spec.region)
            .with_access_key_id(first_line(&spec.key_id_file)?)
            .with_secret_access_key(first_line(&spec.secret_file)?)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &spec.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let name = format!("bucket {}", spec.bucket);
        let store = builder.build().map_err(|error| CopyError::Place(format!("{name}: {}", causes(&error))))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CopyError::Place(format!("{name}: {error}")))?;
        let identity = format!("{endpoint}/{}/{}", spec.bucket, spec.prefix);
        Ok(Self { store, runtime, prefix: spec.prefix.clone(), name, identity, refused: Cell::new(None) })
    }

    fn path(&self, key: &str) -> Result<Path, CopyError> {
        let full = format!("{}/{key}", self.prefix);
        Path::parse(full.trim_start_matches('/')).map_err(|error| CopyError::One(format!("{key}: {error}")))
    }

    /// Waits for an answer, unless it is told to stop.
    fn wait<T>(
        &self,
        stop: &dyn Fn() -> bool,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CopyError> {
        self.runtime.block_on(async {
            tokio::pin!(answer);
            loop {
                match tokio::time::timeout(GLANCE, &mut answer).await {
                    Ok(done) => return done.map_err(|error| self.failed(&error)),
                    Err(_) if stop() => return Err(CopyError::Stopped),
                    Err(_) => {}
                }
            }
        })
    }

    fn failed(&self, error: &object_store::Error) -> CopyError {
        let text = format!("{}: {}", self.name, causes(error));
        self.refused.set(status(error));
        let is_one = match self.refused.get() {
            Some(401 | 403 | 407) => false,
            // Of the object, where it is not that there is no such bucket.
            Some(400..500) => !text.contains("NoSuchBucket"),
            Some(_) => false,
            None => matches!(
                error,
                object_store::Error::NotFound { .. }
                    | object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. }
            ),
        };
        if is_one { CopyError::One(text) } else { CopyError::Place(text) }
    }

    /// Whether the last failure was the service's word that it won't do this, and not that it can't do anything now.
    fn is_refused(&self) -> bool {
        matches!(self.refused.get(), Some(400 | 404 | 500))
    }

    /// Sends the parts that are not there yet; gives the object's version.
    fn send_parts(&self, path: &Path, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<String, CopyError> {
        let known: Option<Upload> = sending.noted.as_deref().and_then(|noted| serde_json::from_str(noted).ok());
        let mut upload = match known {
            Some(upload) => upload,
            None => Upload {
                id: self.wait(stop, self.store.create_multipart(path))?,
                part: PART.max(sending.size.div_ceil(MOST_PARTS)),
                tags: Vec::new(),
            },
        };
        note(sending, &upload)?;
        while upload.tags.len() as u64 * upload.part < sending.size {
            let index = upload.tags.len();
            let payload = part_of(sending, index as u64 * upload.part, upload.part)?;
            let part = self.wait(stop, self.store.put_part(path, &upload.id, index, payload))?;
            upload.tags.push(part.content_id);
            note(sending, &upload)?;
        }
        let parts = upload.tags.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
        let done = self.wait(stop, self.store.complete_multipart(path, &upload.id, parts))?;
        Ok(done.e_tag.unwrap_or_default())
    }

    /// Sends a small object in one piece, which replaces none.
    fn send_whole(&self, path: &Path, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<String, CopyError> {
        let payload = part_of(sending, 0, PART)?;
        let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let done = match self.wait(stop, self.store.put_opts(path, payload.clone(), only_new)) {
            // A service that doesn't know this condition.
            Err(CopyError::Place(why)) if why.contains("NotImplemented") => {
                self.wait(stop, self.store.put(path, payload))
            }
            done => done,
        };
        Ok(done?.e_tag.unwrap_or_default())
    }
}

impl Place for Bucket {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn look(&mut self, key: &str, stop: &dyn Fn() -> bool) -> Result<Option<Seen>, CopyError> {
        let path = self.path(key)?;
        let head = async {
            match self.store.head(&path).await {
                Ok(meta) => Ok(Some(meta)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let seen = self.wait(stop, head)?;
        Ok(seen.map(|meta| Seen { size: meta.size, version: meta.e_tag.unwrap_or(meta.last_modified.to_rfc3339()) }))
    }

    fn send(&mut self, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<String, CopyError> {
        let path = self.path(sending.key)?;
        if sending.size <= PART {
            return self.send_whole(&path, sending, stop);
        }
        match self.send_parts(&path, sending, stop) {
            // The service knows nothing of these parts: it has put them together already, or has forgotten them.
            Err(CopyError::One(_) | CopyError::Place(_)) if sending.noted.is_some() && self.is_refused() => {
                if let Some(seen) = self.look(sending.key, stop)? {
                    return Ok(seen.version);
                }
                let old = sending.noted.as_deref().and_then(|noted| serde_json::from_str::<Upload>(noted).ok());
                if let Some(old) = old {
                    // What is forgotten can't be given up.
                    let _ = self.wait(stop, self.store.abort_multipart(&path, &old.id));
                }
                self.send_parts(&path, &Sending { noted: None, ..*sending }, stop)
            }
            done => done,
        }
    }

    fn read(&mut self, key: &str, from: u64, to: &mut dyn Write, stop: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key)?;
        let size = self.wait(stop, self.store.head(&path))?.size;
        let mut at = from;
        while at < size {
            let bytes = self.wait(stop, self.store.get_range(&path, at..size.min(at + PART)))?;
            to.write_all(&bytes).map_err(|error| CopyError::One(error.to_string()))?;
            if bytes.is_empty() {
                return Err(CopyError::One(format!("{}: {key} ends early", self.name)));
            }
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn remove(&mut self, key: &str, stop: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key)?;
        self.wait(stop, self.store.delete(&path))
    }
}

fn note(sending: &Sending<'_>, upload: &Upload) -> Result<(), CopyError> {
    let text = serde_json::to_string(upload).map_err(io::Error::from);
    text.and_then(|text| (sending.note)(&text)).map_err(|error| CopyError::One(error.to_string()))
}

fn part_of(sending: &Sending<'_>, at: u64, length: u64) -> Result<PutPayload, CopyError> {
    let length = length.min(sending.size.saturating_sub(at));
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    sending.file.read_exact_at(&mut bytes, at).map_err(|error| CopyError::One(error.to_string()))?;
    Ok(bytes.into())
}

fn first_line(path: &FilePath) -> Result<String, CopyError> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(CopyError::Place(format!("{}: its first line is empty", path.display()))),
    }
}

fn unusable(path: &FilePath, error: &dyn std::error::Error) -> CopyError {
    CopyError::Place(format!("{}: {}", path.display(), causes(error)))
}

/// The status that a service has answered with, as the crate tells it.
fn status(error: &object_store::Error) -> Option<u16> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some((_, rest)) = error.to_string().split_once("status code: ") {
            return rest.get(..3).and_then(|digits| digits.parse().ok());
        }
        cause = error.source();
    }
    None
}

/// The most that is told of an error.
const LONGEST: usize = 300;

/// An error with what caused it, on one line; what is said twice only once. Of a service's own answer only its code and message:
/// the rest may hold what only its owner should see.
fn causes(error: &dyn std::error::Error) -> String {
    let text = problem::causes(error);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.to_owned())
    };
    let said = element("Code").zip(element("Message")).map(|(code, message)| format!("{code}: {message}"));
    let text = said.unwrap_or(text);
    // In front of it the crate says how often it tried.
    let text = text.rsplit_once(" - ").map_or(&*text, |(_, last)| last);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}
