//! The `[repeat]` table of a composite: runs whose mean is the result.

use dlbc_ops::program::{Baseline, Repeat};
use serde::Deserialize;

use super::mistake::Mistake;
use super::model::Quantity;

/// Largest number of runs; more are taken for a mistake.
const MAX_RUNS: usize = 100_000;

/// Keys of a `[repeat]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    kind: String,
    steps: Option<usize>,
    baseline: Option<BaselineValue>,
    samples: Option<usize>,
    noise: Option<f64>,
    seed: Option<u64>,
}

/// Value of the key `baseline`: a number, or the name of a statistic of the input.
#[derive(Deserialize)]
#[serde(untagged)]
enum BaselineValue {
    Value(f64),
    Named(String),
}

/// Converts a table to the runs that it describes.
///
/// # Errors
/// For an unknown kind, a parameter that the kind does not have or that is out of range, and rules that do not propagate
/// derivatives.
pub(super) fn read(mut table: Table, quantity: Quantity) -> Result<Repeat, Mistake> {
    if quantity != Quantity::Gradient {
        return Err("a repeated composite averages derivatives: expected `passes = \"gradient\"`".into());
    }
    let count = |value: Option<usize>, key: &str, default: usize| match value.unwrap_or(default) {
        n if (1..=MAX_RUNS).contains(&n) => Ok(n),
        n => Err(Mistake::from(format!("invalid {key}: expected 1 to {MAX_RUNS}, found {n}"))),
    };
    let repeat = match table.kind.as_str() {
        "integrated-gradients" => Repeat::IntegratedGradients {
            steps: count(table.steps.take(), "steps", 32)?,
            baseline: baseline(table.baseline.take())?,
        },
        "smoothgrad" => Repeat::SmoothGrad {
            samples: count(table.samples.take(), "samples", 32)?,
            noise: match table.noise.take().unwrap_or(0.1) {
                noise if noise >= 0.0 && noise.is_finite() => noise,
                noise => return Err(format!("invalid noise: expected at least 0, found {noise}").into()),
            },
            seed: table.seed.take().unwrap_or(0),
        },
        other => {
            return Err(Mistake::unknown("kind", other, ["integrated-gradients", "smoothgrad"].into_iter()));
        }
    };
    let Table { kind, steps, baseline, samples, noise, seed } = table;
    // Parameters of other kinds than the one that took its own.
    let is_left = [
        ("steps", steps.is_some()),
        ("baseline", baseline.is_some()),
        ("samples", samples.is_some()),
        ("noise", noise.is_some()),
        ("seed", seed.is_some()),
    ];
    match is_left.into_iter().find(|(_, is_left)| *is_left) {
        Some((name, _)) => Err(format!("`{kind}` has no parameter `{name}`").into()),
        None => Ok(repeat),
    }
}

/// Converts the key `baseline`; without it, the baseline is the input that the model's own normalisation maps to 0.
fn baseline(value: Option<BaselineValue>) -> Result<Baseline, Mistake> {
    const KNOWN: [(&str, Baseline); 4] = [
        ("scaler", Baseline::Scaler),
        ("least", Baseline::Smallest),
        ("greatest", Baseline::Largest),
        ("mean", Baseline::Mean),
    ];
    const ALIASES: [(&str, Baseline); 2] = [("minimum", Baseline::Smallest), ("maximum", Baseline::Largest)];
    match value {
        None => Ok(Baseline::Scaler),
        Some(BaselineValue::Value(value)) if value.is_finite() => Ok(Baseline::Value(value)),
        Some(BaselineValue::Value(value)) => {
            Err(format!("invalid baseline: expected a finite number or a name, found {value}").into())
        }
        Some(BaselineValue::Named(name)) => {
            let statistic = KNOWN.iter().chain(&ALIASES).find(|(known, _)| *known == name).map(|(_, b)| *b);
            statistic.ok_or_else(|| {
                let mistake = Mistake::unknown("baseline", &name, KNOWN.iter().map(|k| k.0));
                Mistake { message: mistake.message.replace("expected ", "expected a number, "), ..mistake }
            })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Repeat, Mistake> {
        read(toml::from_str(text).map_err(|e| e.message().to_string())?, Quantity::Gradient)
    }

    #[test]
    fn tables_are_read_and_mistakes_named() {
        let text = "kind = \"integrated-gradients\"\nsteps = 8\nbaseline = \"least\"";
        assert_eq!(parsed(text), Ok(Repeat::IntegratedGradients { steps: 8, baseline: Baseline::Smallest }));
        for (name, baseline) in [
            ("least", Baseline::Smallest),
            ("minimum", Baseline::Smallest),
            ("greatest", Baseline::Largest),
            ("maximum", Baseline::Largest),
        ] {
            let text = format!("kind = \"integrated-gradients\"\nbaseline = \"{name}\"");
            assert_eq!(parsed(&text), Ok(Repeat::IntegratedGradients { steps: 32, baseline }), "{name}");
        }
        let smooth = Repeat::SmoothGrad { samples: 32, noise: 0.1, seed: 0 };
        assert_eq!(parsed("kind = \"smoothgrad\""), Ok(smooth));
        for (text, message) in [
            ("kind = \"other\"", "unknown kind `other`: expected `integrated-gradients`, `smoothgrad`"),
            ("kind = \"smoothgrad\"\nsteps = 3", "`smoothgrad` has no parameter `steps`"),
            ("kind = \"smoothgrad\"\nsamples = 0", "invalid samples: expected 1 to 100000, found 0"),
            ("kind = \"smoothgrad\"\nnoise = -1", "invalid noise: expected at least 0, found -1"),
            (
                "kind = \"integrated-gradients\"\nbaseline = \"grey\"",
                "unknown baseline `grey`: expected a number, `scaler`, `least`, `greatest`, `mean`",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err().message, message, "{text}");
        }
        let relevance = read(toml::from_str("kind = \"smoothgrad\"").unwrap(), Quantity::Relevance);
        assert!(relevance.unwrap_err().message.contains("passes = \"gradient\""));
    }
}
