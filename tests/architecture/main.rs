//! The invariants of ARCHITECTURE.md that a machine can check.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use common::root;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    sources(&root().join(folder), &mut found);
    found.into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

/// A crate may import only what stands left of it.
#[test]
fn crates_import_only_what_stands_left_of_them() {
    let allowed: &[(&str, &[&str])] = &[
        ("proto", &[]),
        ("ops", &[]),
        ("artifact", &["proto", "ops"]),
        ("compiler", &["proto", "ops", "artifact"]),
        ("runtime", &["proto", "ops", "artifact"]),
        ("cuda/ptx", &["ops"]),
        ("cuda/ptxsim", &["ptx"]),
        ("cuda", &["ops", "runtime", "ptx"]),
    ];
    for (folder, edges) in allowed {
        let manifest = root().join(folder).join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
        let own = text.split("[dev-dependencies]").next().unwrap();
        for line in own.lines().filter_map(|l| l.strip_prefix("dlbc-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(edges.contains(&name), "{folder} imports {name}");
        }
    }
}

#[test]
fn only_the_graph_knows_petgraph_and_only_proto_knows_prost() {
    for folder in ["ops/src", "compiler/src", "runtime/src", "cuda", "src"] {
        for (path, text) in texts(folder) {
            let graph = path.starts_with(root().join("ops/src/graph"));
            assert!(graph || !text.contains("petgraph::"), "{} uses petgraph", path.display());
            assert!(!text.contains("prost::"), "{} uses prost", path.display());
        }
    }
}

#[test]
fn backends_never_see_an_operator_or_a_rule() {
    for (path, text) in [texts("runtime/src"), texts("cuda")].concat() {
        // Examples in comments may compile a model.
        let text: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        for word in ["dlbc_ops::op::", "dlbc_ops::rule", "dlbc_compiler"] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn files_stay_short() {
    for folder in [
        "proto/src",
        "ops/src",
        "compiler/src",
        "runtime/src",
        "cuda/src",
        "cuda/ptx/src",
        "cuda/ptxsim/src",
        "src",
    ] {
        for (path, text) in texts(folder) {
            let lines = text.lines().count();
            assert!(lines <= 490, "{} has {lines} lines: make it a folder", path.display());
        }
    }
}

#[test]
fn unsafe_stands_where_the_architecture_says() {
    let allowed = [
        "proto/src/folder.rs",
        "runtime/src/tract/gemm/kernel.rs",
        "runtime/src/tract/parallel.rs",
        "cuda/src/driver/mod.rs",
        "cuda/src/driver/graph.rs",
        "cuda/src/driver/jit.rs",
        "cuda/src/driver/probe.rs",
    ];
    for folder in ["proto/src", "ops/src", "artifact/src", "compiler/src", "runtime/src", "cuda", "src"] {
        for (path, text) in texts(folder) {
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            let has = code.into_iter().any(|l| l.contains("unsafe ") || l.contains("allow(unsafe_code)"));
            let may = allowed.iter().any(|a| path == root().join(a));
            assert!(!has || may, "{} has unsafe code", path.display());
            assert!(has || !may, "{} has no unsafe code any more: take it off the list", path.display());
        }
    }
}
