//! Seeds that the caller sets element by element.

use crate::common::*;
use dlbc_runtime::{ErrorKind, Request, SeedValue, Target, Tensor};

/// Runs the digits under a composite; returns the session with eight rows of inputs.
fn digits(rules: &str) -> (dlbc_runtime::Session, dlbc_runtime::Tensors) {
    let folder = root().join("fixtures/digits_cnn");
    let program = program(&folder.join("model.onnx"), rules);
    let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
    (cpu(program, 1), inputs)
}

#[test]
fn the_seed_of_a_target_set_by_hand_gives_the_same_relevance() {
    for rules in ["dlb", "lrp-epsilon", "gradient", "integrated-gradients"] {
        let (session, inputs) = digits(rules);
        let by_target = explain(&session, &inputs, &Request::new().target(Target::Difference(1, 7)));
        let by_hand = explain(&session, &inputs, &Request::new().seed(by_target.seed.clone()));
        assert_eq!(by_hand.supporting.relevance, by_target.supporting.relevance, "{rules}");
        assert_eq!(by_hand.supporting.seed_sum, by_target.supporting.seed_sum, "{rules}");
        assert_eq!(by_hand.argmax, by_target.argmax, "{rules}");
        assert!(by_hand.targets.is_empty());
    }
}

#[test]
fn relevance_is_linear_in_the_seed() {
    let (session, inputs) = digits("lrp-epsilon");
    let values =
        |seed: u64| -> Vec<f32> { (0..80).map(|i| ((i * 37 + seed * 11) % 19) as f32 - 9.0).collect() };
    let (a, b) = (values(1), values(2));
    let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 2.0 * b).collect();
    let [a, b, sum] = [a, b, sum].map(|seed| {
        let request =
            Request::new().seed(Tensor::from_f32(&[8, 10], &seed)).multiplier(7.0).normalize_to(3.0);
        let explanation = explain(&session, &inputs, &request.seed_value(SeedValue::Value));
        explanation.supporting.relevance["input"].to_f32().to_vec()
    });
    let combined: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 2.0 * b).collect();
    let dims = [8, 1, 8, 8];
    assert!(relative_l1(&Tensor::from_f32(&dims, &combined), &Tensor::from_f32(&dims, &sum)) < 1e-5);
}

#[test]
fn positive_elements_support_and_negative_ones_oppose() {
    let folder = root().join("fixtures/digits_cnn");
    let program = contrastive(&folder.join("model.onnx"), "dlb");
    let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
    let session = cpu(program, 1);
    let seed: Vec<f32> = (0..80).map(|i| [3.0, -1.0, 0.0][i % 3]).collect();
    let explanation = explain(&session, &inputs, &Request::new().seed(Tensor::from_f32(&[8, 10], &seed)));
    assert_eq!(explanation.supporting.seed_sum, 81.0);
    assert_eq!(explanation.opposing.unwrap().seed_sum, 27.0);
}

#[test]
fn a_seed_that_does_not_fit_is_refused() {
    let (session, inputs) = digits("dlb");
    let refusal = |request: Request, targets: &[Target]| {
        let error = session.explain_targets(&inputs, targets, &request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    let vector = Tensor::from_f32(&[10], &[1.0; 10]);
    let text = refusal(Request::new().seed(vector), &[Target::All]);
    assert_eq!(text, "invalid starting relevance of output `logits`: expected shape [8, 10], found [10]");
    let nan = Tensor::from_f32(&[8, 10], &[f32::NAN; 80]);
    let text = refusal(Request::new().seed(nan), &[Target::All]);
    assert!(text.ends_with("expected finite numbers, found NaN"), "{text}");
    let zeros = Tensor::from_f32(&[8, 10], &[0.0; 80]);
    let text = refusal(Request::new().seed(zeros), &[Target::All, Target::Argmax]);
    assert!(text.ends_with("expected one target, found 2"), "{text}");
}
