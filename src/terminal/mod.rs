//! What the program writes to a terminal: text made safe, tables, notes and progress.

mod console;
mod progress;
mod table;
mod text;

pub use console::{Console, print, report};
pub use progress::Progress;
pub use table::{Align, Table};
pub use text::{json_text, number, plural, size, visible, visible_lines};
