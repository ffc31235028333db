//! Sums of trees: which multiples of the ensembles' columns a value is.

use std::collections::{BTreeMap, HashMap};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::program::ScoreInfo;
use dlbc_ops::tensor::{Dim, Tensor};

/// Largest number of columns that are followed.
const MAX_COLUMNS: usize = 1 << 16;

/// Returns the columns of each value that is a sum of trees and constants, `[row, column]` or `[row]`.
pub fn forms(graph: &Graph<Op>, ensembles: &[NodeId], rows: &Dim) -> HashMap<Value, Vec<ScoreInfo>> {
    let mut forms: HashMap<Value, Vec<ScoreInfo>> = HashMap::new();
    for id in graph.topological() {
        let v = Value { node: id, slot: 0 };
        let form = match ensembles.iter().position(|e| *e == id) {
            Some(ensemble) => {
                let columns = width(graph, v, rows).unwrap_or(0);
                let column = |c| ScoreInfo { offset: 0.0, terms: vec![(ensemble, c, 1.0)] };
                Some((0..columns).map(column).collect())
            }
            None => combined(graph, id, rows, &forms),
        };
        if let Some(form) = form {
            forms.insert(v, form);
        }
    }
    forms
}

/// Returns the number of columns of a value `[row, column]` or `[row]`.
fn width(graph: &Graph<Op>, v: Value, rows: &Dim) -> Option<usize> {
    let shape = &graph.ty(v).shape.0;
    if shape.first() != Some(rows) {
        return None;
    }
    let width = match &shape[1..] {
        [] => 1,
        [columns] => usize::try_from(columns.as_known()?).ok()?,
        _ => return None,
    };
    (width <= MAX_COLUMNS).then_some(width)
}

fn combined(
    graph: &Graph<Op>,
    id: NodeId,
    rows: &Dim,
    forms: &HashMap<Value, Vec<ScoreInfo>>,
) -> Option<Vec<ScoreInfo>> {
    let inputs = graph.node_inputs(id);
    let form = |k: usize| inputs.get(k).and_then(|v| forms.get(v));
    let width = width(graph, Value { node: id, slot: 0 }, rows)?;
    match graph.op(id) {
        Op::Cast(cast) if cast.to.is_float() => form(0).cloned(),
        Op::Reshape(_) => form(0).filter(|f| f.len() == width).cloned(),
        Op::Activation(Activation { f: Function::Unary(Unary::Neg) }) => Some(scaled(form(0)?, &[-1.0])),
        Op::Add(_) | Op::Sub(_) => {
            let sign = if matches!(graph.op(id), Op::Sub(_)) { -1.0 } else { 1.0 };
            let operand = |k: usize| form(k).cloned().or_else(|| constants(graph, *inputs.get(k)?, width));
            let (a, b) = (operand(0)?, operand(1)?);
            let column = |c: usize| {
                let (a, b) = (pick(&a, c, width)?, pick(&b, c, width)?);
                let mut terms: BTreeMap<(usize, usize), f64> = BTreeMap::new();
                a.terms.iter().for_each(|(e, c, f)| *terms.entry((*e, *c)).or_default() += f);
                b.terms.iter().for_each(|(e, c, f)| *terms.entry((*e, *c)).or_default() += sign * f);
                let terms = terms.into_iter().map(|((e, c), f)| (e, c, f)).collect();
                Some(ScoreInfo { offset: a.offset + sign * b.offset, terms })
            };
            (0..width).map(column).collect()
        }
        Op::Mul(_) => match (form(0), form(1)) {
            (Some(x), None) => Some(scaled(x, &factors(graph, inputs[1], x.len())?)),
            (None, Some(x)) => Some(scaled(x, &factors(graph, inputs[0], x.len())?)),
            _ => None,
        },
        Op::Div(_) => {
            let (x, divisors) = (form(0)?, factors(graph, *inputs.get(1)?, form(0)?.len())?);
            Some(scaled(x, &divisors.iter().map(|d| 1.0 / d).collect::<Vec<_>>()))
        }
        Op::Concat(concat) if concat.axis == 1 => {
            let parts: Option<Vec<&Vec<ScoreInfo>>> = inputs.iter().map(|v| forms.get(v)).collect();
            Some(parts?.into_iter().flatten().cloned().collect())
        }
        Op::Slice(slice) if slice.axis == 1 && slice.step == 1 => {
            let start = usize::try_from(slice.start.as_known()?).ok()?;
            form(0)?.get(start..start + width).map(<[ScoreInfo]>::to_vec)
        }
        Op::Gather(gather) if gather.axis == 1 => {
            let (x, indices) = (form(0)?, graph.constant(*inputs.get(1)?)?.to_i64().to_vec());
            let index = |i: &i64| usize::try_from(if *i < 0 { i + x.len() as i64 } else { *i }).ok();
            indices.iter().map(|i| x.get(index(i)?).cloned()).collect()
        }
        _ => None,
    }
}

/// Returns column `c` of a form of `width` columns or of one.
fn pick(form: &[ScoreInfo], c: usize, width: usize) -> Option<&ScoreInfo> {
    match form.len() {
        1 => form.first(),
        len if len == width => form.get(c),
        _ => None,
    }
}

fn scaled(form: &[ScoreInfo], factors: &[f64]) -> Vec<ScoreInfo> {
    let factor = |c: usize| factors[if factors.len() == 1 { 0 } else { c }];
    let scale = |(c, s): (usize, &ScoreInfo)| ScoreInfo {
        offset: s.offset * factor(c),
        terms: s.terms.iter().map(|(e, column, f)| (*e, *column, f * factor(c))).collect(),
    };
    form.iter().enumerate().map(scale).collect()
}

/// Returns the elements of a constant that is a scalar or a row of `width` columns.
fn factors(graph: &Graph<Op>, v: Value, width: usize) -> Option<Vec<f64>> {
    let constant: &Tensor = graph.constant(v)?;
    let values = constant.to_f64();
    let is_row = constant.dims().iter().rev().skip(1).all(|d| *d == 1);
    (is_row && (values.len() == 1 || values.len() == width)).then_some(values)
}

fn constants(graph: &Graph<Op>, v: Value, width: usize) -> Option<Vec<ScoreInfo>> {
    let values = factors(graph, v, width)?;
    Some(values.into_iter().map(|offset| ScoreInfo { offset, terms: vec![] }).collect())
}
