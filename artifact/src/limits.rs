//! Limits on the primitives and types of an artifact, so that arithmetic on sizes cannot overflow.

use dlbc_ops::prim::{ConvGeometry, Field, Prim};
use dlbc_ops::tensor::{Dim, TensorType};

/// Largest dimension, index, pad and number of elements.
const MAX_SIZE: i64 = 1 << 48;

/// Largest number of axes.
const MAX_RANK: usize = 64;

/// Largest complexity of a symbolic dimension.
const MAX_COMPLEXITY: usize = 2048;

/// Checks the attributes of a primitive before its type is inferred.
///
/// # Errors
/// For a constant or input among the nodes, and for an attribute out of range.
pub(crate) fn prim(checked: &Prim) -> Result<(), String> {
    let Some(inner) = checked.inner() else {
        let leaf = if matches!(checked, Prim::Input) { "an input" } else { "a constant" };
        return Err(format!("expected a computation, found {leaf}"));
    };
    let mut result = Ok(());
    inner.fields(&mut |attribute| {
        if result.is_ok() {
            result = field(&attribute);
        }
    });
    result
}

fn field(field: &Field) -> Result<(), String> {
    match field {
        Field::Axis(a) => axis(*a),
        Field::Axes(axes) => {
            if !axes.is_sorted_by(|a, b| a < b) {
                return Err(format!("expected ascending axes, found {axes:?}"));
            }
            axes.iter().try_for_each(|a| axis(*a))
        }
        Field::Permutation(perm) if perm.len() > MAX_RANK => {
            Err(format!("permutation has {} axes: the limit is {MAX_RANK}", perm.len()))
        }
        Field::Permutation(_) => Ok(()),
        Field::Dim(dim) => dims(std::slice::from_ref(dim)),
        Field::Dims(list) => dims(list),
        Field::Integers(shape, values) => {
            let elems = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            if elems != Some(values.len()) || shape.len() > MAX_RANK {
                return Err(format!(
                    "expected as many dimensions as shape {shape:?} has elements, found {}",
                    values.len()
                ));
            }
            values.iter().try_for_each(simple)
        }
        Field::Step(s) => step(*s),
        Field::Geometry(g) => geometry(g),
        Field::Body(body) => {
            let step = body.graph();
            for node in step.nodes().map(|id| step.node(id)) {
                ty(&node.types[0])?;
                if !matches!(node.op, Prim::Input) {
                    prim(&node.op)?;
                }
            }
            Ok(())
        }
        Field::Any => Ok(()),
    }
}

/// Checks an inferred type.
///
/// # Errors
/// For too many axes, dimensions or elements.
pub(crate) fn ty(ty: &TensorType) -> Result<(), String> {
    dims(&ty.shape.0)?;
    let known_dims = ty.shape.0.iter().filter_map(Dim::as_known);
    match known_dims.filter(|d| *d != 0).try_fold(1i64, i64::checked_mul) {
        Some(elems) if elems <= MAX_SIZE => Ok(()),
        _ => Err(format!("tensor {ty} has too many elements: the limit is {MAX_SIZE}")),
    }
}

fn dims(dims: &[Dim]) -> Result<(), String> {
    if dims.len() > MAX_RANK {
        return Err(format!("tensor has {} axes: the limit is {MAX_RANK}", dims.len()));
    }
    dims.iter().try_for_each(|d| {
        simple(d)?;
        match d.as_known() {
            Some(v) if !(0..=MAX_SIZE).contains(&v) => {
                Err(format!("dimension: expected 0 to {MAX_SIZE}, found {v}"))
            }
            _ => Ok(()),
        }
    })
}

fn simple(dim: &Dim) -> Result<(), String> {
    if dim.complexity() > MAX_COMPLEXITY {
        Err(format!("dimension has too many terms: the limit is {MAX_COMPLEXITY}"))
    } else {
        Ok(())
    }
}

fn axis(axis: usize) -> Result<(), String> {
    if axis < MAX_RANK { Ok(()) } else { Err(format!("axis: expected below {MAX_RANK}, found {axis}")) }
}

fn step(step: i64) -> Result<(), String> {
    if step != 0 && (-MAX_SIZE..=MAX_SIZE).contains(&step) {
        Ok(())
    } else {
        Err(format!("step: expected other than 0 and at most {MAX_SIZE}, found {step}"))
    }
}

fn geometry(g: &ConvGeometry) -> Result<(), String> {
    if g.window.ceil {
        return Err("convolution: expected output sizes rounded down, found up".into());
    }
    if g.groups == 0 || g.groups as u64 > MAX_SIZE as u64 {
        return Err(format!("groups: expected 1 to {MAX_SIZE}, found {}", g.groups));
    }
    Ok(())
}
