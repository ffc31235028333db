//! Each crate can be published: its manifest is complete, and its package has every file that the code reads.

use std::fs;

use super::{members, root, texts};

/// Folders of the published crates, each after those that it depends on.
const ORDER: &[&str] =
    &["proto", "ops", "backend", "cpu", "artifact", "compiler", "cuda/ptx", "cuda", "runtime", ""];

/// The crates that serve tests alone.
const UNPUBLISHED: &[&str] = &["cuda/ptxsim", "cuda/fakedriver"];

fn manifest(folder: &str) -> String {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()
}

/// Name of the crate in a folder.
fn crate_name(folder: &str) -> String {
    match folder.rsplit('/').next().unwrap() {
        "" => "dlbc".into(),
        last => format!("dlbc-{last}"),
    }
}

/// Lines of a table of a manifest, without comments.
fn table<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#')).collect()
}

/// Strings of an array that is the value of `key`, which may span lines.
fn strings<'a>(table: &'a str, key: &str) -> Vec<&'a str> {
    let Some((_, value)) = table.split_once(&format!("\n{key} = [")) else { return vec![] };
    value.split(']').next().unwrap().split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_crate_says_what_a_registry_asks_for() {
    let workspace = manifest("");
    let mut folders: Vec<String> = members();
    folders.retain(|folder| !UNPUBLISHED.contains(&folder.as_str()));
    folders.sort();
    let mut order = ORDER.to_vec();
    order.sort_unstable();
    assert_eq!(folders, order, "published crates");
    for folder in UNPUBLISHED {
        assert!(table(&manifest(folder), "package").contains(&"publish = false"), "{folder}");
    }
    assert!(!table(&workspace, "workspace.package").iter().any(|line| line.starts_with("publish")));
    for folder in ORDER {
        let text = manifest(folder);
        let package = table(&text, "package");
        for key in [
            "description",
            "version",
            "rust-version",
            "license",
            "readme",
            "keywords",
            "categories",
            "include",
        ] {
            assert!(package.iter().any(|line| line.starts_with(key)), "{folder}: no {key}");
        }
        assert!(!package.iter().any(|line| line.starts_with("publish")), "{folder} is not published");
        let keywords = strings(&text, "keywords");
        assert!((1..=5).contains(&keywords.len()), "{folder}: {keywords:?}");
        assert!(keywords.iter().all(|word| word.len() <= 20), "{folder}: {keywords:?}");
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let file = root().join(folder).join(license);
            assert!(fs::read_to_string(&file).is_ok_and(|text| text.len() > 500), "{}", file.display());
        }
        assert!(!table(&text, "package.metadata.docs.rs").is_empty(), "{folder}: no settings for docs.rs");
    }
}

#[test]
fn a_package_depends_on_published_versions_alone() {
    let workspace = manifest("");
    let version = table(&workspace, "workspace.package")
        .into_iter()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap();
    let dependencies = table(&workspace, "workspace.dependencies");
    let line = |name: &str| {
        let start = format!("{name} = ");
        dependencies.iter().find(|line| line.starts_with(&start)).copied().unwrap_or_default()
    };
    for folder in ORDER.iter().filter(|folder| !folder.is_empty()) {
        let line = line(&crate_name(folder));
        assert!(line.contains(&format!("path = \"{folder}\", version = {version}")), "{folder}: {line}");
    }
    for folder in UNPUBLISHED {
        assert!(!line(&crate_name(folder)).contains("version"), "{folder}");
    }
    for (at, folder) in ORDER.iter().enumerate() {
        let text = manifest(folder);
        let named =
            |name: &str| table(&text, name).into_iter().filter(|line| line.starts_with("dlbc-")).collect();
        let (needed, tested): (Vec<&str>, Vec<&str>) = (named("dependencies"), named("dev-dependencies"));
        let earlier: Vec<String> = ORDER[..at].iter().map(|folder| crate_name(folder)).collect();
        let is_earlier =
            |line: &str| earlier.iter().any(|name| *name == line.split(['.', ' ']).next().unwrap());
        for line in needed {
            assert!(is_earlier(line), "{folder}: {line}");
        }
        for line in tested {
            // A dependency of tests without a version is left out of the package.
            let unpublished = UNPUBLISHED.iter().any(|folder| line.starts_with(&crate_name(folder)));
            let left_out = unpublished || line.contains("{ path = ");
            assert!(is_earlier(line) || left_out, "{folder}: {line}");
        }
    }
}

#[test]
fn code_includes_only_files_of_its_package() {
    let mut count = 0;
    for folder in ORDER {
        let text = manifest(folder);
        let packaged = strings(&text, "include");
        for (path, code) in texts(root().join(folder).join("src").to_str().unwrap()) {
            for macro_name in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
                for included in code.split(macro_name).skip(1).filter_map(|rest| rest.split('"').next()) {
                    count += 1;
                    let file = path.parent().unwrap().join(included).canonicalize().unwrap();
                    let base = root().join(folder).canonicalize().unwrap();
                    let inside = file.strip_prefix(&base).map(|file| format!("/{}", file.display()));
                    let inside = inside.unwrap_or_else(|_| panic!("{}: {included}", path.display()));
                    let has = |pattern: &&str| inside.starts_with(*pattern) || inside == "/README.md";
                    assert!(packaged.iter().any(has), "{}: {included}", path.display());
                }
            }
        }
    }
    assert!(count > 20, "{count} files included");
}
