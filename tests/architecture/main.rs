//! The invariants of ARCHITECTURE.md that a machine can check.

#![allow(clippy::unwrap_used, missing_docs)]

mod circles;
mod language;
mod messages;
mod packages;
mod syntax;
mod tables;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Folders of the workspace's crates; the last, empty one is that of the program.
fn members() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, list) = manifest.split_once("members = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let members = list.split(',').map(|member| member.trim().trim_matches('"').to_string());
    members.filter(|member| !member.is_empty()).chain([String::new()]).collect()
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = vec![];
    sources(&root().join(folder), &mut files);
    files.into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

/// The code of every crate, and the tests of each but the program's.
fn all_texts() -> Vec<(PathBuf, String)> {
    let folders = members().into_iter().flat_map(|m| {
        let tests = Path::new(&m).join("tests");
        let tests = (!m.is_empty() && root().join(&tests).exists()).then_some(tests);
        [Some(Path::new(&m).join("src")), tests].into_iter().flatten()
    });
    folders.flat_map(|folder| texts(folder.to_str().unwrap())).collect()
}

/// A crate may import only what stands left of it.
#[test]
fn crates_import_only_what_stands_left_of_them() {
    let allowed: &[(&str, &[&str])] = &[
        ("proto", &[]),
        ("ops", &[]),
        ("backend", &["ops"]),
        ("cpu", &["ops", "backend"]),
        ("artifact", &["proto", "ops"]),
        ("compiler", &["proto", "ops"]),
        ("runtime", &["proto", "ops", "backend", "cpu", "artifact", "cuda"]),
        ("cuda/ptx", &["ops"]),
        ("cuda/ptxsim", &["ptx"]),
        ("cuda/fakedriver", &["ptx", "ptxsim"]),
        ("cuda", &["ops", "backend", "ptx"]),
    ];
    for member in members().iter().filter(|m| !m.is_empty()) {
        assert!(allowed.iter().any(|(folder, _)| folder == member), "{member} is not on the list");
    }
    for (folder, edges) in allowed {
        let manifest = root().join(folder).join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
        let runtime_part = text.split("[dev-dependencies]").next().unwrap();
        for line in runtime_part.lines().filter_map(|l| l.strip_prefix("dlbc-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(edges.contains(&name), "{folder} imports {name}");
        }
    }
}

#[test]
fn only_the_graph_knows_petgraph_and_only_proto_knows_prost() {
    for (path, text) in all_texts() {
        let graph = path.starts_with(root().join("ops/src/graph"));
        let proto = path.starts_with(root().join("proto"));
        assert!(graph || !text.contains("petgraph::"), "{} uses petgraph", path.display());
        assert!(proto || !text.contains("prost::"), "{} uses prost", path.display());
    }
}

#[test]
fn backends_never_see_an_operator_or_a_rule() {
    for (path, text) in [texts("backend/src"), texts("cpu"), texts("runtime/src"), texts("cuda")].concat() {
        // Examples in comments may compile a model.
        let text: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        for word in ["dlbc_ops::op::", "dlbc_ops::rule", "dlbc_compiler"] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn files_stay_short() {
    for member in members() {
        for (path, text) in texts(Path::new(&member).join("src").to_str().unwrap()) {
            let lines = text.lines().count();
            assert!(lines <= 490, "{} has {lines} lines: make it a folder", path.display());
        }
    }
}

#[test]
fn unsafe_stands_where_the_architecture_says() {
    let allowed = [
        "proto/src/folder.rs",
        "cpu/src/gemm/kernel.rs",
        "cpu/src/parallel.rs",
        "cuda/src/driver/mod.rs",
        "cuda/src/driver/jit.rs",
        "cuda/src/driver/probe.rs",
        "cuda/src/driver/sequence.rs",
        "cuda/src/driver/staging.rs",
        "cuda/src/driver/symbols.rs",
        "cuda/src/driver/watchdog.rs",
        "cuda/fakedriver/src/api.rs",
        "cuda/fakedriver/src/host.rs",
        "cuda/fakedriver/src/machine.rs",
    ];
    for (path, text) in all_texts() {
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        let has = code.into_iter().any(|l| l.contains("unsafe ") || l.contains("allow(unsafe_code)"));
        let may = allowed.iter().any(|a| path == root().join(a));
        assert!(!has || may, "{} has unsafe code", path.display());
        assert!(has || !may, "{} has no unsafe code any more: take it off the list", path.display());
    }
}
