//! `dlbc diff`: measures the agreement of two results, for readers and as a gate.

mod runs;

use crate::cli::args::DiffArgs;
use crate::cli::exit::{Code, failure, usage};
use crate::cli::report::difference::text;
use crate::cli::terminal::{Console, print};
use dlbc::diff::difference;
use dlbc::wording::json_text;

/// Maximum number of missed bounds to list.
const LISTED: usize = 10;

/// Compares two results, or runs two models and compares their results.
///
/// # Errors
/// Fails for files that are not results, for results without a common tensor and, with exit code 6, for a missed bound.
pub fn diff(mut args: DiffArgs, console: Console) -> anyhow::Result<()> {
    if args.run.forward_only {
        return Err(usage("`--forward-only` leaves nothing to compare: expected runs that explain"));
    }
    let (first, second) = runs::results(&mut args, console)?;
    let difference = difference(&args.options(), &first, &second)?;
    print(&if args.run.json { json_text(&difference)? + "\n" } else { text(&difference) })?;
    match difference.failed.as_slice() {
        [] => Ok(()),
        failed => {
            let more = failed.len().saturating_sub(LISTED);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            Err(failure(Code::Gate, failed[..failed.len() - more].join("; ") + &rest))
        }
    }
}
