//! The metrics by name, and which way is better.

use std::fmt;
use std::str::FromStr;

use crate::nearest::suggested;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Area under the target's probability while features are replaced, most relevant first (pixel flipping) \[bach2015\].
    Morf,
    /// The same, least relevant first.
    Lerf,
    /// Area between both curves.
    Gap,
    /// Mean drop of the probability while patches are replaced, most relevant first \[samek2017\].
    RegionPerturbation,
    /// Area under the probability while features are inserted, most relevant first \[petsiuk2018\].
    Insertion,
    /// Area under the probability while features are deleted, most relevant first, with the untouched input.
    Deletion,
    /// Correlation of the relevance of random subsets with what the output loses without them \[bhatt2020\].
    FaithfulnessCorrelation,
    /// Greatest relative change of the relevance under noise of the input \[yeh2019\].
    MaxSensitivity,
    /// Gini index of the magnitudes \[chalasani2020\].
    Sparseness,
    /// Entropy of the magnitudes, in nats \[bhatt2020\].
    Complexity,
    /// Share of the most relevant features that lie in the mask, as many as it has \[arras2022\].
    RankAccuracy,
    /// Share of the relevance in the mask \[arras2022\].
    MassAccuracy,
    /// Whether the most relevant feature lies in the mask \[zhang2018\].
    PointingGame,
    /// Structural similarity to the relevance for a random other unit \[sixt2020\].
    RandomLogit,
    /// Rank correlation with the relevance after all weights are randomised from the output on \[adebayo2018\].
    Randomisation,
    /// Share of the starting relevance that reaches the inputs.
    Conservation,
}

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Greater.
    Higher,
    /// Less.
    Lower,
    /// Neither: it describes.
    Neither,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 16] = [
        Metric::Morf,
        Metric::Lerf,
        Metric::Gap,
        Metric::RegionPerturbation,
        Metric::Insertion,
        Metric::Deletion,
        Metric::FaithfulnessCorrelation,
        Metric::MaxSensitivity,
        Metric::Sparseness,
        Metric::Complexity,
        Metric::RankAccuracy,
        Metric::MassAccuracy,
        Metric::PointingGame,
        Metric::RandomLogit,
        Metric::Randomisation,
        Metric::Conservation,
    ];

    /// Name of the metric, as `region-perturbation`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Morf => "morf",
            Metric::Lerf => "lerf",
            Metric::Gap => "gap",
            Metric::RegionPerturbation => "region-perturbation",
            Metric::Insertion => "insertion",
            Metric::Deletion => "deletion",
            Metric::FaithfulnessCorrelation => "faithfulness-correlation",
            Metric::MaxSensitivity => "max-sensitivity",
            Metric::Sparseness => "sparseness",
            Metric::Complexity => "complexity",
            Metric::RankAccuracy => "rank-accuracy",
            Metric::MassAccuracy => "mass-accuracy",
            Metric::PointingGame => "pointing-game",
            Metric::RandomLogit => "random-logit",
            Metric::Randomisation => "randomisation",
            Metric::Conservation => "conservation",
        }
    }

    /// The column of the table.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Morf => "MoRF",
            Metric::Lerf => "LeRF",
            Metric::Gap => "gap",
            Metric::RegionPerturbation => "region",
            Metric::Insertion => "insertion",
            Metric::Deletion => "deletion",
            Metric::FaithfulnessCorrelation => "faith corr",
            Metric::MaxSensitivity => "max sens",
            Metric::Sparseness => "Gini",
            Metric::Complexity => "entropy",
            Metric::RankAccuracy => "rank acc",
            Metric::MassAccuracy => "mass acc",
            Metric::PointingGame => "pointing",
            Metric::RandomLogit => "rand logit",
            Metric::Randomisation => "rand weights",
            Metric::Conservation => "conserved",
        }
    }

    /// Whether it is the area under a curve, or the mean of one.
    pub fn has_curve(self) -> bool {
        matches!(
            self,
            Metric::Morf
                | Metric::Lerf
                | Metric::Gap
                | Metric::RegionPerturbation
                | Metric::Insertion
                | Metric::Deletion
        )
    }

    /// Returns whether a random map shows the level of chance: it does for faithfulness and localisation.
    pub fn has_chance_level(self) -> bool {
        match self {
            Metric::Morf
            | Metric::Lerf
            | Metric::Gap
            | Metric::RegionPerturbation
            | Metric::Insertion
            | Metric::Deletion
            | Metric::FaithfulnessCorrelation
            | Metric::RankAccuracy
            | Metric::MassAccuracy
            | Metric::PointingGame => true,
            Metric::MaxSensitivity
            | Metric::Sparseness
            | Metric::Complexity
            | Metric::RandomLogit
            | Metric::Randomisation
            | Metric::Conservation => false,
        }
    }

    /// Which way is better.
    pub fn better(self) -> Better {
        match self {
            Metric::Lerf
            | Metric::Gap
            | Metric::RegionPerturbation
            | Metric::Insertion
            | Metric::FaithfulnessCorrelation
            | Metric::Sparseness
            | Metric::RankAccuracy
            | Metric::MassAccuracy
            | Metric::PointingGame => Better::Higher,
            Metric::Morf
            | Metric::Deletion
            | Metric::MaxSensitivity
            | Metric::Complexity
            | Metric::RandomLogit
            | Metric::Randomisation => Better::Lower,
            Metric::Conservation => Better::Neither,
        }
    }
}

impl Better {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
            Better::Neither => "neither",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;
    fn from_str(text: &str) -> Result<Metric, String> {
        Metric::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| {
            let quoted = Metric::ALL.map(|m| format!("`{m}`"));
            let expected = format!("unknown metric `{text}`: expected {}", quoted.join(", "));
            suggested(&expected, text, Metric::ALL.map(Metric::name))
        })
    }
}
