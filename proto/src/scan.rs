//! Scan of an encoded model before memory is allocated for it.
//!
//! An empty message takes two bytes in a file and hundreds in memory, and an integer takes one byte and eight. The scan
//! therefore walks the wire format without recursion, counts nodes and nesting, and adds up the memory that decoding
//! would allocate. A model that exceeds its limits is refused before it is decoded.

use crate::{Limits, ModelFault, onnx};

/// Nesting of messages that the decoder accepts below the model.
const MAX_MESSAGE_DEPTH: usize = 100;

/// Decoded size in bytes that any model may take, regardless of its file size and limits.
const FREE_BYTES: u64 = 256 << 20;

/// Decoded size in bytes per byte of the file that a model may take, beyond [`FREE_BYTES`].
const BYTES_PER_BYTE: u64 = 32;

/// Heap size in bytes of a string or byte string besides its contents.
const STRING_BYTES: u64 = 32;

/// Refuses an encoded model if decoding it would exceed `limits`, or if it is cut off.
pub(crate) fn scan(bytes: &[u8], limits: &Limits) -> Result<(), ModelFault> {
    let budget = (bytes.len() as u64)
        .saturating_mul(BYTES_PER_BYTE)
        .saturating_add(FREE_BYTES)
        .min(limits.max_model_bytes.max(FREE_BYTES));
    let mut reader = Reader { bytes, at: 0 };
    let mut stack = vec![OpenMessage { kind: Kind::Model, end: bytes.len(), graphs: 0 }];
    let (mut nodes, mut main_graphs, mut cost) = (0usize, 0usize, 0u64);

    while let Some(&OpenMessage { kind, end, graphs }) = stack.last() {
        if reader.at == end {
            stack.pop();
            continue;
        }
        let (field, wire) = reader.key(end)?;
        let content = kind.field(field);
        match wire {
            Wire::Varint => {
                reader.varint(end)?;
                cost += 8;
            }
            Wire::Fixed(size) => {
                reader.skip(size, end)?;
                cost += 8;
            }
            Wire::Length => {
                let length = reader.length(end)?;
                cost = cost.saturating_add(content.heap_bytes(length as u64));
                match content {
                    Content::Message(child) => {
                        let graphs = graphs + usize::from(matches!(child, Kind::Graph | Kind::Function));
                        if graphs > limits.max_depth {
                            return Err(ModelFault::TooDeep { limit: limits.max_depth });
                        }
                        if stack.len() > MAX_MESSAGE_DEPTH {
                            return Err(ModelFault::MessagesTooDeep { limit: MAX_MESSAGE_DEPTH });
                        }
                        nodes += usize::from(child == Kind::Node);
                        if nodes > limits.max_nodes {
                            return Err(ModelFault::TooManyNodes { limit: limits.max_nodes });
                        }
                        main_graphs += usize::from(kind == Kind::Model && child == Kind::Graph);
                        if main_graphs > 1 {
                            return Err(ModelFault::TwoGraphs);
                        }
                        stack.push(OpenMessage { kind: child, end: reader.at + length, graphs });
                    }
                    Content::Packed(_) | Content::Borrowed | Content::Copied => reader.at += length,
                }
            }
        }
        if cost > budget {
            return Err(ModelFault::TooLarge { what: "the decoded model", actual: cost, limit: budget });
        }
    }
    Ok(())
}

/// Message whose end is not reached: its kind, its end in bytes, and the number of graphs around its contents.
#[derive(Clone, Copy)]
struct OpenMessage {
    kind: Kind,
    end: usize,
    graphs: usize,
}

/// Contents of a length-delimited field.
#[derive(Clone, Copy)]
enum Content {
    /// Message of a known kind.
    Message(Kind),
    /// Numbers; each byte in the file takes up to this number of bytes in memory.
    Packed(u64),
    /// Bytes that stay in the file and are not copied.
    Borrowed,
    /// Text, bytes, or an unknown field.
    Copied,
}

impl Content {
    fn heap_bytes(self, length: u64) -> u64 {
        match self {
            Content::Message(kind) => kind.bytes(),
            Content::Packed(factor) => length.saturating_mul(factor),
            Content::Borrowed => STRING_BYTES,
            Content::Copied => STRING_BYTES.saturating_add(length),
        }
    }
}

/// Kind of a message of the format.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Opset,
    Pair,
    Graph,
    Annotation,
    Node,
    Attribute,
    Tensor,
    Segment,
    Sparse,
    Shape,
    Dim,
    Type,
    Inner,
    SequenceType,
    TensorType,
    MapType,
    ValueInfo,
    Function,
}

impl Kind {
    /// Returns the contents of field number `field` as defined by `onnx.proto`.
    fn field(self, field: u32) -> Content {
        use Content::{Borrowed, Copied, Message, Packed};
        match (self, field) {
            (Kind::Model, 7) => Message(Kind::Graph),
            (Kind::Model, 8) => Message(Kind::Opset),
            (Kind::Model, 14) => Message(Kind::Pair),
            (Kind::Model, 25) => Message(Kind::Function),
            (Kind::Graph, 1) => Message(Kind::Node),
            (Kind::Graph, 5) => Message(Kind::Tensor),
            (Kind::Graph, 11..=13) => Message(Kind::ValueInfo),
            (Kind::Graph, 14) => Message(Kind::Annotation),
            (Kind::Graph, 15) => Message(Kind::Sparse),
            (Kind::Graph, 16) => Message(Kind::Pair),
            (Kind::Annotation, 2) => Message(Kind::Pair),
            (Kind::Node, 5) => Message(Kind::Attribute),
            (Kind::Node, 9) => Message(Kind::Pair),
            (Kind::Attribute, 5 | 10) => Message(Kind::Tensor),
            (Kind::Attribute, 6 | 11) => Message(Kind::Graph),
            (Kind::Attribute, 22 | 23) => Message(Kind::Sparse),
            (Kind::Attribute, 14 | 15) => Message(Kind::Type),
            (Kind::Attribute, 7) => Packed(1),
            (Kind::Attribute, 8) => Packed(8),
            (Kind::Tensor, 3) => Message(Kind::Segment),
            (Kind::Tensor, 13 | 16) => Message(Kind::Pair),
            (Kind::Tensor, 4 | 10) => Packed(1),
            (Kind::Tensor, 5) => Packed(4),
            (Kind::Tensor, 1 | 7 | 11) => Packed(8),
            (Kind::Tensor, 9) => Borrowed,
            (Kind::Sparse, 1 | 2) => Message(Kind::Tensor),
            (Kind::Sparse, 3) => Packed(8),
            (Kind::Shape, 1) => Message(Kind::Dim),
            (Kind::Type, 1 | 8) => Message(Kind::TensorType),
            (Kind::Type, 4 | 9) => Message(Kind::SequenceType),
            (Kind::Type, 5) => Message(Kind::MapType),
            (Kind::Type, 7) => Message(Kind::Inner),
            (Kind::TensorType, 2) => Message(Kind::Shape),
            (Kind::SequenceType, 1) | (Kind::MapType, 2) => Message(Kind::Type),
            (Kind::ValueInfo, 2) => Message(Kind::Type),
            (Kind::ValueInfo, 4) => Message(Kind::Pair),
            (Kind::Function, 7) => Message(Kind::Node),
            (Kind::Function, 9) => Message(Kind::Opset),
            (Kind::Function, 11) => Message(Kind::Attribute),
            (Kind::Function, 12) => Message(Kind::ValueInfo),
            (Kind::Function, 14) => Message(Kind::Pair),
            _ => Copied,
        }
    }

    /// Returns the size in bytes of the decoded message, not counting the memory that its fields own.
    fn bytes(self) -> u64 {
        let bytes = match self {
            Kind::Model => size_of::<onnx::ModelProto>(),
            Kind::Opset => size_of::<onnx::OperatorSetIdProto>(),
            Kind::Pair => size_of::<onnx::StringStringEntryProto>(),
            Kind::Graph => size_of::<onnx::GraphProto>(),
            Kind::Annotation => size_of::<onnx::TensorAnnotation>(),
            Kind::Node => size_of::<onnx::NodeProto>(),
            Kind::Attribute => size_of::<onnx::AttributeProto>(),
            Kind::Tensor => size_of::<onnx::TensorProto>(),
            Kind::Segment => size_of::<onnx::tensor_proto::Segment>(),
            Kind::Sparse => size_of::<onnx::SparseTensorProto>(),
            Kind::Shape => size_of::<onnx::TensorShapeProto>(),
            Kind::Dim => size_of::<onnx::tensor_shape_proto::Dimension>(),
            Kind::Type | Kind::SequenceType | Kind::MapType => size_of::<onnx::TypeProto>(),
            Kind::Inner => size_of::<onnx::type_proto::Opaque>(),
            Kind::TensorType => size_of::<onnx::type_proto::Tensor>(),
            Kind::ValueInfo => size_of::<onnx::ValueInfoProto>(),
            Kind::Function => size_of::<onnx::FunctionProto>(),
        };
        bytes as u64
    }
}

enum Wire {
    Varint,
    Fixed(usize),
    Length,
}

/// Reader of the wire format. Reads no byte at or after the `end` of the open message.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn key(&mut self, end: usize) -> Result<(u32, Wire), ModelFault> {
        let start = self.at;
        let malformed = |problem| Err(ModelFault::Malformed { offset: start, problem });
        let Ok(key) = u32::try_from(self.varint(end)?) else {
            return malformed("expected a field number below 2^29");
        };
        if key >> 3 == 0 {
            return malformed("expected a field number above 0");
        }
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed(8),
            2 => Wire::Length,
            5 => Wire::Fixed(4),
            3 | 4 => return malformed("expected a field, found a group"),
            _ => return malformed("expected a wire type from 0 to 5"),
        };
        Ok((key >> 3, wire))
    }

    fn varint(&mut self, end: usize) -> Result<u64, ModelFault> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes[..end].get(self.at) else {
                return Err(ModelFault::Malformed {
                    offset: start,
                    problem: "expected more bytes of a number",
                });
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ModelFault::Malformed { offset: start, problem: "expected a number of 64 bits" })
    }

    fn length(&mut self, end: usize) -> Result<usize, ModelFault> {
        let start = self.at;
        let length = self.varint(end)?;
        match usize::try_from(length) {
            Ok(length) if length <= end - self.at => Ok(length),
            _ => Err(ModelFault::Malformed { offset: start, problem: "expected a field within its message" }),
        }
    }

    fn skip(&mut self, size: usize, end: usize) -> Result<(), ModelFault> {
        if size > end - self.at {
            return Err(ModelFault::Malformed {
                offset: self.at,
                problem: "expected more bytes of a number",
            });
        }
        self.at += size;
        Ok(())
    }
}
