//! Versions of the format that are read.

/// The oldest format version that is read: the first with operator sets.
pub const MIN_IR_VERSION: i64 = 3;

/// The newest format version that is read.
pub const MAX_IR_VERSION: i64 = 14;
