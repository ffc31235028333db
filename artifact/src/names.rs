//! Names in an exported model.

use dlbc_ops::program::Output;

/// The optional input of an exported model that chooses the explained unit.
pub const TARGET_INPUT: &str = "dlbc_target";

/// The graph's input that stands for [`TARGET_INPUT`] or its default.
pub(crate) const CHOSEN_TARGET: &str = "dlbc_target/chosen";

/// The name of an output in an exported model: model outputs have their own names.
pub(crate) fn exported_name(output: &Output) -> String {
    match output {
        Output::Model(name) => name.to_string(),
        Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Dimension(_)
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Value(_) => output.to_string(),
    }
}
