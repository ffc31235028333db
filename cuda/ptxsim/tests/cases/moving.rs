//! Picks, pooling, transposes, and the copies of recurrences.

use dlbc_ops::prim::{self, Prim, Window};
use dlbc_ops::tensor::{Dim, Tensor};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pick::{MISSING, PickParams};
use dlbc_ptx::kernel::pool::PoolParams;
use dlbc_ptx::kernel::transpose::TransposeParams;
use dlbc_ptx::kernel::turn::{TurnParams, blocks};

use super::{Case, Expected, Random, Role, expected, words};

/// Builds a case of up to three axes.
pub fn pick(name: &str) -> Vec<Case> {
    let is_64_bit = name.ends_with("b64");
    let rank: usize = name.split('_').nth(1).unwrap().parse().unwrap();
    assert!((1..=3).contains(&rank), "{name}: no launch of as many axes is known");
    let mut random = Random::new(15);
    // The last axes of [4, 3, 5] to [6, 5, 7]: padding before and after, a reversed axis with gaps, a reversed last axis.
    let (in_dims, out_dims) = ([4usize, 3, 5], [6usize, 5, 7]);
    let entry = |axis: usize, i: usize| -> Option<usize> {
        match axis {
            0 => i.checked_sub(1).filter(|i| *i < 4).map(|i| i * 15),
            1 => i.is_multiple_of(2).then(|| (2 - i / 2) * 5),
            _ => (i < 5).then(|| 4 - i),
        }
    };
    let axes = 3 - rank..3;
    let (in_dims, picked_dims) = (&in_dims[axes.clone()], &out_dims[axes.clone()]);
    let x = if is_64_bit { random.integers(in_dims) } else { random.floats(in_dims) };
    let (mut tables, mut starts) = (vec![], [0; 8]);
    for (n, axis) in axes.clone().enumerate() {
        starts[n] = tables.len() as u32;
        tables.extend((0..out_dims[axis]).map(|i| entry(axis, i).map_or(MISSING, |v| v as u32)));
    }
    let (width, source) = (if is_64_bit { 2 } else { 1 }, words(&x));
    let fill: u64 = 0x0000_0003_3f80_0000;
    let count = picked_dims.iter().product::<usize>();
    let mut reference = vec![];
    for i in 0..count {
        let coordinate = |axis: usize| i / out_dims[axis + 1..].iter().product::<usize>() % out_dims[axis];
        let offset: Option<usize> = axes.clone().map(|axis| entry(axis, coordinate(axis))).sum();
        match offset {
            Some(offset) => reference.extend(&source[offset * width..][..width]),
            None => reference.extend([fill as u32, (fill >> 32) as u32][..width].iter()),
        }
    }
    let dims = std::array::from_fn(|n| picked_dims.get(n).map_or(1, |d| *d as u32));
    vec![Case {
        shape: format!("{in_dims:?} to {picked_dims:?}"),
        grid: [1, 1, 1],
        buffers: vec![(Role::Read, source), (Role::Read, tables), (Role::Write, vec![0; count * width])],
        params: Box::new(move |at| {
            PickParams { x: at[0], table: at[1], y: at[2], fill, count: count as u32, dims, starts }.bytes()
        }),
        expected: vec![Expected::Words(reference)],
    }]
}

pub fn pool(name: &str) -> Vec<Case> {
    let mut random = Random::new(17);
    let mut cases = vec![];
    for (in_dims, kernel, strides, before, after, dilations) in [
        ([4usize, 5, 7], [2usize, 3, 2], [1usize, 2, 3], [1usize, 0, 2], [0usize, 2, 1], [2usize, 1, 3]),
        ([3, 4, 6], [1, 2, 2], [2, 1, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1]),
    ] {
        let window = Window {
            kernel: kernel.to_vec(),
            strides: strides.to_vec(),
            before: before.to_vec(),
            after: after.to_vec(),
            dilations: dilations.to_vec(),
            ceil: false,
        };
        let dims: Vec<Dim> = in_dims.iter().map(|d| Dim::known(*d as i64)).collect();
        let out_dims: Vec<usize> =
            window.output(&dims).unwrap().iter().map(|d| d.as_known().unwrap() as usize).collect();
        let whole = [&[2, 3][..], &in_dims].concat();
        let windows = [&[2, 3][..], &out_dims].concat();
        let x = if name.ends_with("s64") { random.integers(&whole) } else { random.steps(&whole) };
        let s = if name.ends_with("s64") { random.integers(&windows) } else { random.floats(&windows) };
        let three = |d: &[usize]| -> [u32; 3] { std::array::from_fn(|i| d[i] as u32) };
        let count = |d: &[usize]| d.iter().product::<usize>() as u32;
        let params = PoolParams {
            taps: count(&kernel),
            in_dims: three(&in_dims),
            out_dims: three(&out_dims),
            kernel: three(&kernel),
            strides: three(&strides),
            before: three(&before),
            dilations: three(&dilations),
            ..PoolParams::default()
        };
        let width = if name.ends_with("s64") { 2 } else { 1 };
        let (ins, outs) = (count(&whole), count(&windows));
        let close = |_: usize, e: f64| 1e-6 * e.abs() + 1e-6;
        let y = (!name.ends_with("s64"))
            .then(|| expected(&Prim::WindowMax(prim::WindowMax(window.clone())), &[&x]).to_tensor(x.dtype()));
        // The taps of each window that equal its maximum.
        let winners = || {
            let (xs, ys) = (x.to_f32(), y.as_ref().unwrap().to_f32());
            let mut windows = vec![];
            for (i, max) in ys.iter().enumerate() {
                let (channel, p) =
                    (i / out_dims.iter().product::<usize>(), i % out_dims.iter().product::<usize>());
                let at = [p / (out_dims[1] * out_dims[2]), p / out_dims[2] % out_dims[1], p % out_dims[2]];
                let mut taps = vec![];
                for tap in 0..kernel.iter().product::<usize>() {
                    let k = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                    let place: Vec<i64> = (0..3)
                        .map(|a| (at[a] * strides[a] + k[a] * dilations[a]) as i64 - before[a] as i64)
                        .collect();
                    if place.iter().zip(&in_dims).all(|(p, d)| (0..*d as i64).contains(p)) {
                        let p: Vec<usize> = place.iter().map(|p| *p as usize).collect();
                        if xs[((channel * in_dims[0] + p[0]) * in_dims[1] + p[1]) * in_dims[2] + p[2]] == *max
                        {
                            taps.push(tap as u32);
                        }
                    }
                }
                windows.push(taps);
            }
            windows
        };
        let case = |out: u32, buffers: Vec<(Role, Vec<u32>)>, places: [usize; 4], expected| {
            let mut buffers = buffers;
            buffers.push((Role::Write, vec![0; out as usize * width]));
            let last = buffers.len() - 1;
            Case {
                shape: format!("{in_dims:?} by {kernel:?}"),
                grid: [out.div_ceil(256), 1, 1],
                buffers,
                params: Box::new(move |at: &[u64]| {
                    let [x, y, r, winner] = places.map(|p| at[p]);
                    PoolParams { x, y, r, winner, out: at[last], count: out, ..params }.bytes()
                }),
                expected: vec![expected],
            }
        };
        let read = |t: &Tensor| (Role::Read, words(t));
        cases.push(match name {
            n if n.starts_with("window_sum") => case(
                outs,
                vec![read(&x)],
                [0; 4],
                Expected::array(&expected(&Prim::WindowSum(prim::WindowSum(window.clone())), &[&x]), close),
            ),
            n if n.starts_with("window_max") => case(
                outs,
                vec![read(&x)],
                [0; 4],
                Expected::array(&expected(&Prim::WindowMax(prim::WindowMax(window.clone())), &[&x]), close),
            ),
            n if n.starts_with("window_spread") => {
                let op = Prim::WindowSumTranspose(prim::WindowSumTranspose {
                    window: window.clone(),
                    to: dims.clone(),
                });
                case(ins, vec![read(&s)], [0; 4], Expected::array(&expected(&op, &[&s]), close))
            }
            "window_shares" => {
                let share = |(taps, r): (&Vec<u32>, &f32)| f64::from(*r) / taps.len() as f64;
                let shares: Vec<f64> = winners().iter().zip(&s.to_f32()).map(share).collect();
                // The share of a window without a winner is never read.
                let bound = |_, e: f64| if e.is_finite() { 1e-6 * e.abs() } else { f64::INFINITY };
                let expected = Expected::floats(shares, bound);
                case(outs, vec![read(&x), read(y.as_ref().unwrap()), read(&s)], [0, 1, 2, 0], expected)
            }
            "window_winners" => {
                let first: Vec<u32> =
                    winners().iter().map(|t| t.first().copied().unwrap_or(u32::MAX)).collect();
                let buffers = vec![read(&x), read(y.as_ref().unwrap())];
                case(outs, buffers, [0, 1, 0, 0], Expected::Words(first))
            }
            name => {
                let first = name == "window_give_first";
                let op = Prim::WindowMaxShare(prim::WindowMaxShare { window: window.clone(), first });
                let reference = expected(&op, &[&x, y.as_ref().unwrap(), &s]);
                let share = |(taps, r): (&Vec<u32>, &f32)| r / taps.len() as f32;
                let shares: Vec<f32> = winners().iter().zip(&s.to_f32()).map(share).collect();
                let firsts: Vec<u32> =
                    winners().iter().map(|t| t.first().copied().unwrap_or(u32::MAX)).collect();
                let relevance = if first { words(&s) } else { shares.iter().map(|v| v.to_bits()).collect() };
                let buffers =
                    vec![read(&x), read(y.as_ref().unwrap()), (Role::Read, relevance), (Role::Read, firsts)];
                case(ins, buffers, [0, 1, 2, 3], Expected::array(&reference, close))
            }
        });
    }
    cases
}

/// Builds cases that move the second axis of `[2, 40, 3, 70]` to the end: whole tiles, less than a tile, a reversed axis, and many
/// batch axes.
pub fn transpose(name: &str) -> Vec<Case> {
    let mut random = Random::new(20);
    let is_64_bit = name.ends_with("b64");
    let width = if is_64_bit { 2 } else { 1 };
    let mut cases = vec![];
    for ([a, column, b, row], backwards) in
        [([2usize, 40, 3, 70], false), ([1, 5, 1, 3], false), ([1, 33, 2, 32], true), ([4, 33, 6, 34], false)]
    {
        let dims = [a, column, b, row];
        let x = if is_64_bit { random.integers(&dims) } else { random.floats(&dims) };
        let source = words(&x);
        let mut reference = vec![];
        for i in 0..x.elems() {
            let (j, r, q, p) = (i % column, i / column % row, i / column / row % b, i / column / row / b);
            let j = if backwards { column - 1 - j } else { j };
            reference.extend(&source[(((p * column + j) * b + q) * row + r) * width..][..width]);
        }
        let [a, column, b, row] = dims.map(|d| d as u32);
        let tiles = row.div_ceil(32) * column.div_ceil(32) * a * b;
        let step = (b * row) as i32;
        let image = column * b * row;
        let halves = |d: u32| if d.is_multiple_of(2) { d / 2 } else { d };
        let params = TransposeParams {
            row,
            column,
            row_out: column,
            column_in: if backwards { -step } else { step },
            row_tiles: row.div_ceil(32),
            column_tiles: column.div_ceil(32),
            // An even axis is split into two.
            batch: [a / halves(a), halves(a), b / halves(b), halves(b)],
            batch_in: [halves(a) * image, image, halves(b) * row, row].map(|v| v as i32),
            batch_out: [halves(a) * image, image, halves(b) * column * row, column * row].map(|v| v as i32),
            ..TransposeParams::default()
        };
        let first = if backwards { u64::from((column - 1) * b * row) * 4 * width as u64 } else { 0 };
        cases.push(Case {
            shape: format!("{dims:?}"),
            grid: [tiles, 1, 1],
            buffers: vec![(Role::Read, source), (Role::Write, vec![0; reference.len()])],
            params: Box::new(move |at| TransposeParams { x: at[0] + first, y: at[1], ..params }.bytes()),
            expected: vec![Expected::Words(reference)],
        });
    }
    cases
}

/// Builds cases whose sources advance with the step, the last one backwards; every other target advances, too.
pub fn turn(name: &str) -> Vec<Case> {
    let copies: usize = name.strip_prefix("turn_").unwrap().parse().unwrap();
    let mut cases = vec![];
    for (count, increment) in [(0u32, 0u32), (2, 1)] {
        let mut random = Random::new(31);
        let mut buffers = vec![(Role::Read, vec![count]), (Role::Write, vec![0])];
        let mut fixed = TurnParams { increment, ..TurnParams::default() };
        let mut expected_results = vec![vec![count + increment]];
        for c in 0..copies {
            let words = [300, 7, 1, 256, 30, 2][c];
            let steps = 4;
            let source: Vec<u32> = (0..steps * words).map(|_| random.bits() as u32).collect();
            let (back, moves) = (c + 1 == copies, c % 2 == 1);
            let step = if back { steps - 1 - count as usize } else { count as usize };
            let copied = &source[step * words..][..words];
            let (mut target, start) =
                if moves { (vec![9; steps * words], count as usize * words) } else { (vec![0; words], 0) };
            fixed.words[c] = words as u32;
            fixed.source_step[c] = if back { -(words as i32) } else { words as i32 };
            fixed.target_step[c] = if moves { words as i32 } else { 0 };
            buffers.push((Role::Read, source.clone()));
            buffers.push((if moves { Role::Update } else { Role::Write }, target.clone()));
            target[start..start + words].copy_from_slice(copied);
            expected_results.push(target);
        }
        cases.push(Case {
            shape: format!("{copies} copies at step {count}"),
            grid: blocks(300, copies as u32),
            buffers,
            params: Box::new(move |at| {
                let mut params = TurnParams { count: at[0], next: at[1], ..fixed };
                for c in 0..copies {
                    let last = if c + 1 == copies { 3 * u64::from(fixed.words[c]) * 4 } else { 0 };
                    (params.source[c], params.target[c]) = (at[2 + 2 * c] + last, at[3 + 2 * c]);
                }
                params.bytes()
            }),
            expected: expected_results.into_iter().map(Expected::Words).collect(),
        });
    }
    cases
}
