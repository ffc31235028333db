//! Variants whose operands or results are stored in 16 bits, and other ways to put the kernel of a tile together.

use dlbc_ops::prim::Transform;

use super::epilogues::{full_share, narrow as narrowed, quotient, share, signed_sum};
use crate::kernel::conv::{Conv, Direction};
use crate::kernel::epilogue::Epilogue;
use crate::kernel::gemm::{Gemm, Layout, Math, SecondProduct, SecondSums, Skinny, Storage, Tile, Transfer};
use crate::kernel::pointwise::{Access, Chain, Kind, Operand, Term};
use crate::kernel::rows::{self, RowOperand, RowStore, Rows};

/// Returns the layout of a narrow operand along the depth or across it.
fn narrow(storage: Storage, depth_first: bool, vectorised: bool) -> Layout {
    Layout { depth_first, vectorised, storage }
}

/// Returns products of narrow operands for every unit, transfer and direction of memory.
pub(super) fn gemms() -> Vec<Gemm> {
    use Storage::{Bf16, F16};
    use Transform::{Abs, Id, Neg, Pos, Square};
    let across = Layout::default();
    let along = Layout { depth_first: true, ..across };
    let fast = Layout { vectorised: true, ..along };
    let variant =
        |transforms, layouts, tile, epilogue| Gemm { transforms, second: None, layouts, tile, epilogue };
    let staged = |tile: Tile| Tile { transfer: Transfer::Registers, ..tile };
    let none = Epilogue::default;
    let mut variants = vec![
        variant([Id, Abs], [along, narrow(Bf16, false, true)], Tile::tensor(Math::Split), none()),
        variant([Abs, Id], [fast, narrow(Bf16, true, true)], Tile::large_tensor(Math::Split), quotient()),
        variant([Id, Pos], [along, narrow(F16, false, true)], Tile::tensor(Math::Tf32), none()),
        variant([Id, Square], [along, narrow(F16, true, true)], Tile::tensor(Math::Split), none()),
        variant([Id, Abs], [fast, narrow(Bf16, true, true)], Tile::large_tensor(Math::Bf16), share()),
        variant([Id, Id], [along, narrow(Bf16, false, true)], Tile::tensor(Math::Bf16), none()),
        variant([Id, Neg], [along, narrow(Bf16, true, true)], Tile::tensor(Math::Bf16), none()),
        variant([Id, Id], [along, narrow(F16, true, true)], Tile::tensor(Math::Bf16), none()),
        variant([Abs, Id], [narrow(Bf16, true, true), across], Tile::tensor(Math::Split), full_share()),
        variant([Id, Abs], [along, narrow(Bf16, true, false)], staged(Tile::tensor(Math::Split)), none()),
        variant([Id, Id], [along, narrow(F16, false, false)], staged(Tile::tensor(Math::Bf16)), none()),
        variant([Id, Abs], [along, narrow(Bf16, false, true)], Tile::SMALL, none()),
        variant([Id, Id], [along, narrow(F16, true, false)], Tile::FLAT, none()),
    ];
    // Activations in bfloat16: both operands, the epilogue's, the result, and a second one.
    let both = [narrow(Bf16, true, true); 2];
    let to_bf16 = || Epilogue { storage: Bf16, ..none() };
    let stored = SecondProduct { transforms: [Abs; 2], sums: SecondSums::Stored(Bf16) };
    variants.extend([
        variant([Id, Abs], both, Tile::tensor(Math::Bf16), narrowed(share())),
        variant([Id, Id], both, Tile::large_tensor(Math::Bf16), narrowed(quotient())),
        variant([Abs, Id], [narrow(Bf16, true, false), along], staged(Tile::tensor(Math::Bf16)), to_bf16()),
        variant([Id, Id], [along, across], Tile::SMALL, narrowed(full_share())),
        Gemm { second: Some(stored), ..variant([Id, Id], both, Tile::tensor(Math::Bf16), to_bf16()) },
    ]);
    // Scalar threads behind asynchronous copies, and two sums in each way.
    let ring = Tile { transfer: Transfer::CpAsync, ..Tile::SMALL };
    let second = |transforms| Some(SecondProduct { transforms, sums: SecondSums::Operand });
    let vectorised = Layout { vectorised: true, ..across };
    let layouts = [along, vectorised];
    for (tile, layouts) in [
        (ring, layouts),
        (ring, [fast, narrow(Bf16, false, true)]),
        (Tile::SMALL, layouts),
        (staged(Tile::tensor(Math::Split)), [along, across]),
        (Tile::tensor(Math::Split), [fast, narrow(Bf16, true, true)]),
    ] {
        variants.push(Gemm {
            transforms: [Id, Id],
            second: second([Abs, Abs]),
            layouts,
            tile,
            epilogue: signed_sum(),
        });
    }
    variants
}

/// Returns products of few rows with narrow weights.
pub(super) fn skinny() -> Vec<Skinny> {
    let variant =
        |transforms, rows, layout| Skinny { transforms, rows, layout, epilogue: Epilogue::default() };
    vec![
        variant([Transform::Id, Transform::Abs], 4, narrow(Storage::Bf16, false, true)),
        variant([Transform::Id; 2], 8, narrow(Storage::F16, true, true)),
        variant([Transform::Id; 2], 2, narrow(Storage::Bf16, true, false)),
    ]
}

/// Returns convolutions with narrow weights.
pub(super) fn convs() -> Vec<Conv> {
    let variant = |direction, vectorised, weights, tile| {
        let (transforms, epilogue) = ([Transform::Abs, Transform::Id], Epilogue::default());
        Conv { direction, transforms, second: None, vectorised, weights, tile, epilogue }
    };
    let tensor = Tile::tensor(Math::Split);
    let staged = Tile { transfer: Transfer::Registers, ..tensor };
    vec![
        variant(Direction::Forward, true, Storage::Bf16, Some(tensor)),
        variant(Direction::Forward, false, Storage::F16, None),
        variant(Direction::Adjoint, false, Storage::Bf16, Some(staged)),
        variant(Direction::AdjointStrided, false, Storage::F16, Some(Tile::SMALL)),
    ]
}

/// Returns the variants of rows whose operands and results are bfloat16.
pub(super) fn rows() -> Vec<(String, Rows)> {
    let narrowed = |(name, rows): (String, Rows)| {
        let operand = |o: RowOperand| RowOperand { storage: Storage::Bf16, ..o };
        let store = |s: RowStore| RowStore { storage: Storage::Bf16, ..s };
        let operands = rows.operands.iter().copied().map(operand).collect();
        let stores = rows.stores.iter().copied().map(store).collect();
        (format!("{name}_bf16"), Rows { operands, stores, ..rows })
    };
    rows::variants().into_iter().map(narrowed).collect()
}

/// Returns chains that widen stored floats, and that store narrow ones.
pub(super) fn chains() -> Vec<(String, Chain)> {
    let linear = |storage| Operand { storage, ..Operand::new(Kind::F, Access::Linear) };
    let strided = |storage| Operand { storage, ..Operand::new(Kind::F, Access::Strided) };
    let terms = || vec![(Term::Operand(0), Kind::F)];
    let chain = |operands, rank, width| {
        let (out, storage) = (Access::Linear, Storage::F32);
        Chain { operands, terms: terms(), rank, out, storage, width }
    };
    let stored = |storage, chain: Chain| Chain { storage, ..chain };
    vec![
        ("store_bf16_v4".into(), stored(Storage::Bf16, chain(vec![linear(Storage::F32)], 0, 4))),
        ("store_f16_v4".into(), stored(Storage::F16, chain(vec![linear(Storage::Bf16)], 0, 4))),
        ("store_strided_bf16".into(), stored(Storage::Bf16, chain(vec![strided(Storage::F32)], 2, 1))),
        ("store_f16".into(), stored(Storage::F16, chain(vec![linear(Storage::F32)], 0, 1))),
        ("widen_bf16_v4".into(), chain(vec![linear(Storage::Bf16)], 0, 4)),
        ("widen_f16_v4".into(), chain(vec![linear(Storage::F16)], 0, 4)),
        ("widen_strided_bf16".into(), chain(vec![strided(Storage::Bf16)], 2, 1)),
        ("widen_f16".into(), chain(vec![linear(Storage::F16)], 0, 1)),
    ]
}
