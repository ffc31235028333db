//! Symbols of a program, bound.

use super::Prim;
use crate::graph::Graph;
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
            Prim::Dims { dims, values } => {
                let values = subs(values);
                match values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
                    Some(known) => Prim::Const(Tensor::from_i64(dims, &known)),
                    None => Prim::Dims { dims: dims.clone(), values },
                }
            }
            Prim::ConvTranspose { geometry, w, to } => {
                Prim::ConvTranspose { geometry: geometry.clone(), w: *w, to: subs(to) }
            }
            Prim::WindowSumTranspose { window, to } => {
                Prim::WindowSumTranspose { window: window.clone(), to: subs(to) }
            }
            Prim::Reshape { to } => Prim::Reshape { to: to.replace(by) },
            Prim::Expand { to } => Prim::Expand { to: to.replace(by) },
            Prim::Slice { axis, start, len, step } => {
                Prim::Slice { axis: *axis, start: sub(start), len: sub(len), step: *step }
            }
            Prim::SliceTranspose { axis, start, to, step } => {
                Prim::SliceTranspose { axis: *axis, start: sub(start), to: sub(to), step: *step }
            }
            Prim::Pad { before, after, mode } => {
                Prim::Pad { before: subs(before), after: subs(after), mode: *mode }
            }
            Prim::ScatterAdd { axis, to } => Prim::ScatterAdd { axis: *axis, to: sub(to) },
            Prim::Iota { len } => Prim::Iota { len: sub(len) },
            Prim::TopK { axis, k, largest } => Prim::TopK { axis: *axis, k: sub(k), largest: *largest },
            Prim::Merge { condition } => Prim::Merge { condition: sub(condition) },
            Prim::MergeTranspose { condition, second, to } => {
                Prim::MergeTranspose { condition: sub(condition), second: *second, to: to.replace(by) }
            }
            Prim::Scan(scan) => Prim::Scan(scan.replace(by)),
            _ => self.clone(),
        }
    }

    /// The dimensions that this primitive names.
    pub fn dims(&self) -> Vec<&Dim> {
        match self {
            Prim::Dims { values, .. } => values.iter().collect(),
            Prim::ConvTranspose { to, .. } | Prim::WindowSumTranspose { to, .. } => to.iter().collect(),
            Prim::Reshape { to } | Prim::Expand { to } => to.0.iter().collect(),
            Prim::Slice { start, len, .. } => vec![start, len],
            Prim::SliceTranspose { start, to, .. } => vec![start, to],
            Prim::Pad { before, after, .. } => before.iter().chain(after).collect(),
            Prim::ScatterAdd { to, .. } => vec![to],
            Prim::Iota { len } => vec![len],
            Prim::TopK { k, .. } => vec![k],
            Prim::Merge { condition } => vec![condition],
            Prim::MergeTranspose { condition, to, .. } => [condition].into_iter().chain(&to.0).collect(),
            Prim::Scan(scan) => {
                let step = scan.body.graph();
                step.nodes().flat_map(|id| step.op(id).dims()).collect()
            }
            Prim::Input | Prim::Const(_) | Prim::Unary(_) | Prim::Binary(_) | Prim::Select => vec![],
            Prim::MatMul { .. } | Prim::Conv { .. } | Prim::WindowSum(_) | Prim::WindowMax(_) => vec![],
            Prim::WindowMaxShare { .. } | Prim::Reduce { .. } | Prim::Softmax { .. } => vec![],
            Prim::Attention(_) | Prim::AttentionShare { .. } | Prim::Transpose { .. } => vec![],
            Prim::Concat { .. } | Prim::Gather { .. } | Prim::Overwrite | Prim::NonZero => vec![],
            Prim::NonMaxSuppression { .. } | Prim::Cast { .. } => vec![],
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
