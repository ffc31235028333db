//! Tiles of attention scores that a mask rules out, so that kernels skip them.

use dlbc_ops::prim::{Binary, Unary};
use dlbc_ptx::kernel::attention::EXTENT;
use dlbc_ptx::kernel::attention::mask::{MaskParams, ruled_out};
use dlbc_ptx::kernel::pointwise::{Kind, Term};

use super::view::kernel_strides;
use super::{Planner, SETUP, Use, View};

/// State of a term where the mask rules out its element.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    /// The mask itself, or a sum with it: as small as the mask.
    Masked,
    /// The mask's difference to its row's maximum, which is as small.
    Shifted,
    /// Exactly 0.
    Zero,
    /// Anything.
    Any,
}

/// Returns whether the tiles that operand `mask` rules out contribute nothing: the expression is the operand of a softmax
/// (`is_softmax`), or 0 where its weights are 0.
pub(super) fn contributes_nothing(terms: &[(Term, Kind)], mask: usize, is_softmax: bool) -> bool {
    let mut states: Vec<Where> = vec![];
    for (term, _) in terms {
        let state = |i: &usize| states[*i];
        let is_zero = |i: &usize| states[*i] == Where::Zero;
        states.push(match term {
            Term::Operand(i) if *i == mask => Where::Masked,
            Term::Float(0.0) => Where::Zero,
            Term::Binary(Binary::Add, a, b) if is_zero(a) && is_zero(b) => Where::Zero,
            Term::Binary(Binary::Add, a, b) if [a, b].map(state).contains(&Where::Masked) => Where::Masked,
            Term::Binary(Binary::Sub, a, b) if is_zero(a) && is_zero(b) => Where::Zero,
            Term::Binary(Binary::Sub, a, _) if state(a) == Where::Masked => Where::Shifted,
            Term::Unary(Unary::Exp, a) if state(a) == Where::Shifted => Where::Zero,
            Term::Unary(Unary::Neg | Unary::Abs, a) if is_zero(a) => Where::Zero,
            Term::Binary(Binary::Mul, a, b) if is_zero(a) || is_zero(b) => Where::Zero,
            Term::Binary(Binary::GuardedDiv, a, _) if is_zero(a) => Where::Zero,
            Term::Select(_, a, b) if is_zero(a) && is_zero(b) => Where::Zero,
            _ => Where::Any,
        });
    }
    let expected = if is_softmax { Where::Masked } else { Where::Zero };
    states.last() == Some(&expected)
}

impl Planner {
    /// Returns the words of the tiles that a mask rules out, `[…, row tile, column tile]`. The mask has the dimensions of the
    /// scores; equal masks share a launch.
    pub(super) fn ruled_out(&mut self, mask: &View) -> View {
        let rank = mask.dims.len();
        // A matrix that serves several of the batch is looked at once.
        let mut distinct = mask.clone();
        for (dim, stride) in distinct.dims.iter_mut().zip(&distinct.strides).take(rank - 2) {
            *dim = if *stride == 0 { 1 } else { *dim };
        }
        let (rows, columns) = (mask.dims[rank - 2], mask.dims[rank - 1]);
        let [row_tiles, column_tiles] = [rows, columns].map(|n| n.div_ceil(EXTENT as usize));
        let to = [&mask.dims[..rank - 2], &[row_tiles, column_tiles]].concat();
        if let Some((_, tiles)) = self.masks.iter().find(|(known, _)| *known == distinct) {
            return tiles.broadcast(&to);
        }
        // What depends on constants alone is computed once.
        let stage = self.stage;
        if self.setup.contains(&mask.buffer) {
            self.stage = SETUP;
        }
        let lead = &distinct.dims[..rank - 2];
        let tiles = self.buffer(Kind::B, &[lead, &[row_tiles, column_tiles]].concat());
        let mut params = MaskParams {
            rows: rows as u32,
            columns: columns as u32,
            column_tiles: column_tiles as u32,
            row_tiles: row_tiles as u32,
            batch: [1; 4],
            ..MaskParams::default()
        };
        let strides = kernel_strides(&distinct.strides);
        params.strides.copy_from_slice(&strides[rank - 2..]);
        for (i, dim) in lead.iter().enumerate() {
            params.batch[6 - rank + i] = *dim as u32;
            params.batch_strides[6 - rank + i] = strides[i];
        }
        let uses = vec![(Use::Read, distinct.clone()), (Use::Write, tiles.clone())];
        let matrices: usize = lead.iter().product();
        let grid = [matrices as u32, row_tiles as u32, 1];
        self.launch_grid(ruled_out(), grid, uses, move |at| MaskParams {
            mask: at[0],
            tiles: at[1],
            ..params
        });
        self.stage = stage;
        self.masks.push((distinct, tiles.clone()));
        tiles.broadcast(&to)
    }
}
