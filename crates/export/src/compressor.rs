//! Finished files of a [`RotatingFile`](crate::RotatingFile), packed in a thread of their own.
//!
//! In: the folder, looked at whenever a file has been finished. Out: `<name>.gz` or `<name>.zst`, written under a temporary
//! name and synced; then the original is removed. What a crash leaves half-packed is removed at the next start and packed
//! again. What is packed with Zstandard is unpacked and compared before it is believed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::write::GzEncoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::file_archive::{Compression, FileArchive, Fsync, State, with_ending};
use crate::rotating_file::sync_file;
use crate::sink_counters::{Count, SinkMeter};

/// Packs the finished files of one sink.
#[derive(Debug)]
pub struct Compressor {
    archive: Arc<FileArchive>,
    meter: SinkMeter,
}

impl Compressor {
    pub(crate) const fn new(archive: Arc<FileArchive>, meter: SinkMeter) -> Self {
        Self { archive, meter }
    }

    /// Works until `stop` is set. Ends within a fraction of a second; a file that is half-packed then stays as it was.
    pub fn run(self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if self.archive.wait(LOOK_EVERY) && !self.pack_all(stop) {
                // Perhaps the disk is full: not at once again.
                let mut pause = RETRY_AFTER;
                while !pause.is_zero() && !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK_EVERY);
                    pause = pause.saturating_sub(LOOK_EVERY);
                }
                self.archive.announce();
            }
        }
    }

    /// Packs every finished file; whether all could be.
    fn pack_all(&self, stop: &AtomicBool) -> bool {
        let files = match self.archive.files() {
            Ok(files) => files,
            Err(error) => {
                self.meter
                    .add_error(format_args!("reading {}: {error}", self.archive.rules.folder.display()));
                return false;
            }
        };
        let mut all = true;
        for file in files.iter().filter(|file| file.state == State::Finished) {
            let partial = with_ending(&self.archive.packed_path(&file.path), ".partial");
            match self.pack(&file.path, &partial, stop) {
                Ok(true) => self.meter.add(Count::Compressed, 1),
                Ok(false) => {}
                // Retention took it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(fs::remove_file(&partial)),
                Err(error) => {
                    // The next start would remove it too.
                    drop(fs::remove_file(&partial));
                    self.meter.add_error(format_args!("compressing {}: {error}", file.path.display()));
                    all = false;
                }
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        all
    }

    /// Packs a file and puts the copy in its place, unless stopped or overtaken by retention.
    fn pack(&self, original: &Path, partial: &Path, stop: &AtomicBool) -> io::Result<bool> {
        let mut from = File::open(original)?;
        let mut to = File::create(partial)?;
        to.set_permissions(from.metadata()?.permissions())?;
        let whole = match self.archive.rules.compression {
            Compression::None => false,
            Compression::Gzip => gzip(&mut from, &mut to, stop)?,
            Compression::Zstd => zstd(&mut from, &mut to, stop)?,
        };
        drop(to);
        if !whole {
            fs::remove_file(partial)?;
            return Ok(false);
        }
        let durable = self.archive.rules.fsync != Fsync::Never;
        if durable {
            sync_file(partial)?;
        }
        let replaced = self.archive.replace(original, partial)?;
        if durable {
            self.archive.sync_folder()?;
        }
        Ok(replaced)
    }
}

/// Whether it was not stopped.
fn gzip(from: &mut File, to: &mut File, stop: &AtomicBool) -> io::Result<bool> {
    let mut encoder = GzEncoder::new(to, flate2::Compression::new(6));
    let mut block = vec![0; GZIP_BLOCK_BYTES];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match from.read(&mut block)? {
            0 => break,
            bytes => encoder.write_all(&block[..bytes])?,
        }
    }
    encoder.finish()?;
    Ok(true)
}

/// Whether it was not stopped. The encoder has no answer to an output that fails, so frames are made in memory.
fn zstd(from: &mut File, to: &mut File, stop: &AtomicBool) -> io::Result<bool> {
    let mut block = Vec::with_capacity(ZSTD_FRAME_BYTES);
    let mut copy = Vec::new();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        block.clear();
        from.take(ZSTD_FRAME_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(true);
        }
        let mut frame = compress_to_vec(&block[..], CompressionLevel::Fastest);
        copy.clear();
        copy.reserve(block.len());
        let unpacked = FrameDecoder::new().decode_all_to_vec(&frame, &mut copy);
        if unpacked.is_err() || copy != block {
            frame = compress_to_vec(&block[..], CompressionLevel::Uncompressed);
        }
        to.write_all(&frame)?;
    }
}

/// How often the thread looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const RETRY_AFTER: Duration = Duration::from_secs(5);
const GZIP_BLOCK_BYTES: usize = 256 << 10;
const ZSTD_FRAME_BYTES: usize = 4 << 20;
