//! What is explained of a segmentation or a detection.

use std::str::FromStr;

use clap::Args;
use dlbc_runtime::{BoxLayout, WhichBox};

use super::values::finite;
use super::words::word;
use dlbc::detector::{BoxFormat, Coordinate, NoObject};
use dlbc::input::Layout;
use dlbc::scene::region::Rectangle;

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
    #[arg(long, value_parser = word::<Layout>(), value_name = "LAYOUT")]
    pub mask_layout: Option<Layout>,
    /// Which box: best (the greatest score, of the class if one is given), topK, a number; several separated by commas.
    #[arg(long = "box", value_name = "BOX,...")]
    pub boxes: Option<Boxes>,
    /// A coordinate of the box instead of its score: x, y (of the centre), w, h, or x0, y0, x1, y1, or 0 to 3.
    #[arg(long, value_name = "COORDINATE")]
    pub coordinate: Option<Coordinate>,
    /// How boxes stand in the outputs [default: as their shapes say, refused where that is not certain].
    #[arg(long, value_parser = word::<BoxLayout>(), value_name = "LAYOUT")]
    pub box_layout: Option<BoxLayout>,
    /// The outputs with boxes, scores and labels, where there are others too.
    #[arg(long, value_name = "BOXES,SCORES[,LABELS]", value_delimiter = ',')]
    pub box_outputs: Vec<String>,
    /// What the four coordinates of a box are [default: what the layout has as a rule].
    #[arg(long, value_parser = word::<BoxFormat>(), value_name = "FORMAT")]
    pub box_format: Option<BoxFormat>,
    /// Whether the last class of a `detr` layout means that there is no object [default: last].
    #[arg(long, value_parser = word::<NoObject>(), value_name = "CLASS")]
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
                _ => return Err(format!("invalid box `{item}`: expected best, topK or a number")),
            };
            for found in found {
                if boxes.contains(&found) {
                    return Err(format!("box `{}` is given twice", box_name(found)));
                }
                boxes.push(found);
            }
        }
        if boxes.len() > MOST_BOXES {
            return Err(format!("expected at most {MOST_BOXES} boxes, found {}", boxes.len()));
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
