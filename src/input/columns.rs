//! Assignment of the columns of a table to inputs: all columns to one input, or each column to the input of its name.

use std::collections::BTreeMap;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::Tensor;

use super::feature::{Columns, Feature};
use super::sources::Words;
use super::table::Row;
use super::{fit, only};
use crate::error::{Error, Result, ResultExt};
use crate::notes::Notes;
use crate::wording::{plural, visible};

/// Largest number of columns that a message lists.
const LISTED: usize = 8;

/// Assignment of the columns of a table to inputs.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// Indices of the inputs, each with the indices of its columns in order.
    inputs: Vec<(usize, Vec<usize>)>,
}

impl Plan {
    /// Assigns columns to inputs: by name if the model has several inputs, else all columns by position. `present` are the inputs
    /// that have tensors already.
    ///
    /// # Errors
    /// When no input or no column matches, or there are too many or too few columns.
    pub fn new(
        infos: &[InputInfo],
        header: &[String],
        present: &BTreeMap<String, Tensor>,
        notes: &dyn Notes,
    ) -> Result<Plan> {
        let row = |i: &&InputInfo| matches!(i.ty.rank(), 1 | 2);
        let floats =
            infos.iter().filter(row).filter(|i| i.ty.dtype.is_float() && !present.contains_key(&i.name));
        let several = floats.count() != 1 || infos.iter().filter(|i| scalar(i)).count() > 1;
        if several && infos.iter().any(scalar) {
            return Plan::by_name(infos, header, present, notes);
        }
        let fits = |i: &InputInfo| row(&i) && i.ty.dtype.is_float() && !present.contains_key(&i.name);
        let input = only(infos, "a table", "one float input of one or two axes", fits)?;
        let width = input.ty.dim(input.ty.rank() - 1).as_known().and_then(|n| usize::try_from(n).ok());
        if let Some(width) = width.filter(|w| *w != header.len()) {
            let surplus = if header.len() > width { surplus(header, width) } else { String::new() };
            return Err(Error::invalid(format!(
                "invalid table for input `{}`: expected {}, found {}{surplus}",
                visible(&input.name),
                plural(width, "column"),
                header.len()
            )));
        }
        let index = infos.iter().position(|i| i.name == input.name).unwrap_or(0);
        notes.note(format!(
            "columns are taken by position: the model has one input, `{}`, and no names of its columns",
            visible(&input.name)
        ));
        Ok(Plan { inputs: vec![(index, (0..header.len()).collect())] })
    }

    /// Assigns each column to the input of its name.
    fn by_name(
        infos: &[InputInfo],
        header: &[String],
        present: &BTreeMap<String, Tensor>,
        notes: &dyn Notes,
    ) -> Result<Plan> {
        let mut inputs = vec![];
        for (index, info) in infos.iter().enumerate() {
            if !scalar(info) || present.contains_key(&info.name) {
                continue;
            }
            let exact: Vec<usize> = positions(header, |h| *h == info.name);
            let columns = if exact.is_empty() {
                positions(header, |h| normalize(h) == normalize(&info.name))
            } else {
                exact
            };
            match columns.as_slice() {
                [] => {}
                [column] => inputs.push((index, vec![*column])),
                _ => {
                    let name = visible(&info.name);
                    return Err(Error::invalid(format!(
                        "{} columns have the name of input `{name}`: expected one",
                        columns.len()
                    )));
                }
            }
        }
        let listed = |names: Vec<&String>| {
            let quoted: Vec<String> =
                names.iter().take(LISTED).map(|n| format!("`{}`", visible(n))).collect();
            format!("{}{}", quoted.join(", "), if names.len() > LISTED { ", ..." } else { "" })
        };
        let missing: Vec<&String> = (infos.iter().enumerate())
            .filter(|(i, info)| {
                scalar(info)
                    && !present.contains_key(&info.name)
                    && inputs.iter().all(|(index, _)| index != i)
            })
            .map(|(_, info)| &info.name)
            .collect();
        if inputs.is_empty() {
            return Err(Error::usage(format!(
                "no column has the name of an input: expected {}, found {}",
                listed(missing),
                listed(header.iter().collect())
            )));
        }
        if !missing.is_empty() {
            notes.note(format!("no column for {}", listed(missing)));
        }
        let used = |c: &usize| inputs.iter().any(|(_, columns)| columns.contains(c));
        let unused: Vec<&String> = (0..header.len()).filter(|c| !used(c)).map(|c| &header[c]).collect();
        if !unused.is_empty() {
            let are = if unused.len() == 1 {
                "is not used: no input has its name"
            } else {
                "are not used: no inputs have their names"
            };
            notes.note(format!(
                "{} {} {are}",
                if unused.len() == 1 { "column" } else { "columns" },
                listed(unused)
            ));
        }
        Ok(Plan { inputs })
    }

    /// Returns the indices of the columns to read, in the order in which [`Plan::tensors`] expects their values.
    pub fn columns(&self) -> Vec<usize> {
        self.inputs.iter().flat_map(|(_, columns)| columns).copied().collect()
    }

    /// Returns the indices of the columns of inputs that are strings.
    pub fn word_columns(&self, infos: &[InputInfo], words: &Words) -> Vec<usize> {
        let of_words = self.inputs.iter().filter(|(index, _)| words.holds(&infos[*index].name));
        of_words.flat_map(|(_, columns)| columns).copied().collect()
    }

    /// Returns the table's features and the tensors of the rows, by input.
    ///
    /// # Errors
    /// When an input of integers cannot hold a value, or an input takes a single row and there are several.
    pub fn tensors(
        &self,
        infos: &[InputInfo],
        header: &[String],
        rows: &[Row],
    ) -> Result<(Columns, Vec<(String, Tensor)>)> {
        let mut table = Columns { rows: rows.iter().map(|r| r.number).collect(), ..Columns::default() };
        let (mut tensors, mut first) = (vec![], 0);
        let is_only_input = self.inputs.len() == 1;
        for (index, columns) in &self.inputs {
            let (info, width) = (&infos[*index], columns.len());
            let takes_one_row = is_only_input && info.ty.rank() == 1;
            let batch = info.ty.shape.0.first().and_then(|d| d.as_known());
            if rows.len() > 1 && (takes_one_row || batch.is_some_and(|n| n != rows.len() as i64)) {
                return Err(Error::usage(format!(
                    "input `{}` {} takes a fixed number of rows: found {}, expected one at a time or a model with an open batch",
                    visible(&info.name),
                    info.ty,
                    plural(rows.len(), "row")
                )));
            }
            let values: Vec<f64> =
                rows.iter().flat_map(|r| &r.values[first..first + width]).copied().collect();
            first += width;
            if !info.ty.dtype.is_float()
                && let Some(bad) = values.iter().position(|v| v.fract() != 0.0 || v.abs() > 9e15)
            {
                return Err(Error::invalid(format!(
                    "row {}, column {} `{}`: expected a whole number for input `{}`, found {}",
                    rows[bad / width].number,
                    columns[bad % width] + 1,
                    visible(&header[columns[bad % width]]),
                    visible(&info.name),
                    values[bad]
                )));
            }
            let dims = match info.ty.rank() {
                1 if takes_one_row => vec![width],
                1 => vec![rows.len()],
                _ => vec![rows.len(), width],
            };
            let tensor =
                fit::from_f64(info.ty.dtype, &dims, &values).context("the rows do not fill their tensor")?;
            tensors.push((info.name.clone(), tensor));
            let features = columns.iter().enumerate();
            table.features.extend(features.map(|(i, column)| Feature {
                name: header[*column].clone(),
                input: info.name.clone(),
                index: i,
            }));
        }
        Ok((table, tensors))
    }
}

/// Returns whether an input takes a single value per row.
fn scalar(info: &InputInfo) -> bool {
    match info.ty.rank() {
        1 => true,
        2 => info.ty.dim(1).as_known() == Some(1),
        _ => false,
    }
}

/// Returns the indices of the columns whose names match a predicate.
fn positions(header: &[String], matches: impl Fn(&String) -> bool) -> Vec<usize> {
    (0..header.len()).filter(|c| matches(&header[*c])).collect()
}

/// Replaces every character that is not a letter or digit by `_`, as exporters of models do.
fn normalize(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// Describes the columns beyond the expected number, and a first column that looks like row numbers.
fn surplus(header: &[String], expected: usize) -> String {
    let past: Vec<String> =
        header[expected..].iter().take(LISTED).map(|n| format!("`{}`", visible(n))).collect();
    let rest = if header.len() - expected > LISTED { ", ..." } else { "" };
    let first = header[0].to_lowercase();
    let index = matches!(first.as_str(), "" | "index" | "id" | "row" | "unnamed: 0");
    let index = if index {
        format!("; the first, `{}`, looks like row numbers", visible(&header[0]))
    } else {
        String::new()
    };
    format!(
        "; by position {}{rest} {} too many{index}",
        past.join(", "),
        if past.len() == 1 { "is one" } else { "are" }
    )
}

#[cfg(test)]
mod tests {
    use dlbc_ops::tensor::{DType, Dim, TensorType};

    use super::*;
    use crate::notes::Silent;

    const QUIET: &dyn Notes = &Silent;

    fn input(name: &str, dtype: DType, dims: &[&str]) -> InputInfo {
        let shape: Vec<Dim> = dims.iter().map(|d| d.parse().unwrap()).collect();
        InputInfo { name: name.into(), ty: TensorType::new(dtype, shape), explained: true }
    }

    fn plan(infos: &[InputInfo], header: &[&str]) -> Result<Plan, String> {
        let header: Vec<String> = header.iter().map(ToString::to_string).collect();
        Plan::new(infos, &header, &BTreeMap::new(), QUIET).map_err(|e| e.to_string())
    }

    #[test]
    fn one_input_takes_all_columns() {
        let infos = [input("X", DType::F32, &["n", "2"])];
        assert_eq!(plan(&infos, &["a", "b"]).unwrap().columns(), [0, 1]);
        let error = plan(&infos, &["id", "a", "b"]).unwrap_err();
        assert_eq!(
            error,
            "invalid table for input `X`: expected 2 columns, found 3; by position `b` is one too many; the first, `id`, looks like row numbers"
        );
        assert_eq!(
            plan(&infos, &["a"]).unwrap_err(),
            "invalid table for input `X`: expected 2 columns, found 1"
        );
    }

    #[test]
    fn several_inputs_take_the_columns_of_their_names() {
        let infos = [input("age", DType::F32, &["n", "1"]), input("net_income", DType::I64, &["n", "1"])];
        let plan = plan(&infos, &["id", "net income", "age"]).unwrap();
        assert_eq!(plan, Plan { inputs: vec![(0, vec![2]), (1, vec![1])] });
        let header: Vec<String> = ["id", "net income", "age"].map(String::from).into();
        let row = |number, values: [f64; 2]| Row { number, values: values.into() };
        let rows = [row(3, [40.0, 7.0]), row(5, [41.5, 8.0])];
        let (table, tensors) = plan.tensors(&infos, &header, &rows).unwrap();
        assert_eq!(table.rows, [3, 5]);
        assert_eq!((tensors[0].1.dims(), tensors[0].1.to_f32()), (&[2, 1][..], vec![40.0, 41.5]));
        assert_eq!((tensors[1].1.dims(), tensors[1].1.to_i64().to_vec()), (&[2, 1][..], vec![7, 8]));
        assert_eq!(table.features[1].name, "net income");
        let error = plan.tensors(&infos, &header, &[row(9, [1.0, 2.5])]).unwrap_err().to_string();
        assert!(error.starts_with("row 9, column 2 `net income`: expected a whole number"), "{error}");
    }

    #[test]
    fn a_note_lists_names_that_match_no_input() {
        let infos = [input("age", DType::F32, &["n", "1"]), input("debt", DType::F32, &["n", "1"])];
        let error = plan(&infos, &["x", "y"]).unwrap_err();
        assert_eq!(error, "no column has the name of an input: expected `age`, `debt`, found `x`, `y`");
        assert!(
            plan(&infos, &["age", "age", "debt"]).unwrap_err().contains("2 columns have the name of input")
        );
    }

    #[test]
    fn several_rows_need_a_batch() {
        let infos = [input("x", DType::F32, &["1", "2"])];
        let header: Vec<String> = ["a", "b"].map(String::from).into();
        let plan = plan(&infos, &["a", "b"]).unwrap();
        let rows = [0, 1].map(|number| Row { number, values: vec![1.0, 2.0] });
        assert!(plan.tensors(&infos, &header, &rows[..1]).is_ok());
        assert!(
            plan.tensors(&infos, &header, &rows).unwrap_err().to_string().contains("expected one at a time")
        );
    }
}
