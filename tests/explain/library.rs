//! The library as its users see it: one builder, inputs from files, the same bits as the layers below.

use crate::common::root;
use dlbc::{
    BoxSelector, BoxTarget, DetectorHints, ErrorKind, Explainer, ExportOptions, ExportSeedValue,
    ExportTarget, Inputs, Mode, PictureOptions, Preset, Progress, Request, Target, TextOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn fixture(path: &str) -> std::path::PathBuf {
    root().join("fixtures").join(path)
}

fn digits() -> Explainer {
    Explainer::from_onnx(fixture("digits_cnn/model.onnx")).composite("lrp-epsilon").build().unwrap()
}

fn pixels(explainer: &Explainer) -> Inputs {
    Inputs::for_model(explainer).npz(fixture("digits_cnn/input.npz")).build().unwrap()
}

#[test]
fn explainers_serve_several_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Explainer>();
}

#[test]
fn a_model_says_what_it_takes_and_gives() {
    let explainer = digits();
    let inputs: Vec<&str> = explainer.inputs().iter().map(|i| i.name.as_str()).collect();
    assert_eq!(inputs, ["input"]);
    assert_eq!(explainer.outputs().len(), 1);
    assert!(explainer.outputs()[0].ty.rank() == 2 && explainer.warnings().is_empty());
}

#[test]
fn bytes_artifacts_and_files_explain_alike() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("digits.dlbc.onnx");
    let explainer = digits();
    explainer.save_artifact(&artifact).unwrap();
    let bytes = std::fs::read(fixture("digits_cnn/model.onnx")).unwrap();
    let others = [
        Explainer::from_bytes(bytes).composite("lrp-epsilon").build().unwrap(),
        Explainer::from_artifact(&artifact).build().unwrap(),
    ];
    let inputs = pixels(&explainer);
    let explanation = explainer.explain(&inputs).unwrap();
    for other in &others {
        let again = other.explain(&inputs).unwrap();
        assert_eq!(again.net("input"), explanation.net("input"));
        assert_eq!(other.predict(&inputs).unwrap(), explanation.outputs);
    }
}

#[test]
fn a_batch_equals_its_samples() {
    let explainer = digits();
    let single = || {
        let picture = fixture("digits_cnn/digit.png");
        Inputs::for_model(&explainer).picture(picture, PictureOptions::default()).build().unwrap()
    };
    let samples = [single(), single(), single()];
    let each = explainer.explain_batch(&samples, &Request::default()).unwrap();
    let separate = explainer.explain(&samples[0]).unwrap();
    assert_eq!(each.len(), 3);
    for explanation in &each {
        assert_eq!(explanation.argmax, separate.argmax);
        let (batch, separate) = (explanation.net("input").unwrap(), separate.net("input").unwrap());
        assert_eq!(batch.dims(), separate.dims());
        for (a, b) in batch.to_f32().iter().zip(separate.to_f32().iter()) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
        }
    }
}

#[test]
fn boxes_and_texts_are_explained() {
    let explainer = Explainer::from_onnx(fixture("scenes/detector.onnx"))
        .detector(DetectorHints::default())
        .build()
        .unwrap();
    let options = PictureOptions::preset(Preset::Yolo);
    let inputs =
        Inputs::for_model(&explainer).picture(fixture("scenes/picture.png"), options).build().unwrap();
    assert!(inputs.notes.iter().any(|note| note.text.starts_with("picture ")), "{:?}", inputs.notes);
    let target = Target::Box(BoxTarget { selector: BoxSelector::Rank(0), class: None, coordinate: None });
    let request = Request::new().target(target);
    assert_eq!(explainer.explain_with(&inputs, &request).unwrap().boxes.len(), 1);

    let explainer = Explainer::from_onnx(fixture("sentiment_bert/model.onnx")).build().unwrap();
    let inputs = Inputs::for_model(&explainer).texts(&["A waste.", "Good."], TextOptions::default()).build();
    assert_eq!(explainer.explain(&inputs.unwrap()).unwrap().argmax.len(), 2);
}

#[test]
fn two_tracks_and_an_export() {
    let path = fixture("digits_cnn/model.onnx");
    let explainer = Explainer::from_onnx(&path).mode(Mode::Contrastive).build().unwrap();
    assert_eq!(explainer.explain(&pixels(&explainer)).unwrap().tracks().count(), 2);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("explained.onnx");
    let options = ExportOptions {
        target: Some(ExportTarget::Argmax),
        seed_value: ExportSeedValue::One,
        multiplier: 100.0,
    };
    digits().export(&out, &options).unwrap();
    assert_eq!(Explainer::from_onnx(&out).build().unwrap().outputs().len(), 2);
}

#[test]
fn errors_say_who_can_mend_them() {
    let kind = |built: dlbc::Result<Explainer>| built.err().map(|e| e.kind());
    let path = fixture("digits_cnn/model.onnx");
    assert_eq!(kind(Explainer::from_onnx("nowhere.onnx").build()), Some(ErrorKind::InvalidModel));
    assert_eq!(kind(Explainer::from_onnx(&path).max_nodes(1).build()), Some(ErrorKind::Limit));
    assert_eq!(kind(Explainer::from_artifact(&path).build()), Some(ErrorKind::Usage));
    let error = Explainer::from_onnx(&path).composite("lrp-epsilonn").build().err().unwrap();
    assert_eq!(
        (error.kind(), error.hint().as_deref()),
        (ErrorKind::Usage, Some("did you mean `lrp-epsilon`?"))
    );
    let explainer = digits();
    let missing = Inputs::for_model(&explainer).build().err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::Usage);
    let picture =
        Inputs::for_model(&explainer).picture(&path, PictureOptions::default()).build().err().unwrap();
    assert_eq!(picture.kind(), ErrorKind::InvalidInput);
    assert!(picture.describe().contains("expected a picture, found an ONNX model"), "{picture:?}");
}

#[test]
fn progress_is_followed() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let receiver = move |progress| {
        if matches!(progress, Progress::Reading | Progress::Compiling) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    Explainer::from_onnx(fixture("digits_cnn/model.onnx")).progress(receiver).build().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}
