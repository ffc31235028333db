//! Sum rule: shares by magnitude, `R_k = R |x_k| ⊘ Σ_m |x_m|`, or equal shares. Relevance is summed over the axes of
//! broadcasts.
//!
//! Conserves exactly where an operand is not 0; relevance elsewhere is absorbed. Constants take nothing
//! ([`Constants::Data`]) or absorb their share ([`Constants::Ledger`]). Source: proportional residuals, [bach2015];
//! equal shares: DLBacktrace version 2.

use std::fmt;

use serde::Deserialize;

use super::infinite::finite;
use super::signed_sums::{signed_parts, zeros};
use super::tracks::coefficients;
use super::{Constants, Contribution, Flow, Formula, Policy, Receives, Sharing, Tracks};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Sum rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sum {
    /// Measure of contributions: by magnitude, or equal.
    pub by: Contribution,
    /// Treatment of constant operands.
    pub constants: Constants,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { by: Contribution::Magnitude, constants: Constants::Data }
    }
}

impl Policy for Sum {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let subtracts = role.sum()?;
        let flow = |b: &mut Builder, site: &Site, r| self.flow(b, site, r);
        Some(match self.by {
            Contribution::Magnitude => {
                Formula::coupled(flow, move |b, site, r| self.tracks(b, site, subtracts, r))
            }
            Contribution::Uniform => Formula::each_track(flow),
        })
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, live: &[bool]) -> Sharing {
        match live.iter().filter(|live| **live).count() {
            1 => Sharing::Single,
            _ => Sharing::ByMagnitude,
        }
    }

    fn counts_constants(&self) -> bool {
        self.constants == Constants::Ledger
    }
}

impl Sum {
    fn flow(&self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let recipients = recipients(b, site, self.constants);
        let mut operands = vec![None; site.inputs.len()];
        if let [only] = recipients.as_slice() {
            let shape = b.ty(site.inputs[*only]).shape;
            operands[*only] = Some(b.sum_to(r, &shape));
            return Flow { operands, absorbed: vec![] };
        }
        if self.by == Contribution::Uniform {
            let share = b.scale(r, 1.0 / recipients.len() as f64);
            for k in recipients {
                let shape = b.ty(site.inputs[k]).shape;
                operands[k] = Some(b.sum_to(share, &shape));
            }
            return Flow { operands, absorbed: vec![] };
        }
        let magnitude = |b: &mut Builder, k: &usize| {
            let x = finite(b, site.inputs[*k]);
            b.abs(x)
        };
        let magnitudes: Vec<Value> = recipients.iter().map(|k| magnitude(b, k)).collect();
        let z = magnitudes.iter().skip(1).fold(magnitudes[0], |z, m| b.plus(z, *m));
        let s = b.guarded_div(r, z);
        for (k, m) in recipients.iter().zip(&magnitudes) {
            let share = b.mul(s, *m);
            let shape = b.ty(site.inputs[*k]).shape;
            operands[*k] = Some(b.sum_to(share, &shape));
        }
        let passed = b.mul(s, z);
        let dropped = b.minus(r, passed);
        Flow { operands, absorbed: vec![b.total(dropped)] }
    }

    /// Builds the flow of two tracks, element by element.
    fn tracks(self, b: &mut Builder, site: &Site, subtracts: bool, r: Tracks) -> [Flow; 2] {
        let recipients = recipients(b, site, self.constants);
        if let [only] = recipients.as_slice() {
            return r.both().map(|r| {
                let mut operands = vec![None; site.inputs.len()];
                let shape = b.ty(site.inputs[*only]).shape;
                operands[*only] = Some(b.sum_to(r, &shape));
                Flow { operands, absorbed: vec![] }
            });
        }
        let contributions: Vec<(Value, Option<Value>)> = recipients
            .iter()
            .map(|k| {
                let x = finite(b, site.inputs[*k]);
                let x = if subtracts && *k == 1 { b.scale(x, -1.0) } else { x };
                let (up, down) = signed_parts(b, x);
                (up, down.map(|v| b.scale(v, -1.0)))
            })
            .collect();
        let add = |b: &mut Builder, terms: Vec<Value>| terms.into_iter().reduce(|s, v| b.plus(s, v));
        let ups = contributions.iter().map(|c| c.0).collect();
        let downs = contributions.iter().filter_map(|c| c.1).collect();
        let none = zeros(b, site.y());
        let (p, n) = (add(b, ups).unwrap_or(none), add(b, downs).unwrap_or(none));
        coefficients(b, r, site.y(), p, n).map(|c| {
            let mut operands = vec![None; site.inputs.len()];
            for (k, (up, down)) in recipients.iter().zip(&contributions) {
                let mut share = b.mul(c.positive, *up);
                if let Some(down) = down {
                    let below = b.mul(c.negative, *down);
                    share = b.plus(share, below);
                }
                let shape = b.ty(site.inputs[*k]).shape;
                operands[*k] = Some(b.sum_to(share, &shape));
            }
            Flow { operands, absorbed: vec![b.total(c.dropped)] }
        })
    }
}

/// Returns the indices of the operands that take a share: those that carry relevance, and with [`Constants::Ledger`]
/// also constants that are not scalars.
fn recipients(b: &Builder, site: &Site, constants: Constants) -> Vec<usize> {
    let counts =
        |k: &usize| site.live[*k] || (constants == Constants::Ledger && b.ty(site.inputs[*k]).rank() > 0);
    (0..site.inputs.len()).filter(counts).collect()
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.by == Contribution::Uniform { "sum-equal" } else { "sum-proportional" })?;
        if self.constants == Constants::Ledger { f.write_str("(constants=ledger)") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Add, Sub};
    use crate::rule::tests::{Layer, assert_close, at, close, data, fill, floats, quotient, random, total};

    #[test]
    fn a_sum_shares_by_magnitude_and_undoes_broadcasting() {
        let (x, mut y) = (random(&[2, 3], 1), random(&[1, 3], 2));
        let r = random(&[2, 3], 3);
        // At one position both are 0, so that no operand takes the relevance.
        let mut x0 = data(&x);
        let mut y0 = data(&y);
        (x0[1], y0[1]) = (0.0, 0.0);
        let x = floats(&[2, 3], &x0);
        y = floats(y.dims(), &y0);
        let rule = |by, constants| Sum { by, constants };
        let share = |x: f64, other: f64| quotient(x.abs(), x.abs() + other.abs());
        for subtract in [false, true] {
            let by = rule(Contribution::Magnitude, Constants::Data);
            let layer = if subtract {
                Layer::new(Sub, &[&x, &y], &[true, true], by)
            } else {
                Layer::new(Add, &[&x, &y], &[true, true], by)
            };
            let actual = layer.explain(&r);
            let left = fill(&[2, 3], |n| at(&r, n) * share(at(&x, n), at(&y, &[0, n[1]])));
            let right = fill(&[1, 3], |n| {
                (0..2).map(|i| at(&r, &[i, n[1]]) * share(at(&y, n), at(&x, &[i, n[1]]))).sum()
            });
            assert_close(actual.operand(0), &left, "left");
            assert_close(actual.operand(1), &right, "right");
            close(actual.absorbed, at(&r, &[0, 1]), "absorbed");
        }

        let halves = Layer::new(Add, &[&x, &y], &[true, true], rule(Contribution::Uniform, Constants::Data))
            .explain(&r);
        assert_close(halves.operand(0), &fill(&[2, 3], |n| at(&r, n) / 2.0), "half");
        assert_close(
            halves.operand(1),
            &fill(&[1, 3], |n| (0..2).map(|i| at(&r, &[i, n[1]]) / 2.0).sum()),
            "half",
        );

        let live = [true, false];
        let all =
            Layer::new(Add, &[&x, &y], &live, rule(Contribution::Magnitude, Constants::Data)).explain(&r);
        assert_close(all.operand(0), &r, "a constant takes no part");
        assert!(all.operands[1].is_none());
        let ledger =
            Layer::new(Add, &[&x, &y], &live, rule(Contribution::Magnitude, Constants::Ledger)).explain(&r);
        let left = fill(&[2, 3], |n| at(&r, n) * share(at(&x, n), at(&y, &[0, n[1]])));
        assert_close(ledger.operand(0), &left, "a constant keeps its share");
        assert!(ledger.operands[1].is_none());
        close(ledger.absorbed, total(&r) - total(&left), "the constant's share is absorbed");
    }
}
