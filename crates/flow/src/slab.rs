//! Entries by number, in chunks that never move.
//!
//! A plain `Vec` doubles and copies; at a million flows that is a pause of milliseconds and half the memory idle.

/// Entries per chunk: 40 kB at the size of a Tapline flow.
const CHUNK: usize = 64;

/// A slab of `T` with numbers that stay valid until [`Slab::take`].
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            let (chunk, at) = split(id);
            self.chunks[chunk][at] = Some(value);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
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

    /// Entries present.
    pub(crate) fn len(&self) -> usize {
        self.end() as usize - self.free.len()
    }

    /// One more than the largest number ever given.
    pub(crate) fn end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        (self.chunks.len().saturating_sub(1) * CHUNK + last) as u32
    }

    /// The entry, or `None` when it was taken.
    pub(crate) fn get_present(&mut self, id: u32) -> Option<&mut T> {
        let (chunk, at) = split(id);
        self.chunks[chunk][at].as_mut()
    }
}

#[inline]
const fn split(id: u32) -> (usize, usize) {
    (id as usize / CHUNK, id as usize % CHUNK)
}
