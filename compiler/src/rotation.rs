//! Recognition of the angles of rotary position embeddings.
//!
//! A rotation multiplies features by cosines and sines. Where a model looks them up by position, as in an embedding, positions would get a
//! share of each product; where it computes them from positions, none. The angles are coefficients in both, and carry no relevance.

use std::collections::{BTreeMap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Gather, Op};

/// Largest relative difference of squared radii; tables of bfloat16 have 8 bits.
const TOLERANCE: f32 = 2e-2;

/// Most tables that the same positions look up: two for each layer.
const MOST_TABLES: usize = 1 << 11;

/// Look-ups by their table.
type ByTable = BTreeMap<Value, Vec<NodeId>>;

/// Returns the look-ups of cosines and sines: those by the same indices in two tables whose squares add up to one number everywhere.
/// That number is 1, or the square of the factor by which some models scale their angles.
pub(crate) fn angle_lookups(graph: &Graph<Op>) -> HashSet<NodeId> {
    // Look-ups by indices and the shape of their table.
    let mut groups: HashMap<(Value, &[usize]), ByTable> = HashMap::new();
    for id in graph.topological() {
        if let (Op::Gather(Gather { axis: 0 }), &[data, indices]) =
            (graph.op(id), graph.node_inputs(id).as_slice())
            && let Some((table, dims)) = table(graph, data)
        {
            groups.entry((indices, dims)).or_default().entry(table).or_default().push(id);
        }
    }
    let mut angles = HashSet::new();
    for lookups in groups.values().filter(|lookups| (2..=MOST_TABLES).contains(&lookups.len())) {
        let mut single: Vec<(Vec<f32>, &Vec<NodeId>)> = vec![];
        for (table, nodes) in lookups {
            let values = graph.constant(*table).map(|t| t.to_f32()).unwrap_or_default();
            match single.iter().position(|(other, _)| is_circle(&values, other)) {
                None => single.push((values, nodes)),
                Some(partner) => {
                    angles.extend(nodes);
                    angles.extend(single.swap_remove(partner).1);
                }
            }
        }
    }
    angles
}

/// Returns the matrix of constants of which `v` is a part, and its shape.
fn table(graph: &Graph<Op>, mut v: Value) -> Option<(Value, &[usize])> {
    while let Op::Slice(_) = graph.op(v.node) {
        v = *graph.node_inputs(v.node).first()?;
    }
    let table = graph.constant(v)?;
    (table.dims().len() == 2 && table.dtype().is_float()).then(|| (v, table.dims()))
}

/// Returns whether the points `(a, b)` lie on one circle around 0.
fn is_circle(a: &[f32], b: &[f32]) -> bool {
    let mut radii = a.iter().zip(b).map(|(x, y)| x * x + y * y);
    let Some(first) = radii.next().filter(|r| *r > 0.0) else { return false };
    radii.all(|r| (r - first).abs() <= TOLERANCE * first)
}
