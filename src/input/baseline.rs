//! Baselines of integrated gradients: from a file, or as a statistic of the explained rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlbc_ops::program::{Info, InputInfo, Repeat};
use dlbc_ops::tensor::Tensor;

use super::columns::Plan;
use super::table::{self, Row};
use super::{BaselineSource, Inputs, Rows, Sources, npy, npz, only, picture};
use crate::content::{Content, content};
use crate::error::{Error, Result, ResultExt};
use crate::notes::Silent;
use crate::remedy::Remedy;
use crate::statistics::median;
use crate::wording::{plural, visible};

/// Refuses a baseline for a composite without one and for a model of token ids. `has_token_ids` is true for the latter.
///
/// # Errors
/// When the composite is not integrated gradients, or the model takes token ids.
pub fn check(info: &Info, has_token_ids: bool) -> Result<()> {
    if !matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) {
        let message = format!("composite `{}` has no baseline", visible(&info.rules));
        return Err(Error::usage(message).with_remedy(Remedy::IntegratedGradients));
    }
    if has_token_ids {
        let message = "a baseline applies to inputs of numbers: the model takes token ids, whose embeddings start from a number";
        return Err(Error::usage(message).with_remedy(Remedy::BaselineInComposite));
    }
    Ok(())
}

/// Reads the baselines, by input.
///
/// # Errors
/// When a file does not fit, or a statistic is asked for of a single row.
pub fn read(
    infos: &[InputInfo],
    source: &BaselineSource,
    pictures: &[PathBuf],
    inputs: &Inputs,
    sources: &Sources,
) -> Result<BTreeMap<String, Tensor>> {
    let explained: Vec<InputInfo> =
        infos.iter().filter(|i| i.explained && i.ty.dtype.is_float()).cloned().collect();
    let reader = Reader { explained: &explained, sources, max_bytes: sources.max_tensor_bytes };
    match source {
        BaselineSource::File(path) => {
            reader.file(path).with_context(|| format!("baseline `{}`", path.display()))
        }
        BaselineSource::Mean => {
            reader.statistic("mean", pictures, inputs, &|v| v.iter().sum::<f64>() / v.len() as f64)
        }
        BaselineSource::Median => reader.statistic("median", pictures, inputs, &|v| median(v)),
    }
}

/// Reader of baselines.
struct Reader<'a> {
    /// Explained inputs of floats.
    explained: &'a [InputInfo],
    sources: &'a Sources,
    /// Largest size of a tensor, in bytes.
    max_bytes: u64,
}

impl Reader<'_> {
    /// Reads a baseline from a file of arrays, a picture or a table of one row.
    fn file(&self, path: &Path) -> Result<BTreeMap<String, Tensor>> {
        match content(path) {
            Some(Content::Npz | Content::ResultNpz | Content::Zip) => {
                let is_input = |name: &str| self.explained.iter().any(|i| i.name == name);
                let arrays = npz::read(path, is_input, self.max_bytes)?;
                if arrays.selected.is_empty() {
                    let names = |names: Vec<&String>| {
                        names.iter().map(|n| format!("`{}`", visible(n))).collect::<Vec<_>>().join(", ")
                    };
                    let inputs = names(self.explained.iter().map(|i| &i.name).collect());
                    let others = names(arrays.others.iter().collect());
                    return Err(Error::invalid(format!("expected arrays named {inputs}, found {others}")));
                }
                Ok(arrays.selected)
            }
            Some(Content::Picture) => {
                let fits = picture::takes_picture(self.explained, self.sources.picture.layout);
                let input = only(self.explained, "a picture", "one input of four axes", fits)?;
                Ok(BTreeMap::from([(input.name.clone(), self.picture(path, input)?)]))
            }
            Some(Content::Csv) => self.table(path, |rows| match rows {
                [row] => Ok(row.values.clone()),
                _ => {
                    let message = format!("expected one row, found {}", rows.len());
                    Err(Error::invalid(message).with_remedy(Remedy::BaselineOfRows))
                }
            }),
            _ => {
                let [input] = self.explained else {
                    return Err(Error::usage(format!(
                        "one array does not say which of {} it is for",
                        plural(self.explained.len(), "input")
                    ))
                    .with_hint(Some("give an .npz file whose arrays have the names of the inputs".into())));
                };
                Ok(BTreeMap::from([(input.name.clone(), npy::open(path, self.max_bytes)?)]))
            }
        }
    }

    /// Computes a statistic of the rows of the table, of the pictures, or of the batch, element by element.
    fn statistic(
        &self,
        name: &str,
        pictures: &[PathBuf],
        inputs: &Inputs,
        statistic: &dyn Fn(&mut [f64]) -> f64,
    ) -> Result<BTreeMap<String, Tensor>> {
        let single = || {
            Error::usage(format!("baseline {name}: expected several rows, found one"))
                .with_remedy(Remedy::SeveralRows)
        };
        if let Some(path) = &self.sources.table {
            let row = |rows: &[Row]| {
                let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.values.clone()).collect();
                by_element(&rows, statistic).ok_or_else(single)
            };
            return self.table(path, row).with_context(|| format!("`{}`", path.display()));
        }
        if !pictures.is_empty() {
            let fits = picture::takes_picture(self.explained, self.sources.picture.layout);
            let input = only(self.explained, "a picture", "one input of four axes", fits)?;
            let tensors =
                pictures.iter().map(|path| self.picture(path, input)).collect::<Result<Vec<_>>>()?;
            if tensors.iter().any(|t| t.dims() != tensors[0].dims()) {
                return Err(Error::invalid(format!(
                    "baseline {name}: expected pictures of one size as the model sees them"
                )));
            }
            let rows: Vec<Vec<f64>> = tensors.iter().map(Tensor::to_f64).collect();
            let values = to_f32(&by_element(&rows, statistic).ok_or_else(single)?);
            return Ok(BTreeMap::from([(input.name.clone(), Tensor::from_f32(tensors[0].dims(), &values))]));
        }
        let mut all = BTreeMap::new();
        for input in self.explained {
            let Some(tensor) = inputs.tensors.get(&input.name) else { continue };
            let [count, rest @ ..] = tensor.dims() else { return Err(single()) };
            let size = tensor.elems().checked_div(*count).unwrap_or(0).max(1);
            let rows: Vec<Vec<f64>> = tensor.to_f64().chunks(size).map(<[f64]>::to_vec).collect();
            let values = to_f32(&by_element(&rows, statistic).ok_or_else(single)?);
            all.insert(input.name.clone(), Tensor::from_f32(rest, &values));
        }
        Ok(all)
    }

    /// Returns the inputs that a row computed from the rows of a table fills.
    fn table(
        &self,
        path: &Path,
        row: impl Fn(&[Row]) -> Result<Vec<f64>>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let table = table::open(path, self.max_bytes)?;
        let header = table.features().to_vec();
        // The notes on matched columns were printed for the explained rows.
        let plan = Plan::new(self.explained, &header, &BTreeMap::new(), &Silent)?;
        let rows = table.rows(&plan.columns(), &Rows::All)?;
        let row = Row { number: 0, values: row(&rows)? };
        Ok(plan.tensors(self.explained, &header, &[row])?.1.into_iter().collect())
    }

    /// Reads a picture as a baseline.
    fn picture(&self, path: &Path, input: &InputInfo) -> Result<Tensor> {
        // The notes on pictures were printed for the explained ones.
        let notes = &Silent;
        let picture = picture::read(path, input, &self.sources.picture, self.max_bytes, notes);
        Ok(picture.with_context(|| format!("`{}`", path.display()))?.tensor)
    }
}

/// Computes a statistic over rows of equal length, element by element; `None` for fewer than two rows.
fn by_element(rows: &[Vec<f64>], statistic: &dyn Fn(&mut [f64]) -> f64) -> Option<Vec<f64>> {
    let [first, _, ..] = rows else { return None };
    let column = |i: usize| rows.iter().filter_map(|row| row.get(i).copied()).collect::<Vec<f64>>();
    Some((0..first.len()).map(|i| statistic(&mut column(i))).collect())
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}
