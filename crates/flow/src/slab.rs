//! Entries by number, in chunks that never move.
//!
//! A plain `Vec` doubles and copies; at a million flows that is a pause of milliseconds and half the memory idle. Chunks
//! are large so that the system can back them with huge pages, which it is asked to by the hook that the owner gives.

/// Entries per chunk: about 35 MB at the size of a Tapline flow. Pages of a chunk that were never touched cost nothing.
const CHUNK: usize = 57_344;

/// Told the start and the length in bytes of every chunk before it is used. The pure crates make no system calls; the
/// daemon's hook advises huge pages, which takes a third off the time of a flood of new flows.
pub type ChunkHook = fn(start: *const u8, bytes: usize);

/// A slab of `T` with numbers that stay valid until [`Slab::take`].
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    hook: ChunkHook,
}

impl<T> Slab<T> {
    pub(crate) const fn new(hook: ChunkHook) -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), hook }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            let (chunk, at) = split(id);
            self.chunks[chunk][at] = Some(value);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let chunk: Vec<Option<T>> = Vec::with_capacity(CHUNK);
            (self.hook)(chunk.as_ptr().cast(), CHUNK * size_of::<Option<T>>());
            self.chunks.push(chunk);
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(Some(value));
        (chunk * CHUNK + self.chunks[chunk].len() - 1) as u32
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> &T {
        let (chunk, at) = split(id);
        self.chunks[chunk][at].as_ref().expect("the index and the wheel hold only numbers of present entries")
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        let (chunk, at) = split(id);
        self.chunks[chunk][at].as_mut().expect("the index and the wheel hold only numbers of present entries")
    }

    pub(crate) fn take(&mut self, id: u32) -> T {
        let (chunk, at) = split(id);
        self.free.push(id);
        self.chunks[chunk][at].take().expect("an entry is taken once")
    }

    /// Drops the entry.
    pub(crate) fn release(&mut self, id: u32) {
        let (chunk, at) = split(id);
        self.free.push(id);
        self.chunks[chunk][at] = None;
    }
}

#[inline]
const fn split(id: u32) -> (usize, usize) {
    (id as usize / CHUNK, id as usize % CHUNK)
}
