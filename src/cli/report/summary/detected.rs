//! Summary of a detected box.

use serde::Serialize;

use dlbc::classes::Classes;
use dlbc::scene::Scene;
use dlbc::wording::number;

/// Box that a row explains.
#[derive(Clone, Serialize)]
pub struct Detected {
    #[serde(rename = "box")]
    number: usize,
    class: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_name: Option<String>,
    score: f64,
    coordinates: [f64; 4],
    /// Left, top, right and bottom edge in pixels of the picture file.
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<[f64; 4]>,
}

impl Detected {
    /// Creates the summary of a box; `scene` maps it to the picture.
    pub fn new(detected: &dlbc_runtime::Detected, scene: &Scene, classes: &Classes) -> Detected {
        Detected {
            number: detected.index,
            class: detected.class,
            class_name: classes.class_name(detected.class).map(str::to_string),
            score: detected.score,
            coordinates: detected.coordinates,
            edges: scene.edges(detected).map(|(_, picture)| picture),
        }
    }

    /// Formats the box for one line.
    pub fn text(&self) -> String {
        let edges = self.edges.map(|e| e.map(|v| number(v, 4)).join(", "));
        let edges = edges.map(|e| format!(" at [{e}]")).unwrap_or_default();
        let name = self.class_name.as_ref().map(|n| format!(" {n}")).unwrap_or_default();
        format!("box {}, class {}{name}, score {}{edges}", self.number, self.class, number(self.score, 4))
    }
}
