//! The fixed library: the variants that `cuda/kernels/manifest.json` lists, by family.

use dlbc_ops::prim::{Binary, Reduction, Transform, Unary};
use dlbc_ops::tensor::DType;

use crate::device::Kernel;
use crate::kernel::conv::{Conv, Way};
use crate::kernel::epilogue::{Epilogue, Reach};
use crate::kernel::gemm::{Gemm, Layout, Math, Second, Skinny, Tile, integer};
use crate::kernel::pointwise::{Access, Chain, Kind, Operand, Term};
use crate::kernel::reduce::{Pass, Reduce, Team};
use crate::kernel::{attention, index, name, order, pick, pool, softmax, suppress, transpose, turn};

/// A kernel of the library and the family whose tests it belongs to.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The family.
    pub family: &'static str,
    /// The kernel.
    pub kernel: Kernel,
}

/// Every kernel of the fixed library. What a plan needs beyond them is emitted by the same code.
pub fn library() -> Vec<Entry> {
    let mut entries = vec![];
    let mut add = |family, kernel| entries.push(Entry { family, kernel });
    for variant in gemms() {
        add("gemm", variant.emit());
    }
    for variant in skinny() {
        add("gemm", variant.emit());
    }
    add("gemm", integer([Transform::Id; 2]));
    for variant in convs() {
        add("conv", variant.emit());
    }
    for team in [Team::Thread, Team::Warp, Team::Block] {
        for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
            add("reduce", Reduce { kind, of: Kind::F, team, kept: 2, reduced: 2, pass: Pass::Whole }.emit());
        }
        let (kind, pass) = (Reduction::Sum, Pass::Whole);
        add("reduce", Reduce { kind, of: Kind::I, team, kept: 1, reduced: 1, pass }.emit());
    }
    for (kind, of) in [(Reduction::Sum, Kind::F), (Reduction::Max, Kind::F), (Reduction::Sum, Kind::I)] {
        let (team, pass) = (Team::Block, Pass::Slices);
        add("reduce", Reduce { kind, of, team, kept: 2, reduced: 2, pass }.emit());
    }
    for kind in [Reduction::Sum, Reduction::Prod] {
        let (of, team, pass) = (Kind::F, Team::Warp, Pass::Join);
        add("reduce", Reduce { kind, of, team, kept: 1, reduced: 1, pass }.emit());
    }
    for (kind, of) in [(Reduction::ArgMax, Kind::F), (Reduction::ArgMin, Kind::I)] {
        add("reduce", Reduce { kind, of, team: Team::Thread, kept: 1, reduced: 1, pass: Pass::Whole }.emit());
    }
    add("softmax", softmax::softmax());
    for (name, kernel) in attention::variants() {
        add("attention", kernel.emit_as(&format!("attention_{name}")));
    }
    for copies in [1, 2, 5] {
        add("turn", turn::turn(copies));
    }
    for bytes in [4, 8] {
        add("pick", pick::pick(3, bytes));
        add("index", index::gather(bytes));
        add("index", index::overwrite(bytes));
    }
    add("index", index::resolve());
    add("index", index::starts());
    add("index", index::scatter_add(Kind::F));
    add("index", index::scatter_add(Kind::I));
    for kind in [Kind::F, Kind::I] {
        add("order", order::keys(kind));
        add("order", order::rank(kind.bytes()));
        add("order", order::digits(kind.bytes()));
        add("order", order::shift(kind.bytes()));
    }
    for bytes in [4, 8] {
        add("transpose", transpose::transpose(bytes));
    }
    add("order", order::scan());
    add("order", order::top());
    add("order", order::columns());
    for center in [false, true] {
        add("suppress", suppress::suppress(center));
    }
    add("suppress", suppress::collect());
    for kind in [Kind::F, Kind::I] {
        add("pool", pool::fold(kind, false));
        add("pool", pool::fold(kind, true));
        add("pool", pool::spread(kind));
    }
    for first in [false, true] {
        add("pool", pool::shares(first));
        add("pool", pool::give(first));
    }
    for (name, chain) in chains() {
        add("pointwise", chain.emit_as(&format!("pointwise_{name}")));
    }
    entries
}

/// Products: every part of an operand, every layout, tile and arithmetic, and what follows.
pub fn gemms() -> Vec<Gemm> {
    let across = Layout { depth_first: false, wide: false };
    let along = Layout { depth_first: true, wide: false };
    let wide = [Layout { wide: true, ..along }, Layout { wide: true, ..across }];
    let mut found = vec![];
    let mut add = |parts, layouts, tile, then| found.push(Gemm { parts, second: None, layouts, tile, then });
    for parts in [
        [Transform::Id, Transform::Id],
        [Transform::Abs, Transform::Abs],
        [Transform::Pos, Transform::Neg],
        [Transform::Square, Transform::One],
    ] {
        for tile in [Tile::FLAT, Tile::SMALL, Tile::LARGE, Tile::tensor(Math::Split)] {
            add(parts, [along, across], tile, Epilogue::default());
        }
    }
    add([Transform::Id; 2], [across, along], Tile::SMALL, share());
    for math in [Math::Split, Math::Tf32, Math::Bf16] {
        add([Transform::Abs; 2], wide, Tile::large_tensor(math), quotient());
        add([Transform::One, Transform::Pos], [across, wide[0]], Tile::tensor(math), Epilogue::default());
        add([Transform::Abs, Transform::Neg], [wide[1], along], Tile::tensor(math), share());
    }
    let tensor = |parts, second, then| {
        let tile = Tile::tensor(Math::Split);
        Gemm { parts, second: Some(second), layouts: [along, wide[1]], tile, then }
    };
    let second = Second { parts: [Transform::Neg; 2], apart: false };
    found.push(tensor([Transform::Pos; 2], second, Epilogue::default()));
    let second = Second { parts: [Transform::Id, Transform::Neg], apart: true };
    found.push(tensor([Transform::Id, Transform::Pos], second, sides()));
    found
}

/// Products of few rows: both layouts, one element at a time and four.
pub fn skinny() -> Vec<Skinny> {
    let variant = |parts, rows, depth_first, wide, then| {
        let layout = Layout { depth_first, wide };
        Skinny { parts, rows, layout, then }
    };
    vec![
        variant([Transform::Id; 2], 16, false, false, Epilogue::default()),
        variant([Transform::Abs; 2], 4, false, true, quotient()),
        variant([Transform::Abs, Transform::One], 1, true, false, share()),
        variant([Transform::Id, Transform::Neg], 8, true, true, Epilogue::default()),
    ]
}

/// Convolutions: every way, tile and arithmetic.
pub fn convs() -> Vec<Conv> {
    let mut found = vec![];
    for way in [Way::Forward, Way::Adjoint, Way::AdjointStrided] {
        let parts = [Transform::Abs, Transform::Id];
        let mut add = |tile, wide, then| found.push(Conv { way, parts, second: None, wide, tile, then });
        let then = || if way == Way::Forward { biased() } else { Epilogue::default() };
        let split = Tile::tensor(Math::Split);
        for tile in [None, Some(Tile::FLAT), Some(Tile::SMALL), Some(Tile::LARGE), Some(split)] {
            add(tile, false, then());
        }
        if way == Way::Forward {
            add(Some(Tile::large_tensor(Math::Split)), true, biased());
            add(Some(Tile::tensor(Math::Bf16)), true, biased());
        }
        if way == Way::Adjoint {
            add(Some(Tile::large_tensor(Math::Tf32)), false, full_share());
        }
    }
    let tensor = |way, parts, second, then| {
        let tile = Some(Tile::tensor(Math::Split));
        Conv { way, parts, second: Some(second), wide: false, tile, then }
    };
    let second = Second { parts: [Transform::Neg; 2], apart: false };
    found.push(tensor(Way::Forward, [Transform::Pos; 2], second, biased()));
    let second = Second { parts: [Transform::Neg, Transform::Id], apart: true };
    found.push(tensor(Way::Adjoint, [Transform::Pos, Transform::Id], second, sides()));
    found
}

const F: Kind = Kind::F;

fn binary(f: Binary, a: usize, b: usize) -> (Term, Kind) {
    (Term::Binary(f, a, b), F)
}

/// `max(· + bias, 0)`, a bias for each row.
fn biased() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        binary(Binary::Add, 0, 1),
        (Term::Unary(Unary::Relu, 2), F),
    ];
    Epilogue { operands: vec![Reach::Row], terms }
}

/// `r / (· + |bias|)`, 0 where that is 0: the proportional rule's quotient.
fn quotient() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        (Term::Operand(2), F),
        binary(Binary::Add, 0, 2),
        binary(Binary::GuardedDiv, 3, 4),
    ];
    Epilogue { operands: vec![Reach::Column, Reach::Full], terms }
}

/// `(· + row) · |x| · scale`.
fn share() -> Epilogue {
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
    Epilogue { operands: vec![Reach::Full, Reach::Row, Reach::One], terms }
}

/// `· max(x, 0) + ·· min(x, 0)` of two sums.
fn sides() -> Epilogue {
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
    Epilogue { operands: vec![Reach::Full], terms }
}

/// `· |x|`.
fn full_share() -> Epilogue {
    let terms = vec![
        (Term::Operand(0), F),
        (Term::Operand(1), F),
        (Term::Unary(Unary::Abs, 1), F),
        binary(Binary::Mul, 0, 2),
    ];
    Epilogue { operands: vec![Reach::Full], terms }
}

/// Chains that together hold every function.
pub fn chains() -> Vec<(String, Chain)> {
    let floats = [
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
    let integers =
        [Unary::Abs, Unary::Neg, Unary::Sign, Unary::Relu, Unary::Clip { min: Some(-2.5), max: Some(3.0) }];
    let numbers = [
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
    let linear = |kind| Operand { kind, access: Access::Linear };
    let mut found = vec![];
    for (kind, list, suffix) in [(Kind::F, &floats[..], ""), (Kind::I, &integers[..], "_s64")] {
        for f in list {
            let terms = vec![(Term::Operand(0), kind), (Term::Unary(*f, 0), kind)];
            let chain = Chain { operands: vec![linear(kind)], terms, rank: 0, out: Access::Linear, width: 1 };
            found.push((format!("{}{suffix}", name::unary(*f)), chain));
        }
        for f in numbers {
            let result = if f.is_predicate() { Kind::B } else { kind };
            let terms =
                vec![(Term::Operand(0), kind), (Term::Operand(1), kind), (Term::Binary(f, 0, 1), result)];
            let operands = vec![linear(kind); 2];
            let chain = Chain { operands, terms, rank: 0, out: Access::Linear, width: 1 };
            found.push((format!("{}{suffix}", name::binary(f)), chain));
        }
    }
    for f in [Binary::And, Binary::Or, Binary::Xor, Binary::Equal] {
        let terms = vec![
            (Term::Operand(0), Kind::B),
            (Term::Operand(1), Kind::B),
            (Term::Unary(Unary::Not, 0), Kind::B),
            (Term::Binary(f, 2, 1), Kind::B),
        ];
        let operands = vec![linear(Kind::B); 2];
        let chain = Chain { operands, terms, rank: 0, out: Access::Linear, width: 1 };
        found.push((format!("not_{}_b", name::binary(f)), chain));
    }
    let casts = [
        (Kind::F, DType::I64),
        (Kind::F, DType::U8),
        (Kind::F, DType::Bool),
        (Kind::F, DType::F16),
        (Kind::F, DType::Bf16),
        (Kind::I, DType::F32),
        (Kind::I, DType::I8),
        (Kind::I, DType::Bool),
        (Kind::B, DType::F32),
        (Kind::B, DType::I64),
    ];
    for (from, to) in casts {
        let terms = vec![(Term::Operand(0), from), (Term::Cast(to, 0), Kind::of(to))];
        let chain = Chain { operands: vec![linear(from)], terms, rank: 0, out: Access::Linear, width: 1 };
        found.push((format!("cast_{}_{to}", from.suffix()), chain));
    }
    for kind in [Kind::F, Kind::I, Kind::B] {
        let access = Access::Strided;
        let operands = vec![Operand { kind: Kind::B, access }, Operand { kind, access }, linear(kind)];
        let terms = vec![
            (Term::Operand(0), Kind::B),
            (Term::Operand(1), kind),
            (Term::Operand(2), kind),
            (Term::Select(0, 1, 2), kind),
        ];
        let chain = Chain { operands, terms, rank: 3, out: Access::Strided, width: 1 };
        found.push((format!("select_strided_{}", kind.suffix()), chain));
    }
    // The proportional rule's last step, four elements a thread: `|x| · c + bias`.
    let terms = vec![
        (Term::Operand(0), Kind::F),
        (Term::Operand(1), Kind::F),
        (Term::Operand(2), Kind::F),
        (Term::Unary(Unary::Abs, 0), Kind::F),
        (Term::Binary(Binary::Mul, 3, 1), Kind::F),
        (Term::Binary(Binary::Add, 4, 2), Kind::F),
    ];
    let scalar = Operand { kind: Kind::F, access: Access::Scalar };
    let operands = vec![linear(Kind::F), linear(Kind::F), scalar];
    found.push(("abs_mul_add_v4".into(), Chain { operands, terms, rank: 0, out: Access::Linear, width: 4 }));
    found
}
