//! Waits for a stream that do not last forever: an endless kernel is stopped by nothing but the end of the process.

use std::thread;
use std::time::{Duration, Instant};

use cudarc::driver::{CudaStream, DriverError, sys};

/// Time for which the host asks again at once, as the driver's own wait does; later it sleeps between questions.
const BUSY: Duration = Duration::from_millis(10);
/// Longest sleep between two questions.
const SLEEP: Duration = Duration::from_millis(1);

/// End of a wait other than the end of the work.
pub(super) enum Stopped {
    /// Error of the driver.
    Error(DriverError),
    /// The limit passed.
    TimedOut(Duration),
}

/// Waits until all work of the stream is done.
///
/// # Errors
/// When the work failed, or takes longer than the limit.
#[allow(unsafe_code)]
pub(super) fn wait(stream: &CudaStream, limit: Option<Duration>) -> Result<(), Stopped> {
    let begin = Instant::now();
    loop {
        // SAFETY: the stream is alive, and its context is bound to this thread.
        match unsafe { sys::cuStreamQuery(stream.cu_stream()) }.result() {
            Ok(()) => return Ok(()),
            Err(DriverError(sys::cudaError_enum::CUDA_ERROR_NOT_READY)) => {}
            Err(error) => return Err(Stopped::Error(error)),
        }
        let waited = begin.elapsed();
        if let Some(limit) = limit.filter(|limit| waited > *limit) {
            return Err(Stopped::TimedOut(limit));
        }
        if waited < BUSY {
            thread::yield_now();
        } else {
            // A twentieth of the wait so far, so that the answer comes at most 5 % late.
            thread::sleep((waited / 20).min(SLEEP));
        }
    }
}
