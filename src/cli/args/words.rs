//! Flags that take one of several words: each word with its value and its line of help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use dlbc_runtime::{BoxLayout, SeedValue, Task};

use dlbc::detector::{BoxFormat, NoObject};
use dlbc::eval::Metric;
use dlbc::heatmap::Colors;
use dlbc::input::{Channels, Layout, Preset, Resize};

/// A word of a flag.
pub struct Word<T> {
    /// Value that the word stands for.
    pub value: T,
    /// Spelling on the command line.
    pub name: &'static str,
    /// Other spellings, which the help does not show.
    pub aliases: &'static [&'static str],
    /// Line of help.
    pub help: &'static str,
}

/// A type whose values are words of a flag.
pub trait Words: Copy + Send + Sync + 'static {
    /// The words, in the order of the help.
    const WORDS: &'static [Word<Self>];
}

/// Returns a parser for the words of `T`.
pub fn word<T: Words>() -> impl TypedValueParser<Value = T> {
    let possible = |w: &Word<T>| PossibleValue::new(w.name).aliases(w.aliases).help(w.help);
    let words: Vec<PossibleValue> = T::WORDS.iter().map(possible).collect();
    PossibleValuesParser::from(words).try_map(|name| {
        let word = T::WORDS.iter().find(|w| w.name == name || w.aliases.contains(&name.as_str()));
        word.map(|w| w.value).ok_or("unknown word")
    })
}

macro_rules! words {
    ($type:ty { $($value:ident $name:literal $(| $alias:literal)* $help:literal,)* }) => {
        impl Words for $type {
            const WORDS: &'static [Word<$type>] = &[$(
                Word { value: <$type>::$value, name: $name, aliases: &[$($alias),*], help: $help },
            )*];
        }
    };
}

words!(Channels {
    Rgb "rgb" "Red first",
    Bgr "bgr" "Blue first",
});

words!(Layout {
    Nchw "nchw" "Channels before rows",
    Nhwc "nhwc" "Channels last",
});

words!(Resize {
    Crop "crop" "The shorter side fits, the centre stays",
    Stretch "stretch" "Both sides fit",
    Pad "pad" "The longer side fits, grey (114 of 255) is added at both sides, as YOLO models are trained",
});

words!(Preset {
    Imagenet "imagenet" "ImageNet's mean and deviation over 0..1, RGB, the centre: torchvision, timm",
    Yolo "yolo" "Pixels in 0..1 as they are, RGB, padded: ultralytics' YOLO",
    Caffe "caffe" "Pixels in 0..255 less ImageNet's mean, BGR, stretched: Caffe's models and their conversions, Keras' VGG and ResNet",
    Clip "clip" "CLIP's mean and deviation over 0..1, RGB, the centre",
    MinusOneOne "minus-one-one" "Pixels in -1..1, RGB, stretched: Keras' MobileNet and Inception, ViT",
});

words!(Colors {
    BlueRed "blue-red" "Blue to red",
    PurpleOrange "purple-orange" "Purple to orange, for every kind of colour vision",
});

words!(BoxFormat {
    Xyxy "xyxy" "Corners, in pixels of the input: left, top, right, bottom",
    Cxcywh "cxcywh" "Centre, width and height, in pixels of the input",
    XyxyFractions "xyxy-fractions" "Corners, in fractions of the input's size",
    CxcywhFractions "cxcywh-fractions" "Centre, width and height, in fractions of the input's size",
});

words!(NoObject {
    Last "last" "The last, as in DETR and YOLOS",
    None "none" "None, as where scores are sigmoids",
});

words!(BoxLayout {
    Yolo "yolo" "One output [B, 4 + C, N] (YOLOv8 and later)",
    YoloRows "yolo-rows" "One output [B, N, 4 + C]",
    YoloV5 "yolo-v5" "One output [B, N, 5 + C], with a score of the box (YOLOv5, YOLOv7, YOLOX)",
    EndToEnd "end-to-end" "One output [B, N, 6]: coordinates, score, label",
    Detr "detr" "Scores [B, N, C] and boxes [B, N, 4] (DETR, YOLOS)",
    List "list" "Boxes [N, 4], scores [N] and labels [N] (torchvision), or each with B in front",
});

words!(SeedValue {
    One "one" "One, times the multiplier",
    Value "value" "Its own value; the multiplier is ignored",
});

words!(Task {
    BinaryClassification "binary-classification" | "binary" "One unit, or one of two classes: [batch, unit]",
    MultiClass "multi-class" | "multi-class-classification" "One unit a class: [batch, unit]",
    BboxRegression "bbox-regression" "Coordinates: [batch, unit]; all of them unless `--target` says otherwise",
    BinarySegmentation "binary-segmentation" "A value for each pixel: [batch, channel, row, column]; those above `--threshold`",
    Segmentation "segmentation" "A value for each pixel and class: [batch, class, row, column], or [batch, row, column]; the pixels of `--class`, within `--region`",
    Detection "detection" "Boxes with scores; the score of `--box` for `--class`, or its `--coordinate`",
    Generation "generation" "One unit a token: [batch, position, unit]",
});

words!(Metric {
    Morf "morf" "Area under the target's probability while features are replaced, most relevant first (pixel flipping) [bach2015]",
    Lerf "lerf" "The same, least relevant first",
    Gap "gap" "Area between both curves",
    RegionPerturbation "region-perturbation" "Mean drop of the probability while patches are replaced, most relevant first [samek2017]",
    Insertion "insertion" "Area under the probability while features are inserted, most relevant first [petsiuk2018]",
    Deletion "deletion" "Area under the probability while features are deleted, most relevant first, with the untouched input",
    FaithfulnessCorrelation "faithfulness-correlation" "Correlation of the relevance of random subsets with what the output loses without them [bhatt2020]",
    MaxSensitivity "max-sensitivity" "Largest relative change of the relevance under noise of the input [yeh2019]",
    Sparseness "sparseness" "Gini index of the magnitudes [chalasani2020]",
    Complexity "complexity" "Entropy of the magnitudes, in nats [bhatt2020]",
    RankAccuracy "rank-accuracy" "Share of the most relevant features that lie in the mask, as many as it has [arras2022]",
    MassAccuracy "mass-accuracy" "Share of the relevance in the mask [arras2022]",
    PointingGame "pointing-game" "1 if the most relevant feature lies in the mask, else 0 [zhang2018]",
    RandomLogit "random-logit" "Structural similarity to the relevance for a random other unit [sixt2020]",
    Randomisation "randomisation" "Rank correlation with the relevance after all weights are randomised from the output on [adebayo2018]",
    Conservation "conservation" "Share of the starting relevance that reaches the inputs",
});
