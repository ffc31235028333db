//! What a picture shows, as a model of scenes sees it: where its boxes are in the input and in the picture as given.

pub mod region;

use dlbc_ops::program::InputInfo;
use dlbc_runtime::{Detected, Detections, Pixels, Region, SAME_OBJECT, Target, Tensors, overlap};

use crate::detector::{BoxFormat, DetectorOutputs};
use crate::explained::Explained;
use crate::heatmap::marks::Mark;
use crate::input::{Fit, Inputs, Layout};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::scene::region::PictureInput;
use crate::wording::{number, plural, visible};

/// The most boxes that are drawn beside the explained one.
const MOST_BOXES: usize = 24;

/// Places of channels, classes and boxes, as far as a caller knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SceneOptions {
    /// Position of the channel axis of pictures.
    pub layout: Option<Layout>,
    /// Position of the class axis of masks; by default as the picture's channels.
    pub mask_layout: Option<Layout>,
    /// Score from which boxes are drawn beside the explained one; by default half of its score.
    pub score: Option<f64>,
}

impl SceneOptions {
    /// Returns whether the classes of a mask stand on its last axis.
    pub fn class_last(&self, picture: Option<PictureInput>) -> bool {
        let layout = picture.map_or(Layout::Nchw, |p| p.layout);
        self.mask_layout.unwrap_or(layout) == Layout::Nhwc
    }
}

/// Where the boxes of a detector are.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The detector, of a detection.
    found: Option<DetectorOutputs>,
    /// The input with the picture.
    input: String,
    /// The picture's way into it.
    fit: Option<Fit>,
    /// Where the classes of a mask stand.
    class_last: bool,
    /// The least score of boxes that are drawn.
    score: Option<f64>,
}

impl Scene {
    /// The scene of a run.
    pub fn new(
        found: Option<DetectorOutputs>,
        infos: &[InputInfo],
        inputs: &Inputs,
        options: &SceneOptions,
    ) -> Scene {
        let picture = PictureInput::find(infos, inputs, options.layout);
        Scene {
            found,
            input: picture.map_or("", |p| p.name).into(),
            fit: picture.map(|p| p.fit),
            class_last: options.class_last(picture),
            score: options.score,
        }
    }

    /// What is drawn over an input of a row for each target, and what that is; `None` where there is nothing.
    pub fn marks(&self, input: &str, pairs: &[(usize, &Explained)]) -> Option<(Vec<Vec<Mark>>, String)> {
        let fit = self.fit.filter(|_| input == self.input)?;
        let (_, first) = pairs.first()?;
        let scene = |e: &Explained| match e.target.target {
            Target::Box(_) => self.found.is_some(),
            Target::Pixels(_) => true,
            Target::Above(_) => e.explanation.seed.dims().len() == 4,
            _ => false,
        };
        if !scene(first) {
            return None;
        }
        let Some(found) = &self.found else {
            let marks = pairs.iter().map(|(row, e)| self.pixels(*row, e, fit));
            return Some((marks.collect(), "explained in green".into()));
        };
        let read = Detections::read(&first.explanation.outputs, &found.detector).ok()?;
        let least = self.score.unwrap_or_else(|| {
            let scores = pairs.iter().filter_map(|(row, e)| Some(e.explanation.boxes.get(*row)?.score));
            let least = scores.fold(f64::INFINITY, f64::min);
            if least > 0.0 { least / 2.0 } else { least }
        });
        let marks = pairs.iter().map(|(row, e)| self.boxes(*row, e, &read, least));
        Some((marks.collect(), format!("boxes from {}", number(least, 3))))
    }

    /// The explained box of a row, and the others of at least this score that do not overlap a better one.
    fn boxes(&self, row: usize, explained: &Explained, read: &Detections, least: f64) -> Vec<Mark> {
        let Some(own) = explained.explanation.boxes.get(row) else { return vec![] };
        let mut others: Vec<Detected> =
            read.boxes(row).filter(|b| b.score >= least && b.number != own.number).collect();
        others.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut drawn: Vec<([f64; 4], Detected)> = vec![];
        for detected in [*own].into_iter().chain(others) {
            let Some((edges, _)) = self.edges(&detected) else { continue };
            if drawn.len() <= MOST_BOXES && drawn.iter().all(|(e, _)| overlap(*e, edges) <= SAME_OBJECT) {
                drawn.push((edges, detected));
            }
        }
        let mark = |(edges, detected): ([f64; 4], Detected)| {
            let own = detected.number == own.number;
            let class = if own { "class " } else { "" };
            let title = explained.classes.class_title(detected.class);
            let label = format!("{class}{title}: {}", number(detected.score, 2));
            Mark::Box { edges, label, own }
        };
        drawn.into_iter().map(mark).collect()
    }

    /// The pixels that start in a row, and the region.
    fn pixels(&self, row: usize, explained: &Explained, fit: Fit) -> Vec<Mark> {
        let seed = &explained.explanation.seed;
        let (classes, height, width) = match (seed.dims(), self.class_last) {
            ([_, h, w], _) => (1, *h, *w),
            ([_, c, h, w], false) => (*c, *h, *w),
            ([_, h, w, c], true) => (*c, *h, *w),
            _ => return vec![],
        };
        let values = seed.to_f32();
        let own = values.chunks(classes * height * width).nth(row).unwrap_or_default();
        let place = |class: usize, pixel: usize| match self.class_last {
            true => pixel * classes + class,
            false => class * height * width + pixel,
        };
        let starts =
            |pixel| (0..classes).any(|class| own.get(place(class, pixel)).is_some_and(|v| *v != 0.0));
        let inside = (0..height * width).map(starts).collect();
        let mut marks = vec![Mark::Mask { inside, width }];
        if let Target::Pixels(Pixels { region: Some(region), .. }) = explained.target.target {
            let (across, down) = (f64::from(fit.input.0), f64::from(fit.input.1));
            let Region { left, top, right, bottom } = region;
            marks.push(Mark::Region([left * across, top * down, right * across, bottom * down]));
        }
        marks
    }

    /// Left, top, right and bottom edge of a box, in pixels of the input and of the picture as given.
    pub fn edges(&self, detected: &Detected) -> Option<([f64; 4], [f64; 4])> {
        let (found, fit) = (self.found.as_ref()?, self.fit?);
        let size = (f64::from(fit.input.0), f64::from(fit.input.1));
        let input = found.format.edges(detected.coordinates, size);
        Some((input, fit.to_picture(input)))
    }

    /// Says how the outputs were read where no flag did.
    pub fn note(&self, outputs: &Tensors, notes: &dyn Notes) {
        let Some(found) = self.found.as_ref().filter(|f| !f.from_hints) else { return };
        let Ok(read) = Detections::read(outputs, &found.detector) else { return };
        let classes = if found.detector.labels.is_some() {
            String::new()
        } else {
            let last = if read.no_object() { ", the last for no object" } else { "" };
            format!(" of {}{last}", plural(read.classes(), "class"))
        };
        let format = match found.format {
            BoxFormat::Xyxy => "corners in pixels",
            BoxFormat::Cxcywh => "centre and size in pixels",
            BoxFormat::XyxyFractions => "corners in fractions",
            BoxFormat::CxcywhFractions => "centre and size in fractions",
        };
        let output = visible(&found.detector.scores);
        let text = format!("output `{output}` is read as {}{classes}, {format}", plural(read.count(), "box"));
        notes.note_with(text, Remedy::BoxLayout(Some(read.layout().name())));
    }
}
