//! The command line: arguments, commands, what they print, and how the program ends.

pub mod advice;
pub mod args;
pub mod checks;
pub mod commands;
pub mod device;
pub mod exit;
pub mod guard;
pub mod report;
pub mod terminal;
