//! Copies that bring another axis side by side.

use dlbc_ptx::kernel::transpose::{SIDE, TransposeParams, transpose};

use super::view::{collapse, strides, words};
use super::{Planner, Use, View};

/// Axes shorter than this are copied as they come.
const LONG: usize = 16;

impl Planner {
    /// A dense copy by tiles, where one long axis lies side by side in the operand and another one in the result.
    pub(super) fn transpose(&mut self, view: &View) -> Option<View> {
        let (dims, lists) = collapse(&view.dims, &[&strides(&view.dims), &view.strides]);
        let [to, from] = &lists[..] else { return None };
        let last = dims.len().checked_sub(1)?;
        let beside = (0..last).filter(|a| from[*a] == 1).max_by_key(|a| dims[*a])?;
        if !(2..=6).contains(&dims.len()) || from[last] == 1 || dims[last].min(dims[beside]) < LONG {
            return None;
        }
        let rest: Vec<usize> = (0..last).filter(|a| *a != beside).collect();
        let of = |list: &[i64]| -> [i32; 4] {
            let own = words(&rest.iter().map(|a| list[*a]).collect::<Vec<_>>());
            std::array::from_fn(|i| own.get(i).copied().unwrap_or(0))
        };
        let count: usize = rest.iter().map(|a| dims[*a]).product();
        let tiles = |axis: usize| dims[axis].div_ceil(SIDE as usize);
        let params = TransposeParams {
            row: dims[beside] as u32,
            column: dims[last] as u32,
            row_out: to[beside] as u32,
            column_in: from[last] as i32,
            row_tiles: tiles(beside) as u32,
            column_tiles: tiles(last) as u32,
            batch: std::array::from_fn(|i| rest.get(i).map_or(1, |a| dims[*a] as u32)),
            batch_in: of(from),
            batch_out: of(to),
            ..TransposeParams::default()
        };
        let blocks = (tiles(beside) * tiles(last) * count) as u32;
        let out = self.buffer(view.kind, &view.dims);
        let uses = vec![(Use::Read, view.clone()), (Use::Write, out.clone())];
        self.launch(transpose(view.kind.bytes()), blocks, uses, move |at| TransposeParams {
            x: at[0],
            y: at[1],
            ..params
        });
        Some(out)
    }
}
