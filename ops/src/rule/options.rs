//! Parameters that are words in a composite.

/// An enum whose variants are the words of a parameter: `bias is one of …, found …` where it is another.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident of $parameter:literal { $($(#[$about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $variant,)+
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $($word => Ok($name::$variant),)+
                    other => Err($crate::rule::options::unknown($parameter, &[$($word),+], other)),
                }
            }
        }
    };
}
pub(super) use options;

/// The error for a word that a parameter does not know.
pub(super) fn unknown<E: serde::de::Error>(parameter: &str, words: &[&str], other: &str) -> E {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    E::custom(format!("{parameter} is one of {}, found `{other}`", words.join(", ")))
}

options! {
    /// Treatment of a bias.
    Bias of "bias" {
        /// It counts as a contribution and its share is absorbed.
        Ledger = "ledger",
        /// It does not count: the operand takes all.
        Redistribute = "redistribute",
    }
}

options! {
    /// Measure of contributions.
    Contribution of "by" {
        /// `|w · x|`.
        Magnitude = "magnitude",
        /// `|w|`: the operand's values do not matter.
        Uniform = "uniform",
    }
}

options! {
    /// Treatment of constant operands of a sum.
    Constants of "constants" {
        /// They get nothing: live operands share all.
        Data = "data",
        /// They count, and their share is absorbed.
        Ledger = "ledger",
    }
}

options! {
    /// Role of a gate, a factor from 0 to 1, in a product.
    Gates of "gates" {
        /// It gives all to the value that it gates.
        Give = "give",
        /// It shares as any factor does.
        Share = "share",
    }
}
