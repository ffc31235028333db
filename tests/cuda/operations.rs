//! Launches of single operations as the planner chooses them, for programs that time them on a GPU: an index in JSON and the
//! contents of tables and texts.

use std::path::{Path, PathBuf};

use crate::recording::{ADDRESS_BITS, Recorder};
use dlbc_cuda::{CudaBackend, Math, Precision};
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, ConvGeometry, Prim, Transform, Unary, Window,
};
use dlbc_ops::program::{Output, SEED, TrackKind};
use dlbc_ops::tensor::{DType, Dim, Shape, TensorType};
use dlbc_ptx::{Launch, Region};
use dlbc_runtime::{Backend, SessionOptions};
use serde_json::{Value as Json, json};

const PRECISIONS: [(&str, Precision); 4] = [
    ("3xtf32", Precision::Tf32x3),
    ("tf32", Precision::Tf32),
    ("bf16", Precision::Bf16),
    ("simt", Precision::Simt),
];

/// An operation, its program, and the same for a peer.
struct Operation {
    name: String,
    graph: Graph<Prim>,
    /// Name of the operation and its sizes.
    peer: Json,
    flops: f64,
    /// Bytes that every implementation must move.
    bytes: f64,
    precisions: &'static [usize],
    /// Length of the sums of a product.
    depth: usize,
}

fn input(b: &mut Builder, name: &str, dims: &[usize]) -> Value {
    let shape: Shape = dims.iter().map(|d| Dim::known(*d as i64)).collect();
    b.input(name, TensorType::new(DType::F32, shape))
}

/// Builds a program of one output. With `share`, the output is of the reverse.
fn program(share: bool, build: impl FnOnce(&mut Builder) -> Value) -> Graph<Prim> {
    let mut b = Builder::new();
    let y = build(&mut b);
    b.ok().unwrap();
    if share {
        b.graph_mut().add_output(Output::relevance(TrackKind::Single, "x"), y);
    } else {
        b.graph_mut().add_output("y", y);
    }
    b.finish()
}

fn product([m, n, k]: [usize; 3]) -> Operation {
    let graph = program(false, |b| {
        let (x, w) = (input(b, "x", &[m, k]), input(b, "w", &[k, n]));
        b.add(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false }, &[x, w])
    });
    Operation {
        name: format!("product {m}x{n}x{k}"),
        graph,
        peer: json!({"op": "product", "sizes": [m, n, k]}),
        flops: 2.0 * (m * n * k) as f64,
        bytes: 4.0 * (m * k + k * n + m * n) as f64,
        precisions: &[0, 1, 2, 3],
        depth: k,
    }
}

fn convolution([images, channels, side]: [usize; 3], adjoint: bool) -> Operation {
    let window = Window {
        kernel: vec![3, 3],
        strides: vec![1, 1],
        before: vec![1, 1],
        after: vec![1, 1],
        dilations: vec![1, 1],
        ceil: false,
    };
    let geometry = ConvGeometry { window, groups: 1 };
    let dims = [images, channels, side, side];
    let graph = program(false, |b| {
        let (x, w) = (input(b, "x", &dims), input(b, "w", &[channels, channels, 3, 3]));
        let to = vec![Dim::known(side as i64); 2];
        let op = match adjoint {
            true => Prim::ConvTranspose(prim::ConvTranspose { geometry, w: Transform::Id, to }),
            false => Prim::Conv(prim::Conv { geometry, w: Transform::Id }),
        };
        b.add(op, &[x, w])
    });
    let elements = images * channels * side * side;
    let kind = if adjoint { "adjoint of a convolution" } else { "convolution" };
    Operation {
        name: format!("{kind} 3x3, {channels} channels, {side}x{side}, batch {images}"),
        graph,
        peer: json!({"op": if adjoint { "adjoint" } else { "convolution" }, "sizes": [images, channels, side]}),
        flops: 2.0 * (elements * channels * 9) as f64,
        bytes: 4.0 * (2 * elements + 9 * channels * channels) as f64,
        precisions: &[0, 1, 2],
        depth: 9 * channels,
    }
}

fn attention([heads, tokens, width]: [usize; 3], part: Option<AttentionPart>) -> Operation {
    let geometry = AttentionGeometry { scale: (width as f32).powf(-0.5), guard: true };
    let dims = [1, heads, tokens, width];
    let graph = program(part.is_some(), |b| {
        let [q, k, v] = ["q", "k", "v"].map(|name| input(b, name, &dims));
        match part {
            None => b.add(prim::Attention(geometry), &[q, k, v]),
            Some(part) => {
                let y = b.add(prim::Attention(geometry), &[q, k, v]);
                b.graph_mut().add_output("y", y);
                let r = input(b, SEED, &dims);
                let share = Prim::AttentionShare(prim::AttentionShare { geometry, value: 0.5, part });
                b.add(share, &[q, k, v, r])
            }
        }
    });
    let scores = (heads * tokens * tokens * width) as f64;
    let (kind, products) =
        if part.is_some() { ("attention and its queries", 6.0) } else { ("attention", 2.0) };
    Operation {
        name: format!("{kind}, {heads} heads of {width}, {tokens} tokens"),
        graph,
        peer: json!({"op": "attention", "sizes": [heads, tokens, width]}),
        flops: 2.0 * products * scores,
        bytes: 16.0 * (heads * tokens * width) as f64,
        precisions: &[0, 2],
        depth: width,
    }
}

fn rows([count, width]: [usize; 2]) -> Vec<Operation> {
    let dims = [count, width];
    let elements = (count * width) as f64;
    let softmax = program(false, |b| {
        let x = input(b, "x", &dims);
        b.add(prim::Softmax { axis: 1 }, &[x])
    });
    let elementwise = program(false, |b| {
        let [x, y, z] = ["x", "y", "z"].map(|name| input(b, name, &dims));
        let magnitude = b.add(Prim::Unary(Unary::Abs), &[x]);
        let scaled = b.add(Prim::Binary(Binary::Mul), &[magnitude, y]);
        b.add(Prim::Binary(Binary::Add), &[scaled, z])
    });
    let operation = |kind: &str, graph, bytes: f64, op: &str| Operation {
        name: format!("{kind} {count}x{width}"),
        graph,
        peer: json!({"op": op, "sizes": dims}),
        flops: 0.0,
        bytes,
        precisions: &[0],
        depth: 0,
    };
    vec![
        operation("softmax", softmax, 8.0 * elements, "softmax"),
        operation("abs(x) y + z", elementwise, 16.0 * elements, "elementwise"),
    ]
}

/// Returns the operations at the sizes of a GPU, or small ones for the interpreter.
fn operations(small: bool) -> Vec<Operation> {
    let all = match small {
        true => vec![
            vec![product([64, 96, 80]), product([5, 64, 300])],
            vec![convolution([1, 16, 8], false), convolution([1, 16, 8], true)],
            vec![attention([1, 70, 32], None), attention([1, 70, 32], Some(AttentionPart::Query))],
            rows([60, 64]),
        ],
        false => vec![
            [256, 1500, 4096].map(|m| product([m, 8192, 3072])).into(),
            // Deep sums, whose rounding is another.
            vec![product([256, 4096, 14336]), product([16, 4096, 4096])],
            vec![convolution([8, 64, 56], false), convolution([8, 64, 56], true)],
            vec![attention([24, 1500, 128], None), attention([24, 1500, 128], Some(AttentionPart::Query))],
            rows([4096, 4096]),
        ],
    };
    all.into_iter().flatten().collect()
}

/// Plans an operation at addresses that `shift` decides.
fn planned(operation: &Operation, precision: Precision, shift: u64) -> Recorder {
    let recorder = Recorder::new(shift, true);
    let backend = CudaBackend::new(Box::new(recorder.clone())).with_precision(precision);
    let (forward, reverse): (Vec<Output>, Vec<Output>) = operation
        .graph
        .outputs()
        .iter()
        .map(|(output, _)| output.clone())
        .partition(|output| matches!(output, Output::Model(_)));
    let plan = backend.prepare(&operation.graph, &forward, &reverse, &SessionOptions::default());
    plan.map(drop).unwrap_or_else(|e| panic!("{}: {e}", operation.name));
    recorder
}

#[derive(Default)]
struct Blobs(Vec<u8>);

impl Blobs {
    fn add(&mut self, bytes: &[u8]) -> Json {
        let at = self.0.len();
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        json!([at, bytes.len()])
    }
}

/// Bound of an element of a product, relative to the sum of the magnitudes of its terms.
fn bound(precision: Precision, depth: usize) -> f64 {
    match precision {
        Precision::Tf32x3 => Math::Split.error(depth),
        Precision::Tf32 => Math::Tf32.error(depth),
        Precision::Bf16 => Math::Bf16.error(depth),
        // One rounding for each product and sum.
        Precision::Simt => 2.0 * depth as f64 / f64::from(1 << 24),
    }
}

/// Allocation and offset of an address.
fn place(address: u64) -> [u64; 2] {
    [(address >> ADDRESS_BITS) - 1, address & ((1 << ADDRESS_BITS) - 1)]
}

/// Describes a launch. `moved` is the same one at other addresses, by which those in the parameters are found.
fn described(launch: &Launch, moved: &Launch, shift: u64, kernel: &str) -> Json {
    let words = |l: &Launch| -> Vec<u64> {
        l.params.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let mut relocations = vec![];
    for (i, (first, second)) in words(launch).into_iter().zip(words(moved)).enumerate() {
        if first != second {
            let [allocation, offset] = place(first);
            assert_eq!(second - first, shift * (allocation + 1), "{kernel}: parameter {i}");
            relocations.push([8 * i as u64, allocation, offset]);
        }
    }
    let regions = |regions: &[Region]| -> Vec<[u64; 3]> {
        regions.iter().map(|r| (place(r.address), r.bytes)).map(|([a, o], b)| [a, o, b]).collect()
    };
    json!({
        "kernel": kernel,
        "grid": launch.grid,
        "params": launch.params,
        "relocations": relocations,
        "reads": regions(&launch.reads),
        "writes": regions(&launch.writes),
    })
}

/// Writes the operations to `index.json` and `blobs.bin` of a folder. Returns their number.
fn write(folder: &Path, small: bool) -> usize {
    const SHIFT: u64 = 1 << 20;
    let (mut blobs, mut kernels, mut listed) = (Blobs::default(), serde_json::Map::new(), vec![]);
    for operation in operations(small) {
        for i in operation.precisions {
            let (precision_name, precision) = PRECISIONS[*i];
            let recorders = [0, SHIFT].map(|shift| planned(&operation, precision, shift));
            let [first, moved] = recorders.each_ref().map(|r| r.recorded.lock().unwrap());
            for kernel in &first.kernels {
                if !kernels.contains_key(&kernel.name) {
                    let text = blobs.add(kernel.text.as_bytes());
                    let (threads, shared) = (kernel.threads, kernel.shared);
                    let entry = json!({"text": text, "threads": threads, "shared": shared});
                    kernels.insert(kernel.name.clone(), entry);
                }
            }
            let launches = |sequences: &[Vec<Launch>]| -> Vec<Launch> { sequences.concat() };
            let pairs = launches(&first.sequences).into_iter().zip(launches(&moved.sequences));
            let launches: Vec<Json> =
                pairs.map(|(a, b)| described(&a, &b, SHIFT, &first.kernels[a.kernel.0].name)).collect();
            let uploads: Vec<Json> = first
                .uploads
                .iter()
                .map(|(address, bytes)| json!({"at": place(*address), "content": blobs.add(bytes)}))
                .collect();
            listed.push(json!({
                "name": format!("{} in {precision_name}", operation.name),
                "precision": precision_name,
                "peer": operation.peer,
                "flops": operation.flops,
                "bytes": operation.bytes,
                "bound": bound(precision, operation.depth),
                "allocations": first.allocations,
                "uploads": uploads,
                "launches": launches,
            }));
        }
    }
    std::fs::create_dir_all(folder).unwrap();
    let count = listed.len();
    let index = json!({"kernels": kernels, "operations": listed});
    std::fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    std::fs::write(folder.join("blobs.bin"), &blobs.0).unwrap();
    count
}

/// Writes the operations to the folder that `DLBC_OPERATIONS` names, in `full` and `small`.
#[test]
fn operations_are_written() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("DLBC_OPERATIONS").map_or(temporary.path().to_path_buf(), PathBuf::from);
    for (name, small) in [("small", true), ("full", false)] {
        let count = write(&folder.join(name), small);
        println!("{count} operations in {name}");
        assert!(count > 10);
    }
}
