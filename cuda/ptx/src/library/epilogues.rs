//! Epilogues of the library's products.

use dlbc_ops::prim::{Binary, Unary};

use crate::kernel::epilogue::{Broadcast, Epilogue, SideOperand};
use crate::kernel::pointwise::{Kind, Term};
use crate::kernel::storage::Storage;

const F: Kind = Kind::F;

fn binary(f: Binary, a: usize, b: usize) -> (Term, Kind) {
    (Term::Binary(f, a, b), F)
}

/// Returns an epilogue whose operands and result are float32.
fn epilogue(operands: &[Broadcast], terms: Vec<(Term, Kind)>) -> Epilogue {
    let operands = operands.iter().map(|broadcast| SideOperand::from(*broadcast)).collect();
    Epilogue { operands, terms, storage: Storage::F32 }
}

/// `max(y + bias, 0)` of a product `y`, with a bias per row.
pub(super) fn biased() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        binary(Binary::Add, 0, 1),
        (Term::Unary(Unary::Relu, 2), F),
    ];
    epilogue(&[Broadcast::Row], terms)
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
    epilogue(&[Broadcast::Column, Broadcast::Full], terms)
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
    epilogue(&[Broadcast::Full, Broadcast::Row, Broadcast::Scalar], terms)
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
    epilogue(&[Broadcast::Full], terms)
}

/// `y · |x|`.
pub(super) fn full_share() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        binary(Binary::Mul, 0, 2),
    ];
    epilogue(&[Broadcast::Full], terms)
}

/// An epilogue whose operands and result are bfloat16.
pub(super) fn narrow(epilogue: Epilogue) -> Epilogue {
    let narrow = |operand: SideOperand| SideOperand { storage: Storage::Bf16, ..operand };
    let operands = epilogue.operands.into_iter().map(narrow).collect();
    Epilogue { operands, storage: Storage::Bf16, ..epilogue }
}
