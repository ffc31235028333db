//! Binding of a program's symbols.

use super::{Field, Prim};
use crate::graph::Graph;
use crate::tensor::{Bindings, Dim};

impl Prim {
    /// Replaces symbols by their values. `Dims` whose values are all known becomes a constant.
    pub fn substitute(&self, bindings: &Bindings) -> Prim {
        self.replace(&|symbol| bindings.get(symbol).map(|v| Dim::known(*v)))
    }

    /// Replaces each symbol for which `replacement` returns a dimension. `Dims` whose values are all known becomes a
    /// constant.
    pub fn replace(&self, replacement: &impl Fn(&str) -> Option<Dim>) -> Prim {
        let mut replaced = self.clone();
        replaced.change_dims(&mut |dim| *dim = dim.replace(replacement));
        replaced
    }

    /// Applies `change` to every dimension among the attributes. `Dims` whose values are all known becomes a constant.
    pub(super) fn change_dims(&mut self, change: &mut dyn FnMut(&mut Dim)) {
        if let Some(prim) = self.inner_mut() {
            prim.dims_mut(change);
        }
        if let Prim::Dims(dims) = self
            && let Some(constant) = dims.constant()
        {
            *self = Prim::Const(constant);
        }
    }

    /// Returns the dimensions among the attributes.
    pub fn dims(&self) -> Vec<&Dim> {
        let mut dims = vec![];
        if let Some(prim) = self.inner() {
            prim.fields(&mut |field| match field {
                Field::Dim(dim) => dims.push(dim),
                Field::Dims(list) | Field::Integers(_, list) => dims.extend(list),
                Field::Body(body) => {
                    let step = body.graph();
                    dims.extend(step.nodes().flat_map(|id| step.op(id).dims()));
                }
                Field::Axis(_) | Field::Axes(_) | Field::Permutation(_) | Field::Step(_) => {}
                Field::Geometry(_) | Field::Any => {}
            });
        }
        dims
    }
}

impl Graph<Prim> {
    /// Replaces symbols by their values in all nodes and types; node ids stay. If all symbols of the inputs are bound,
    /// every type is known.
    pub fn bind(&self, bindings: &Bindings) -> Graph<Prim> {
        let value = |symbol: &str| bindings.get(symbol).map(|v| Dim::known(*v));
        let mut bound = self.clone();
        bound.change_dims(&mut |dim| *dim = dim.replace(&value));
        bound
    }

    /// Applies `change` to every dimension of all nodes and types; node ids stay.
    pub(super) fn change_dims(&mut self, change: &mut dyn FnMut(&mut Dim)) {
        let ids: Vec<_> = self.nodes().collect();
        for id in ids {
            let node = self.node_mut(id);
            node.op.change_dims(change);
            node.types.iter_mut().flat_map(|ty| &mut ty.shape.0).for_each(&mut *change);
        }
    }

    /// Calls `visit` with each symbol in a node's attributes and in the type of its result.
    pub fn symbols(&self, id: crate::graph::NodeId, visit: &mut impl FnMut(&std::sync::Arc<str>)) {
        let node = self.node(id);
        node.op.dims().into_iter().for_each(|d| d.symbols(visit));
        node.types.iter().flat_map(|ty| &ty.shape.0).for_each(|d| d.symbols(visit));
    }
}
