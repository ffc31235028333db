//! Instance and group normalisation: groups of channels of each sample get mean 0 and variance 1.
//!
//! Reads `InstanceNormalization` (one channel per group) and `GroupNormalization`. Operands: x `[n, c, …]`, scale, bias
//! `[c]`.

use super::Operator;
use super::layer_norm::{divide_by_root_mean_square, subtract_mean};
use super::read::Reader;
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;
use crate::tensor::{Dim, Shape};

/// Group normalisation. Operands: x, scale, bias.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// Number of groups; `None` for one channel per group.
    pub groups: Option<usize>,
    /// Constant added to the variance.
    pub epsilon: f32,
}

impl Operator for GroupNorm {
    fn attributes(&self) -> String {
        let groups = self.groups.map_or("channels".into(), |g| g.to_string());
        format!(" groups={groups} epsilon={:e}", self.epsilon)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let x = inputs[0];
        let shape = b.ty(x).shape;
        let channels = shape.0[1].clone();
        let groups = self.groups.map_or(channels.clone(), |g| Dim::known(g as i64));
        let per_group = shape.0[1..].iter().fold(Dim::known(1), |n, d| &n * d).floor_div(&groups);
        let flat = b.reshape(x, &Shape(vec![shape.0[0].clone(), groups, per_group]));
        let flat = subtract_mean(b, flat, &[2]);
        let flat = divide_by_root_mean_square(b, flat, &[2], f64::from(self.epsilon));
        let y = b.reshape(flat, &shape);
        let mut by_channel = vec![Dim::known(1); shape.rank()];
        by_channel[1] = channels;
        let by_channel = Shape(by_channel);
        let (scale, bias) = (b.reshape(inputs[1], &by_channel), b.reshape(inputs[2], &by_channel));
        let y = b.mul(y, scale);
        vec![b.plus(y, bias)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Normalize
    }
}

/// Returns the readers of `InstanceNormalization` and `GroupNormalization`. Before opset 21 the scale is by group,
/// which is not read.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("InstanceNormalization", 6, |r| {
            let op = GroupNorm { groups: None, epsilon: r.float_or("epsilon", 1e-5)? };
            let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
            Ok(vec![r.add(op, &inputs)?])
        }),
        Reader::new("GroupNormalization", 21, |r| {
            r.ignore(&["stash_type"]);
            let missing = || OpError::missing_attribute("num_groups", "at least 1");
            let groups = r.int("num_groups")?.ok_or_else(missing)?;
            let groups = usize::try_from(groups)
                .ok()
                .filter(|g| *g > 0)
                .ok_or_else(|| OpError::invalid("num_groups", "at least 1", groups))?;
            let op = GroupNorm { groups: Some(groups), epsilon: r.float_or("epsilon", 1e-5)? };
            let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
            Ok(vec![r.add(op, &inputs)?])
        }),
    ]
}
