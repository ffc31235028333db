//! Metrics by name, and the direction in which each is better.

use std::fmt;
use std::str::FromStr;

use crate::nearest::suggested;

/// Metric of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Area under the target's probability while features are replaced, most relevant first (pixel flipping) \[bach2015\].
    Morf,
    /// Area under the same curve with the least relevant features replaced first.
    Lerf,
    /// Area between the LeRF and the MoRF curve.
    Gap,
    /// Mean drop of the probability while patches are replaced, most relevant first \[samek2017\].
    RegionPerturbation,
    /// Area under the probability while features are inserted, most relevant first \[petsiuk2018\].
    Insertion,
    /// Area under the probability while features are deleted, most relevant first, with the untouched input.
    Deletion,
    /// Correlation of the relevance of random subsets with what the output loses without them \[bhatt2020\].
    FaithfulnessCorrelation,
    /// Largest relative change of the relevance under noise of the input \[yeh2019\].
    MaxSensitivity,
    /// Gini index of the magnitudes \[chalasani2020\].
    Sparseness,
    /// Entropy of the magnitudes, in nats \[bhatt2020\].
    Complexity,
    /// Share of the most relevant features that lie in the mask, as many as it has \[arras2022\].
    RankAccuracy,
    /// Share of the relevance in the mask \[arras2022\].
    MassAccuracy,
    /// 1 if the most relevant feature lies in the mask, else 0 \[zhang2018\].
    PointingGame,
    /// Structural similarity to the relevance for a random other unit \[sixt2020\].
    RandomLogit,
    /// Rank correlation with the relevance after all weights are randomised from the output on \[adebayo2018\].
    Randomisation,
    /// Share of the starting relevance that reaches the inputs.
    Conservation,
}

/// Direction in which a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Larger values are better.
    Higher,
    /// Smaller values are better.
    Lower,
    /// The metric describes and does not rank.
    Neither,
}

impl Metric {
    /// All metrics, in the order of the table.
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

    /// Returns the name of the metric, such as `region-perturbation`.
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

    /// Returns the heading of the metric's column in the table.
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

    /// Returns whether the metric is the area under a curve, or the mean of one.
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

    /// Returns whether the score of a random map is the level of chance, as in faithfulness and localisation.
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

    /// Returns the direction in which the metric is better.
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
    /// Returns the direction as a word: `higher`, `lower` or `neither`.
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
