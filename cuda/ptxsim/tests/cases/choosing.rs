//! Sorting, selection and non-maximum suppression.

use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::{Array, Tensor};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::order::{DIGITS, OrderParams, TILE};
use dlbc_ptx::kernel::suppress::SuppressParams;

use super::{Case, Expected, Random, Role, expected, words};

fn same(reference: Vec<Vec<u32>>) -> Vec<Expected> {
    reference.into_iter().map(Expected::Words).collect()
}

fn case(
    shape: String,
    blocks: u32,
    buffers: Vec<(Role, Vec<u32>)>,
    params: impl Fn(&[u64]) -> OrderParams + 'static,
    expected: Vec<Expected>,
) -> Case {
    Case { shape, grid: [blocks, 1, 1], buffers, params: Box::new(move |at| params(at).bytes()), expected }
}

fn read(words: Vec<u32>) -> (Role, Vec<u32>) {
    (Role::Read, words)
}

fn result(words: usize) -> (Role, Vec<u32>) {
    (Role::Write, vec![0; words])
}

fn split(values: &[u64], is_64_bit: bool) -> Vec<u32> {
    if is_64_bit {
        values.iter().flat_map(|v| [*v as u32, (*v >> 32) as u32]).collect()
    } else {
        values.iter().map(|v| *v as u32).collect()
    }
}

/// Draws keys of which many share a digit and some are equal.
fn some_keys(random: &mut Random, count: usize, is_64_bit: bool) -> Vec<u64> {
    let pool: Vec<u64> = (0..count.div_ceil(4)).map(|_| random.bits() << 11 ^ random.bits() >> 3).collect();
    (0..count)
        .map(|_| pool[random.bits() as usize % pool.len()])
        .map(|v| if is_64_bit { v } else { v >> 7 & 0xffff_ffff })
        .collect()
}

pub fn order(name: &str) -> Vec<Case> {
    let mut random = Random::new(18);
    let is_64_bit = name.ends_with("b64") || name.ends_with("s64");
    let width = if is_64_bit { 2 } else { 1 };
    match name {
        "keys_f32" | "keys_s64" => [0, u64::MAX].map(|flip| keys(&mut random, is_64_bit, flip)).into(),
        "rank_b32" | "rank_b64" => {
            let (rows, n) = (3usize, 100usize);
            let keys = some_keys(&mut random, rows * n, is_64_bit);
            let reference = keys.chunks(n).flat_map(sorted).collect();
            let buffers = vec![read(split(&keys, is_64_bit)), result(rows * n)];
            let params = move |at: &[u64]| OrderParams {
                keys: at[0],
                order: at[1],
                count: 300,
                n: n as u32,
                ..OrderParams::default()
            };
            vec![case("3x100".into(), 2, buffers, params, same(vec![reference]))]
        }
        "digits_b32" | "digits_b64" => tiled(&mut random, is_64_bit, |keys, n, shift| {
            let counts = counts(keys, n, shift);
            let (words, grid) = (counts.len(), tiles(keys, n));
            let buffers = vec![read(split(keys, is_64_bit)), result(words)];
            let params = move |at: &[u64]| OrderParams { keys: at[0], counts: at[1], ..sizes(n, shift) };
            vec![case(format!("{n}"), grid, buffers, params, same(vec![counts]))]
        }),
        "shift_b32" | "shift_b64" => tiled(&mut random, is_64_bit, |keys, n, shift| {
            let count = keys.len();
            let starts: Vec<u32> = counts(keys, n, shift)
                .chunks(DIGITS as usize * n.div_ceil(TILE as usize))
                .flat_map(exclusive_scan)
                .collect();
            // Start from the operand's order, and from another one.
            [false, true]
                .map(|has_previous| {
                    let previous: Vec<u32> = (0..count as u32)
                        .map(|i| if has_previous { i * 7 + 3 } else { i % n as u32 })
                        .collect();
                    let (mut moved, mut order) = (vec![], vec![]);
                    for (row, keys) in keys.chunks(n).enumerate() {
                        let mut places: Vec<usize> = (0..n).collect();
                        places.sort_by_key(|i| keys[*i] >> shift & 15);
                        moved.extend(places.iter().map(|i| keys[*i]));
                        order.extend(places.iter().map(|i| previous[row * n + i]));
                    }
                    let mut buffers = vec![
                        read(split(keys, is_64_bit)),
                        read(starts.clone()),
                        result(count * width),
                        result(count),
                    ];
                    if has_previous {
                        buffers.push(read(previous));
                    }
                    let params = move |at: &[u64]| OrderParams {
                        keys: at[0],
                        starts: at[1],
                        moved: at[2],
                        order: at[3],
                        previous: at.get(4).copied().unwrap_or(0),
                        ..sizes(n, shift)
                    };
                    case(
                        format!("{n}"),
                        tiles(keys, n),
                        buffers,
                        params,
                        same(vec![split(&moved, is_64_bit), order]),
                    )
                })
                .into()
        }),
        "scan" => {
            let (rows, n) = (2usize, 600usize);
            let counts: Vec<u32> = (0..rows * n).map(|_| random.bits() as u32 % 50).collect();
            let reference = counts.chunks(n).flat_map(exclusive_scan).collect();
            let params = move |at: &[u64]| OrderParams {
                counts: at[0],
                starts: at[1],
                n: n as u32,
                ..OrderParams::default()
            };
            vec![case("2x600".into(), 2, vec![read(counts), result(rows * n)], params, same(vec![reference]))]
        }
        "top" => {
            let (outer, n, k, inner) = (5usize, 20usize, 7usize, 9usize);
            let order: Vec<u32> = (0..outer * inner * n).map(|_| random.bits() as u32 % 20).collect();
            let mut reference = vec![];
            for i in 0..outer * k * inner {
                let (o, rank, column) = (i / inner / k, i / inner % k, i % inner);
                reference.extend([order[(o * inner + column) * n + rank], 0]);
            }
            let params = move |at: &[u64]| OrderParams {
                order: at[0],
                out: at[1],
                count: 315,
                n: n as u32,
                k: k as u32,
                inner: inner as u32,
                ..OrderParams::default()
            };
            vec![case("5x7x9 of 20".into(), 2, vec![read(order), result(630)], params, same(vec![reference]))]
        }
        _ => {
            // The middle axis of 5x12x6.
            let keys: Vec<u32> = (0..360).map(|_| u32::from(random.bits().is_multiple_of(3))).collect();
            let order: Vec<u32> = (0..360).map(|i| i * 77 % 360).collect();
            let column = |p: &u32| if keys[*p as usize] == 0 { p / 6 % 12 } else { 0 };
            let reference = order.iter().flat_map(|p| [column(p), 0]).collect();
            let params = |at: &[u64]| OrderParams {
                order: at[0],
                keys: at[1],
                out: at[2],
                count: 360,
                stride: 6,
                dim: 12,
                ..OrderParams::default()
            };
            let buffers = vec![read(order), read(keys), result(720)];
            vec![case("5x12x6".into(), 2, buffers, params, same(vec![reference]))]
        }
    }
}

/// Builds a case for the keys of `[3, 11, 9]`. Keys must compare like their elements, in reverse with `flip`.
fn keys(random: &mut Random, is_64_bit: bool, flip: u64) -> Case {
    let (outer, n, inner) = (3usize, 11usize, 9usize);
    let values: Vec<f64> = (0..297)
        .map(|_| {
            let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-40, -1e-40];
            match random.bits() % 3 {
                0 if !is_64_bit => special[random.bits() as usize % 8],
                _ => f64::from(random.float() * 9.0),
            }
        })
        .collect();
    let x = if is_64_bit {
        let whole: Vec<i64> = values.iter().map(|v| (v * 1e12) as i64).collect();
        Tensor::from_i64(&[3, 11, 9], &whole)
    } else {
        Tensor::from_f32(&[3, 11, 9], &values.iter().map(|v| *v as f32).collect::<Vec<_>>())
    };
    let bits = |at: usize| match is_64_bit {
        true => x.to_i64()[at] as u64 ^ 1 << 63 ^ flip,
        false => u64::from(float_key(x.to_f32()[at]) ^ flip as u32),
    };
    let elements = x.to_f64();
    let mut reference = vec![0; elements.len()];
    for at in 0..elements.len() {
        let (o, j, i) = (at / inner / n, at / inner % n, at % inner);
        reference[(o * inner + i) * n + j] = bits(at);
        // The keys compare like their elements, NaN above all.
        let other = at * 7 % elements.len();
        let [a, b] = [at, other].map(|at| elements[at]);
        let by_value = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        assert_eq!(bits(at).cmp(&bits(other)), if flip == 0 { by_value } else { by_value.reverse() });
    }
    let params = move |at: &[u64]| OrderParams {
        x: at[0],
        keys: at[1],
        flip,
        count: (outer * n * inner) as u32,
        n: n as u32,
        inner: inner as u32,
        ..OrderParams::default()
    };
    let buffers = vec![read(words(&x)), result(297 * if is_64_bit { 2 } else { 1 })];
    case("3x11x9".into(), 2, buffers, params, same(vec![split(&reference, is_64_bit)]))
}

/// Key of a float: rises with it, equal for both zeros, largest for NaN.
fn float_key(v: f32) -> u32 {
    let bits = if v.is_nan() { 0x7fff_ffff } else { (v + 0.0).to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Positions of keys in ascending order.
fn sorted(keys: &[u64]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..keys.len() as u32).collect();
    places.sort_by_key(|i| keys[*i as usize]);
    places
}

fn exclusive_scan(counts: &[u32]) -> Vec<u32> {
    counts
        .iter()
        .scan(0, |sum, c| {
            *sum += c;
            Some(*sum - c)
        })
        .collect()
}

fn sizes(n: usize, shift: u32) -> OrderParams {
    OrderParams { n: n as u32, tiles: n.div_ceil(TILE as usize) as u32, shift, ..OrderParams::default() }
}

fn tiles(keys: &[u64], n: usize) -> u32 {
    (keys.len() / n * n.div_ceil(TILE as usize)) as u32
}

/// Occurrences of each digit in each tile, `[rows, 16, tiles]`.
fn counts(keys: &[u64], n: usize, shift: u32) -> Vec<u32> {
    let tiles = n.div_ceil(TILE as usize);
    let mut counts = vec![0; keys.len() / n * DIGITS as usize * tiles];
    for (i, key) in keys.iter().enumerate() {
        let digit = (key >> shift & 15) as usize;
        counts[(i / n * DIGITS as usize + digit) * tiles + i % n / TILE as usize] += 1;
    }
    counts
}

/// Builds cases for rows shorter than a tile, and for rows of a tile and a fraction.
fn tiled(random: &mut Random, is_64_bit: bool, make: impl Fn(&[u64], usize, u32) -> Vec<Case>) -> Vec<Case> {
    let mut cases = vec![];
    for (rows, n, shift) in [(1, 70, 8), (2, TILE as usize + 300, if is_64_bit { 36 } else { 12 })] {
        let keys = some_keys(random, rows * n, is_64_bit);
        cases.extend(make(&keys, n, shift));
    }
    cases
}

/// Builds cases with two pictures, two classes, and more boxes than a block has threads.
pub fn suppress(name: &str) -> Vec<Case> {
    let mut random = Random::new(19);
    let (pictures, classes, spatial) = (2usize, 2usize, 270usize);
    let (rows, count) = (pictures * classes, pictures * classes * spatial);
    let mut cases = vec![];
    for (max_boxes, min_score, overlap) in [(200i64, 0.1f32, 0.05f32), (3, 0.2, 0.5), (0, 0.0, 0.5)] {
        // Some boxes have no area, and some coincide.
        let value = |random: &mut Random| (random.bits() % 9) as f32 / 2.0;
        let boxes: Vec<f32> = (0..pictures * spatial * 4).map(|_| value(&mut random)).collect();
        let scores: Vec<f32> = (0..count)
            .map(|_| if random.bits().is_multiple_of(97) { f32::NAN } else { random.float().abs() })
            .collect();
        let boxes = Tensor::from_f32(&[pictures, spatial, 4], &boxes);
        let scores = Tensor::from_f32(&[pictures, classes, spatial], &scores);
        let limits = [Tensor::from_i64(&[1], &[max_boxes]), Tensor::from_f32(&[1], &[overlap])];
        let bound = Tensor::from_f32(&[1], &[min_score]);
        let op = Prim::NonMaxSuppression(prim::NonMaxSuppression { center: name == "suppress_center" });
        let result = expected(&op, &[&boxes, &scores, &limits[0], &limits[1], &bound]);
        let Array::I(selected_rows) = &result else { panic!("{result:?}") };
        let selected_rows: Vec<i64> = selected_rows.iter().copied().collect();
        let mut selected: Vec<Vec<u32>> = vec![vec![]; rows];
        for row in selected_rows.chunks(3).filter(|r| r[0] >= 0) {
            selected[row[0] as usize * classes + row[1] as usize].push(row[2] as u32);
        }
        let counts: Vec<u32> = selected.iter().map(|s| s.len() as u32).collect();
        let params = SuppressParams {
            count: count as u32,
            classes: classes as u32,
            spatial: spatial as u32,
            ..SuppressParams::default()
        };
        let shape = format!("{rows}x{spatial}, {} stay", counts.iter().sum::<u32>());
        let mut lists = vec![u32::MAX; count];
        for (row, list) in selected.iter().enumerate() {
            lists[row * spatial..][..list.len()].copy_from_slice(list);
        }
        if name == "collect" {
            let starts = exclusive_scan(&counts);
            cases.push(Case {
                shape,
                grid: [count.div_ceil(256) as u32, 1, 1],
                buffers: vec![
                    read(lists),
                    read(counts),
                    read(starts),
                    (Role::Update, vec![u32::MAX; 6 * count]),
                ],
                params: Box::new(move |at| {
                    let [selected, counts, starts, out] = [at[0], at[1], at[2], at[3]];
                    SuppressParams { selected, counts, starts, out, ..params }.bytes()
                }),
                expected: vec![Expected::array(&result, |_, _| 0.0)],
            });
            continue;
        }
        let score = scores.to_f64();
        let by_score = |row: usize| {
            let scores = &score[row * spatial..][..spatial];
            let mut places: Vec<u32> = (0..spatial as u32).collect();
            let key = |i: &u32| match scores[*i as usize] {
                score if score.is_nan() => f64::INFINITY,
                score => score,
            };
            places.sort_by(|a, b| key(b).total_cmp(&key(a)));
            places
        };
        let order: Vec<u32> = (0..rows).flat_map(by_score).collect();
        cases.push(Case {
            shape,
            grid: [rows as u32, 1, 1],
            buffers: vec![
                read(words(&boxes)),
                read(words(&scores)),
                read(order),
                read(words(&limits[0])),
                read(words(&limits[1])),
                read(words(&bound)),
                (Role::Write, vec![0; count]),
                (Role::Update, vec![u32::MAX; count]),
                (Role::Write, vec![0; rows]),
            ],
            params: Box::new(move |at| {
                let [boxes, scores, order] = [at[0], at[1], at[2]];
                let [max_boxes, overlap, min_score] = [at[3], at[4], at[5]];
                let [alive, selected, counts] = [at[6], at[7], at[8]];
                let params = SuppressParams {
                    boxes,
                    scores,
                    order,
                    max_boxes,
                    overlap,
                    min_score,
                    alive,
                    selected,
                    counts,
                    ..params
                };
                params.bytes()
            }),
            expected: vec![Expected::Any, Expected::Words(lists), Expected::Words(counts)],
        });
    }
    cases
}
