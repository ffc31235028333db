//! What is explained of a segmentation or a detection.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use dlbc_runtime::{BoxLayout as Reading, WhichBox};

use super::Layout;
use super::values::finite;

/// What is explained of a segmentation or a detection.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Segmentation and detection")]
pub struct SceneArgs {
    /// The class of the pixels or of the box, by index or name, several separated by commas [default: the class that wins most pixels, the
    /// first only where no other wins any; the best class of the box].
    #[arg(long, value_name = "C,...", value_delimiter = ',', allow_hyphen_values = true)]
    pub class: Vec<String>,
    /// Only the mask's pixels within this rectangle: left, top, right and bottom edge in pixels of the picture as given (of
    /// the input where that is no file).
    #[arg(long, value_name = "X0,Y0,X1,Y1")]
    pub region: Option<Rectangle>,
    /// Where the classes of a mask stand [default: as the picture's channels, `--layout`].
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub mask_layout: Option<Layout>,
    /// Which box: best (the greatest score, of the class if one is given), topK, a number; several separated by commas.
    #[arg(long = "box", value_name = "BOX,...")]
    pub boxes: Option<Boxes>,
    /// A coordinate of the box instead of its score: x, y (of the centre), w, h, or x0, y0, x1, y1, or 0 to 3.
    #[arg(long, value_name = "COORDINATE")]
    pub coordinate: Option<Coordinate>,
    /// How boxes stand in the outputs [default: as their shapes say, refused where that is not certain].
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub box_layout: Option<BoxLayout>,
    /// The outputs with boxes, scores and labels, where there are others too.
    #[arg(long, value_name = "BOXES,SCORES[,LABELS]", value_delimiter = ',')]
    pub box_outputs: Vec<String>,
    /// What the four coordinates of a box are [default: what the layout has as a rule].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub box_format: Option<BoxFormat>,
    /// Whether the last class of a `detr` layout means that there is no object [default: last].
    #[arg(long, value_enum, value_name = "CLASS")]
    pub no_object: Option<NoObject>,
    /// Boxes with at least this score are drawn beside the explained one [default: half of its score].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true, requires = "heatmap")]
    pub box_score: Option<f64>,
}

impl SceneArgs {
    /// The flags that only a detection has, as given.
    pub fn of_boxes(&self) -> Vec<&'static str> {
        let given = [
            ("--coordinate", self.coordinate.is_some()),
            ("--box-layout", self.box_layout.is_some()),
            ("--box-outputs", !self.box_outputs.is_empty()),
            ("--box-format", self.box_format.is_some()),
            ("--no-object", self.no_object.is_some()),
            ("--box-score", self.box_score.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// The flags that only a segmentation has, as given.
    pub fn of_pixels(&self) -> Vec<&'static str> {
        let given = [("--region", self.region.is_some()), ("--mask-layout", self.mask_layout.is_some())];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

/// A rectangle in pixels, the right and the bottom edge not within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// Left, top, right, bottom.
    pub edges: [u32; 4],
}

impl FromStr for Rectangle {
    type Err = String;
    fn from_str(text: &str) -> Result<Rectangle, String> {
        let edges: Option<Vec<u32>> = text.split(',').map(|e| e.trim().parse().ok()).collect();
        let edges = edges.and_then(|e| <[u32; 4]>::try_from(e).ok());
        let edges = edges.ok_or("X0,Y0,X1,Y1 expected, four whole numbers from 0")?;
        if edges[0] >= edges[2] || edges[1] >= edges[3] {
            return Err("nothing is within: X0 < X1 and Y0 < Y1 expected".into());
        }
        Ok(Rectangle { edges })
    }
}

impl std::fmt::Display for Rectangle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [left, top, right, bottom] = self.edges;
        write!(f, "{left},{top},{right},{bottom}")
    }
}

/// Boxes of a detection, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boxes(pub Vec<WhichBox>);

/// Boxes of one run.
const MOST_BOXES: usize = 1024;

impl FromStr for Boxes {
    type Err = String;
    fn from_str(text: &str) -> Result<Boxes, String> {
        let mut boxes = vec![];
        for item in text.split(',') {
            let top = item.strip_prefix("top").and_then(|k| k.parse().ok());
            let found = match (item, top, item.parse()) {
                ("best", ..) => vec![WhichBox::Rank(0)],
                (_, Some(k @ 1..=MOST_BOXES), _) => (0..k).map(WhichBox::Rank).collect(),
                (_, None, Ok(number)) => vec![WhichBox::Number(number)],
                _ => return Err(format!("`{item}` is no box; best, top3 and 0 are")),
            };
            for found in found {
                if boxes.contains(&found) {
                    return Err(format!("`{}` is named twice", box_name(found)));
                }
                boxes.push(found);
            }
        }
        if boxes.len() > MOST_BOXES {
            return Err(format!("{} boxes; {MOST_BOXES} are the most", boxes.len()));
        }
        Ok(Boxes(boxes))
    }
}

/// A box as it is written.
pub fn box_name(which: WhichBox) -> String {
    match which {
        WhichBox::Rank(0) => "best".into(),
        WhichBox::Rank(rank) => format!("top{}", rank + 1),
        WhichBox::Number(number) => number.to_string(),
    }
}

/// A coordinate of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Which, 0 to 3.
    pub index: usize,
    /// Whether its name is one of corners, or of centre and size; a number is of both.
    pub corners: Option<bool>,
}

/// Names of coordinates: centre and size, corners.
pub const COORDINATES: [[&str; 4]; 2] = [["x", "y", "w", "h"], ["x0", "y0", "x1", "y1"]];

impl FromStr for Coordinate {
    type Err = String;
    fn from_str(text: &str) -> Result<Coordinate, String> {
        for (corners, names) in [false, true].into_iter().zip(COORDINATES) {
            if let Some(index) = names.iter().position(|n| *n == text) {
                return Ok(Coordinate { index, corners: Some(corners) });
            }
        }
        match text.parse() {
            Ok(index @ 0..=3) => Ok(Coordinate { index, corners: None }),
            _ => Err(format!("`{text}` is no coordinate; x, y, w, h, x0, y0, x1, y1 and 0 to 3 are")),
        }
    }
}

/// How boxes stand in the outputs: B pictures, N boxes, C classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoxLayout {
    /// One output [B, 4 + C, N] (YOLOv8 and later).
    Yolo,
    /// One output [B, N, 4 + C].
    YoloRows,
    /// One output [B, N, 5 + C], with a score of the box (YOLOv5, YOLOv7, YOLOX).
    YoloV5,
    /// One output [B, N, 6]: coordinates, score, label.
    EndToEnd,
    /// Scores [B, N, C] and boxes [B, N, 4] (DETR, YOLOS).
    Detr,
    /// Boxes [N, 4], scores [N] and labels [N] (torchvision), or each with B in front.
    List,
}

impl BoxLayout {
    /// What it is to the runtime.
    pub fn reading(self) -> Reading {
        match self {
            BoxLayout::Yolo => Reading::Yolo,
            BoxLayout::YoloRows => Reading::YoloRows,
            BoxLayout::YoloV5 => Reading::YoloV5,
            BoxLayout::EndToEnd => Reading::EndToEnd,
            BoxLayout::Detr => Reading::Detr,
            BoxLayout::List => Reading::List,
        }
    }
}

/// What the four coordinates of a box are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoxFormat {
    /// Corners, in pixels of the input: left, top, right, bottom.
    Xyxy,
    /// Centre, width and height, in pixels of the input.
    Cxcywh,
    /// Corners, in fractions of the input's size.
    XyxyFractions,
    /// Centre, width and height, in fractions of the input's size.
    CxcywhFractions,
}

impl BoxFormat {
    /// What a layout has as a rule.
    pub fn of(layout: Reading) -> BoxFormat {
        match layout {
            Reading::Yolo | Reading::YoloRows | Reading::YoloV5 => BoxFormat::Cxcywh,
            Reading::EndToEnd | Reading::List => BoxFormat::Xyxy,
            Reading::Detr => BoxFormat::CxcywhFractions,
        }
    }

    /// Whether the coordinates are corners.
    pub fn corners(self) -> bool {
        matches!(self, BoxFormat::Xyxy | BoxFormat::XyxyFractions)
    }

    /// Left, top, right and bottom edge in pixels of an input of this width and height.
    pub fn edges(self, box_: [f64; 4], (width, height): (f64, f64)) -> [f64; 4] {
        let [a, b, c, d] = match self {
            BoxFormat::Xyxy | BoxFormat::Cxcywh => box_,
            BoxFormat::XyxyFractions | BoxFormat::CxcywhFractions => {
                [box_[0] * width, box_[1] * height, box_[2] * width, box_[3] * height]
            }
        };
        if self.corners() { [a, b, c, d] } else { [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0] }
    }
}

/// Which class means that there is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NoObject {
    /// The last, as in DETR and YOLOS.
    Last,
    /// None, as where scores are sigmoids.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_and_boxes() {
        assert_eq!("1, 2,3,4".parse::<Rectangle>().map(|r| r.to_string()), Ok("1,2,3,4".into()));
        for text in ["1,2,3", "1,2,3,4,5", "-1,0,3,4", "3,0,3,4", "0,4,3,2", "a,b,c,d", "0,0,1.5,2"] {
            assert!(text.parse::<Rectangle>().is_err(), "{text}");
        }
        let names =
            |text: &str| text.parse::<Boxes>().map(|b| b.0.into_iter().map(box_name).collect::<Vec<_>>());
        assert_eq!(names("7,best,3"), Ok(vec!["7".to_string(), "best".into(), "3".into()]));
        assert_eq!(names("top2").map(|n| n.join(" ")), Ok("best top2".into()));
        for text in ["", "-1", "best,top2", "0,0", "top0", "worst", "top1025"] {
            assert!(names(text).is_err(), "{text}");
        }
    }

    #[test]
    fn coordinates_and_edges() {
        assert_eq!("w".parse(), Ok(Coordinate { index: 2, corners: Some(false) }));
        assert_eq!("x1".parse(), Ok(Coordinate { index: 2, corners: Some(true) }));
        assert_eq!("3".parse(), Ok(Coordinate { index: 3, corners: None }));
        assert!("4".parse::<Coordinate>().is_err() && "z".parse::<Coordinate>().is_err());
        let size = (100.0, 50.0);
        assert_eq!(BoxFormat::Cxcywh.edges([10.0, 20.0, 4.0, 6.0], size), [8.0, 17.0, 12.0, 23.0]);
        assert_eq!(BoxFormat::CxcywhFractions.edges([0.5, 0.5, 0.5, 0.2], size), [25.0, 20.0, 75.0, 30.0]);
        assert_eq!(BoxFormat::XyxyFractions.edges([0.0, 0.5, 1.0, 1.0], size), [0.0, 25.0, 100.0, 50.0]);
        assert_eq!(BoxFormat::Xyxy.edges([1.0, 2.0, 3.0, 4.0], size), [1.0, 2.0, 3.0, 4.0]);
    }
}
