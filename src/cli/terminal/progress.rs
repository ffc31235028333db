//! A spinner for activities that take longer than a second.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Spinner on standard error that appears after one second and stays until it is dropped; only on a terminal.
pub struct Progress {
    worker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts a spinner that names an activity.
    pub fn start(activity: String) -> Progress {
        let off = !std::io::stderr().is_terminal() || std::env::var_os("CI").is_some();
        if off {
            return Progress { worker: None };
        }
        let (sender, receiver) = mpsc::channel();
        let show = move || {
            if receiver.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_message(activity).with_elapsed(Duration::from_secs(1));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            let _ = receiver.recv();
            bar.finish_and_clear();
        };
        let worker = std::thread::Builder::new().name("progress".into()).spawn(show);
        Progress { worker: worker.ok().map(|handle| (sender, handle)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, handle)) = self.worker.take() {
            drop(sender);
            let _ = handle.join();
        }
    }
}
