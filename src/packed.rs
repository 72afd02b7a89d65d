//! Compressed files, recognised by how they begin: gzip, zstd, xz and bzip2.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::model::archive::Codec;

/// How many bytes at the start of a file tell how it is compressed.
pub const MAGIC: usize = 6;

/// The most memory that unpacking may take, in bytes: enough for `xz -9`, and for `zstd` up to level 19 or `--long=26`.
const MEMORY: u64 = 80 << 20;
const ZSTD_WINDOW_LOG: u32 = 26;

/// A kind of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// <https://tukaani.org/xz/xz-file-format.txt>
    Xz,
    /// <https://en.wikipedia.org/wiki/Bzip2#File_format>
    Bzip2,
}

/// Level of gzip: as small as gzip's own 6, at twice its speed (`../shared/facts/archiving.md`).
const GZIP_LEVEL: u32 = 5;

/// Compresses all of `input`.
///
/// # Errors
/// Fails where reading or writing fails.
pub fn compress(codec: Codec, input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    match codec {
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(output, flate2::Compression::new(GZIP_LEVEL));
            io::copy(input, &mut encoder)?;
            encoder.finish()?;
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            encoder.include_checksum(true)?;
            io::copy(input, &mut encoder)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

/// What file names of compressed logs end with.
pub const SUFFIXES: [&str; 4] = [".gz", ".zst", ".xz", ".bz2"];

impl Packing {
    /// How a file that begins like this is compressed; `None` where it is not.
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// What reads the text of a compressed input, of all members one after the other.
    ///
    /// # Errors
    /// Fails where there is no memory for it.
    pub fn reader(self, input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Xz => {
                let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED)?;
                Box::new(liblzma::read::XzDecoder::new_stream(input, stream))
            }
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        })
    }
}
