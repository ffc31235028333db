//! The ONNX spelling of every primitive, as a body of standard nodes.

mod elementwise;
mod movement;
mod product;
mod window;

use dlbc_ops::prim::{Part, Prim};
use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};
use dlbc_proto::onnx::{AttributeProto, NodeProto};
use dlbc_proto::{DataType, write};

/// A spelled primitive: standard nodes from `x0, x1, …` (the operands) and `d0, d1, …` (vectors of dimensions that only a
/// run knows) to `y`.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The nodes.
    pub nodes: Vec<NodeProto>,
    /// The operands' names.
    pub inputs: Vec<String>,
    /// The vectors of dimensions that the caller computes.
    pub vectors: Vec<Vec<Dim>>,
    count: usize,
}

/// The name of the result of a body.
pub const RESULT: &str = "y";

/// Spells a primitive.
///
/// # Errors
/// Why it cannot be spelled for these types.
pub fn spell(prim: &Prim, inputs: &[TensorType], result: &TensorType) -> Result<Body, String> {
    let mut b = Body { inputs: (0..inputs.len()).map(|i| format!("x{i}")).collect(), ..Body::default() };
    match prim {
        Prim::Input | Prim::Const(_) => return Err("it is no computation".into()),
        Prim::Unary(f) => elementwise::unary(&mut b, *f)?,
        Prim::Binary(f) => elementwise::binary(&mut b, *f, inputs[0].dtype)?,
        Prim::Select => b.finish("Where", &["x0", "x1", "x2"], vec![]),
        Prim::Cast { to } => b.finish("Cast", &["x0"], vec![write::attr_int("to", i64::from(code(*to).to_onnx()))]),
        Prim::MatMul { .. } | Prim::Conv { .. } | Prim::ConvTranspose { .. } => {
            product::spell(&mut b, prim, inputs, result)?;
        }
        Prim::WindowSum(_) | Prim::WindowSumTranspose { .. } | Prim::WindowMax(_) | Prim::WindowMaxShare(_) => {
            window::spell(&mut b, prim, inputs, result)?;
        }
        Prim::Reduce { .. } | Prim::Softmax { .. } => elementwise::reduce(&mut b, prim),
        _ => movement::spell(&mut b, prim, inputs, result)?,
    }
    Ok(b)
}

/// The file's element type.
pub fn code(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::F32,
        DType::F64 => DataType::F64,
        DType::F16 => DataType::F16,
        DType::Bf16 => DataType::Bf16,
        DType::I8 => DataType::I8,
        DType::I16 => DataType::I16,
        DType::I32 => DataType::I32,
        DType::I64 => DataType::I64,
        DType::U8 => DataType::U8,
        DType::U16 => DataType::U16,
        DType::U32 => DataType::U32,
        DType::U64 => DataType::U64,
        DType::Bool => DataType::Bool,
    }
}

impl Body {
    /// Adds a node and returns its result.
    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = format!("t{}", self.count);
        self.count += 1;
        self.nodes.push(write::node(op, &name, inputs, &[&name], attributes));
        name
    }

    /// Adds the node that makes the result.
    fn finish(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) {
        self.nodes.push(write::node(op, RESULT, inputs, &[RESULT], attributes));
    }

    /// A constant.
    fn constant(&mut self, t: &Tensor) -> String {
        let dims: Vec<u64> = t.dims().iter().map(|d| *d as u64).collect();
        let tensor = write::tensor("", code(t.dtype()), &dims, t.bytes().to_vec());
        self.node("Constant", &[], vec![write::attr_tensor("value", tensor)])
    }

    /// A float32 scalar.
    fn float(&mut self, value: f32) -> String {
        self.constant(&Tensor::scalar(value))
    }

    /// An int64 vector.
    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::from_i64(&[values.len()], values))
    }

    /// An int64 vector of dimensions: a constant when they are known, else computed by the caller.
    fn vector(&mut self, dims: &[Dim]) -> String {
        if let Some(known) = dims.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>() {
            return self.ints(&known);
        }
        let at = self.vectors.iter().position(|v| v == dims).unwrap_or_else(|| {
            self.vectors.push(dims.to_vec());
            self.vectors.len() - 1
        });
        format!("d{at}")
    }

    /// A part of a value.
    fn part(&mut self, x: &str, part: Part) -> String {
        match part {
            Part::Id => x.to_string(),
            Part::Abs => self.node("Abs", &[x], vec![]),
            Part::Pos => self.node("Relu", &[x], vec![]),
            Part::Neg => {
                let minus = self.node("Neg", &[x], vec![]);
                let kept = self.node("Relu", &[&minus], vec![]);
                self.node("Neg", &[&kept], vec![])
            }
        }
    }

    /// `a / b`, 0 where `b` is 0.
    fn guarded_div(&mut self, a: &str, b: &str) -> String {
        let (zero, one) = (self.float(0.0), self.float(1.0));
        let empty = self.node("Equal", &[b, &zero], vec![]);
        let divisor = self.node("Where", &[&empty, &one, b], vec![]);
        let quotient = self.node("Div", &[a, &divisor], vec![]);
        self.node("Where", &[&empty, &zero, &quotient], vec![])
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    write::attr_ints(name, values.iter().map(|v| *v as i64).collect::<Vec<_>>())
}
