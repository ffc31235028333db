//! Type rules of primitives. They check everything that kernels then assume.

use super::{AttentionPart, Binary, PadMode, Prim, Reduction, Unary, Window};
use crate::OpError;
use crate::prim;
use crate::tensor::{DType, Dim, Shape, TensorType, broadcast};

impl Prim {
    /// The type of the result.
    ///
    /// # Errors
    /// When operands do not fit, with what was expected and what was found.
    pub fn infer(&self, inputs: &[TensorType]) -> Result<TensorType, OpError> {
        let arity = self.arity();
        if !arity.contains(&inputs.len()) {
            let expected =
                if arity.start() == arity.end() { arity.start().to_string() } else { format!("{arity:?}") };
            return Err(OpError::Arity { expected, found: inputs.len() });
        }
        match self {
            Prim::Input => Err(OpError::Invalid("an input has no inferred type".into())),
            Prim::Const(t) => Ok(t.ty()),
            Prim::Dims(prim::Dims { dims, .. }) => {
                Ok(TensorType::new(DType::I64, dims.iter().map(|d| Dim::known(*d as i64)).collect::<Shape>()))
            }
            Prim::Unary(Unary::Not) => want(&inputs[0], DType::Bool).map(|()| inputs[0].clone()),
            Prim::Unary(_) => Ok(inputs[0].clone()),
            Prim::Binary(op) => binary(*op, &inputs[0], &inputs[1]),
            Prim::Select => {
                want(&inputs[0], DType::Bool)?;
                let value = binary(Binary::Add, &inputs[1], &inputs[2])?;
                Ok(value.with_shape(broadcast_or(&value.shape, &inputs[0].shape)?))
            }
            Prim::MatMul(prim::MatMul { ta, tb, .. }) => matmul(&inputs[0], &inputs[1], *ta, *tb),
            Prim::Conv(prim::Conv { geometry, .. }) => {
                let (x, w) = (&inputs[0], &inputs[1]);
                let spatial = spatial(x, &geometry.window)?;
                conv_weight(w, geometry, x.dim(1))?;
                if let Some(b) = inputs.get(2) {
                    equal("shape of bias", &b.shape, &Shape(vec![w.dim(0).clone()]))?;
                }
                let out = geometry.window.output(spatial)?;
                Ok(x.with_shape([vec![x.dim(0).clone(), w.dim(0).clone()], out].concat()))
            }
            Prim::ConvTranspose(prim::ConvTranspose { geometry, to, .. }) => {
                let (s, w) = (&inputs[0], &inputs[1]);
                let spatial = spatial(s, &geometry.window)?;
                let channels =
                    w.shape.0.get(1).map(|c| c * &Dim::known(geometry.groups as i64)).unwrap_or_default();
                conv_weight(w, geometry, &channels)?;
                dim_equal("output channels", s.dim(1), w.dim(0))?;
                dims_equal("output of the convolution", spatial, &geometry.window.output(to)?)?;
                Ok(s.with_shape([vec![s.dim(0).clone(), channels], to.clone()].concat()))
            }
            Prim::WindowSum(prim::WindowSum(w)) | Prim::WindowMax(prim::WindowMax(w)) => {
                let x = &inputs[0];
                let out = w.output(spatial(x, w)?)?;
                Ok(x.with_shape([x.shape.0[..2].to_vec(), out].concat()))
            }
            Prim::WindowSumTranspose(prim::WindowSumTranspose { window, to }) => {
                let s = &inputs[0];
                dims_equal("output of the window", spatial(s, window)?, &window.output(to)?)?;
                Ok(s.with_shape([s.shape.0[..2].to_vec(), to.clone()].concat()))
            }
            Prim::WindowMaxShare(prim::WindowMaxShare { window: w, .. }) => {
                dims_equal(
                    "output of the window",
                    spatial(&inputs[1], w)?,
                    &w.output(spatial(&inputs[0], w)?)?,
                )?;
                equal("shape of relevance", &inputs[2].shape, &inputs[1].shape)?;
                Ok(inputs[0].clone())
            }
            Prim::Reduce(prim::Reduce { kind, axes, keep }) => reduce(*kind, axes, *keep, &inputs[0]),
            Prim::Softmax(prim::Softmax { axis }) => axis_in(*axis, &inputs[0]).map(|()| inputs[0].clone()),
            Prim::Attention(_) => attention(&inputs[..3], inputs.get(3)),
            Prim::AttentionShare(prim::AttentionShare { value, of, .. }) => {
                let y = attention(&inputs[..3], inputs.get(4))?;
                dims_equal("shape of relevance", &inputs[3].shape.0, &y.shape.0)?;
                if !(0.0..=1.0).contains(value) {
                    return Err(OpError::mismatch("share of the values", "0 to 1", value));
                }
                Ok(match of {
                    AttentionPart::Query => inputs[0].clone(),
                    AttentionPart::Key => inputs[1].clone(),
                    AttentionPart::Value => inputs[2].clone(),
                    AttentionPart::Dropped => y.with_shape(y.shape.0[..y.rank() - 1].to_vec()),
                })
            }
            Prim::Reshape(prim::Reshape { to }) => {
                dim_equal("elements", &to.elems(), &inputs[0].shape.elems())?;
                Ok(inputs[0].with_shape(to.clone()))
            }
            Prim::Transpose(prim::Transpose { perm }) => {
                let x = &inputs[0];
                let mut sorted = perm.clone();
                sorted.sort_unstable();
                if sorted != (0..x.rank()).collect::<Vec<_>>() {
                    let expected = format!("a permutation of {} axes", x.rank());
                    return Err(OpError::mismatch("perm", expected, format!("{perm:?}")));
                }
                Ok(x.with_shape(perm.iter().map(|p| x.dim(*p).clone()).collect::<Shape>()))
            }
            Prim::Slice(prim::Slice { axis, start, len, step }) => {
                axis_in(*axis, &inputs[0])?;
                slice_in(start, len, *step, inputs[0].dim(*axis))?;
                Ok(with_dim(&inputs[0], *axis, len.clone()))
            }
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, to, step }) => {
                axis_in(*axis, &inputs[0])?;
                slice_in(start, inputs[0].dim(*axis), *step, to)?;
                Ok(with_dim(&inputs[0], *axis, to.clone()))
            }
            Prim::Concat(prim::Concat { axis }) => concat(*axis, inputs),
            Prim::Pad(prim::Pad { before, after, mode }) => pad(before, after, *mode, &inputs[0]),
            Prim::Expand(prim::Expand { to }) => {
                let reached = broadcast_or(&inputs[0].shape, to)?;
                dims_equal("shape to expand to", &reached.0, &to.0)?;
                Ok(inputs[0].with_shape(to.clone()))
            }
            Prim::Gather(prim::Gather { axis }) => {
                axis_in(*axis, &inputs[0])?;
                integer(&inputs[1])?;
                let d = &inputs[0].shape.0;
                Ok(inputs[0].with_shape([&d[..*axis], &inputs[1].shape.0, &d[axis + 1..]].concat()))
            }
            Prim::ScatterAdd(prim::ScatterAdd { axis, to }) => {
                let (updates, indices) = (&inputs[0], &inputs[1]);
                integer(indices)?;
                let end = axis + indices.rank();
                if end > updates.rank() {
                    return Err(OpError::mismatch(
                        "rank of updates",
                        format!("at least {end}"),
                        updates.rank(),
                    ));
                }
                let d = &updates.shape.0;
                dims_equal("indexed axes of updates", &d[*axis..end], &indices.shape.0)?;
                Ok(updates.with_shape([&d[..*axis], std::slice::from_ref(to), &d[end..]].concat()))
            }
            Prim::Overwrite => {
                let [data, indices, updates] = inputs else { return Ok(inputs[0].clone()) };
                integer(indices)?;
                axis_in(0, data)?;
                equal("rank of indices", indices.rank(), 1)?;
                want(updates, data.dtype)?;
                let rows = [&indices.shape.0[..], &data.shape.0[1..]].concat();
                dims_equal("shape of updates", &updates.shape.0, &rows)?;
                Ok(data.clone())
            }
            Prim::NonZero => {
                let (rank, elems) = (Dim::known(inputs[0].rank() as i64), inputs[0].shape.elems());
                Ok(TensorType::new(DType::I64, vec![rank, elems]))
            }
            Prim::TopK(prim::TopK { axis, k, .. }) => {
                axis_in(*axis, &inputs[0])?;
                let dim = inputs[0].dim(*axis);
                if let Some(rest) = (dim - k).as_known().filter(|rest| *rest < 0) {
                    let found = format!("{k}, {} more", rest.saturating_neg());
                    return Err(OpError::mismatch("k", format!("at most the axis's {dim}"), found));
                }
                Ok(with_dim(&inputs[0].with_dtype(DType::I64), *axis, k.clone()))
            }
            Prim::NonMaxSuppression(_) => non_max_suppression(inputs),
            Prim::Merge(prim::Merge { condition }) => merge(condition, &inputs[0], &inputs[1]),
            Prim::MergeTranspose(prim::MergeTranspose { condition, second, to }) => {
                let taken = match condition.as_known() {
                    Some(c) => (c == 0) == *second,
                    None => false,
                };
                if taken {
                    dims_equal("shape of the operand", &to.0, &inputs[0].shape.0)?;
                }
                Ok(inputs[0].with_shape(to.clone()))
            }
            Prim::Cast(prim::Cast { to }) => Ok(inputs[0].with_dtype(*to)),
            Prim::Iota(prim::Iota { len }) => Ok(TensorType::new(DType::I64, vec![len.clone()])),
            Prim::Scan(scan) => scan.infer(inputs),
        }
    }

    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        match self {
            Prim::Input | Prim::Const(_) | Prim::Dims(_) | Prim::Iota(_) => 0..=0,
            Prim::Binary(_) | Prim::MatMul(_) | Prim::ConvTranspose(_) => 2..=2,
            Prim::Gather(_) | Prim::ScatterAdd(_) | Prim::Merge(_) => 2..=2,
            Prim::NonMaxSuppression(_) => 5..=5,
            Prim::Select | Prim::WindowMaxShare(_) | Prim::Overwrite => 3..=3,
            Prim::Conv(_) => 2..=3,
            Prim::Attention(_) => 3..=4,
            Prim::AttentionShare(_) => 4..=5,
            Prim::Concat(_) => 1..=usize::MAX,
            Prim::Scan(_) => 2..=usize::MAX,
            _ => 1..=1,
        }
    }
}

fn equal<T: PartialEq + std::fmt::Display>(what: &str, found: T, expected: T) -> Result<(), OpError> {
    if found == expected { Ok(()) } else { Err(OpError::mismatch(what, expected, found)) }
}

fn dims_equal(what: &str, found: &[Dim], expected: &[Dim]) -> Result<(), OpError> {
    if found == expected {
        return Ok(());
    }
    Err(OpError::shapes(what, &Shape(expected.to_vec()), &Shape(found.to_vec())))
}

fn dim_equal(what: &str, found: &Dim, expected: &Dim) -> Result<(), OpError> {
    if found == expected { Ok(()) } else { Err(OpError::dims(what, expected, found)) }
}

fn want(ty: &TensorType, dtype: DType) -> Result<(), OpError> {
    equal("element type", ty.dtype, dtype)
}

fn integer(ty: &TensorType) -> Result<(), OpError> {
    if ty.dtype.is_integer() { Ok(()) } else { Err(OpError::mismatch("indices", "integers", ty.dtype)) }
}

fn axis_in(axis: usize, ty: &TensorType) -> Result<(), OpError> {
    if axis < ty.rank() { Ok(()) } else { Err(OpError::Axis { axis: axis as i64, rank: ty.rank() }) }
}

fn with_dim(ty: &TensorType, axis: usize, dim: Dim) -> TensorType {
    let mut ty = ty.clone();
    ty.shape.0[axis] = dim;
    ty
}

fn broadcast_or(a: &Shape, b: &Shape) -> Result<Shape, OpError> {
    broadcast(a, b).ok_or_else(|| OpError::broadcast(a, b))
}

fn binary(op: Binary, a: &TensorType, b: &TensorType) -> Result<TensorType, OpError> {
    equal("element type of the second operand", b.dtype, a.dtype)?;
    if op.is_logic() {
        want(a, DType::Bool)?;
    }
    let dtype = if op.is_predicate() { DType::Bool } else { a.dtype };
    Ok(TensorType::new(dtype, broadcast_or(&a.shape, &b.shape)?))
}

fn matmul(a: &TensorType, b: &TensorType, ta: bool, tb: bool) -> Result<TensorType, OpError> {
    equal("element type of the second operand", b.dtype, a.dtype)?;
    for t in [a, b] {
        if t.rank() < 2 {
            return Err(OpError::mismatch("rank of an operand", "at least 2", t.rank()));
        }
    }
    let matrix = |t: &TensorType, swap: bool| {
        let (rows, columns) = (t.dim(t.rank() - 2).clone(), t.dim(t.rank() - 1).clone());
        if swap { (columns, rows) } else { (rows, columns) }
    };
    let ((m, k), (k2, n)) = (matrix(a, ta), matrix(b, tb));
    if k != k2 {
        return Err(OpError::Invalid(format!(
            "inner dimensions differ: {k} and {k2} (operands {a} and {b})"
        )));
    }
    let batch = |t: &TensorType| Shape(t.shape.0[..t.rank() - 2].to_vec());
    let mut shape = broadcast_or(&batch(a), &batch(b))?;
    shape.0.extend([m, n]);
    Ok(a.with_shape(shape))
}

/// The result of an attention of `[q, k, v]`.
fn attention(data: &[TensorType], mask: Option<&TensorType>) -> Result<TensorType, OpError> {
    let [q, k, v] = data else { return Err(OpError::Arity { expected: "3".into(), found: data.len() }) };
    for t in data {
        want(t, DType::F32).or_else(|e| if t.dtype.is_float() { Ok(()) } else { Err(e) })?;
        if t.rank() < 2 || t.rank() != q.rank() {
            return Err(OpError::mismatch("rank of an operand", "equal, at least 2", t));
        }
        dims_equal("leading axes", &t.shape.0[..t.rank() - 2], &q.shape.0[..q.rank() - 2])?;
    }
    let rank = q.rank();
    dim_equal("features of the keys", k.dim(rank - 1), q.dim(rank - 1))?;
    dim_equal("positions of the values", v.dim(rank - 2), k.dim(rank - 2))?;
    if let Some(mask) = mask {
        let mut scores = q.shape.clone();
        scores.0[rank - 1] = k.dim(rank - 2).clone();
        dims_equal("shape of the masked scores", &broadcast_or(&scores, &mask.shape)?.0, &scores.0)?;
    }
    let mut y = q.shape.clone();
    y.0[rank - 1] = v.dim(rank - 1).clone();
    Ok(q.with_shape(y))
}

fn spatial<'a>(x: &'a TensorType, w: &Window) -> Result<&'a [Dim], OpError> {
    w.check()?;
    if x.rank() != w.rank() + 2 {
        return Err(OpError::mismatch(
            "rank of the operand",
            format!("{} (n, c, {} spatial)", w.rank() + 2, w.rank()),
            x,
        ));
    }
    Ok(&x.shape.0[2..])
}

fn conv_weight(w: &TensorType, geometry: &super::ConvGeometry, channels: &Dim) -> Result<(), OpError> {
    if w.rank() != geometry.window.rank() + 2 {
        return Err(OpError::mismatch("rank of the weight", geometry.window.rank() + 2, w));
    }
    if geometry.groups == 0 {
        return Err(OpError::Invalid("group must be at least 1, found 0".into()));
    }
    let groups = Dim::known(geometry.groups as i64);
    dim_equal("channels (weight channels × groups)", channels, &(w.dim(1) * &groups))?;
    if w.dim(0).as_known().is_some_and(|o| o % geometry.groups as i64 != 0) {
        return Err(OpError::mismatch("output channels", format!("a multiple of {groups} groups"), w.dim(0)));
    }
    let kernel: Vec<Dim> = geometry.window.kernel.iter().map(|k| Dim::known(*k as i64)).collect();
    dims_equal("kernel of the weight", &w.shape.0[2..], &kernel)
}

fn reduce(kind: Reduction, axes: &[usize], keep: bool, x: &TensorType) -> Result<TensorType, OpError> {
    for axis in axes {
        axis_in(*axis, x)?;
    }
    let arg = matches!(kind, Reduction::ArgMax | Reduction::ArgMin);
    if arg && axes.len() != 1 {
        return Err(OpError::mismatch("axes", "one", axes.len()));
    }
    let dims = x.shape.0.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), keep) {
        (false, _) => Some(d.clone()),
        (true, true) => Some(Dim::known(1)),
        (true, false) => None,
    });
    Ok(TensorType::new(if arg { DType::I64 } else { x.dtype }, dims.collect::<Shape>()))
}

fn non_max_suppression(inputs: &[TensorType]) -> Result<TensorType, OpError> {
    let (boxes, scores) = (&inputs[0], &inputs[1]);
    let [n, s, four] = boxes.shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of boxes", 3, boxes));
    };
    let [of, c, own] = scores.shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of scores", 3, scores));
    };
    dim_equal("numbers of a box", four, &Dim::known(4))?;
    dim_equal("batch of scores", of, n)?;
    dim_equal("boxes of scores", own, s)?;
    for (what, ty) in ["most", "overlap", "least"].iter().zip(&inputs[2..]) {
        dim_equal(&format!("elements of {what}"), &ty.shape.elems(), &Dim::known(1))?;
    }
    integer(&inputs[2])?;
    Ok(TensorType::new(DType::I64, vec![&(n * c) * s, Dim::known(3)]))
}

/// Each dimension is `condition · a + (1 - condition) · b`.
fn merge(condition: &Dim, a: &TensorType, b: &TensorType) -> Result<TensorType, OpError> {
    want(b, a.dtype)?;
    equal("rank of the other branch", b.rank(), a.rank())?;
    let other = &Dim::known(1) - condition;
    let dim = |(a, b): (&Dim, &Dim)| if a == b { a.clone() } else { &(condition * a) + &(&other * b) };
    Ok(a.with_shape(a.shape.0.iter().zip(&b.shape.0).map(dim).collect::<Shape>()))
}

fn slice_in(start: &Dim, len: &Dim, step: i64, dim: &Dim) -> Result<(), OpError> {
    if step == 0 {
        return Err(OpError::Invalid("step of a slice must not be 0".into()));
    }
    let (Some(start), Some(len), Some(dim)) = (start.as_known(), len.as_known(), dim.as_known()) else {
        return Ok(());
    };
    let last = (len - 1).checked_mul(step).and_then(|d| d.checked_add(start));
    let inside = |i: i64| (0..dim).contains(&i);
    if len < 0 || (len > 0 && !(inside(start) && last.is_some_and(inside))) {
        return Err(OpError::Invalid(format!(
            "slice of {len} from {start} step {step} leaves dimension {dim}"
        )));
    }
    Ok(())
}

fn concat(axis: usize, inputs: &[TensorType]) -> Result<TensorType, OpError> {
    let first = &inputs[0];
    axis_in(axis, first)?;
    let mut sum = Dim::known(0);
    for t in inputs {
        want(t, first.dtype)?;
        equal("rank", t.rank(), first.rank())?;
        for i in (0..t.rank()).filter(|i| *i != axis) {
            dim_equal("dimension beside the concatenated axis", t.dim(i), first.dim(i))?;
        }
        sum = &sum + t.dim(axis);
    }
    Ok(with_dim(first, axis, sum))
}

fn pad(before: &[Dim], after: &[Dim], mode: PadMode, x: &TensorType) -> Result<TensorType, OpError> {
    equal("pads before", before.len(), x.rank())?;
    equal("pads after", after.len(), x.rank())?;
    let mut ty = x.clone();
    for (i, dim) in ty.shape.0.iter_mut().enumerate() {
        for p in [&before[i], &after[i]] {
            let Some(p) = p.as_known() else { continue };
            let limit = match (mode, dim.as_known()) {
                (PadMode::Reflect, Some(d)) => d - 1,
                _ => i64::MAX,
            };
            if p < 0 || p > limit {
                return Err(OpError::Invalid(format!(
                    "pad {p} is out of range for axis {i} of dimension {dim}"
                )));
            }
        }
        *dim = &(&*dim + &before[i]) + &after[i];
    }
    Ok(ty)
}
