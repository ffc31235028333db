//! Seeds of hand-made outputs.

#![allow(clippy::unwrap_used)]

use dlbc_backend::Tensors;
use dlbc_ops::program::{Info, Output, SeedInfo, SeedSign};

use super::group::Group;
use super::*;
use crate::request::{BoxLayout, BoxSelector, BoxTarget, Detector, Pixels, Position, Region, Task};

fn outputs(dims: &[usize], values: &[f32]) -> Tensors {
    Tensors::from([("y".into(), Tensor::from_f32(dims, values))])
}

/// The seed of an output `y` with these values.
fn seed_values(dims: &[usize], values: &[f32], request: &Request) -> Vec<f32> {
    seed("y", &outputs(dims, values), request, &Convention::default()).unwrap().tensor.to_f32()
}

/// The message of the error for an output `y` with these values.
fn error_message(dims: &[usize], values: &[f32], request: &Request) -> String {
    seed("y", &outputs(dims, values), request, &Convention::default()).err().unwrap().to_string()
}

fn to(target: Target) -> Request {
    Request::new().target(target)
}

const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 3.0, 1.0, 3.0];

#[test]
fn units_of_each_row() {
    let at = |target| seed_values(&[2, 3], &LOGITS, &to(target));
    assert_eq!(at(Target::Argmax), [0.0, 100.0, 0.0, 100.0, 0.0, 0.0]);
    assert_eq!(at(Target::Rank(0)), at(Target::Argmax));
    assert_eq!(at(Target::Rank(1)), [100.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
    assert_eq!(at(Target::Index(-1)), [0.0, 0.0, 100.0, 0.0, 0.0, 100.0]);
    assert_eq!(at(Target::Difference(1, 0)), [-100.0, 100.0, 0.0, -100.0, 100.0, 0.0]);
    assert_eq!(at(Target::Difference(1, 1)), [0.0; 6]);
    let third = 100.0 / 3.0;
    assert_eq!(at(Target::All), [third as f32; 6]);
}

#[test]
fn values_and_totals() {
    let value = to(Target::All).seed_value(SeedValue::Value);
    assert_eq!(seed_values(&[2, 3], &LOGITS, &value), LOGITS);
    let minus = to(Target::Difference(1, 2)).seed_value(SeedValue::Value);
    assert_eq!(seed_values(&[2, 3], &LOGITS, &minus), [0.0, 2.0, 1.0, 0.0, 1.0, -3.0]);
    // Magnitudes of 3.5 and 7 become 7.
    let total = seed_values(&[2, 3], &LOGITS, &value.normalize_to(7.0));
    assert_eq!(total, [1.0, 4.0, -2.0, 3.0, 1.0, 3.0]);
    let argmax = to(Target::Argmax).normalize_to(3.0);
    assert_eq!(seed_values(&[2, 3], &LOGITS, &argmax), [0.0, 3.0, 0.0, 3.0, 0.0, 0.0]);
    let difference = to(Target::Difference(0, 1)).normalize_to(3.0);
    assert_eq!(seed_values(&[2, 3], &LOGITS, &difference), [1.5, -1.5, 0.0, 1.5, -1.5, 0.0]);
    let empty = to(Target::Difference(1, 1)).normalize_to(3.0);
    assert_eq!(
        error_message(&[2, 3], &LOGITS, &empty),
        "invalid seed of row 0 of output `y`: expected a value other than 0 to scale to 3, found none"
    );
}

/// The seed of [`LOGITS`] under a sign convention, where `values` decide signs and shares.
fn by(sign: SeedSign, values: Option<[f32; 6]>, target: Target) -> Vec<f32> {
    let info = Info { seed: SeedInfo { sign, activation: None }, ..Info::default() };
    let values = values.map(|v| (Output::SeedValue, Tensor::from_f32(&[2, 3], &v)));
    let convention = Convention::take(&info, &mut values.into_iter().collect());
    seed("y", &outputs(&[2, 3], &LOGITS), &to(target), &convention).unwrap().tensor.to_f32()
}

#[test]
fn a_start_has_the_sign_of_the_value_that_counts() {
    let logits = Some([0.5, -2.0, 0.0, 3.0, 1.0, -1.0]);
    assert_eq!(by(SeedSign::Value, None, Target::Index(2)), [0.0, 0.0, -100.0, 0.0, 0.0, 100.0]);
    assert_eq!(by(SeedSign::Value, logits, Target::Argmax), [0.0, -100.0, 0.0, 100.0, 0.0, 0.0]);
    // An exact 0 starts with 0.
    assert_eq!(by(SeedSign::Value, logits, Target::Index(2)), [0.0, 0.0, 0.0, 0.0, 0.0, -100.0]);
    let third = (100.0f64 / 3.0) as f32;
    assert_eq!(by(SeedSign::Value, None, Target::All)[..3], [third, third, -third]);
    assert_eq!(by(SeedSign::Positive, logits, Target::Index(1)), [0.0, 100.0, 0.0, 0.0, 100.0, 0.0]);
}

#[test]
fn a_difference_starts_with_both_values() {
    let minus = Target::Difference(1, 2);
    for sign in [SeedSign::Value, SeedSign::Positive] {
        let shares = by(sign, Some([0.5, 3.0, 1.0, 3.0, 1.0, -4.0]), minus);
        assert_eq!(shares, [0.0, 75.0, -25.0, 0.0, 20.0, 80.0]);
        assert_eq!(by(sign, Some([0.0; 6]), minus), [0.0; 6]);
        let masked = by(sign, Some([0.0, 1.0, f32::NEG_INFINITY, 0.0, 1.0, 1.0]), minus);
        assert_eq!(masked, [0.0, 0.0, 100.0, 0.0, 50.0, -50.0]);
    }
    assert_eq!(by(SeedSign::Unit, None, minus), [0.0, 100.0, -100.0, 0.0, 100.0, -100.0]);
}

#[test]
fn a_total_keeps_signs() {
    let value = to(Target::Index(2)).seed_value(SeedValue::Value).normalize_to(8.0);
    assert_eq!(seed_values(&[1, 3], &LOGITS[..3], &value), [0.0, 0.0, -8.0]);
}

#[test]
fn a_region_above_a_threshold() {
    let pixels = [0.9, 0.1, 0.6, 0.5, 0.2, 0.3, 0.4, 0.7];
    let region = to(Target::Above(0.5)).task(Task::BinarySegmentation);
    let dims = [2, 1, 2, 2];
    assert_eq!(seed_values(&dims, &pixels, &region), [50.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
    let value = region.clone().seed_value(SeedValue::Value);
    assert_eq!(seed_values(&dims, &pixels, &value), [0.9, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.7]);
    let total = value.normalize_to(3.0);
    let scaled = seed_values(&dims, &pixels, &total);
    assert!((scaled[0] - 1.8).abs() < 1e-6 && (scaled[2] - 1.2).abs() < 1e-6 && scaled[7] == 3.0);
    assert_eq!(
        error_message(&dims, &pixels, &to(Target::Above(0.8))),
        "no value above the threshold in row 1 of output `y` of shape [2, 1, 2, 2]: the largest is 0.699999988079071"
    );
    assert_eq!(seed_values(&dims, &pixels, &to(Target::All)), [25.0; 8]);
}

#[test]
fn positions() {
    let values = [1.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let at = |position| seed_values(&[1, 3, 2], &values, &Request::new().position(position));
    assert_eq!(at(Position::At(-1)), [0.0, 0.0, 0.0, 0.0, 100.0, 0.0]);
    assert_eq!(at(Position::At(1)), [0.0, 0.0, 0.0, 100.0, 0.0, 0.0]);
    assert_eq!(at(Position::LastUnmasked { mask_len: 3, last: vec![0] }), [100.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let third = 100.0f64 / 3.0;
    assert_eq!(at(Position::All), [third as f32, 0.0, 0.0, third as f32, third as f32, 0.0]);
    let all = Request::new().position(Position::All);
    let seed = seed("y", &outputs(&[1, 3, 2], &values), &all, &Convention::default()).unwrap();
    assert_eq!((seed.targets, seed.argmax), (vec![0, 1, 0], vec![0]));
}

#[test]
fn positions_may_come_first() {
    // Three positions of two rows.
    let values = [0.0, 1.0, 1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 4.0, 0.0, 0.0, 5.0];
    let first = Request::new().positions_first().position(Position::At(1));
    let mut expected = [0.0f32; 12];
    (expected[5], expected[6]) = (100.0, 100.0);
    assert_eq!(seed_values(&[3, 2, 2], &values, &first), expected);
    let total = first.clone().seed_value(SeedValue::Value).normalize_to(10.0);
    assert_eq!(seed_values(&[3, 2, 2], &values, &total), expected.map(|v| v / 10.0));
    let all = first.clone().position(Position::All);
    let seed = seed("y", &outputs(&[3, 2, 2], &values), &all, &Convention::default()).unwrap();
    assert_eq!((seed.targets, seed.argmax), (vec![1, 1, 0, 0, 0, 1], vec![0, 1]));
    assert!(error_message(&[2, 3], &LOGITS, &first).contains("[position, batch, unit]"));
}

#[test]
fn a_task_refuses_what_it_does_not_fit() {
    let with = |task: Task| to(task.target()).task(task);
    assert_eq!(
        error_message(&[2, 3], &LOGITS, &with(Task::BinaryClassification)),
        "output `y` does not fit task binary-classification: expected [batch, unit] with one or two units, found [2, 3]"
    );
    assert!(error_message(&[2, 3], &LOGITS, &with(Task::Generation)).contains("[batch, position, unit]"));
    assert!(
        error_message(&[2, 3], &LOGITS, &with(Task::BinarySegmentation)).contains("[batch, channel, row")
    );
    assert_eq!(seed_values(&[2, 3], &LOGITS, &with(Task::MultiClass)).iter().sum::<f32>(), 200.0);
    assert_eq!(seed_values(&[1, 2], &LOGITS[..2], &with(Task::BboxRegression)), [50.0, 50.0]);
    assert_eq!(
        error_message(&[1, 1, 2, 3], &LOGITS, &to(Target::Argmax)),
        "invalid output for a target unit, `y`: expected [batch, unit] or [batch, position, unit], found [1, 1, 2, 3]"
    );
}

/// Two classes beside a background, two rows of three pixels: the background wins twice, class 1 once, class 2 three times.
const MASK: [f32; 18] = [5., 5., 0., 0., 0., 0., 1., 1., 4., 0., 2., -1., 0., 0., 1., 3., 3., 0.5];

fn pixels(pixels: Pixels) -> Request {
    to(Target::Pixels(pixels)).task(Task::Segmentation)
}

fn class(class: i64) -> Pixels {
    Pixels { class: Some(class), ..Pixels::default() }
}

#[test]
fn pixels_that_a_class_wins() {
    let dims = [1, 3, 2, 3];
    let at = |p| {
        seed_values(&dims, &MASK, &pixels(p))
            .iter()
            .enumerate()
            .filter(|(_, v)| **v != 0.0)
            .map(|(i, v)| (i, *v))
            .collect::<Vec<_>>()
    };
    let third = (100.0f64 / 3.0) as f32;
    assert_eq!(at(Pixels::default()), [(15, third), (16, third), (17, third)]);
    assert_eq!(at(class(-1)), at(Pixels::default()));
    assert_eq!(at(class(0)), [(0, 50.0), (1, 50.0)]);
    // In the left two columns the background and class 2 win two pixels each; class 2 takes precedence.
    let left = Region { left: 0.0, top: 0.0, right: 0.6, bottom: 1.0 };
    assert_eq!(at(Pixels { region: Some(left), ..Pixels::default() }), [(15, 50.0), (16, 50.0)]);
    let upper = Region { bottom: 0.5, ..left };
    assert_eq!(at(Pixels { region: Some(upper), ..Pixels::default() }), [(0, 50.0), (1, 50.0)]);
    assert_eq!(at(Pixels { above: Some(1.5), ..class(1) }), [(8, 50.0), (10, 50.0)]);
    assert_eq!(at(Pixels { above: Some(3.5), ..Pixels::default() }), [(0, third), (1, third), (8, third)]);
    let value = pixels(Pixels::default()).seed_value(SeedValue::Value);
    assert_eq!(seed_values(&dims, &MASK, &value)[15..], [3.0, 3.0, 0.5]);
    let both = seed("y", &outputs(&dims, &MASK), &pixels(Pixels::default()), &Convention::default()).unwrap();
    assert_eq!((both.targets, both.argmax), (vec![2], vec![]));
}

#[test]
fn classes_on_the_last_axis_and_masks_without_classes() {
    let transposed: Vec<f32> = (0..18).map(|i| MASK[i % 3 * 6 + i / 3]).collect();
    let last = pixels(Pixels { class_last: true, ..class(1) });
    let seed = seed_values(&[1, 2, 3, 3], &transposed, &last);
    assert_eq!(seed.iter().position(|v| *v == 100.0), Some(2 * 3 + 1));
    let mask = [0.9, 0.1, 0.6, 0.2];
    for dims in [&[1, 1, 2, 2][..], &[1, 2, 2]] {
        assert_eq!(seed_values(dims, &mask, &pixels(Pixels::default())), [50.0, 0.0, 50.0, 0.0]);
        let region = Region { left: 0.0, top: 0.5, right: 1.0, bottom: 1.0 };
        let lower = pixels(Pixels { region: Some(region), ..Pixels::default() });
        assert_eq!(seed_values(dims, &mask, &lower), [0.0, 0.0, 100.0, 0.0]);
    }
}

#[test]
fn pixels_out_of_range_are_refused() {
    let dims = [1, 3, 2, 3];
    assert_eq!(
        error_message(&dims, &MASK, &pixels(class(3))),
        "class 3 is out of range for output `y` of shape [1, 3, 2, 3]: expected -3 to 2"
    );
    let corner = Region { left: 0.0, top: 0.0, right: 0.3, bottom: 0.5 };
    assert_eq!(
        error_message(&dims, &MASK, &pixels(Pixels { region: Some(corner), ..class(2) })),
        "class 2 wins no explained pixel in row 0 of output `y` of shape [1, 3, 2, 3]: class 0 wins 1"
    );
    let between = Region { right: 0.1, ..corner };
    assert!(
        error_message(&dims, &MASK, &pixels(Pixels { region: Some(between), ..class(2) }))
            .contains("no pixel centre of output `y`")
    );
    assert!(
        error_message(&dims, &MASK, &pixels(Pixels { above: Some(9.0), ..class(2) }))
            .contains("largest is 3")
    );
    assert!(error_message(&[2, 3], &LOGITS, &pixels(class(0))).contains("[batch, class, row, column]"));
}

#[test]
fn a_box_is_a_unit() {
    // Two rows of six boxes of four coordinates and two classes.
    let values: Vec<f32> = (0..72).map(|i| (i * 7 % 12) as f32 / 12.0).collect();
    let detector = Detector {
        layout: Some(BoxLayout::Yolo),
        scores: "y".into(),
        boxes: "y".into(),
        labels: None,
        no_object: false,
        corners: false,
    };
    let box_request = |selector, class, coordinate| {
        to(Target::Box(BoxTarget { selector, class, coordinate })).detector(detector.clone())
    };
    let dims = [2, 6, 6];
    let third = seed_values(&dims, &values, &box_request(BoxSelector::Index(3), Some(1), None));
    let expected: Vec<f32> = (0..72).map(|i| if i % 36 == 33 { 100.0 } else { 0.0 }).collect();
    assert_eq!(third, expected);
    let x = seed_values(&dims, &values, &box_request(BoxSelector::Index(3), None, Some(0)));
    assert_eq!((x[3], x[39], x.iter().sum::<f32>()), (100.0, 100.0, 200.0));
    let best = seed(
        "y",
        &outputs(&dims, &values),
        &box_request(BoxSelector::Rank(0), None, None),
        &Convention::default(),
    )
    .unwrap();
    let largest = (24..36).fold(24, |best, i| if values[i] > values[best] { i } else { best });
    assert_eq!((best.boxes[0].index, best.boxes[0].class), (largest % 6, (largest as i64 - 24) / 6));
    assert_eq!(best.tensor.to_f32()[largest], 100.0);
    assert_eq!(best.groups[0], Group { first: 24 + largest % 6, stride: 6, count: 2 });
    let bare = box_request(BoxSelector::Rank(0), None, None).detector(None);
    assert!(error_message(&dims, &values, &bare).contains("has no detector"));
    assert!(
        error_message(&dims, &values, &box_request(BoxSelector::Index(0), None, Some(4)))
            .contains("coordinate 4")
    );
}
