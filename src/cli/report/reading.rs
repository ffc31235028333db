//! Notes on outputs that may not be units of a row, but boxes or positions: the assumption, and the flag that changes it.

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::Target;

use crate::cli::args::RunArgs;
use crate::cli::terminal::Console;
use dlbc::detector::{self, DeclaredOutput};
use dlbc::explained::Explained;
use dlbc::input::Inputs;
use dlbc::wording::{plural, visible};

/// Minimum number of boxes of an output that counts as a detector's.
const MIN_BOXES: usize = 64;

/// Minimum share of boxes with a positive extent.
const SOLID: f64 = 0.95;

/// Largest deviation from 1 of a sum of probabilities.
const ROUNDING: f64 = 1e-3;

/// Writes a note if the explained output looks different from its interpretation, or if no flag chose its position.
pub fn note(info: &Info, inputs: &Inputs, explained: &Explained, args: &RunArgs, console: Console) {
    if args.target.detects() {
        let flags = &args.picture;
        let untouched = flags.preset.is_none() && flags.mean.is_none() && flags.std.is_none();
        let tensor = inputs.picture.as_ref().and_then(|p| inputs.tensors.get(&p.input));
        let colored = tensor.is_some_and(|t| t.dtype().is_float() && t.dims().contains(&3));
        if untouched && colored {
            console.note_with_help(
                "the picture has ImageNet's mean and deviation: most detectors take pixels in 0..1 as they are",
                "add `--preset yolo`",
            );
        }
        return;
    }
    let unit = matches!(
        explained.target.target,
        Target::Argmax | Target::Rank(_) | Target::Index(_) | Target::Difference(..)
    );
    let explanation = &explained.explanation;
    let Some(output) = explanation.outputs.get(&info.explained) else { return };
    if !unit || args.target.task().is_some() {
        return;
    }
    let name = visible(&info.explained);
    let dims = explanation.at_positions.as_ref().map_or(output.dims(), |at| &at.dims);
    let seen = inputs.picture.as_ref().map(|p| p.input.as_str());
    let picture = seen.or_else(|| {
        let four = |name: &&str| inputs.tensors.get(*name).is_some_and(|t| t.dims().len() == 4);
        info.inputs.iter().map(|i| i.name.as_str()).find(four)
    });
    let declared = DeclaredOutput::of_outputs(&explanation.outputs);
    if picture.is_some()
        && let Some((boxes, help)) = boxes(&declared, output, args)
    {
        console.note_with_help(&format!("output `{name}` {dims:?} looks like {boxes}"), &help);
        return;
    }
    let [first, second, _] = *dims else { return };
    let batch = batch(info, inputs);
    if !args.target.positions_first && first > 1 && batch.is_some_and(|n| n != first && n == second) {
        let (output_rows, input_rows) = (plural(first, "row"), plural(second, "row"));
        console.note_with_help(
            &format!("output `{name}` {dims:?} is read as {output_rows}, the input has {input_rows}"),
            "add `--positions-first` if the position comes first",
        );
        return;
    }
    let length = if args.target.positions_first { first } else { second };
    if picture.is_some() && args.target.position.is_none() && length > 1 {
        console.note_with_help(
            &format!("output `{name}` {dims:?} has {length} positions, the last is explained"),
            "`--position N` chooses another, `--position all` all",
        );
    }
}

/// Returns the number of rows of the inputs; `None` if they differ.
fn batch(info: &Info, inputs: &Inputs) -> Option<usize> {
    let explained = info.inputs.iter().filter(|i| i.explained);
    let mut rows = explained.filter_map(|i| {
        let dims = inputs.tensors.get(&i.name)?.dims();
        let alone = inputs.picture.as_ref().is_some_and(|p| p.input == i.name) && dims.len() == 3;
        if alone { Some(1) } else { dims.first().copied() }
    });
    let first = rows.next()?;
    rows.all(|n| n == first).then_some(first)
}

/// Returns a description of the boxes that the outputs look like, and the line of help; `None` if they do not.
fn boxes(declared: &[DeclaredOutput], output: &Tensor, args: &RunArgs) -> Option<(String, String)> {
    let outputs = detector::find_outputs(declared, &args.target.detector(), None).ok()?;
    if outputs.detector.layout.is_some() {
        return Some(("boxes with scores".into(), "`--box best` explains one".into()));
    }
    let (count, layout) = solid_boxes(output)?;
    Some((format!("{count} boxes"), format!("`--box best{layout}` explains one")))
}

/// Returns the number of boxes in one output, and the flag that it needs besides `--box`; `None` if it does not look like
/// boxes.
fn solid_boxes(output: &Tensor) -> Option<(usize, &'static str)> {
    let [rows, a, b] = *output.dims() else { return None };
    let (width, count) = (a.min(b), a.max(b));
    if rows == 0 || width < 5 || count < MIN_BOXES {
        return None;
    }
    let values = output.to_f64();
    let distributions = values.chunks(b).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < ROUNDING);
    let slot = |n: usize, slot: usize| values[if a < b { slot * b + n } else { n * b + slot }];
    let solid = |n: &usize| {
        let [x, y, right, bottom] = [0, 1, 2, 3].map(|s| slot(*n, s));
        (right > 0.0 && bottom > 0.0) || (right > x && bottom > y)
    };
    let share = (0..count).filter(solid).count() as f64 / count as f64;
    let layout = match (a < b, b) {
        (true, _) => "",
        (false, 6) => " --box-layout end-to-end",
        (false, _) => " --box-layout yolo-v5",
    };
    (!distributions && share >= SOLID).then_some((count, layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_have_an_extent() {
        let boxes_of = |a: usize, b: usize, value: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..a * b).map(value).collect();
            solid_boxes(&Tensor::from_f32(&[1, a, b], &values))
        };
        assert_eq!(boxes_of(6, 100, &|i| i as f32), Some((100, "")));
        assert_eq!(boxes_of(100, 85, &|i| 1.0 + i as f32), Some((100, " --box-layout yolo-v5")));
        // Features of both signs, probabilities, and too few.
        assert_eq!(boxes_of(6, 100, &|i| if i % 3 == 0 { 1.0 } else { -1.0 }), None);
        assert_eq!(boxes_of(100, 10, &|_| 0.1), None);
        assert_eq!(boxes_of(4, 100, &|i| i as f32), None);
        assert_eq!(boxes_of(6, 20, &|i| i as f32), None);
    }
}
