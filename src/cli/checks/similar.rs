//! Check whether maps of different targets are the same map.

use dlbc_ops::program::{Info, SeedSign};
use dlbc_runtime::{Explanation, Target};

use super::again::{Again, Correlation, map};
use super::family::Family;
use dlbc::explained::Explained;
use dlbc::statistics::correlation;
use dlbc::wording::{number, plural, visible};

/// Pearson correlation above which two maps are called the same.
const SAME: f64 = 0.95;

/// Seconds that an explanation may take so that the runner-up is explained for comparison.
const AFFORDABLE: f64 = 1.0;

/// Targets of which each two are compared.
const MOST: usize = 32;

/// Elements below which a correlation says nothing.
const LEAST: usize = 3;

/// The correlations, and a note when maps hardly depend on their targets.
pub fn check(again: &Again, explained: &[Explained]) -> (Vec<Correlation>, Option<String>) {
    let pairs = match explained {
        [] => vec![],
        [one] => match runner_up(again, one) {
            Found::Other(other) => {
                let other = Candidate { name: "runner-up".into(), explanation: &other };
                compared(again, &[Candidate::of(one), other])
            }
            Found::Both(units, maps) => {
                let names = units.map(|unit| unit.to_string());
                let both =
                    names.into_iter().zip(&maps).map(|(name, explanation)| Candidate { name, explanation });
                compared(again, &both.collect::<Vec<_>>())
            }
            Found::TooDear => return (vec![], estimated(again, one)),
            Found::None => vec![],
        },
        several => compared(again, &several.iter().take(MOST).map(Candidate::of).collect::<Vec<_>>()),
    };
    let note = pairs.iter().max_by(|a, b| a.correlation.pearson.total_cmp(&b.correlation.pearson));
    let note = note.filter(|most| most.correlation.pearson > SAME).map(|most| {
        let more = pairs.iter().filter(|p| p.correlation.pearson > SAME).count() - 1;
        measured(again, most, more, explained)
    });
    (pairs.into_iter().map(|p| p.correlation).collect(), note)
}

/// A map that is compared.
struct Candidate<'a> {
    name: String,
    explanation: &'a Explanation,
}

impl<'a> Candidate<'a> {
    fn of(explained: &'a Explained) -> Candidate<'a> {
        Candidate { name: explained.target.name.clone(), explanation: &explained.explanation }
    }
}

/// Two compared maps, with their units where all rows have the same.
struct Pair {
    correlation: Correlation,
    units: Option<(i64, i64)>,
}

/// Each two maps of different units that say anything.
fn compared(again: &Again, candidates: &[Candidate]) -> Vec<Pair> {
    let maps: Vec<Vec<f64>> = candidates.iter().map(|c| map(c.explanation, again.info())).collect();
    let mut pairs = vec![];
    for (i, a) in candidates.iter().enumerate() {
        for (j, b) in candidates.iter().enumerate().skip(i + 1) {
            // A unit with two names has one map.
            let (own, other) = (&a.explanation.targets, &b.explanation.targets);
            let same =
                !own.is_empty() && own.iter().zip(other).any(|(a, b)| a == b) && own.len() == other.len();
            let same_box = !a.explanation.boxes.is_empty();
            let empty = |map: &[f64]| map.iter().all(|v| *v == 0.0);
            if same && !same_box || maps[i].len() < LEAST || empty(&maps[i]) || empty(&maps[j]) {
                continue;
            }
            let pearson = correlation(&maps[i], &maps[j]);
            let units = alike(own).zip(alike(other));
            let targets = [a.name.clone(), b.name.clone()];
            pairs.push(Pair { correlation: Correlation { targets, pearson }, units });
        }
    }
    pairs
}

/// The unit that all rows have.
fn alike(units: &[i64]) -> Option<i64> {
    let (first, rest) = units.split_first()?;
    rest.iter().all(|unit| unit == first).then_some(*first)
}

/// The explanations that the only one is compared with.
enum Found {
    /// The explanation of the unit that comes next.
    Other(Box<Explanation>),
    /// The explanations of both units of a difference.
    Both([i64; 2], Vec<Explanation>),
    /// Not computed: it would take too long.
    TooDear,
    /// No other unit to compare with.
    None,
}

/// Explains the unit with the largest value that is not explained already; of a difference both units.
fn runner_up(again: &Again, explained: &Explained) -> Found {
    let explanation = &explained.explanation;
    let units = explanation.seed.dims().last().copied().unwrap_or(0);
    let rank = match explained.target.target {
        // Under rules with signs the difference is what tells the units apart, however alike their maps are.
        Target::Difference(a, b) if again.info().seed.sign == SeedSign::Positive => {
            if again.seconds > AFFORDABLE {
                return Found::TooDear;
            }
            let maps: Option<Vec<Vec<Explanation>>> =
                [a, b].iter().map(|unit| again.explain(&[Target::Index(*unit)], &again.request)).collect();
            return maps
                .map_or(Found::None, |maps| Found::Both([a, b], maps.into_iter().flatten().collect()));
        }
        Target::Argmax => 1,
        Target::Rank(rank) => usize::from(rank == 0),
        Target::Index(_) if explanation.targets.is_empty() => return Found::None,
        Target::Index(_) => {
            let wins = explanation.targets.iter().zip(&explanation.argmax).filter(|(a, b)| a == b).count();
            usize::from(wins > 0)
        }
        _ => return Found::None,
    };
    if units < 2 || explanation.targets.is_empty() {
        return Found::None;
    }
    if again.seconds > AFFORDABLE {
        return Found::TooDear;
    }
    let other = again.explain(&[Target::Rank(rank)], &again.request);
    match other.and_then(|all| all.into_iter().next()) {
        Some(other) => Found::Other(Box::new(other)),
        None => Found::None,
    }
}

/// The note on maps that were compared.
fn measured(again: &Again, pair: &Pair, more: usize, explained: &[Explained]) -> String {
    let info = again.info();
    let [a, b] = &pair.correlation.targets;
    // Differences are written with indices from 0 on.
    let units = pair.units.filter(|(a, b)| *a >= 0 && *b >= 0);
    let difference = units.map(|(a, b)| format!("{a}-{b}"));
    let flags = Family::of(info).flags(info, difference.as_deref());
    let pearson = format!("{:.3}", pair.correlation.pearson);
    let differs = matches!(explained, [one] if matches!(one.target.target, Target::Difference(..)));
    let what = match (explained, pair.units) {
        _ if differs => format!(
            "the maps of {a} and {b} are nearly the same (correlation {pearson}), so that their difference says little"
        ),
        ([one], Some((_, unit))) => format!(
            "the map hardly depends on the target: its correlation with that of {}, the runner-up, is {pearson}",
            visible(&one.classes.title(unit))
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
    format!("{what}; what tells targets apart: {flags}")
}

/// The note by what was measured on other models, where a comparison takes too long.
fn estimated(again: &Again, explained: &Explained) -> Option<String> {
    let info = again.info();
    let family = Family::of(info);
    let similarity = family.measured(info).filter(|s| *s >= SAME)?;
    Some(format!(
        "on models like this, maps of composite `{}` hardly depend on the target (similarity {} for another class); what tells \
         targets apart: {}",
        info.rules,
        number(similarity, 2),
        family.flags(info, difference(info, &explained.explanation).as_deref())
    ))
}

/// The explained unit of the first row minus the largest other one, where the output is a row of units.
fn difference(info: &Info, explanation: &Explanation) -> Option<String> {
    let output = explanation.outputs.get(&info.explained).filter(|t| t.dims().len() == 2)?;
    let unit = alike(&explanation.targets).filter(|unit| *unit >= 0)?;
    let values = output.to_f64();
    let row = values.get(..output.dims()[1])?;
    let others = (0..row.len()).filter(|i| *i as i64 != unit);
    let other = others.max_by(|a, b| row[*a].total_cmp(&row[*b]))?;
    Some(format!("{unit}-{other}"))
}
