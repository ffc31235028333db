//! The graph verifier: each rule it checks, broken once.

use dlbc_ops::graph::{FanIn, Graph, Node, Origin, PrintOp, Value, Vocabulary};
use dlbc_ops::prim::{self, Builder, Prim, Unary};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{DType, Dim, TensorType};

/// `y = relu(relu(x))` of two elements, with output `y`.
fn chain() -> (Graph<Prim>, [Value; 3]) {
    let mut b = Builder::new();
    let x = b.input("x", ty(2));
    let h = b.unary(Unary::Relu, x);
    let y = b.unary(Unary::Tanh, h);
    b.graph_mut().add_output(Output::value("y"), y);
    b.ok().expect("a typed graph");
    (b.finish(), [x, h, y])
}

fn ty(n: i64) -> TensorType {
    TensorType::new(DType::F32, vec![Dim::known(n)])
}

/// The numbers of the rules that are violated, and the messages.
fn faults(graph: &Graph<Prim>) -> (Vec<u8>, String) {
    let faults = graph.check().expect_err("a fault");
    let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    (faults.iter().map(|f| f.invariant).collect(), text)
}

#[test]
fn a_sound_graph_verifies() {
    let (graph, _) = chain();
    assert_eq!(graph.check(), Ok(()));
}

#[test]
fn rule_1_a_cycle() {
    let (mut graph, [_, h, y]) = chain();
    graph.set_inputs(h.node, &[y]);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [1]);
    assert_eq!(text, "rule 1: the graph has a cycle");
}

#[test]
fn rule_2_an_output_without_a_type() {
    let (mut graph, [_, _, y]) = chain();
    graph.node_mut(y.node).types.push(ty(2));
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [2]);
    assert!(text.contains("expected a name for each of 2 outputs, found 1"), "{text}");
}

#[test]
fn rule_2_a_node_without_outputs() {
    let (mut graph, [x, ..]) = chain();
    let node = Node { op: Prim::Unary(Unary::Abs), names: vec![], types: vec![], origin: Origin::default() };
    graph.add(node, &[x]);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [2]);
    assert!(text.contains("expected a name for each of 0 outputs, found 0"), "{text}");
}

#[test]
fn rule_3_a_wire_from_an_output_that_is_not_there() {
    let (mut graph, [_, h, y]) = chain();
    graph.set_inputs(y.node, &[Value { node: h.node, slot: 1 }]);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [3]);
    assert!(text.contains("input 0: expected a slot below 1, found 1"), "{text}");
}

#[test]
fn rule_4_a_gap_between_input_slots() {
    let (mut graph, [x, _, y]) = chain();
    graph.wire(x, y.node, 2);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [4]);
    assert!(text.contains("expected input 1, found 2"), "{text}");
}

#[test]
fn rule_4_two_wires_into_one_slot() {
    let (mut graph, [x, _, y]) = chain();
    graph.wire(x, y.node, 0);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [4]);
    assert!(text.contains("expected input 1, found 0"), "{text}");
}

#[test]
fn rule_5_a_name_used_twice() {
    let (mut graph, [x, _, y]) = chain();
    graph.node_mut(y.node).names[0] = graph.value_name(x).to_string();
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [5]);
    assert_eq!(text, "rule 5: name `x` of a value: expected a name that no other value has");
}

#[test]
fn rule_5_an_empty_name() {
    let (mut graph, [_, _, y]) = chain();
    graph.node_mut(y.node).names[0].clear();
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [5]);
    assert_eq!(text, "rule 5: name `` of a value: expected a name that no other value has");
}

#[test]
fn rule_6_an_output_that_is_not_there() {
    let (mut graph, [x, _, y]) = chain();
    graph.add_output(Output::value("z"), Value { node: x.node, slot: 4 });
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [6]);
    assert!(text.contains("output `z`: expected a slot below"), "{text}");
    // A removed node makes nothing.
    let (mut graph, _) = chain();
    graph.remove(y.node);
    graph.set_outputs(vec![(Output::value("y"), y)]);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [6]);
    assert!(text.contains("output `y`: expected a slot below 0, found 0"), "{text}");
}

#[test]
fn rule_7_a_type_that_the_operation_does_not_give() {
    let (mut graph, [_, _, y]) = chain();
    graph.node_mut(y.node).types[0] = ty(3);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [7]);
    assert!(text.contains("expected type f32[2], found f32[3]"), "{text}");
}

#[test]
fn rule_7_operands_that_do_not_fit() {
    let (mut graph, [x, _, y]) = chain();
    graph.node_mut(y.node).op = Prim::Transpose(prim::Transpose { perm: vec![1, 0] });
    graph.set_inputs(y.node, &[x]);
    let (rules, text) = faults(&graph);
    assert_eq!(rules, [7]);
    assert!(text.starts_with("rule 7: `"), "{text}");
}

#[test]
fn every_fault_is_reported() {
    let (mut graph, [x, h, y]) = chain();
    graph.node_mut(h.node).names[0] = "x".into();
    graph.wire(x, y.node, 3);
    graph.add_output(Output::value("z"), Value { node: x.node, slot: 9 });
    let mut rules = faults(&graph).0;
    rules.sort_unstable();
    assert_eq!(rules, [4, 5, 6]);
}

/// A vocabulary whose wires into a slot sum.
struct Summing;

impl PrintOp for Summing {
    fn name(&self) -> String {
        "Summing".into()
    }

    fn attributes(&self) -> String {
        String::new()
    }

    fn is_const(&self) -> bool {
        false
    }
}

impl Vocabulary for Summing {
    type Output = String;
    const FAN_IN: FanIn = FanIn::Sum;
}

#[test]
fn rule_4_wires_may_meet_where_the_vocabulary_sums_but_leave_no_gap() {
    let mut graph = Graph::<Summing>::default();
    let x = graph.add_input(Summing, "x", ty(2));
    let y = graph.add_value(Summing, "y", ty(2), Origin::default(), &[x]);
    graph.wire(x, y.node, 0);
    assert_eq!(graph.verify(|_, _| None), Ok(()));
    graph.wire(x, y.node, 2);
    let faults = graph.verify(|_, _| None).expect_err("a gap");
    assert_eq!(faults.iter().map(|f| f.invariant).collect::<Vec<_>>(), [4]);
    assert!(faults[0].message.contains("expected input 1, found 2"), "{}", faults[0]);
}
