//! Folders of models, as onnxruntime-genai, optimum and transformers.js write them: the choice of a model file.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, ResultExt};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::{visible, visible_path};

/// Largest number of files of a folder that are looked at.
const MAX_FILES: usize = 1 << 14;

/// Largest size of a configuration, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Names of weights, the most exact first, with the ends of a file's name after `model`.
const WEIGHTS: &[(&str, &[&str])] = &[
    ("fp32", &["", "_fp32"]),
    ("bf16", &["_bf16"]),
    ("fp16", &["_fp16"]),
    ("int8", &["_int8", "_quantized", "_q8"]),
    ("uint8", &["_uint8"]),
    ("q4", &["_q4"]),
    ("q4f16", &["_q4f16"]),
    ("bnb4", &["_bnb4"]),
    ("q2", &["_q2"]),
    ("q2f16", &["_q2f16"]),
    ("q1", &["_q1"]),
    ("q1f16", &["_q1f16"]),
];

/// Returns the model file of a path: the path itself, or the model of a folder whose weights have the name `weights`. Without a name it
/// is the most exact one, and a note names the others.
///
/// # Errors
/// For a folder without that model or with several models of different purpose, and for a name of weights beside a file.
pub fn model_file(path: &Path, weights: Option<&str>, notes: &dyn Notes) -> Result<PathBuf> {
    if !path.is_dir() {
        return match weights {
            None => Ok(path.into()),
            Some(name) => Err(Error::usage(format!(
                "weights `{}`: expected a folder of models, found the file `{}`",
                visible(name),
                visible_path(path)
            ))),
        };
    }
    if weights.is_none()
        && let Some(file) = genai_model(path)?
    {
        return Ok(file);
    }
    let files: Vec<PathBuf> =
        [path.to_path_buf(), path.join("onnx")].iter().flat_map(|p| models(p)).collect();
    let mut candidates: Vec<(usize, &PathBuf)> =
        files.iter().filter_map(|file| Some((exactness(file)?, file))).collect();
    // Of two files of equal weights, the one beside the configuration comes first.
    candidates.sort_by_key(|(exactness, _)| *exactness);
    match (candidates.as_slice(), weights) {
        ([], None) => only(path, &files),
        (_, Some(name)) => by_name(path, &candidates, name),
        ([first, others @ ..], None) => {
            if !others.is_empty() {
                let names: Vec<String> = others.iter().map(|o| format!("`{}`", WEIGHTS[o.0].0)).collect();
                let text = format!(
                    "the model of `{}` has weights `{}`; there are {}, too",
                    visible_path(path),
                    WEIGHTS[first.0].0,
                    names.join(", ")
                );
                notes.note_with(text, Remedy::Weights);
            }
            Ok(first.1.clone())
        }
    }
}

/// Returns the model with weights of a name, which may be that of a file, such as `quantized`.
fn by_name(folder: &Path, candidates: &[(usize, &PathBuf)], name: &str) -> Result<PathBuf> {
    let end = format!("_{name}");
    let is_named = |i: usize| WEIGHTS[i].0 == name || WEIGHTS[i].1.contains(&end.as_str());
    if let Some((_, file)) = candidates.iter().find(|(i, _)| is_named(*i)) {
        return Ok((*file).clone());
    }
    let known: Vec<&str> = candidates.iter().map(|(i, _)| WEIGHTS[*i].0).collect();
    let expected = if known.is_empty() { "a model".into() } else { format!("`{}`", known.join("`, `")) };
    let message = format!(
        "no weights `{}` in the folder `{}`: expected {expected}",
        visible(name),
        visible_path(folder)
    );
    Err(Error::unknown(message, name, known))
}

/// Returns the only model of a folder without a file `model.onnx`. A folder without a model is returned itself: reading it says what it
/// is.
fn only(folder: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    match files {
        [] => Ok(folder.into()),
        [file] => Ok(file.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|file| format!("`{}`", visible_path(file))).collect();
            let message =
                format!("folder `{}`: expected one model, found {}", visible_path(folder), names.join(", "));
            Err(Error::usage(message).with_remedy(Remedy::FileOfFolder))
        }
    }
}

/// Returns the index in [`WEIGHTS`] of a file's weights; `None` for a file with another name.
fn exactness(file: &Path) -> Option<usize> {
    let end = file.file_stem()?.to_str()?.strip_prefix("model")?;
    WEIGHTS.iter().position(|(_, ends)| ends.contains(&end))
}

/// Returns the `.onnx` files of a folder by name.
fn models(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten();
    let is_model = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx") && path.is_file();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_model).collect();
    files.sort();
    files
}

/// Returns the model that the configuration of onnxruntime-genai names; `None` without one.
fn genai_model(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join("genai_config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let config = read_json(&path).with_context(|| format!("`{}`", visible_path(&path)))?;
    let Some(name) = config["model"]["decoder"]["filename"].as_str() else { return Ok(None) };
    let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let file = folder.join(name);
    if !is_inside || !file.is_file() {
        return Err(Error::invalid_model(format!(
            "`{}`: expected the name of a file in the folder, found `{}`",
            visible_path(&path),
            visible(name)
        )));
    }
    Ok(Some(file))
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let invalid = |e: &dyn std::fmt::Display| Error::invalid_model(e.to_string());
    let mut bytes = vec![];
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| invalid(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| invalid(&e))
}
