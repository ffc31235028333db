//! Check for maps that hardly differ between targets.

use dlbc_ops::program::{Info, SeedSign};
use dlbc_runtime::{Explanation, Target};

use super::again::{Again, Correlation, map};
use super::family::Family;
use super::finding::Finding;
use dlbc::explained::Explained;
use dlbc::statistics::correlation;
use dlbc::wording::{number, plural, visible};

/// Pearson correlation above which two maps count as the same.
const SAME: f64 = 0.95;

/// Longest time of an explanation, in seconds, for which the runner-up is explained for comparison.
const AFFORDABLE: f64 = 1.0;

/// Maximum number of targets that are compared pairwise.
const MAX_COMPARED: usize = 32;

/// Minimum number of elements of a map for a meaningful correlation.
const MIN_ELEMENTS: usize = 3;

/// Returns the correlations, and a finding if the maps hardly depend on their targets.
pub fn check(again: &Again, explained: &[Explained]) -> (Vec<Correlation>, Option<Finding>) {
    let pairs = match explained {
        [] => vec![],
        [single] => match runner_up(again, single) {
            Comparison::RunnerUp(other) => {
                let other = Candidate { name: "runner-up".into(), explanation: &other };
                compared(again, &[Candidate::of(single), other])
            }
            Comparison::Units(units, maps) => {
                let names = units.map(|unit| unit.to_string());
                let both =
                    names.into_iter().zip(&maps).map(|(name, explanation)| Candidate { name, explanation });
                compared(again, &both.collect::<Vec<_>>())
            }
            Comparison::TooSlow => return (vec![], estimated(again, single)),
            Comparison::None => vec![],
        },
        several => compared(again, &several.iter().take(MAX_COMPARED).map(Candidate::of).collect::<Vec<_>>()),
    };
    let closest = pairs.iter().max_by(|a, b| a.correlation.pearson.total_cmp(&b.correlation.pearson));
    let note = closest.filter(|pair| pair.correlation.pearson > SAME).map(|pair| {
        let more = pairs.iter().filter(|p| p.correlation.pearson > SAME).count() - 1;
        measured(again, pair, more, explained)
    });
    (pairs.into_iter().map(|p| p.correlation).collect(), note)
}

/// Map to compare, with the name of its target.
struct Candidate<'a> {
    name: String,
    explanation: &'a Explanation,
}

impl<'a> Candidate<'a> {
    fn of(explained: &'a Explained) -> Candidate<'a> {
        Candidate { name: explained.target.name.clone(), explanation: &explained.explanation }
    }
}

/// Comparison of two maps.
struct Pair {
    correlation: Correlation,
    /// Units of both targets, if all rows of each target have the same unit.
    units: Option<(i64, i64)>,
}

/// Compares every pair of maps of different units; leaves out maps that are empty or too small.
fn compared(again: &Again, candidates: &[Candidate]) -> Vec<Pair> {
    let maps: Vec<Vec<f64>> = candidates.iter().map(|c| map(c.explanation, again.info())).collect();
    let mut pairs = vec![];
    for (i, a) in candidates.iter().enumerate() {
        for (j, b) in candidates.iter().enumerate().skip(i + 1) {
            // A unit with two names has one map.
            let (first, second) = (&a.explanation.targets, &b.explanation.targets);
            let same = !first.is_empty()
                && first.iter().zip(second).any(|(a, b)| a == b)
                && first.len() == second.len();
            let same_box = !a.explanation.boxes.is_empty();
            let empty = |map: &[f64]| map.iter().all(|v| *v == 0.0);
            if same && !same_box || maps[i].len() < MIN_ELEMENTS || empty(&maps[i]) || empty(&maps[j]) {
                continue;
            }
            let pearson = correlation(&maps[i], &maps[j]);
            let units = alike(first).zip(alike(second));
            let targets = [a.name.clone(), b.name.clone()];
            pairs.push(Pair { correlation: Correlation { targets, pearson }, units });
        }
    }
    pairs
}

/// Returns the unit that all rows share; `None` if they differ.
fn alike(units: &[i64]) -> Option<i64> {
    let (first, rest) = units.split_first()?;
    rest.iter().all(|unit| unit == first).then_some(*first)
}

/// Explanations to compare a single target with.
enum Comparison {
    /// Explanation of the runner-up.
    RunnerUp(Box<Explanation>),
    /// Explanations of both units of a difference.
    Units([i64; 2], Vec<Explanation>),
    /// Not computed, because it would take too long.
    TooSlow,
    /// Nothing to compare with.
    None,
}

/// Explains the runner-up: the unit with the largest value besides the target; for a difference both of its units.
fn runner_up(again: &Again, explained: &Explained) -> Comparison {
    let explanation = &explained.explanation;
    let units = explanation.seed.dims().last().copied().unwrap_or(0);
    let rank = match explained.target.target {
        // Under rules with signs the difference is what tells the units apart, however alike their maps are.
        Target::Difference(a, b) if again.info().seed.sign == SeedSign::Positive => {
            if again.seconds > AFFORDABLE {
                return Comparison::TooSlow;
            }
            let maps: Option<Vec<Vec<Explanation>>> =
                [a, b].iter().map(|unit| again.explain(&[Target::Index(*unit)], &again.request)).collect();
            return maps.map_or(Comparison::None, |maps| {
                Comparison::Units([a, b], maps.into_iter().flatten().collect())
            });
        }
        Target::Argmax => 1,
        Target::Rank(rank) => usize::from(rank == 0),
        Target::Index(_) if explanation.targets.is_empty() => return Comparison::None,
        Target::Index(_) => {
            let wins = explanation.targets.iter().zip(&explanation.argmax).filter(|(a, b)| a == b).count();
            usize::from(wins > 0)
        }
        _ => return Comparison::None,
    };
    if units < 2 || explanation.targets.is_empty() {
        return Comparison::None;
    }
    if again.seconds > AFFORDABLE {
        return Comparison::TooSlow;
    }
    let other = again.explain(&[Target::Rank(rank)], &again.request);
    match other.and_then(|all| all.into_iter().next()) {
        Some(other) => Comparison::RunnerUp(Box::new(other)),
        None => Comparison::None,
    }
}

/// Returns the finding about a pair of maps that are nearly the same; `more` is the number of further such pairs.
fn measured(again: &Again, pair: &Pair, more: usize, explained: &[Explained]) -> Finding {
    let info = again.info();
    let [a, b] = &pair.correlation.targets;
    // Differences are written with indices from 0 on.
    let units = pair.units.filter(|(a, b)| *a >= 0 && *b >= 0);
    let difference = units.map(|(a, b)| format!("{a}-{b}"));
    let flags = Family::of(info).flags(info, difference.as_deref());
    let pearson = format!("{:.3}", pair.correlation.pearson);
    let differs = matches!(explained, [single] if matches!(single.target.target, Target::Difference(..)));
    let text = match (explained, pair.units) {
        _ if differs => format!(
            "the maps of {a} and {b} are nearly the same (correlation {pearson}), so that their difference says little"
        ),
        ([single], Some((_, unit))) => format!(
            "the map hardly depends on the target: its correlation with that of {}, the runner-up, is {pearson}",
            visible(&single.classes.title(unit))
        ),
        ([_], None) => {
            format!(
                "the maps hardly depend on the target: their correlation with those of the runners-up is {pearson}"
            )
        }
        _ => {
            let rest = if more > 0 {
                format!(" ({} above {SAME})", plural(more, "more pair"))
            } else {
                String::new()
            };
            format!(
                "the maps hardly depend on the target: the correlation of those of {} and {} is {pearson}{rest}",
                visible(a),
                visible(b)
            )
        }
    };
    Finding { text, help: format!("{flags} tells targets apart") }
}

/// Returns the finding that the measurements of [`Family::measured`] suggest, for models on which a comparison takes too
/// long.
fn estimated(again: &Again, explained: &Explained) -> Option<Finding> {
    let info = again.info();
    let family = Family::of(info);
    let similarity = family.measured(info).filter(|s| *s >= SAME)?;
    let flags = family.flags(info, difference(info, &explained.explanation).as_deref());
    Some(Finding {
        text: format!(
            "on models like this, maps of composite `{}` hardly depend on the target (similarity {} for another class)",
            info.rules,
            number(similarity, 2)
        ),
        help: format!("{flags} tells targets apart"),
    })
}

/// Returns the target "explained unit minus the largest other unit" of the first row; `None` if the output is not
/// `[batch, unit]`.
fn difference(info: &Info, explanation: &Explanation) -> Option<String> {
    let output = explanation.outputs.get(&info.explained).filter(|t| t.dims().len() == 2)?;
    let unit = alike(&explanation.targets).filter(|unit| *unit >= 0)?;
    let values = output.to_f64();
    let row = values.get(..output.dims()[1])?;
    let others = (0..row.len()).filter(|i| *i as i64 != unit);
    let other = others.max_by(|a, b| row[*a].total_cmp(&row[*b]))?;
    Some(format!("{unit}-{other}"))
}
