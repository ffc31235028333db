//! Selection of units on the last axis, and of all elements.

use super::group::Group;
use super::selection::{Selection, argmax, resolve};
use crate::error::RuntimeError;
use crate::request::{Position, Request, Target};

/// Selects the units of each row.
///
/// # Errors
/// When the output has too many axes, the target is out of range, or no element exceeds the threshold.
pub(super) fn select(
    name: &str,
    dims: &[usize],
    values: &[f64],
    request: &Request,
) -> Result<Selection, RuntimeError> {
    let above = matches!(request.target, Target::Above(_));
    let whole_rows = above || (matches!(request.target, Target::All) && dims.len() > 3);
    let (rows, positions, units) = match dims {
        [] => (1, 1, 1),
        [u] => (1, 1, *u),
        [b, rest @ ..] if whole_rows => (*b, 1, rest.iter().product()),
        [b, u] => (*b, 1, *u),
        [b, p, u] => (*b, *p, *u),
        _ => return Err(RuntimeError::OutputRank { output: name.into(), shape: dims.to_vec() }),
    };
    let (rows, positions) = match (dims.len(), request.positions_first) {
        (_, false) => (rows, positions),
        (3, true) if !whole_rows => (positions, rows),
        (_, true) => {
            let (output, shape) = (name.to_string(), dims.to_vec());
            let expected = "units [position, batch, unit]".to_string();
            return Err(RuntimeError::OutputShape { output, expected, shape });
        }
    };
    // Flat index of the first unit at a position of a row.
    let first_unit = |row: usize, position: usize| match request.positions_first {
        false => (row * positions + position) * units,
        true => (position * rows + row) * units,
    };
    let no_unit =
        |target: i64| RuntimeError::Target { target, units, output: name.into(), shape: dims.to_vec() };
    let no_position = |position: i64| RuntimeError::Position {
        position,
        positions,
        output: name.into(),
        shape: dims.to_vec(),
    };
    if units == 0 {
        return Err(no_unit(0));
    }
    if positions == 0 {
        return Err(no_position(0));
    }
    // Elements above a threshold compete with those below it; other units with the units on the last axis.
    let group_size = if above { units } else { dims.last().copied().unwrap_or(1).max(1) };
    let mut selection = Selection { independent: above, ..Selection::default() };
    for row in 0..rows {
        let explained = match whole_rows {
            true => 0..1,
            false => explained_positions(&request.position, row, rows, positions).map_err(no_position)?,
        };
        let share = 1.0 / explained.len() as f64;
        let mut elements = vec![];
        for position in explained.clone() {
            let first = first_unit(row, position);
            let values = &values[first..first + units];
            let selected = weighted_units(request.target, values).map_err(no_unit)?;
            if selected.is_empty() {
                let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                return Err(RuntimeError::NothingAbove {
                    output: name.into(),
                    shape: dims.to_vec(),
                    row,
                    largest,
                });
            }
            match request.target {
                Target::All | Target::Above(_) => {}
                _ => selection.targets.push(selected[0].0 as i64),
            }
            elements.extend(selected.into_iter().map(|(unit, weight)| (first + unit, share * weight)));
            let groups = (first..first + units).step_by(group_size);
            selection.groups.extend(groups.map(|first| Group { first, stride: 1, count: group_size }));
        }
        selection.rows.push(elements);
        if !whole_rows {
            let first = first_unit(row, explained.end - 1);
            selection.argmax.push(argmax(&values[first..first + units]) as i64);
        }
    }
    Ok(selection)
}

/// Returns the explained positions of a row, or the position that is out of range.
pub(crate) fn explained_positions(
    position: &Position,
    row: usize,
    rows: usize,
    positions: usize,
) -> Result<std::ops::Range<usize>, i64> {
    let at = match position {
        Position::All => return Ok(0..positions),
        Position::At(i) => resolve(*i, positions)?,
        Position::LastUnmasked { mask_len, last } if *mask_len == positions && last.len() == rows => {
            last[row]
        }
        Position::LastUnmasked { .. } => positions - 1,
    };
    Ok(at..at + 1)
}

/// Returns the units of a target with their weights, or the index that is out of range. `values` are the output's values at one
/// position.
fn weighted_units(target: Target, values: &[f64]) -> Result<Vec<(usize, f64)>, i64> {
    let unit = |i: i64| resolve(i, values.len());
    let evenly = |units: Vec<usize>| {
        let weight = 1.0 / units.len().max(1) as f64;
        units.into_iter().map(|i| (i, weight)).collect()
    };
    Ok(match target {
        Target::Argmax => vec![(argmax(values), 1.0)],
        Target::Rank(rank) if rank >= values.len() => return Err(rank as i64),
        Target::Rank(rank) => {
            let mut order: Vec<usize> = (0..values.len()).collect();
            // Adding 0.0 makes -0.0 and 0.0 equal.
            order.sort_by(|i, j| (values[*j] + 0.0).total_cmp(&(values[*i] + 0.0)).then(i.cmp(j)));
            vec![(order[rank], 1.0)]
        }
        Target::Index(i) => vec![(unit(i)?, 1.0)],
        Target::Difference(a, b) => vec![(unit(a)?, 1.0), (unit(b)?, -1.0)],
        Target::All => evenly((0..values.len()).collect()),
        Target::Above(threshold) => evenly((0..values.len()).filter(|i| values[*i] > threshold).collect()),
        // `pixels::select` and `boxes::select` handle these.
        Target::Pixels(_) | Target::Box(_) => vec![],
    })
}
