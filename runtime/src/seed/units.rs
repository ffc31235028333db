//! Units on the last axis, and all elements.

use super::chosen::{Chosen, Group, greatest, resolve};
use crate::error::RuntimeError;
use crate::request::{Position, Request, Target};

/// The units of every row that start.
pub(super) fn choose(
    name: &str,
    dims: &[usize],
    values: &[f64],
    request: &Request,
) -> Result<Chosen, RuntimeError> {
    let above = matches!(request.target, Target::Above(_));
    let whole = above || (matches!(request.target, Target::All) && dims.len() > 3);
    let (rows, positions, units) = match dims {
        [] => (1, 1, 1),
        [u] => (1, 1, *u),
        [b, rest @ ..] if whole => (*b, 1, rest.iter().product()),
        [b, u] => (*b, 1, *u),
        [b, p, u] => (*b, *p, *u),
        _ => return Err(RuntimeError::OutputRank { output: name.into(), shape: dims.to_vec() }),
    };
    let (rows, positions) = match (dims.len(), request.positions_first) {
        (_, false) => (rows, positions),
        (3, true) if !whole => (positions, rows),
        (_, true) => {
            let (output, shape) = (name.to_string(), dims.to_vec());
            let expected = "units [position, batch, unit]".to_string();
            return Err(RuntimeError::OutputShape { output, expected, shape });
        }
    };
    // Where the units of a row's position begin.
    let start = |row: usize, at: usize| match request.positions_first {
        false => (row * positions + at) * units,
        true => (at * rows + row) * units,
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
    // Of all that is above a threshold what is below it opposes; else units on the last axis compete.
    let rivals = if above { units } else { dims.last().copied().unwrap_or(1).max(1) };
    let mut chosen = Chosen { region: above, ..Chosen::default() };
    for row in 0..rows {
        let places = match whole {
            true => 0..1,
            false => places(&request.position, row, rows, positions).map_err(no_position)?,
        };
        let share = 1.0 / places.len() as f64;
        let mut own_units = vec![];
        for at in places.clone() {
            let from = start(row, at);
            let own = &values[from..from + units];
            let found = units_of(request.target, own).map_err(no_unit)?;
            if found.is_empty() {
                let greatest = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                return Err(RuntimeError::NothingAbove {
                    output: name.into(),
                    shape: dims.to_vec(),
                    row,
                    greatest,
                });
            }
            match request.target {
                Target::All | Target::Above(_) => {}
                _ => chosen.targets.push(found[0].0 as i64),
            }
            own_units.extend(found.into_iter().map(|(unit, weight)| (from + unit, share * weight)));
            let groups = (from..from + units).step_by(rivals);
            chosen.groups.extend(groups.map(|first| Group { first, stride: 1, count: rivals }));
        }
        chosen.rows.push(own_units);
        if !whole {
            let from = start(row, places.end - 1);
            chosen.argmax.push(greatest(&values[from..from + units]) as i64);
        }
    }
    Ok(chosen)
}

/// The positions of a row that are explained; the index that is out of range when there is none.
fn places(
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

/// The units of a target with their weights, or the index that is out of range.
fn units_of(target: Target, own: &[f64]) -> Result<Vec<(usize, f64)>, i64> {
    let unit = |i: i64| resolve(i, own.len());
    let evenly = |units: Vec<usize>| {
        let weight = 1.0 / units.len().max(1) as f64;
        units.into_iter().map(|i| (i, weight)).collect()
    };
    Ok(match target {
        Target::Argmax => vec![(greatest(own), 1.0)],
        Target::Rank(rank) if rank >= own.len() => return Err(rank as i64),
        Target::Rank(rank) => {
            let mut order: Vec<usize> = (0..own.len()).collect();
            // Both zeros are equal.
            order.sort_by(|i, j| (own[*j] + 0.0).total_cmp(&(own[*i] + 0.0)).then(i.cmp(j)));
            vec![(order[rank], 1.0)]
        }
        Target::Index(i) => vec![(unit(i)?, 1.0)],
        Target::Difference(a, b) => vec![(unit(a)?, 1.0), (unit(b)?, -1.0)],
        Target::All => evenly((0..own.len()).collect()),
        Target::Above(threshold) => evenly((0..own.len()).filter(|i| own[*i] > threshold).collect()),
        // They have files of their own.
        Target::Pixels(_) | Target::Box(_) => vec![],
    })
}
