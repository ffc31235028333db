//! The fixed library: the variants that `cuda/kernels/manifest.json` lists, by family.

use dlbc_ops::prim::{Binary, Reduction, Transform, Unary};
use dlbc_ops::tensor::DType;

use crate::device::Kernel;
use crate::kernel::conv::{Conv, Direction};
use crate::kernel::epilogue::Epilogue;
use crate::kernel::gemm::{Gemm, Layout, Math, SecondProduct, SecondSums, Skinny, Storage, Tile, integer};
use crate::kernel::pointwise::{Access, Chain, Kind, Operand, Term};
use crate::kernel::reduce::{Pass, Reduce, Team};
use crate::kernel::{attention, index, order, pick, pool, rows, softmax, suppress, transpose, turn};

mod epilogues;
mod narrow;

use epilogues::{biased, full_share, quotient, share, signed_sum};

/// A kernel of the library.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Family, which determines the parameter block and the tests.
    pub family: &'static str,
    /// The emitted kernel.
    pub kernel: Kernel,
}

/// Emits every kernel of the fixed library. Further variants that a plan needs are emitted by the same code.
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
        for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
            add("reduce", reduce(reduction, Kind::F, team, Pass::Whole, 2));
        }
        add("reduce", reduce(Reduction::Sum, Kind::I, team, Pass::Whole, 1));
    }
    for (reduction, dtype) in
        [(Reduction::Sum, Kind::F), (Reduction::Max, Kind::F), (Reduction::Sum, Kind::I)]
    {
        add("reduce", reduce(reduction, dtype, Team::Block, Pass::Slices, 2));
    }
    for reduction in [Reduction::Sum, Reduction::Prod] {
        add("reduce", reduce(reduction, Kind::F, Team::Warp, Pass::Join, 1));
    }
    for (reduction, dtype) in [(Reduction::ArgMax, Kind::F), (Reduction::ArgMin, Kind::I)] {
        add("reduce", reduce(reduction, dtype, Team::Thread, Pass::Whole, 1));
    }
    add("softmax", softmax::softmax());
    for (name, kernel) in rows::variants().into_iter().chain(narrow::rows()) {
        add("pointwise", kernel.emit_as(&format!("rows_{name}")));
    }
    for (name, kernel) in attention::variants() {
        add("attention", kernel.emit_as(&format!("attention_{name}")));
    }
    add("attention", attention::mask::ruled_out());
    for copies in [1, 2, 5] {
        add("turn", turn::turn(copies));
    }
    for bytes in [4, 8] {
        add("pick", pick::pick(3, bytes));
        add("index", index::gather(bytes));
        add("index", index::overwrite(bytes));
    }
    for storage in [Storage::Bf16, Storage::F16] {
        add("index", index::gather_widened(storage));
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
        add("pool", pool::fold(kind, pool::Fold::Sum));
        add("pool", pool::fold(kind, pool::Fold::Max));
        add("pool", pool::spread(kind));
    }
    for ties in [pool::Ties::Split, pool::Ties::First] {
        add("pool", pool::shares(ties));
        add("pool", pool::give(ties));
    }
    for (name, chain) in chains() {
        add("pointwise", chain.emit_as(&format!("pointwise_{name}")));
    }
    entries
}

/// Emits a reduction whose result and whose reduced elements each have `axes` axes.
fn reduce(reduction: Reduction, dtype: Kind, team: Team, pass: Pass, axes: usize) -> Kernel {
    Reduce { reduction, dtype, team, kept_axes: axes, reduced_axes: axes, pass }.emit()
}

/// Returns products that cover every operand transform, layout, tile, arithmetic and kind of epilogue.
pub fn gemms() -> Vec<Gemm> {
    let across = Layout::default();
    let along = Layout { depth_first: true, ..across };
    let vectorised = [Layout { vectorised: true, ..along }, Layout { vectorised: true, ..across }];
    let mut variants = vec![];
    let mut add = |transforms, layouts, tile, epilogue| {
        variants.push(Gemm { transforms, second: None, layouts, tile, epilogue });
    };
    for transforms in [
        [Transform::Id, Transform::Id],
        [Transform::Abs, Transform::Abs],
        [Transform::Pos, Transform::Neg],
        [Transform::Square, Transform::One],
    ] {
        for tile in [Tile::FLAT, Tile::SMALL, Tile::LARGE, Tile::tensor(Math::Split)] {
            add(transforms, [along, across], tile, Epilogue::default());
        }
    }
    add([Transform::Id; 2], [across, along], Tile::SMALL, share());
    for math in [Math::Split, Math::Tf32, Math::Bf16] {
        add([Transform::Abs; 2], vectorised, Tile::large_tensor(math), quotient());
        add(
            [Transform::One, Transform::Pos],
            [across, vectorised[0]],
            Tile::tensor(math),
            Epilogue::default(),
        );
        add([Transform::Abs, Transform::Neg], [vectorised[1], along], Tile::tensor(math), share());
    }
    let tensor = |transforms, second, epilogue| {
        let tile = Tile::tensor(Math::Split);
        Gemm { transforms, second: Some(second), layouts: [along, vectorised[1]], tile, epilogue }
    };
    let second = SecondProduct { transforms: [Transform::Neg; 2], sums: SecondSums::Added };
    variants.push(tensor([Transform::Pos; 2], second, Epilogue::default()));
    let second = SecondProduct { transforms: [Transform::Id, Transform::Neg], sums: SecondSums::Operand };
    variants.push(tensor([Transform::Id, Transform::Pos], second, signed_sum()));
    let second = SecondProduct { transforms: [Transform::Abs; 2], sums: SecondSums::Stored(Storage::F32) };
    variants.push(tensor([Transform::Id; 2], second, Epilogue::default()));
    variants.push(tensor([Transform::Id; 2], second, share()));
    variants.extend(narrow::gemms());
    variants
}

/// Returns products of few rows that cover both layouts, scalar and vectorised.
pub fn skinny() -> Vec<Skinny> {
    let variant = |transforms, rows, layout, epilogue| Skinny { transforms, rows, layout, epilogue };
    let across = Layout::default();
    let along = Layout { depth_first: true, ..across };
    let mut variants = vec![
        variant([Transform::Id; 2], 16, across, Epilogue::default()),
        variant([Transform::Abs; 2], 4, Layout { vectorised: true, ..across }, quotient()),
        variant([Transform::Abs, Transform::One], 1, along, share()),
        variant(
            [Transform::Id, Transform::Neg],
            8,
            Layout { vectorised: true, ..along },
            Epilogue::default(),
        ),
    ];
    variants.extend(narrow::skinny());
    variants
}

/// Returns convolutions that cover every direction, tile and arithmetic.
pub fn convs() -> Vec<Conv> {
    let mut variants = vec![];
    for direction in [Direction::Forward, Direction::Adjoint, Direction::AdjointStrided] {
        let transforms = [Transform::Abs, Transform::Id];
        let mut add = |tile, vectorised, epilogue| {
            let weights = Storage::F32;
            variants.push(Conv { direction, transforms, second: None, vectorised, weights, tile, epilogue });
        };
        let epilogue = || if direction == Direction::Forward { biased() } else { Epilogue::default() };
        let split = Tile::tensor(Math::Split);
        for tile in [None, Some(Tile::FLAT), Some(Tile::SMALL), Some(Tile::LARGE), Some(split)] {
            add(tile, false, epilogue());
        }
        if direction == Direction::Forward {
            add(Some(Tile::large_tensor(Math::Split)), true, biased());
            add(Some(Tile::tensor(Math::Bf16)), true, biased());
        }
        if direction == Direction::Adjoint {
            add(Some(Tile::tensor(Math::Tf32)), false, full_share());
        }
    }
    let tensor = |direction, transforms, second, epilogue| {
        let tile = Some(Tile::tensor(Math::Split));
        let weights = Storage::F32;
        Conv { direction, transforms, second: Some(second), vectorised: false, weights, tile, epilogue }
    };
    let second = SecondProduct { transforms: [Transform::Neg; 2], sums: SecondSums::Added };
    variants.push(tensor(Direction::Forward, [Transform::Pos; 2], second, biased()));
    let second = SecondProduct { transforms: [Transform::Neg, Transform::Id], sums: SecondSums::Operand };
    variants.push(tensor(Direction::Adjoint, [Transform::Pos, Transform::Id], second, signed_sum()));
    for storage in [Storage::F32, Storage::Bf16] {
        let second = SecondProduct { transforms: [Transform::Abs; 2], sums: SecondSums::Stored(storage) };
        variants.push(tensor(Direction::Forward, [Transform::Id; 2], second, biased()));
    }
    variants.extend(narrow::convs());
    variants
}

/// Returns a few chains: functions that take many instructions, a selection of every kind, and a vectorised chain. Random
/// expressions over all functions are tested by `cuda/ptxsim/tests/expressions.rs`.
pub fn chains() -> Vec<(String, Chain)> {
    let linear = |kind| Operand::new(kind, Access::Linear);
    let chain = |operands: Vec<Kind>, function: (Term, Kind)| {
        let reads = operands.iter().enumerate().map(|(i, kind)| (Term::Operand(i), *kind));
        let terms = reads.chain([function]).collect();
        let operands = operands.iter().map(|kind| linear(*kind)).collect();
        Chain { operands, terms, rank: 0, out: Access::Linear, storage: Storage::F32, width: 1 }
    };
    let (f, i) = (Kind::F, Kind::I);
    let mut chains: Vec<(String, Chain)> = vec![
        ("erf".into(), chain(vec![f], (Term::Unary(Unary::Erf, 0), f))),
        ("sin".into(), chain(vec![f], (Term::Unary(Unary::Sin, 0), f))),
        ("softplus".into(), chain(vec![f], (Term::Unary(Unary::Softplus, 0), f))),
        ("pow".into(), chain(vec![f, f], (Term::Binary(Binary::Pow, 0, 1), f))),
        ("pow_s64".into(), chain(vec![i, i], (Term::Binary(Binary::Pow, 0, 1), i))),
        ("mod_s64".into(), chain(vec![i, i], (Term::Binary(Binary::Mod, 0, 1), i))),
        ("cast_f32_i64".into(), chain(vec![f], (Term::Cast(DType::I64, 0), i))),
        ("cast_f32_bf16".into(), chain(vec![f], (Term::Cast(DType::Bf16, 0), f))),
    ];
    for kind in [Kind::F, Kind::I, Kind::B] {
        let access = Access::Strided;
        let operands = vec![Operand::new(Kind::B, access), Operand::new(kind, access), linear(kind)];
        let terms = vec![
            (Term::Operand(0), Kind::B),
            (Term::Operand(1), kind),
            (Term::Operand(2), kind),
            (Term::Select(0, 1, 2), kind),
        ];
        let storage = Storage::F32;
        let chain = Chain { operands, terms, rank: 3, out: Access::Strided, storage, width: 1 };
        chains.push((format!("select_strided_{}", kind.suffix()), chain));
    }
    // Last step of the proportional rule, four elements per thread: `|x| · c + bias`.
    let terms = vec![
        (Term::Operand(0), Kind::F),
        (Term::Operand(1), Kind::F),
        (Term::Operand(2), Kind::F),
        (Term::Unary(Unary::Abs, 0), Kind::F),
        (Term::Binary(Binary::Mul, 3, 1), Kind::F),
        (Term::Binary(Binary::Add, 4, 2), Kind::F),
    ];
    let scalar = Operand::new(Kind::F, Access::Scalar);
    let operands = vec![linear(Kind::F), linear(Kind::F), scalar];
    let storage = Storage::F32;
    let chain = Chain { operands, terms, rank: 0, out: Access::Linear, storage, width: 4 };
    chains.push(("abs_mul_add_v4".into(), chain));
    chains.extend(narrow::chains());
    chains
}
