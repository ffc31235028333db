//! Integrated gradients and SmoothGrad: sums, limits, batches, ids, and what is refused.

use crate::common::*;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Request, SeedValue, Session, Target, Tensors};

fn repeated(table: &str) -> String {
    let gradient = dlbc_compiler::built_in_source("gradient").unwrap();
    let (head, rules) = gradient.split_at(gradient.find("[[rule]]").unwrap());
    format!("{head}[repeat]\n{table}\n\n{rules}")
}

fn integrated(steps: usize, baseline: &str) -> String {
    repeated(&format!("kind = \"integrated-gradients\"\nsteps = {steps}\nbaseline = {baseline}"))
}

fn tiny(name: &str) -> std::path::PathBuf {
    root().join(format!("fixtures/tiny/{name}.onnx"))
}

fn digits() -> (std::path::PathBuf, Tensors) {
    let folder = root().join("fixtures/digits_cnn");
    (folder.join("model.onnx"), npz(&folder.join("input.npz")))
}

fn values(start: SeedValue) -> Request {
    Request::new().seed_value(start).target(Target::Index(1))
}

/// The sum is the difference of the outputs, to the error of the quadrature, which falls with the points.
#[test]
fn integrated_gradients_sum_to_the_difference_of_the_outputs() {
    let (model, inputs) = (tiny("mlp_bn_softmax"), npz(&root().join("fixtures/tiny/mlp_bn_softmax.npz")));
    let mut gaps = vec![];
    for steps in [4, 64, 256] {
        let session = cpu(program_by(&model, &integrated(steps, "0.0")), 2);
        let inputs = inputs_of(session.program(), &inputs);
        let explanation = explain(&session, &inputs, &values(SeedValue::Value));
        let zeros: Tensors = inputs
            .iter()
            .map(|(name, t)| (name.clone(), Tensor::from_f32(t.dims(), &vec![0.0; t.elems()])))
            .collect();
        let name = &session.program().info.explained;
        let (here, there) = (&explanation.outputs[name], &session.predict(&zeros).unwrap()[name]);
        let units = here.dims()[1];
        let column = |t: &Tensor| t.to_f64().chunks(units).map(|row| row[1]).sum::<f64>();
        let expected = column(here) - column(there);
        assert!(
            (explanation.supporting.seed_sum - expected).abs() < 1e-5,
            "expected {expected}, found {}",
            explanation.supporting.seed_sum
        );
        let sum: f64 = explanation.supporting.input_sums.values().sum();
        assert!((explanation.supporting.absorbed - (explanation.supporting.seed_sum - sum)).abs() < 1e-9);
        gaps.push((sum - expected).abs() / expected.abs());
    }
    assert!(gaps[1] < 0.2 * gaps[0] && gaps[2] < 0.5 * gaps[1] && gaps[2] < 1e-2, "{gaps:?}");
}

/// The derivatives of the digits model jump, so its sum is exact to a hundredth at 64 points.
#[test]
fn digits_sum_up_from_every_baseline() {
    let (model, inputs) = digits();
    for baseline in ["0.0", "\"least\"", "\"mean\"", "0.5"] {
        let session = cpu(program_by(&model, &integrated(64, baseline)), 2);
        let explanation = explain(&session, &inputs, &Request::default());
        let sum: f64 = explanation.supporting.input_sums.values().sum();
        assert!(
            (sum - explanation.supporting.seed_sum).abs() < 1e-2 * explanation.supporting.seed_sum.abs(),
            "{baseline}: {sum} of {}",
            explanation.supporting.seed_sum
        );
    }
}

/// The mean over two Gauss-Legendre points equals the mean of the composite `gradient` at these points.
#[test]
fn two_points_are_those_of_the_gradient() {
    let (model, inputs) = digits();
    let two = reference(program_by(&model, &integrated(2, "0.0")));
    let gradient = reference(program(&model, "gradient"));
    let request = values(SeedValue::One);
    let relevance = explain(&two, &inputs, &request).supporting.relevance["input"].to_f64();
    let x = inputs["input"].to_f64();
    let mut expected = vec![0.0; x.len()];
    for node in [0.5 - 0.5 / 3f64.sqrt(), 0.5 + 0.5 / 3f64.sqrt()] {
        let point: Vec<f32> = x.iter().map(|v| (v * node) as f32).collect();
        let point = Tensors::from([("input".to_string(), Tensor::from_f32(inputs["input"].dims(), &point))]);
        let slope = explain(&gradient, &point, &request).supporting.relevance["input"].to_f64();
        expected.iter_mut().zip(slope.iter().zip(&x)).for_each(|(w, (g, x))| *w += 0.5 * g * x);
    }
    let size: f64 = expected.iter().map(|v| v.abs()).sum();
    let gap: f64 = relevance.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
    assert!(gap <= 1e-6 * size, "{:e}", gap / size);
}

#[test]
fn without_noise_smoothgrad_is_the_gradient() {
    let (model, inputs) = digits();
    let quiet = repeated("kind = \"smoothgrad\"\nsamples = 3\nnoise = 0.0");
    let smooth = explain(&cpu(program_by(&model, &quiet), 2), &inputs, &Request::default());
    let plain = explain(&cpu(program(&model, "gradient"), 2), &inputs, &Request::default());
    assert!(relative_l1(&smooth.supporting.relevance["input"], &plain.supporting.relevance["input"]) < 1e-6);
    let noisy = repeated("kind = \"smoothgrad\"\nsamples = 8\nnoise = 0.2\nseed = 5");
    let session = cpu(program_by(&model, &noisy), 2);
    let once = explain(&session, &inputs, &Request::default());
    assert_eq!(
        once.supporting.relevance,
        explain(&session, &inputs, &Request::default()).supporting.relevance
    );
    let gap = relative_l1(&once.supporting.relevance["input"], &plain.supporting.relevance["input"]);
    assert!(gap > 0.05, "noise changes nothing: {gap}");
    let other = cpu(program_by(&model, &noisy.replace("seed = 5", "seed = 6")), 2);
    assert_ne!(once.supporting.relevance, explain(&other, &inputs, &Request::default()).supporting.relevance);
}

/// Several points run as one batch; a batch is what its rows are.
#[test]
fn a_batch_is_its_rows() {
    let (model, inputs) = digits();
    for rules in ["integrated-gradients", "smoothgrad"] {
        let session: Session = cpu(program(&model, rules), 2);
        assert!(session.takes_rows());
        let all = explain(&session, &inputs, &Request::default()).supporting.relevance["input"].clone();
        for row in [0, 5] {
            let single = Tensors::from([("input".to_string(), pick(&inputs["input"], row))]);
            let alone = explain(&session, &single, &Request::default()).supporting.relevance["input"].clone();
            assert!(relative_l1(&alone, &pick(&all, row)) < 1e-5, "{rules}, row {row}");
        }
    }
}

#[test]
fn ledgers_intermediates_and_ids_are_refused() {
    let (model, inputs) = digits();
    let session = cpu(program(&model, "integrated-gradients"), 1);
    for request in [Request::new().ledger(), Request::new().keep_all(), Request::new().keep(["logits"])] {
        let error = session.explain(&inputs, &request).unwrap_err();
        assert!(error.to_string().contains("averages several runs"), "{error}");
    }
    let session = cpu(program(&tiny("textcnn"), "smoothgrad"), 1);
    let inputs = inputs_of(session.program(), &npz(&root().join("fixtures/tiny/textcnn.npz")));
    let error = session.explain(&inputs, &Request::default()).unwrap_err().to_string();
    assert!(error.contains("`input_ids`"), "{error}");
}

/// The points are rows of the exported model; ONNX Runtime's relevance is that of a run, baselines of scalers included.
#[test]
fn integrated_gradients_are_exported() {
    let table = "tabular_mlp";
    let cases = [
        ("digits_cnn", "\"scaler\""),
        (table, "\"scaler\""),
        (table, "\"mean\""),
        (table, "\"least\""),
        (table, "0.5"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (mut jobs, mut expected) = (vec![], vec![]);
    for (i, (name, baseline)) in cases.into_iter().enumerate() {
        let fixture = root().join("fixtures").join(name);
        let (model, inputs) = (fixture.join("model.onnx"), fixture.join("input.npz"));
        let program = program_by(&model, &integrated(20, baseline));
        let path = folder.path().join(format!("{i}.onnx"));
        dlbc_proto::write_model(&path, &dlbc_artifact::export(&program, &Default::default()).unwrap())
            .unwrap();
        let arrays = inputs_of(&program, &npz(&inputs));
        expected.push(explain(&cpu(program, 1), &arrays, &Request::default()));
        jobs.push((path, inputs));
    }
    let Some(results) = onnx_runtime(&jobs) else { return };
    for ((results, expected), (path, _)) in results.iter().zip(&expected).zip(&jobs) {
        for (name, relevance) in &expected.supporting.relevance {
            let gap = relative_l1(&results[&format!("relevance/{name}")], relevance);
            assert!(gap <= 1e-4, "{} {name}: {gap:e}", path.display());
        }
    }
    let model = root().join("fixtures/digits_cnn/model.onnx");
    let error = dlbc_artifact::export(&program(&model, "smoothgrad"), &Default::default()).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("several runs"), "{error}");
    // Ids cannot be moved.
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let error =
        dlbc_artifact::export(&program(&model, "integrated-gradients"), &Default::default()).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("input_ids"), "{error}");
}

/// Integrated gradients of a table whose model standardises it.
fn table(rules: &str) -> (Session, Tensors, Tensors) {
    let golden = npz(&root().join("fixtures/tables/wine.npz"));
    let session = cpu(program(&root().join("fixtures/tables/wine.onnx"), rules), 1);
    let inputs = Tensors::from([("X".to_string(), golden["X"].clone())]);
    (session, inputs, golden)
}

fn repeated_row(row: &[f32], like: &Tensor) -> Tensor {
    Tensor::from_f32(like.dims(), &row.iter().copied().cycle().take(like.elems()).collect::<Vec<_>>())
}

/// The sum is the difference of the outputs at the input and at the baseline: by default what the scaler maps to 0, the
/// mean of the training rows.
#[test]
fn every_baseline_gives_the_difference_of_the_outputs() {
    let (session, inputs, golden) = table("integrated-gradients");
    let (x, mean) = (&inputs["X"], golden["mean"].to_f32());
    let median: Vec<f32> = pick(x, 3).to_f32();
    let whole = repeated_row(&median, x);
    let feed = |tensor: Tensor| Some(Tensors::from([("X".to_string(), tensor)]));
    for (baseline, row) in [
        (None, &mean),
        (feed(golden["mean"].clone()), &mean),
        (feed(Tensor::from_f32(&[1, 13], &median)), &median),
        (feed(whole), &median),
    ] {
        let request = values(SeedValue::Value).baseline(baseline);
        let explanation = explain(&session, &inputs, &request);
        let there = session.predict(&Tensors::from([("X".to_string(), repeated_row(row, x))])).unwrap();
        let name = &session.program().info.explained;
        let column = |t: &Tensor| t.to_f64().chunks(3).map(|row| row[1]).sum::<f64>();
        let expected = column(&explanation.outputs[name]) - column(&there[name]);
        assert!(
            (explanation.supporting.seed_sum - expected).abs() < 1e-4,
            "expected {expected}, found {}",
            explanation.supporting.seed_sum
        );
        let sum: f64 = explanation.supporting.input_sums.values().sum();
        let size: f64 = explanation.supporting.relevance["X"].to_f64().iter().map(|r| r.abs()).sum();
        assert!((sum - expected).abs() < 5e-3 * size, "{sum} is not {expected}, of {size}");
        assert!(
            explanation.outputs.keys().all(|name| !name.contains("baseline")),
            "{:?}",
            explanation.outputs.keys()
        );
    }
}

#[test]
fn baselines_that_do_not_fit_are_refused() {
    let (session, inputs, _) = table("integrated-gradients");
    let with =
        |name: &str, tensor: Tensor| Request::new().baseline(Tensors::from([(name.to_string(), tensor)]));
    let error = |session: &Session, request: &Request| session.explain(&inputs, request).unwrap_err();
    let short = error(&session, &with("X", Tensor::from_f32(&[1, 12], &[0.0; 12])));
    assert_eq!(
        short.to_string(),
        "invalid baseline of input `X`: expected shape [30, 13] or [13], found [1, 12]"
    );
    assert_eq!(short.kind(), dlbc_runtime::ErrorKind::InvalidInput);
    let infinite = error(&session, &with("X", Tensor::from_f32(&[13], &[f32::INFINITY; 13])));
    assert_eq!(infinite.to_string(), "invalid baseline of input `X`: expected finite values, found inf");
    let other = error(&session, &with("Y", Tensor::from_f32(&[13], &[0.0; 13])));
    assert!(other.to_string().contains("`Y`"), "{other}");
    for rules in ["smoothgrad", "lrp-epsilon"] {
        let refused = error(&table(rules).0, &with("X", Tensor::from_f32(&[13], &[0.0; 13])));
        assert_eq!(refused.kind(), dlbc_runtime::ErrorKind::Usage);
        assert!(refused.to_string().contains("has no baseline"), "{refused}");
    }
}
