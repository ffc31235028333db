//! Picks and windows.

use dlbc_ops::prim::{self, Prim, Window};
use dlbc_ops::tensor::{Dim, Tensor};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::pick::{MISSING, PickParams};
use dlbc_ptx::kernel::pool::PoolParams;
use dlbc_ptx::kernel::transpose::TransposeParams;
use dlbc_ptx::kernel::turn::{TurnParams, blocks};

use super::{Case, Check, Random, Role, check, expected, words};

pub fn pick(name: &str) -> Vec<Case> {
    let wide = name.ends_with("b64");
    let mut random = Random::new(15);
    // [4, 3, 5] to [6, 5, 7]: rows before and after, a reversed axis with gaps, the last axis turned round.
    let (from, to) = ([4usize, 3, 5], [6usize, 5, 7]);
    let entry = |axis: usize, i: usize| -> Option<usize> {
        match axis {
            0 => i.checked_sub(1).filter(|i| *i < 4).map(|i| i * 15),
            1 => i.is_multiple_of(2).then(|| (2 - i / 2) * 5),
            _ => (i < 5).then(|| 4 - i),
        }
    };
    let x = if wide { random.integers(&from) } else { random.floats(&from) };
    let tables: Vec<u32> = (0..3)
        .flat_map(|axis| (0..to[axis]).map(move |i| entry(axis, i).map_or(MISSING, |v| v as u32)))
        .collect();
    let (width, source) = (if wide { 2 } else { 1 }, words(&x));
    let fill: u64 = 0x0000_0003_3f80_0000;
    let mut wanted = vec![];
    for i in 0..210 {
        let at: Option<usize> =
            [(0, i / 35), (1, i / 7 % 5), (2, i % 7)].iter().map(|(a, i)| entry(*a, *i)).sum();
        match at {
            Some(at) => wanted.extend(&source[at * width..][..width]),
            None => wanted.extend([fill as u32, (fill >> 32) as u32][..width].iter()),
        }
    }
    vec![Case {
        shape: format!("{from:?} to {to:?}"),
        grid: [1, 1, 1],
        buffers: vec![(Role::Read, source), (Role::Read, tables), (Role::Write, vec![0; 210 * width])],
        params: Box::new(move |at| {
            let (dims, starts) = ([6, 5, 7, 1, 1, 1, 1, 1], [0, 6, 11, 0, 0, 0, 0, 0]);
            PickParams { x: at[0], table: at[1], y: at[2], fill, count: 210, dims, starts }.bytes()
        }),
        check: Box::new(move |found| if found[0] == wanted { Ok(()) } else { Err("wrong numbers".into()) }),
    }]
}

pub fn pool(name: &str) -> Vec<Case> {
    let mut random = Random::new(17);
    let mut made = vec![];
    for (from, kernel, strides, before, after, dilations) in [
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
        let dims: Vec<Dim> = from.iter().map(|d| Dim::known(*d as i64)).collect();
        let to: Vec<usize> =
            window.output(&dims).unwrap().iter().map(|d| d.as_known().unwrap() as usize).collect();
        let whole = [&[2, 3][..], &from].concat();
        let windows = [&[2, 3][..], &to].concat();
        let x = if name.ends_with("s64") { random.integers(&whole) } else { random.steps(&whole) };
        let s = if name.ends_with("s64") { random.integers(&windows) } else { random.floats(&windows) };
        let three = |d: &[usize]| -> [u32; 3] { std::array::from_fn(|i| d[i] as u32) };
        let count = |d: &[usize]| d.iter().product::<usize>() as u32;
        let params = PoolParams {
            taps: count(&kernel),
            from: three(&from),
            to: three(&to),
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
        // The first tap that equals the maximum, and how many do.
        let winners = || {
            let (xs, ys) = (x.to_f32(), y.as_ref().unwrap().to_f32());
            let mut found = vec![];
            for (i, max) in ys.iter().enumerate() {
                let (channel, p) = (i / to.iter().product::<usize>(), i % to.iter().product::<usize>());
                let at = [p / (to[1] * to[2]), p / to[2] % to[1], p % to[2]];
                let mut taps = vec![];
                for tap in 0..kernel.iter().product::<usize>() {
                    let k = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                    let place: Vec<i64> = (0..3)
                        .map(|a| (at[a] * strides[a] + k[a] * dilations[a]) as i64 - before[a] as i64)
                        .collect();
                    if place.iter().zip(&from).all(|(p, d)| (0..*d as i64).contains(p)) {
                        let p: Vec<usize> = place.iter().map(|p| *p as usize).collect();
                        if xs[((channel * from[0] + p[0]) * from[1] + p[1]) * from[2] + p[2]] == *max {
                            taps.push(tap as u32);
                        }
                    }
                }
                found.push(taps);
            }
            found
        };
        let case = |out: u32, buffers: Vec<(Role, Vec<u32>)>, places: [usize; 4], check| {
            let mut buffers = buffers;
            buffers.push((Role::Write, vec![0; out as usize * width]));
            let last = buffers.len() - 1;
            Case {
                shape: format!("{from:?} by {kernel:?}"),
                grid: [out.div_ceil(256), 1, 1],
                buffers,
                params: Box::new(move |at: &[u64]| {
                    let [x, y, r, winner] = places.map(|p| at[p]);
                    PoolParams { x, y, r, winner, out: at[last], count: out, ..params }.bytes()
                }),
                check,
            }
        };
        let read = |t: &Tensor| (Role::Read, words(t));
        made.push(match name {
            n if n.starts_with("window_sum") => case(
                outs,
                vec![read(&x)],
                [0; 4],
                check(expected(&Prim::WindowSum(prim::WindowSum(window.clone())), &[&x]), close),
            ),
            n if n.starts_with("window_max") => case(
                outs,
                vec![read(&x)],
                [0; 4],
                check(expected(&Prim::WindowMax(prim::WindowMax(window.clone())), &[&x]), close),
            ),
            n if n.starts_with("window_spread") => {
                let op = Prim::WindowSumTranspose(prim::WindowSumTranspose {
                    window: window.clone(),
                    to: dims.clone(),
                });
                case(ins, vec![read(&s)], [0; 4], check(expected(&op, &[&s]), close))
            }
            "window_shares" => {
                let of = |(taps, r): (&Vec<u32>, &f32)| f64::from(*r) / taps.len() as f64;
                let shares: Vec<f64> = winners().iter().zip(&s.to_f32()).map(of).collect();
                let check: Check = Box::new(move |found| {
                    let same = |(f, e): (&u32, &f64)| {
                        let f = f64::from(f32::from_bits(*f));
                        // Without a winner nobody reads the share.
                        !e.is_finite() || (f - e).abs() <= 1e-6 * e.abs()
                    };
                    if found[0].iter().zip(&shares).all(same) { Ok(()) } else { Err("wrong numbers".into()) }
                });
                case(outs, vec![read(&x), read(y.as_ref().unwrap()), read(&s)], [0, 1, 2, 0], check)
            }
            "window_winners" => {
                let first: Vec<u32> =
                    winners().iter().map(|t| t.first().copied().unwrap_or(u32::MAX)).collect();
                let check: Check =
                    Box::new(
                        move |found| if found[0] == first { Ok(()) } else { Err("wrong numbers".into()) },
                    );
                case(outs, vec![read(&x), read(y.as_ref().unwrap())], [0, 1, 0, 0], check)
            }
            name => {
                let first = name == "window_give_first";
                let op = Prim::WindowMaxShare(prim::WindowMaxShare { window: window.clone(), first });
                let wanted = expected(&op, &[&x, y.as_ref().unwrap(), &s]);
                let of = |(taps, r): (&Vec<u32>, &f32)| r / taps.len() as f32;
                let shares: Vec<f32> = winners().iter().zip(&s.to_f32()).map(of).collect();
                let firsts: Vec<u32> =
                    winners().iter().map(|t| t.first().copied().unwrap_or(u32::MAX)).collect();
                let given = if first { words(&s) } else { shares.iter().map(|v| v.to_bits()).collect() };
                let buffers =
                    vec![read(&x), read(y.as_ref().unwrap()), (Role::Read, given), (Role::Read, firsts)];
                case(ins, buffers, [0, 1, 2, 3], check(wanted, close))
            }
        });
    }
    made
}

/// `[2, 40, 3, 70]`, the second axis to the end; less than a tile; an axis that runs backwards; many axes besides.
pub fn transpose(name: &str) -> Vec<Case> {
    let mut random = Random::new(20);
    let wide = name.ends_with("b64");
    let width = if wide { 2 } else { 1 };
    let mut made = vec![];
    for ([a, column, b, row], backwards) in
        [([2usize, 40, 3, 70], false), ([1, 5, 1, 3], false), ([1, 33, 2, 32], true), ([4, 33, 6, 34], false)]
    {
        let dims = [a, column, b, row];
        let x = if wide { random.integers(&dims) } else { random.floats(&dims) };
        let source = words(&x);
        let mut wanted = vec![];
        for i in 0..x.elems() {
            let (j, r, q, p) = (i % column, i / column % row, i / column / row % b, i / column / row / b);
            let j = if backwards { column - 1 - j } else { j };
            wanted.extend(&source[(((p * column + j) * b + q) * row + r) * width..][..width]);
        }
        let [a, column, b, row] = dims.map(|d| d as u32);
        let tiles = row.div_ceil(32) * column.div_ceil(32) * a * b;
        let step = (b * row) as i32;
        let own = column * b * row;
        let halves = |d: u32| if d.is_multiple_of(2) { d / 2 } else { d };
        let params = TransposeParams {
            row,
            column,
            row_out: column,
            column_in: if backwards { -step } else { step },
            row_tiles: row.div_ceil(32),
            column_tiles: column.div_ceil(32),
            // Both halves of an even axis, as two axes.
            batch: [a / halves(a), halves(a), b / halves(b), halves(b)],
            batch_in: [halves(a) * own, own, halves(b) * row, row].map(|v| v as i32),
            batch_out: [halves(a) * own, own, halves(b) * column * row, column * row].map(|v| v as i32),
            ..TransposeParams::default()
        };
        let first = if backwards { u64::from((column - 1) * b * row) * 4 * width as u64 } else { 0 };
        made.push(Case {
            shape: format!("{dims:?}"),
            grid: [tiles, 1, 1],
            buffers: vec![(Role::Read, source), (Role::Write, vec![0; wanted.len()])],
            params: Box::new(move |at| TransposeParams { x: at[0] + first, y: at[1], ..params }.bytes()),
            check: Box::new(
                move |found| if found[0] == wanted { Ok(()) } else { Err("wrong numbers".into()) },
            ),
        });
    }
    made
}

/// Every other copy goes to a place that moves; all come from moving ones but the last, whose steps run backwards.
pub fn turn(name: &str) -> Vec<Case> {
    let copies: usize = name.strip_prefix("turn_").unwrap().parse().unwrap();
    let mut made = vec![];
    for (count, more) in [(0u32, 0u32), (2, 1)] {
        let mut random = Random::new(31);
        let mut buffers = vec![(Role::Read, vec![count]), (Role::Write, vec![0])];
        let mut fixed = TurnParams { more, ..TurnParams::default() };
        let mut results = vec![vec![count + more]];
        for c in 0..copies {
            let words = [300, 7, 1, 256, 30, 2][c];
            let steps = 4;
            let from: Vec<u32> = (0..steps * words).map(|_| random.bits() as u32).collect();
            let (back, moves) = (c + 1 == copies, c % 2 == 1);
            let at = if back { steps - 1 - count as usize } else { count as usize };
            let own = &from[at * words..][..words];
            let (mut to, start) =
                if moves { (vec![9; steps * words], count as usize * words) } else { (vec![0; words], 0) };
            fixed.words[c] = words as u32;
            fixed.from_step[c] = if back { -(words as i32) } else { words as i32 };
            fixed.to_step[c] = if moves { words as i32 } else { 0 };
            buffers.push((Role::Read, from.clone()));
            buffers.push((if moves { Role::Update } else { Role::Write }, to.clone()));
            to[start..start + words].copy_from_slice(own);
            results.push(to);
        }
        made.push(Case {
            shape: format!("{copies} copies at step {count}"),
            grid: blocks(300, copies as u32),
            buffers,
            params: Box::new(move |at| {
                let mut params = TurnParams { count: at[0], next: at[1], ..fixed };
                for c in 0..copies {
                    let last = if c + 1 == copies { 3 * u64::from(fixed.words[c]) * 4 } else { 0 };
                    (params.from[c], params.to[c]) = (at[2 + 2 * c] + last, at[3 + 2 * c]);
                }
                params.bytes()
            }),
            check: Box::new(move |found| if found == results { Ok(()) } else { Err("wrong words".into()) }),
        });
    }
    made
}
