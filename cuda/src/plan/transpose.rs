//! Copies that make another axis contiguous.

use dlbc_ptx::kernel::transpose::{SIDE, TransposeParams, transpose};

use super::view::{collapse, kernel_strides, strides};
use super::{Planner, Use, View};

/// Minimum length of the transposed axes; elementwise copies suffice for shorter ones.
const MIN_LENGTH: usize = 16;

impl Planner {
    /// Copies a view to contiguous memory by tiles. Returns `None` unless one long axis is contiguous in the view and another one in
    /// the result.
    pub(super) fn transpose(&mut self, view: &View) -> Option<View> {
        let (dims, lists) = collapse(&view.dims, &[&strides(&view.dims), &view.strides]);
        let [target_strides, source_strides] = &lists[..] else { return None };
        let column_axis = dims.len().checked_sub(1)?;
        let row_axis = (0..column_axis).filter(|a| source_strides[*a] == 1).max_by_key(|a| dims[*a])?;
        if !(2..=6).contains(&dims.len())
            || source_strides[column_axis] == 1
            || dims[column_axis].min(dims[row_axis]) < MIN_LENGTH
        {
            return None;
        }
        let rest: Vec<usize> = (0..column_axis).filter(|a| *a != row_axis).collect();
        let batch_strides = |list: &[i64]| -> [i32; 4] {
            let strides = kernel_strides(&rest.iter().map(|a| list[*a]).collect::<Vec<_>>());
            std::array::from_fn(|i| strides.get(i).copied().unwrap_or(0))
        };
        let count: usize = rest.iter().map(|a| dims[*a]).product();
        let tiles = |axis: usize| dims[axis].div_ceil(SIDE as usize);
        let params = TransposeParams {
            row: dims[row_axis] as u32,
            column: dims[column_axis] as u32,
            row_out: target_strides[row_axis] as u32,
            column_in: source_strides[column_axis] as i32,
            row_tiles: tiles(row_axis) as u32,
            column_tiles: tiles(column_axis) as u32,
            batch: std::array::from_fn(|i| rest.get(i).map_or(1, |a| dims[*a] as u32)),
            batch_in: batch_strides(source_strides),
            batch_out: batch_strides(target_strides),
            ..TransposeParams::default()
        };
        let blocks = (tiles(row_axis) * tiles(column_axis) * count) as u32;
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
