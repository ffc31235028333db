//! Scene of a detector or segmentation model: positions of boxes and masks in the input and in the original picture.

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

/// Largest number of boxes that are drawn beside the explained one.
const MOST_BOXES: usize = 24;

/// Layout of pictures and masks, and the score of drawn boxes; unset fields are derived from the model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SceneOptions {
    /// Position of the channel axis of pictures.
    pub layout: Option<Layout>,
    /// Position of the class axis of masks; by default as the picture's channels.
    pub mask_layout: Option<Layout>,
    /// Smallest score of boxes that are drawn beside the explained one; by default half of its score.
    pub score: Option<f64>,
}

impl SceneOptions {
    /// Returns whether the classes of a mask are on its last axis.
    pub fn class_last(&self, picture: Option<PictureInput>) -> bool {
        let layout = picture.map_or(Layout::Nchw, |p| p.layout);
        self.mask_layout.unwrap_or(layout) == Layout::Nhwc
    }
}

/// Scene of a run: the detector's outputs and the map between picture and input.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Outputs of the detector; `None` for other models.
    detector: Option<DetectorOutputs>,
    /// Name of the picture input; empty if the model has none.
    input: String,
    /// Map from pixels of the picture to those of the input.
    fit: Option<Fit>,
    /// True if the classes of a mask are on its last axis.
    class_last: bool,
    /// Smallest score of drawn boxes.
    score: Option<f64>,
}

impl Scene {
    /// Creates the scene of a run.
    pub fn new(
        detector: Option<DetectorOutputs>,
        infos: &[InputInfo],
        inputs: &Inputs,
        options: &SceneOptions,
    ) -> Scene {
        let picture = PictureInput::find(infos, inputs, options.layout);
        Scene {
            detector,
            input: picture.map_or("", |p| p.name).into(),
            fit: picture.map(|p| p.fit),
            class_last: options.class_last(picture),
            score: options.score,
        }
    }

    /// Returns the marks of each pair of row and target over an input, and their legend; `None` if the input has no marks.
    pub fn marks(&self, input: &str, pairs: &[(usize, &Explained)]) -> Option<(Vec<Vec<Mark>>, String)> {
        let fit = self.fit.filter(|_| input == self.input)?;
        let (_, first) = pairs.first()?;
        let scene = |e: &Explained| match e.target.target {
            Target::Box(_) => self.detector.is_some(),
            Target::Pixels(_) => true,
            Target::Above(_) => e.explanation.seed.dims().len() == 4,
            _ => false,
        };
        if !scene(first) {
            return None;
        }
        let Some(outputs) = &self.detector else {
            let marks = pairs.iter().map(|(row, e)| self.pixels(*row, e, fit));
            return Some((marks.collect(), "explained in green".into()));
        };
        let read = Detections::read(&first.explanation.outputs, &outputs.detector).ok()?;
        let min_score = self.score.unwrap_or_else(|| {
            let scores = pairs.iter().filter_map(|(row, e)| Some(e.explanation.boxes.get(*row)?.score));
            let lowest = scores.fold(f64::INFINITY, f64::min);
            if lowest > 0.0 { lowest / 2.0 } else { lowest }
        });
        let marks = pairs.iter().map(|(row, e)| self.boxes(*row, e, &read, min_score));
        Some((marks.collect(), format!("boxes from {}", number(min_score, 3))))
    }

    /// Returns the explained box of a row, and the others of at least `min_score` that do not overlap a better one.
    fn boxes(&self, row: usize, explained: &Explained, read: &Detections, min_score: f64) -> Vec<Mark> {
        let Some(target) = explained.explanation.boxes.get(row) else { return vec![] };
        let mut others: Vec<Detected> =
            read.boxes(row).filter(|b| b.score >= min_score && b.index != target.index).collect();
        others.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut drawn: Vec<([f64; 4], Detected)> = vec![];
        for detected in [*target].into_iter().chain(others) {
            let Some((edges, _)) = self.edges(&detected) else { continue };
            if drawn.len() <= MOST_BOXES && drawn.iter().all(|(e, _)| overlap(*e, edges) <= SAME_OBJECT) {
                drawn.push((edges, detected));
            }
        }
        let mark = |(edges, detected): ([f64; 4], Detected)| {
            let is_target = detected.index == target.index;
            let class = if is_target { "class " } else { "" };
            let title = explained.classes.class_title(detected.class);
            let label = format!("{class}{title}: {}", number(detected.score, 2));
            Mark::Box { edges, label, explained: is_target }
        };
        drawn.into_iter().map(mark).collect()
    }

    /// Returns the mask of the explained pixels of a row, and the region.
    fn pixels(&self, row: usize, explained: &Explained, fit: Fit) -> Vec<Mark> {
        let seed = &explained.explanation.seed;
        let (classes, height, width) = match (seed.dims(), self.class_last) {
            ([_, h, w], _) => (1, *h, *w),
            ([_, c, h, w], false) => (*c, *h, *w),
            ([_, h, w, c], true) => (*c, *h, *w),
            _ => return vec![],
        };
        let values = seed.to_f32();
        let seed_row = values.chunks(classes * height * width).nth(row).unwrap_or_default();
        let index = |class: usize, pixel: usize| match self.class_last {
            true => pixel * classes + class,
            false => class * height * width + pixel,
        };
        let starts =
            |pixel| (0..classes).any(|class| seed_row.get(index(class, pixel)).is_some_and(|v| *v != 0.0));
        let inside = (0..height * width).map(starts).collect();
        let mut marks = vec![Mark::Mask { inside, width }];
        if let Target::Pixels(Pixels { region: Some(region), .. }) = explained.target.target {
            let (across, down) = (f64::from(fit.input.0), f64::from(fit.input.1));
            let Region { left, top, right, bottom } = region;
            marks.push(Mark::Region([left * across, top * down, right * across, bottom * down]));
        }
        marks
    }

    /// Returns left, top, right and bottom edge of a box, in pixels of the input and of the original picture.
    pub fn edges(&self, detected: &Detected) -> Option<([f64; 4], [f64; 4])> {
        let (outputs, fit) = (self.detector.as_ref()?, self.fit?);
        let size = (f64::from(fit.input.0), f64::from(fit.input.1));
        let input = outputs.format.edges(detected.coordinates, size);
        Some((input, fit.to_picture(input)))
    }

    /// Notes the layout that the outputs were read with, unless flags set it.
    pub fn note(&self, outputs: &Tensors, notes: &dyn Notes) {
        let Some(detector_outputs) = self.detector.as_ref().filter(|d| !d.from_hints) else { return };
        let Ok(read) = Detections::read(outputs, &detector_outputs.detector) else { return };
        let classes = if detector_outputs.detector.labels.is_some() {
            String::new()
        } else {
            let last = if read.no_object() { ", the last for no object" } else { "" };
            format!(" of {}{last}", plural(read.classes(), "class"))
        };
        let format = match detector_outputs.format {
            BoxFormat::Xyxy => "corners in pixels",
            BoxFormat::Cxcywh => "centre and size in pixels",
            BoxFormat::XyxyFractions => "corners in fractions",
            BoxFormat::CxcywhFractions => "centre and size in fractions",
        };
        let output = visible(&detector_outputs.detector.scores);
        let text = format!("output `{output}` is read as {}{classes}, {format}", plural(read.count(), "box"));
        notes.note_with(text, Remedy::BoxLayout(Some(read.layout().name())));
    }
}
