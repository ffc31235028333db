//! Supported versions of the format.

/// Oldest supported `ir_version`: the first with operator sets.
pub const MIN_IR_VERSION: i64 = 3;

/// Newest supported `ir_version`.
pub const MAX_IR_VERSION: i64 = 14;
