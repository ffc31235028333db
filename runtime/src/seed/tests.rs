//! Starts of hand-made outputs.

#![allow(clippy::unwrap_used)]

use super::*;

fn outputs(dims: &[usize], values: &[f32]) -> Tensors {
    Tensors::from([("y".into(), Tensor::from_f32(dims, values))])
}

fn made(dims: &[usize], values: &[f32], request: &Request) -> Vec<f32> {
    seed("y", &outputs(dims, values), request).unwrap().tensor.to_f32()
}

fn refused(dims: &[usize], values: &[f32], request: &Request) -> String {
    seed("y", &outputs(dims, values), request).err().unwrap().to_string()
}

fn of(target: Target) -> Request {
    Request { target, ..Request::default() }
}

const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 3.0, 1.0, 3.0];

#[test]
fn units_of_each_row() {
    let at = |target| made(&[2, 3], &LOGITS, &of(target));
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
    let value = Request { start: Start::Value, ..of(Target::All) };
    assert_eq!(made(&[2, 3], &LOGITS, &value), LOGITS);
    let minus = Request { start: Start::Value, ..of(Target::Difference(1, 2)) };
    assert_eq!(made(&[2, 3], &LOGITS, &minus), [0.0, 2.0, 1.0, 0.0, 1.0, -3.0]);
    // 1.5 and 7 become 3.
    let total = made(&[2, 3], &LOGITS, &Request { total: Some(3.0), ..value });
    assert_eq!(total[..3], [1.0, 4.0, -2.0]);
    assert!((total[3..].iter().sum::<f32>() - 3.0).abs() < 1e-6);
    let one = Request { total: Some(3.0), ..of(Target::Argmax) };
    assert_eq!(made(&[2, 3], &LOGITS, &one), [0.0, 3.0, 0.0, 3.0, 0.0, 0.0]);
    let open = Request { total: Some(3.0), ..of(Target::Difference(0, 1)) };
    assert_eq!(
        refused(&[2, 3], &LOGITS, &open),
        "the starting relevance of row 0 of output `y` sums to 0: it cannot be scaled to 3"
    );
}

#[test]
fn a_region_above_a_threshold() {
    let pixels = [0.9, 0.1, 0.6, 0.5, 0.2, 0.3, 0.4, 0.7];
    let region = Request { task: Some(Task::BinarySegmentation), ..of(Target::Above(0.5)) };
    let dims = [2, 1, 2, 2];
    assert_eq!(made(&dims, &pixels, &region), [50.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
    let value = Request { start: Start::Value, ..region.clone() };
    assert_eq!(made(&dims, &pixels, &value), [0.9, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.7]);
    let total = Request { total: Some(3.0), ..value };
    let scaled = made(&dims, &pixels, &total);
    assert!((scaled[0] - 1.8).abs() < 1e-6 && (scaled[2] - 1.2).abs() < 1e-6 && scaled[7] == 3.0);
    assert_eq!(
        refused(&dims, &pixels, &of(Target::Above(0.8))),
        "nothing in row 1 of output `y` is above the threshold: the greatest value is 0.699999988079071"
    );
    assert_eq!(made(&dims, &pixels, &of(Target::All)), [25.0; 8]);
}

#[test]
fn positions() {
    let values = [1.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let at = |position| made(&[1, 3, 2], &values, &Request { position, ..Request::default() });
    assert_eq!(at(Position::At(-1)), [0.0, 0.0, 0.0, 0.0, 100.0, 0.0]);
    assert_eq!(at(Position::At(1)), [0.0, 0.0, 0.0, 100.0, 0.0, 0.0]);
    assert_eq!(at(Position::Shown { length: 3, last: vec![0] }), [100.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let third = 100.0f64 / 3.0;
    assert_eq!(at(Position::All), [third as f32, 0.0, 0.0, third as f32, third as f32, 0.0]);
    let all = Request { position: Position::All, ..Request::default() };
    let seed = seed("y", &outputs(&[1, 3, 2], &values), &all).unwrap();
    assert_eq!((seed.targets, seed.argmax), (vec![0, 1, 0], vec![0]));
}

#[test]
fn a_task_refuses_what_it_does_not_fit() {
    let with = |task: Task| Request { task: Some(task), ..of(task.target()) };
    assert_eq!(
        refused(&[2, 3], &LOGITS, &with(Task::BinaryClassification)),
        "task binary-classification is for outputs [batch, unit] with one or two units: output `y` is [2, 3]"
    );
    assert!(refused(&[2, 3], &LOGITS, &with(Task::Generation)).contains("[batch, position, unit]"));
    assert!(refused(&[2, 3], &LOGITS, &with(Task::BinarySegmentation)).contains("[batch, channel, row"));
    assert_eq!(made(&[2, 3], &LOGITS, &with(Task::MultiClass)).iter().sum::<f32>(), 200.0);
    assert_eq!(made(&[1, 2], &LOGITS[..2], &with(Task::BboxRegression)), [50.0, 50.0]);
    assert!(refused(&[1, 1, 2, 3], &LOGITS, &of(Target::Argmax)).contains("--task segmentation"));
}
