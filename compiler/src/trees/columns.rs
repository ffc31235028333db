//! Origins of features: the element of an input, or of the result of a layer that mixes several, from which a feature is
//! computed alone.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::program::{EnsembleInfo, SourceInfo};
use dlbc_ops::tensor::Dim;

/// Largest number of elements of a row that is followed.
const MAX_ELEMENTS: usize = 1 << 20;

/// Origin of an element of a row: the index of a source and of an element of its rows; `None` for a constant.
type Origin = Option<(usize, usize)>;

/// Origins of the elements of the values of a graph.
pub struct Columns<'a> {
    graph: &'a Graph<Op>,
    /// Dimension of the rows.
    rows: Dim,
    origins: HashMap<Value, Vec<Origin>>,
    sources: Vec<SourceInfo>,
}

impl<'a> Columns<'a> {
    /// Follows the elements of all values.
    pub fn new(graph: &'a Graph<Op>, rows: Dim) -> Columns<'a> {
        let mut columns = Columns { graph, rows, origins: HashMap::new(), sources: vec![] };
        for id in graph.topological() {
            if matches!(graph.op(id), Op::Const(_) | Op::Dims { .. }) {
                continue;
            }
            for slot in 0..graph.node(id).types.len() {
                let v = Value { node: id, slot };
                let Some(row) = columns.row(v) else { continue };
                let origins = (slot == 0).then(|| columns.combined(id, &row)).flatten();
                let origins = origins.unwrap_or_else(|| columns.source(v, row));
                columns.origins.insert(v, origins);
            }
        }
        columns
    }

    /// Returns the origins of a value's elements, or nothing if it has no rows.
    pub fn of(&self, v: Value) -> Vec<Origin> {
        self.origins.get(&v).cloned().unwrap_or_default()
    }

    /// Returns the sources that ensembles read, and renumbers them in the ensembles.
    pub fn compact(self, ensembles: &mut [EnsembleInfo]) -> Vec<SourceInfo> {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut sources = vec![];
        for (source, _) in ensembles.iter_mut().flat_map(|e| e.features.iter_mut().flatten()) {
            let next = sources.len();
            let number = *numbers.entry(*source).or_insert(next);
            if number == next {
                sources.push(self.sources[*source].clone());
            }
            *source = number;
        }
        sources
    }

    /// Returns the dimensions of a row of a value; `None` if its first axis is not that of the rows, or a dimension is open.
    fn row(&self, v: Value) -> Option<Vec<usize>> {
        let shape = &self.graph.ty(v).shape.0;
        if shape.first() != Some(&self.rows) {
            return None;
        }
        let dims: Option<Vec<usize>> =
            shape[1..].iter().map(|d| d.as_known().and_then(|d| usize::try_from(d).ok())).collect();
        dims.filter(|dims| {
            dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_some_and(|n| n <= MAX_ELEMENTS)
        })
    }

    /// Makes a value a source of its own.
    fn source(&mut self, v: Value, dims: Vec<usize>) -> Vec<Origin> {
        let index = self.sources.len();
        let count = dims.iter().product();
        let name = self.graph.value_name(v).to_string();
        let is_input = matches!(self.graph.op(v.node), Op::Input);
        self.sources.push(SourceInfo { name, dims, is_input });
        (0..count).map(|i| Some((index, i))).collect()
    }

    /// Returns the origins of a node's result; `None` if an element has several, or the operator is not followed.
    fn combined(&self, id: NodeId, row: &[usize]) -> Option<Vec<Origin>> {
        let (graph, inputs) = (self.graph, self.graph.node_inputs(id));
        let count: usize = row.iter().product();
        let x = |k: usize| inputs.get(k).and_then(|v| self.origins.get(v));
        let dims = |k: usize| inputs.get(k).and_then(|v| self.row(*v));
        match graph.op(id) {
            Op::Cast(_)
            | Op::Activation(_)
            | Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Arithmetic(_)
            | Op::Extremum(_)
            | Op::Compare(_)
            | Op::Select(_)
            | Op::Expand(_) => self.elementwise(&inputs, row),
            Op::Reshape(_) => x(0).filter(|x| x.len() == count).cloned(),
            Op::Concat(concat) if concat.axis > 0 => {
                let outer: usize = row[..concat.axis - 1].iter().product();
                let parts: Option<Vec<&Vec<Origin>>> = inputs.iter().map(|v| self.origins.get(v)).collect();
                let parts = parts?;
                let part = |o: usize| {
                    parts
                        .iter()
                        .flat_map(move |p| p[o * (p.len() / outer)..(o + 1) * (p.len() / outer)].iter())
                };
                Some((0..outer).flat_map(part).copied().collect())
            }
            Op::Slice(slice) if slice.axis > 0 => {
                let (start, axis) = (slice.start.as_known()?, slice.axis - 1);
                let index = |i: usize| usize::try_from(start + i as i64 * slice.step).ok();
                self.picked(x(0)?, &dims(0)?, axis, (0..row[axis]).map(index))
            }
            Op::Gather(gather) => match (x(0), x(1)) {
                (Some(data), None) if gather.axis > 0 => {
                    let (dims, axis) = (dims(0)?, gather.axis - 1);
                    let size = dims[axis] as i64;
                    let indices = graph.constant(*inputs.get(1)?)?.to_i64().to_vec();
                    let index = |i: i64| usize::try_from(if i < 0 { i + size } else { i }).ok();
                    self.picked(data, &dims, axis, indices.into_iter().map(index))
                }
                (None, Some(indices)) if gather.axis == 0 && graph.constant(inputs[0]).is_some() => {
                    let width = count.checked_div(indices.len())?;
                    Some(indices.iter().flat_map(|origin| std::iter::repeat_n(*origin, width)).collect())
                }
                _ => None,
            },
            Op::Arg(arg) if arg.axis > 0 => self.reduced(x(0)?, &dims(0)?, &[arg.axis]),
            Op::Reduce(reduce) => self.reduced(x(0)?, &dims(0)?, &reduce.axes),
            _ => None,
        }
    }

    /// Returns the common origin of the operands' elements, which broadcast to `row`.
    fn elementwise(&self, inputs: &[Value], row: &[usize]) -> Option<Vec<Origin>> {
        let mut result: Vec<Origin> = vec![None; row.iter().product()];
        for v in inputs {
            let Some(origins) = self.origins.get(v) else {
                // Constants have no origin; other values without rows are not followed.
                if self.graph.constant(*v).is_some() {
                    continue;
                } else {
                    return None;
                };
            };
            let dims = self.row(*v)?;
            if dims.len() != row.len() {
                return None;
            }
            for (i, origin) in result.iter_mut().enumerate() {
                let (mut rest, mut offset, mut stride) = (i, 0, 1);
                for axis in (0..row.len()).rev() {
                    let index = rest % row[axis];
                    rest /= row[axis];
                    offset += if dims[axis] == 1 { 0 } else { index * stride };
                    stride *= dims[axis];
                }
                join(origin, *origins.get(offset)?)?;
            }
        }
        Some(result)
    }

    /// Returns the elements at these indices along an axis of the rows.
    fn picked(
        &self,
        data: &[Origin],
        dims: &[usize],
        axis: usize,
        indices: impl Iterator<Item = Option<usize>>,
    ) -> Option<Vec<Origin>> {
        let indices: Vec<usize> = indices.collect::<Option<_>>()?;
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let mut result = vec![];
        for o in 0..outer {
            for index in &indices {
                let from = (o * dims[axis] + index) * inner;
                result.extend_from_slice(data.get(from..from + inner)?);
            }
        }
        Some(result)
    }

    /// Returns the common origin of the elements that a reduction joins.
    fn reduced(&self, data: &[Origin], dims: &[usize], axes: &[usize]) -> Option<Vec<Origin>> {
        if axes.contains(&0) {
            return None;
        }
        let reduces = |axis: usize| axes.contains(&(axis + 1));
        let size = dims.iter().enumerate().filter(|(axis, _)| !reduces(*axis)).map(|(_, d)| *d).product();
        let mut result: Vec<Origin> = vec![None; size];
        for (i, origin) in data.iter().enumerate() {
            let (mut rest, mut offset, mut stride) = (i, 0, 1);
            for axis in (0..dims.len()).rev() {
                let index = rest % dims[axis];
                rest /= dims[axis];
                if !reduces(axis) {
                    offset += index * stride;
                    stride *= dims[axis];
                }
            }
            join(result.get_mut(offset)?, *origin)?;
        }
        Some(result)
    }
}

/// Joins the origin of another operand; `None` if they differ.
fn join(origin: &mut Origin, other: Origin) -> Option<()> {
    match (*origin, other) {
        (_, None) => {}
        (None, _) => *origin = other,
        (Some(a), Some(b)) if a == b => {}
        _ => return None,
    }
    Some(())
}
