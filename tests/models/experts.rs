//! Mixtures of experts: relevance and tokens of each expert, for every way to dispatch tokens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::*;
use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;
use dlbc_runtime::backend::{Outputs, Plan, RunControl, Saved, Unsupported};
use dlbc_runtime::{
    Backend, BackendError, CpuBackend, Explanation, MemoryReport, Request, Session, SessionOptions, Target,
    Tensor, Tensors, Views,
};

/// Explains a model on some inputs.
fn explained(m: &ZooModel, arrays: &std::path::Path, request: &Request) -> Explanation {
    let program = program(&m.model, "dlb");
    let inputs = inputs_of(&program, &npz(arrays));
    explain(&cpu(program, 2), &inputs, request)
}

fn with_experts() -> Request {
    Request::new().experts().ledger().target(Target::Index(3))
}

#[test]
fn shares_close_with_the_layer_and_the_ledger() {
    if zoo().is_none() {
        return;
    }
    for m in &zoo_models(EXPERTS) {
        for arrays in [&m.inputs, &m.alt] {
            let e = explained(m, arrays, &with_experts());
            let layers = e.experts.unwrap();
            assert!(layers.len() >= 2, "{}: {} layers of experts", m.name, layers.len());
            let ids = npz(arrays)["input_ids"].elems() as i64;
            for layer in &layers {
                let sum: f64 = layer.experts.iter().map(|e| e.relevance).sum();
                let open = (sum - layer.received).abs() / e.supporting.seed_sum;
                assert!(open <= 1e-4, "{} {}: {sum} of {}", m.name, layer.name, layer.received);
                assert!(layer.received > 0.0, "{} {} received nothing", m.name, layer.name);
                // Each token goes to two of four experts.
                let tokens: i64 = layer.experts.iter().map(|e| e.tokens).sum();
                assert_eq!((layer.experts.len(), tokens), (4, 2 * ids), "{} {}", m.name, layer.name);
                let mut ledger = e.supporting.ledger.iter().flatten();
                let row = ledger.any(|r| (r.received - layer.received).abs() <= 1e-4 * e.supporting.seed_sum);
                assert!(row, "{} {}: no row of the ledger received {}", m.name, layer.name, layer.received);
            }
        }
    }
}

#[test]
fn exports_of_the_same_weights_agree() {
    if zoo().is_none() {
        return;
    }
    let models = zoo_models(&["olmoe", "olmoe_patched"]);
    assert!(models.len() > 2);
    for second in [false, true] {
        let explain_export =
            |m: &ZooModel| explained(m, if second { &m.alt } else { &m.inputs }, &with_experts());
        let expected = explain_export(&models[0]);
        for m in &models[1..] {
            let actual = explain_export(m);
            let gap = worst_element(
                &actual.supporting.relevance["input_ids"],
                &expected.supporting.relevance["input_ids"],
            );
            assert!(gap <= 1e-4, "{}: relevance of the tokens differs by {gap:e}", m.name);
            let (layers, first_layers) = (actual.experts.unwrap(), expected.experts.as_ref().unwrap());
            assert_eq!(layers.len(), first_layers.len(), "{}", m.name);
            for (a, b) in layers.iter().zip(first_layers) {
                assert_eq!(a.name, b.name, "{}", m.name);
                for (a, b) in a.experts.iter().zip(&b.experts) {
                    assert_eq!(a.tokens, b.tokens, "{}", m.name);
                    assert!((a.relevance - b.relevance).abs() <= 1e-4 * 100.0, "{}: {a:?}, {b:?}", m.name);
                }
            }
        }
    }
}

/// In one export the chosen experts gather their tokens; in the other all experts compute all tokens, with weight 0 for those
/// not chosen. Rules that share by contribution must give both the same relevance; `dlb-v2`, with equal shares for all addends,
/// need not.
#[test]
fn dense_and_sparse_exports_of_the_same_weights_agree() {
    let folder = root().join("fixtures/experts");
    let inputs = npz(&folder.join("input.npz"));
    for rules in ["dlb", "attnlrp"] {
        let explain_file =
            |file: &str| explain(&cpu(program(&folder.join(file), rules), 2), &inputs, &with_experts());
        let [sparse, dense] = ["model.onnx", "dense.onnx"].map(explain_file);
        let gap =
            worst_element(&dense.supporting.relevance["tokens"], &sparse.supporting.relevance["tokens"]);
        assert!(gap <= 1e-4, "{rules}: relevance differs by {gap:e}");
        let (sparse, dense) = (sparse.experts.unwrap(), dense.experts.unwrap());
        assert_eq!(sparse.len(), 2);
        for (a, b) in sparse.iter().zip(&dense) {
            assert_eq!((&a.name, a.experts.len()), (&b.name, b.experts.len()));
            for (a, b) in a.experts.iter().zip(&b.experts) {
                assert_eq!(a.tokens, b.tokens, "{rules}");
                assert!((a.relevance - b.relevance).abs() <= 1e-4 * 100.0, "{rules}: {a:?}, {b:?}");
            }
        }
    }
}

/// Another routing reuses cached plans and adds new ones; neither shows in the result.
#[test]
fn every_composite_equals_the_reference() {
    let folder = root().join("fixtures/experts");
    for file in ["model.onnx", "dense.onnx"] {
        for rules in one_run() {
            let program = program(&folder.join(file), rules);
            let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
            let actual = explain(&cpu(program.clone(), 2), &inputs, &with_experts());
            let expected = explain(&reference(program), &inputs, &with_experts());
            let gap = worst_element(
                &actual.supporting.relevance["tokens"],
                &expected.supporting.relevance["tokens"],
            );
            assert!(gap <= 1e-4, "{file} {rules}: relevance differs by {gap:e}");
        }
    }
}

#[test]
fn a_session_that_saw_other_routings_gives_the_same_bits() {
    let folder = root().join("fixtures/experts");
    let program = program(&folder.join("model.onnx"), "dlb");
    let tokens = npz(&folder.join("input.npz")).remove("tokens").unwrap();
    let values = tokens.to_f32();
    let request = Request::new().experts().ledger();
    let session = cpu(program.clone(), 2);
    let mut routings = BTreeSet::new();
    for round in 0..8 {
        // Other tokens of the same shape: each row is another one's, and scaled.
        let other: Vec<f32> = (0..values.len())
            .map(|i| values[(i + 16 * round) % values.len()] * (1.0 + round as f32 * ((i % 3) as f32 - 1.0)))
            .collect();
        let inputs = [("tokens".to_string(), Tensor::from_f32(tokens.dims(), &other))].into();
        let separate = explain(&cpu(program.clone(), 1), &inputs, &request);
        let among = explain(&session, &inputs, &request);
        let again = explain(&session, &inputs, &request);
        assert_eq!(among.supporting.relevance, separate.supporting.relevance, "round {round}");
        assert_eq!(again.supporting.relevance, separate.supporting.relevance, "round {round}, again");
        assert_eq!(among.experts, separate.experts, "round {round}");
        let expected = explain(&reference(program.clone()), &inputs, &request);
        let gap =
            worst_element(&among.supporting.relevance["tokens"], &expected.supporting.relevance["tokens"]);
        assert!(gap <= 1e-5, "round {round}: {gap:e} off the reference");
        let layers = among.experts.unwrap_or_default();
        let counts: Vec<i64> = layers.iter().flat_map(|l| &l.experts).map(|e| e.tokens).collect();
        routings.insert(counts);
    }
    assert!(routings.len() > 3, "{} routings", routings.len());
}

#[test]
fn frozen_routing_is_reported() {
    let Some(zoo) = zoo() else { return };
    for name in FROZEN {
        let file = zoo.join(format!("{name}.onnx"));
        let proto = dlbc_proto::read_model(&file, &dlbc_proto::Limits::default()).unwrap();
        let error = dlbc_compiler::compile(&proto, &dlbc_compiler::Options::default()).err().unwrap();
        assert!(error.to_string().contains("froze"), "{name}: {error}");
    }
}

#[test]
fn experts_without_tokens_and_batches_of_tokens() {
    let folder = root().join("fixtures/experts");
    let program = program(&folder.join("model.onnx"), "dlb");
    let inputs = npz(&folder.join("input.npz"));
    let request = Request::new().experts().ledger();
    let session = cpu(program.clone(), 2);
    let all = explain(&session, &inputs, &request);
    let expected = explain(&reference(program), &inputs, &request);
    assert!(
        worst_element(&all.supporting.relevance["tokens"], &expected.supporting.relevance["tokens"]) <= 1e-5
    );
    let layers = all.experts.unwrap();
    for layer in &layers {
        assert_eq!((layer.experts.len(), layer.experts.iter().map(|e| e.tokens).sum::<i64>()), (8, 12));
        let idle = layer.experts.iter().filter(|e| e.tokens == 0);
        assert!(idle.clone().count() > 0 && idle.clone().all(|e| e.relevance == 0.0), "{layer:?}");
    }
    // A token alone chooses as it does among others, and is explained the same.
    for row in 0..6 {
        let single = [("tokens".to_string(), pick(&inputs["tokens"], row))].into();
        let separate = explain(&session, &single, &request);
        let gap = relative_l1(
            &pick(&all.supporting.relevance["tokens"], row),
            &separate.supporting.relevance["tokens"],
        );
        assert!(gap <= 1e-5, "token {row}: {gap:e}");
    }
}

/// The CPU backend, with a count of its plans and of the multiplications that they were run for.
#[derive(Clone, Default)]
struct Counted {
    plans: Arc<AtomicU64>,
    products: Arc<AtomicU64>,
}

struct CountedPlan {
    plan: Box<dyn Plan>,
    /// Multiplications of the forward and the reverse together.
    work: u64,
    products: Arc<AtomicU64>,
}

impl Backend for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn check(&self, graph: &Graph<Prim>) -> Vec<Unsupported> {
        CpuBackend.check(graph)
    }

    fn borrows_weights(&self) -> bool {
        CpuBackend.borrows_weights()
    }

    fn with_thread_pool(
        &self,
        options: &SessionOptions,
        f: &mut (dyn FnMut() + Send),
    ) -> Result<(), BackendError> {
        CpuBackend.with_thread_pool(options, f)
    }

    fn prepare(
        &self,
        graph: &Graph<Prim>,
        forward: &[Output],
        reverse: &[Output],
        options: &SessionOptions,
    ) -> Result<Box<dyn Plan>, BackendError> {
        self.plans.fetch_add(1, Ordering::Relaxed);
        let products = graph.nodes().filter(|id| matches!(graph.op(*id), Prim::MatMul(_)));
        let work = products.map(|id| {
            let k = graph.ty(graph.node_inputs(id)[0]).shape.as_known().unwrap();
            let y = graph.node(id).types[0].shape.as_known().unwrap();
            (y.iter().product::<usize>() * k[k.len() - 1]) as u64
        });
        let work = work.sum();
        let plan = CpuBackend.prepare(graph, forward, reverse, options)?;
        Ok(Box::new(CountedPlan { plan, work, products: self.products.clone() }))
    }
}

impl Plan for CountedPlan {
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
        self.products.fetch_add(self.work, Ordering::Relaxed);
        self.plan.forward(inputs, run)
    }

    fn reverse(
        &self,
        inputs: &Views<'_>,
        saved: Saved,
        seed: &Tensor,
        run: &RunControl<'_>,
    ) -> Result<Outputs, BackendError> {
        self.plan.reverse(inputs, saved, seed, run)
    }

    fn memory(&self) -> MemoryReport {
        self.plan.memory()
    }
}

#[test]
fn several_targets_equal_as_many_runs() {
    let folder = root().join("fixtures/experts");
    let session = cpu(program(&folder.join("model.onnx"), "dlb"), 2);
    let tokens = npz(&folder.join("input.npz")).remove("tokens").unwrap();
    // All tokens are equal, so most experts get none.
    let repeated = Tensor::from_f32(tokens.dims(), &tokens.to_f32()[..16].repeat(6));
    for tokens in [tokens, repeated] {
        let inputs = Tensors::from([("tokens".to_string(), tokens)]);
        let targets = [Target::Index(0), Target::Index(2), Target::Rank(0)];
        let request = Request::new().experts().ledger();
        let together = session.explain_targets(&inputs, &targets, &request).unwrap();
        for (target, actual) in targets.iter().zip(together) {
            let separate = explain(&session, &inputs, &request.clone().target(*target));
            let gap = worst_element(
                &actual.supporting.relevance["tokens"],
                &separate.supporting.relevance["tokens"],
            );
            assert!(gap <= 1e-6, "{target:?}: {gap:e}");
            for (a, b) in actual.experts.unwrap().iter().zip(separate.experts.unwrap()) {
                for (a, b) in a.experts.iter().zip(b.experts) {
                    assert!(a.tokens == b.tokens && (a.relevance - b.relevance).abs() < 1e-3, "{a:?}, {b:?}");
                }
            }
        }
    }
}

#[test]
fn idle_experts_cost_no_product_and_known_counts_no_plan() {
    let folder = root().join("fixtures/experts");
    let counted = Counted::default();
    let program = program(&folder.join("model.onnx"), "dlb");
    let session = Session::new(program, Box::new(counted.clone()), SessionOptions::default()).unwrap();
    let tokens = npz(&folder.join("input.npz")).remove("tokens").unwrap();
    let values = tokens.to_f32();
    let request = Request::new().experts();
    let run = |values: &[f32]| {
        let inputs = [("tokens".to_string(), Tensor::from_f32(tokens.dims(), values))].into();
        let before = [&counted.plans, &counted.products].map(|c| c.load(Ordering::Relaxed));
        let layers = explain(&session, &inputs, &request).experts.unwrap();
        let after = [&counted.plans, &counted.products].map(|c| c.load(Ordering::Relaxed));
        let counts: Vec<i64> = layers.iter().flat_map(|l| &l.experts).map(|e| e.tokens).collect();
        (counts, after[0] - before[0], after[1] - before[1])
    };
    // One token six times: two experts a layer do all of the work.
    let (few, _, work) = run(&values[..16].repeat(6));
    assert_eq!(few.iter().filter(|n| **n > 0).count(), 4, "{few:?}");
    let mut seen: BTreeSet<i64> = few.into_iter().collect();
    let (mut known, mut most) = (0, 0);
    for round in 0..24 {
        let other: Vec<f32> =
            (0..values.len()).map(|i| values[(i * (round + 1) + 7 * round) % values.len()]).collect();
        let (counts, plans, products) = run(&other);
        assert_eq!(products, work, "round {round}: another number of multiplications for {counts:?}");
        if counts.iter().all(|n| seen.contains(n)) {
            assert_eq!(plans, 0, "round {round}: plans for counts that were known, {counts:?}");
            known += 1;
        }
        most = most.max(counts.iter().filter(|n| **n > 0).count());
        seen.extend(counts);
    }
    assert!(known > 4 && most > 8, "{known} rounds of known counts, at most {most} experts at work");
}

#[test]
fn an_artifact_and_an_export_find_the_counts_too() {
    let folder = root().join("fixtures/experts");
    let program = program(&folder.join("model.onnx"), "dlb");
    let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
    let artifact = dlbc_artifact::write(&program).unwrap();
    let read = dlbc_proto::decode(&dlbc_proto::encode(&artifact), &dlbc_proto::Limits::default()).unwrap();
    let expected = explain(&cpu(program.clone(), 1), &inputs, &Request::default());
    let again = explain(&cpu(dlbc_artifact::read(&read).unwrap(), 1), &inputs, &Request::default());
    assert_eq!(again.supporting.relevance, expected.supporting.relevance);

    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("explained.onnx");
    dlbc_proto::write_model(&path, &dlbc_artifact::export(&program, &Default::default()).unwrap()).unwrap();
    let Some(results) = onnx_runtime(&[(path, folder.join("input.npz"))]) else { return };
    for (name, r) in &expected.supporting.relevance {
        let gap = relative_l1(&results[0][&format!("relevance/{name}")], r);
        assert!(gap <= 1e-4, "{name}: {gap:e}");
    }
}
