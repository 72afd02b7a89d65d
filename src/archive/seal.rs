//! Encryption of archives to recipients of age (<https://age-encryption.org/v1>): `age -d -i KEY NAME.tar.gz.age | tar xz` opens them.
//!
//! Whoever packs needs no secret key. What was written is proven all the same: each archive is encrypted to one more key, which is
//! made for it, decrypts it once, and is forgotten.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::stream::StreamReader;
use age::x25519::{Identity, Recipient};
use age::{Decryptor, Encryptor, IdentityFile};

use super::Step;
use crate::digest::Hasher;
use crate::fs::{create_partial, forget_cached};
use crate::model::Member;

/// To whom archives are encrypted.
pub struct Sealing<'a> {
    /// Public keys, as `age-keygen` prints them.
    pub recipients: &'a [String],
    /// Whether the index of what is in an archive is encrypted as well.
    pub hide_index: bool,
}

/// Secret keys.
pub struct Keys(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Keys {
    /// The keys in a file as `age-keygen` writes it.
    ///
    /// # Errors
    /// Fails where it can't be read or holds no key.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = IdentityFile::from_buffer(BufReader::new(File::open(path)?))?;
        Ok(Self(file.into_identities().map_err(io::Error::other)?))
    }

    fn decrypt<R: Read>(&self, input: R) -> io::Result<StreamReader<R>> {
        let keys = self.0.iter().map(|key| &**key as &dyn age::Identity);
        Decryptor::new(input).and_then(|decryptor| decryptor.decrypt(keys)).map_err(io::Error::other)
    }

    /// What an encrypted index says.
    pub(super) fn index(&self, text: &str) -> io::Result<Vec<Member>> {
        let mut json = Vec::new();
        self.decrypt(ArmoredReader::new(text.as_bytes()))?.read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

/// A public key, as text.
///
/// # Errors
/// Says what is wrong with it.
pub fn recipient(text: &str) -> Result<Recipient, &'static str> {
    text.parse()
}

fn encryptor(recipients: &[String], own: &Recipient) -> io::Result<Encryptor> {
    let keys: Result<Vec<Recipient>, _> = recipients.iter().map(|text| recipient(text)).collect();
    let keys = keys.map_err(io::Error::other)?;
    let all = keys.iter().chain([own]).map(|key| key as &dyn age::Recipient);
    Encryptor::with_recipients(all).map_err(io::Error::other)
}

/// Encrypts the index of an archive, as text.
pub(super) fn seal_index(members: &[Member], recipients: &[String]) -> io::Result<String> {
    let own = Identity::generate();
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor(recipients, &own.to_public())?.wrap_output(armored)?;
    writer.write_all(&serde_json::to_vec(members)?)?;
    let text = String::from_utf8(writer.finish()?.finish()?).map_err(io::Error::other)?;
    if Keys(vec![Box::new(own)]).index(&text)? == members {
        return Ok(text);
    }
    Err(io::Error::other("what was encrypted turned out different"))
}

/// Encrypts a file into another, reads that back, and compares what comes out. Gives size and digest of what was written, or `None`
/// where it was told to stop.
pub(super) fn seal(
    plain: &mut File,
    plain_sha256: &str,
    target: &Path,
    recipients: &[String],
    step: Step<'_>,
) -> io::Result<Option<(u64, String)>> {
    let own = Identity::generate();
    let mut output = Hashed { inner: create_partial(target)?, hasher: Hasher::default(), bytes: 0 };
    let mut writer = encryptor(recipients, &own.to_public())?.wrap_output(&mut output)?;
    plain.seek(SeekFrom::Start(0))?;
    if !copy(plain, &mut writer, step)? {
        return Ok(None);
    }
    writer.finish()?;
    let Hashed { inner: file, hasher, bytes } = output;
    let written = hasher.finish();
    file.sync_all()?;
    forget_cached(&file);
    let mut input = Hashed { inner: File::open(target)?, hasher: Hasher::default(), bytes: 0 };
    let mut text = Hasher::default();
    let proven = copy(&mut Keys(vec![Box::new(own)]).decrypt(&mut input)?, &mut text, step)?;
    if !proven {
        return Ok(None);
    }
    if text.finish() != plain_sha256 || input.bytes != bytes || input.hasher.finish() != written {
        return Err(io::Error::other("what was encrypted turned out different"));
    }
    Ok(Some((bytes, written)))
}

/// Gives whether it came to the end.
fn copy(from: &mut impl Read, to: &mut impl Write, step: Step<'_>) -> io::Result<bool> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(true);
        }
        to.write_all(&buffer[..read])?;
        if step(0) {
            return Ok(false);
        }
    }
}

/// Counts and hashes what passes.
struct Hashed<T> {
    inner: T,
    hasher: Hasher,
    bytes: u64,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.write_all(&bytes[..written])?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.write_all(&buffer[..read])?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The tar file of an archive, by its compressed bytes.
pub enum Content {
    /// As it is on the disk.
    Plain(File),
    /// Decrypted as it is read.
    Sealed(Box<Sealed>),
}

/// An encrypted file.
pub struct Sealed {
    file: File,
    keys: Arc<Keys>,
    length: u64,
    reader: Mutex<StreamReader<File>>,
}

impl Content {
    /// Of a file, decrypted where there are keys for it; then it is so long.
    pub(super) fn new(file: File, keys: Option<(&Arc<Keys>, u64)>) -> io::Result<Self> {
        let Some((keys, length)) = keys else { return Ok(Self::Plain(file)) };
        let reader = Mutex::new(keys.decrypt(file.try_clone()?)?);
        Ok(Self::Sealed(Box::new(Sealed { file, keys: keys.clone(), length, reader })))
    }

    /// Its length in bytes; of an encrypted one, that which it should have.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Sealed(sealed) => Ok(sealed.length),
        }
    }

    /// Fills the buffer with the bytes from a place on.
    pub fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(buffer, at),
            Self::Sealed(sealed) => sealed.read_exact_at(buffer, at),
        }
    }

    /// The file itself, where it is not encrypted.
    pub fn plain(&self) -> io::Result<&File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Sealed(_) => {
                Err(io::Error::other("it is encrypted and its manifest doesn't say what is where in it"))
            }
        }
    }
}

impl Sealed {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reader.seek(SeekFrom::Start(at)).and_then(|_| reader.read_exact(buffer));
        if read.is_err() {
            // One that has met damage gives nothing else any more: the next read begins with another.
            let mut file = self.file.try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            *reader = self.keys.decrypt(file)?;
        }
        read
    }
}
