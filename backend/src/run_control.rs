//! Cancellation and progress of a run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BackendError;

/// A flag that ends runs from another thread. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Ends the runs that hold this token: each returns [`BackendError::Cancelled`] at its next check.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Work that begins or proceeds.
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
        /// Steps that are finished: nodes, launches or blocks, as the engine counts them.
        done: usize,
        /// All steps.
        total: usize,
    },
    /// The reverse runs.
    Reverse {
        /// Steps that are finished: nodes, launches or blocks, as the engine counts them.
        done: usize,
        /// All steps.
        total: usize,
    },
}

/// A function that receives reports. Clones share it.
#[derive(Clone)]
pub struct ProgressReceiver(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressReceiver {
    /// A receiver that calls `report`.
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> ProgressReceiver {
        ProgressReceiver(Arc::new(report))
    }

    /// The function.
    pub fn report(&self) -> &(dyn Fn(Progress) + Send + Sync) {
        &*self.0
    }
}

impl fmt::Debug for ProgressReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressReceiver")
    }
}

/// The means to cancel and to follow a run. The default is a run that nobody cancels or follows.
#[derive(Clone, Copy, Default)]
pub struct RunControl<'a> {
    /// Token that cancels the run.
    pub cancel: Option<&'a CancelToken>,
    /// Receiver of reports, called on the thread that runs.
    pub progress: Option<&'a (dyn Fn(Progress) + Send + Sync)>,
}

impl<'a> RunControl<'a> {
    /// Ends a cancelled run.
    ///
    /// # Errors
    /// [`BackendError::Cancelled`] once the token was cancelled.
    pub fn check(&self) -> Result<(), BackendError> {
        match self.cancel {
            Some(token) if token.is_cancelled() => Err(BackendError::Cancelled),
            Some(_) | None => Ok(()),
        }
    }

    /// Hands a report to the receiver.
    pub fn report(&self, progress: Progress) {
        if let Some(receiver) = self.progress {
            receiver(progress);
        }
    }

    /// The same run without a receiver, for one of many parts whose caller reports on the whole.
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
