//! Counts the frames of captures, and says how fast: `cargo run --release --example count_frames -- FILE...`.

use std::path::PathBuf;
use std::time::Instant;

use tapline_capture::{CaptureError, CaptureSet, ReadOptions};

#[expect(clippy::print_stdout, reason = "its result")]
fn main() -> Result<(), CaptureError> {
    let inputs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let begin = Instant::now();
    let mut captures = CaptureSet::open(&inputs, &ReadOptions::default())?;
    let (mut frames, mut wire_bytes) = (0u64, 0u64);
    while let Some(frame) = captures.next() {
        match frame {
            Ok(frame) => {
                frames += 1;
                wire_bytes += u64::from(frame.wire_bytes);
            }
            Err(error) => println!("{error}"),
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    for notice in captures.notices() {
        println!("{notice}");
    }
    println!(
        "{frames} frames, {wire_bytes} bytes on the wire, {} files, {} of {:?} bytes read, {seconds:.3} s, {:.2} M frames/s",
        captures.files(),
        captures.bytes_read(),
        captures.bytes_total(),
        frames as f64 / seconds / 1e6,
    );
    Ok(())
}
