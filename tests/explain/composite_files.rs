//! Composites in files of the user's: mistakes, and entries for nothing.

use std::path::Path;

#[test]
fn a_mistake_in_a_composite_is_named_with_its_line() {
    let good = dlbc_compiler::built_in_source("lrp-epsilon").unwrap();
    for (from, to, expected) in [
        ("rule = \"epsilon\"", "rule = \"epsilom\"", "own.toml:6: unknown rule `epsilom`: expected"),
        ("role = \"linear\"", "role = \"linea\"", "own.toml:6: unknown role `linea`: expected"),
        ("epsilon = 1e-06", "epsilon = -1.0", "own.toml:6: invalid epsilon: expected at least 0, found -1"),
        (
            "epsilon = 1e-06",
            "epsilon = 1e-06\nalpha = 1.0",
            "own.toml:6: rule `epsilon` has no parameter `alpha`",
        ),
        (
            "epsilon = 1e-06",
            "epsilon = 1e-06\ndivisors = \"constant\"",
            "own.toml:6: rule `epsilon` has no parameter `divisors`",
        ),
        (
            "epsilon = 1e-06",
            "epsilon = 1e-06\nfactors = \"share\"",
            "own.toml:6: rule `epsilon` has no parameter `factors`",
        ),
        ("epsilon = 1e-06", "epsilo = 1e-06", "own.toml:6: rule `epsilon` has no parameter `epsilo`"),
        (
            "role = \"linear\"\nrule = \"epsilon\"\nepsilon = 1e-06",
            "role = \"linear\"\nrule = \"pass\"",
            "own.toml:6: rule `pass` does not fit role `linear`",
        ),
        (
            "role = \"linear\"\nrule = \"epsilon\"\nepsilon = 1e-06",
            "role = \"linear\"\nrule = \"product\"",
            "own.toml:6: rule `product` does not fit role `linear`",
        ),
        (
            "role = \"linear\"",
            "role = \"linear\"\nop = \"Conv\"",
            "own.toml:1: no entry gives role `linear` a rule",
        ),
        (
            "rule = \"epsilon\"",
            "rule = \"z-box\"\nlow = 1.0\nhigh = nan",
            "own.toml:6: invalid low and high: expected numbers",
        ),
        (
            "rule = \"epsilon\"",
            "rule = \"z-box\"\nlow = 1.0\nhigh = 0.5",
            "own.toml:6: invalid low and high: expected numbers",
        ),
        (
            "role = \"sum\"\nrule",
            "role = \"sum\"\nplace = \"first\"\nrule",
            "own.toml:25: places `first` and `last` apply to layers with weights only",
        ),
        (
            "place = \"scaler\"",
            "place = \"before\"",
            "own.toml:31: unknown place `before`: expected `first`, `last`, `scaler`",
        ),
        ("name = ", "name ", "own.toml:1:"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from:?}");
        let error = dlbc_compiler::Composite::parse(&text, "own.toml").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expected:?} expected, found {error:?}");
    }
}

#[test]
fn an_entry_that_selects_nothing_is_a_warning() {
    let model = dlbc_proto::read_model(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits_cnn/model.onnx").as_path(),
        &dlbc_proto::Limits::default(),
    )
    .unwrap();
    let mut text = dlbc_compiler::built_in_source("dlb").unwrap().to_string();
    text += "\n[[rule]]\nop = \"Conv\"\nplace = \"first\"\nrule = \"flat\"\n\n[[rule]]\nscope = \"/nowhere/*\"\nrule = \"flat\"\n";
    let options = dlbc_compiler::Options {
        rules_file: Some(("own.toml".into(), text)),
        ..dlbc_compiler::Options::default()
    };
    let compiled = dlbc_compiler::compile(&model, &options).unwrap();
    assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
    assert!(compiled.warnings[0].ends_with("the entry selects no node"), "{:?}", compiled.warnings);
    let rules: Vec<&str> = compiled.program.info.ledger.iter().map(|r| r.rule.as_str()).collect();
    assert_eq!(rules.iter().filter(|r| r.starts_with("flat")).count(), 1, "{rules:?}");
}
