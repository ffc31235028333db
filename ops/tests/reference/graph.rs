use std::collections::BTreeMap;

use dlbc_ops::prim::{Binary, Builder, Prim, Unary, reference};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{Array, DType, Dim, TensorType};

use super::{ints, row};

fn feed(values: &[(&str, Array)]) -> BTreeMap<String, Array> {
    values.iter().map(|(name, x)| (name.to_string(), x.clone())).collect()
}

#[test]
fn only_what_is_wanted_is_evaluated() {
    let mut b = Builder::new();
    let x = b.input("x", TensorType::new(DType::F32, vec![Dim::known(2)]));
    let unused = b.input("unused", TensorType::new(DType::F32, vec![Dim::symbol("n")]));
    let double = b.plus(x, x);
    let square = b.mul(double, x);
    let other = b.unary(Unary::Exp, unused);
    for (name, v) in [("double", double), ("square", square), ("again", square), ("x", x), ("other", other)] {
        b.graph_mut().add_output(Output::value(name), v);
    }
    b.ok().expect("a typed graph");
    let graph = b.finish();
    let inputs = feed(&[("x", row(&[1.0, 3.0]))]);
    let wanted = ["square", "double", "again", "x"].map(Output::value);
    let values = reference::run(&graph, &inputs, &wanted).expect("values");
    let values =
        values.into_iter().map(|(output, value)| (output.to_string(), value)).collect::<BTreeMap<_, _>>();
    let square = row(&[2.0, 18.0]);
    let expected = [
        ("square", square.clone()),
        ("double", row(&[2.0, 6.0])),
        ("again", square),
        ("x", row(&[1.0, 3.0])),
    ];
    assert_eq!(values, feed(&expected));

    let error = |inputs: &BTreeMap<String, Array>, wanted: &str| {
        reference::run(&graph, inputs, &[Output::value(wanted)]).expect_err("an error").to_string()
    };
    assert_eq!(error(&inputs, "other"), "node `unused` (Input): no value is given for this input");
    assert_eq!(error(&inputs, "z"), "node `z` (output): the graph has no such output");
    let long = feed(&[("x", row(&[1.0; 3]))]);
    assert_eq!(error(&long, "square"), "node `x` (Input): given value: expected f32[2], found f64[3]");
    assert!(error(&feed(&[("x", ints(&[2], &[1, 2]))]), "x").contains("i64[2]"));
}

#[test]
fn errors_name_the_node_and_its_primitive() {
    let mut b = Builder::new();
    let ty = TensorType::new(DType::I64, vec![Dim::known(1)]);
    let (x, y) = (b.input("x", ty.clone()), b.input("y", ty));
    let z = b.add(Prim::Binary(Binary::Div), &[x, y]);
    b.graph_mut().add_output(Output::value("z"), z);
    b.ok().expect("a typed graph");
    let graph = b.finish();
    let name = graph.node(z.node).name().to_string();
    let inputs = feed(&[("x", ints(&[1], &[1])), ("y", ints(&[1], &[0]))]);
    let error = reference::run(&graph, &inputs, &[Output::value("z")]).expect_err("an error");
    assert_eq!(error.to_string(), format!("node `{name}` (Div): integer division by 0"));
    assert_eq!(error.source.to_string(), "integer division by 0");
}
