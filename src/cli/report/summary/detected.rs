//! What a summary says of a box.

use serde::Serialize;

use dlbc::classes::Classes;
use dlbc::scene::Scene;
use dlbc::wording::number;

/// The box that a row explains.
#[derive(Clone, Serialize)]
pub struct Detected {
    #[serde(rename = "box")]
    number: usize,
    class: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_name: Option<String>,
    score: f64,
    coordinates: [f64; 4],
    /// Left, top, right and bottom edge in pixels of the picture as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<[f64; 4]>,
}

impl Detected {
    /// A box, and where it is in the picture.
    pub fn new(found: &dlbc_runtime::Detected, scene: &Scene, classes: &Classes) -> Detected {
        Detected {
            number: found.number,
            class: found.class,
            class_name: classes.class_name(found.class).map(str::to_string),
            score: found.score,
            coordinates: found.coordinates,
            edges: scene.edges(found).map(|(_, picture)| picture),
        }
    }

    /// As it stands in a line.
    pub fn text(&self) -> String {
        let edges = self.edges.map(|e| e.map(|v| number(v, 4)).join(", "));
        let at = edges.map(|e| format!(" at [{e}]")).unwrap_or_default();
        let name = self.class_name.as_ref().map(|n| format!(" {n}")).unwrap_or_default();
        format!("box {}, class {}{name}, score {}{at}", self.number, self.class, number(self.score, 4))
    }
}
