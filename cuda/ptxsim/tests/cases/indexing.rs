//! Gather, scatter-add, overwritten rows.

use dlbc_ops::prim::{self, Prim};
use dlbc_ops::tensor::{Array, Dim, Tensor};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::index::IndexParams;
use dlbc_ptx::kernel::storage::Storage;

use super::{Case, Expected, Random, Role, expected, packed, rounded, words};

/// More indices than a block has threads; some occur twice and some never.
fn indices() -> Vec<i64> {
    let mut v = vec![2, -1, 2, 0, 4, -1, 3, 2, 0];
    v.extend((0..260).map(|i| [0, 2, 4, -2][i % 4]));
    v
}

/// Builds cases on data `[3, dim, 30]`, with valid indices and with some out of range.
pub fn index(name: &str) -> Vec<Case> {
    let mut random = Random::new(16);
    let mut cases = vec![];
    for (dim, valid) in [(5i64, true), (4, false), (3, false)] {
        let indices = if name.starts_with("gather") { indices()[..9].to_vec() } else { indices() };
        let n = indices.len();
        let is_64_bit = name.ends_with("b64") || name.ends_with("s64");
        let mut tensor = |dims: &[usize]| if is_64_bit { random.integers(dims) } else { random.floats(dims) };
        let width = if is_64_bit { 2 } else { 1 };
        let resolve = |i: i64| if i < 0 { i + dim } else { i };
        // An index out of range counts as 0.
        let keys: Vec<u32> =
            indices.iter().map(|i| resolve(*i)).map(|i| if i < dim { i as u32 } else { 0 }).collect();
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by_key(|i| keys[*i as usize]);
        let starts: Vec<u32> =
            (0..=dim as u32).map(|d| keys.iter().filter(|k| **k < d).count() as u32).collect();
        let index_tensor = Tensor::from_i64(&[n], &indices);
        let params = IndexParams { n: n as u32, dim: dim as u32, inner: 30, ..IndexParams::default() };
        let status = Expected::Words(vec![u32::from(!valid)]);
        let d = dim as usize;
        let read = |words: Vec<u32>| (Role::Read, words);
        let shape = format!("{n} in 3x{dim}x30");
        // The results of an index out of range are open.
        let exact = |result: Option<Array>| result.map_or(Expected::Any, |r| Expected::array(&r, |_, _| 0.0));
        match name {
            n if n.starts_with("gather") => {
                let storage = match name {
                    "gather_bf16" => Storage::Bf16,
                    "gather_f16" => Storage::F16,
                    _ => Storage::F32,
                };
                let mut data = tensor(&[3, d, 30]);
                let mut stored = words(&data);
                if storage != Storage::F32 {
                    data = Tensor::from_f32(data.dims(), &rounded(storage, &data.to_f32()));
                    stored = packed(storage, &data.to_f32());
                }
                let result =
                    valid.then(|| expected(&Prim::Gather(prim::Gather { axis: 1 }), &[&data, &index_tensor]));
                cases.push(Case {
                    shape,
                    grid: [4, 1, 1],
                    buffers: vec![
                        read(stored),
                        read(words(&index_tensor)),
                        (Role::Write, vec![0; 810 * width]),
                        (Role::Update, vec![0]),
                    ],
                    params: Box::new(move |at| {
                        let [x, indices, out, status] = [at[0], at[1], at[2], at[3]];
                        IndexParams { x, indices, out, status, count: 810, ..params }.bytes()
                    }),
                    expected: vec![exact(result), status],
                });
            }
            "resolve" => cases.push(Case {
                shape,
                grid: [2, 1, 1],
                buffers: vec![read(words(&index_tensor)), (Role::Write, vec![0; n]), (Role::Update, vec![0])],
                params: Box::new(move |at| {
                    let [indices, keys, status] = [at[0], at[1], at[2]];
                    IndexParams { indices, keys, status, count: params.n, ..params }.bytes()
                }),
                expected: vec![Expected::Words(keys), status],
            }),
            "starts" => {
                // As many different indices as occur, and many more, most of which do not occur.
                let sparse: Vec<u32> =
                    (0..=300).map(|d| keys.iter().filter(|k| **k < d).count() as u32).collect();
                for reference in [starts, sparse] {
                    let count = reference.len() as u32;
                    cases.push(Case {
                        shape: format!("{n} in {count}"),
                        grid: [count.div_ceil(256), 1, 1],
                        buffers: vec![
                            read(keys.clone()),
                            read(order.clone()),
                            (Role::Write, vec![0; count as usize]),
                        ],
                        params: Box::new(move |at| {
                            let [keys, order, starts] = [at[0], at[1], at[2]];
                            IndexParams { keys, order, starts, count, ..params }.bytes()
                        }),
                        expected: vec![Expected::Words(reference)],
                    });
                }
            }
            name if name.starts_with("scatter_add") => {
                let updates = tensor(&[3, n, 30]);
                let op = Prim::ScatterAdd(prim::ScatterAdd { axis: 1, to: Dim::known(dim) });
                let result = valid.then(|| expected(&op, &[&updates, &index_tensor]));
                let count = 90 * dim as u32;
                cases.push(Case {
                    shape,
                    grid: [count.div_ceil(256), 1, 1],
                    buffers: vec![
                        read(words(&updates)),
                        read(order),
                        read(starts),
                        (Role::Write, vec![0; count as usize * width]),
                    ],
                    params: Box::new(move |at| {
                        let [x, order, starts, out] = [at[0], at[1], at[2], at[3]];
                        IndexParams { x, order, starts, out, count, ..params }.bytes()
                    }),
                    expected: vec![
                        result.map_or(Expected::Any, |r| Expected::array(&r, |_, e| 1e-5 * e.abs() + 1e-5)),
                    ],
                });
            }
            _ => {
                // The first rows are not overwritten.
                let (data, updates) = (tensor(&[d + 7, 30]), tensor(&[n, 30]));
                let shifted: Vec<i64> = indices.iter().map(|i| if *i < 0 { *i } else { i + 7 }).collect();
                let index_tensor = Tensor::from_i64(&[n], &shifted);
                let result = valid.then(|| expected(&Prim::Overwrite, &[&data, &index_tensor, &updates]));
                let mut starts: Vec<u32> = starts.clone();
                starts.splice(0..0, [0; 7]);
                let count = 30 * (dim as u32 + 7);
                cases.push(Case {
                    shape,
                    grid: [count.div_ceil(256), 1, 1],
                    buffers: vec![
                        read(words(&updates)),
                        read(words(&data)),
                        read(order),
                        read(starts),
                        (Role::Write, vec![0; count as usize * width]),
                    ],
                    params: Box::new(move |at| {
                        let [x, data, order, starts, out] = [at[0], at[1], at[2], at[3], at[4]];
                        IndexParams { x, data, order, starts, out, count, ..params }.bytes()
                    }),
                    expected: vec![exact(result)],
                });
            }
        }
    }
    cases
}
