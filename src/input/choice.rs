//! Choice of the input for files and flags that do not name one.

use std::path::Path;

use dlbc_ops::program::InputInfo;

use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::{plural, visible};

/// Returns the only input that fits a source without a name. `source` names it in messages.
///
/// # Errors
/// When several inputs fit, or none.
#[cfg(any(feature = "images", feature = "table"))]
pub fn only<'a>(
    infos: &'a [InputInfo],
    source: &str,
    expected: &str,
    fits: impl Fn(&InputInfo) -> bool,
) -> Result<&'a InputInfo> {
    let mut fitting = infos.iter().filter(|i| fits(i));
    match (fitting.next(), fitting.next()) {
        (Some(input), None) => Ok(input),
        (first, _) => {
            let count = if first.is_none() { "no input" } else { "several inputs" };
            let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
            Err(Error::usage(format!(
                "the model has {count} for {source}: expected {expected}, found {}",
                all.join(", ")
            )))
        }
    }
}

/// Returns the only input of a model, for an array without a name.
///
/// # Errors
/// When the model has several inputs.
pub fn only_input<'a>(infos: &'a [InputInfo], file: &Path) -> Result<&'a InputInfo> {
    if let [input] = infos {
        return Ok(input);
    }
    let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
    let first = infos.first().map_or("NAME", |i| i.name.as_str());
    let message = format!(
        "one array does not say which of {} it is for: {}",
        plural(infos.len(), "input"),
        all.join(", ")
    );
    Err(Error::usage(message)
        .with_remedy(Remedy::InputName { input: first.into(), file: file.display().to_string() }))
}
