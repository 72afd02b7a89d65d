//! Archives: date-stamped bundles of rotated logs.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Identity, Problem};

/// What the names of encrypted archives end with.
pub const SEALED: &str = ".age";

/// The manifest's format.
pub const MANIFEST_VERSION: u32 = 1;

/// An archive as in the manifest beside it and, without the blocks, in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveEntry {
    /// The manifest's format; [`MANIFEST_VERSION`].
    pub version: u32,
    /// File name: `HOST-SOURCE-YYYY-MM-DD.tar.gz`.
    pub name: String,
    /// The host whose logs it holds.
    pub host: String,
    /// The source's name.
    pub source: String,
    /// The date in its name, `YYYY-MM-DD`.
    pub date: String,
    /// What that date is.
    pub date_rule: DateRule,
    /// The zone of stamps in its logs that have none.
    pub zone: String,
    /// How it is compressed.
    pub codec: Codec,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of the archive's bytes, hexadecimal.
    pub sha256: String,
    /// What it holds.
    pub members: Vec<Member>,
    /// What it is decrypted, where it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
}

/// The tar file in an encrypted archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Its size in bytes, compressed.
    pub size: u64,
    /// SHA-256 of these bytes, hexadecimal.
    pub sha256: String,
    /// The members, encrypted, where the manifest doesn't tell them openly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

impl ArchiveEntry {
    /// Its name without what tells how it is packed.
    pub fn stem(&self) -> &str {
        let name = self.name.strip_suffix(SEALED).unwrap_or(&self.name);
        name.strip_suffix(self.codec.suffix()).unwrap_or(name)
    }

    /// How many bytes are gone through to verify it without a key.
    pub fn text_size(&self) -> u64 {
        if self.inside.is_some() { self.size } else { self.members.iter().map(|member| member.size).sum() }
    }

    /// Size and digest of the compressed tar file.
    pub fn content(&self) -> (u64, &str) {
        self.inside.as_ref().map_or((self.size, &self.sha256), |inside| (inside.size, &inside.sha256))
    }

    /// Whether a manifest, which may hide what is in the archive, is that of this one, places of blocks aside.
    pub fn has_manifest(&self, manifest: &Self) -> bool {
        let index = manifest.inside.as_ref().and_then(|inside| inside.index.clone());
        manifest.without_blocks() == self.without_blocks().shown(index)
    }

    /// What a manifest shows of it without any key.
    pub fn shown(&self, index: Option<String>) -> Self {
        let inside = self.inside.clone().map(|inside| Inside { index, ..inside });
        let members = match &inside {
            Some(Inside { index: Some(_), .. }) => Vec::new(),
            _ => self.members.clone(),
        };
        Self { members, inside, ..self.clone() }
    }

    /// The earliest time in its logs, seconds since 1970 UTC; `None` where none of them has any.
    pub fn first(&self) -> Option<i64> {
        self.members.iter().filter_map(|member| member.first).min()
    }

    /// The latest time in its logs, seconds since 1970 UTC.
    pub fn last(&self) -> Option<i64> {
        self.members.iter().filter_map(|member| member.last).max()
    }

    /// The same without the places of its blocks.
    pub fn without_blocks(&self) -> Self {
        let members = self.members.iter().map(|member| Member { blocks: Vec::new(), ..member.clone() });
        Self { members: members.collect(), ..self.clone() }
    }
}

/// One rotated log in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the archive: its path without the first `/`.
    pub name: RawName,
    /// Size in bytes as stored.
    pub size: u64,
    /// Last modification, seconds since 1970 UTC.
    pub modified: i64,
    /// Permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// SHA-256 as stored, hexadecimal.
    pub sha256: String,
    /// SHA-256 of its text, decompressed where it was compressed: what recognises a log that was
    /// renamed or compressed after it was archived.
    pub content_sha256: String,
    /// SHA-256 of how its text begins: logs that begin differently needn't be read whole to be told apart.
    pub head_sha256: String,
    /// The earliest time in it, seconds since 1970 UTC; `None` where no line has a known one.
    pub first: Option<i64>,
    /// The latest time in it.
    pub last: Option<i64>,
    /// What the original was when it was read.
    pub identity: Identity,
    /// Where in the archive its text is, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
}

/// A part of a log that can be decompressed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32, u32, Option<i64>, Option<i64>)", into = "(u64, u32, u32, Option<i64>, Option<i64>)")]
pub struct Block {
    /// Where it begins in the archive, in bytes.
    pub offset: u64,
    /// Its length in the archive, in bytes.
    pub length: u32,
    /// The length of its text, in bytes.
    pub text: u32,
    /// The earliest time of its lines, seconds since 1970 UTC; a line without one has that of the line before.
    pub first: Option<i64>,
    /// The latest time of its lines.
    pub last: Option<i64>,
}

impl From<(u64, u32, u32, Option<i64>, Option<i64>)> for Block {
    fn from((offset, length, text, first, last): (u64, u32, u32, Option<i64>, Option<i64>)) -> Self {
        Self { offset, length, text, first, last }
    }
}

impl From<Block> for (u64, u32, u32, Option<i64>, Option<i64>) {
    fn from(block: Block) -> Self {
        (block.offset, block.length, block.text, block.first, block.last)
    }
}

/// A file name as the bytes it is; in JSON a text, or a list of bytes where it is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawName(pub Vec<u8>);

impl Serialize for RawName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Self(text.into_bytes()),
            Either::Bytes(bytes) => Self(bytes),
        })
    }
}

impl std::fmt::Display for RawName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::model::untrusted::printable(&self.0))
    }
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// `.tar.gz`: everybody can open it.
    #[default]
    Gzip,
    /// `.tar.zst`: smaller, and several times as fast.
    Zstd,
}

impl Codec {
    /// What the names of files end with that are compressed so.
    pub fn extension(self) -> &'static str {
        match self {
            Codec::Gzip => ".gz",
            Codec::Zstd => ".zst",
        }
    }

    /// What the names of its archives end with.
    pub fn suffix(self) -> &'static str {
        match self {
            Codec::Gzip => ".tar.gz",
            Codec::Zstd => ".tar.zst",
        }
    }
}

impl FromStr for Codec {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Problem::new(
                format!("{text:?} is no way to compress"),
                "gzip or zstd",
                "write \"gzip\" or \"zstd\"",
            )),
        }
    }
}

/// What the date in an archive's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DateRule {
    /// That of the last line with a time in the log, else that of its last change.
    #[default]
    Content,
    /// That of the log's last change.
    File,
    /// That of the run's slot.
    Run,
}

impl FromStr for DateRule {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "content" => Ok(Self::Content),
            "file" => Ok(Self::File),
            "run" => Ok(Self::Run),
            _ => Err(Problem::new(
                format!("{text:?} is no date of an archive"),
                "content, file or run",
                "write \"content\" (the last time in the log), \"file\" (its last change) or \"run\"",
            )),
        }
    }
}

/// Which archives of a source stay. Nothing set: all of them. Of each rule the newest archives are kept, and what no rule keeps
/// may go; the limits on size let more go, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest.
    pub last: u32,
    /// The newest of each of so many days that have any.
    pub daily: u32,
    /// The newest of each of so many weeks.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
    /// All whose date is at most so long ago.
    pub within: Option<Duration>,
    /// At most so many bytes in the whole store.
    pub max_total: Option<u64>,
    /// At least so many bytes free on the store's file system.
    pub min_free: Option<u64>,
}

impl Retention {
    /// Whether a rule says which archives stay by their dates.
    pub fn has_rules(&self) -> bool {
        [self.last, self.daily, self.weekly, self.monthly, self.yearly].iter().any(|n| *n > 0) || self.within.is_some()
    }

    /// Whether anything may ever go.
    pub fn is_set(&self) -> bool {
        self.has_rules() || self.max_total.is_some() || self.min_free.is_some()
    }
}

/// Collect rotated logs into verified archives.
#[derive(Debug, Clone)]
pub struct ArchiveSpec {
    /// Names of sources.
    pub sources: Vec<String>,
    /// The folder that receives the archives.
    pub store: PathBuf,
    /// Whether originals are removed once their archive is verified and recorded.
    pub remove_originals: bool,
    /// What the date in an archive's name is.
    pub date: DateRule,
    /// How archives are compressed.
    pub codec: Codec,
    /// How long a log must have been left alone.
    pub quiet: Duration,
    /// Which archives stay.
    pub keep: Retention,
    /// Public keys to which archives are encrypted; none: they are not.
    pub encrypt: Vec<String>,
    /// Whether what is in an encrypted archive is told to those only who can decrypt it.
    pub hide_index: bool,
    /// Names of places that get a copy of each archive; none is let go before it is there.
    pub copies: Vec<String>,
}

/// Read archives again and compare them with what they should hold.
#[derive(Debug, Clone)]
pub struct VerifySpec {
    /// The folder of the archives.
    pub store: PathBuf,
    /// How many of a hundred archives each run reads, those first that were not read for the longest time.
    pub share: u32,
}

/// A name as part of an archive's name and of folders: letters, digits, `._-`, and other bytes as `_` with their number.
pub fn plain_name(text: &str) -> String {
    let letter = |(at, byte): (usize, u8)| match byte {
        b'.' if at == 0 => "_".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) => char::from(byte).to_string(),
        byte => format!("_{byte:02x}"),
    };
    text.bytes().take(LONGEST_NAME).enumerate().map(letter).collect()
}

/// Longer names are cut, so that a file name can hold them.
const LONGEST_NAME: usize = 64;

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
