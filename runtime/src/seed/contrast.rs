//! Seeds of contrastive mode: one for the supporting and one for the opposing track.

use dlbc_ops::tensor::Tensor;

use super::selection::Seed;
use crate::request::{Request, SeedValue, Target};

/// Returns the seeds of the supporting and the opposing track.
///
/// Positive elements of the request's own seed seed the supporting track, negative ones the opposing track.
///
/// The first unit of a difference seeds the supporting track, the second the opposing track. For other targets the explained
/// units seed the supporting track, and the rivals (the unexplained units of the same group: a row, the classes of a pixel, the
/// classes of a box) seed the opposing one:
///
/// - With [`SeedValue::One`] rivals share the sum of the supporting seed in proportion to their positive values. Without a
///   positive rival the target opposes itself with half its seed, so that the evidence against it is visible; so does the only
///   unit of a group.
/// - With [`SeedValue::Value`] a rival starts with its value `v`, and the only unit of a group with `1 - v`.
/// - An independent unit (of a mask without classes) is a probability `v`; it opposes itself with `1 - v`.
///
/// Source: the starting relevance of DLBacktrace version 1.
pub(crate) fn tracks(output: &Tensor, request: &Request, seed: &Seed) -> [Tensor; 2] {
    let start = seed.tensor.to_f64();
    if request.seed.is_some() {
        let part = |sign: f64| {
            let part: Vec<f32> = start.iter().map(|v| (sign * v).max(0.0) as f32).collect();
            Tensor::from_f32(output.dims(), &part)
        };
        return [part(1.0), part(-1.0)];
    }
    let (mut supporting, mut opposing) = (start.clone(), vec![0.0; start.len()]);
    let dims = output.dims();
    let values = output.to_f64();
    for group in &seed.groups {
        let explained: Vec<f64> = group.elements().map(|at| start[at]).collect();
        if explained.iter().all(|v| *v == 0.0) {
            continue;
        }
        if let Target::Difference(..) = request.target {
            for (at, v) in group.elements().zip(explained) {
                supporting[at] = v.max(0.0);
                opposing[at] = (-v).max(0.0);
            }
            continue;
        }
        let values: Vec<f64> = group.elements().map(|at| values[at]).collect();
        let units = if seed.independent { Units::Independent } else { Units::Competing };
        for (at, v) in group.elements().zip(opposition(&explained, &values, request.seed_value, units)) {
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

/// The relation between the explained units of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Units {
    /// Logits or probabilities of exclusive classes.
    Competing,
    /// Probabilities of independent events.
    Independent,
}

/// Returns the opposing seed of a group of units whose supporting seed is `supporting` and whose output values are `values`.
fn opposition(supporting: &[f64], values: &[f64], start: SeedValue, units: Units) -> Vec<f64> {
    let independent = units == Units::Independent;
    // Values above 1 are not probabilities and have no complement.
    let are_probabilities = values.iter().all(|v| *v <= 1.0);
    let complement = |v: f64| if are_probabilities { 1.0 - v } else { 0.0 };
    let is_only_unit = supporting.len() == 1;
    let opposing = values.iter().zip(supporting).map(|(v, seed)| match *seed != 0.0 {
        true if is_only_unit || independent => complement(*v),
        true => 0.0,
        false => *v,
    });
    let mut opposing: Vec<f64> = opposing.collect();
    if start == SeedValue::Value {
        return opposing;
    }
    let total: f64 = supporting.iter().sum();
    if is_only_unit {
        opposing[0] = if independent { total * opposing[0].clamp(0.0, 1.0) } else { total / 2.0 };
        return opposing;
    }
    opposing.iter_mut().for_each(|v| *v = v.max(0.0));
    let sum: f64 = opposing.iter().sum();
    for (v, seed) in opposing.iter_mut().zip(supporting) {
        *v = if sum > 0.0 { total * *v / sum } else { seed / 2.0 };
    }
    opposing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Convention, seed};

    /// The supporting and the opposing seed of an output with the values `y`.
    fn seeds(dims: &[usize], y: &[f32], request: Request) -> [Vec<f32>; 2] {
        let output = Tensor::from_f32(dims, y);
        let outputs = crate::Tensors::from([("y".into(), output.clone())]);
        let seed = seed("y", &outputs, &request, &Convention::default()).unwrap_or_else(|e| panic!("{e}"));
        tracks(&output, &request, &seed).map(|t| t.to_f32().to_vec())
    }

    #[test]
    fn the_other_units_oppose_by_their_positive_values() {
        let of_logits = |y: &[f32]| seeds(&[1, 4], y, Request::default());
        assert_eq!(
            of_logits(&[5.0, 3.0, -2.0, 1.0]),
            [vec![100.0, 0.0, 0.0, 0.0], vec![0.0, 75.0, 0.0, 25.0]]
        );
        // Without a positive rival the target opposes itself.
        assert_eq!(
            of_logits(&[1.0, -3.0, -2.0, -4.0]),
            [vec![100.0, 0.0, 0.0, 0.0], vec![50.0, 0.0, 0.0, 0.0]]
        );
        let value = Request::new().seed_value(SeedValue::Value);
        assert_eq!(seeds(&[1, 3], &[5.0, 3.0, -2.0], value)[1], [0.0, 3.0, -2.0]);
    }

    #[test]
    fn a_difference_has_a_unit_on_each_track() {
        let request = Request::new().target(Target::Difference(2, 0));
        assert_eq!(
            seeds(&[1, 3], &[5.0, 3.0, -2.0], request),
            [vec![0.0, 0.0, 100.0], vec![100.0, 0.0, 0.0]]
        );
    }

    #[test]
    fn a_single_unit_opposes_itself() {
        assert_eq!(seeds(&[2, 1], &[0.75, -3.0], Request::default()), [vec![100.0; 2], vec![50.0; 2]]);
        let value = Request::new().seed_value(SeedValue::Value);
        assert_eq!(seeds(&[2, 1], &[0.75, 0.5], value), [vec![0.75, 0.5], vec![0.25, 0.5]]);
    }

    #[test]
    fn a_region_is_opposed_by_its_complement_and_by_the_rest() {
        let pixels = [0.75, 0.25, 1.0, 0.5];
        let region = Request::new().target(Target::Above(0.6)).seed_value(SeedValue::Value);
        let value = seeds(&[1, 1, 2, 2], &pixels, region.clone());
        assert_eq!(value, [vec![0.75, 0.0, 1.0, 0.0], vec![0.25, 0.25, 0.0, 0.5]]);
        let multiplied = seeds(&[1, 1, 2, 2], &pixels, region.clone().seed_value(SeedValue::One));
        assert_eq!(multiplied, [vec![50.0, 0.0, 50.0, 0.0], vec![25.0, 25.0, 0.0, 50.0]]);
        let scaled = seeds(&[1, 1, 2, 2], &pixels, region.normalize_to(7.0));
        assert_eq!(scaled, [vec![3.0, 0.0, 4.0, 0.0], vec![1.75, 1.75, 0.0, 3.5]]);
    }

    #[test]
    fn the_other_classes_of_a_pixel_oppose_it() {
        use crate::request::{Pixels, Region};
        // Three classes, two pixels: class 1 wins the first, class 2 the second.
        let y = [1.0, -1.0, 4.0, -3.0, 3.0, 5.0];
        let request = |pixels| Request::new().target(Target::Pixels(pixels));
        let first = request(Pixels { class: Some(1), ..Pixels::default() });
        assert_eq!(
            seeds(&[1, 3, 1, 2], &y, first),
            [vec![0.0, 0.0, 100.0, 0.0, 0.0, 0.0], vec![25.0, 0.0, 0.0, 0.0, 75.0, 0.0]]
        );
        // Class 2 has no positive rival at the second pixel.
        let second = request(Pixels { class: Some(2), ..Pixels::default() });
        assert_eq!(seeds(&[1, 3, 1, 2], &y, second)[1], [0.0, 0.0, 0.0, 0.0, 0.0, 50.0]);
        // In a region of a mask without classes only the complements of its pixels oppose.
        let left = Region { left: 0.0, top: 0.0, right: 0.5, bottom: 1.0 };
        let region = request(Pixels { region: Some(left), ..Pixels::default() });
        assert_eq!(
            seeds(&[1, 1, 1, 4], &[0.75, 1.0, 0.75, 0.75], region),
            [vec![50.0, 50.0, 0.0, 0.0], vec![12.5, 0.0, 0.0, 0.0]]
        );
    }

    #[test]
    fn the_other_classes_of_a_box_oppose_it() {
        use crate::{BoxLayout, BoxSelector, BoxTarget, Detector};
        let y = [9.0, 9.0, 9.0, 9.0, 0.5, 0.25, 0.75];
        let (scores, boxes) = ("y".to_string(), "y".to_string());
        let layout = Some(BoxLayout::YoloRows);
        let target = BoxTarget { selector: BoxSelector::Rank(0), class: None, coordinate: None };
        let request = Request::new().target(Target::Box(target)).detector(Detector {
            layout,
            scores,
            boxes,
            labels: None,
            no_object: false,
            corners: false,
        });
        let [supporting, opposing] = seeds(&[1, 1, 7], &y, request);
        assert_eq!(supporting, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100.0]);
        assert_eq!(opposing[..4], [0.0; 4]);
        assert!((opposing[4] - 200.0 / 3.0).abs() < 1e-4 && (opposing[5] - 100.0 / 3.0).abs() < 1e-4);
    }

    #[test]
    fn rows_that_explain_nothing_oppose_nothing() {
        let tracks = seeds(&[1, 2, 2], &[1.0, 2.0, 3.0, 1.0], Request::default());
        assert_eq!(tracks, [vec![0.0, 0.0, 100.0, 0.0], vec![0.0, 0.0, 0.0, 100.0]]);
    }
}
