//! The baseline of integrated gradients: a file, or a statistic of the rows that are there.

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

/// Refuses a baseline for what has none; `ids` says whether the model looks up token ids.
///
/// # Errors
/// For a composite that does not start from a baseline, and for a model of token ids.
pub fn check(info: &Info, ids: bool) -> Result<()> {
    if !matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) {
        let message = format!("composite `{}` has no baseline", visible(&info.rules));
        return Err(Error::usage(message).with_remedy(Remedy::IntegratedGradients));
    }
    if ids {
        let message = "a baseline applies to inputs of numbers: the model takes token ids, whose embeddings start from a number";
        return Err(Error::usage(message).with_remedy(Remedy::BaselineInComposite));
    }
    Ok(())
}

/// The baseline by input.
///
/// # Errors
/// For a file that does not fit, and for a statistic of a single row.
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

struct Reader<'a> {
    explained: &'a [InputInfo],
    sources: &'a Sources,
    max_bytes: u64,
}

impl Reader<'_> {
    fn file(&self, path: &Path) -> Result<BTreeMap<String, Tensor>> {
        match content(path) {
            Some(Content::Npz | Content::ResultNpz | Content::Zip) => {
                let wanted = |name: &str| self.explained.iter().any(|i| i.name == name);
                let arrays = npz::read(path, wanted, self.max_bytes)?;
                if arrays.found.is_empty() {
                    let names = |names: Vec<&String>| {
                        names.iter().map(|n| format!("`{}`", visible(n))).collect::<Vec<_>>().join(", ")
                    };
                    let inputs = names(self.explained.iter().map(|i| &i.name).collect());
                    let found = names(arrays.others.iter().collect());
                    return Err(Error::invalid(format!("expected arrays named {inputs}, found {found}")));
                }
                Ok(arrays.found)
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

    /// A statistic of the rows of the table, of the pictures, or of the batch.
    fn statistic(
        &self,
        name: &str,
        pictures: &[PathBuf],
        inputs: &Inputs,
        of: &dyn Fn(&mut [f64]) -> f64,
    ) -> Result<BTreeMap<String, Tensor>> {
        let single = || {
            Error::usage(format!("baseline {name}: expected several rows, found one"))
                .with_remedy(Remedy::SeveralRows)
        };
        if let Some(path) = &self.sources.table {
            let row = |rows: &[Row]| {
                let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.values.clone()).collect();
                by_element(&rows, of).ok_or_else(single)
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
            let values = narrow(&by_element(&rows, of).ok_or_else(single)?);
            return Ok(BTreeMap::from([(input.name.clone(), Tensor::from_f32(tensors[0].dims(), &values))]));
        }
        let mut all = BTreeMap::new();
        for input in self.explained {
            let Some(tensor) = inputs.tensors.get(&input.name) else { continue };
            let [count, rest @ ..] = tensor.dims() else { return Err(single()) };
            let size = tensor.elems().checked_div(*count).unwrap_or(0).max(1);
            let rows: Vec<Vec<f64>> = tensor.to_f64().chunks(size).map(<[f64]>::to_vec).collect();
            let values = narrow(&by_element(&rows, of).ok_or_else(single)?);
            all.insert(input.name.clone(), Tensor::from_f32(rest, &values));
        }
        Ok(all)
    }

    /// The inputs that a row made of the rows of a table fills.
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

    fn picture(&self, path: &Path, input: &InputInfo) -> Result<Tensor> {
        // The notes on pictures were printed for the explained ones.
        let notes = &Silent;
        let picture = picture::read(path, input, &self.sources.picture, self.max_bytes, notes);
        Ok(picture.with_context(|| format!("`{}`", path.display()))?.tensor)
    }
}

/// A statistic over rows of one length, element by element; `None` of fewer than two rows.
fn by_element(rows: &[Vec<f64>], of: &dyn Fn(&mut [f64]) -> f64) -> Option<Vec<f64>> {
    let [first, _, ..] = rows else { return None };
    let column = |i: usize| rows.iter().filter_map(|row| row.get(i).copied()).collect::<Vec<f64>>();
    Some((0..first.len()).map(|i| of(&mut column(i))).collect())
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}
