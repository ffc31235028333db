//! Parameters of rules that are words in a composite.

/// Defines an enum whose variants are the words of a parameter. Other words are refused with the list of valid ones.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident, $parameter:literal { $($(#[$about:meta])* $variant:ident = $word:literal,)+ }) => {
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

/// Returns the error of a word that a parameter does not have.
pub(super) fn unknown<E: serde::de::Error>(parameter: &str, words: &[&str], other: &str) -> E {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    E::custom(format!("unknown {parameter} `{other}`: expected {}", words.join(", ")))
}

options! {
    /// Treatment of a bias.
    Bias, "bias" {
        /// The bias counts as a contribution; its share is absorbed.
        Ledger = "ledger",
        /// The bias does not count: the operand takes all.
        Redistribute = "redistribute",
    }
}

options! {
    /// Measure of contributions.
    Contribution, "by" {
        /// `|w · x|`.
        Magnitude = "magnitude",
        /// `|w|`, independent of the operand's values.
        Uniform = "uniform",
    }
}

options! {
    /// Treatment of constant operands of a sum.
    Constants, "constants" {
        /// Constants take nothing: live operands share all.
        Data = "data",
        /// Constants take their share, which is absorbed.
        Ledger = "ledger",
    }
}

options! {
    /// Treatment of a gate, a factor in 0..=1, in a product.
    Gates, "gates" {
        /// The gate takes nothing: the value that it scales takes all.
        Give = "give",
        /// The gate takes a share like any factor.
        Share = "share",
    }
}
