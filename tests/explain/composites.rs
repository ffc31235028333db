//! Every composite on every model: it runs, gives numbers, and its ledger closes. Normalisations of the input in every form.

use std::path::PathBuf;

use crate::common::*;
use dlbc_compiler::{Compiled, Options, compile};
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::NodeProto;
use dlbc_proto::write::{self, Dim, attr_int, attr_ints, node};
use dlbc_proto::{Bytes, DataType, Limits, Model, decode, encode};
use dlbc_runtime::{Request, SeedValue, Target, Tensors};

#[test]
fn every_composite_runs_on_every_model_and_closes() {
    if zoo().is_none() {
        return;
    }
    let models = zoo_models(&[VISION_AND_TABULAR, SEQUENCE, VISION_TASKS, EXPERTS].concat());
    let mut seen = std::collections::BTreeSet::new();
    let (mut runs, mut faults) = (0, vec![]);
    for m in &models {
        // One export of each model.
        let name = m.name.split('/').next_back().unwrap().split('.').next().unwrap().to_string();
        if !seen.insert(name) {
            continue;
        }
        for rules in one_run() {
            let program = program(&m.model, rules);
            let inputs = inputs_of(&program, &npz(&m.inputs));
            let request = request(&program, Target::Index(0))
                .ledger()
                .seed_value(if rules == "grad-x-input" { SeedValue::Value } else { SeedValue::One });
            let actual = explain(&cpu(program, 2), &inputs, &request);
            runs += 1;
            if actual.supporting.relevance.values().any(|r| r.to_f32().iter().any(|v| !v.is_finite())) {
                faults.push(format!("{} {rules}: not finite", m.name));
            }
            // Signed shares may be many times what arrives: a row is measured by what it moves.
            for row in actual.supporting.ledger.as_ref().unwrap() {
                let size = row
                    .received
                    .abs()
                    .max(row.passed.abs())
                    .max(row.absorbed.abs())
                    .max(actual.supporting.seed_sum.abs());
                if row.residual().abs() > 1e-3 * size {
                    faults.push(format!("{} {rules}: {row:?}", m.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {runs} runs:\n{}", faults.len(), faults.join("\n"));
    println!("{runs} runs of {} models", seen.len());
}

/// A normalisation of the input: its nodes, which make `s [2, 4]`, and the inputs with their shapes.
struct Form {
    name: &'static str,
    nodes: Vec<NodeProto>,
    inputs: &'static [(&'static str, &'static [u64])],
    /// Index of the element of `s` that each element of the inputs of a row becomes, in order.
    becomes: [usize; 4],
}

const PLAIN: [usize; 4] = [0, 1, 2, 3];
const X: &[(&str, &[u64])] = &[("x", &[2, 4])];

fn forms() -> Vec<Form> {
    let op_node = |op: &str, inputs: &[&str], output: &str| node(op, output, inputs, &[output], vec![]);
    let form = |name, nodes| Form { name, nodes, inputs: X, becomes: PLAIN };
    let columns = |input: &str, start: &str, end: &str, output: &str| {
        node("Slice", output, &[input, start, end, "one"], &[output], vec![])
    };
    let concat =
        |inputs: &[&str], output: &str| node("Concat", output, inputs, &[output], vec![attr_int("axis", 1)]);
    vec![
        form("mean and deviation", vec![op_node("Sub", &["x", "a"], "t"), op_node("Div", &["t", "b"], "s")]),
        form("range", vec![op_node("Mul", &["x", "b"], "t"), op_node("Add", &["a", "t"], "s")]),
        form("reversed", vec![op_node("Sub", &["a", "x"], "s")]),
        form(
            "pixels",
            vec![
                op_node("Mul", &["x", "b"], "t"),
                op_node("Sub", &["t", "a"], "u"),
                op_node("Div", &["u", "b"], "s"),
            ],
        ),
        form(
            "batch normalisation",
            vec![node("BatchNormalization", "s", &["x", "b", "a", "b", "b"], &["s"], vec![])],
        ),
        Form {
            name: "transposed",
            nodes: vec![
                node("Transpose", "t", &["x"], &["t"], vec![attr_ints("perm", vec![0, 2, 1])]),
                node("Flatten", "u", &["t"], &["u"], vec![]),
                op_node("Sub", &["u", "a"], "s"),
            ],
            inputs: &[("x", &[2, 2, 2])],
            becomes: [0, 2, 1, 3],
        },
        Form {
            name: "an input a column",
            nodes: vec![
                concat(&["x", "y"], "t"),
                op_node("Sub", &["t", "a"], "u"),
                op_node("Mul", &["u", "b"], "s"),
            ],
            inputs: &[("x", &[2, 1]), ("y", &[2, 3])],
            becomes: PLAIN,
        },
        Form {
            name: "some columns",
            nodes: vec![
                columns("x", "zero", "two", "left"),
                columns("x", "two", "four", "right"),
                op_node("Sub", &["left", "c"], "t"),
                concat(&["right", "t"], "s"),
            ],
            inputs: X,
            becomes: [2, 3, 0, 1],
        },
    ]
}

const A: [f32; 4] = [3.0, -20.0, 0.5, 700.0];
const B: [f32; 4] = [0.25, 2.0, 0.5, 4.0];
const W: [f32; 4] = [0.5, -1.0, 2.0, 0.75];

/// The form before one layer of one unit; with `stop` its tensor of that name is an input.
fn normalised(form: &Form, rules: &str, stop: Option<&str>) -> Compiled {
    let floats = |name: &str, dims: &[u64], v: &[f32]| {
        let bytes: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
        write::tensor(name, DataType::F32, dims, Bytes::from(bytes))
    };
    let index =
        |name: &str, v: i64| write::tensor(name, DataType::I64, &[1], Bytes::from(v.to_le_bytes().to_vec()));
    let mut nodes = form.nodes.clone();
    nodes.push(node("Gemm", "fc", &["s", "w", "bias"], &["z"], vec![attr_int("transB", 1)]));
    let constants = vec![
        floats("a", &[4], &A),
        floats("b", &[4], &B),
        floats("c", &[2], &A[..2]),
        floats("w", &[1, 4], &W),
        floats("bias", &[1], &[0.3]),
        index("zero", 0),
        index("one", 1),
        index("two", 2),
        index("four", 4),
    ];
    let info = |(name, dims): &(&str, &[u64])| {
        let rest = dims[1..].iter().map(|d| Dim::Value(*d));
        let dims: Vec<Dim> = [Dim::Symbol("n".into())].into_iter().chain(rest).collect();
        write::value_info(name, DataType::F32, &dims)
    };
    let inputs = form.inputs.iter().map(info).collect();
    let output = write::value_info("z", DataType::F32, &[Dim::Unknown, Dim::Unknown]);
    let graph = write::graph("form", nodes, constants, inputs, vec![output]);
    let bytes = encode(&write::model(graph, vec![write::opset("", 17)]));
    let model: Model = decode(&bytes, &Limits::default()).unwrap();
    let stop_at = stop.iter().map(ToString::to_string).collect();
    let options = Options { rules: rules.into(), stop_at, ..Options::default() };
    compile(&model, &options).unwrap_or_else(|e| panic!("{}: {e}", form.name))
}

/// The relevance of an element is that of the normalised element, `s w`, where the element is 0, too.
#[test]
fn the_constants_of_a_normalisation_are_a_reference_in_every_form() {
    let values: [f32; 8] = [7.0, 0.0, -1.5, 20.0, 0.0, -4.0, 3.0, 0.0];
    for form in forms() {
        let mut inputs = Tensors::new();
        let mut first = 0;
        for (name, dims) in form.inputs {
            let dims: Vec<usize> = dims.iter().map(|d| *d as usize).collect();
            let width: usize = dims[1..].iter().product();
            let row_values: Vec<f32> =
                (0..2).flat_map(|row| values[row * 4 + first..][..width].to_vec()).collect();
            inputs.insert((*name).into(), Tensor::from_f32(&dims, &row_values));
            first += width;
        }
        let keep = Request::new().seed_value(SeedValue::Value).target(Target::Index(0));
        let mut options = normalised(&form, "gradient", None).program;
        let s = {
            // The normalised values, as an output.
            let value = options.graph.find("s").unwrap_or_else(|| panic!("{}: no s", form.name));
            options.graph.add_output("s", value);
            options.info.outputs.push("s".into());
            cpu(options, 1).predict(&inputs).unwrap()["s"].to_f64()
        };
        for rules in ["lrp-epsilon", "epsilon-plus", "attnlrp", "cp-lrp", "integrated-gradients"] {
            let actual = explain(&cpu(normalised(&form, rules, None).program, 1), &inputs, &keep);
            let mut first = 0;
            for (name, dims) in form.inputs {
                let width: usize = dims[1..].iter().map(|d| *d as usize).product();
                for (i, r) in actual.supporting.relevance[*name].to_f64().iter().enumerate() {
                    let (row, at) = (i / width, form.becomes[first + i % width]);
                    let expected = s[row * 4 + at] * f64::from(W[at]);
                    assert!(
                        (r - expected).abs() <= 2e-4 * expected.abs().max(1.0),
                        "{}, {rules}: {name}[{i}]: expected {expected}, found {r}",
                        form.name
                    );
                }
                first += width;
            }
        }
    }
}

/// Constants behind a layer with weights, a look-up of embeddings or a tensor that was made an input contribute.
#[test]
fn constants_inside_the_model_are_contributions() {
    let rules_of = |compiled: &Compiled| -> Vec<String> {
        compiled.program.info.ledger.iter().map(|row| row.rule.clone()).collect()
    };
    let forms = forms();
    let data = |rules: &[String]| rules.iter().any(|r| r.contains("constants=data"));
    assert!(data(&rules_of(&normalised(&forms[3], "lrp-epsilon", None))));
    let stopped = normalised(&forms[3], "lrp-epsilon", Some("t"));
    assert!(!data(&rules_of(&stopped)));
    // An input that only nodes before `t` read is not an input any more.
    let inputs: Vec<&str> = stopped.program.info.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(inputs, ["t"]);
    let path: PathBuf = root().join("fixtures/sentiment_bert/model.onnx");
    let bert = program(&path, "lrp-epsilon");
    let rules: Vec<String> = bert.info.ledger.iter().map(|row| row.rule.clone()).collect();
    assert!(rules.iter().any(|r| r.starts_with("sum-epsilon")) && !data(&rules), "{rules:?}");
}

/// Derivatives see raw features, which the program says.
#[test]
fn composites_that_see_raw_features_are_known() {
    let form = &forms()[0];
    for (rules, raw) in [
        ("gradient", true),
        ("grad-x-input", true),
        ("smoothgrad", true),
        ("lrp-epsilon", false),
        ("attnlrp", false),
        ("integrated-gradients", false),
        ("dlb", false),
    ] {
        let expected: &[&str] = if raw { &["x"] } else { &[] };
        assert_eq!(normalised(form, rules, None).program.info.self_normalized, expected, "{rules}");
    }
}
