//! Sequences and optionals: lists of tensors and their absence, which the import resolves.
//!
//! The length of a sequence and the positions in it must be known, so that no node of the graph holds one. An optional is its
//! tensor or sequence, or absent. Sources: the sequence and optional operators of ai.onnx.

use std::collections::BTreeMap;

use dlbc_ops::OpError;
use dlbc_ops::graph::Value;
use dlbc_ops::op::read::{Attr, Reading, resolve};
use dlbc_ops::op::{Concat, Slice};
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor};
use dlbc_proto::onnx::NodeProto;

use super::attribute;
use super::function::Expanded;
use super::state::Import;
use crate::error::CompileError;

/// Largest number of elements of a sequence.
const MAX_ELEMENTS: i64 = 4096;

/// Result of an operator on sequences.
enum Item {
    Tensor(Value),
    Sequence(Vec<Value>),
}

/// Returns whether a node makes, changes or reads a sequence or an optional.
pub fn is_sequence(import: &Import, node: &NodeProto) -> bool {
    let operators = [
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceInsert",
        "SequenceErase",
        "SequenceAt",
        "SequenceLength",
        "SplitToSequence",
        "ConcatFromSequence",
        "Optional",
        "OptionalHasElement",
        "OptionalGetElement",
    ];
    let passes = node.op_type() == "Identity" && node.input.iter().any(|i| import.sequences.contains_key(i));
    matches!(node.domain(), "" | "ai.onnx") && (passes || operators.contains(&node.op_type()))
}

/// Reads a node on sequences.
///
/// # Errors
/// For an invalid node. An unsupported one is recorded in `import`.
pub fn read(import: &mut Import, expanded: &Expanded) -> Result<(), CompileError> {
    let node = &expanded.node;
    if import.fails_with_operand(node) {
        return Ok(());
    }
    let attributes = attribute::read(import.model, node)?;
    let sequences: Vec<Option<Vec<Value>>> =
        node.input.iter().map(|name| import.sequences.get(name).cloned()).collect();
    let inputs: Vec<Option<Value>> = node.input.iter().map(|i| import.values.get(i).copied()).collect();
    let item = {
        let mut reading = import.reading(expanded, &inputs, &attributes);
        Operands { node, r: &mut reading, sequences, attributes: &attributes }.read()
    };
    match item {
        Ok(Item::Tensor(v)) => import.bind(node, vec![v]),
        Ok(Item::Sequence(values)) => {
            import.sequences.extend(node.output.first().map(|name| (name.clone(), values)));
            Ok(())
        }
        Err(reason) => import.refuse_for(node, node.op_type(), reason),
    }
}

/// Operands of a node on sequences.
struct Operands<'a, 'r> {
    node: &'a NodeProto,
    r: &'a mut Reading<'r>,
    /// The sequence of each operand that is one.
    sequences: Vec<Option<Vec<Value>>>,
    attributes: &'a BTreeMap<String, Attr>,
}

impl Operands<'_, '_> {
    fn read(&mut self) -> Result<Item, OpError> {
        Ok(match self.node.op_type() {
            "SequenceEmpty" => Item::Sequence(vec![]),
            "SequenceConstruct" => Item::Sequence(self.r.all_inputs()?),
            "SequenceInsert" => {
                let (mut all, x) = (self.sequence()?, self.r.input(1)?);
                let at = match self.r.optional(2) {
                    Some(_) => self.position(2, all.len(), all.len() + 1)?,
                    None => all.len(),
                };
                all.insert(at, x);
                Item::Sequence(all)
            }
            "SequenceErase" => {
                let mut all = self.sequence()?;
                let last = all.len().checked_sub(1).ok_or_else(no_element)?;
                let at = match self.r.optional(1) {
                    Some(_) => self.position(1, all.len(), all.len())?,
                    None => last,
                };
                all.remove(at);
                Item::Sequence(all)
            }
            "SequenceAt" => {
                let all = self.sequence()?;
                let at = self.position(1, all.len(), all.len())?;
                Item::Tensor(all[at])
            }
            "SequenceLength" => {
                let count = self.sequence()?.len() as i64;
                Item::Tensor(self.r.add_constant(Tensor::from_i64(&[], &[count])))
            }
            "SplitToSequence" => Item::Sequence(self.split()?),
            "ConcatFromSequence" => Item::Tensor(self.concat()?),
            "OptionalHasElement" => {
                let has_element = self.node.input.first().is_some_and(|name| !name.is_empty());
                let value = self.r.add_constant(Tensor::from_i64(&[], &[i64::from(has_element)]));
                Item::Tensor(self.r.cast(value, DType::Bool)?)
            }
            // `Identity`, `Optional`, `OptionalGetElement`.
            _ => match self.sequences.first() {
                Some(Some(all)) => Item::Sequence(all.clone()),
                None if self.attributes.contains_key("type") => {
                    return Err(OpError::unsupported("optional", "an element", "none"));
                }
                _ => Item::Tensor(self.r.input(0)?),
            },
        })
    }

    /// Returns the sequence that is the first operand.
    fn sequence(&self) -> Result<Vec<Value>, OpError> {
        let sequence = self.sequences.first().cloned().flatten();
        sequence.ok_or_else(|| OpError::mismatch("first operand", "a sequence", "a tensor"))
    }

    /// Returns the position in a sequence of `len` elements that operand `i` holds, below `end`; negative ones count from `len`.
    fn position(&self, i: usize, len: usize, end: usize) -> Result<usize, OpError> {
        let position = self.r.ints_of(self.r.input(i)?, "position")?;
        let [at] = position[..] else {
            return Err(OpError::mismatch("position", "one number", position.len()));
        };
        let resolved = if at < 0 { at.saturating_add(len as i64) } else { at };
        let resolved = usize::try_from(resolved).ok().filter(|at| *at < end);
        resolved.ok_or_else(|| OpError::invalid("position", format!("an element of {len}"), at))
    }

    /// Splits a tensor along an axis: into parts of equal or of listed lengths, or into its slices.
    fn split(&mut self) -> Result<Vec<Value>, OpError> {
        let x = self.r.input(0)?;
        let ty = self.r.ty(x);
        let axis = resolve(self.r.int_or("axis", 0)?, ty.rank())?;
        let keep = self.r.flag("keepdims", true)?;
        let whole = ty.dim(axis).as_known();
        let known =
            || whole.ok_or_else(|| OpError::symbolic("split axis", "a known dimension", ty.dim(axis)));
        let lengths: Vec<i64> = match self.r.optional(1) {
            None => vec![1; usize::try_from(bounded(known()?, 1)?).unwrap_or(0)],
            Some(split) if self.r.ty(split).rank() == 0 => {
                let size = *self.r.ints_of(split, "split")?.first().unwrap_or(&0);
                if size < 1 {
                    return Err(OpError::invalid("split", "at least 1", size));
                }
                let whole = known()?;
                let parts = bounded(whole, size)?;
                (0..parts).map(|i| size.min(whole - i * size)).collect()
            }
            Some(split) => self.r.ints_of(split, "split")?,
        };
        if lengths.iter().any(|n| *n < 0) || whole.is_some_and(|whole| lengths.iter().sum::<i64>() != whole) {
            return Err(OpError::invalid(
                "split",
                format!("lengths that add up to {}", ty.dim(axis)),
                format!("{lengths:?}"),
            ));
        }
        let has_list = self.r.optional(1).is_some();
        let mut start = 0;
        let mut parts = vec![];
        for len in lengths {
            let (from, count) = (Dim::known(start), Dim::known(len));
            let part = self.r.add(Slice { axis, start: from, len: count, step: 1 }, &[x])?;
            start += len;
            let mut shape = self.r.ty(part).shape;
            parts.push(if keep || has_list {
                part
            } else {
                shape.0.remove(axis);
                self.r.reshape(part, shape)?
            });
        }
        Ok(parts)
    }

    /// Joins a sequence along an axis, or along a new one.
    fn concat(&mut self) -> Result<Value, OpError> {
        let mut parts = self.sequence()?;
        let first = *parts.first().ok_or_else(no_element)?;
        let rank = self.r.ty(first).rank();
        let stacks = self.r.flag("new_axis", false)?;
        let axis = self.r.int("axis")?.ok_or_else(|| OpError::missing_attribute("axis", "an integer"))?;
        let axis = resolve(axis, if stacks { rank + 1 } else { rank })?;
        if stacks {
            for part in &mut parts {
                let mut shape = self.r.ty(*part).shape.0;
                shape.insert(axis.min(shape.len()), Dim::known(1));
                *part = self.r.reshape(*part, Shape(shape))?;
            }
        }
        if let [part] = parts[..] { Ok(part) } else { self.r.add(Concat { axis }, &parts) }
    }
}

/// Returns the number of parts of `size` elements of an axis.
fn bounded(whole: i64, size: i64) -> Result<i64, OpError> {
    let parts = whole / size + i64::from(whole % size != 0);
    if parts > MAX_ELEMENTS {
        return Err(OpError::unsupported("parts of a sequence", format!("at most {MAX_ELEMENTS}"), parts));
    }
    Ok(parts)
}

fn no_element() -> OpError {
    OpError::invalid("sequence", "at least one element", "none")
}
