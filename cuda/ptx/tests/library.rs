//! The kernels that are checked in are what the emitter writes, and read no parameter but those of their blocks.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlbc_ptx::Params;
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
use dlbc_ptx::library::library;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")
}

#[test]
fn the_checked_in_kernels_are_what_the_emitter_writes() {
    let wanted: BTreeMap<String, String> =
        library().into_iter().map(|e| (format!("{}.ptx", e.kernel.name), e.kernel.text)).collect();
    assert_eq!(wanted.len(), library().len(), "two kernels have one name");
    let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|f| f.extension().is_some_and(|e| e == "ptx")).collect();
    if std::env::var_os("DLBC_UPDATE_KERNELS").is_some() {
        files.iter().for_each(|f| std::fs::remove_file(f).unwrap());
        wanted.iter().for_each(|(name, text)| std::fs::write(folder().join(name), text).unwrap());
        return;
    }
    let found: BTreeMap<String, String> = files
        .iter()
        .map(|f| (f.file_name().unwrap().to_string_lossy().into(), std::fs::read_to_string(f).unwrap()))
        .collect();
    let names = |m: &BTreeMap<String, String>| m.keys().cloned().collect::<Vec<_>>();
    let how = "DLBC_UPDATE_KERNELS=1 cargo test --workspace --test library";
    assert_eq!(names(&found), names(&wanted), "cuda/kernels is out of date: {how}");
    for (name, text) in wanted {
        assert!(found[&name] == text, "cuda/kernels/{name} is out of date: {how}");
    }
    println!("{} kernels are checked in as they are emitted", found.len());
}

/// Each `ld.param` hits a field, or an element of one, of the right width, and the block has the struct's size.
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
            let hit = fields.iter().find(|(_, first, size, _)| (*first..first + size).contains(&at));
            let (field, first, _, word) = hit.unwrap_or_else(|| panic!("{name}: nothing lies at {at}"));
            let fits = width == *word && (at - first).is_multiple_of(width);
            // A kernel that moves words takes half of the fill.
            assert!(fits || *field == "fill", "{name}: {width} bytes at {} of `{field}`", at - first);
            loads += 1;
        }
    }
    assert!(loads > 1000, "{loads}");
}
