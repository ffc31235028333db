//! What follows a product element by element, done while its rows are still in the cache.

use dlbc_ops::prim::Unary;

use super::cheap::unary;
use super::gemm::{Loop, widest};
use super::loops::guarded_div;

/// What is done to the product's elements `a`, with an operand `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// `a + b`.
    Add,
    /// `a · b`.
    Mul,
    /// `b / a`, 0 where `a` is 0.
    Into,
    /// A function of `a`; no operand.
    Map(Unary),
}

// Parameters of activations are never NaN.
impl Eq for Then {}

/// How an operand lies beside a product of `[rows, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Of the product's shape.
    Full,
    /// One element for each row, the rows repeating every so many.
    Row(usize),
    /// One element for each column, the columns repeating every so many.
    Column(usize),
}

/// One step, with the index of its operand among the node's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub then: Then,
    /// How the operand lies.
    pub reach: Reach,
    /// Which input of the node it is.
    pub input: usize,
}

/// A piece of a row of the product.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The row.
    pub row: usize,
    /// Elements of a row.
    pub width: usize,
    /// Where the piece begins in its row.
    pub at: usize,
}

/// Does `steps` to a piece. `inputs` are the node's inputs.
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
            if let Then::Map(f) = step.then {
                unary(f, a);
                continue;
            }
            let b = inputs[step.input];
            match step.reach {
                Reach::Full => {
                    let from = piece.row * piece.width + piece.at;
                    zip(step.then, a, &b[from..from + a.len()]);
                }
                Reach::Row(period) => spread(step.then, a, b[piece.row % period]),
                Reach::Column(period) => {
                    let mut rest = &mut *a;
                    let mut at = piece.at % period;
                    while !rest.is_empty() {
                        let len = (period - at).min(rest.len());
                        let (now, later) = rest.split_at_mut(len);
                        zip(step.then, now, &b[at..at + len]);
                        (rest, at) = (later, 0);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn zip(then: Then, a: &mut [f32], b: &[f32]) {
    let pairs = a.iter_mut().zip(b);
    match then {
        Then::Add => pairs.for_each(|(a, b)| *a += b),
        Then::Mul => pairs.for_each(|(a, b)| *a *= b),
        Then::Into => pairs.for_each(|(a, b)| *a = guarded_div(*b, *a)),
        Then::Map(_) => {}
    }
}

#[inline(always)]
fn spread(then: Then, a: &mut [f32], b: f32) {
    match then {
        Then::Add => a.iter_mut().for_each(|a| *a += b),
        Then::Mul => a.iter_mut().for_each(|a| *a *= b),
        Then::Into => a.iter_mut().for_each(|a| *a = guarded_div(b, *a)),
        Then::Map(_) => {}
    }
}
