//! Cancellation and progress of a run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BackendError;

/// A flag by which another thread cancels runs. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Cancels the runs that hold this token: each returns [`BackendError::Cancelled`] at its next check.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Progress report of a run: the phase that begins, or the steps of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The model is read.
    Reading,
    /// The model is compiled.
    Compiling,
    /// The program is planned for the shapes of the inputs.
    Planning,
    /// The forward runs.
    Forward {
        /// Number of finished steps; a step is a node, a launch or a block, depending on the engine.
        done: usize,
        /// Number of all steps.
        total: usize,
    },
    /// The reverse runs.
    Reverse {
        /// Number of finished steps; a step is a node, a launch or a block, depending on the engine.
        done: usize,
        /// Number of all steps.
        total: usize,
    },
}

/// A function that receives progress reports. Clones share the function.
#[derive(Clone)]
pub struct ProgressReceiver(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressReceiver {
    /// Wraps a function.
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> ProgressReceiver {
        ProgressReceiver(Arc::new(report))
    }

    /// Returns the function.
    pub fn report(&self) -> &(dyn Fn(Progress) + Send + Sync) {
        &*self.0
    }
}

impl fmt::Debug for ProgressReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressReceiver")
    }
}

/// Cancellation token and progress receiver of a run; by default neither.
#[derive(Clone, Copy, Default)]
pub struct RunControl<'a> {
    /// Token that cancels the run.
    pub cancel: Option<&'a CancelToken>,
    /// Receiver of reports, called on the thread that runs.
    pub progress: Option<&'a (dyn Fn(Progress) + Send + Sync)>,
}

impl<'a> RunControl<'a> {
    /// Checks whether the run is cancelled.
    ///
    /// # Errors
    /// [`BackendError::Cancelled`] if it is.
    pub fn check(&self) -> Result<(), BackendError> {
        match self.cancel {
            Some(token) if token.is_cancelled() => Err(BackendError::Cancelled),
            Some(_) | None => Ok(()),
        }
    }

    /// Passes a report to the receiver, if there is one.
    pub fn report(&self, progress: Progress) {
        if let Some(receiver) = self.progress {
            receiver(progress);
        }
    }

    /// Returns a copy without receiver, for a part of a run whose caller reports progress itself.
    pub fn silent(self) -> RunControl<'a> {
        RunControl { progress: None, ..self }
    }
}

impl fmt::Debug for RunControl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.progress.map(|_| "receiver");
        f.debug_struct("RunControl").field("cancel", &self.cancel).field("progress", &progress).finish()
    }
}
