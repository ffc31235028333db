//! Random elementwise expressions: the emitted text on the interpreter against a float64 evaluation.

#![allow(clippy::unwrap_used, missing_docs)]

mod cases;

use std::collections::BTreeSet;

use cases::{Random, chains, run};
use dlbc_ops::prim::{Binary, Unary};
use dlbc_ops::tensor::DType;
use dlbc_ptx::kernel::pointwise::{Access, Chain, Kind, Operand, Term};
use dlbc_ptx::kernel::storage::Storage;
use dlbc_ptxsim::load;

/// Number of expressions. `DLBC_EXPRESSIONS` sets another one, `DLBC_EXPRESSION` the first seed.
const EXPRESSIONS: u64 = 400;

const FLOAT_UNARY: [Unary; 23] = [
    Unary::Abs,
    Unary::Neg,
    Unary::Sign,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Erf,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Relu,
    Unary::LeakyRelu { alpha: 0.1 },
    Unary::Elu { alpha: 0.5 },
    Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Unary::HardSwish,
    Unary::Softplus,
    Unary::Softsign,
    Unary::Clip { min: Some(-0.5), max: Some(0.75) },
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
];
const INTEGER_UNARY: [Unary; 5] =
    [Unary::Abs, Unary::Neg, Unary::Sign, Unary::Relu, Unary::Clip { min: Some(-2.5), max: Some(3.0) }];
const NUMBERS: [Binary; 12] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::GuardedDiv,
    Binary::Pow,
    Binary::Min,
    Binary::Max,
    Binary::Mod,
    Binary::Equal,
    Binary::Less,
    Binary::LessOrEqual,
];
const LOGIC: [Binary; 4] = [Binary::And, Binary::Or, Binary::Xor, Binary::Equal];
const TYPES: [DType; 8] =
    [DType::I64, DType::U8, DType::I8, DType::I32, DType::Bool, DType::F32, DType::F16, DType::Bf16];

fn choose<T: Copy>(random: &mut Random, list: &[T]) -> T {
    list[random.bits() as usize % list.len()]
}

/// Draws an expression: up to four operands, up to eight functions of earlier terms.
fn drawn(random: &mut Random) -> Chain {
    let strided = random.bits().is_multiple_of(2);
    let vectorised = !strided && random.bits().is_multiple_of(3);
    let kinds = if vectorised { &[Kind::F][..] } else { &[Kind::F, Kind::F, Kind::I, Kind::B] };
    let count = 1 + random.bits() as usize % 4;
    let operands: Vec<Operand> = (0..count)
        .map(|i| {
            // The first is never a scalar, so that results differ.
            let accesses = match (strided, i) {
                (true, 0) => &[Access::Strided][..],
                (true, _) => &[Access::Strided, Access::Linear, Access::Scalar],
                (false, 0) => &[Access::Linear],
                (false, _) => &[Access::Linear, Access::Linear, Access::Scalar],
            };
            // A scalar is read as a float32.
            let access = choose(random, accesses);
            let storage = match access {
                Access::Scalar => Storage::F32,
                _ => choose(random, &[Storage::F32, Storage::F32, Storage::Bf16, Storage::F16]),
            };
            Operand { storage, ..Operand::new(choose(random, kinds), access) }
        })
        .collect();
    let mut terms: Vec<(Term, Kind)> =
        operands.iter().enumerate().map(|(i, o)| (Term::Operand(i), o.kind)).collect();
    terms.push(match choose(random, &[Kind::F, Kind::F, Kind::I, Kind::B]) {
        Kind::F => (Term::Float(random.float() * 3.0), Kind::F),
        Kind::I if !vectorised => (Term::Int(random.bits() as i64 % 9 - 4), Kind::I),
        Kind::B if !vectorised => (Term::Bool(random.bits().is_multiple_of(2)), Kind::B),
        _ => (Term::Float(0.0), Kind::F),
    });
    for _ in 0..1 + random.bits() % 8 {
        let next = function(random, &terms, vectorised);
        terms.push(next);
    }
    // A vectorised result is a float.
    let result = terms.last().map_or(Kind::F, |(_, kind)| *kind);
    let width = if vectorised && result == Kind::F { 4 } else { 1 };
    let out = if strided { choose(random, &[Access::Strided, Access::Linear]) } else { Access::Linear };
    let rank = if strided { 1 + random.bits() as usize % 6 } else { 0 };
    let storage = match out {
        Access::Linear => choose(random, &[Storage::F32, Storage::F32, Storage::Bf16, Storage::F16]),
        _ => Storage::F32,
    };
    Chain { operands, terms, rank, out, storage, width }
}

fn function(random: &mut Random, terms: &[(Term, Kind)], float: bool) -> (Term, Kind) {
    let pick = |random: &mut Random, kind: Kind| {
        let fitting: Vec<usize> = (0..terms.len()).filter(|i| terms[*i].1 == kind).collect();
        // The latest terms more often, so that expressions grow deep.
        (!fitting.is_empty()).then(|| {
            let tail = &fitting[fitting.len().saturating_sub(3)..];
            if random.bits().is_multiple_of(2) { choose(random, tail) } else { choose(random, &fitting) }
        })
    };
    loop {
        let kind =
            if float { Kind::F } else { choose(random, &[Kind::F, Kind::F, Kind::F, Kind::I, Kind::B]) };
        let Some(a) = pick(random, kind) else { continue };
        match random.bits() % 8 {
            0..=2 => {
                let f = match kind {
                    Kind::F => choose(random, &FLOAT_UNARY),
                    Kind::I => choose(random, &INTEGER_UNARY),
                    Kind::B => Unary::Not,
                };
                return (Term::Unary(f, a), kind);
            }
            3..=5 => {
                let Some(b) = pick(random, kind) else { continue };
                let f = choose(random, if kind == Kind::B { &LOGIC } else { &NUMBERS });
                let result = if f.is_predicate() { Kind::B } else { kind };
                if !(float && result != Kind::F) {
                    return (Term::Binary(f, a, b), result);
                }
            }
            6 => {
                let (Some(c), Some(b)) = (pick(random, Kind::B), pick(random, kind)) else { continue };
                return (Term::Select(c, a, b), kind);
            }
            _ => {
                let to = choose(random, &TYPES);
                if !(float && Kind::of(to) != Kind::F) {
                    return (Term::Cast(to, a), Kind::of(to));
                }
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn random_expressions_equal_their_evaluation() {
    let first = number("DLBC_EXPRESSION", 0);
    let (mut functions, mut cases_run, mut determined) = (BTreeSet::new(), 0, 0.0);
    for seed in first..first + number("DLBC_EXPRESSIONS", EXPRESSIONS) {
        let chain = drawn(&mut Random::new(seed + 1));
        for (term, kind) in &chain.terms {
            functions.insert(match term {
                Term::Unary(f, _) => format!("{} {kind:?}", f.word()),
                Term::Binary(f, a, _) => format!("{} {:?}", f.word(), chain.terms[*a].1),
                Term::Cast(to, a) => format!("cast {to} {:?}", chain.terms[*a].1),
                Term::Select(..) => format!("select {kind:?}"),
                Term::Operand(_) | Term::Float(_) | Term::Int(_) | Term::Bool(_) => continue,
            });
        }
        let kernel = chain.emit();
        let program = load(&kernel).unwrap_or_else(|e| panic!("expression {seed}: {e}\n{chain:?}"));
        for case in chains::chain(&chain) {
            let (results, _) = run(&case, &program, seed)
                .unwrap_or_else(|e| panic!("expression {seed} on {}: {e}\n{chain:?}", case.shape));
            case.check(&results)
                .unwrap_or_else(|e| panic!("expression {seed} on {}: {e}\n{:?}", case.shape, chain.terms));
            determined += case.expected[0].determined();
            cases_run += 1;
        }
    }
    let share = determined / f64::from(cases_run);
    println!(
        "{cases_run} cases, {} functions, {:.0} % of the elements determined",
        functions.len(),
        100.0 * share
    );
    if first == 0 {
        assert!(share > 0.6, "{share}");
        let count = FLOAT_UNARY.len()
            + INTEGER_UNARY.len()
            + 1
            + 2 * NUMBERS.len()
            + LOGIC.len()
            + 3 * TYPES.len()
            + 3;
        assert!(
            functions.len() + 2 >= count,
            "{} of {count} functions occur: {functions:?}",
            functions.len()
        );
    }
}
