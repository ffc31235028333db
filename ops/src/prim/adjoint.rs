//! The vector-Jacobian product of every primitive that computes with floats: reverse-mode differentiation.
//!
//! At a kink the derivative is that of the side from which the value does not move (`relu'(0) = 0`); of equal maxima of a
//! window the first counts, of equal extrema of a reduction each its share.

use super::{Binary, Builder, PadMode, Part, Prim, Reduction, Unary};
use crate::OpError;
use crate::graph::{NodeId, PrintOp, Value};
use crate::prim;
use crate::tensor::{Dim, Shape};

/// The adjoints of a node's operands, of their shapes, from `r`, that of its result; `None` where there is none, or where
/// `wanted` does not ask for it.
///
/// # Errors
/// For a primitive that has no derivative here.
pub fn adjoint(
    b: &mut Builder,
    node: NodeId,
    r: Value,
    wanted: &[bool],
) -> Result<Vec<Option<Value>>, OpError> {
    let prim = b.graph().op(node).clone();
    let x = b.graph().node_inputs(node);
    let y = Value { node, slot: 0 };
    let shape = |b: &Builder, i: usize| b.ty(x[i]).shape;
    let unsupported =
        || OpError::Unsupported(format!("the derivative of primitive {} is not supported", prim.name()));
    let made: Vec<Option<Value>> = match &prim {
        Prim::Unary(f) => vec![unary(b, *f, x[0], y, r)],
        Prim::Binary(f) => {
            let pair = binary(b, *f, [x[0], x[1]], y, r, wanted).ok_or_else(unsupported)?;
            let mut made = vec![];
            for (i, v) in pair.into_iter().enumerate() {
                let to = shape(b, i);
                made.push(v.map(|v| b.sum_to(v, &to)));
            }
            made
        }
        Prim::Select => {
            let zero = b.scalar_like(0.0, r);
            let sides = [[r, zero], [zero, r]].map(|[a, o]| b.add(Prim::Select, &[x[0], a, o]));
            let mut made = vec![None];
            for (i, v) in sides.into_iter().enumerate() {
                let to = shape(b, i + 1);
                made.push(Some(b.sum_to(v, &to)));
            }
            made
        }
        Prim::MatMul(prim::MatMul { a: Part::Id, b: Part::Id, ta, tb }) => {
            let left = wanted[0].then(|| {
                let (other, own) = ((x[1], Part::Id, !tb), (r, Part::Id, false));
                let v = if *ta {
                    b.matmul((x[1], Part::Id, *tb), (r, Part::Id, true))
                } else {
                    b.matmul(own, other)
                };
                let to = shape(b, 0);
                b.sum_to(v, &to)
            });
            let right = wanted[1].then(|| {
                let v = if *tb {
                    b.matmul((r, Part::Id, true), (x[0], Part::Id, *ta))
                } else {
                    b.matmul((x[0], Part::Id, !ta), (r, Part::Id, false))
                };
                let to = shape(b, 1);
                b.sum_to(v, &to)
            });
            vec![left, right]
        }
        Prim::Conv(prim::Conv { geometry, w }) if !wanted[1] => {
            let to = shape(b, 0).0[2..].to_vec();
            vec![Some(b.conv_transpose(geometry, r, x[1], *w, &to))]
        }
        Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) if !wanted[1] => {
            vec![Some(b.conv(geometry, r, x[1], *w, None))]
        }
        Prim::WindowSum(prim::WindowSum(window)) => {
            let to = shape(b, 0).0[2..].to_vec();
            vec![Some(b.add(prim::WindowSumTranspose { window: window.clone(), to }, &[r]))]
        }
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window, .. }) => {
            vec![Some(b.window_sum(window, r))]
        }
        Prim::WindowMax(prim::WindowMax(window)) => {
            let share = Prim::WindowMaxShare(prim::WindowMaxShare { window: window.clone(), first: true });
            vec![Some(b.add(share, &[x[0], y, r]))]
        }
        Prim::Reduce(prim::Reduce { kind, axes, .. }) => vec![reduce(b, *kind, axes, x[0], y, r)],
        Prim::Softmax(prim::Softmax { axis }) => {
            // A row in which all is masked is not a number, and gives nothing back.
            let number = b.binary(Binary::Equal, y, y);
            let y = where_(b, number, y);
            let flow = b.mul(r, y);
            let sum = b.reduce(Reduction::Sum, flow, &[*axis], true);
            let back = b.mul(y, sum);
            vec![Some(b.minus(flow, back))]
        }
        Prim::Reshape(_) => {
            let to = shape(b, 0);
            vec![Some(b.reshape(r, &to))]
        }
        Prim::Transpose(prim::Transpose { perm }) => {
            let mut inverse = vec![0; perm.len()];
            perm.iter().enumerate().for_each(|(i, p)| inverse[*p] = i);
            vec![Some(b.transpose(r, &inverse))]
        }
        Prim::Slice(prim::Slice { axis, start, step, .. }) => {
            let to = b.ty(x[0]).dim(*axis).clone();
            let back = Prim::SliceTranspose(prim::SliceTranspose {
                axis: *axis,
                start: start.clone(),
                to,
                step: *step,
            });
            vec![Some(b.add(back, &[r]))]
        }
        Prim::SliceTranspose(prim::SliceTranspose { axis, start, step, .. }) => {
            let len = b.ty(x[0]).dim(*axis).clone();
            vec![Some(b.add(prim::Slice { axis: *axis, start: start.clone(), len, step: *step }, &[r]))]
        }
        Prim::Concat(prim::Concat { axis }) => {
            let mut start = Dim::known(0);
            let mut parts = vec![];
            for (i, v) in x.iter().enumerate() {
                let len = b.ty(*v).dim(*axis).clone();
                let part =
                    Prim::Slice(prim::Slice { axis: *axis, start: start.clone(), len: len.clone(), step: 1 });
                parts.push(wanted[i].then(|| b.add(part, &[r])));
                start = &start + &len;
            }
            parts
        }
        Prim::Pad(prim::Pad { before, mode: PadMode::Constant(_), .. }) => {
            let mut v = r;
            for (axis, start) in before.iter().enumerate() {
                let len = b.ty(x[0]).dim(axis).clone();
                if b.ty(v).dim(axis) != &len {
                    v = b.add(prim::Slice { axis, start: start.clone(), len, step: 1 }, &[v]);
                }
            }
            vec![Some(v)]
        }
        Prim::Expand(_) => {
            let to = shape(b, 0);
            vec![Some(b.sum_to(r, &to))]
        }
        Prim::Gather(prim::Gather { axis }) => {
            let to = b.ty(x[0]).dim(*axis).clone();
            vec![Some(b.add(prim::ScatterAdd { axis: *axis, to }, &[r, x[1]]))]
        }
        Prim::ScatterAdd(prim::ScatterAdd { axis, .. }) => {
            vec![Some(b.add(prim::Gather { axis: *axis }, &[r, x[1]]))]
        }
        Prim::Overwrite => {
            let zero = b.scalar_like(0.0, r);
            let to = shape(b, 2);
            let none = b.expand(zero, &to);
            let data = b.add(Prim::Overwrite, &[r, x[1], none]);
            vec![Some(data), None, Some(b.add(prim::Gather { axis: 0 }, &[r, x[1]]))]
        }
        Prim::Cast(_) => {
            let from = b.ty(x[0]).dtype;
            vec![from.is_float().then(|| b.cast(r, from))]
        }
        Prim::Merge(prim::Merge { condition }) => {
            let mut made = vec![];
            for second in [false, true] {
                let to = shape(b, usize::from(second));
                made.push(Some(
                    b.add(prim::MergeTranspose { condition: condition.clone(), second, to }, &[r]),
                ));
            }
            made
        }
        Prim::NonZero | Prim::TopK(_) | Prim::NonMaxSuppression(_) => vec![],
        Prim::Input | Prim::Const(_) | Prim::Dims(_) | Prim::Iota(_) => vec![],
        _ => return Err(unsupported()),
    };
    let mut made: Vec<Option<Value>> =
        made.into_iter().enumerate().map(|(i, v)| v.filter(|_| wanted.get(i) == Some(&true))).collect();
    made.resize(x.len(), None);
    Ok(made)
}

/// `r` where the condition holds, else 0.
fn where_(b: &mut Builder, condition: Value, r: Value) -> Value {
    let zero = b.scalar_like(0.0, r);
    b.add(Prim::Select, &[condition, r, zero])
}

/// Whether `a < c` for a number `c`, or `c < a`.
fn below(b: &mut Builder, x: Value, c: f64) -> Value {
    let c = b.scalar_like(c, x);
    b.binary(Binary::Less, x, c)
}

fn above(b: &mut Builder, x: Value, c: f64) -> Value {
    let c = b.scalar_like(c, x);
    b.binary(Binary::Less, c, x)
}

fn unary(b: &mut Builder, f: Unary, x: Value, y: Value, r: Value) -> Option<Value> {
    Some(match f {
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not => return None,
        Unary::Abs => {
            let sign = b.unary(Unary::Sign, x);
            b.mul(r, sign)
        }
        Unary::Neg => b.unary(Unary::Neg, r),
        Unary::Exp => b.mul(r, y),
        Unary::Log => b.binary(Binary::Div, r, x),
        Unary::Sqrt => {
            let half = b.scale(r, 0.5);
            b.guarded_div(half, y)
        }
        Unary::Reciprocal => {
            let square = b.mul(y, y);
            let v = b.mul(r, square);
            b.unary(Unary::Neg, v)
        }
        Unary::Erf => {
            let square = b.mul(x, x);
            let v = b.unary(Unary::Neg, square);
            let v = b.unary(Unary::Exp, v);
            let v = b.scale(v, std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(r, v)
        }
        Unary::Tanh => {
            let square = b.mul(y, y);
            let one = b.scalar_like(1.0, y);
            let d = b.minus(one, square);
            b.mul(r, d)
        }
        Unary::Sigmoid => {
            let one = b.scalar_like(1.0, y);
            let rest = b.minus(one, y);
            let d = b.mul(y, rest);
            b.mul(r, d)
        }
        Unary::Relu => {
            let on = above(b, x, 0.0);
            where_(b, on, r)
        }
        Unary::LeakyRelu { alpha } => {
            let on = above(b, x, 0.0);
            let less = b.scale(r, f64::from(alpha));
            b.add(Prim::Select, &[on, r, less])
        }
        Unary::Elu { alpha } => {
            let on = above(b, x, 0.0);
            let alpha = b.scalar_like(f64::from(alpha), y);
            let d = b.plus(y, alpha);
            let less = b.mul(r, d);
            b.add(Prim::Select, &[on, r, less])
        }
        Unary::HardSigmoid { alpha, .. } => {
            let (low, high) = (above(b, y, 0.0), below(b, y, 1.0));
            let within = b.binary(Binary::And, low, high);
            let v = b.scale(r, f64::from(alpha));
            where_(b, within, v)
        }
        Unary::HardSwish => {
            let (low, high) = (above(b, x, -3.0), below(b, x, 3.0));
            let third = b.scale(x, 1.0 / 3.0);
            let half = b.scalar_like(0.5, x);
            let d = b.plus(third, half);
            let inner = b.mul(r, d);
            let inner = where_(b, low, inner);
            b.add(Prim::Select, &[high, inner, r])
        }
        Unary::Softplus => {
            let s = b.unary(Unary::Sigmoid, x);
            b.mul(r, s)
        }
        Unary::Softsign => {
            let size = b.unary(Unary::Abs, x);
            let one = b.scalar_like(1.0, x);
            let d = b.plus(one, size);
            let d = b.mul(d, d);
            b.binary(Binary::Div, r, d)
        }
        Unary::Clip { min, max } => {
            let mut v = r;
            let zero = b.scalar_like(0.0, r);
            if let Some(min) = min {
                let out = below(b, x, f64::from(min));
                v = b.add(Prim::Select, &[out, zero, v]);
            }
            if let Some(max) = max {
                let out = above(b, x, f64::from(max));
                v = b.add(Prim::Select, &[out, zero, v]);
            }
            v
        }
        Unary::Sin => {
            let c = b.unary(Unary::Cos, x);
            b.mul(r, c)
        }
        Unary::Cos => {
            let s = b.unary(Unary::Sin, x);
            let v = b.mul(r, s);
            b.unary(Unary::Neg, v)
        }
    })
}

fn binary(
    b: &mut Builder,
    f: Binary,
    [a, c]: [Value; 2],
    y: Value,
    r: Value,
    wanted: &[bool],
) -> Option<[Option<Value>; 2]> {
    Some(match f {
        Binary::Add => [Some(r), Some(r)],
        Binary::Sub => [Some(r), wanted[1].then(|| b.unary(Unary::Neg, r))],
        Binary::Mul => [wanted[0].then(|| b.mul(r, c)), wanted[1].then(|| b.mul(r, a))],
        Binary::Div | Binary::GuardedDiv => {
            let first = b.binary(f, r, c);
            let second = wanted[1].then(|| {
                let v = b.mul(first, y);
                b.unary(Unary::Neg, v)
            });
            [Some(first), second]
        }
        Binary::Pow => {
            let first = wanted[0].then(|| {
                let one = b.scalar_like(1.0, c);
                let less = b.minus(c, one);
                let power = b.binary(Binary::Pow, a, less);
                let d = b.mul(c, power);
                b.mul(r, d)
            });
            let second = wanted[1].then(|| {
                let log = b.unary(Unary::Log, a);
                let d = b.mul(y, log);
                b.mul(r, d)
            });
            [first, second]
        }
        Binary::Min | Binary::Max => {
            let second = if f == Binary::Min { [c, a] } else { [a, c] };
            let second = b.binary(Binary::Less, second[0], second[1]);
            let zero = b.scalar_like(0.0, r);
            let first = b.add(Prim::Select, &[second, zero, r]);
            [Some(first), Some(where_(b, second, r))]
        }
        Binary::Equal | Binary::Less | Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => {
            [None, None]
        }
        Binary::Mod => return None,
    })
}

fn reduce(b: &mut Builder, kind: Reduction, axes: &[usize], x: Value, y: Value, r: Value) -> Option<Value> {
    let full = b.ty(x).shape;
    let mut kept = full.clone();
    axes.iter().for_each(|a| kept.0[*a] = Dim::known(1));
    let spread = |b: &mut Builder, v: Value, to: &Shape| {
        let v = b.reshape(v, &kept);
        b.expand(v, to)
    };
    match kind {
        Reduction::Sum => Some(spread(b, r, &full)),
        Reduction::Max | Reduction::Min => {
            let extremum = b.reshape(y, &kept);
            let hit = b.binary(Binary::Equal, x, extremum);
            let ones = b.cast(hit, b.ty(x).dtype);
            let count = b.reduce(Reduction::Sum, ones, axes, true);
            let r = b.reshape(r, &kept);
            let each = b.guarded_div(r, count);
            Some(b.mul(ones, each))
        }
        Reduction::Prod => {
            let product = b.mul(r, y);
            let product = spread(b, product, &full);
            Some(b.guarded_div(product, x))
        }
        Reduction::ArgMax | Reduction::ArgMin => None,
    }
}
