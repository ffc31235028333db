//! Outputs of a detector, and the target within a box.

/// Layout of boxes in the outputs of a detector. `B` is the batch, `N` the number of boxes, `C` the number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxLayout {
    /// One output `[B, 4 + C, N]`: four coordinates and a score per class (YOLOv8 and later).
    Yolo,
    /// One output `[B, N, 4 + C]`: four coordinates and a score per class, one row per box.
    YoloRows,
    /// One output `[B, N, 5 + C]`: four coordinates, a score of the box, a score per class (YOLOv5, YOLOv7, YOLOX).
    YoloV5,
    /// One output `[B, N, 6]`: four coordinates, score and label of each box that non-maximum suppression in the model keeps.
    EndToEnd,
    /// Two outputs, scores `[B, N, C]` and boxes `[B, N, 4]` (DETR and its variants).
    Detr,
    /// Three outputs, boxes `[N, 4]`, scores `[N]` and labels `[N]` (torchvision), or each with a leading batch axis.
    List,
}

impl BoxLayout {
    /// Returns the name of the layout on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BoxLayout::Yolo => "yolo",
            BoxLayout::YoloRows => "yolo-rows",
            BoxLayout::YoloV5 => "yolo-v5",
            BoxLayout::EndToEnd => "end-to-end",
            BoxLayout::Detr => "detr",
            BoxLayout::List => "list",
        }
    }
}

/// Outputs of a detector and the layout of its boxes.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let model = dlbc_proto::read_model("../fixtures/scenes/detector.onnx".as_ref(), &Default::default())?;
/// # let program = dlbc_compiler::compile(&model, &Default::default())?.program;
/// # let backend = Box::new(dlbc_runtime::CpuBackend);
/// # let session = dlbc_runtime::Session::new(program, backend, Default::default())?;
/// # let picture = dlbc_runtime::Tensor::from_f32(&[1, 3, 48, 64], &[0.5; 3 * 48 * 64]);
/// # let inputs = dlbc_runtime::Tensors::from([("picture".to_string(), picture)]);
/// use dlbc_runtime::{BoxLayout, BoxTarget, Detector, Request, Target, BoxSelector};
///
/// // One output, `boxes` [batch, 4 + classes, box].
/// let (scores, boxes) = ("boxes".to_string(), "boxes".to_string());
/// let detector = Detector { layout: Some(BoxLayout::Yolo), scores, boxes, labels: None, no_object: false, corners: false };
/// let best = BoxTarget { selector: BoxSelector::Rank(0), class: Some(1), coordinate: None };
/// let request = Request::new().target(Target::Box(best)).detector(detector);
/// let explanation = session.explain(&inputs, &request)?;
/// println!("box {}, score {}", explanation.boxes[0].index, explanation.boxes[0].score);
/// # assert!(explanation.boxes[0].class == 1 && explanation.boxes[0].score > 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// Layout of the boxes; `None` infers it from the shape of a single output, and refuses a shape that fits several layouts.
    pub layout: Option<BoxLayout>,
    /// Name of the output with the scores.
    pub scores: String,
    /// Name of the output with the coordinates; the same as `scores` for a layout of one output.
    pub boxes: String,
    /// Name of the output with the labels, for [`BoxLayout::List`].
    pub labels: Option<String>,
    /// True if the last class of [`BoxLayout::Detr`] stands for the absence of an object. Scores are then probabilities over
    /// all classes, and no box is assigned to that class.
    pub no_object: bool,
    /// True if coordinates are corners (left, top, right, bottom) instead of centre and size. The overlap of boxes, which
    /// decides whether two boxes show the same object, depends on it.
    pub corners: bool,
}

/// The choice of a box in each row: by its rank or by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxSelector {
    /// Box of rank `k` by score in its row; 0 is the best. Boxes whose intersection over union with a better box exceeds 0.5
    /// have no rank, as in non-maximum suppression.
    Rank(usize),
    /// Box with this index in the model's output, from 0.
    Index(usize),
}

/// The explained value of a box: the score of a class, or a coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxTarget {
    /// Choice of the box in each row.
    pub selector: BoxSelector,
    /// Class whose score is explained; the class of the largest score when absent.
    pub class: Option<i64>,
    /// Index of the coordinate that is explained instead of a score, 0 to 3.
    pub coordinate: Option<usize>,
}
