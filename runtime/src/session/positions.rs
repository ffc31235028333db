//! Explained positions of a request, to which the head of a program is restricted.

use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::AtPositions;
use crate::request::{Position, Request, Target};
use crate::rows;
use crate::seed::explained_positions;

impl AtPositions {
    /// Returns the explained position of each row of an output of dimensions `dims`; `None` unless each row has one, whatever
    /// the values of the output are.
    pub(super) fn of_request(request: &Request, targets: &[Target], dims: Vec<usize>) -> Option<AtPositions> {
        let [rows, positions, _] = dims[..] else { return None };
        let is_unit = |target: &Target| match target {
            Target::Argmax | Target::Rank(_) | Target::Index(_) | Target::Difference(..) | Target::All => {
                true
            }
            Target::Above(_) | Target::Pixels(_) | Target::Box(_) => false,
        };
        let is_tensor = request.seed.is_some();
        if is_tensor
            || request.positions_first
            || request.position == Position::All
            || !targets.iter().all(is_unit)
        {
            return None;
        }
        let of_row = |row: usize| explained_positions(&request.position, row, rows, positions).ok();
        // A position that is out of range is the seed's error.
        let of_rows: Option<Vec<usize>> =
            (0..rows).map(|row| of_row(row).map(|range| range.start).filter(|p| *p < positions)).collect();
        Some(AtPositions { dims, positions: of_rows? })
    }

    /// Returns the indices of the positions into the flattened `[batch, position]`.
    pub(super) fn indices(&self) -> Tensor {
        let flat = self.positions.iter().enumerate().map(|(row, at)| (row * self.dims[1] + at) as i64);
        Tensor::from_i64(&[self.positions.len()], &flat.collect::<Vec<_>>())
    }

    /// Returns an output `[batch, position, unit]` at the positions: `[batch, 1, unit]`. An output that has one position is
    /// returned unchanged.
    pub(super) fn of_output(&self, output: &Tensor) -> Tensor {
        let [batch, positions, unit] = self.dims[..] else { return output.clone() };
        if output.dims() != self.dims {
            return output.clone();
        }
        let rows = output.with_dims(&[batch * positions, unit]);
        let row = |(i, at): (usize, &usize)| rows::slice(rows.as_ref()?, i * positions + at, 1);
        let selected: Option<Vec<Tensor>> = self.positions.iter().enumerate().map(row).collect();
        let joined = selected.and_then(|rows| rows::concat(&rows.iter().collect::<Vec<_>>(), rows.first()?));
        joined.and_then(|t| t.with_dims(&[batch, 1, unit])).unwrap_or_else(|| output.clone())
    }

    /// Returns a float32 seed `[batch, 1, unit]` at all positions of the output.
    pub(super) fn seed_of_output(&self, seed: &Tensor) -> Tensor {
        let [_, positions, unit] = self.dims[..] else { return seed.clone() };
        let values = seed.to_f32();
        let mut all = vec![0.0; self.dims.iter().product()];
        for (row, (at, units)) in self.positions.iter().zip(values.chunks(unit.max(1))).enumerate() {
            all[(row * positions + at) * unit..][..unit].copy_from_slice(units);
        }
        Tensor::from_f32(&self.dims, &all)
    }

    /// Returns the error of a seed as the error of the whole output.
    pub(super) fn error(&self, error: RuntimeError) -> RuntimeError {
        let whole = self.dims.clone();
        match error {
            RuntimeError::Target { target, units, output, .. } => {
                RuntimeError::Target { target, units, output, shape: whole }
            }
            RuntimeError::Task { task, expected, output, .. } => {
                RuntimeError::Task { task, expected, output, shape: whole }
            }
            error => error,
        }
    }
}
