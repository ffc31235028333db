//! Symbols of a program, bound.

use super::Prim;
use crate::graph::Graph;
use crate::prim;
use crate::tensor::{Bindings, Dim, Tensor};

impl Prim {
    /// Replaces bound symbols. A fully bound `Dims` becomes a constant.
    pub fn substitute(&self, bindings: &Bindings) -> Prim {
        self.replace(&|symbol| bindings.get(symbol).map(|v| Dim::known(*v)))
    }

    /// Replaces the symbols for which `by` has a dimension. A `Dims` without symbols becomes a constant.
    pub fn replace(&self, by: &impl Fn(&str) -> Option<Dim>) -> Prim {
        let sub = |d: &Dim| d.replace(by);
        let subs = |d: &[Dim]| d.iter().map(|d| d.replace(by)).collect::<Vec<_>>();
        match self {
            Prim::Dims(prim::Dims { dims, values }) => {
                let values = subs(values);
                match values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
                    Some(known) => Prim::Const(Tensor::from_i64(dims, &known)),
                    None => Prim::Dims(prim::Dims { dims: dims.clone(), values }),
                }
            }
            Prim::ConvTranspose(prim::ConvTranspose { geometry, w, to }) => {
                Prim::ConvTranspose(prim::ConvTranspose { geometry: geometry.clone(), w: *w, to: subs(to) })
            }
            Prim::WindowSumTranspose(prim::WindowSumTranspose { window, to }) => {
                Prim::WindowSumTranspose(prim::WindowSumTranspose { window: window.clone(), to: subs(to) })
            }
            Prim::Reshape(prim::Reshape { to }) => Prim::Reshape(prim::Reshape { to: to.replace(by) }),
            Prim::Expand(prim::Expand { to }) => Prim::Expand(prim::Expand { to: to.replace(by) }),
            Prim::Slice(prim::Slice { axis, start, len, step }) => {
                Prim::Slice(prim::Slice { axis: *axis, start: sub(start), len: sub(len), step: *step })
            }
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, to, step }) => {
                Prim::SliceTranspose(prim::SliceTranspose {
                    axis: *axis,
                    start: sub(start),
                    to: sub(to),
                    step: *step,
                })
            }
            Prim::Pad(prim::Pad { before, after, mode }) => {
                Prim::Pad(prim::Pad { before: subs(before), after: subs(after), mode: *mode })
            }
            Prim::ScatterAdd(prim::ScatterAdd { axis, to }) => {
                Prim::ScatterAdd(prim::ScatterAdd { axis: *axis, to: sub(to) })
            }
            Prim::Iota(prim::Iota { len }) => Prim::Iota(prim::Iota { len: sub(len) }),
            Prim::TopK(prim::TopK { axis, k, largest }) => {
                Prim::TopK(prim::TopK { axis: *axis, k: sub(k), largest: *largest })
            }
            Prim::Merge(prim::Merge { condition }) => Prim::Merge(prim::Merge { condition: sub(condition) }),
            Prim::MergeTranspose(prim::MergeTranspose { condition, second, to }) => {
                Prim::MergeTranspose(prim::MergeTranspose {
                    condition: sub(condition),
                    second: *second,
                    to: to.replace(by),
                })
            }
            Prim::Scan(scan) => Prim::Scan(scan.replace(by)),
            _ => self.clone(),
        }
    }

    /// The dimensions that this primitive names.
    pub fn dims(&self) -> Vec<&Dim> {
        match self {
            Prim::Dims(prim::Dims { values, .. }) => values.iter().collect(),
            Prim::ConvTranspose(prim::ConvTranspose { to, .. })
            | Prim::WindowSumTranspose(prim::WindowSumTranspose { to, .. }) => to.iter().collect(),
            Prim::Reshape(prim::Reshape { to }) | Prim::Expand(prim::Expand { to }) => to.0.iter().collect(),
            Prim::Slice(prim::Slice { start, len, .. }) => vec![start, len],
            Prim::SliceTranspose(prim::SliceTranspose { start, to, .. }) => vec![start, to],
            Prim::Pad(prim::Pad { before, after, .. }) => before.iter().chain(after).collect(),
            Prim::ScatterAdd(prim::ScatterAdd { to, .. }) => vec![to],
            Prim::Iota(prim::Iota { len }) => vec![len],
            Prim::TopK(prim::TopK { k, .. }) => vec![k],
            Prim::Merge(prim::Merge { condition }) => vec![condition],
            Prim::MergeTranspose(prim::MergeTranspose { condition, to, .. }) => {
                [condition].into_iter().chain(&to.0).collect()
            }
            Prim::Scan(scan) => {
                let step = scan.body.graph();
                step.nodes().flat_map(|id| step.op(id).dims()).collect()
            }
            Prim::Input | Prim::Const(_) | Prim::Unary(_) | Prim::Binary(_) | Prim::Select => vec![],
            Prim::MatMul(_) | Prim::Conv(_) | Prim::WindowSum(_) | Prim::WindowMax(_) => vec![],
            Prim::WindowMaxShare(_) | Prim::Reduce(_) | Prim::Softmax(_) => vec![],
            Prim::Attention(_) | Prim::AttentionShare(_) | Prim::Transpose(_) => vec![],
            Prim::Concat(_) | Prim::Gather(_) | Prim::Overwrite | Prim::NonZero => vec![],
            Prim::NonMaxSuppression(_) | Prim::Cast(_) => vec![],
        }
    }
}

impl Graph<Prim> {
    /// Replaces bound symbols everywhere; node ids stay. With all symbols of the inputs bound, every type is known.
    pub fn bind(&self, bindings: &Bindings) -> Graph<Prim> {
        self.replace_symbols(&|symbol| bindings.get(symbol).map(|v| Dim::known(*v)))
    }

    /// Replaces the symbols for which `by` has a dimension everywhere; node ids stay.
    pub(super) fn replace_symbols(&self, by: &impl Fn(&str) -> Option<Dim>) -> Graph<Prim> {
        let mut bound = self.clone();
        let ids: Vec<_> = bound.nodes().collect();
        for id in ids {
            let node = bound.node_mut(id);
            node.op = node.op.replace(by);
            for ty in &mut node.types {
                ty.shape = ty.shape.replace(by);
            }
        }
        bound
    }

    /// Calls `visit` with each symbol in a node's primitive and in the type of its result.
    pub fn symbols(&self, id: crate::graph::NodeId, visit: &mut impl FnMut(&std::sync::Arc<str>)) {
        let node = self.node(id);
        node.op.dims().into_iter().for_each(|d| d.symbols(visit));
        node.types.iter().flat_map(|ty| &ty.shape.0).for_each(|d| d.symbols(visit));
    }
}
