//! Caches of language models: inputs with the keys, values or states of earlier positions, recognised by their names.

use std::collections::BTreeMap;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{Dim, Tensor};

use crate::notes::Notes;
use crate::wording::{plural, visible};

/// Returns the output that holds the next value of a cache, as `present.0.key` for the input `past_key_values.0.key`; `None` for other
/// inputs.
pub fn next_value<'a>(input: &str, mut outputs: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names = [input.replacen("past_key_values", "present", 1), input.replacen("past", "present", 1)];
    let is_cache = input.starts_with("past");
    outputs.find(|output| is_cache && names.iter().any(|name| name == output))
}

/// Adds caches without a position for those that no source fills. An open size that is that of another input is the size of its tensor.
pub(super) fn fill(infos: &[InputInfo], tensors: &mut BTreeMap<String, Tensor>, notes: &dyn Notes) {
    let mut sizes: Vec<(Dim, usize)> = vec![];
    for info in infos {
        if let Some(tensor) = tensors.get(&info.name) {
            sizes.extend(info.ty.shape.0.iter().cloned().zip(tensor.dims().iter().copied()));
        }
    }
    let is_empty_cache = |info: &&InputInfo| {
        info.name.starts_with("past") && info.ty.dtype.is_float() && !tensors.contains_key(&info.name)
    };
    let caches: Vec<&InputInfo> = infos.iter().filter(is_empty_cache).collect();
    let mut filled = vec![];
    for info in caches {
        let size = |dim: &Dim| match dim.as_known() {
            Some(n) => usize::try_from(n).unwrap_or(0),
            None => sizes.iter().find(|(other, _)| other == dim).map_or(0, |(_, n)| *n),
        };
        let dims: Vec<usize> = info.ty.shape.0.iter().map(size).collect();
        // A cache of a fixed size is an input like any other.
        if dims.contains(&0) {
            filled.push(info.name.as_str());
            tensors.insert(info.name.clone(), Tensor::from_f32(&dims, &[]));
        }
    }
    if let [first, others @ ..] = filled.as_slice() {
        let more = if others.is_empty() {
            "is".into()
        } else {
            format!("and {} are", plural(others.len(), "other"))
        };
        notes.note(format!("cache `{}` {more} empty", visible(first)));
    }
}
