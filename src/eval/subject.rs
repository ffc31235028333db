//! What is evaluated: the model that answers, the samples, and the methods that explain.

use std::borrow::Cow;

use dlbc_compiler::Quantity;
use dlbc_ops::program::Mode;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Position, Random, Request, Session, Start, Target, Tensors, rows};

use super::features::Features;
use super::fill::Blank;
use super::measure::softmax;
use crate::error::{Result, ResultExt};
use crate::explainer::Explainer;

/// Elements of the inputs of one run at most, but for a single sample.
const ELEMENTS: usize = 1 << 20;

/// Samples of a run at most.
const ROWS: usize = 64;

/// Samples of an explaining run at most: it keeps more of each.
const EXPLAINED: usize = 16;

/// A sample with what is known of it before anything is replaced.
pub struct Case {
    /// What to call it.
    pub name: String,
    /// Its tensors, a batch of one.
    pub tensors: Tensors,
    /// Its features.
    pub features: Features,
    /// The position that is explained, of outputs with positions.
    pub position: i64,
    /// The outputs at that position.
    pub units: Vec<f64>,
    /// The unit that is explained.
    pub target: usize,
    /// What its features are replaced by.
    pub blank: Blank,
    /// What features are inserted into: the blank, or the blurred picture.
    pub start: Blank,
    /// The standard deviation of each element over the samples, in whose units noise is measured.
    pub scale: Option<Vec<f64>>,
    /// Which features the evidence is.
    pub mask: Option<Vec<bool>>,
}

/// The model that answers.
pub struct Model {
    session: Session,
    /// Whether outputs are logits, so that a softmax makes probabilities of them.
    pub softmax: bool,
}

impl Model {
    /// A model whose outputs count as they are.
    pub fn new(session: Session) -> Model {
        Model { session, softmax: false }
    }

    /// The shape of the explained output.
    ///
    /// # Errors
    /// As [`Session::predict`].
    pub fn shape(&self, inputs: &Tensors) -> Result<Vec<usize>> {
        let outputs = self.session.predict(inputs)?;
        let explained = outputs.get(&self.session.program().info.explained);
        Ok(explained.context("the explained output is missing")?.dims().to_vec())
    }

    /// The outputs of `count` inputs of one shape at a position, several in a run. No more inputs than a run takes exist at
    /// a time.
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
        let mut found = Vec::with_capacity(count);
        loop {
            let chunk: Vec<Tensors> = inputs.by_ref().take(size).collect();
            let Some(last) = chunk.last() else { return Ok(found) };
            let mut parts: Vec<&Tensors> = chunk.iter().collect();
            parts.extend(std::iter::repeat_n(last, size - chunk.len()));
            let outputs = match parts.as_slice() {
                [only] => self.session.predict(only)?,
                _ => self.session.predict(&rows::stack(&parts).context("samples of different shapes")?)?,
            };
            let output = outputs.get(explained).context("the explained output is missing")?;
            found.extend((0..chunk.len()).map(|row| at(output, row, size, position)));
        }
    }

    /// What a curve shows of outputs: the target's probability, or its value where they are probabilities already.
    pub fn answer(&self, units: &[f64], target: usize) -> f64 {
        let shown = if self.softmax { Cow::Owned(softmax(units)) } else { Cow::Borrowed(units) };
        shown.get(target).copied().unwrap_or(f64::NAN)
    }

    /// [`answer`](Model::answer) for many inputs.
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

/// The outputs of a row at a position.
fn at(output: &Tensor, row: usize, rows: usize, position: i64) -> Vec<f64> {
    let values = output.to_f64();
    let size = values.len().checked_div(rows).unwrap_or(0);
    let own = &values[row * size..(row + 1) * size];
    let [_, positions, units] = output.dims() else { return own.to_vec() };
    let from = if position < 0 { position + *positions as i64 } else { position };
    let from = usize::try_from(from).unwrap_or(0).min(positions.saturating_sub(1)) * units;
    own[from..from + units].to_vec()
}

/// What explains: a composite or a control.
pub enum Method {
    /// A composite, and what its targets start with.
    Composite(Box<Explainer>, Start),
    /// Random numbers, others for every call.
    Random(u64),
    /// The same everywhere.
    Equal,
}

/// The relevance of a sample's features, and the books of the run that it is from.
pub struct Map {
    /// Of each feature.
    pub relevance: Vec<f64>,
    /// Starting relevance, what reached the inputs, and what was absorbed.
    pub books: Option<[f64; 3]>,
}

impl Method {
    /// The method of a composite. Relevance starts with the output's value, so that what is relevant for a negative output
    /// is relevant against it, and a small change of the output is a small change of the map; derivatives, and both tracks of
    /// a contrast, start with one.
    pub fn composite(explainer: Explainer, quantity: Quantity) -> Method {
        let info = explainer.info();
        let start = match (quantity, info.mode) {
            (Quantity::Gradient, _) if info.repeat.is_none() => Start::One,
            // The rivals of a contrast start with as much as the target.
            (_, Mode::Contrastive) => Start::One,
            (Quantity::Gradient | Quantity::GradientTimesInput | Quantity::Relevance, Mode::Default) => {
                Start::Value
            }
        };
        Method::Composite(Box::new(explainer), start)
    }

    /// The relevance of the features of a sample for a unit.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn explain(&self, case: &Case, target: usize, stream: u64) -> Result<Map> {
        let Method::Composite(explainer, start) = self else {
            return Ok(Map { relevance: self.control(case, stream), books: None });
        };
        let audit = explainer.info().repeat.is_none();
        let mut request = request(case, target, *start);
        request.ledger = audit;
        let made = explainer.explain_with(&case.tensors, &request)?;
        let mut books = [0.0; 3];
        for track in made.tracks() {
            books.iter_mut().zip(track.sums()).for_each(|(sum, v)| *sum += v);
        }
        Ok(Map { relevance: case.features.sums(&map(&made, &case.features.input)?), books: Some(books) })
    }

    /// The relevance of the features for a unit when it starts with one, whatever its value: what its map is but for size
    /// and sign.
    ///
    /// # Errors
    /// As [`Session::explain`].
    pub fn of_unit(&self, case: &Case, target: usize, stream: u64) -> Result<Vec<f64>> {
        let Method::Composite(explainer, _) = self else { return Ok(self.control(case, stream)) };
        let made = explainer.explain_with(&case.tensors, &request(case, target, Start::One))?;
        let start: f64 = made.seed.to_f64().iter().sum();
        let sums = case.features.sums(&map(&made, &case.features.input)?);
        // A unit with a negative value starts with a negative number: rules are linear in it.
        Ok(if start < 0.0 { sums.into_iter().map(|v| -v).collect() } else { sums })
    }

    /// The relevance of the features of several changed samples, for the unit that is explained of the sample as it is.
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
        let mut found = vec![];
        loop {
            let chunk: Vec<Tensors> = changed.by_ref().take(most).collect();
            if chunk.is_empty() {
                return Ok(found);
            }
            let parts: Vec<&Tensors> = chunk.iter().collect();
            let stacked = rows::stack(&parts).context("samples of different shapes")?;
            let made = explainer.explain_with(&stacked, &request(case, case.target, *start))?;
            let values = map(&made, &case.features.input)?;
            let size = (values.len() / chunk.len()).max(1);
            found.extend(values.chunks(size).map(|own| case.features.sums(own)));
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

fn request(case: &Case, target: usize, start: Start) -> Request {
    Request::new().target(Target::Index(target as i64)).start(start).position(Position::At(case.position))
}

/// The map of an explanation that is judged: of a contrast what supports minus what opposes.
fn map(made: &Explanation, input: &str) -> Result<Vec<f64>> {
    Ok(made.net(input).with_context(|| format!("input `{input}` has no relevance"))?.to_f64())
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
