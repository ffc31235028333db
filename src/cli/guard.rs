//! Handlers of panics, timeouts and interrupts, which remove unfinished files.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;

use crate::cli::exit::Code;
use crate::cli::terminal::report;
use dlbc::results::discard_pending;

/// Stack size of the main thread: models nest too deeply for the default stack.
const STACK_BYTES: usize = 256 << 20;

/// Offset of the exit code after a signal, as in shells: 130 after an interrupt.
#[cfg(unix)]
const SIGNALLED: i32 = 128;

/// Runs `work` and turns a panic into an error.
///
/// # Errors
/// Returns the message of the panic.
pub fn contained<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    static PLACE: Mutex<String> = Mutex::new(String::new());
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
    let caught = move || panic::catch_unwind(AssertUnwindSafe(work));
    let result = match std::thread::Builder::new().name("main".into()).stack_size(STACK_BYTES).spawn(caught) {
        Ok(thread) => thread.join().and_then(|result| result),
        Err(e) => return Err(format!("cannot start a thread: {e}")),
    };
    result.map_err(|payload| {
        let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{} (at {place})", message(&*payload))
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".into())
}

/// Ends the program with [`Code::Limit`] after `timeout`.
///
/// # Errors
/// Fails if no thread can be started.
pub fn on_timeout(timeout: Duration) -> anyhow::Result<()> {
    let watch = move || {
        std::thread::sleep(timeout);
        discard_pending();
        report("error", &format!("not done after {} seconds", timeout.as_secs_f64()));
        report("help", "`--timeout` sets the limit");
        std::process::exit(Code::Limit as i32);
    };
    std::thread::Builder::new().name("timeout".into()).spawn(watch).context("cannot start the timeout")?;
    Ok(())
}

/// Removes unfinished files and ends the program on SIGINT, SIGTERM or SIGHUP.
#[cfg(unix)]
pub fn on_interrupt() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // Without a handler a signal still ends the program.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    let watch = move || {
        if let Some(signal) = signals.forever().next() {
            discard_pending();
            std::process::exit(SIGNALLED + signal);
        }
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
}

/// Does nothing: on other systems an interrupt ends the program at once.
#[cfg(not(unix))]
pub fn on_interrupt() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_message() {
        assert_eq!(contained(|| 7), Ok(7));
        let message = contained(|| panic!("broken {}", 1)).unwrap_err();
        assert!(
            message.starts_with("broken 1 (at src/guard.rs:") || message.contains("guard.rs"),
            "{message}"
        );
        let _ = panic::take_hook();
    }
}
