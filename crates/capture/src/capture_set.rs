//! Many captures in time order.
//!
//! In: paths, directories and `-`. Out: the frames of all of them, merged by time; ties go to the input named first,
//! and within one file the order of the file stands even where its clock runs backwards. Of the frames only the head of
//! each open file is compared. A file is opened when its first packet is due, so a thousand captures of consecutive
//! hours hold one buffer, not a thousand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::collections::binary_heap::PeekMut;
use std::fs::{self, File};
use std::io::{self, Read, Stdin};
use std::path::{Path, PathBuf};

use tapline_record::{Frame, Timestamp};

use crate::capture_reader::{CaptureReader, DEFAULT_CAPACITY};
use crate::error::CaptureError;
use crate::notice::{Notice, SkipReason};

/// How inputs are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The most files open at once, that is, overlapping in time. 256 by default.
    pub max_open_files: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { max_open_files: 256 }
    }
}

/// Opens files, directories, and `-` (standard input), merged in time order.
#[derive(Debug)]
pub struct CaptureSet {
    members: Vec<Member>,
    /// One entry per file that has packets left: the time of its next one, and its index in `members`.
    queue: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Set if there is nothing to merge: then this member is read straight through and the queue stays empty.
    single: Option<usize>,
    /// Whether the front of the queue has been returned and must move on.
    front_is_used: bool,
    /// Errors met while looking at the inputs, to be returned before the first frame.
    errors: VecDeque<CaptureError>,
    notices: Vec<Notice>,
    closed_bytes: u64,
    total_bytes: Option<u64>,
    files: usize,
    open_files: usize,
    max_open_files: usize,
}

#[derive(Debug)]
struct Member {
    path: PathBuf,
    kind: Kind,
    /// Named by a directory, not by the user.
    from_directory: bool,
    reader: Option<CaptureReader<Source>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    /// A pipe or device: it cannot be read twice.
    Stream,
    Stdin,
}

#[derive(Debug)]
enum Source {
    File(File),
    Stdin(Stdin),
}

impl CaptureSet {
    /// Looks at every input. Directories are searched to their depth; of what they hold, files that are no captures are
    /// left out with a [`Notice`], and symbolic links to directories are not followed.
    ///
    /// # Errors
    ///
    /// If nothing is named, a path cannot be opened, standard input is named twice, no input is a capture, or the one
    /// and only input cannot be read. What is wrong with one of several inputs is kept for [`next`](Self::next).
    pub fn open(inputs: &[PathBuf], options: &ReadOptions) -> Result<Self, CaptureError> {
        let mut set = Self {
            members: Vec::new(),
            queue: BinaryHeap::new(),
            single: None,
            front_is_used: false,
            errors: VecDeque::new(),
            notices: Vec::new(),
            closed_bytes: 0,
            total_bytes: Some(0),
            files: 0,
            open_files: 0,
            max_open_files: options.max_open_files.max(1),
        };
        let Some(first) = inputs.first() else { return Err(CaptureError::NoInputs) };
        for input in inputs {
            set.add_input(input)?;
        }
        if set.members.len() == 1 {
            set.open_single()?;
        } else {
            for index in 0..set.members.len() {
                set.look_at(index);
            }
        }
        if set.files == 0 && set.errors.is_empty() {
            return Err(CaptureError::NoCaptures { path: first.clone() });
        }
        Ok(set)
    }

    /// The next frame in time order, borrowed until the next call; `None` at the end. An error ends the file that it
    /// names, after all whole packets of that file; calling again goes on with the other files.
    /// ([`CaptureError::TooManyOpen`] alone ends them all.)
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend from itself")]
    pub fn next(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        let Some(index) = self.single else { return self.next_merged() };
        let advanced = self.members[index].reader.as_mut()?.advance();
        match advanced {
            Ok(true) => self.members[index].reader.as_ref().map(|reader| Ok(reader.frame())),
            Ok(false) => {
                self.close(index);
                None
            }
            Err(error) => {
                self.close(index);
                Some(Err(error))
            }
        }
    }

    /// Bytes of the inputs read so far, before decompression.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        let open: u64 =
            self.members.iter().filter_map(|m| m.reader.as_ref()).map(CaptureReader::bytes_read).sum();
        self.closed_bytes + open
    }

    /// Bytes of all inputs, before decompression; `None` if one of them is standard input, a pipe or a device.
    #[must_use]
    pub fn bytes_total(&self) -> Option<u64> {
        self.total_bytes
    }

    /// What the user should know so far.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// How many captures there are among the inputs.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    fn add_input(&mut self, input: &Path) -> Result<(), CaptureError> {
        if input.as_os_str() == "-" {
            if self.members.iter().any(|member| member.kind == Kind::Stdin) {
                return Err(CaptureError::StdinTwice);
            }
            self.add_member(input.to_owned(), Kind::Stdin, false, None);
            return Ok(());
        }
        let metadata = fs::metadata(input).map_err(|source| open_error(input, source))?;
        if metadata.is_dir() {
            return self.add_directory(input);
        }
        let kind = if metadata.is_file() { Kind::File } else { Kind::Stream };
        self.add_member(input.to_owned(), kind, false, (kind == Kind::File).then_some(metadata.len()));
        Ok(())
    }

    fn add_member(&mut self, path: PathBuf, kind: Kind, from_directory: bool, bytes: Option<u64>) {
        self.total_bytes = self.total_bytes.zip(bytes).map(|(total, bytes)| total.saturating_add(bytes));
        self.members.push(Member { path, kind, from_directory, reader: None });
    }

    /// Adds the files below a directory, sorted by path.
    fn add_directory(&mut self, top: &Path) -> Result<(), CaptureError> {
        let mut found = Vec::new();
        let mut skipped = Vec::new();
        let mut pending = vec![top.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).map_err(|source| open_error(&directory, source))? {
                let entry = entry.map_err(|source| open_error(&directory, source))?;
                let path = entry.path();
                let kind = entry.file_type().map_err(|source| open_error(&path, source))?;
                if kind.is_dir() {
                    pending.push(path);
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(target) if target.is_file() => found.push((path, target.len())),
                    Ok(target) if target.is_dir() => skipped.push((path, SkipReason::DirectoryLink)),
                    Ok(_) => skipped.push((path, SkipReason::NotAFile)),
                    Err(_) if kind.is_symlink() => skipped.push((path, SkipReason::DanglingLink)),
                    Err(source) => return Err(open_error(&path, source)),
                }
            }
        }
        found.sort();
        skipped.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, bytes) in found {
            self.add_member(path, Kind::File, true, Some(bytes));
        }
        self.notices.extend(skipped.into_iter().map(|(path, reason)| Notice::Skipped { path, reason }));
        Ok(())
    }

    fn open_single(&mut self) -> Result<(), CaptureError> {
        match self.members[0].open(DEFAULT_CAPACITY) {
            Ok(reader) => {
                self.members[0].reader = Some(reader);
                self.single = Some(0);
                self.files = 1;
                self.open_files = 1;
                Ok(())
            }
            Err(error) => match self.members[0].skip_reason(&error) {
                Some(reason) => {
                    self.skip(0, reason);
                    Ok(())
                }
                None => Err(error),
            },
        }
    }

    /// Opens one of several inputs just far enough to know when its first packet is due.
    fn look_at(&mut self, index: usize) {
        let member = &mut self.members[index];
        // What cannot be opened again is kept open, with a buffer for good.
        let keep = member.kind != Kind::File;
        let opened = member.open(if keep { MERGE_CAPACITY } else { LOOK_CAPACITY });
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                match member.skip_reason(&error) {
                    Some(reason) => self.skip(index, reason),
                    None => self.errors.push_back(error),
                }
                return;
            }
        };
        self.files += 1;
        match reader.advance() {
            Ok(true) => {
                self.queue.push(Reverse((reader.head_time(), index)));
                if keep {
                    self.open_files += 1;
                    member.reader = Some(reader);
                }
            }
            Ok(false) => {
                self.closed_bytes += reader.bytes_read();
                self.notices.extend(reader.take_notice());
            }
            Err(error) => {
                self.closed_bytes += reader.bytes_read();
                self.errors.push_back(error);
            }
        }
    }

    fn skip(&mut self, index: usize, reason: SkipReason) {
        let path = self.members[index].path.clone();
        // The progress bar goes by bytes: what will not be read does not count.
        if let (Some(total), Ok(metadata)) = (self.total_bytes, fs::metadata(&path)) {
            self.total_bytes = Some(total.saturating_sub(metadata.len()));
        }
        self.notices.push(Notice::Skipped { path, reason });
    }

    fn next_merged(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        if let Some(error) = self.errors.pop_front() {
            return Some(Err(error));
        }
        if self.front_is_used {
            self.front_is_used = false;
            if let Err(error) = self.move_front() {
                return Some(Err(error));
            }
        }
        loop {
            let &Reverse((due, index)) = self.queue.peek()?;
            if self.members[index].reader.is_some() {
                self.front_is_used = true;
                return self.members[index].reader.as_ref().map(|reader| Ok(reader.frame()));
            }
            if let Err(error) = self.open_front(due, index) {
                return Some(Err(error));
            }
        }
    }

    /// Moves the file at the front of the queue to its next frame.
    #[inline]
    fn move_front(&mut self) -> Result<(), CaptureError> {
        let Some(mut front) = self.queue.peek_mut() else { return Ok(()) };
        let index = front.0.1;
        let advanced = match self.members[index].reader.as_mut() {
            Some(reader) => reader.advance().map(|more| more.then(|| reader.head_time())),
            None => Ok(None),
        };
        match advanced {
            Ok(Some(due)) => {
                // Dropping `front` sifts it down to where it now belongs.
                front.0.0 = due;
                Ok(())
            }
            Ok(None) => {
                PeekMut::pop(front);
                self.close(index);
                Ok(())
            }
            Err(error) => {
                PeekMut::pop(front);
                self.close(index);
                Err(error)
            }
        }
    }

    /// Opens the file at the front of the queue, whose first frame is due.
    fn open_front(&mut self, due: Timestamp, index: usize) -> Result<(), CaptureError> {
        if self.open_files >= self.max_open_files {
            let path = self.members[index].path.clone();
            self.queue.clear();
            for member in &mut self.members {
                member.reader = None;
            }
            return Err(CaptureError::TooManyOpen { path, limit: self.max_open_files });
        }
        let opened = self.members[index].open(MERGE_CAPACITY).and_then(|mut reader| {
            let more = reader.advance()?;
            Ok((reader, more))
        });
        let (reader, more) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.queue.pop();
                return Err(error);
            }
        };
        let now_due = reader.head_time();
        self.members[index].reader = Some(reader);
        self.open_files += 1;
        if !more {
            // The file has changed since it was looked at, and is no worse for that.
            self.queue.pop();
            self.close(index);
        } else if now_due != due
            && let Some(mut front) = self.queue.peek_mut()
        {
            front.0.0 = now_due;
        }
        Ok(())
    }

    #[cold]
    fn close(&mut self, index: usize) {
        if let Some(mut reader) = self.members[index].reader.take() {
            self.closed_bytes += reader.bytes_read();
            self.open_files -= 1;
            self.notices.extend(reader.take_notice());
        }
    }
}

impl Member {
    fn open(&self, capacity: usize) -> Result<CaptureReader<Source>, CaptureError> {
        let source = match self.kind {
            Kind::Stdin => Source::Stdin(io::stdin()),
            Kind::File | Kind::Stream => {
                Source::File(File::open(&self.path).map_err(|source| open_error(&self.path, source))?)
            }
        };
        CaptureReader::with_capacity(source, self.path.clone(), capacity)
    }

    /// Why the error is not worth one: the user did not ask for this very file.
    fn skip_reason(&self, error: &CaptureError) -> Option<SkipReason> {
        match error {
            CaptureError::NotACapture { .. } if self.from_directory => Some(SkipReason::NotACapture),
            CaptureError::Empty { .. } if self.from_directory => Some(SkipReason::Empty),
            _ => None,
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(into),
            Self::Stdin(stdin) => stdin.read(into),
        }
    }
}

fn open_error(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Open { path: path.to_owned(), source }
}

/// Buffer per file while several are open.
const MERGE_CAPACITY: usize = 128 * 1024;

/// Buffer for looking at the first packet.
const LOOK_CAPACITY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorKind;
    use crate::sample::{self, Packet};

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }

        /// A pcap of packets at these microseconds; their first byte tells the file.
        fn pcap(&self, name: &str, fill: u8, times: &[u64]) -> PathBuf {
            let packets: Vec<_> = times.iter().map(|micros| Packet::new(*micros, fill, 20)).collect();
            self.write(name, &sample::plain_pcap(&packets))
        }
    }

    fn open(inputs: &[&Path]) -> Result<CaptureSet, CaptureError> {
        open_at_most(inputs, 256)
    }

    fn open_at_most(inputs: &[&Path], max_open_files: usize) -> Result<CaptureSet, CaptureError> {
        let inputs: Vec<_> = inputs.iter().map(|path| path.to_path_buf()).collect();
        CaptureSet::open(&inputs, &ReadOptions { max_open_files })
    }

    /// Time and first byte of every frame, and the errors between.
    fn drain(set: &mut CaptureSet) -> (Vec<(i64, u8)>, Vec<CaptureError>) {
        let (mut frames, mut errors) = (Vec::new(), Vec::new());
        while let Some(frame) = set.next() {
            match frame {
                Ok(frame) => frames.push((frame.ts.micros, frame.bytes[0])),
                Err(error) => errors.push(error),
            }
        }
        assert!(set.next().is_none());
        (frames, errors)
    }

    #[track_caller]
    fn whole(inputs: &[&Path]) -> (Vec<(i64, u8)>, CaptureSet) {
        let mut set = open(inputs).unwrap();
        let (frames, errors) = drain(&mut set);
        assert!(errors.is_empty(), "{errors:?}");
        if let Some(total) = set.bytes_total() {
            assert_eq!(set.bytes_read(), total);
        }
        (frames, set)
    }

    #[test]
    fn one_file() {
        let folder = Folder::new();
        let path = folder.pcap("a", 1, &[3, 1, 2]);
        let (frames, set) = whole(&[&path]);
        assert_eq!(frames, [(3, 1), (1, 1), (2, 1)]);
        assert_eq!((set.files(), set.bytes_total(), set.notices()), (1, Some(24 + 3 * 36), &[][..]));
    }

    #[test]
    fn files_in_time_order_and_ties_in_the_order_named() {
        let folder = Folder::new();
        let a = folder.pcap("a", 1, &[1, 4, 9]);
        let b = folder.pcap("b", 2, &[2, 4, 3, 8]);
        let c = folder.pcap("c", 3, &[]);
        let (frames, set) = whole(&[&b, &a, &c]);
        assert_eq!(frames, [(1, 1), (2, 2), (4, 2), (3, 2), (4, 1), (8, 2), (9, 1)]);
        assert_eq!((set.files(), set.notices()), (3, &[][..]));
    }

    #[test]
    fn files_one_after_the_other_are_not_open_together() {
        let folder = Folder::new();
        for index in 0..40u8 {
            folder.pcap(&format!("{index:02}"), index, &[u64::from(index) * 10, u64::from(index) * 10 + 9]);
        }
        let mut set = open_at_most(&[folder.0.path()], 1).unwrap();
        let (frames, errors) = drain(&mut set);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(frames.len(), 80);
        assert!(frames.is_sorted());
    }

    #[test]
    fn too_many_overlapping_files() {
        let folder = Folder::new();
        for index in 0..4 {
            folder.pcap(&index.to_string(), index, &[u64::from(index), 100]);
        }
        let mut set = open_at_most(&[folder.0.path()], 3).unwrap();
        let (frames, errors) = drain(&mut set);
        assert_eq!(frames, [(0, 0), (1, 1), (2, 2)]);
        let [error @ CaptureError::TooManyOpen { limit: 3, .. }] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("mergecap"));
    }

    #[test]
    fn a_directory() {
        let folder = Folder::new();
        folder.pcap("d/2/x.pcap", 2, &[5]);
        folder.pcap("d/1/deep/y", 1, &[5]);
        let text = folder.write("d/README", b"not a capture");
        let empty = folder.write("d/empty.pcap", b"");
        let outside = folder.pcap("outside", 3, &[1]);
        std::os::unix::fs::symlink(&outside, folder.path("d/link")).unwrap();
        std::os::unix::fs::symlink(folder.path("d"), folder.path("d/circle")).unwrap();
        std::os::unix::fs::symlink(folder.path("nowhere"), folder.path("d/dangling")).unwrap();
        let (frames, set) = whole(&[&folder.path("d")]);
        assert_eq!(frames, [(1, 3), (5, 1), (5, 2)]);
        assert_eq!(set.files(), 3);
        let expect = [
            (folder.path("d/circle"), SkipReason::DirectoryLink),
            (folder.path("d/dangling"), SkipReason::DanglingLink),
            (text.clone(), SkipReason::NotACapture),
            (empty, SkipReason::Empty),
        ];
        assert_eq!(set.notices(), expect.map(|(path, reason)| Notice::Skipped { path, reason }));
        assert_eq!(set.notices()[2].to_string(), format!("skipped {}: not a capture file", text.display()));
    }

    #[test]
    fn a_directory_of_one_file_and_of_none() {
        let folder = Folder::new();
        folder.pcap("one/x", 1, &[5]);
        assert_eq!(whole(&[&folder.path("one")]).0, [(5, 1)]);
        folder.write("text/x", b"hello");
        fs::create_dir(folder.path("none")).unwrap();
        for name in ["text", "none"] {
            let error = open(&[&folder.path(name)]).unwrap_err();
            assert!(matches!(error, CaptureError::NoCaptures { .. }));
            assert_eq!(error.kind(), ErrorKind::NoInput);
        }
    }

    #[test]
    fn inputs_that_cannot_be() {
        let folder = Folder::new();
        let good = folder.pcap("good", 1, &[1]);
        let check = |inputs: &[&Path], kind, text: &str| {
            let error = open(inputs).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        };
        check(&[], ErrorKind::Usage, "no input");
        check(&[Path::new("-"), &good, Path::new("-")], ErrorKind::Usage, "only once");
        check(&[&folder.path("nope")], ErrorKind::NoInput, "cannot open");
        check(&[&good, &folder.path("nope")], ErrorKind::NoInput, "nope");
        check(&[&folder.path("good/below")], ErrorKind::NoInput, "cannot open");
        check(&[Path::new("/dev/null")], ErrorKind::BadData, "is empty");
        check(&[&folder.write("text", b"hello")], ErrorKind::BadData, "68 65 6c 6c");
    }

    #[test]
    fn one_bad_file_among_good_ones() {
        let folder = Folder::new();
        let a = folder.pcap("a", 1, &[1, 5]);
        let text = folder.write("text", b"hello");
        let mut bytes = fs::read(folder.pcap("x", 3, &[2, 3, 4])).unwrap();
        bytes[24 + 36 + 8..][..8].fill(0xff);
        let damaged = folder.write("damaged", &bytes);
        bytes[24 + 8..][..8].fill(0xff);
        let dead = folder.write("dead", &bytes);
        let mut set = open(&[&a, &text, &damaged, &dead]).unwrap();
        let (frames, errors) = drain(&mut set);
        assert_eq!(frames, [(1, 1), (2, 3), (5, 1)]);
        let [
            CaptureError::NotACapture { path: first, .. },
            CaptureError::Malformed { path: second, offset: 24, .. },
            CaptureError::Malformed { path: third, offset: 60, .. },
        ] = &errors[..]
        else {
            panic!("{errors:?}")
        };
        assert_eq!([first, second, third], [&text, &dead, &damaged]);
        // Alone, too, a damaged file gives what is whole.
        let (frames, errors) = drain(&mut open(&[&damaged]).unwrap());
        assert_eq!((frames.len(), errors.len()), (1, 1));
    }

    #[test]
    fn a_file_cut_short_is_a_notice() {
        let folder = Folder::new();
        let a = folder.pcap("a", 1, &[1, 5]);
        let bytes = fs::read(&a).unwrap();
        let cut = folder.write("cut", &bytes[..bytes.len() - 7]);
        let packed = {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        };
        let cut_gz = folder.write("cut.gz", &packed[..packed.len() - 3]);
        let whole_gz = folder.write("whole.gz", &packed);
        assert_eq!(whole(&[&whole_gz]).0, [(1, 1), (5, 1)]);
        let expect = Notice::TruncatedRecord { path: cut.clone(), offset: 60, missing_bytes: 7 };
        assert!(expect.to_string().contains("inside the record at byte 60, 7 bytes short"));
        for inputs in [&[&cut as &Path][..], &[&cut, &a]] {
            assert_eq!(whole(inputs).1.notices(), std::slice::from_ref(&expect));
        }
        let (frames, set) = whole(&[&cut_gz]);
        assert_eq!(frames.len(), 2);
        assert!(matches!(set.notices(), [Notice::TruncatedStream { offset: 96, .. }]), "{:?}", set.notices());
        // Cut inside the file header, and inside the gzip header.
        for (name, bytes) in [("header", &bytes[..9]), ("header.gz", &packed[..5])] {
            let path = folder.write(name, bytes);
            let (frames, set) = whole(&[&path]);
            assert_eq!((frames.len(), set.notices().len()), (0, 1));
        }
    }

    #[test]
    fn a_pipe_is_read_once() {
        let folder = Folder::new();
        let fifo = folder.path("fifo");
        if !std::process::Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()) {
            println!("skipped: no mkfifo");
            return;
        }
        let bytes = fs::read(folder.pcap("a", 1, &[1, 5])).unwrap();
        let b = folder.pcap("b", 2, &[0, 3]);
        for inputs in [&[&fifo as &Path][..], &[&b, &fifo]] {
            std::thread::scope(|scope| {
                scope.spawn(|| fs::write(&fifo, &bytes).unwrap());
                let (frames, set) = whole(inputs);
                assert_eq!(frames.len(), inputs.len() * 2);
                assert!(frames.is_sorted());
                assert_eq!(set.bytes_total(), None);
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Merging is the stable merge of the files, each kept in its own order.
        #[test]
        fn merge_order(files in prop::collection::vec(prop::collection::vec(0u64..50, 0..20), 1..6), sort: bool) {
            let folder = Folder::new();
            let mut paths = Vec::new();
            let mut files = files;
            for (index, times) in files.iter_mut().enumerate() {
                if sort {
                    times.sort_unstable();
                }
                paths.push(folder.pcap(&index.to_string(), index as u8, times));
            }
            let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            let (frames, _) = whole(&paths);

            let mut heads = vec![0; files.len()];
            let mut expect = Vec::new();
            while let Some(next) = (0..files.len())
                .filter(|file| heads[*file] < files[*file].len())
                .min_by_key(|file| files[*file][heads[*file]])
            {
                expect.push((files[next][heads[next]] as i64, next as u8));
                heads[next] += 1;
            }
            if sort {
                prop_assert!(frames.is_sorted());
            }
            prop_assert_eq!(frames, expect);
        }
    }
}
