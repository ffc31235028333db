//! Boxes of hand-made outputs.

#![allow(clippy::unwrap_used)]

use dlbc_backend::Tensors;
use dlbc_ops::tensor::Tensor;

use super::*;
use crate::request::Detector;

/// Reads the boxes of a single output.
fn read(dims: &[usize], values: &[f32], layout: Option<BoxLayout>) -> Result<Detections, RuntimeError> {
    let detector = Detector {
        layout,
        scores: "y".into(),
        boxes: "y".into(),
        labels: None,
        no_object: false,
        corners: false,
    };
    Detections::read(&Tensors::from([("y".into(), Tensor::from_f32(dims, values))]), &detector)
}

/// Number, class and score of the box that a target selects in row 0, or the error's message.
fn find(
    detections: &Detections,
    selector: BoxSelector,
    class: Option<i64>,
) -> Result<(usize, i64, f64), String> {
    let target = BoxTarget { selector, class, coordinate: None };
    let detected = detections.find(0, &target).map_err(|e| e.to_string())?;
    Ok((detected.index, detected.class, detected.score))
}

/// Three boxes of two classes, one row per box.
const ROWS: [f32; 18] = [1., 2., 3., 4., 0.1, 0.5, 5., 6., 7., 8., 0.75, 0.2, 9., 8., 7., 6., 0.25, 0.25];

#[test]
fn rows_and_columns_are_the_same_boxes() {
    let rows = read(&[1, 3, 6], &ROWS, Some(BoxLayout::YoloRows)).unwrap();
    let transposed: Vec<f32> = (0..18).map(|i| ROWS[i % 3 * 6 + i / 3]).collect();
    let columns = read(&[1, 6, 3], &transposed, Some(BoxLayout::Yolo)).unwrap();
    for detections in [&rows, &columns] {
        assert_eq!(find(detections, BoxSelector::Rank(0), None), Ok((1, 0, 0.75)));
        assert_eq!(find(detections, BoxSelector::Rank(0), Some(1)), Ok((0, 1, 0.5)));
        assert_eq!(find(detections, BoxSelector::Rank(2), Some(1)).unwrap().0, 1);
        assert_eq!(find(detections, BoxSelector::Index(2), None), Ok((2, 0, 0.25)));
        assert_eq!(detections.boxes(0).nth(1).unwrap().coordinates, [5.0, 6.0, 7.0, 8.0]);
    }
    assert_eq!(rows.scores_of(0, 1), Group { first: 10, stride: 1, count: 2 });
    assert_eq!(rows.coordinates_of(0, 1), Group { first: 6, stride: 1, count: 4 });
    assert_eq!(columns.scores_of(0, 1), Group { first: 13, stride: 3, count: 2 });
    assert_eq!(columns.coordinates_of(0, 1), Group { first: 1, stride: 3, count: 4 });
}

#[test]
fn a_score_of_the_box_counts() {
    let detections = read(&[1, 3, 6], &ROWS, Some(BoxLayout::YoloV5)).unwrap();
    assert_eq!(detections.classes(), 1);
    let best = find(&detections, BoxSelector::Rank(0), None).unwrap();
    assert!(best.0 == 1 && (best.2 - 0.15).abs() < 1e-6);
    assert_eq!(detections.scores_of(0, 1), Group { first: 11, stride: 1, count: 1 });
}

#[test]
fn labels_are_the_classes() {
    let values = [1., 2., 3., 4., 0.5, 7., 1., 2., 3., 4., 0.25, 3.];
    let detections = read(&[1, 2, 6], &values, Some(BoxLayout::EndToEnd)).unwrap();
    assert_eq!(find(&detections, BoxSelector::Rank(0), Some(3)), Ok((1, 3, 0.25)));
    assert_eq!(
        find(&detections, BoxSelector::Index(0), Some(3)).unwrap_err(),
        "box 0 is of another class in output `y` of shape [1, 2, 6]: expected 3, found 7"
    );
    assert_eq!(
        find(&detections, BoxSelector::Rank(0), Some(4)).unwrap_err(),
        "too few boxes in row 0 of output `y` of shape [1, 2, 6]: expected 1 of class 4, found classes 3, 7"
    );
}

#[test]
fn a_shape_that_fits_several_layouts_is_refused() {
    assert_eq!(read(&[1, 6, 9], &[0.0; 54], None).unwrap().layout(), BoxLayout::Yolo);
    assert_eq!(read(&[1, 7, 5], &[0.0; 35], None).unwrap().layout(), BoxLayout::YoloRows);
    assert_eq!(
        read(&[1, 9, 6], &[0.0; 54], None).unwrap_err().to_string(),
        "output `y` of shape [1, 9, 6] fits several box layouts: 9 boxes of 2 classes (yolo-rows), 9 boxes of a score and \
         1 class (yolo-v5), 9 boxes of a score and a label (end-to-end), 6 boxes of 5 classes (yolo)"
    );
    assert_eq!(
        read(&[1, 9], &[0.0; 9], None).unwrap_err().to_string(),
        "output `y` of shape [1, 9] fits no box layout"
    );
}

#[test]
fn the_class_for_no_object_is_never_detected() {
    let logits = Tensor::from_f32(&[1, 2, 3], &[2.0, 1.0, 9.0, 0.5, 1.5, 0.0]);
    let boxes = Tensor::from_f32(&[1, 2, 4], &[0.5; 8]);
    let outputs = Tensors::from([("logits".into(), logits), ("boxes".into(), boxes)]);
    let read_with = |no_object| {
        let (scores, boxes) = ("logits".to_string(), "boxes".to_string());
        let layout = Some(BoxLayout::Detr);
        Detections::read(
            &outputs,
            &Detector { layout, scores, boxes, labels: None, no_object, corners: false },
        )
        .unwrap()
    };
    // The first box is almost certainly not an object.
    let best = find(&read_with(true), BoxSelector::Rank(0), None).unwrap();
    assert!((best.0, best.1) == (1, 1) && (best.2 - 0.628).abs() < 1e-3, "{best:?}");
    assert_eq!(find(&read_with(false), BoxSelector::Rank(0), None), Ok((0, 2, 9.0)));
    assert_eq!(find(&read_with(true), BoxSelector::Rank(0), Some(2)).unwrap().0, 0);
    assert!(find(&read_with(true), BoxSelector::Rank(0), Some(3)).unwrap_err().contains("expected -3 to 2"));
    assert!(find(&read_with(true), BoxSelector::Index(2), None).unwrap_err().contains("expected 0 to 1"));
    // A single class leaves no class beside the one for no object.
    let single = Tensors::from([
        ("logits".into(), Tensor::from_f32(&[1, 2, 1], &[1.0, 2.0])),
        ("boxes".into(), outputs["boxes"].clone()),
    ]);
    let read_single = |no_object| {
        let (scores, boxes) = ("logits".to_string(), "boxes".to_string());
        let layout = Some(BoxLayout::Detr);
        Detections::read(
            &single,
            &Detector { layout, scores, boxes, labels: None, no_object, corners: false },
        )
    };
    assert!(read_single(true).unwrap_err().to_string().contains("beside the one for no object"));
    assert_eq!(find(&read_single(false).unwrap(), BoxSelector::Rank(0), None), Ok((1, 0, 2.0)));
}

#[test]
fn a_picture_without_objects() {
    let outputs = Tensors::from([
        ("boxes".into(), Tensor::from_f32(&[0, 4], &[])),
        ("scores".into(), Tensor::from_f32(&[0], &[])),
        ("labels".into(), Tensor::from_i64(&[0], &[])),
    ]);
    let layout = Some(BoxLayout::List);
    let (scores, boxes, labels) = ("scores".to_string(), "boxes".to_string(), Some("labels".to_string()));
    let detector = Detector { layout, scores, boxes, labels, no_object: false, corners: false };
    let detections = Detections::read(&outputs, &detector).unwrap();
    assert_eq!(
        find(&detections, BoxSelector::Rank(0), None).unwrap_err(),
        "too few boxes in row 0 of output `scores` of shape [0]: expected 1"
    );
    assert!(find(&detections, BoxSelector::Index(0), None).unwrap_err().contains("the axis is empty"));
    assert_eq!(detections.boxes(0).count(), 0);
}

#[test]
fn ranks_skip_boxes_of_the_same_object() {
    // Two boxes that nearly coincide and one elsewhere, in descending order of score.
    let values = [5., 5., 4., 4., 0.9, 5.5, 5., 4., 4., 0.8, 20., 20., 4., 4., 0.7];
    let detections = read(&[1, 3, 5], &values, Some(BoxLayout::YoloRows)).unwrap();
    assert_eq!(find(&detections, BoxSelector::Rank(0), None).unwrap().0, 0);
    assert_eq!(find(&detections, BoxSelector::Rank(1), None).unwrap().0, 2);
    assert!(find(&detections, BoxSelector::Rank(2), None).is_err());
    assert_eq!(find(&detections, BoxSelector::Index(1), None).unwrap().0, 1);
}

#[test]
fn overlap_is_intersection_over_union() {
    let square = [0.0, 0.0, 2.0, 2.0];
    assert_eq!(overlap(square, square), 1.0);
    assert_eq!(overlap(square, [1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
    assert_eq!(overlap(square, [2.0, 2.0, 3.0, 3.0]), 0.0);
    assert_eq!(overlap([1.0; 4], [1.0; 4]), 0.0);
}
