//! In which outputs of a model boxes stand, by what the model declares of them.

mod format;

use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::{Tensor, TensorType};
use dlbc_proto::{DataType, Model};
use dlbc_runtime::{BoxLayout, Detector, Tensors};

use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::visible;

pub use format::{BoxFormat, COORDINATES, Coordinate, NoObject};

/// Reading of the outputs of a detector, as far as a caller knows it; what is `None` or empty follows from shapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetectorHints {
    /// Layout of the boxes in the outputs.
    pub layout: Option<BoxLayout>,
    /// Names of the outputs with boxes, scores and labels, or of the one with everything.
    pub outputs: Vec<String>,
    /// Meaning of the four coordinates of a box.
    pub format: Option<BoxFormat>,
    /// Class of a `detr` layout that means that there is no object.
    pub no_object: Option<NoObject>,
    /// Coordinate that is explained instead of the score.
    pub coordinate: Option<Coordinate>,
}

/// An output as the model declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    name: String,
    float: bool,
    /// `None` where a dimension is open; of all where the rank is not declared.
    dims: Option<Vec<Option<i64>>>,
}

impl Declared {
    /// The outputs of a model file.
    pub fn of_model(model: &Model) -> Vec<Declared> {
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
            Declared {
                name: info.name().into(),
                float: matches!(dtype, Some(DataType::F16 | DataType::Bf16 | DataType::F32 | DataType::F64)),
                dims: shape.map(|s| s.dim.iter().map(|d| known(&d.value)).collect()),
            }
        });
        outputs.collect()
    }

    /// The outputs of a run.
    pub fn of_outputs(outputs: &Tensors) -> Vec<Declared> {
        let declared = |(name, tensor): (&String, &Tensor)| Declared {
            name: name.clone(),
            float: tensor.dtype().is_float(),
            dims: Some(tensor.dims().iter().map(|d| i64::try_from(*d).ok()).collect()),
        };
        outputs.iter().map(declared).collect()
    }

    /// The outputs of a program.
    pub fn of_program(program: &Program) -> Vec<Declared> {
        let declared = |(name, ty): (&str, &TensorType)| Declared {
            name: name.into(),
            float: ty.dtype.is_float(),
            dims: Some(ty.shape.0.iter().map(|d| d.as_known()).collect()),
        };
        Declared::types(program).map(declared).collect()
    }

    /// The outputs of a program with their types.
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

    /// Whether it may be boxes of four coordinates, of this rank.
    fn fours(&self, rank: usize) -> bool {
        self.float && self.rank() == Some(rank) && self.last().is_none_or(|d| d == 4)
    }

    fn last(&self) -> Option<i64> {
        self.dims.as_ref().and_then(|d| d.last().copied().flatten())
    }

    fn describe(&self) -> String {
        let dim = |d: &Option<i64>| d.map_or_else(|| "?".into(), |d| d.to_string());
        let dims = self.dims.as_ref().map(|d| d.iter().map(dim).collect::<Vec<_>>().join(", "));
        format!("`{}` [{}]", visible(&self.name), dims.unwrap_or_else(|| "..".into()))
    }
}

/// A detector, and what its coordinates are.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// For the runtime.
    pub detector: Detector,
    /// What the coordinates are.
    pub format: BoxFormat,
    /// Whether the flags say how the outputs are read.
    pub given: bool,
}

impl Found {
    /// The output that is explained.
    pub fn explained(&self, hints: &DetectorHints) -> &str {
        if hints.coordinate.is_some() { &self.detector.boxes } else { &self.detector.scores }
    }
}

/// Finds the outputs with boxes.
///
/// # Errors
/// Where there is not one way to read the outputs, and for flags that contradict one another.
pub fn find(outputs: &[Declared], hints: &DetectorHints, output: Option<&str>) -> Result<Found> {
    if let Some(missing) = hints.outputs.iter().find(|n| !outputs.iter().any(|o| o.name == **n)) {
        let message = format!("unknown output `{}`: expected {}", visible(missing), list(outputs));
        return Err(Error::unknown(message, missing, outputs.iter().map(|o| o.name.as_str())));
    }
    let layout = hints.layout;
    let names = match hints.outputs.as_slice() {
        [] => named(outputs, layout, output).ok_or_else(|| refusal(outputs, layout))?,
        given => by_flag(given, layout)?,
    };
    let Names { layout, boxes, scores, labels } = names;
    let no_object = hints.no_object != Some(NoObject::None);
    if hints.no_object.is_some() && layout != Some(BoxLayout::Detr) {
        return Err(Error::usage(
            "a class for no object applies to layout detr only: scores [batch, box, class] and boxes [batch, box, 4]",
        ));
    }
    // What is not certain from the shape is refused later; all of these have centre and size.
    let format = hints.format.unwrap_or_else(|| BoxFormat::of(layout.unwrap_or(BoxLayout::Yolo)));
    if let Some(coordinate) = hints.coordinate
        && coordinate.corners.is_some_and(|corners| corners != format.corners())
    {
        let own = COORDINATES[usize::from(format.corners())].join(", ");
        let message = format!("invalid coordinate of a box in output `{}`: expected {own}", visible(&boxes));
        return Err(Error::usage(message).with_remedy(Remedy::BoxFormat));
    }
    let given = hints.layout.is_some() || !hints.outputs.is_empty();
    let corners = format.corners();
    let found =
        Found { detector: Detector { layout, scores, boxes, labels, no_object, corners }, format, given };
    match output {
        Some(output) if output != found.explained(hints) => Err(Error::usage(format!(
            "output `{}` does not hold the explained part of the box: expected output `{}`",
            visible(output),
            visible(found.explained(hints))
        ))),
        _ => Ok(found),
    }
}

struct Names {
    layout: Option<BoxLayout>,
    boxes: String,
    scores: String,
    labels: Option<String>,
}

fn by_flag(given: &[String], layout: Option<BoxLayout>) -> Result<Names> {
    let (usual, boxes, scores, labels) = match given {
        [one] => (None, one, one, None),
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
        None => given.len() == 1,
        Some(BoxLayout::Detr) => given.len() == 2,
        Some(BoxLayout::List) => given.len() > 1,
        Some(_) => given.len() == 1,
    };
    if !fits {
        let layout = layout.map_or("", BoxLayout::name);
        return Err(Error::usage(format!(
            "{} outputs of the detector are named, which layout {layout} does not have",
            given.len()
        )));
    }
    Ok(Names { layout, boxes: boxes.clone(), scores: scores.clone(), labels: labels.cloned() })
}

/// The outputs by their types and shapes, where there is one choice.
fn named(outputs: &[Declared], layout: Option<BoxLayout>, output: Option<&str>) -> Option<Names> {
    match layout {
        None => listed(outputs).or_else(|| paired(outputs)).or_else(|| single(outputs, None, output)),
        Some(BoxLayout::List) => listed(outputs),
        Some(BoxLayout::Detr) => paired(outputs),
        Some(layout) => single(outputs, Some(layout), output),
    }
}

/// Boxes, scores and labels: a float output of one axis more than the only other and the only one of whole numbers.
fn listed(outputs: &[Declared]) -> Option<Names> {
    let labels = only(outputs.iter().filter(|o| !o.float))?;
    let rank = labels.rank().filter(|r| matches!(r, 1 | 2))?;
    let scores = only(outputs.iter().filter(|o| o.float && o.rank() == Some(rank)))?;
    let boxes = only(outputs.iter().filter(|o| o.fours(rank + 1)))?;
    let (boxes, scores) = (boxes.name.clone(), scores.name.clone());
    Some(Names { layout: Some(BoxLayout::List), boxes, scores, labels: Some(labels.name.clone()) })
}

/// Scores and boxes: two float outputs of three axes, the last axis of one of them, and only of that, 4.
fn paired(outputs: &[Declared]) -> Option<Names> {
    let three = || outputs.iter().filter(|o| o.float && o.rank() == Some(3));
    let boxes = only(three().filter(|o| o.last() == Some(4)))?;
    let scores = only(three().filter(|o| o.last() != Some(4)))?;
    let (boxes, scores) = (boxes.name.clone(), scores.name.clone());
    Some(Names { layout: Some(BoxLayout::Detr), boxes, scores, labels: None })
}

fn single(outputs: &[Declared], layout: Option<BoxLayout>, output: Option<&str>) -> Option<Names> {
    let one = match output {
        Some(output) => outputs.iter().find(|o| o.name == output)?,
        None => only(outputs.iter().filter(|o| o.float && o.rank().is_none_or(|r| r == 3)))?,
    };
    Some(Names { layout, boxes: one.name.clone(), scores: one.name.clone(), labels: None })
}

fn only<'a>(mut found: impl Iterator<Item = &'a Declared>) -> Option<&'a Declared> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn list(outputs: &[Declared]) -> String {
    outputs.iter().map(Declared::describe).collect::<Vec<_>>().join(", ")
}

fn refusal(outputs: &[Declared], layout: Option<BoxLayout>) -> Error {
    let how = layout.map_or_else(|| "boxes".into(), |l| format!("boxes of layout {}", l.name()));
    Error::usage(format!("the model's outputs cannot be read as {how}: {}", list(outputs)))
        .with_remedy(Remedy::BoxOutputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, float: bool, dims: &[i64]) -> Declared {
        let dims = dims.iter().map(|d| (*d >= 0).then_some(*d)).collect();
        Declared { name: name.into(), float, dims: Some(dims) }
    }

    fn read(outputs: &[Declared]) -> Option<(Option<BoxLayout>, String, String)> {
        named(outputs, None, None).map(|n| (n.layout, n.boxes, n.scores))
    }

    #[test]
    fn exports_that_there_are() {
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
        // Which of two is the scores' cannot be known.
        assert_eq!(read(&[logits, boxes, output("last_hidden_state", true, &[-1, -1, 256])]), None);
        let (one, protos) =
            (output("output0", true, &[1, 116, 8400]), output("output1", true, &[1, 32, 160, 160]));
        assert_eq!(read(&[one, protos]), Some((None, "output0".into(), "output0".into())));
        assert_eq!(read(&[output("logits", true, &[-1, 10])]), None);
    }
}
