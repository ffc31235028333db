//! `dlbc export`: writes forward and relevance as one plain ONNX model, and prints calls of it.

use std::fmt::Write;

use anyhow::Context;
use dlbc_artifact::TARGET_INPUT;
use dlbc_ops::program::{Output, Program};
use dlbc_ops::tensor::{Bindings, DType, Dim, TensorType};

use crate::cli::args::ExportArgs;
use crate::cli::exit::{Code, advised};
use crate::cli::terminal::{Console, print};
use dlbc::classes::Classes;
use dlbc::explainer::{artifact, load};
use dlbc::notes::Notes;
use dlbc::results;
use dlbc::wording::{json_text, size, visible};

/// Size of an open axis in the printed calls: of a picture (enough for a few strides) and of any other input.
const OPEN: (i64, i64) = (224, 8);

/// Exports a model.
///
/// # Errors
/// See the exit codes of the command line.
pub fn export(args: &ExportArgs, console: Console) -> anyhow::Result<()> {
    results::check(&args.out)?;
    let source = load::read(&args.model, &args.limits.model(), &Console { quiet: true })?;
    if let Some(model) = dlbc_artifact::export_metadata(&source.proto).get("model") {
        let path = args.model.display().to_string();
        let message = format!("`{}`: expected an ONNX model, found an exported explanation", visible(&path));
        return Err(advised(Code::Usage, message, format!("it was exported from `{}`", visible(model))));
    }
    args.check()?;
    let loaded = load::load(&args.model, &args.explain.load_options(&args.limits)?, &console)?;
    let program = &loaded.program;
    let options = args.options(&Classes::read(None, &program.info, &args.model)?)?;
    {
        let _progress = Notes::start(&console, "writing");
        artifact::export(program, &options, &args.out)?;
    }
    if console.quiet {
        return Ok(());
    }
    let bytes = std::fs::metadata(&args.out).with_context(|| format!("`{}`", args.out.display()))?.len();
    let mut text = format!("wrote {} ({})\n", args.out.display(), size(bytes));
    let path = args.out.display().to_string();
    text.push_str(&calls(program, &path, options.target.is_none())?);
    print(&text)
}

/// Formats the inputs and outputs of the exported model, and a line of Python and of JavaScript that calls it. `has_target` is
/// true if the model has the input [`TARGET_INPUT`].
fn calls(program: &Program, path: &str, has_target: bool) -> anyhow::Result<String> {
    let info = &program.info;
    let typed = |name: &str| program.graph.output(&Output::from(name)).map(|v| program.graph.ty(v).clone());
    let mut rows: Vec<[String; 3]> = vec![];
    let mut add = |what: &str, name: &str, ty: String| {
        rows.push([what.into(), visible(name).into_owned(), visible(&ty).into_owned()]);
    };
    for input in &info.inputs {
        add("input", &input.name, shown(&input.ty));
    }
    if has_target {
        add(
            "input",
            TARGET_INPUT,
            "int64 [batch] or [1], optional: the explained unit; without it the largest".into(),
        );
    }
    for name in &info.outputs {
        add("output", name, typed(name).map(|ty| shown(&ty)).unwrap_or_default());
    }
    for (name, input) in info.explanations() {
        add("output", &name.to_string(), format!("float32 {}", dims(&input.ty)));
    }
    let width = rows.iter().map(|r| r[1].chars().count()).max().unwrap_or(0).min(40);
    let mut out = String::new();
    for [what, name, ty] in rows {
        let _ = writeln!(out, "{what:6}  {name:width$}  {ty}");
    }
    let file = json_text(&path)?;
    let (mut python, mut javascript) = (vec![], vec![]);
    let sizes = sizes(program);
    for input in &info.inputs {
        let name = json_text(&input.name)?;
        let dims: Vec<i64> = input.ty.shape.0.iter().map(|d| d.eval(&sizes).unwrap_or(1)).collect();
        python.push(format!("{name}: {}", numpy(input.ty.dtype, &dims)));
        javascript.push(format!("{name}: {}", typed_array(input.ty.dtype, &dims)));
    }
    if has_target {
        javascript.push(format!("{TARGET_INPUT}: new ort.Tensor(\"int64\", BigInt64Array.of(-1n), [1])"));
    }
    let _ = writeln!(
        out,
        "\nPython, with onnxruntime:\n  import numpy, onnxruntime; session = onnxruntime.InferenceSession({file}); \
         print(dict(zip([o.name for o in session.get_outputs()], session.run(None, {{{}}}))))",
        python.join(", ")
    );
    let _ = writeln!(
        out,
        "JavaScript, with onnxruntime-node or onnxruntime-web:\n  const ort = require(\"onnxruntime-node\"); \
         ort.InferenceSession.create({file}).then(session => session.run({{{}}})).then(console.log)",
        javascript.join(", ")
    );
    if has_target {
        let _ = writeln!(
            out,
            "Python: `\"{TARGET_INPUT}\": numpy.array([3])` explains unit 3. JavaScript always gives `{TARGET_INPUT}`, -1 is the largest \
             unit; `--target` fixes it in the file."
        );
    }
    Ok(out)
}

fn dims(ty: &TensorType) -> String {
    let dims: Vec<String> = ty.shape.0.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn shown(ty: &TensorType) -> String {
    format!("{} {}", name(ty.dtype), dims(ty))
}

/// Returns sizes of the open dimensions for the printed calls: 1 for the batch, [`OPEN`] for other axes.
fn sizes(program: &Program) -> Bindings {
    let mut sizes = Bindings::new();
    for ty in program.info.inputs.iter().map(|i| &i.ty) {
        let picture = ty.rank() == 4 && ty.dtype.is_float();
        for (axis, dim) in ty.shape.0.iter().enumerate() {
            let value = match (axis, picture) {
                (0, _) => 1,
                (_, true) => OPEN.0,
                (_, false) => OPEN.1,
            };
            Dim::symbols(dim, &mut |symbol| {
                sizes.entry(symbol.clone()).or_insert(value);
            });
        }
    }
    sizes
}

/// Returns the name of a type in NumPy and ONNX Runtime.
fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::F16 => "float16",
        DType::Bf16 => "bfloat16",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::Bool => "bool",
    }
}

/// Returns an array of this type in Python: random floats, or ones for other types.
fn numpy(dtype: DType, dims: &[i64]) -> String {
    let list = dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match dtype.is_float() {
        true => format!("numpy.random.random_sample([{list}]).astype(\"{}\")", name(dtype)),
        false => format!("numpy.ones([{list}], \"{}\")", name(dtype)),
    }
}

/// Returns an array of this type in JavaScript: random floats, or ones for other types.
fn typed_array(dtype: DType, dims: &[i64]) -> String {
    let count = dims.iter().product::<i64>().max(0);
    let random = |kind: &str| format!("{kind}.from({{length: {count}}}, Math.random)");
    let ones = |kind: &str, bits: &str| format!("new {kind}({count}).fill({bits})");
    let data = match dtype {
        DType::F32 => random("Float32Array"),
        DType::F64 => random("Float64Array"),
        // Bits of the number 1.
        DType::F16 => ones("Uint16Array", "0x3c00"),
        DType::Bf16 => ones("Uint16Array", "0x3f80"),
        DType::I8 => ones("Int8Array", "1"),
        DType::I16 => ones("Int16Array", "1"),
        DType::I32 => ones("Int32Array", "1"),
        DType::I64 => ones("BigInt64Array", "1n"),
        DType::U8 | DType::Bool => ones("Uint8Array", "1"),
        DType::U16 => ones("Uint16Array", "1"),
        DType::U32 => ones("Uint32Array", "1"),
        DType::U64 => ones("BigUint64Array", "1n"),
    };
    format!("new ort.Tensor(\"{}\", {data}, {dims:?})", name(dtype))
}
