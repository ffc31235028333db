//! Classes, regions and boxes as targets: the same relevance as of the units that they are.

use std::path::{Path, PathBuf};

use crate::common::*;
use dlbc_compiler::{Mode, Options, compile};
use dlbc_ops::program::Program;
use dlbc_runtime::{
    BoxLayout, BoxSelector, BoxTarget, Detections, Detector, Explanation, Pixels, Position, Region, Request,
    SeedValue, Session, Target, Task, Tensor, Tensors,
};

const BEST: BoxSelector = BoxSelector::Rank(0);

fn program_of(model: &Path, output: &str, rules: &str, mode: Mode) -> Program {
    let read = dlbc_proto::read_model(model, &Default::default()).unwrap();
    let options = Options { output: Some(output.into()), rules: rules.into(), mode, ..Options::default() };
    compile(&read, &options).unwrap_or_else(|e| panic!("{}: {e}", model.display())).program
}

fn detector(layout: BoxLayout, boxes: &str, scores: &str, labels: Option<&str>) -> Detector {
    let labels = labels.map(String::from);
    Detector {
        layout: Some(layout),
        boxes: boxes.into(),
        scores: scores.into(),
        labels,
        no_object: true,
        corners: false,
    }
}

/// A detector with its layout and inputs.
struct Known {
    name: String,
    model: PathBuf,
    inputs: Vec<Tensors>,
    detector: Detector,
}

/// The picture of the fixture's models at their size: a red disc and a blue square.
fn picture() -> Tensors {
    let mut values = vec![0.5f32; 3 * 48 * 64];
    for y in 0..48usize {
        for x in 0..64usize {
            let color = match (
                x.abs_diff(16).pow(2) + y.abs_diff(15).pow(2) <= 25,
                (40..50).contains(&x) && (25..35).contains(&y),
            ) {
                (true, _) => [0.9, 0.2, 0.2],
                (_, true) => [0.2, 0.3, 0.9],
                _ => continue,
            };
            for (c, v) in color.into_iter().enumerate() {
                values[(c * 48 + y) * 64 + x] = v;
            }
        }
    }
    Tensors::from([("picture".into(), Tensor::from_f32(&[1, 3, 48, 64], &values))])
}

fn fixture(name: &str) -> PathBuf {
    root().join("fixtures/scenes").join(name)
}

fn detectors() -> Vec<Known> {
    let mut known = vec![Known {
        name: "fixture".into(),
        model: fixture("detector.onnx"),
        inputs: vec![picture()],
        detector: detector(BoxLayout::Yolo, "boxes", "boxes", None),
    }];
    if zoo().is_none() {
        return known;
    }
    for m in zoo_models(&["det_yolo", "det_yolos", "det_retinanet", "det_fasterrcnn"]) {
        let family = m.name.split('/').next_back().unwrap().split('.').next().unwrap();
        let detector = match family {
            "det_yolo" => detector(BoxLayout::YoloRows, "preds", "preds", None),
            "det_yolos" => detector(BoxLayout::Detr, "boxes", "logits", None),
            _ => detector(BoxLayout::List, "boxes", "scores", Some("labels")),
        };
        known.push(Known {
            inputs: vec![npz(&m.inputs), npz(&m.alt)],
            name: m.name,
            model: m.model,
            detector,
        });
    }
    known
}

fn of_box(known: &Known, selector: BoxSelector, class: Option<i64>, coordinate: Option<usize>) -> Request {
    Request::new()
        .target(Target::Box(BoxTarget { selector, class, coordinate }))
        .task(Task::Detection)
        .detector(known.detector.clone())
        .ledger()
}

/// The same unit by index and position; of a box that is the same in all rows.
fn unit(layout: BoxLayout, number: usize, class: i64, coordinate: Option<usize>) -> Option<Request> {
    let slot = coordinate.map_or(4 + class, |c| c as i64);
    let (index, position) = match (layout, coordinate) {
        (BoxLayout::Yolo, _) => (number as i64, Position::At(slot)),
        (BoxLayout::YoloRows, _) => (slot, Position::At(number as i64)),
        (BoxLayout::Detr, _) => (coordinate.map_or(class, |c| c as i64), Position::At(number as i64)),
        (BoxLayout::List, None) => (number as i64, Position::At(-1)),
        // Rows of an output [box, coordinate] are a batch.
        _ => return None,
    };
    Some(Request::new().target(Target::Index(index)).position(position).ledger())
}

fn same(a: &Explanation, b: &Explanation, title: &str) {
    assert_eq!(a.supporting.seed_sum, b.supporting.seed_sum, "{title}");
    assert_eq!(a.seed, b.seed, "{title}");
    assert_eq!(a.supporting.relevance, b.supporting.relevance, "{title}");
    assert_eq!(a.opposing, b.opposing, "{title}");
}

fn closes(explanation: &Explanation, title: &str) {
    for row in explanation.supporting.ledger.as_ref().unwrap() {
        assert!(row.residual().abs() <= 1e-4 * explanation.supporting.seed_sum.abs(), "{title}: {row:?}");
    }
}

/// Compares explanations whose products have other shapes.
fn alike(a: &Explanation, b: &Explanation, title: &str) {
    assert_eq!(a.seed, b.seed, "{title}");
    for (input, relevance) in &a.supporting.relevance {
        let gap = relative_l1(relevance, &b.supporting.relevance[input]);
        assert!(gap <= 1e-6, "{title}: {gap:e}");
    }
}

#[test]
fn a_box_is_explained_as_the_unit_that_it_is() {
    let mut compared = 0;
    for known in detectors() {
        for coordinate in [None, Some(2)] {
            let explained = if coordinate.is_some() { &known.detector.boxes } else { &known.detector.scores };
            let session = cpu(program_of(&known.model, explained, "dlb", Mode::Default), 2);
            for (i, arrays) in known.inputs.iter().enumerate() {
                let title = format!("{} input {i}, coordinate {coordinate:?}", known.name);
                let inputs = inputs_of(session.program(), arrays);
                let best = explain(&session, &inputs, &of_box(&known, BEST, None, coordinate));
                closes(&best, &title);
                let detected = best.boxes[0];
                let outputs = session.predict(&inputs).unwrap();
                let all = Detections::read(&outputs, &known.detector).unwrap();
                assert_eq!(best.boxes.len(), all.rows(), "{title}");
                for (row, target_box) in best.boxes.iter().enumerate() {
                    assert!(all.boxes(row).all(|b| b.score <= target_box.score), "{title}");
                    assert_eq!(Some(*target_box), all.boxes(row).nth(target_box.index), "{title}");
                }
                let numbered = BoxSelector::Index(detected.index);
                let by_number = of_box(&known, numbered, Some(detected.class), coordinate);
                let by_number = explain(&session, &inputs, &by_number);
                if best.boxes.len() == 1 {
                    same(&best, &by_number, &title);
                }
                let as_unit =
                    unit(known.detector.layout.unwrap(), detected.index, detected.class, coordinate);
                if let Some(as_unit) = as_unit {
                    // A request that names a position computes the head for it alone, in products of other shapes.
                    alike(&by_number, &explain(&session, &inputs, &as_unit), &title);
                    compared += 1;
                } else {
                    let seed = best.seed.to_f32();
                    let at = detected.index * 4 + coordinate.unwrap();
                    assert!(seed.iter().enumerate().all(|(i, v)| (*v != 0.0) == (i == at)), "{title}");
                }
                assert!(
                    best.supporting.relevance.values().any(|t| t.to_f32().iter().any(|v| *v != 0.0)),
                    "{title}"
                );
            }
        }
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn boxes_together_are_boxes_alone_and_the_reference_agrees() {
    for known in detectors() {
        let program = program_of(&known.model, &known.detector.scores, "dlb", Mode::Default);
        let (session, float64) = (cpu(program.clone(), 2), reference(program));
        let inputs = inputs_of(session.program(), &known.inputs[0]);
        let requests: Vec<Request> = [BEST, BoxSelector::Rank(1), BoxSelector::Index(3)]
            .map(|selector| of_box(&known, selector, None, None))
            .into();
        let targets: Vec<Target> = requests.iter().map(|r| r.target).collect();
        let together = session.explain_targets(&inputs, &targets, &requests[0]).unwrap();
        for (explanation, request) in together.iter().zip(&requests) {
            let title = format!("{} {:?}", known.name, request.target);
            let separate = explain(&session, &inputs, request);
            let exact = explain(&float64, &inputs, request);
            assert_eq!(
                (&explanation.boxes, &explanation.targets),
                (&separate.boxes, &separate.targets),
                "{title}"
            );
            for (name, expected) in &exact.supporting.relevance {
                assert!(
                    relative_l1(
                        &explanation.supporting.relevance[name],
                        &separate.supporting.relevance[name]
                    ) < 1e-6,
                    "{title}"
                );
                assert!(relative_l1(&separate.supporting.relevance[name], expected) < 1e-4, "{title}");
            }
        }
        assert!(together[0].boxes[0].score >= together[1].boxes[0].score, "{}", known.name);
    }
}

#[test]
fn what_opposes_a_box_is_its_other_classes() {
    for known in detectors() {
        let session = cpu(program_of(&known.model, &known.detector.scores, "dlb", Mode::Contrastive), 2);
        let inputs = inputs_of(session.program(), &known.inputs[0]);
        let explanation = explain(&session, &inputs, &of_box(&known, BEST, None, None));
        closes(&explanation, &known.name);
        let opposing = explanation.opposing.as_ref().unwrap();
        for row in opposing.ledger.as_ref().unwrap() {
            assert!(row.residual().abs() <= 1e-2, "{}: {row:?}", known.name);
        }
        // A box with scores alone has no other classes: it is opposed by what lowers its score.
        if known.detector.layout == Some(BoxLayout::List) {
            assert!((opposing.seed_sum - 50.0).abs() < 1e-2, "{}: {}", known.name, opposing.seed_sum);
        } else if known.detector.layout == Some(BoxLayout::Detr) {
            let as_unit =
                unit(BoxLayout::Detr, explanation.boxes[0].index, explanation.boxes[0].class, None).unwrap();
            same(&explanation, &explain(&session, &inputs, &as_unit), &known.name);
        } else {
            assert!(opposing.seed_sum > 0.0, "{}: {}", known.name, opposing.seed_sum);
        }
    }
}

/// A segmenter and inputs for it.
fn segmenters() -> Vec<(String, PathBuf, &'static str, Vec<Tensors>)> {
    let mut known = vec![("fixture".to_string(), fixture("segmenter.onnx"), "mask", vec![picture()])];
    if zoo().is_some() {
        for m in zoo_models(&["unet", "unet_bilinear"]) {
            known.push((m.name, m.model, "mask_logits", vec![npz(&m.inputs), npz(&m.alt)]));
        }
    }
    known
}

fn of_pixels(pixels: Pixels) -> Request {
    let (target, task) = (Target::Pixels(pixels), Some(Task::Segmentation));
    Request::new().target(target).task(task).seed_value(SeedValue::Value).ledger()
}

/// Returns the class with the largest score at each pixel.
fn winners(mask: &Tensor, row: usize) -> Vec<usize> {
    let dims = mask.dims();
    let (classes, pixels) = (dims[1], dims[2] * dims[3]);
    let values = mask.to_f64();
    let at = |class: usize, pixel: usize| values[(row * classes + class) * pixels + pixel];
    (0..pixels)
        .map(|p| (0..classes).fold(0, |best, c| if at(c, p) > at(best, p) { c } else { best }))
        .collect()
}

#[test]
fn a_class_starts_at_the_pixels_that_it_wins() {
    for (name, model, output, inputs) in segmenters() {
        let session = cpu(program_of(&model, output, "dlb", Mode::Default), 2);
        for arrays in &inputs {
            let inputs = inputs_of(session.program(), arrays);
            let mask = &session.predict(&inputs).unwrap()[output];
            let pixels = mask.dims()[2] * mask.dims()[3];
            let explanation = explain(&session, &inputs, &of_pixels(Pixels::default()));
            closes(&explanation, &name);
            let (seed, values) = (explanation.seed.to_f32(), mask.to_f32());
            for row in 0..mask.dims()[0] {
                let winners = winners(mask, row);
                let count = |class: usize| winners.iter().filter(|w| **w == class).count();
                let class = explanation.targets[row] as usize;
                assert!(count(class) > 0 && (class > 0 || count(0) == pixels), "{name}");
                assert!((1..mask.dims()[1]).all(|other| count(other) <= count(class)), "{name}");
                for at in 0..mask.dims()[1] * pixels {
                    let is_winner = at / pixels == class && winners[at % pixels] == class;
                    let from = row * mask.dims()[1] * pixels + at;
                    assert_eq!(seed[from], if is_winner { values[from] } else { 0.0 }, "{name}");
                }
            }
        }
    }
}

#[test]
fn regions_add_up_to_the_class_and_the_reference_agrees() {
    for (name, model, output, arrays) in segmenters() {
        let program = program_of(&model, output, "dlb", Mode::Default);
        let (session, float64) = (cpu(program.clone(), 2), reference(program));
        let inputs = inputs_of(session.program(), &arrays[0]);
        let whole = explain(&session, &inputs, &of_pixels(Pixels::default()));
        let class = Some(whole.targets[0]);
        let part = |left: f64, right: f64| {
            let region = Some(Region { left, top: 0.0, right, bottom: 1.0 });
            Target::Pixels(Pixels { class, region, ..Pixels::default() })
        };
        // Both halves have pixels of the class.
        let middle = middle(&whole.seed);
        let targets = [part(0.0, middle), part(middle, 1.0)];
        let request = of_pixels(Pixels::default());
        let halves = session.explain_targets(&inputs, &targets, &request).unwrap();
        for (input, expected) in &whole.supporting.relevance {
            let (a, b) = (
                halves[0].supporting.relevance[input].to_f32(),
                halves[1].supporting.relevance[input].to_f32(),
            );
            let sum: Vec<f32> = a.iter().zip(b.iter()).map(|(a, b)| a + b).collect();
            let gap = relative_l1(&Tensor::from_f32(expected.dims(), &sum), expected);
            assert!(gap < 1e-5, "{name}: {gap}");
            let exact = explain(&float64, &inputs, &request);
            let gap = relative_l1(expected, &exact.supporting.relevance[input]);
            assert!(gap < 1e-4, "{name}: {gap}");
        }
    }
}

/// Returns the median column of the seed's non-zero pixels, as a fraction of the width.
fn middle(seed: &Tensor) -> f64 {
    let width = *seed.dims().last().unwrap();
    let mut columns: Vec<usize> =
        seed.to_f32().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i % width).collect();
    columns.sort_unstable();
    let at = columns[columns.len() / 2];
    assert!(columns[0] < at, "one column");
    at as f64 / width as f64
}

#[test]
fn rows_of_a_batch_are_explained_alone() {
    let cases =
        detectors().into_iter().filter(|k| k.inputs.len() > 1 && k.detector.layout != Some(BoxLayout::List));
    let boxes = cases.map(|k| {
        let request = of_box(&k, BEST, None, None);
        (k.name, k.model, k.detector.scores, k.inputs[1].clone(), request)
    });
    let masks = segmenters().into_iter().filter(|s| s.3.len() > 1);
    let masks = masks.map(|(name, model, output, inputs)| {
        (name, model, output.to_string(), inputs[1].clone(), of_pixels(Pixels::default()))
    });
    for (name, model, output, arrays, request) in boxes.chain(masks) {
        let session = cpu(program_of(&model, &output, "dlb", Mode::Default), 2);
        let inputs = inputs_of(session.program(), &arrays);
        let batch = explain(&session, &inputs, &request);
        for row in 0..2 {
            let single: Tensors = inputs.iter().map(|(name, t)| (name.clone(), pick(t, row))).collect();
            let separate = explain(&session, &single, &request);
            assert_eq!(batch.targets[row], separate.targets[0], "{name}");
            assert_eq!(
                batch.boxes.get(row).map(|b| b.index),
                separate.boxes.first().map(|b| b.index),
                "{name}"
            );
            for (input, expected) in &separate.supporting.relevance {
                let gap = relative_l1(&pick(&batch.supporting.relevance[input], row), expected);
                assert!(gap < 1e-5, "{name}: {gap}");
            }
        }
    }
}

#[test]
fn every_composite_explains_a_class_and_a_box() {
    let segmenter = |rules: &str, mode| cpu(program_of(&fixture("segmenter.onnx"), "mask", rules, mode), 2);
    let detect = |rules: &str, mode| cpu(program_of(&fixture("detector.onnx"), "boxes", rules, mode), 2);
    let known = &detectors()[0];
    let run = |session: &Session, request: &Request, title: &str| {
        let inputs = inputs_of(session.program(), &picture());
        let explanation = explain(session, &inputs, request);
        let arrived = explanation.supporting.relevance["picture"].to_f32().iter().any(|v| *v != 0.0);
        assert!(arrived, "{title}");
    };
    for rules in dlbc_compiler::built_in_names() {
        let mut pixels = of_pixels(Pixels::default());
        let mut boxed = of_box(known, BEST, None, None);
        (pixels.ledger, boxed.ledger) = (false, false);
        run(&segmenter(rules, Mode::Default), &pixels, rules);
        run(&detect(rules, Mode::Default), &boxed, rules);
    }
    for rules in ["dlb", "dlb-v2"] {
        run(&segmenter(rules, Mode::Contrastive), &of_pixels(Pixels::default()), rules);
    }
}

#[test]
fn the_fixtures_find_what_is_in_the_picture() {
    let session = cpu(program_of(&fixture("detector.onnx"), "boxes", "dlb", Mode::Default), 2);
    let known = &detectors()[0];
    for (class, centre) in [(0, [16.0, 15.0]), (1, [45.0, 30.0])] {
        let explanation = explain(&session, &picture(), &of_box(known, BEST, Some(class), None));
        let [x, y, width, height] = explanation.boxes[0].coordinates;
        assert!((x - centre[0]).abs() < 2.0 && (y - centre[1]).abs() < 2.0, "{:?}", explanation.boxes);
        assert!((8.0..14.0).contains(&width) && (8.0..14.0).contains(&height), "{:?}", explanation.boxes);
        // Relevance is where the object is.
        let relevance = explanation.supporting.relevance["picture"].to_f64();
        let within = |at: usize| {
            let (px, py) = ((at % 64) as f64, (at / 64 % 48) as f64);
            (px - centre[0]).abs() <= 7.0 && (py - centre[1]).abs() <= 7.0
        };
        let inside: f64 = relevance.iter().enumerate().filter(|(at, _)| within(*at)).map(|(_, v)| v).sum();
        let all: f64 = relevance.iter().sum();
        assert!(inside > 0.9 * all && all > 10.0, "{inside} of {all}");
    }
}
