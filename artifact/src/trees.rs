//! Checks of the trees that an artifact describes.

use dlbc_ops::graph::Graph;
use dlbc_ops::prim::Prim;
use dlbc_ops::program::{TreesEntry, TreesInfo};
use dlbc_ops::tensor::{DType, Dim};

/// Largest number of elements of a row of a source.
const MAX_ELEMENTS: usize = 1 << 20;

/// Checks that the graph has the entries of each ensemble, and that all indices are in range.
///
/// # Errors
/// The first fault, as a sentence without its subject.
pub fn check(graph: &Graph<Prim>, trees: &TreesInfo) -> Result<(), String> {
    let mut sizes = vec![];
    for source in &trees.sources {
        let size = source.dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let size = size.filter(|n| *n <= MAX_ELEMENTS);
        sizes.push(size.ok_or_else(|| {
            format!("expected at most {MAX_ELEMENTS} elements of a row, found {:?}", source.dims)
        })?);
    }
    for (index, ensemble) in trees.ensembles.iter().enumerate() {
        let rows = matrix(graph, TreesEntry::Rows, index)?;
        matrix(graph, TreesEntry::Leaves, index)?;
        let is_source = |(source, element): &(usize, usize)| sizes.get(*source).is_some_and(|n| element < n);
        if !ensemble.features.iter().flatten().all(is_source) {
            return Err(format!("expected features of the sources of ensemble {index}, found others"));
        }
        if graph.output(&TreesEntry::Background.of(index)).is_some() {
            let width = matrix(graph, TreesEntry::Background, index)?;
            if width != rows {
                return Err(format!("expected a background of {rows} features, found {width}"));
            }
        }
    }
    let terms = trees.scores.iter().flat_map(|score| &score.terms);
    match terms.into_iter().find(|(ensemble, ..)| *ensemble >= trees.ensembles.len()) {
        Some((ensemble, ..)) => {
            Err(format!("expected scores of {} ensembles, found number {ensemble}", trees.ensembles.len()))
        }
        None => Ok(()),
    }
}

/// Returns the number of columns of an entry, which must be a matrix.
fn matrix(graph: &Graph<Prim>, entry: TreesEntry, index: usize) -> Result<Dim, String> {
    let output = entry.of(index);
    let value = graph.output(&output).ok_or_else(|| format!("expected output {output}, found none"))?;
    let ty = graph.ty(value);
    let is_typed = ty.dtype.is_float() || entry == TreesEntry::Leaves && ty.dtype == DType::I64;
    match ty.rank() {
        2 if is_typed => Ok(ty.dim(1).clone()),
        _ => Err(format!("expected {output} as a matrix, found {ty}")),
    }
}
