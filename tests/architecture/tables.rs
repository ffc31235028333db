//! Tables of primitives in the crates that have a file for each: generated from the table in `ops/src/prim/mod.rs` and the files
//! of the folder, and checked in. `DLBC_UPDATE_TABLES=1` writes them.
//!
//! In the `mod.rs` of such a folder the `mod` lines, the arms of the one exhaustive `match` and implementations by defaults are
//! generated, all else is not. A
//! macro would do without, but rustfmt passes over modules that a macro declares.

use std::path::Path;

/// Folders with a file for each primitive, or for it and its adjoint, and the trait of which a primitive has the defaults where
/// no file implements it.
const FOLDERS: &[(&str, Option<&str>)] =
    &[("artifact/src/lowering", None), ("cuda/src/plan/prim", None), ("cpu/src/prim", Some("CpuPrimitive"))];

/// Variants of `Prim`: the table's units, and those with a type of the same name.
fn variants() -> [Vec<String>; 2] {
    let text = std::fs::read_to_string(super::root().join("ops/src/prim/mod.rs")).unwrap();
    let (_, table) = text.split_once("\nprim_table! {").expect("the table of primitives");
    ["unit {", "node {"].map(|part| {
        let (_, list) = table.split_once(part).unwrap();
        let (list, _) = list.split_once('}').unwrap();
        list.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect()
    })
}

/// A `mod` line for each file of a folder.
fn modules(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".rs")?.to_string()));
    let mut lines: Vec<String> =
        names.filter(|name| name != "mod").map(|name| format!("mod {name};")).collect();
    lines.sort();
    lines
}

/// An arm of the `match` for each primitive.
fn arms() -> Vec<String> {
    let [units, nodes] = variants();
    let units = units.iter().map(|name| format!("        Prim::{name} => &prim::{name},"));
    let nodes = nodes.iter().map(|name| format!("        Prim::{name}(prim) => prim,"));
    let mut lines: Vec<String> = units.chain(nodes).collect();
    lines.sort_by_key(|line| line.split(['(', ' ']).find(|word| !word.is_empty()).map(str::to_string));
    lines
}

/// An empty implementation of a trait for each primitive that no file of a folder implements it for.
fn defaults(folder: &Path, name: &str) -> Vec<String> {
    let texts = super::texts(folder.to_str().unwrap());
    let code: String =
        texts.iter().filter(|(path, _)| !path.ends_with("mod.rs")).map(|(_, text)| text.as_str()).collect();
    let mut variants = variants().concat();
    variants.retain(|variant| !code.contains(&format!("impl {name} for {variant} {{")));
    variants.sort();
    variants.iter().map(|variant| format!("impl {name} for prim::{variant} {{}}")).collect()
}

/// The text with `lines` in the place of those that `is_generated` selects.
fn replaced(text: &str, is_generated: impl Fn(&str) -> bool, lines: Vec<String>) -> String {
    let first = text.lines().position(&is_generated).expect("a generated line to begin with");
    let handwritten: Vec<&str> = text.lines().filter(|line| !is_generated(line)).collect();
    let (before, after) = handwritten.split_at(first);
    let lines = lines.iter().map(String::as_str);
    let all: Vec<&str> = before.iter().copied().chain(lines).chain(after.iter().copied()).collect();
    all.join("\n") + "\n"
}

#[test]
fn every_primitive_is_in_the_tables_of_its_files() {
    for (folder, default) in FOLDERS {
        let folder = super::root().join(folder);
        let file = folder.join("mod.rs");
        let text = std::fs::read_to_string(&file).unwrap();
        let is_module = |line: &str| line.starts_with("mod ") && line.ends_with(';');
        let is_arm = |line: &str| {
            line.starts_with("        Prim::")
                && (line.ends_with("(prim) => prim,") || line.contains(" => &prim::"))
        };
        let expected = replaced(&text, is_module, modules(&folder));
        let mut expected = replaced(&expected, is_arm, arms());
        if let Some(name) = default {
            let is_default = |line: &str| line.starts_with("impl ") && line.ends_with(" {}");
            expected = replaced(&expected, is_default, defaults(&folder, name));
        }
        if std::env::var_os("DLBC_UPDATE_TABLES").is_some() {
            std::fs::write(&file, &expected).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text == expected, "{} is out of date: run with DLBC_UPDATE_TABLES=1", file.display());
    }
}
