//! Coordinates of boxes, and the class that stands for the absence of an object.

use std::str::FromStr;

use dlbc_runtime::BoxLayout;

/// A coordinate of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Index of the coordinate, 0 to 3.
    pub index: usize,
    /// True for a name of a corner coordinate, false for one of centre and size; `None` for a number, which fits both.
    pub corners: Option<bool>,
}

/// Names of the coordinates: first those of centre and size, then those of corners.
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
            _ => Err("expected x, y, w, h, x0, y0, x1, y1 or 0 to 3".to_string()),
        }
    }
}

/// Meaning and unit of the four coordinates of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Returns the usual format of a layout.
    pub fn for_layout(layout: BoxLayout) -> BoxFormat {
        match layout {
            BoxLayout::Yolo | BoxLayout::YoloRows | BoxLayout::YoloV5 => BoxFormat::Cxcywh,
            BoxLayout::EndToEnd | BoxLayout::List => BoxFormat::Xyxy,
            BoxLayout::Detr => BoxFormat::CxcywhFractions,
        }
    }

    /// Returns whether the coordinates are corners.
    pub fn corners(self) -> bool {
        matches!(self, BoxFormat::Xyxy | BoxFormat::XyxyFractions)
    }

    /// Converts a box to its left, top, right and bottom edge, in pixels of an input of this width and height.
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

/// The class of a `detr` layout that stands for the absence of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoObject {
    /// The last class, as in DETR and YOLOS.
    Last,
    /// No class, as in models whose scores are sigmoids.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

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
