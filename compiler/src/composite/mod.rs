//! Composites choose a rule for each node. They are TOML files: the built-in ones in `rules/`, or the user's own.

mod file;
mod gates;
mod keywords;
mod mistake;
mod model;
mod node_facts;
mod repeat;
mod saturation;
mod selector;

pub use model::{Composite, Quantity};
pub(crate) use selector::LayerPositions;

use sha2::{Digest, Sha256};

use crate::error::CompileError;

/// Name and TOML text of each built-in composite.
const BUILT_IN: &[(&str, &str)] = &[
    ("dlb", include_str!("../../rules/dlb.toml")),
    ("dlb-v2", include_str!("../../rules/dlb-v2.toml")),
    ("dlb-v1", include_str!("../../rules/dlb-v1.toml")),
    ("dlb-v1-literal", include_str!("../../rules/dlb-v1-literal.toml")),
    ("dlb-values", include_str!("../../rules/dlb-values.toml")),
    ("lrp-epsilon", include_str!("../../rules/lrp-epsilon.toml")),
    ("lrp-zplus", include_str!("../../rules/lrp-zplus.toml")),
    ("lrp-gamma", include_str!("../../rules/lrp-gamma.toml")),
    ("lrp-alpha2-beta1", include_str!("../../rules/lrp-alpha2-beta1.toml")),
    ("lrp-alpha1-beta0", include_str!("../../rules/lrp-alpha1-beta0.toml")),
    ("lrp-flat", include_str!("../../rules/lrp-flat.toml")),
    ("lrp-w2", include_str!("../../rules/lrp-w2.toml")),
    ("lrp-box", include_str!("../../rules/lrp-box.toml")),
    ("epsilon-plus", include_str!("../../rules/epsilon-plus.toml")),
    ("epsilon-plus-flat", include_str!("../../rules/epsilon-plus-flat.toml")),
    ("epsilon-alpha2-beta1", include_str!("../../rules/epsilon-alpha2-beta1.toml")),
    ("epsilon-alpha2-beta1-flat", include_str!("../../rules/epsilon-alpha2-beta1-flat.toml")),
    ("epsilon-gamma-box", include_str!("../../rules/epsilon-gamma-box.toml")),
    ("attnlrp", include_str!("../../rules/attnlrp.toml")),
    ("cp-lrp", include_str!("../../rules/cp-lrp.toml")),
    ("gradient", include_str!("../../rules/gradient.toml")),
    ("grad-x-input", include_str!("../../rules/grad-x-input.toml")),
    ("integrated-gradients", include_str!("../../rules/integrated-gradients.toml")),
    ("smoothgrad", include_str!("../../rules/smoothgrad.toml")),
];

/// Returns the names of the built-in composites.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Returns the TOML text of a built-in composite.
pub fn built_in_source(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

impl Composite {
    /// Returns the built-in composite of this name.
    ///
    /// # Errors
    /// For an unknown name, with the names of all built-in composites.
    pub fn named(name: &str) -> Result<Composite, CompileError> {
        let text = built_in_source(name).ok_or_else(|| CompileError::UnknownComposite {
            name: name.into(),
            known: built_in_names().collect(),
        })?;
        Composite::parse(text, &format!("rules/{name}.toml"))
    }

    /// Parses a composite from `text`, the content of the TOML file `file`.
    ///
    /// # Errors
    /// For a mistake in the file, with file and line.
    pub fn parse(text: &str, file: &str) -> Result<Composite, CompileError> {
        let hash = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        file::read(text, file, hash)
    }
}
