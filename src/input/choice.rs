//! The input that a flag without a name fills.

use std::path::Path;

use dlbc_ops::program::InputInfo;

use crate::error::{Error, Result};
use crate::wording::{plural, visible};

/// Returns the only input that fits a flag without a name.
#[cfg(any(feature = "images", feature = "table"))]
pub fn only<'a>(
    infos: &'a [InputInfo],
    flag: &str,
    what: &str,
    fits: impl Fn(&InputInfo) -> bool,
) -> Result<&'a InputInfo> {
    let mut fitting = infos.iter().filter(|i| fits(i));
    match (fitting.next(), fitting.next()) {
        (Some(input), None) => Ok(input),
        (first, _) => {
            let count = if first.is_none() { "no input" } else { "more than one input" };
            let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
            Err(Error::usage(format!(
                "`{flag}`: the model has {count} that may be {what}; its inputs: {}",
                all.join(", ")
            )))
        }
    }
}

/// Returns the model's only input, which an array without a name is for.
pub fn only_input<'a>(infos: &'a [InputInfo], file: &Path) -> Result<&'a InputInfo> {
    if let [input] = infos {
        return Ok(input);
    }
    let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
    let first = infos.first().map_or("NAME", |i| i.name.as_str());
    Err(Error::usage(format!(
        "one array for a model with {}: {}",
        plural(infos.len(), "input"),
        all.join(", ")
    ))
    .with_hint(Some(format!(
        "name the input: `--input {}={}`",
        visible(first),
        visible(&file.display().to_string())
    ))))
}
