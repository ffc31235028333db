//! Backgrounds: the rows that Shapley values are taken against.

use std::path::Path;

use dlbc_ops::program::InputInfo;
use dlbc_runtime::{MIN_BACKGROUND, Tensors, rows};

use super::{Inputs, Rows, Sources, Words, read as read_inputs};
use crate::content::{Content, content};
use crate::error::{Error, Result, ResultExt};
use crate::notes::{Notes, Silent};
use crate::remedy::Remedy;

/// Reads the background: all rows of a file, or without one the rows of the table that are not explained, if there are enough.
/// `None` leaves it to the other rows of the batch.
///
/// # Errors
/// When a file does not fit, or there are too few rows.
pub fn read(
    infos: &[InputInfo],
    file: Option<&Path>,
    inputs: &Inputs,
    sources: &Sources,
    notes: &dyn Notes,
) -> Result<Option<Tensors>> {
    let (words, max_tensor_bytes) = (sources.words.clone(), sources.max_tensor_bytes);
    if let Some(path) = file {
        return of_file(infos, path, words, max_tensor_bytes).map(Some);
    }
    let explained = inputs.tensors.values().next().and_then(|t| t.dims().first().copied()).unwrap_or(0);
    if let (Some(path), Some(table)) = (&sources.table, &inputs.table) {
        let source = Sources {
            table: Some(path.clone()),
            rows: Rows::All,
            words,
            max_tensor_bytes,
            ..Sources::default()
        };
        let all = read_inputs(infos, None, &source, &Silent)?;
        let count = all.table.as_ref().map_or(0, |t| t.rows.len());
        let others: Vec<usize> = (0..count).filter(|row| !table.rows.contains(row)).collect();
        if others.len() >= MIN_BACKGROUND {
            notes.note(format!("background: the {} other rows of the table", others.len()));
            let row = |i: &usize| {
                let tensors =
                    all.tensors.iter().map(|(name, t)| Some((name.clone(), rows::slice(t, *i, 1)?)));
                tensors.collect::<Option<Tensors>>()
            };
            let parts: Option<Vec<Tensors>> = others.iter().map(row).collect();
            let parts = parts.context("rows of the table")?;
            return Ok(rows::stack(&parts.iter().collect::<Vec<_>>()));
        }
    }
    if explained > MIN_BACKGROUND {
        notes.note(format!("background of each row: the {} other rows", explained - 1));
        return Ok(None);
    }
    let message = format!(
        "Shapley values of trees take a background: expected rows of a file, or {MIN_BACKGROUND} other rows, found fewer"
    );
    Err(Error::usage(message).with_remedy(Remedy::Background))
}

/// Reads all rows of a file.
///
/// # Errors
/// When the file does not fit the inputs.
pub fn of_file(infos: &[InputInfo], path: &Path, words: Words, max_tensor_bytes: u64) -> Result<Tensors> {
    let is_array =
        matches!(content(path), Some(Content::Npy | Content::Npz | Content::ResultNpz | Content::Zip));
    let source = match is_array {
        true => Sources { archive: Some(path.into()), words, max_tensor_bytes, ..Sources::default() },
        false => Sources {
            table: Some(path.into()),
            rows: Rows::All,
            words,
            max_tensor_bytes,
            ..Sources::default()
        },
    };
    let background = read_inputs(infos, None, &source, &Silent);
    Ok(background.with_context(|| format!("background `{}`", path.display()))?.tensors)
}
