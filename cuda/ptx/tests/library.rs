//! The emitter reproduces the manifest and the checked-in texts, and kernels read only the fields of their parameter blocks.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dlbc_ptx::kernel::conv::ConvParams;
use dlbc_ptx::kernel::gemm::GemmParams;
use dlbc_ptx::kernel::index::IndexParams;
use dlbc_ptx::kernel::order::OrderParams;
use dlbc_ptx::kernel::pick::PickParams;
use dlbc_ptx::kernel::pool::PoolParams;
use dlbc_ptx::kernel::reduce::ReduceParams;
use dlbc_ptx::kernel::softmax::SoftmaxParams;
use dlbc_ptx::kernel::suppress::SuppressParams;
use dlbc_ptx::kernel::transpose::TransposeParams;
use dlbc_ptx::kernel::turn::TurnParams;
use dlbc_ptx::library::{Entry, library};
use dlbc_ptx::{Kernel, Params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Kernels whose text is checked in, at least one per family and arithmetic. The manifest has a digest of every kernel.
const TEXTS: &[&str] = &[
    "attention_forward",
    "attention_statistics_tensor",
    "gemm_id_k_id_64x64x16",
    "gemm_id_k_id_64x64x16_3xtf32",
    "gemm_one_pos_kx4_64x64x16_tf32",
    "gemm_one_pos_kx4_64x64x16_bf16",
    "gemm_skinny_abs_one_k_1_then_fro_x0_x1_abs_1_x2_add_0_3_mul_4_2_x3_mul_5_6",
    "gemm_integer_id_id",
    "conv_abs_id_direct_then_r_x0_x1_add_0_1_relu_2",
    "conv_abs_id_64x64x16_then_r_x0_x1_add_0_1_relu_2",
    "conv_adjoint_strided_abs_id_direct",
    "reduce_sum_f32_block_2_2_slices",
    "softmax",
    "pointwise_abs_mul_add_v4",
    "pointwise_pow",
    "pointwise_cast_f32_bf16",
    "scatter_add_f32",
    "digits_b32",
    "window_give",
    "rows_norm_warp",
    "suppress_corners",
    "transpose_b32",
];

/// An entry of `cuda/kernels/manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    name: String,
    family: String,
    /// SHA-256 of the text.
    sha256: String,
    lines: usize,
    /// Threads per block.
    threads: u32,
    /// Dynamic shared memory in bytes.
    shared: u32,
    /// Size of the parameter block in bytes.
    params: usize,
    /// Registers per thread by chip; `scripts/cuda/ptxas_gate.py --update` writes them.
    registers: BTreeMap<String, u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")
}

/// Returns a kernel's entry of the manifest, without registers.
fn listed(entry: &Entry) -> Listed {
    let Kernel { name, text, threads, shared, .. } = &entry.kernel;
    let (_, params) = text.split_once(".b8 p[").unwrap();
    let (params, _) = params.split_once(']').unwrap();
    Listed {
        name: name.clone(),
        family: entry.family.into(),
        sha256: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        lines: text.lines().count(),
        threads: *threads,
        shared: *shared,
        params: params.parse().unwrap(),
        registers: BTreeMap::new(),
    }
}

/// Returns the library by name.
fn entries() -> BTreeMap<String, Entry> {
    let entries: BTreeMap<_, _> = library().into_iter().map(|e| (e.kernel.name.clone(), e)).collect();
    assert_eq!(entries.len(), library().len(), "two kernels have one name");
    entries
}

/// With `DLBC_KERNELS_OUT` set, writes every kernel to that folder.
#[test]
fn kernels_are_as_the_manifest_says() {
    let entries = entries();
    if let Some(out) = std::env::var_os("DLBC_KERNELS_OUT").map(PathBuf::from) {
        std::fs::create_dir_all(&out).unwrap();
        for (name, entry) in &entries {
            std::fs::write(out.join(format!("{name}.ptx")), &entry.kernel.text).unwrap();
        }
    }
    let path = folder().join("manifest.json");
    let manifest: Vec<Listed> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let registers: BTreeMap<_, _> = manifest.iter().map(|l| (&l.name, &l.registers)).collect();
    let expected: Vec<Listed> = entries
        .values()
        .map(|entry| {
            let registers = registers.get(&entry.kernel.name).copied().cloned().unwrap_or_default();
            Listed { registers, ..listed(entry) }
        })
        .collect();
    if std::env::var_os("DLBC_UPDATE_KERNELS").is_some() {
        let lines: Vec<String> = expected.iter().map(|l| serde_json::to_string(l).unwrap()).collect();
        std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
        return;
    }
    let names = |list: &[Listed]| list.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&manifest), names(&expected), "cuda/kernels/manifest.json is out of date: {UPDATE}");
    for (old, new) in manifest.iter().zip(&expected) {
        assert_eq!(old, new, "cuda/kernels/manifest.json is out of date: {UPDATE}");
        assert!(
            !new.registers.is_empty(),
            "{} has no registers: scripts/cuda/ptxas_gate.py --update",
            new.name
        );
    }
    println!("{} kernels are emitted as the manifest says", expected.len());
}

const UPDATE: &str = "DLBC_UPDATE_KERNELS=1 cargo test --workspace --test library";

#[test]
fn the_checked_in_texts_are_what_the_emitter_writes() {
    let entries = entries();
    let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|f| f.extension().is_some_and(|e| e == "ptx")).collect();
    let text = |name: &str| {
        let entry = entries.get(name).unwrap_or_else(|| panic!("the library has no kernel {name}"));
        entry.kernel.text.clone()
    };
    if std::env::var_os("DLBC_UPDATE_KERNELS").is_some() {
        files.iter().for_each(|f| std::fs::remove_file(f).unwrap());
        TEXTS.iter().for_each(|n| std::fs::write(folder().join(format!("{n}.ptx")), text(n)).unwrap());
        return;
    }
    let names: BTreeSet<String> =
        files.iter().map(|f| f.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, TEXTS.iter().map(|n| n.to_string()).collect(), "cuda/kernels is out of date: {UPDATE}");
    for name in TEXTS {
        let checked_in = std::fs::read_to_string(folder().join(format!("{name}.ptx"))).unwrap();
        assert!(checked_in == text(name), "cuda/kernels/{name}.ptx is out of date: {UPDATE}");
    }
}

/// Each `ld.param` reads a field or an array element of the same width, and the block has the size of the struct.
#[test]
fn kernels_read_the_fields_of_their_parameter_blocks() {
    let mut loads = 0;
    for entry in library() {
        let (fields, bytes) = match entry.family {
            "gemm" => (GemmParams::FIELDS, size_of::<GemmParams>()),
            "conv" => (ConvParams::FIELDS, size_of::<ConvParams>()),
            "reduce" => (ReduceParams::FIELDS, size_of::<ReduceParams>()),
            "turn" => (TurnParams::FIELDS, size_of::<TurnParams>()),
            "softmax" => (SoftmaxParams::FIELDS, size_of::<SoftmaxParams>()),
            "pick" => (PickParams::FIELDS, size_of::<PickParams>()),
            "index" => (IndexParams::FIELDS, size_of::<IndexParams>()),
            "order" => (OrderParams::FIELDS, size_of::<OrderParams>()),
            "suppress" => (SuppressParams::FIELDS, size_of::<SuppressParams>()),
            "transpose" => (TransposeParams::FIELDS, size_of::<TransposeParams>()),
            "pool" => (PoolParams::FIELDS, size_of::<PoolParams>()),
            // Blocks that depend on an expression are laid out by the code that reads them.
            "pointwise" | "attention" => continue,
            family => panic!("no parameters are known for {family}"),
        };
        let name = &entry.kernel.name;
        assert!(
            entry.kernel.text.contains(&format!("p[{bytes}])")),
            "{name}: the block is not {bytes} bytes"
        );
        for line in entry.kernel.text.lines().filter(|l| l.contains("ld.param")) {
            let width = if line.contains("64 ") { 8 } else { 4 };
            let at: usize = line.split("[p+").nth(1).unwrap().trim_end_matches("];").parse().unwrap();
            let hit = fields.iter().find(|f| (f.offset..f.offset + f.bytes).contains(&at));
            let field = hit.unwrap_or_else(|| panic!("{name}: no field at offset {at}"));
            let fits = width == field.element_bytes && (at - field.offset).is_multiple_of(width);
            // A kernel that moves 32-bit words reads the lower half of the fill value.
            assert!(
                fits || field.name == "fill",
                "{name}: {width} bytes at {} of `{}`",
                at - field.offset,
                field.name
            );
            loads += 1;
        }
    }
    assert!(loads > 1000, "{loads}");
}
