//! Subjects of an evaluation: the model that answers, the samples, and the methods that explain.

use std::borrow::Cow;

use dlbc_compiler::Quantity;
use dlbc_ops::program::Mode;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Position, Random, Request, SeedValue, Session, Target, Tensors, rows};

use super::features::Features;
use super::fill::Blank;
use super::measure::softmax;
use crate::error::{Result, ResultExt};
use crate::explainer::Explainer;

/// Largest number of input elements of one run; a single sample may have more.
const ELEMENTS: usize = 1 << 20;

/// Largest number of samples in a run.
const ROWS: usize = 64;

/// Largest number of samples in an explaining run, which keeps more values of each.
const EXPLAINED: usize = 16;

/// Sample with its unchanged outputs and the values that replace its features.
pub struct Case {
    /// Name of the sample in reports.
    pub name: String,
    /// Input tensors, with a batch of one.
    pub tensors: Tensors,
    /// Features that are replaced.
    pub features: Features,
    /// Explained sequence position of an output `[batch, position, unit]`; negative counts from the end.
    pub position: i64,
    /// Outputs `[unit]` at that position.
    pub units: Vec<f64>,
    /// Index of the explained unit.
    pub target: usize,
    /// Tensor with the replacements of all features.
    pub blank: Blank,
    /// Empty input that features are inserted into: the blank, or the blurred picture.
    pub start: Blank,
    /// Standard deviation of each element over the samples, the unit of the noise of max-sensitivity; `None` for a unit of 1.
    pub scale: Option<Vec<f64>>,
    /// True for each feature that is evidence; `None` without a mask file.
    pub mask: Option<Vec<bool>>,
}

/// Model that answers.
pub struct Model {
    session: Session,
    /// True if the outputs are logits, of which [`Model::answer`] takes the softmax.
    pub softmax: bool,
}

impl Model {
    /// Creates a model whose outputs are taken without a softmax.
    pub fn new(session: Session) -> Model {
        Model { session, softmax: false }
    }

    /// Returns the shape of the explained output.
    ///
    /// # Errors
    /// As [`Session::predict`].
    pub fn shape(&self, inputs: &Tensors) -> Result<Vec<usize>> {
        let outputs = self.session.predict(inputs)?;
        let explained = outputs.get(&self.session.program().info.explained);
        Ok(explained
            .context("expected the explained output among those of the run, found none")?
            .dims()
            .to_vec())
    }

    /// Returns the outputs `[unit]` of each of `count` inputs of one shape at a position, several inputs in a run. At most one
    /// run's inputs are in memory at a time.
    ///
    /// # Errors
    /// As [`Session::predict`].
    pub fn units(
        &self,
        inputs: impl Iterator<Item = Tensors>,
        count: usize,
        position: i64,
    ) -> Result<Vec<Vec<f64>>> {
        let mut inputs = inputs.take(count).peekable();
        let Some(first) = inputs.peek() else { return Ok(vec![]) };
        let elements = first.values().map(Tensor::elems).sum::<usize>().max(1);
        let most = if self.session.takes_rows() { (ELEMENTS / elements).clamp(1, ROWS) } else { 1 };
        // Runs of one size share a plan: the last is filled up with its last input.
        let size = count.div_ceil(count.div_ceil(most));
        let explained = &self.session.program().info.explained;
        let mut unit_rows = Vec::with_capacity(count);
        loop {
            let chunk: Vec<Tensors> = inputs.by_ref().take(size).collect();
            let Some(last) = chunk.last() else { return Ok(unit_rows) };
            let mut parts: Vec<&Tensors> = chunk.iter().collect();
            parts.extend(std::iter::repeat_n(last, size - chunk.len()));
            let outputs = match parts.as_slice() {
                [only] => self.session.predict(only)?,
                _ => self.session.predict(&rows::stack(&parts).context("samples of different shapes")?)?,
            };
            let output = outputs
                .get(explained)
                .context("expected the explained output among those of the run, found none")?;
            unit_rows.extend((0..chunk.len()).map(|row| at(output, row, size, position)));
        }
    }

    /// Returns the point of a curve for these outputs: the target's probability, or its value where the outputs are not
    /// logits.
    pub fn answer(&self, units: &[f64], target: usize) -> f64 {
        let values = if self.softmax { Cow::Owned(softmax(units)) } else { Cow::Borrowed(units) };
        values.get(target).copied().unwrap_or(f64::NAN)
    }

    /// Returns the [`answer`](Model::answer) to each of `count` inputs.
    ///
    /// # Errors
    /// As [`Session::predict`].
    pub fn answers(
        &self,
        inputs: impl Iterator<Item = Tensors>,
        count: usize,
        case: &Case,
    ) -> Result<Vec<f64>> {
        let units = self.units(inputs, count, case.position)?;
        Ok(units.iter().map(|u| self.answer(u, case.target)).collect())
    }
}

/// Returns the outputs `[unit]` of a row at a position.
fn at(output: &Tensor, row: usize, rows: usize, position: i64) -> Vec<f64> {
    let values = output.to_f64();
    let size = values.len().checked_div(rows).unwrap_or(0);
    let outputs = &values[row * size..(row + 1) * size];
    let [_, positions, units] = output.dims() else { return outputs.to_vec() };
    let from = if position < 0 { position + *positions as i64 } else { position };
    let from = usize::try_from(from).unwrap_or(0).min(positions.saturating_sub(1)) * units;
    outputs[from..from + units].to_vec()
}

/// Explanation method: a composite or a control.
pub enum Method {
    /// Composite, and the start value of its targets.
    Composite(Box<Explainer>, SeedValue),
    /// Uniform random relevance from this seed, different for every stream.
    Random(u64),
    /// Equal relevance for all features.
    Equal,
}

/// Relevance of a sample's features, with the ledger sums of its run.
pub struct Map {
    /// Relevance of each feature.
    pub relevance: Vec<f64>,
    /// Sums of the ledger: seed, inputs, absorbed. `None` for a control.
    pub ledger_sums: Option<[f64; 3]>,
}

impl Method {
    /// Creates the method of a composite. The seed is the output's value, so that relevance for a negative output has the
    /// opposite sign and a small change of the output is a small change of the map; derivatives, and both tracks in
    /// contrastive mode, have a seed of 1.
    pub fn composite(explainer: Explainer, quantity: Quantity) -> Method {
        let info = explainer.info();
        let start = match (quantity, info.mode) {
            (Quantity::Gradient, _) if info.repeat.is_none() => SeedValue::One,
            // The rivals of a contrast start with as much as the target.
            (_, Mode::Contrastive) => SeedValue::One,
            (Quantity::Gradient | Quantity::GradientTimesInput | Quantity::Relevance, Mode::Default) => {
                SeedValue::Value
            }
        };
        Method::Composite(Box::new(explainer), start)
    }

    /// Returns the relevance of the features of a sample for a unit, with the ledger sums of a composite.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn explain(&self, case: &Case, target: usize, stream: u64) -> Result<Map> {
        let Method::Composite(explainer, start) = self else {
            return Ok(Map { relevance: self.control(case, stream), ledger_sums: None });
        };
        let mut request = explainer.on_demand(request(case, target, *start));
        request.ledger = explainer.info().repeat.is_none();
        let explanation = explainer.explain_with(&case.tensors, &request)?;
        let mut ledger_sums = [0.0; 3];
        for track in explanation.tracks() {
            ledger_sums.iter_mut().zip(track.sums()).for_each(|(sum, v)| *sum += v);
        }
        let relevance = case.features.sums(&map(&explanation, &case.features.input)?);
        Ok(Map { relevance, ledger_sums: Some(ledger_sums) })
    }

    /// Returns the relevance of the features for a unit with a seed of 1, whatever its value: its map up to size and sign.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn of_unit(&self, case: &Case, target: usize, stream: u64) -> Result<Vec<f64>> {
        let Method::Composite(explainer, _) = self else { return Ok(self.control(case, stream)) };
        let request = explainer.on_demand(request(case, target, SeedValue::One));
        let explanation = explainer.explain_with(&case.tensors, &request)?;
        let start: f64 = explanation.seed.to_f64().iter().sum();
        let sums = case.features.sums(&map(&explanation, &case.features.input)?);
        // A unit with a negative value starts with a negative number: rules are linear in it.
        Ok(if start < 0.0 { sums.into_iter().map(|v| -v).collect() } else { sums })
    }

    /// Returns the relevance of the features of several changed samples, for the explained unit of the unchanged sample.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn explain_all(
        &self,
        case: &Case,
        mut changed: impl Iterator<Item = Tensors>,
        stream: u64,
    ) -> Result<Vec<Vec<f64>>> {
        let Method::Composite(explainer, start) = self else {
            return Ok(changed.enumerate().map(|(i, _)| self.control(case, stream + i as u64)).collect());
        };
        let most = if explainer.takes_rows() { EXPLAINED } else { 1 };
        let request = explainer.on_demand(request(case, case.target, *start));
        let mut maps = vec![];
        loop {
            let chunk: Vec<Tensors> = changed.by_ref().take(most).collect();
            if chunk.is_empty() {
                return Ok(maps);
            }
            let parts: Vec<&Tensors> = chunk.iter().collect();
            let stacked = rows::stack(&parts).context("samples of different shapes")?;
            let explanation = explainer.explain_with(&stacked, &request)?;
            let values = map(&explanation, &case.features.input)?;
            let size = (values.len() / chunk.len()).max(1);
            maps.extend(values.chunks(size).map(|row| case.features.sums(row)));
        }
    }

    fn control(&self, case: &Case, stream: u64) -> Vec<f64> {
        match self {
            Method::Random(seed) => {
                let mut random = Random::new(*seed, stream);
                (0..case.features.count()).map(|_| random.unit()).collect()
            }
            Method::Composite(..) | Method::Equal => vec![1.0; case.features.count()],
        }
    }
}

fn request(case: &Case, target: usize, start: SeedValue) -> Request {
    Request::new()
        .target(Target::Index(target as i64))
        .seed_value(start)
        .position(Position::At(case.position))
}

/// Returns the evaluated map of an explanation: its relevance; in contrastive mode, supporting minus opposing relevance.
fn map(explanation: &Explanation, input: &str) -> Result<Vec<f64>> {
    Ok(explanation.net(input).with_context(|| format!("input `{input}` has no relevance"))?.to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_a_row_at_a_position() {
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let tensor = |dims: &[usize]| Tensor::from_f32(dims, &values);
        assert_eq!(at(&tensor(&[2, 6]), 1, 2, -1), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(at(&tensor(&[2, 3, 2]), 1, 2, -1), [10.0, 11.0]);
        assert_eq!(at(&tensor(&[2, 3, 2]), 0, 2, 1), [2.0, 3.0]);
        assert_eq!(at(&tensor(&[12]), 5, 12, -1), [5.0]);
    }
}
