//! Search for the outputs of a detector, by the types and shapes that the model declares.

mod format;

use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::{Tensor, TensorType};
use dlbc_proto::{DataType, Model};
use dlbc_runtime::{BoxLayout, Detector, Tensors};

use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::visible;

pub use format::{BoxFormat, COORDINATES, Coordinate, NoObject};

/// Hints for reading the outputs of a detector. Fields that are `None` or empty are inferred from types and shapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetectorHints {
    /// Layout of the boxes in the outputs.
    pub layout: Option<BoxLayout>,
    /// Names of the outputs with boxes, scores and labels, in this order, or of a single output with all of them.
    pub outputs: Vec<String>,
    /// Meaning of the four coordinates of a box.
    pub format: Option<BoxFormat>,
    /// Class of a `detr` layout that stands for the absence of an object.
    pub no_object: Option<NoObject>,
    /// Coordinate that is explained instead of the score.
    pub coordinate: Option<Coordinate>,
}

/// The name, type and shape of an output as the model declares them.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredOutput {
    name: String,
    /// True for an output of floats.
    float: bool,
    /// Dimensions, `None` for a symbolic one; `None` for an output without a declared rank.
    dims: Option<Vec<Option<i64>>>,
}

impl DeclaredOutput {
    /// Returns the outputs that a model file declares.
    pub fn of_model(model: &Model) -> Vec<DeclaredOutput> {
        use dlbc_proto::onnx::{tensor_shape_proto::dimension::Value, type_proto};
        let outputs = model.graph().output.iter().map(|info| {
            let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
                Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
                _ => None,
            };
            let dtype = tensor.and_then(|t| DataType::from_onnx(t.elem_type()));
            let known = |d: &Option<Value>| match d {
                Some(Value::DimValue(n)) => Some(*n),
                _ => None,
            };
            let shape = tensor.and_then(|t| t.shape.as_ref());
            DeclaredOutput {
                name: info.name().into(),
                float: matches!(dtype, Some(DataType::F16 | DataType::Bf16 | DataType::F32 | DataType::F64)),
                dims: shape.map(|s| s.dim.iter().map(|d| known(&d.value)).collect()),
            }
        });
        outputs.collect()
    }

    /// Returns the outputs of a run.
    pub fn of_outputs(outputs: &Tensors) -> Vec<DeclaredOutput> {
        let declared = |(name, tensor): (&String, &Tensor)| DeclaredOutput {
            name: name.clone(),
            float: tensor.dtype().is_float(),
            dims: Some(tensor.dims().iter().map(|d| i64::try_from(*d).ok()).collect()),
        };
        outputs.iter().map(declared).collect()
    }

    /// Returns the outputs of a program.
    pub fn of_program(program: &Program) -> Vec<DeclaredOutput> {
        let declared = |(name, ty): (&str, &TensorType)| DeclaredOutput {
            name: name.into(),
            float: ty.dtype.is_float(),
            dims: Some(ty.shape.0.iter().map(|d| d.as_known()).collect()),
        };
        DeclaredOutput::types(program).map(declared).collect()
    }

    /// Iterates over the names and types of a program's outputs.
    fn types(program: &Program) -> impl Iterator<Item = (&str, &TensorType)> {
        let outputs = program.info.outputs.iter();
        outputs.filter_map(|name| {
            let value = program.graph.output(&Output::from(name))?;
            Some((name.as_str(), program.graph.ty(value)))
        })
    }

    fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(Vec::len)
    }

    /// Returns whether the output can hold the four coordinates of boxes on the last of `rank` axes.
    fn may_be_boxes(&self, rank: usize) -> bool {
        self.float && self.rank() == Some(rank) && self.last_dim().is_none_or(|d| d == 4)
    }

    /// Returns the size of the last axis, if it is known.
    fn last_dim(&self) -> Option<i64> {
        self.dims.as_ref().and_then(|d| d.last().copied().flatten())
    }

    fn describe(&self) -> String {
        let dim = |d: &Option<i64>| d.map_or_else(|| "?".into(), |d| d.to_string());
        let dims = self.dims.as_ref().map(|d| d.iter().map(dim).collect::<Vec<_>>().join(", "));
        format!("`{}` [{}]", visible(&self.name), dims.unwrap_or_else(|| "..".into()))
    }
}

/// The outputs of a detector, with the format of its boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorOutputs {
    /// Names of the outputs and layout of the boxes.
    pub detector: Detector,
    /// Meaning and unit of the coordinates.
    pub format: BoxFormat,
    /// True if the hints name the layout or the outputs.
    pub from_hints: bool,
}

impl DetectorOutputs {
    /// Returns the name of the explained output.
    pub fn explained(&self, hints: &DetectorHints) -> &str {
        if hints.coordinate.is_some() { &self.detector.boxes } else { &self.detector.scores }
    }
}

/// Finds the outputs with boxes, scores and labels. `output` is the explained output that the caller asks for.
///
/// # Errors
/// When the outputs can be read in several ways or in none, or hints contradict one another.
pub fn find_outputs(
    outputs: &[DeclaredOutput],
    hints: &DetectorHints,
    output: Option<&str>,
) -> Result<DetectorOutputs> {
    if let Some(missing) = hints.outputs.iter().find(|n| !outputs.iter().any(|o| o.name == **n)) {
        let message = format!("unknown output `{}`: expected {}", visible(missing), list(outputs));
        return Err(Error::unknown(message, missing, outputs.iter().map(|o| o.name.as_str())));
    }
    let layout = hints.layout;
    let names = match hints.outputs.as_slice() {
        [] => infer_names(outputs, layout, output).ok_or_else(|| refusal(outputs, layout))?,
        names => names_from_hints(names, layout)?,
    };
    let Names { layout, boxes, scores, labels } = names;
    let no_object = hints.no_object != Some(NoObject::None);
    if hints.no_object.is_some() && layout != Some(BoxLayout::Detr) {
        return Err(Error::usage(
            "a class for no object applies to layout detr only: scores [batch, box, class] and boxes [batch, box, 4]",
        ));
    }
    // The runtime infers an open layout from the shape; all candidates have centre and size.
    let format = hints.format.unwrap_or_else(|| BoxFormat::for_layout(layout.unwrap_or(BoxLayout::Yolo)));
    if let Some(coordinate) = hints.coordinate
        && coordinate.corners.is_some_and(|corners| corners != format.corners())
    {
        let names = COORDINATES[usize::from(format.corners())].join(", ");
        let message =
            format!("invalid coordinate of a box in output `{}`: expected {names}", visible(&boxes));
        return Err(Error::usage(message).with_remedy(Remedy::BoxFormat));
    }
    let from_hints = hints.layout.is_some() || !hints.outputs.is_empty();
    let corners = format.corners();
    let detector = Detector { layout, scores, boxes, labels, no_object, corners };
    let detector_outputs = DetectorOutputs { detector, format, from_hints };
    match output {
        Some(output) if output != detector_outputs.explained(hints) => Err(Error::usage(format!(
            "output `{}` does not hold the explained part of the box: expected output `{}`",
            visible(output),
            visible(detector_outputs.explained(hints))
        ))),
        _ => Ok(detector_outputs),
    }
}

/// Names of the outputs of a detector.
struct Names {
    layout: Option<BoxLayout>,
    boxes: String,
    scores: String,
    labels: Option<String>,
}

/// Assigns roles to the output names of the hints, by their number and the layout.
fn names_from_hints(names: &[String], layout: Option<BoxLayout>) -> Result<Names> {
    let (usual, boxes, scores, labels) = match names {
        [single] => (None, single, single, None),
        [boxes, scores] => (Some(BoxLayout::Detr), boxes, scores, None),
        [boxes, scores, labels] => (Some(BoxLayout::List), boxes, scores, Some(labels)),
        _ => {
            return Err(Error::usage(
                "invalid outputs of the detector: expected boxes, scores and labels, boxes and scores, or one output with everything",
            ));
        }
    };
    let layout = layout.or(usual);
    let fits = match layout {
        None => names.len() == 1,
        Some(BoxLayout::Detr) => names.len() == 2,
        Some(BoxLayout::List) => names.len() > 1,
        Some(_) => names.len() == 1,
    };
    if !fits {
        let layout = layout.map_or("", BoxLayout::name);
        return Err(Error::usage(format!(
            "{} outputs of the detector are named, which layout {layout} does not have",
            names.len()
        )));
    }
    Ok(Names { layout, boxes: boxes.clone(), scores: scores.clone(), labels: labels.cloned() })
}

/// Infers the outputs from their types and shapes; `None` when several or no choices fit.
fn infer_names(outputs: &[DeclaredOutput], layout: Option<BoxLayout>, output: Option<&str>) -> Option<Names> {
    match layout {
        None => {
            let list = || list_layout(outputs).or_else(|| detr_layout(outputs));
            list().or_else(|| single_output(outputs, None, output))
        }
        Some(BoxLayout::List) => list_layout(outputs),
        Some(BoxLayout::Detr) => detr_layout(outputs),
        Some(layout) => single_output(outputs, Some(layout), output),
    }
}

/// Infers boxes, scores and labels: labels are the only output of integers, scores the only floats of the same rank, boxes the
/// only floats with one more axis.
fn list_layout(outputs: &[DeclaredOutput]) -> Option<Names> {
    let labels = exactly_one(outputs.iter().filter(|o| !o.float))?;
    let rank = labels.rank().filter(|r| matches!(r, 1 | 2))?;
    let scores = exactly_one(outputs.iter().filter(|o| o.float && o.rank() == Some(rank)))?;
    let boxes = exactly_one(outputs.iter().filter(|o| o.may_be_boxes(rank + 1)))?;
    let (boxes, scores) = (boxes.name.clone(), scores.name.clone());
    Some(Names { layout: Some(BoxLayout::List), boxes, scores, labels: Some(labels.name.clone()) })
}

/// Infers scores and boxes: two float outputs of three axes, of which the last has size 4 only in the boxes.
fn detr_layout(outputs: &[DeclaredOutput]) -> Option<Names> {
    let candidates = || outputs.iter().filter(|o| o.float && o.rank() == Some(3));
    let boxes = exactly_one(candidates().filter(|o| o.last_dim() == Some(4)))?;
    let scores = exactly_one(candidates().filter(|o| o.last_dim() != Some(4)))?;
    let (boxes, scores) = (boxes.name.clone(), scores.name.clone());
    Some(Names { layout: Some(BoxLayout::Detr), boxes, scores, labels: None })
}

/// Infers a single output with boxes and scores: the requested one, or the only float output of three axes.
fn single_output(
    outputs: &[DeclaredOutput],
    layout: Option<BoxLayout>,
    output: Option<&str>,
) -> Option<Names> {
    let declared = match output {
        Some(output) => outputs.iter().find(|o| o.name == output)?,
        None => exactly_one(outputs.iter().filter(|o| o.float && o.rank().is_none_or(|r| r == 3)))?,
    };
    Some(Names { layout, boxes: declared.name.clone(), scores: declared.name.clone(), labels: None })
}

/// Returns the element of an iterator with exactly one element.
fn exactly_one<'a>(mut outputs: impl Iterator<Item = &'a DeclaredOutput>) -> Option<&'a DeclaredOutput> {
    let first = outputs.next()?;
    outputs.next().is_none().then_some(first)
}

fn list(outputs: &[DeclaredOutput]) -> String {
    outputs.iter().map(DeclaredOutput::describe).collect::<Vec<_>>().join(", ")
}

/// Returns the error for outputs that cannot be read as boxes.
fn refusal(outputs: &[DeclaredOutput], layout: Option<BoxLayout>) -> Error {
    let how = layout.map_or_else(|| "boxes".into(), |l| format!("boxes of layout {}", l.name()));
    Error::usage(format!("the model's outputs cannot be read as {how}: {}", list(outputs)))
        .with_remedy(Remedy::BoxOutputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, float: bool, dims: &[i64]) -> DeclaredOutput {
        let dims = dims.iter().map(|d| (*d >= 0).then_some(*d)).collect();
        DeclaredOutput { name: name.into(), float, dims: Some(dims) }
    }

    fn read(outputs: &[DeclaredOutput]) -> Option<(Option<BoxLayout>, String, String)> {
        infer_names(outputs, None, None).map(|n| (n.layout, n.boxes, n.scores))
    }

    #[test]
    fn outputs_of_common_exports_are_inferred() {
        let (boxes, scores) = (output("boxes", true, &[-1, 4]), output("scores", true, &[-1]));
        let labels = output("labels", false, &[-1]);
        let masks = output("masks", true, &[-1, 1, -1, -1]);
        let list = Some((Some(BoxLayout::List), "boxes".into(), "scores".into()));
        assert_eq!(read(&[boxes.clone(), scores.clone(), labels.clone()]), list);
        assert_eq!(read(&[boxes, labels, scores, masks]), list);
        let (logits, boxes) =
            (output("logits", true, &[-1, -1, 92]), output("pred_boxes", true, &[-1, -1, 4]));
        let pair = Some((Some(BoxLayout::Detr), "pred_boxes".into(), "logits".into()));
        assert_eq!(read(&[logits.clone(), boxes.clone()]), pair);
        // Two outputs could be the scores.
        assert_eq!(read(&[logits, boxes, output("last_hidden_state", true, &[-1, -1, 256])]), None);
        let (boxes, protos) =
            (output("output0", true, &[1, 116, 8400]), output("output1", true, &[1, 32, 160, 160]));
        assert_eq!(read(&[boxes, protos]), Some((None, "output0".into(), "output0".into())));
        assert_eq!(read(&[output("logits", true, &[-1, 10])]), None);
    }
}
