//! What each primitive becomes.

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::Tensor;

use super::{Made, Planner, Scope, View, wrong};

/// Elements of a tensor: indices are 32 bits wide.
const MAX_ELEMS: u64 = i32::MAX as u64;

impl Planner {
    /// Lowers a node whose operands are there.
    pub(super) fn node(&mut self, scope: &mut Scope, id: NodeId) -> Result<Made, BackendError> {
        let graph = scope.graph;
        let ty = graph.node(id).types[0].clone();
        let dims = ty.shape.as_known().ok_or_else(|| wrong(scope, id, "a dimension is not known"))?;
        let elems = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
        if elems.is_none_or(|n| n > MAX_ELEMS) {
            let node = graph.node(id).name().to_string();
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            return Err(BackendError::Limit { node, bytes, limit: 4 * MAX_ELEMS });
        }
        let inputs = graph.node_inputs(id);
        if scope.scores.contains(&id) {
            return Ok(Made::Scores);
        }
        if inputs.iter().any(|v| scope.scores.contains(&v.node)) {
            return self.of_scores(scope, id, &dims).map(Made::View);
        }
        Ok(Made::View(match graph.op(id) {
            // Inputs of a graph are there before its nodes.
            Prim::Input => self.view(scope, Value { node: id, slot: 0 }),
            Prim::Const(t) => self.constant(t),
            Prim::Dims(_) => return Err(wrong(scope, id, "a dimension is not known")),
            Prim::Iota(_) => {
                let values: Vec<i64> = (0..dims[0] as i64).collect();
                self.constant(&Tensor::from_i64(&dims, &values))
            }
            Prim::Unary(_) | Prim::Binary(_) | Prim::Select | Prim::Cast(_) => {
                return self.elementwise(scope, id, &dims);
            }
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                let [a, b] = [(inputs[0], *a), (inputs[1], *b)].map(|(v, p)| self.part(scope, v, p));
                let e = self.product([a.0, b.0], [a.1, b.1], [*ta, *tb], &dims);
                return Ok(self.made(scope, id, e));
            }
            Prim::Conv(prim::Conv { geometry, w }) => {
                let x = self.dense_part(scope, inputs[0]);
                let weight = self.dense_view(scope, inputs[1]);
                let bias = inputs.get(2).map(|v| self.dense_view(scope, *v));
                let e = self.conv(geometry, x, (weight, *w), bias, &dims);
                return Ok(self.made(scope, id, e));
            }
            Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) => {
                let s = self.dense_part(scope, inputs[0]);
                let weight = self.dense_view(scope, inputs[1]);
                let e = self.conv_adjoint(geometry, s, (weight, *w), &dims);
                return Ok(self.made(scope, id, e));
            }
            Prim::WindowSum(prim::WindowSum(w)) => {
                let x = self.dense_view(scope, inputs[0]);
                self.window_fold(w, false, x, &dims)
            }
            Prim::WindowMax(prim::WindowMax(w)) => {
                let x = self.dense_view(scope, inputs[0]);
                self.window_fold(w, true, x, &dims)
            }
            Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. }) => {
                let s = self.dense_view(scope, inputs[0]);
                self.window_spread(window, s, &dims)
            }
            Prim::WindowMaxShare(prim::WindowMaxShare { window, first }) => {
                let [x, y, r] = [0, 1, 2].map(|i| self.dense_view(scope, inputs[i]));
                self.window_share(window, *first, [x, y, r])
            }
            Prim::Reduce(prim::Reduce { kind, axes, .. }) => {
                let x = self.view(scope, inputs[0]);
                self.reduce(*kind, axes, x, &dims).map_err(|e| wrong(scope, id, e))?
            }
            Prim::Softmax(prim::Softmax { axis }) => {
                let x = self.dense_view(scope, inputs[0]);
                self.softmax(*axis, x)
            }
            // `expand` took these apart.
            Prim::Attention(_) | Prim::AttentionShare(_) => {
                return Err(wrong(scope, id, "not taken apart"));
            }
            Prim::Reshape(_) => {
                if let Some(Made::Expression(e)) = scope.made.get(&inputs[0])
                    && let Some(e) = e.reshaped(&dims)
                {
                    return Ok(self.made(scope, id, e));
                }
                let x = self.view(scope, inputs[0]);
                match x.reshaped(&dims) {
                    Some(view) => view,
                    None => self.dense(&x).with_dims(&dims),
                }
            }
            Prim::Transpose(prim::Transpose { perm }) => self.view(scope, inputs[0]).transposed(perm),
            Prim::Slice(prim::Slice { axis, start, step, .. }) => {
                let start = start.as_known().unwrap_or_default();
                self.view(scope, inputs[0]).sliced(*axis, start, dims[*axis], *step)
            }
            Prim::Expand(_) => self.view(scope, inputs[0]).broadcast(&dims),
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, step, .. }) => {
                let x = self.dense_view(scope, inputs[0]);
                self.slice_transpose(*axis, start.as_known().unwrap_or_default(), *step, x, &dims)
            }
            Prim::Concat(prim::Concat { axis }) => {
                let parts: Vec<View> = inputs.iter().map(|v| self.view(scope, *v)).collect();
                self.concat(*axis, parts, &dims)
            }
            Prim::Pad(prim::Pad { before, mode, .. }) => {
                let x = self.dense_view(scope, inputs[0]);
                let before: Vec<i64> = before.iter().map(|b| b.as_known().unwrap_or_default()).collect();
                self.pad(&before, *mode, x, &dims).map_err(|e| wrong(scope, id, e))?
            }
            Prim::Gather(prim::Gather { axis }) => {
                let (data, indices) = (self.dense_view(scope, inputs[0]), self.dense_view(scope, inputs[1]));
                let status = self.status(scope, id, "an index is out of range");
                self.gather(*axis, [data, indices, status], &dims)
            }
            Prim::ScatterAdd(prim::ScatterAdd { axis, .. }) => {
                let (updates, indices) =
                    (self.dense_view(scope, inputs[0]), self.dense_view(scope, inputs[1]));
                let status = self.status(scope, id, "an index is out of range");
                self.scatter_add(*axis, [updates, indices, status], &dims)
            }
            Prim::Overwrite => {
                let [data, indices, updates] = [0, 1, 2].map(|i| self.dense_view(scope, inputs[i]));
                let status = self.status(scope, id, "an index is out of range");
                self.overwrite([data, indices, updates, status])
            }
            Prim::NonZero => {
                let x = self.dense_view(scope, inputs[0]);
                self.non_zero(x, &dims)
            }
            Prim::TopK(prim::TopK { axis, largest, .. }) => {
                let x = self.dense_view(scope, inputs[0]);
                self.top_k(*axis, *largest, x, &dims).map_err(|e| wrong(scope, id, e))?
            }
            Prim::NonMaxSuppression(prim::NonMaxSuppression { center }) => {
                let operands = [0, 1, 2, 3, 4].map(|i| self.dense_view(scope, inputs[i]));
                self.non_max_suppression(*center, operands, &dims)
            }
            Prim::Merge(prim::Merge { condition }) => {
                let second = condition.is(0);
                self.view(scope, inputs[usize::from(second)])
            }
            Prim::MergeTranspose(prim::MergeTranspose { condition, second, .. }) => {
                let r = self.view(scope, inputs[0]);
                self.merge_transpose(condition.is(0) == *second, r, &dims)
            }
            Prim::Scan(scan) => {
                let operands: Vec<View> = inputs.iter().map(|v| self.view(scope, *v)).collect();
                self.scan(scan, operands, &dims)?
            }
        }))
    }
}
