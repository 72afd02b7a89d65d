//! Places elsewhere that hold copies of archives.

use std::path::PathBuf;

/// A place elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// A folder, for example of another machine's disk.
    Folder(PathBuf),
    /// A bucket of S3, or of what understands its protocol.
    S3(S3Spec),
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Spec {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with, without `/` at its end; may be empty.
    pub prefix: String,
    /// The region.
    pub region: String,
    /// Where the service is; `None`: Amazon's of that region.
    pub endpoint: Option<String>,
    /// A file whose first line is the id of the access key.
    pub key_id_file: PathBuf,
    /// A file whose first line is the secret of the access key.
    pub secret_file: PathBuf,
    /// Certificates to trust besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
}
