//! Names of functions and expressions for entry points and files: letters, digits and `_` only.

use dlbc_ops::prim::{Binary, Unary};

use super::pointwise::{Kind, Term};

/// Returns the name of a unary function, without its parameters.
pub(crate) fn unary(f: Unary) -> &'static str {
    match f {
        Unary::Abs => "abs",
        Unary::Neg => "neg",
        Unary::Sign => "sign",
        Unary::Exp => "exp",
        Unary::Log => "log",
        Unary::Sqrt => "sqrt",
        Unary::Reciprocal => "reciprocal",
        Unary::Erf => "erf",
        Unary::Tanh => "tanh",
        Unary::Sigmoid => "sigmoid",
        Unary::Relu => "relu",
        Unary::LeakyRelu { .. } => "leakyrelu",
        Unary::Elu { .. } => "elu",
        Unary::HardSigmoid { .. } => "hardsigmoid",
        Unary::HardSwish => "hardswish",
        Unary::Softplus => "softplus",
        Unary::Softsign => "softsign",
        Unary::Clip { .. } => "clip",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Sin => "sin",
        Unary::Cos => "cos",
        Unary::Not => "not",
    }
}

/// Returns the name of a binary function.
pub(crate) fn binary(f: Binary) -> &'static str {
    match f {
        Binary::Add => "add",
        Binary::Sub => "sub",
        Binary::Mul => "mul",
        Binary::Div => "div",
        Binary::GuardedDiv => "guardeddiv",
        Binary::Pow => "pow",
        Binary::Min => "min",
        Binary::Max => "max",
        Binary::Mod => "mod",
        Binary::Equal => "equal",
        Binary::Less => "less",
        Binary::LessOrEqual => "lessorequal",
        Binary::And => "and",
        Binary::Or => "or",
        Binary::Xor => "xor",
    }
}

/// Spells a number with `p` for the decimal point and `m` for the minus sign.
fn number(x: f32) -> String {
    format!("{x:?}").replace('.', "p").replace('-', "m")
}

/// Spells a term: its function, the element type of its result unless that is float, its parameters, and the indices of its
/// operands.
///
/// Different terms have different names: no piece contains `_`, and the first piece determines how many follow.
pub(super) fn term(term: &Term, kind: Kind) -> String {
    let bound = |x: Option<f32>| x.map_or("n".into(), number);
    let (head, parameters, operands) = match *term {
        Term::Operand(i) => (format!("x{i}"), vec![], vec![]),
        Term::Float(x) => (format!("c{}", number(x)), vec![], vec![]),
        Term::Int(x) => (format!("i{x}").replace('-', "m"), vec![], vec![]),
        Term::Bool(x) => (x.to_string(), vec![], vec![]),
        Term::Unary(f, a) => {
            let parameters = match f {
                Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![number(alpha)],
                Unary::HardSigmoid { alpha, beta } => vec![number(alpha), number(beta)],
                Unary::Clip { min, max } => vec![bound(min), bound(max)],
                Unary::Abs
                | Unary::Neg
                | Unary::Sign
                | Unary::Exp
                | Unary::Log
                | Unary::Sqrt
                | Unary::Reciprocal
                | Unary::Erf
                | Unary::Tanh
                | Unary::Sigmoid
                | Unary::Relu
                | Unary::HardSwish
                | Unary::Softplus
                | Unary::Softsign
                | Unary::Floor
                | Unary::Ceil
                | Unary::Round
                | Unary::Sin
                | Unary::Cos
                | Unary::Not => vec![],
            };
            (unary(f).into(), parameters, vec![a])
        }
        Term::Binary(f, a, b) => (binary(f).into(), vec![], vec![a, b]),
        Term::Select(condition, a, b) => ("select".into(), vec![], vec![condition, a, b]),
        Term::Cast(to, a) => (format!("cast{to}"), vec![], vec![a]),
    };
    let kind = match kind {
        Kind::F => "",
        Kind::I => "I",
        Kind::B => "B",
    };
    let operands = operands.iter().map(usize::to_string);
    [format!("{head}{kind}")].into_iter().chain(parameters).chain(operands).collect::<Vec<_>>().join("_")
}
