//! Epilogues of the library's products.

use dlbc_ops::prim::{Binary, Unary};

use crate::kernel::epilogue::{Broadcast, Epilogue};
use crate::kernel::pointwise::{Kind, Term};

const F: Kind = Kind::F;

fn binary(f: Binary, a: usize, b: usize) -> (Term, Kind) {
    (Term::Binary(f, a, b), F)
}

/// `max(y + bias, 0)` of a product `y`, with a bias per row.
pub(super) fn biased() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        binary(Binary::Add, 0, 1),
        (Term::Unary(Unary::Relu, 2), F),
    ];
    Epilogue { operands: vec![Broadcast::Row], terms }
}

/// `r / (y + |bias|)`, 0 where the denominator is 0: the quotient of the proportional rule.
pub(super) fn quotient() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        (Term::Operand(2), F),
        binary(Binary::Add, 0, 2),
        binary(Binary::GuardedDiv, 3, 4),
    ];
    Epilogue { operands: vec![Broadcast::Column, Broadcast::Full], terms }
}

/// `(y + row) · |x| · scale`.
pub(super) fn share() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        (Term::Operand(2), F),
        binary(Binary::Add, 0, 3),
        binary(Binary::Mul, 4, 2),
        (Term::Operand(3), F),
        binary(Binary::Mul, 5, 6),
    ];
    Epilogue { operands: vec![Broadcast::Full, Broadcast::Row, Broadcast::Scalar], terms }
}

/// `y · max(x, 0) + z · min(x, 0)` of two products `y` and `z`.
pub(super) fn signed_sum() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(2), F),
        (Term::Unary(Unary::Relu, 1), F),
        binary(Binary::Mul, 0, 2),
        (Term::Operand(1), F),
        (Term::Float(0.0), F),
        binary(Binary::Min, 1, 5),
        binary(Binary::Mul, 4, 6),
        binary(Binary::Add, 3, 7),
    ];
    Epilogue { operands: vec![Broadcast::Full], terms }
}

/// `y · |x|`.
pub(super) fn full_share() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        binary(Binary::Mul, 0, 2),
    ];
    Epilogue { operands: vec![Broadcast::Full], terms }
}
