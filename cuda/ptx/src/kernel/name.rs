//! Names of functions and expressions, made of letters, digits and `_`, as entry points and files have them.

use dlbc_ops::prim::{Binary, Unary};

use super::pointwise::{Kind, Term};

/// The name of a function of one value, without its parameters.
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

/// The name of a function of two values.
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

/// A number: `p` is the point, `m` the minus sign.
fn number(x: f32) -> String {
    format!("{x:?}").replace('.', "p").replace('-', "m")
}

/// A term: its function with the kind of its result unless that is a float, parameters, and the places of its operands.
///
/// Different terms have different names: the parts have no `_` in them, and the first tells how many follow.
pub(super) fn term(term: &Term, kind: Kind) -> String {
    let limit = |x: Option<f32>| x.map_or("n".into(), number);
    let (head, parameters, operands) = match *term {
        Term::Operand(i) => (format!("x{i}"), vec![], vec![]),
        Term::Float(x) => (format!("c{}", number(x)), vec![], vec![]),
        Term::Int(x) => (format!("i{x}").replace('-', "m"), vec![], vec![]),
        Term::Bool(x) => (x.to_string(), vec![], vec![]),
        Term::Unary(f, a) => {
            let parameters = match f {
                Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![number(alpha)],
                Unary::HardSigmoid { alpha, beta } => vec![number(alpha), number(beta)],
                Unary::Clip { min, max } => vec![limit(min), limit(max)],
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
