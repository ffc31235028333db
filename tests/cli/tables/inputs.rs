//! Columns of a table as inputs: by position, by name.

use dlbc_proto::{DataType, write};

use super::*;

/// Writes a model of three inputs, a column each: `0.5 age + 2 debt - income`.
fn columns(folder: &TempDir, dtype: DataType) -> String {
    let dims = [write::Dim::Symbol("n".into()), write::Dim::Value(1)];
    let inputs = ["age", "net_income", "debt"]
        .map(|name| write::value_info(name, if name == "debt" { dtype } else { DataType::F32 }, &dims));
    let weight: Vec<u8> = [0.5f32, -1.0, 2.0].iter().flat_map(|w| w.to_le_bytes()).collect();
    let nodes = vec![
        write::node("Cast", "number", &["debt"], &["amount"], vec![write::attr_int("to", 1)]),
        write::node(
            "Concat",
            "row",
            &["age", "net_income", "amount"],
            &["x"],
            vec![write::attr_int("axis", 1)],
        ),
        write::node("MatMul", "linear", &["x", "w"], &["y"], vec![]),
    ];
    let graph = write::graph(
        "g",
        nodes,
        vec![write::tensor("w", DataType::F32, &[3, 1], weight)],
        inputs.into(),
        vec![write::value_info("y", DataType::F32, &dims)],
    );
    let file = path(folder, "columns.onnx");
    fs::write(&file, dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))).unwrap();
    file
}

#[test]
fn headers_name_inputs() {
    let folder = folder();
    let (model, table, csv) =
        (columns(&folder, DataType::F32), path(&folder, "t.csv"), path(&folder, "r.csv"));
    fs::write(&table, "id,debt,net income,age\na,1,2,40\nb,3,1,20\n").unwrap();
    let run = ["run", &model, "--csv", &table, "--rules", "grad-x-input", "--start", "value"];
    let done = dlbc(&[&run, &["--row", "all", "--out", &csv]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.err.contains("column `id` is not used") && !done.err.contains("by position"),
        "{}",
        done.err
    );
    assert!(done.out.contains("feature, 2 rows") && done.out.contains("net income"), "{}", done.out);
    let lines: Vec<String> = fs::read_to_string(&csv).unwrap().lines().map(String::from).collect();
    assert_eq!(lines[0], "row,target,age,net income,debt");
    let values: Vec<f64> = lines[1].split(',').skip(2).map(|c| c.parse().unwrap()).collect();
    // Shares of the inputs in proportion: 20, -2, 2 of 20.
    assert!(
        (values[0] / values[2] - 10.0).abs() < 1e-4 && (values[1] + values[2]).abs() < 1e-4,
        "{values:?}"
    );
    let picture = path(&folder, "p.png");
    ok(&[&run, &["--heatmap", &picture]]);
    fs::write(&table, "a,b\n1,2\n").unwrap();
    let error = fails(2, &[&run]);
    assert!(
        error.contains("no column has the name of an input") && error.contains("`net_income`"),
        "{error}"
    );
    fs::write(&table, "age,debt\n1,2\n").unwrap();
    assert!(fails(2, &[&run]).contains("missing input `net_income`"));
}

#[test]
fn whole_numbers_and_strings() {
    let folder = folder();
    let table = path(&folder, "t.csv");
    let model = columns(&folder, DataType::I64);
    let run = ["run", &model, "--csv", &table, "--rules", "grad-x-input"];
    fs::write(&table, "age,debt,net_income\n40,2,1\n41,2.5,1\n").unwrap();
    let done = dlbc(&[&run]);
    assert!(done.code == Some(0) && done.err.contains("`--live debt`"), "{}", done.err);
    assert_eq!(json(&[&run, &["--live", "debt"]])["features"].as_array().unwrap().len(), 3);
    let error = fails(3, &[&run, &["--row", "1"]]);
    assert!(error.contains("row 1, column 2 `debt`: expected a whole number"), "{error}");
    let model = columns(&folder, DataType::String);
    let error = fails(4, &[&["run", &model, "--csv", &table]]);
    assert!(error.contains("found strings") && error.contains("`number`"), "{error}");
}

#[test]
fn a_note_names_columns_that_are_taken_by_position() {
    let folder = folder();
    let table = path(&folder, "t.csv");
    let rows = fs::read_to_string("fixtures/tables/wine.csv").unwrap();
    let wide: String = rows
        .lines()
        .enumerate()
        .map(|(i, line)| if i == 0 { format!("id,{line}\n") } else { format!("{i},{line}\n") })
        .collect();
    fs::write(&table, wide).unwrap();
    let wine = ["run", "fixtures/tables/wine.onnx", "--csv"];
    let error = fails(3, &[&wine, &[&table]]);
    assert!(error.contains("input `X`: expected 13 columns, found 14"), "{error}");
    assert!(error.contains("`proline` is one too many; the first, `id`, looks like row numbers"), "{error}");
    let done = dlbc(&[&wine, &["fixtures/tables/wine.csv"]]);
    assert_eq!(done.err.matches("columns are taken by position").count(), 1, "{}", done.err);
}

#[test]
fn a_zipmap_leaves_the_tensor_of_probabilities() {
    let folder = folder();
    let file = path(&folder, "zip.onnx");
    let mut proto =
        dlbc_proto::read_model("fixtures/tables/wine.onnx".as_ref(), &Default::default()).unwrap().proto;
    let zip = write::node_in(
        "ai.onnx.ml",
        "ZipMap",
        "zip",
        &["probabilities"],
        &["dictionary"],
        vec![write::attr_ints("classlabels_int64s", [0, 1, 2])],
    );
    let graph = proto.graph.as_mut().unwrap();
    graph.node.push(zip);
    graph.output.push(write::value_info("dictionary", dlbc_proto::DataType::F32, &[]));
    fs::write(&file, dlbc_proto::encode(&proto)).unwrap();
    let run =
        |output: &str| json(&[&["run", &file, "--csv", "fixtures/tables/wine.csv", "--output", output]]);
    let [zipped, tensor] = ["dictionary", "probabilities"].map(|output| run(output)["inputs"].clone());
    assert_eq!(zipped, tensor);
}

/// A column of strings is looked up in the vocabulary of the model, and gets relevance as a column of numbers does.
#[test]
fn columns_of_strings() {
    let folder = folder();
    let table = path(&folder, "t.csv");
    fs::write(&table, "weight,color,age\n1.7,red,14.2\n1.7,blue,14.2\n1.7,nothing,14.2\n").unwrap();
    for rules in ["lrp-epsilon", "attnlrp", "grad-x-input"] {
        let run = ["run", "fixtures/pipelines/text_column.onnx", "--csv", &table, "--rules", rules];
        let all = json(&[&run, &["--row", "all"]]);
        assert_eq!(all["outputs"]["output_probability"]["shape"], json!([3, 3]));
        let of_color = |row: &str| json(&[&run, &["--row", row]])["inputs"]["color"].as_f64().unwrap();
        let [red, blue, nothing] = ["0", "1", "2"].map(of_color);
        assert!(red != blue && red != 0.0 && nothing == 0.0, "{rules}: {red} {blue} {nothing}");
    }
}
