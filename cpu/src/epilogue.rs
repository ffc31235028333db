//! Epilogues: elementwise steps on a product, applied while its rows are still in the cache.

use dlbc_ops::prim::Unary;

use super::cheap::unary;
use super::gemm::{Loop, widest};
use super::loops::guarded_div;

/// Operation on the product's elements `a`, with an operand `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepOp {
    /// `a + b`.
    Add,
    /// `a · b`.
    Mul,
    /// `b / a`, 0 where `a` is 0.
    DivideInto,
    /// A function of `a`; no operand.
    Map(Unary),
}

// Parameters of activations are never NaN.
impl Eq for StepOp {}

/// Broadcast of an operand to a product of `[rows, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// The operand has the shape of the product.
    Full,
    /// One element per row; the operand repeats after this many rows.
    Row(usize),
    /// One element per column; the operand repeats after this many columns.
    Column(usize),
}

/// A step of an epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: StepOp,
    /// Broadcast of the operand.
    pub broadcast: Broadcast,
    /// Index of the operand among the inputs of the node.
    pub input: usize,
}

/// Position of a piece of a row of the product.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Index of the row.
    pub row: usize,
    /// Elements per row.
    pub width: usize,
    /// Column of the piece's first element.
    pub at: usize,
}

/// Applies `steps` to the piece `a`. `inputs` are the inputs of the node.
pub fn apply(steps: &[Step], inputs: &[&[f32]], piece: Piece, a: &mut [f32]) {
    if !steps.is_empty() {
        widest(Apply { steps, inputs, piece, a });
    }
}

struct Apply<'a> {
    steps: &'a [Step],
    inputs: &'a [&'a [f32]],
    piece: Piece,
    a: &'a mut [f32],
}

impl Loop for Apply<'_> {
    #[inline(always)]
    fn run(self) {
        let Apply { steps, inputs, piece, a } = self;
        for step in steps {
            if let StepOp::Map(f) = step.op {
                unary(f, a);
                continue;
            }
            let b = inputs[step.input];
            match step.broadcast {
                Broadcast::Full => {
                    let start = piece.row * piece.width + piece.at;
                    zip(step.op, a, &b[start..start + a.len()]);
                }
                Broadcast::Row(period) => spread(step.op, a, b[piece.row % period]),
                Broadcast::Column(period) => {
                    let mut rest = &mut *a;
                    let mut at = piece.at % period;
                    while !rest.is_empty() {
                        let len = (period - at).min(rest.len());
                        let (now, later) = rest.split_at_mut(len);
                        zip(step.op, now, &b[at..at + len]);
                        (rest, at) = (later, 0);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn zip(op: StepOp, a: &mut [f32], b: &[f32]) {
    let pairs = a.iter_mut().zip(b);
    match op {
        StepOp::Add => pairs.for_each(|(a, b)| *a += b),
        StepOp::Mul => pairs.for_each(|(a, b)| *a *= b),
        StepOp::DivideInto => pairs.for_each(|(a, b)| *a = guarded_div(*b, *a)),
        StepOp::Map(_) => {}
    }
}

#[inline(always)]
fn spread(op: StepOp, a: &mut [f32], b: f32) {
    match op {
        StepOp::Add => a.iter_mut().for_each(|a| *a += b),
        StepOp::Mul => a.iter_mut().for_each(|a| *a *= b),
        StepOp::DivideInto => a.iter_mut().for_each(|a| *a = guarded_div(b, *a)),
        StepOp::Map(_) => {}
    }
}
