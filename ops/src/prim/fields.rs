//! Attributes of primitives as a list, by what must hold of each.

use super::{ConvGeometry, Prim};
use crate::graph::Body;
use crate::tensor::Dim;

/// An attribute.
pub enum Field<'a> {
    /// An axis of an operand or of the result.
    Axis(usize),
    /// Axes in ascending order.
    Axes(&'a [usize]),
    /// An order of all axes.
    Permutation(&'a [usize]),
    /// A dimension or an index, ≥ 0.
    Dim(&'a Dim),
    /// Dimensions or pads, ≥ 0.
    Dims(&'a [Dim]),
    /// Any integers, row-major in a tensor of these dimensions.
    Integers(&'a [usize], &'a [Dim]),
    /// A step along an axis, not 0.
    Step(i64),
    /// Geometry of a convolution.
    Geometry(&'a ConvGeometry),
    /// A graph of primitives.
    Body(&'a Body<Prim>),
    /// A flag, a number, a word or a window: the type rule checks it, if anything must hold of it.
    Any,
}

/// The attributes of a primitive.
pub trait Fields {
    /// Name of the type.
    fn name(&self) -> &'static str;

    /// Calls `visit` with each attribute, in order.
    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>));

    /// Calls `visit` with each dimension among the attributes.
    fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim));

    /// Names and values of the attributes.
    fn text(&self) -> String;
}

/// Writes [`Fields`] of a type from its list of attributes and their kinds; an attribute that the list lacks does not
/// compile. Kinds are those of [`Field`], and `Shape` for dimensions in a shape.
macro_rules! fields {
    ($name:ident) => {
        fields!($name {});
    };
    ($name:ident { $($field:ident: $kind:ident),* $(,)? }) => {
        impl Fields for $name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }

            #[allow(unused_variables)]
            fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
                let $name { $($field),* } = self;
                $(visit(fields!(@read $kind $field));)*
            }

            #[allow(unused_variables)]
            fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim)) {
                let $name { $($field),* } = self;
                $(fields!(@dims $kind $field visit);)*
            }

            fn text(&self) -> String {
                let fields: &[String] = &[$(format!(concat!(stringify!($field), ": {:?}"), self.$field)),*];
                fields.join(", ")
            }
        }
    };
    (@read Axis $f:ident) => { Field::Axis(*$f) };
    (@read Axes $f:ident) => { Field::Axes($f) };
    (@read Permutation $f:ident) => { Field::Permutation($f) };
    (@read Dim $f:ident) => { Field::Dim($f) };
    (@read Dims $f:ident) => { Field::Dims($f) };
    (@read Shape $f:ident) => { Field::Dims(&$f.0) };
    (@read Step $f:ident) => { Field::Step(*$f) };
    (@read Geometry $f:ident) => { Field::Geometry($f) };
    (@read Any $f:ident) => { Field::Any };
    (@dims Dim $f:ident $visit:ident) => { $visit($f); };
    (@dims Dims $f:ident $visit:ident) => { $f.iter_mut().for_each(|dim| $visit(dim)); };
    (@dims Shape $f:ident $visit:ident) => { $f.0.iter_mut().for_each(|dim| $visit(dim)); };
    (@dims $kind:ident $f:ident $visit:ident) => {};
}
pub(super) use fields;
