//! Flags of segmentation and detection targets.

use std::str::FromStr;

use clap::Args;
use dlbc_runtime::{BoxLayout, BoxSelector};

use super::values::finite;
use super::words::word;
use dlbc::detector::{BoxFormat, Coordinate, NoObject};
use dlbc::input::Layout;
use dlbc::scene::region::Rectangle;

/// Targets of a segmentation or a detection.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Segmentation and detection")]
pub struct SceneArgs {
    /// Class of the pixels or the box, by index or name; several separated by commas [default for pixels: the class that wins most
    /// of them, the first class only if no other wins any; for a box: its best class].
    #[arg(long, value_name = "C,...", value_delimiter = ',', allow_hyphen_values = true)]
    pub class: Vec<String>,
    /// Explain only the mask's pixels within this rectangle: left, top, right and bottom edge in pixels of the picture file
    /// (of the input if it does not come from a file).
    #[arg(long, value_name = "X0,Y0,X1,Y1")]
    pub region: Option<Rectangle>,
    /// Position of a mask's class axis [default: that of the picture's channels, `--layout`].
    #[arg(long, value_parser = word::<Layout>(), value_name = "LAYOUT")]
    pub mask_layout: Option<Layout>,
    /// Box to explain: best (the largest score, for `--class` if it is set), topK, or a number; several separated by commas.
    #[arg(long = "box", value_name = "BOX,...")]
    pub boxes: Option<Boxes>,
    /// Coordinate of the box to explain instead of its score: x, y (of the centre), w, h, or x0, y0, x1, y1, or 0 to 3.
    #[arg(long, value_name = "COORDINATE")]
    pub coordinate: Option<Coordinate>,
    /// Layout of the boxes in the outputs [default: derived from their shapes, refused if these are ambiguous].
    #[arg(long, value_parser = word::<BoxLayout>(), value_name = "LAYOUT")]
    pub box_layout: Option<BoxLayout>,
    /// Outputs with boxes, scores and labels, for a model that has further outputs.
    #[arg(long, value_name = "BOXES,SCORES[,LABELS]", value_delimiter = ',')]
    pub box_outputs: Vec<String>,
    /// Meaning of the four coordinates of a box [default: the usual one of the layout].
    #[arg(long, value_parser = word::<BoxFormat>(), value_name = "FORMAT")]
    pub box_format: Option<BoxFormat>,
    /// Class of a `detr` layout that means "no object" [default: last].
    #[arg(long, value_parser = word::<NoObject>(), value_name = "CLASS")]
    pub no_object: Option<NoObject>,
    /// Draw boxes with at least this score beside the explained one [default: half of its score].
    #[arg(long, value_name = "F", value_parser = finite, allow_hyphen_values = true, requires = "heatmap")]
    pub box_score: Option<f64>,
}

impl SceneArgs {
    /// Returns the flags on the command line that apply to detections only.
    pub fn detection_flags(&self) -> Vec<&'static str> {
        let flags = [
            ("--coordinate", self.coordinate.is_some()),
            ("--box-layout", self.box_layout.is_some()),
            ("--box-outputs", !self.box_outputs.is_empty()),
            ("--box-format", self.box_format.is_some()),
            ("--no-object", self.no_object.is_some()),
            ("--box-score", self.box_score.is_some()),
        ];
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect()
    }

    /// Returns the flags on the command line that apply to segmentations only.
    pub fn segmentation_flags(&self) -> Vec<&'static str> {
        let flags = [("--region", self.region.is_some()), ("--mask-layout", self.mask_layout.is_some())];
        flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).collect()
    }
}

/// Distinct boxes of a detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boxes(pub Vec<BoxSelector>);

/// Maximum number of boxes that one run explains.
const MAX_BOXES: usize = 1024;

impl FromStr for Boxes {
    type Err = String;
    fn from_str(text: &str) -> Result<Boxes, String> {
        let mut boxes = vec![];
        for item in text.split(',') {
            let top = item.strip_prefix("top").and_then(|k| k.parse().ok());
            let item_boxes = match (item, top, item.parse()) {
                ("best", ..) => vec![BoxSelector::Rank(0)],
                (_, Some(k @ 1..=MAX_BOXES), _) => (0..k).map(BoxSelector::Rank).collect(),
                (_, None, Ok(number)) => vec![BoxSelector::Index(number)],
                _ => return Err(format!("invalid box `{item}`: expected best, topK or a number")),
            };
            for selector in item_boxes {
                if boxes.contains(&selector) {
                    return Err(format!("box `{}` is given twice", box_name(selector)));
                }
                boxes.push(selector);
            }
        }
        if boxes.len() > MAX_BOXES {
            return Err(format!("expected at most {MAX_BOXES} boxes, found {}", boxes.len()));
        }
        Ok(Boxes(boxes))
    }
}

/// Returns a box as it is written on the command line.
pub fn box_name(selector: BoxSelector) -> String {
    match selector {
        BoxSelector::Rank(0) => "best".into(),
        BoxSelector::Rank(rank) => format!("top{}", rank + 1),
        BoxSelector::Index(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes() {
        let names =
            |text: &str| text.parse::<Boxes>().map(|b| b.0.into_iter().map(box_name).collect::<Vec<_>>());
        assert_eq!(names("7,best,3"), Ok(vec!["7".to_string(), "best".into(), "3".into()]));
        assert_eq!(names("top2").map(|n| n.join(" ")), Ok("best top2".into()));
        for text in ["", "-1", "best,top2", "0,0", "top0", "worst", "top1025"] {
            assert!(names(text).is_err(), "{text}");
        }
    }
}
