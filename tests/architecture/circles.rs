//! Import circles between the files of a crate.
//!
//! A file imports another if it names something that the other defines: in a `use` declaration, or by a path such as
//! `super::shape::broadcast` in its code. A name that a module merely passes on is followed to the file that defines it, and a
//! `pub use` counts as an import only where the module's own code mentions the name, so that the front page of a folder is not
//! part of a circle by being one. Unseen are: methods (nothing tells from which file they come), what macros expand to, and
//! names brought in by `*` from an enum. Code under `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::syntax::{Import, Module, parse};

/// Files of one crate by the files that each imports, with an example of a name.
pub type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// A crate's modules by path, from its root file.
struct Crate {
    modules: BTreeMap<Vec<String>, (PathBuf, Module)>,
}

impl Crate {
    fn read(root: &Path) -> Crate {
        let mut modules = BTreeMap::new();
        let folder = root.parent().unwrap().to_path_buf();
        let mut stack = vec![(vec![], root.to_path_buf(), folder)];
        while let Some((path, file, folder)) = stack.pop() {
            let module = parse(&std::fs::read_to_string(&file).unwrap());
            add(&mut modules, path, &file, &folder, module, &mut stack);
        }
        Crate { modules }
    }

    /// The path from the crate's root of a path in `module`; `None` if it starts in another crate.
    fn absolute(&self, module: &[String], path: &[String], fuel: usize) -> Option<Vec<String>> {
        let mut base = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {}
            first => {
                let (_, here) = self.modules.get(module)?;
                let child = [module, &[first.to_string()]].concat();
                if !self.modules.contains_key(&child) && !here.items.contains(first) {
                    // The path starts with an imported name.
                    let import = here.imports.iter().find(|i| i.name == first && i.path != path)?;
                    let start = self.absolute(module, &import.path, fuel.checked_sub(1)?)?;
                    return Some([&start, &path[1..]].concat());
                }
            }
        }
        while rest.first().is_some_and(|s| s == "super") {
            base.pop()?;
            rest = &rest[1..];
        }
        Some([&base, rest].concat())
    }

    /// The file that defines what an absolute path names; `None` for a module, and for a name of another crate.
    fn definition(&self, path: &[String], fuel: usize) -> Option<&Path> {
        let depth = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
        let (module, rest) = path.split_at(depth);
        let (file, here) = &self.modules[module];
        let name = rest.first()?;
        if here.items.contains(name) {
            return Some(file);
        }
        let fuel = fuel.checked_sub(1)?;
        if let Some(import) = here.imports.iter().find(|i| i.name == *name) {
            let target = self.absolute(module, &import.path, fuel)?;
            return self.definition(&[&target, &rest[1..]].concat(), fuel);
        }
        for glob in &here.globs {
            if let Some(target) = self.absolute(module, glob, fuel)
                && let Some((_, other)) = self.modules.get(&target)
                && (other.items.contains(name) || other.imports.iter().any(|i| i.name == *name))
            {
                return self.definition(&[&target, rest].concat(), fuel);
            }
        }
        // A macro of the module defines it.
        Some(file)
    }

    fn imports(&self, imports: &mut Imports) {
        for (path, (file, module)) in &self.modules {
            let used = |i: &&Import| !i.public || module.words.contains(&i.name);
            let declared = module.imports.iter().filter(used).map(|i| i.path.clone());
            let named = module.paths.iter().cloned();
            let words = |glob: &Vec<String>| {
                let target = self.absolute(path, glob, FUEL);
                let (_, other) = target.and_then(|t| self.modules.get(&t))?;
                let brought =
                    |w: &&String| other.items.contains(*w) || other.imports.iter().any(|i| i.name == **w);
                let words = module.words.iter().filter(brought);
                Some(words.map(|w| [glob.as_slice(), std::slice::from_ref(w)].concat()).collect::<Vec<_>>())
            };
            let everything = module.globs.iter().filter_map(words).flatten();
            let entry = imports.entry(file.clone()).or_default();
            for name in declared.chain(named).chain(everything) {
                let target = self.absolute(path, &name, FUEL).and_then(|t| self.definition(&t, FUEL));
                if let Some(target) = target.filter(|t| t != file) {
                    entry.entry(target.to_path_buf()).or_insert_with(|| name.join("::"));
                }
            }
        }
    }
}

/// Links of a chain of imports that are followed.
const FUEL: usize = 16;

fn add(
    modules: &mut BTreeMap<Vec<String>, (PathBuf, Module)>,
    path: Vec<String>,
    file: &Path,
    folder: &Path,
    mut module: Module,
    files: &mut Vec<(Vec<String>, PathBuf, PathBuf)>,
) {
    for child in &module.children {
        let below = folder.join(child);
        let flat = folder.join(format!("{child}.rs"));
        let file = if flat.exists() { flat } else { below.join("mod.rs") };
        files.push(([path.as_slice(), std::slice::from_ref(child)].concat(), file, below));
    }
    for (name, inner) in std::mem::take(&mut module.inline) {
        let below = folder.join(&name);
        add(modules, [path.as_slice(), &[name]].concat(), file, &below, inner, files);
    }
    modules.insert(path, (file.to_path_buf(), module));
}

/// Files that `file` imports, perhaps by way of others.
fn reached<'a>(imports: &'a Imports, file: &'a PathBuf) -> BTreeSet<&'a PathBuf> {
    let (mut reached, mut stack) = (BTreeSet::new(), vec![file]);
    while let Some(file) = stack.pop() {
        let below = imports.get(file).into_iter().flat_map(BTreeMap::keys);
        stack.extend(below.filter(|target| reached.insert(*target)));
    }
    reached
}

/// The circles: groups of files each of which imports, perhaps by way of others, every other.
fn circles(imports: &Imports) -> BTreeSet<BTreeSet<&PathBuf>> {
    let reached: BTreeMap<_, _> = imports.keys().map(|file| (file, reached(imports, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, below) in &reached {
        if below.contains(*file) {
            circles.insert(below.iter().filter(|other| reached[*other].contains(*file)).copied().collect());
        }
    }
    circles
}

/// Imports that close a circle and may stay: file, imported file, and the reason. `*` stands for every file of a folder.
///
/// The list may only shrink: an import that closes no circle any more must be taken off it.
#[rustfmt::skip]
const ALLOWED: &[(&str, &str, &str)] = &[
    // Tables: the module of a folder lists what the folder's files hold, and the files take its trait and types.
    ("ops/src/op/mod.rs", "ops/src/op/*", "the enum of operators; an operator may build others, and hold a graph of them"),
    ("ops/src/rule/mod.rs", "ops/src/rule/*", "the enum of rules"),
    ("ops/src/prim/mod.rs", "ops/src/prim/*", "the enum of primitives; their contract builds, differentiates and runs graphs of them"),
    ("ops/src/op/read/mod.rs", "ops/src/op/fold.rs", "shape subgraphs fold while a model is read"),
    ("compiler/src/lower/scan_relevance.rs", "compiler/src/lower/rules.rs", "the step of a recurrence is lowered as the whole is"),
    ("ops/src/op/linear.rs", "ops/src/op/matmul.rs", "an operator that builds another, which reads as the first"),
    ("ops/src/op/resize.rs", "ops/src/op/resize/*", "one operator in several files"),
    ("ops/src/graph/mod.rs", "ops/src/graph/print.rs", "a graph prints itself"),
    ("cuda/ptx/src/kernel/attention/mod.rs", "cuda/ptx/src/kernel/attention/*", "one kernel in several files"),
    ("cuda/ptx/src/kernel/pointwise/mod.rs", "cuda/ptx/src/kernel/pointwise/*", "one kernel in several files"),
    ("cuda/ptxsim/src/machine/mod.rs", "cuda/ptxsim/src/machine/mma.rs", "one machine in several files"),
    ("cuda/ptxsim/src/parse/mod.rs", "cuda/ptxsim/src/parse/arithmetic.rs", "one parser in several files"),
    ("cuda/src/plan/product.rs", "cuda/src/plan/*", "a product ends in an expression, and an expression may begin with a product"),
];

fn matches(pattern: &str, file: &Path) -> bool {
    match pattern.strip_suffix('*') {
        Some(folder) => file.starts_with(folder),
        None => file == Path::new(pattern),
    }
}

fn allows((from, to, _): &(&str, &str, &str), file: &Path, target: &Path) -> bool {
    matches(from, file) && matches(to, target)
}

#[test]
fn imports_between_files_make_no_circles() {
    let mut imports = Imports::new();
    for folder in super::members() {
        for root in ["lib.rs", "main.rs"].map(|file| super::root().join(&folder).join("src").join(file)) {
            if root.exists() {
                Crate::read(&root).imports(&mut imports);
            }
        }
    }
    let short = |p: &Path| p.strip_prefix(super::root()).unwrap().to_path_buf();
    let imports: Imports = imports
        .iter()
        .map(|(from, to)| (short(from), to.iter().map(|(to, name)| (short(to), name.clone())).collect()))
        .collect();
    let mut faults = vec![];
    let mut rest = imports.clone();
    for (from, targets) in &mut rest {
        targets.retain(|to, _| !ALLOWED.iter().any(|entry| allows(entry, from, to)));
    }
    for circle in circles(&rest) {
        faults.push(format!("{} files import each other in a circle:", circle.len()));
        for from in &circle {
            for (to, name) in rest[*from].iter().filter(|(to, _)| circle.contains(to)) {
                faults.push(format!("    {} imports {} ({name})", from.display(), to.display()));
            }
        }
    }
    for entry in ALLOWED {
        let mut with = rest.clone();
        for (from, targets) in &imports {
            let targets = targets.iter().filter(|(to, _)| allows(entry, from, to));
            with.entry(from.clone())
                .or_default()
                .extend(targets.map(|(to, name)| (to.clone(), name.clone())));
        }
        if !imports.keys().any(|from| {
            imports[from].keys().any(|to| allows(entry, from, to) && reached(&with, to).contains(from))
        }) {
            let (from, to, _) = entry;
            faults.push(format!("{from} → {to} closes no circle any more: take it off the list"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
