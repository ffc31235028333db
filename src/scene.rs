//! What a picture shows, as a model of scenes sees it: where its boxes are in the input and in the picture as given.

use dlbc_ops::program::InputInfo;
use dlbc_runtime::{Detected, Detections, Tensors};

use crate::args::{BoxFormat, Layout};
use crate::detector::Found;
use crate::input::{Fit, Inputs};
use crate::region;
use crate::terminal::{Console, plural, visible};

/// Where the boxes of a detector are.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The detector, of a detection.
    pub found: Option<Found>,
    /// The picture's way into the input.
    pub fit: Option<Fit>,
}

impl Scene {
    /// That of a run.
    pub fn new(found: Option<Found>, infos: &[InputInfo], inputs: &Inputs, layout: Layout) -> Scene {
        Scene { found, fit: region::fit(infos, inputs, layout).map(|(_, fit)| fit) }
    }

    /// Left, top, right and bottom edge of a box, in pixels of the input and of the picture as given.
    pub fn edges(&self, detected: &Detected) -> Option<([f64; 4], [f64; 4])> {
        let (found, fit) = (self.found.as_ref()?, self.fit?);
        let size = (f64::from(fit.input.0), f64::from(fit.input.1));
        let input = found.format.edges(detected.coordinates, size);
        Some((input, fit.to_picture(input)))
    }

    /// Says how the outputs were read where no flag did.
    pub fn note(&self, outputs: &Tensors, console: Console) {
        let Some(found) = self.found.as_ref().filter(|f| !f.given) else { return };
        let Ok(read) = Detections::read(outputs, &found.detector) else { return };
        let classes = if found.detector.labels.is_some() {
            String::new()
        } else {
            let last = if read.no_object() {
                ", the last for no object (`--no-object none` if it is one)"
            } else {
                ""
            };
            format!(" of {}{last}", plural(read.classes(), "class"))
        };
        let format = match found.format {
            BoxFormat::Xyxy => "corners in pixels",
            BoxFormat::Cxcywh => "centre and size in pixels",
            BoxFormat::XyxyFractions => "corners in fractions",
            BoxFormat::CxcywhFractions => "centre and size in fractions",
        };
        console.note(format!(
            "output `{}`: {}{classes}, {format} (`--box-layout {}`)",
            visible(&found.detector.scores),
            plural(read.count(), "box"),
            read.layout().name()
        ));
    }
}
