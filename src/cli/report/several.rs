//! Results of several pictures: their names, their files, and the result file for all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlbc_ops::tensor::{DType, Tensor};
use dlbc_runtime::rows;

use crate::cli::exit::usage;
use crate::cli::terminal::Console;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::results::keys;
use dlbc::results::{Contents, Format, check};
use dlbc::target::NamedTarget;

/// Returns the names of pictures for files and keys: the file's name without its extension, numbered if two are the same.
pub fn names(files: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let numbered = (2..).map(|i| format!("{stem}-{i}"));
        let name = std::iter::once(stem.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(name.unwrap_or(stem));
    }
    names
}

/// Returns whether a path means a folder of files: it is a folder or ends with a separator.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
}

/// File to draw into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawingFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Format of the drawing.
    pub format: DrawingFormat,
}

impl DrawingFile {
    /// Returns the file for each of `names`, or one file if there are none: `FOLDER/` becomes `FOLDER/NAME.png`, and
    /// `out.png` becomes `out-NAME.png` if there are several names.
    ///
    /// # Errors
    /// Fails for an extension that `format` refuses, and for a path that cannot be written.
    pub fn each(
        path: &Path,
        names: &[String],
        format: impl Fn(&Path) -> anyhow::Result<DrawingFormat>,
    ) -> anyhow::Result<Vec<DrawingFile>> {
        let is_folder = is_folder(path);
        let files: Vec<PathBuf> = match names {
            names if is_folder && !names.is_empty() => {
                names.iter().map(|name| path.join(format!("{name}.png"))).collect()
            }
            [] | [_] => vec![path.to_path_buf()],
            names => {
                let (stem, extension) = (path.file_stem(), path.extension());
                let (stem, extension) = (stem.unwrap_or_default(), extension.unwrap_or_default());
                let (stem, extension) = (stem.to_string_lossy(), extension.to_string_lossy());
                names.iter().map(|name| path.with_file_name(format!("{stem}-{name}.{extension}"))).collect()
            }
        };
        let format = if is_folder && !names.is_empty() { None } else { Some(format(path)?) };
        if is_folder && !path.is_dir() {
            let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !above.is_dir() {
                let (path, above) = (path.display(), above.display());
                return Err(usage(format!("cannot write `{path}`: the folder `{above}` does not exist")));
            }
        } else {
            files.iter().try_for_each(|file| check(file))?;
        }
        let file = |path| DrawingFile { path, format: format.unwrap_or(DrawingFormat::Png) };
        Ok(files.into_iter().map(file).collect())
    }
}

/// Refuses a format that an overlay cannot have, before the targets are known.
///
/// # Errors
/// Fails for the extension of another format, and without an extension.
pub fn check_overlay(path: Option<&Path>) -> anyhow::Result<()> {
    match path.filter(|path| !is_folder(path)) {
        Some(path) => overlay_format(path).map(|_| ()),
        None => Ok(()),
    }
}

fn overlay_format(path: &Path) -> anyhow::Result<DrawingFormat> {
    Ok(DrawingFormat::of_pixels("--overlay", path)?)
}

/// Returns the files of the overlays, for each picture its targets in order; the names contain both if there are several.
///
/// # Errors
/// Fails as [`DrawingFile::each`] does.
pub fn overlays(
    path: Option<&Path>,
    pictures: &[String],
    targets: &[NamedTarget],
) -> anyhow::Result<Vec<DrawingFile>> {
    let Some(path) = path else { return Ok(vec![]) };
    let plain = |name: &str| -> String {
        name.chars().map(|c| if c.is_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect()
    };
    let named = |picture: &String, target: &NamedTarget| match (pictures.len(), targets.len()) {
        (_, 1) => picture.clone(),
        (1, _) if !is_folder(path) => plain(&target.name),
        _ => format!("{picture}-{}", plain(&target.name)),
    };
    let each = |picture| targets.iter().map(move |target| named(picture, target));
    let names: Vec<String> = pictures.iter().flat_map(each).collect();
    DrawingFile::each(path, &names, overlay_format)
}

/// Writes the results of a run into one file; those of several pictures are merged.
///
/// # Errors
/// When the file cannot be written.
pub fn save(
    file: Option<(Format, &Path)>,
    mut parts: Vec<(String, Contents)>,
    console: Console,
) -> anyhow::Result<()> {
    let contents = match parts.len() {
        0 | 1 => parts.pop().map(|(_, contents)| contents),
        _ => together(parts, console),
    };
    match (file, contents) {
        (Some((format, path)), Some(contents)) => Ok(format.save(path, &contents)?),
        _ => Ok(()),
    }
}

/// Merges the results of several pictures: stacks tensors along the batch and adds up the sums of the ledger. If shapes
/// differ, the keys of each picture begin with `picture/NAME/` instead.
fn together(parts: Vec<(String, Contents)>, console: Console) -> Option<Contents> {
    let pictures: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
    let mut metadata = parts.first()?.1.metadata.clone();
    metadata.insert("pictures".into(), pictures.join("\n"));
    let keys = parts.first()?.1.tensors.keys();
    let stacked: Option<BTreeMap<String, Tensor>> = keys.map(|key| stacked(&parts, key)).collect();
    if let Some(tensors) = stacked {
        return Some(Contents { tensors, metadata, table: None });
    }
    console.note("results of different shapes: the keys of each picture begin with `picture/NAME/`");
    let prefixed = |(name, contents): (String, Contents)| {
        contents.tensors.into_iter().map(move |(key, tensor)| (keys::of_picture(&name, &key), tensor))
    };
    Some(Contents { tensors: parts.into_iter().flat_map(prefixed).collect(), metadata, table: None })
}

/// Stacks or adds up the tensors of a key; `None` if their shapes differ.
fn stacked(parts: &[(String, Contents)], key: &str) -> Option<(String, Tensor)> {
    let tensors: Option<Vec<&Tensor>> = parts.iter().map(|(_, c)| c.tensors.get(key)).collect();
    let tensors = tensors?;
    let first = tensors.first()?;
    let sums = first.dtype() == DType::F64 && first.dims().len() < 2;
    if sums && keys::is_sum(key) {
        if tensors.iter().any(|t| t.dims() != first.dims()) {
            return None;
        }
        let mut sum = vec![0.0; first.elems()];
        for tensor in &tensors {
            sum.iter_mut().zip(tensor.to_f64()).for_each(|(sum, value)| *sum += value);
        }
        let bytes: Vec<u8> = sum.iter().flat_map(|v| v.to_le_bytes()).collect();
        let sum = Tensor::from_bytes(DType::F64, first.dims().to_vec(), std::sync::Arc::new(bytes))?;
        return Some((key.into(), sum));
    }
    let parts: Vec<_> = tensors.iter().map(|t| [(key.to_string(), (*t).clone())].into()).collect();
    let parts: Vec<&BTreeMap<String, Tensor>> = parts.iter().collect();
    rows::stack(&parts)?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(path: &Path) -> anyhow::Result<DrawingFormat> {
        Ok(DrawingFormat::of_drawing("--heatmap", path)?)
    }

    #[test]
    fn each_picture_has_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let names = names(&["a/cat.png".into(), "dog.jpg".into(), "b/cat.png".into()]);
        assert_eq!(names, ["cat", "dog", "cat-2"]);
        let files = |name: &str, names: &[String]| {
            let each = DrawingFile::each(&folder.path().join(name), names, png)?;
            let relative =
                |f: &DrawingFile| f.path.strip_prefix(folder.path()).unwrap().display().to_string();
            anyhow::Ok(each.iter().map(relative).collect::<Vec<_>>())
        };
        assert_eq!(files("out.svg", &names).unwrap(), ["out-cat.svg", "out-dog.svg", "out-cat-2.svg"]);
        assert_eq!(files("new/", &names[..2]).unwrap(), ["new/cat.png", "new/dog.png"]);
        assert_eq!(files("new/", &names[..1]).unwrap(), ["new/cat.png"]);
        assert_eq!(files("", &names[..1]).unwrap(), ["cat.png"]);
        assert_eq!(files("out.jpg", &names[..1]).unwrap(), ["out.jpg"]);
        assert_eq!(files("out.jpg", &[]).unwrap(), ["out.jpg"]);
        assert!(
            files("out.gif", &names).is_err()
                && files("new/", &[]).is_err()
                && files("x/y/", &names).is_err()
        );
    }

    fn contents(relevance: &Tensor) -> Contents {
        let bytes = std::sync::Arc::new(1.5f64.to_le_bytes());
        let start = Tensor::from_bytes(DType::F64, vec![], bytes).unwrap();
        let tensors = [("relevance/x".to_string(), relevance.clone()), ("audit/start".to_string(), start)];
        Contents { tensors: tensors.into(), metadata: BTreeMap::new(), table: None }
    }

    #[test]
    fn results_are_stacked_where_shapes_agree() {
        let console = Console { quiet: true };
        let (a, b) = (Tensor::from_f32(&[1, 2], &[1.0, 2.0]), Tensor::from_f32(&[1, 2], &[3.0, 4.0]));
        let both = together(vec![("a".into(), contents(&a)), ("b".into(), contents(&b))], console).unwrap();
        assert_eq!(both.tensors["relevance/x"].dims(), [2, 2]);
        assert_eq!(both.tensors["audit/start"].to_f64(), [3.0]);
        assert_eq!(both.metadata["pictures"], "a\nb");
        let c = Tensor::from_f32(&[1, 3], &[0.0; 3]);
        let both = together(vec![("a".into(), contents(&a)), ("c".into(), contents(&c))], console).unwrap();
        assert!(both.tensors.contains_key("picture/c/relevance/x"));
    }
}
