//! Replacement of rows.

/// `(data [n, …], indices [m], updates [m, …])` → `data` with its rows at `indices` replaced; of several updates of one
/// row the last counts. Negative indices count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwrite;
