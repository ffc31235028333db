//! Panels of a convolution's weight, the layout in which the product kernel reads it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// A weight of float32 packed to panels. It is packed at the first use.
#[derive(Clone, Default)]
pub struct Panels(pub(super) Arc<OnceLock<PanelSet<'static>>>);

// tract compares operators to merge equal nodes: panels follow from the rest.
impl PartialEq for Panels {
    fn eq(&self, _: &Panels) -> bool {
        true
    }
}

impl Eq for Panels {}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Panels")
    }
}

/// Panels of all groups and, for an adjoint, of all phases of each.
pub(super) struct PanelSet<'a> {
    pub(super) data: Cow<'a, [f32]>,
    /// Numbers of elements before the panels of each phase, and of all.
    pub(super) starts: Vec<usize>,
}

impl PanelSet<'_> {
    /// Returns the panels of a phase of a group.
    pub(super) fn phase(&self, group: usize, phase: usize) -> &[f32] {
        let size = self.starts.last().copied().unwrap_or(0);
        &self.data[group * size + self.starts[phase]..group * size + self.starts[phase + 1]]
    }
}
