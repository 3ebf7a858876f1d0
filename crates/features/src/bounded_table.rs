//! A table with a bound: what was not asked for lately gives way (second chance, CLOCK).
//!
//! Which entry gives way depends on the order of requests alone, never on the hash, so that results do not depend on
//! the seed. The seed keeps outsiders from choosing keys that collide.

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// Entries by key, `max` at most.
#[derive(Debug)]
pub struct BoundedTable<K, V> {
    index: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    hand: usize,
    max: usize,
    hasher: SipHasher13,
    evicted: u64,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    used: bool,
    value: V,
}

/// What keys are made of: at most five words.
pub trait Words: Copy + Eq {
    /// The key's bytes as words, all that makes it differ from others.
    fn words(&self) -> [u64; 5];
}

impl<K: Words, V: Default> BoundedTable<K, V> {
    /// An empty table for `max` (at least 1) entries.
    #[must_use]
    pub fn new(max: usize, seed: [u64; 2]) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            max: max.max(1),
            hasher: SipHasher13::new_with_keys(seed[0], seed[1]),
            evicted: 0,
        }
    }

    /// The entry of `key`, a default one if there was none.
    pub fn entry(&mut self, key: K) -> &mut V {
        let hash = self.hash(&key);
        let entries = &self.entries;
        if let Some(&at) = self.index.find(hash, |&at| entries[at as usize].key == key) {
            let entry = &mut self.entries[at as usize];
            entry.used = true;
            return &mut entry.value;
        }
        let fresh = Entry { key, used: false, value: V::default() };
        let at = if self.entries.len() < self.max {
            self.entries.push(fresh);
            self.entries.len() - 1
        } else {
            let at = self.give_way();
            self.entries[at] = fresh;
            at
        };
        let (entries, hasher) = (&self.entries, self.hasher);
        self.index.insert_unique(hash, at as u32, |&at| hash_of(hasher, &entries[at as usize].key));
        &mut self.entries[at].value
    }

    /// The entry of `key`, if there is one; this is no request that keeps it.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let found = self.index.find(self.hash(key), |&at| self.entries[at as usize].key == *key);
        found.map(|&at| &self.entries[at as usize].value)
    }

    /// Entries that gave way to others so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Frees the place of an entry that was not asked for since the hand last passed it.
    fn give_way(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            if std::mem::take(&mut self.entries[at].used) {
                continue;
            }
            let hash = self.hash(&self.entries[at].key);
            if let Ok(found) = self.index.find_entry(hash, |&other| other as usize == at) {
                found.remove();
            }
            self.evicted += 1;
            return at;
        }
    }

    fn hash(&self, key: &K) -> u64 {
        hash_of(self.hasher, key)
    }
}

fn hash_of<K: Words>(hasher: SipHasher13, key: &K) -> u64 {
    let mut bytes = [0; 40];
    for (place, word) in bytes.chunks_exact_mut(8).zip(key.words()) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    hasher.hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Key(u64);

    impl Words for Key {
        fn words(&self) -> [u64; 5] {
            [self.0, 0, 0, 0, 0]
        }
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut table: BoundedTable<Key, u64> = BoundedTable::new(8, [1, 2]);
        for other in 0..1000 {
            *table.entry(Key(7777)) += 1;
            *table.entry(Key(other)) = other;
        }
        assert_eq!(*table.entry(Key(7777)), 1000);
        assert_eq!(table.entries.len(), 8);
        assert_eq!(table.index.len(), 8);
        assert_eq!(table.evicted(), 1001 - 8);
    }

    #[test]
    fn the_seed_does_not_matter() {
        let run = |seed| {
            let mut table: BoundedTable<Key, u32> = BoundedTable::new(16, seed);
            (0..5000u64).map(|n| *table.entry(Key(n * n % 37)) += 1).count();
            (0..37).map(|n| *table.entry(Key(n))).collect::<Vec<_>>()
        };
        assert_eq!(run([1, 2]), run([3, 4]));
    }
}
