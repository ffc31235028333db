//! Output to a terminal: escaped text, tables, notes and progress.

mod console;
mod progress;
mod table;

pub use console::{Console, print, report};
use progress::Progress;
pub use table::{Align, Table};
