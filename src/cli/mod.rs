//! Command line: arguments, commands, their output, and exit codes.

pub mod advice;
pub mod args;
pub mod checks;
pub mod commands;
pub mod device;
pub mod exit;
pub mod guard;
pub mod report;
pub mod terminal;
