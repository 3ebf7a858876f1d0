//! A place where one thread leaves something for others.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held for as long as a copy takes. What a thread left that died holding it is still to be read: each value is whole.
#[derive(Debug, Default)]
pub(crate) struct Place<T>(Mutex<T>);

impl<T> Place<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
