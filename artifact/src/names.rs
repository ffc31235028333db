//! Tensor names of an exported model.

use dlbc_ops::program::Output;

/// Name of the optional input of an exported model that chooses the explained unit: int64, `[batch]` or `[1]`.
pub const TARGET_INPUT: &str = "dlbc_target";

/// Name of the value that [`TARGET_INPUT`] or its default has, int64 `[batch]` or `[1]`.
pub(crate) const CHOSEN_TARGET: &str = "dlbc_target/chosen";

/// Returns the name of an output in an exported model. Outputs of the model keep the name that they have in the model.
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
        | Output::Trees { .. }
        | Output::Value(_) => output.to_string(),
    }
}
