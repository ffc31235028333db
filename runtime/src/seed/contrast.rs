//! The starts of contrastive mode: what supports the explained unit, and what opposes it.

use dlbc_ops::tensor::Tensor;

use super::chosen::Seed;
use crate::request::{Request, Start, Target};

/// The seeds of both tracks.
///
/// Of a difference of two units the first starts the supporting track, the second the opposing one. Else what is not explained
/// of the same group of units (a row, the classes of a pixel, the classes of a box) opposes: with [`Start::One`] by positive
/// values, together as much as the target, and where no other unit is positive the target itself, half as much, so that what
/// speaks against it shows; so does a single unit; with [`Start::Value`] each with its own value, and a single unit with what it
/// lacks of 1. Each unit of a region is taken for a
/// probability, and what it lacks of 1 opposes. Source: the starts of DLBacktrace version 1.
pub(crate) fn tracks(output: &Tensor, request: &Request, seed: &Seed) -> [Tensor; 2] {
    let start = seed.tensor.to_f64();
    let (mut supporting, mut opposing) = (start.clone(), vec![0.0; start.len()]);
    let dims = output.dims();
    let values = output.to_f64();
    for group in &seed.groups {
        let own: Vec<f64> = group.places().map(|at| start[at]).collect();
        if own.iter().all(|v| *v == 0.0) {
            continue;
        }
        if let Target::Difference(..) = request.target {
            for (at, v) in group.places().zip(own) {
                supporting[at] = v.max(0.0);
                opposing[at] = (-v).max(0.0);
            }
            continue;
        }
        let values: Vec<f64> = group.places().map(|at| values[at]).collect();
        let mut against = vec![0.0; own.len()];
        rivals(&own, &values, request, seed.region, &mut against);
        for (at, v) in group.places().zip(against) {
            opposing[at] = v;
        }
    }
    if let Some(total) = request.normalize_to {
        let size = start.len() / dims.first().copied().unwrap_or(1).max(1);
        for row in opposing.chunks_mut(size.max(1)) {
            let sum: f64 = row.iter().sum();
            if sum > 0.0 {
                row.iter_mut().for_each(|v| *v *= total / sum);
            }
        }
    }
    [supporting, opposing].map(|track| {
        let rounded: Vec<f32> = track.iter().map(|v| *v as f32).collect();
        Tensor::from_f32(dims, &rounded)
    })
}

/// What opposes the units of a group that start with `own`.
fn rivals(own: &[f64], values: &[f64], request: &Request, region: bool, opposing: &mut [f64]) {
    let explained = |i: usize| own[i] != 0.0;
    // Values above 1 are no probabilities and lack nothing.
    let probable = values.iter().all(|v| *v <= 1.0);
    let lacks = |v: f64| if probable { 1.0 - v } else { 0.0 };
    let alone = own.len() == 1;
    for (i, v) in values.iter().enumerate() {
        opposing[i] = match explained(i) {
            true if alone || region => lacks(*v),
            true => 0.0,
            false => *v,
        };
    }
    if request.start == Start::Value {
        return;
    }
    let total: f64 = own.iter().sum();
    if alone {
        opposing[0] = if region { total * opposing[0].clamp(0.0, 1.0) } else { total / 2.0 };
        return;
    }
    opposing.iter_mut().for_each(|v| *v = v.max(0.0));
    let sum: f64 = opposing.iter().sum();
    for (v, own) in opposing.iter_mut().zip(own) {
        *v = if sum > 0.0 { total * *v / sum } else { own / 2.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Convention, seed};

    fn starts(dims: &[usize], y: &[f32], request: Request) -> [Vec<f32>; 2] {
        let output = Tensor::from_f32(dims, y);
        let outputs = crate::Tensors::from([("y".into(), output.clone())]);
        let seed = seed("y", &outputs, &request, &Convention::default()).unwrap_or_else(|e| panic!("{e}"));
        tracks(&output, &request, &seed).map(|t| t.to_f32().to_vec())
    }

    #[test]
    fn the_other_units_oppose_by_their_positive_values() {
        let one = |y: &[f32]| starts(&[1, 4], y, Request::default());
        assert_eq!(one(&[5.0, 3.0, -2.0, 1.0]), [vec![100.0, 0.0, 0.0, 0.0], vec![0.0, 75.0, 0.0, 25.0]]);
        // No rival to speak for: what speaks against the target.
        assert_eq!(one(&[1.0, -3.0, -2.0, -4.0]), [vec![100.0, 0.0, 0.0, 0.0], vec![50.0, 0.0, 0.0, 0.0]]);
        let value = Request::new().start(Start::Value);
        assert_eq!(starts(&[1, 3], &[5.0, 3.0, -2.0], value)[1], [0.0, 3.0, -2.0]);
    }

    #[test]
    fn a_difference_has_a_unit_on_each_track() {
        let request = Request::new().target(Target::Difference(2, 0));
        assert_eq!(
            starts(&[1, 3], &[5.0, 3.0, -2.0], request),
            [vec![0.0, 0.0, 100.0], vec![100.0, 0.0, 0.0]]
        );
    }

    #[test]
    fn a_single_unit_opposes_itself() {
        assert_eq!(starts(&[2, 1], &[0.75, -3.0], Request::default()), [vec![100.0; 2], vec![50.0; 2]]);
        let value = Request::new().start(Start::Value);
        assert_eq!(starts(&[2, 1], &[0.75, 0.5], value), [vec![0.75, 0.5], vec![0.25, 0.5]]);
    }

    #[test]
    fn a_region_is_opposed_by_what_it_lacks_and_by_the_rest() {
        let pixels = [0.75, 0.25, 1.0, 0.5];
        let region = Request::new().target(Target::Above(0.6)).start(Start::Value);
        let value = starts(&[1, 1, 2, 2], &pixels, region.clone());
        assert_eq!(value, [vec![0.75, 0.0, 1.0, 0.0], vec![0.25, 0.25, 0.0, 0.5]]);
        let one = starts(&[1, 1, 2, 2], &pixels, region.clone().start(Start::One));
        assert_eq!(one, [vec![50.0, 0.0, 50.0, 0.0], vec![25.0, 25.0, 0.0, 50.0]]);
        let scaled = starts(&[1, 1, 2, 2], &pixels, region.normalize_to(7.0));
        assert_eq!(scaled, [vec![3.0, 0.0, 4.0, 0.0], vec![1.75, 1.75, 0.0, 3.5]]);
    }

    #[test]
    fn the_other_classes_of_a_pixel_oppose_it() {
        use crate::request::{Pixels, Region};
        // Three classes, two pixels: class 1 wins the first, class 2 the second.
        let y = [1.0, -1.0, 4.0, -3.0, 3.0, 5.0];
        let of = |pixels| Request::new().target(Target::Pixels(pixels));
        let first = of(Pixels { class: Some(1), ..Pixels::default() });
        assert_eq!(
            starts(&[1, 3, 1, 2], &y, first),
            [vec![0.0, 0.0, 100.0, 0.0, 0.0, 0.0], vec![25.0, 0.0, 0.0, 0.0, 75.0, 0.0]]
        );
        // No other class speaks for the second.
        let second = of(Pixels { class: Some(2), ..Pixels::default() });
        assert_eq!(starts(&[1, 3, 1, 2], &y, second)[1], [0.0, 0.0, 0.0, 0.0, 0.0, 50.0]);
        // In a region of a mask without classes nothing opposes but what its pixels lack.
        let left = Region { left: 0.0, top: 0.0, right: 0.5, bottom: 1.0 };
        let region = of(Pixels { region: Some(left), ..Pixels::default() });
        assert_eq!(
            starts(&[1, 1, 1, 4], &[0.75, 1.0, 0.75, 0.75], region),
            [vec![50.0, 50.0, 0.0, 0.0], vec![12.5, 0.0, 0.0, 0.0]]
        );
    }

    #[test]
    fn the_other_classes_of_a_box_oppose_it() {
        use crate::{BoxLayout, BoxTarget, Detector, WhichBox};
        let y = [9.0, 9.0, 9.0, 9.0, 0.5, 0.25, 0.75];
        let (scores, boxes) = ("y".to_string(), "y".to_string());
        let layout = Some(BoxLayout::YoloRows);
        let target = BoxTarget { which: WhichBox::Rank(0), class: None, coordinate: None };
        let request = Request::new().target(Target::Box(target)).detector(Detector {
            layout,
            scores,
            boxes,
            labels: None,
            no_object: false,
            corners: false,
        });
        let [supporting, opposing] = starts(&[1, 1, 7], &y, request);
        assert_eq!(supporting, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
        assert_eq!(opposing[..4], [0.0; 4]);
        assert!((opposing[4] - 200.0 / 3.0).abs() < 1e-4 && (opposing[5] - 100.0 / 3.0).abs() < 1e-4);
    }

    #[test]
    fn rows_that_explain_nothing_oppose_nothing() {
        let tracks = starts(&[1, 2, 2], &[1.0, 2.0, 3.0, 1.0], Request::default());
        assert_eq!(tracks, [vec![0.0, 0.0, 100.0, 0.0], vec![0.0, 0.0, 0.0, 100.0]]);
    }
}
