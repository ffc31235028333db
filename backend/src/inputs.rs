//! Named tensors, owned and borrowed.

use std::collections::{BTreeMap, HashMap};

use dlbc_ops::tensor::{AsView, Tensor, TensorView};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Borrowed tensors by name.
pub type Views<'a> = BTreeMap<String, TensorView<'a>>;

/// Inputs of a run by name: maps and lists of pairs, of tensors or of views. A name that occurs twice keeps its last value.
pub trait AsViews {
    /// The tensors as views, which copies none of them.
    fn views(&self) -> Views<'_>;
}

impl<K: AsRef<str>, V: AsView> AsViews for BTreeMap<K, V> {
    fn views(&self) -> Views<'_> {
        collect_views(self.iter())
    }
}

impl<K: AsRef<str>, V: AsView, S> AsViews for HashMap<K, V, S> {
    fn views(&self) -> Views<'_> {
        collect_views(self.iter())
    }
}

impl<K: AsRef<str>, V: AsView> AsViews for Vec<(K, V)> {
    fn views(&self) -> Views<'_> {
        collect_views(self.iter().map(|(name, tensor)| (name, tensor)))
    }
}

impl<K: AsRef<str>, V: AsView, const N: usize> AsViews for [(K, V); N] {
    fn views(&self) -> Views<'_> {
        collect_views(self.iter().map(|(name, tensor)| (name, tensor)))
    }
}

impl<T: AsViews + ?Sized> AsViews for &T {
    fn views(&self) -> Views<'_> {
        (**self).views()
    }
}

/// Collects views of tensors by name.
fn collect_views<'a, K: AsRef<str> + 'a, V: AsView + 'a>(
    pairs: impl Iterator<Item = (&'a K, &'a V)>,
) -> Views<'a> {
    pairs.map(|(name, tensor)| (name.as_ref().to_string(), tensor.as_view())).collect()
}
