//! Rotated files that were compressed before all of their lines had been read.
//!
//! `logrotate` with `compress` packs a file the moment it is rotated. Whoever holds it open reads on; a host that was down meanwhile finds only
//! the packed copy, knows it by the same first bytes, and reads on in it. It is unpacked into a file without a name, which is gone with the
//! process.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::positions::Identity;
use super::reader::{FINGERPRINT_BYTES, Reader, fingerprint, identity};
use super::siblings;
use crate::logs::FileOffset;

/// Room on the disk that is left free.
const SPARE_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gzip,
    Zstd,
}

/// A file that is compressed in a way that can be read.
#[derive(Debug)]
pub(super) struct Packed {
    path: PathBuf,
    kind: Kind,
    pub(super) identity: Identity,
    /// The first bytes of what is packed in it.
    head: Vec<u8>,
}

impl Packed {
    /// Opens `path`, if it is compressed by gzip or zstd and has at least a beginning.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let kind = match siblings::compressed(&Reader::open(path).ok()?.begin(8).ok()?)? {
            siblings::GZIP => Kind::Gzip,
            siblings::ZSTD => Kind::Zstd,
            _ => return None,
        };
        let identity = identity(&fs::metadata(path).ok()?);
        let mut packed = Self { path: path.to_owned(), kind, identity, head: Vec::new() };
        let (file, _) = packed.file().ok()?;
        packed.decoder(file).ok()?.take(FINGERPRINT_BYTES).read_to_end(&mut packed.head).ok()?;
        Some(packed)
    }

    /// Returns whether this is the file of which `stored` tells how far it was read.
    pub(super) fn is(&self, stored: &FileOffset) -> bool {
        let length = stored.offset.min(FINGERPRINT_BYTES) as usize;
        self.head.get(..length).is_some_and(|head| fingerprint(head) == stored.fingerprint)
    }

    /// Returns whether it surely has no more than `offset` bytes, without unpacking it: gzip says at its end how many it has.
    pub(super) fn ends_at(&self, offset: u64) -> bool {
        let read = || -> io::Result<u32> {
            let (mut file, length) = self.file()?;
            file.seek(SeekFrom::Start(length.saturating_sub(4)))?;
            let mut size = [0; 4];
            file.read_exact(&mut size)?;
            Ok(u32::from_le_bytes(size))
        };
        matches!(self.kind, Kind::Gzip) && read().is_ok_and(|size| size == offset as u32)
    }

    /// Unpacks it into a file without a name in `scratch`.
    ///
    /// # Errors
    /// It is damaged or not finished yet, or there is not room enough.
    pub(super) fn unpack(&self, scratch: &Path) -> io::Result<Reader> {
        let (file, _) = self.file()?;
        let mut decoder = self.decoder(file)?;
        let mut unpacked = tempfile::tempfile_in(scratch)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let length = decoder.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            // Looked at each time: others write there, too.
            let free = rustix::fs::fstatvfs(&unpacked).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
            if free < SPARE_BYTES + length as u64 {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "there is not room enough to unpack it"));
            }
            unpacked.write_all(&buffer[..length])?;
        }
        // Which of several files was written first is told by this.
        unpacked.set_modified(fs::metadata(&self.path)?.modified()?)?;
        Ok(Reader::over(unpacked, self.identity))
    }

    /// Opens it again, if it is still the same; returns its length, too.
    fn file(&self) -> io::Result<(File, u64)> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if identity(&metadata) != self.identity {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has been rotated meanwhile"));
        }
        Ok((file, metadata.len()))
    }

    fn decoder(&self, file: File) -> io::Result<Box<dyn Read>> {
        Ok(match self.kind {
            Kind::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(file))),
            Kind::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }
}
