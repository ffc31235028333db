//! Outputs of a detector, and what is explained of a box.

/// Layout of boxes in a detector's outputs. Sizes: B rows of a batch, N boxes, C classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxLayout {
    /// One output `[B, 4 + C, N]`: four coordinates and a score a class (YOLOv8 and later).
    Yolo,
    /// One output `[B, N, 4 + C]`: the same, a row a box.
    YoloRows,
    /// One output `[B, N, 5 + C]`: four coordinates, a score of the box, a score a class (YOLOv5, YOLOv7, YOLOX).
    YoloV5,
    /// One output `[B, N, 6]`: four coordinates, score, label; what non-maximum suppression within the model leaves.
    EndToEnd,
    /// Two outputs, scores `[B, N, C]` and boxes `[B, N, 4]` (DETR and its kin).
    Detr,
    /// Three outputs, boxes `[N, 4]`, scores `[N]` and labels `[N]` (torchvision), or each with an axis of batch in front.
    List,
}

impl BoxLayout {
    /// Its name on the command line.
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

/// The outputs of a detector.
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
/// use dlbc_runtime::{BoxLayout, BoxTarget, Detector, Request, Target, WhichBox};
///
/// // One output, `boxes` [batch, 4 + classes, box].
/// let (scores, boxes) = ("boxes".to_string(), "boxes".to_string());
/// let detector = Detector { layout: Some(BoxLayout::Yolo), scores, boxes, labels: None, no_object: false, corners: false };
/// let best = BoxTarget { which: WhichBox::Rank(0), class: Some(1), coordinate: None };
/// let request = Request::new().target(Target::Box(best)).detector(detector);
/// let explanation = session.explain(&inputs, &request)?;
/// println!("box {}, score {}", explanation.boxes[0].number, explanation.boxes[0].score);
/// # assert!(explanation.boxes[0].class == 1 && explanation.boxes[0].score > 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// Layout of the boxes; `None` takes it from the shape of a single output and refuses a shape that leaves it open.
    pub layout: Option<BoxLayout>,
    /// The output with the scores.
    pub scores: String,
    /// The output with the boxes; the same where there is one.
    pub boxes: String,
    /// The output with the labels, of [`BoxLayout::List`].
    pub labels: Option<String>,
    /// Of [`BoxLayout::Detr`], whether the last class means that there is no object. Scores are probabilities among all
    /// classes then, and that class is none that a box is found for.
    pub no_object: bool,
    /// Coordinates are corners (left, top, right, bottom) instead of centre and size. Decides how the overlap of boxes
    /// is measured, by which they are found to be of one object.
    pub corners: bool,
}

/// Which box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichBox {
    /// The one of rank `k` by score in its row: 0 is the best. Of boxes that share more than half of what they cover together
    /// (intersection over union above 0.5) only the best has a rank, as non-maximum suppression leaves it.
    Rank(usize),
    /// By number.
    Number(usize),
}

/// The explained value of a box: the score of a class, or a coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxTarget {
    /// The box.
    pub which: WhichBox,
    /// The class; the box's greatest when absent.
    pub class: Option<i64>,
    /// The coordinate, 0 to 3, instead of the score.
    pub coordinate: Option<usize>,
}
