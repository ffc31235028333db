#!/usr/bin/env python3
"""Writes models of one to three operators with inputs and what ONNX Runtime gives for them.

    scripts/make_op_cases.py OUT [--only PREFIX]

Writes OUT/NAME.onnx, OUT/NAME.in.npz, OUT/NAME.out.npz and OUT/cases.json, the list of names. A name
`refused_OP` says that OP is not supported.
The first output has at most three axes, so that its relevance can be started; a result with more is
flattened for that and kept as a further output. Deterministic: values depend on the case's name alone.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]


class Cases:
    """Collects cases; writes each when it is added."""

    def __init__(self, out: Path, only: str) -> None:
        self.out, self.only, self.names = out, only, []  # type: Path, str, list[str]
        out.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, nodes: list[onnx.NodeProto], inputs: Arrays, weights: Arrays | None = None, *,
            opset: int = 17, outputs: tuple[str, ...] = ("y",), symbolic: bool = False,
            functions: list[onnx.FunctionProto] | None = None) -> None:
        """A case; `outputs` are what the nodes make. With `symbolic`, the first axis of every input is "batch"."""
        if not name.startswith(self.only):
            return
        assert name not in self.names, name

        def model(outs: list[str], extra: list[onnx.NodeProto]) -> onnx.ModelProto:
            infos = []
            for n, a in inputs.items():
                dims: list[Any] = list(a.shape)
                if symbolic:
                    dims[0] = "batch"
                infos.append(helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), dims))
            made = [onnx.ValueInfoProto(name=o, type=kinds.get(o, helper.make_tensor_type_proto(TensorProto.FLOAT, None)))
                    for o in outs]
            graph = helper.make_graph(nodes + extra, name, infos, made,
                                      [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()])
            imports = [helper.make_opsetid("", opset)]
            if functions:
                imports.append(helper.make_opsetid("local", 1))
            return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions or [])

        kinds: dict[str, onnx.TypeProto] = {}
        result = run(model(list(outputs), []), inputs, name)
        for o in outputs:
            kinds[o] = helper.make_tensor_type_proto(
                helper.np_dtype_to_tensor_dtype(result[o].dtype), [None] * result[o].ndim)
        outs, extra = list(outputs), []
        if result[outputs[0]].ndim > 3:
            extra = [helper.make_node("Flatten", [outputs[0]], ["flat"], name="flat", axis=1)]
            outs = ["flat", *outs]
        final = model(outs, extra)
        np.savez(self.out / f"{name}.in.npz", **inputs)
        np.savez(self.out / f"{name}.out.npz", **run(final, inputs, name))
        onnx.save(final, self.out / f"{name}.onnx")
        self.names.append(name)

    def one(self, name: str, op: str, x: np.ndarray, *weights: np.ndarray | None, opset: int = 17,
            **attributes: Any) -> None:
        """`y = op(x, weights…)`; None leaves an operand out."""
        named = {f"w{i}": w for i, w in enumerate(weights) if w is not None}
        operands = ["x"] + [f"w{i}" if w is not None else "" for i, w in enumerate(weights)]
        self.add(name, [helper.make_node(op, operands, ["y"], name="n", **attributes)], {"x": x}, named, opset=opset)


def run(model: onnx.ModelProto, inputs: Arrays, name: str) -> Arrays:
    """What ONNX Runtime gives, unoptimised."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs)))
    except Exception as e:
        raise SystemExit(f"{name}: {e}") from e


def r(key: str, *shape: int) -> np.ndarray:
    """Normal float32 values that depend on the key and the shape alone."""
    seed = zlib.crc32(f"{key}{shape}".encode())
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="only cases whose name begins so")
    arguments = parser.parse_args()
    cases = Cases(arguments.out, arguments.only)
    for group in GROUPS:
        group(cases)
    (arguments.out / "cases.json").write_text(json.dumps(cases.names))
    print(f"{len(cases.names)} cases")


def convolutions(c: Cases) -> None:
    conv = "Conv"
    c.one("conv_1d", conv, r("x", 2, 3, 11), r("w", 4, 3, 3), r("b", 4))
    c.one("conv_2d_nobias", conv, r("x", 2, 3, 7, 6), r("w", 4, 3, 3, 2))
    c.one("conv_3d", conv, r("x", 1, 2, 5, 4, 6), r("w", 3, 2, 2, 2, 3), r("b", 3), pads=[1, 0, 1, 0, 1, 2])
    c.one("conv_groups", conv, r("x", 2, 4, 6, 6), r("w", 6, 2, 3, 3), r("b", 6), group=2, pads=[1, 1, 1, 1])
    c.one("conv_depthwise", conv, r("x", 2, 4, 6, 6), r("w", 4, 1, 3, 3), r("b", 4), group=4, strides=[2, 2])
    c.one("conv_depthwise_multiplier", conv, r("x", 1, 3, 6, 6), r("w", 6, 1, 3, 3), r("b", 6), group=3)
    c.one("conv_dilation", conv, r("x", 1, 2, 9, 9), r("w", 3, 2, 3, 3), r("b", 3), dilations=[2, 3])
    c.one("conv_asymmetric_pads", conv, r("x", 1, 2, 6, 7), r("w", 3, 2, 3, 3), r("b", 3), pads=[0, 1, 2, 3])
    c.one("conv_stride_above_kernel", conv, r("x", 1, 2, 9, 9), r("w", 3, 2, 2, 1), r("b", 3), strides=[4, 3])
    c.one("conv_1d_all", conv, r("x", 2, 4, 13), r("w", 4, 2, 3), r("b", 4), group=2, dilations=[2], strides=[2],
          pads=[3, 1])
    for pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        c.one(f"conv_{pad}", conv, r("x", 1, 2, 8, 7), r("w", 3, 2, 4, 2), r("b", 3), auto_pad=pad, strides=[2, 3])
        c.one(f"conv_1d_{pad}_stride1", conv, r("x", 1, 2, 8), r("w", 3, 2, 4), r("b", 3), auto_pad=pad)
    transposed = "ConvTranspose"
    c.one("convt_1d", transposed, r("x", 2, 3, 5), r("w", 3, 4, 3), r("b", 4), strides=[2])
    c.one("convt_2d", transposed, r("x", 2, 3, 4, 5), r("w", 3, 2, 3, 3), r("b", 2), strides=[2, 3], pads=[1, 0, 0, 2])
    c.one("convt_nobias", transposed, r("x", 1, 3, 4, 5), r("w", 3, 2, 2, 2), strides=[2, 2])
    c.one("convt_3d", transposed, r("x", 1, 2, 3, 2, 3), r("w", 2, 3, 2, 3, 2), r("b", 3), strides=[1, 2, 2])
    c.one("convt_groups", transposed, r("x", 1, 4, 4, 4), r("w", 4, 3, 3, 3), r("b", 6), group=2, pads=[1, 1, 1, 1])
    c.one("convt_depthwise", transposed, r("x", 1, 4, 4, 4), r("w", 4, 1, 4, 4), group=4, strides=[2, 2],
          pads=[1, 1, 1, 1])
    c.one("convt_dilation", transposed, r("x", 1, 2, 4, 4), r("w", 2, 3, 3, 2), r("b", 3), dilations=[2, 3])
    c.one("convt_output_padding", transposed, r("x", 1, 2, 4, 4), r("w", 2, 3, 3, 3), r("b", 3), strides=[2, 3],
          pads=[1, 1, 1, 1], output_padding=[1, 2])
    c.one("convt_output_shape", transposed, r("x", 1, 2, 4, 4), r("w", 2, 3, 3, 3), r("b", 3), strides=[2, 2],
          output_shape=[8, 8])
    c.one("convt_stride_above_kernel", transposed, r("x", 1, 2, 4, 4), r("w", 2, 3, 2, 2), r("b", 3), strides=[3, 4])
    for pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        c.one(f"convt_{pad}", transposed, r("x", 1, 2, 4, 5), r("w", 2, 3, 4, 3), r("b", 3), auto_pad=pad,
              strides=[2, 2])
        c.one(f"convt_output_shape_{pad}", transposed, r("x", 1, 2, 4), r("w", 2, 3, 4), auto_pad=pad, strides=[3],
              output_shape=[10])
    norm = {"s": abs(r("s", 3)) + 1, "o": r("o", 3), "m": r("m", 3), "v": abs(r("v", 3)) + np.float32(0.5)}
    for name, first in [("after_conv", conv), ("after_convt", transposed)]:
        c.add(f"batch_norm_{name}", [node(first, ["x", "w", "b"], ["h"]),
                                     node("BatchNormalization", ["h", "s", "o", "m", "v"], ["g"]),
                                     node("Relu", ["g"], ["y"])],
              {"x": r("x", 2, 3, 5, 5)}, {"w": r("w", 3, 3, 3, 3), "b": r("b", 3), **norm})
    wide = {"s": abs(r("st", 6)) + 1, "o": r("ot", 6), "m": r("mt", 6), "v": abs(r("vt", 6)) + np.float32(0.5)}
    c.add("batch_norm_after_convt_groups", [node(transposed, ["x", "w", "b"], ["h"], strides=[2, 2], group=2),
                                            node("BatchNormalization", ["h", "s", "o", "m", "v"], ["g"]),
                                            node("Relu", ["g"], ["y"])],
          {"x": r("x", 2, 4, 3, 3)}, {"w": r("w", 4, 3, 2, 2), "b": r("b", 6), **wide})
    c.add("batch_norm_before_conv", [node("BatchNormalization", ["x", "s", "o", "m", "v"], ["h"], epsilon=0.1),
                                     node(conv, ["h", "w"], ["y"])],
          {"x": r("x", 2, 3, 5, 5)}, {"w": r("w", 4, 3, 3, 3), **norm})
    for opset in [7, 9, 14, 17]:
        c.one(f"batch_norm_alone_opset{opset}", "BatchNormalization", r("x", 2, 3, 4, 4), *norm.values(), opset=opset)
    c.one("batch_norm_matrix", "BatchNormalization", r("x", 2, 3), *norm.values())
    c.add("conv_transpose_relu_conv", [node(transposed, ["x", "w", "b"], ["h"], strides=[2, 2]), node("Relu", ["h"], ["g"]),
                                       node(conv, ["g", "v"], ["y"])],
          {"x": r("x", 3, 3, 5, 5)}, {"w": r("w", 3, 3, 3, 3), "b": r("b", 3), "v": r("v", 2, 3, 3, 3)}, symbolic=True)


def products(c: Cases) -> None:
    for ta in [0, 1]:
        for tb in [0, 1]:
            x = r("x", 3, 4) if not ta else r("x", 4, 3)
            w = r("w", 4, 5) if not tb else r("w", 5, 4)
            c.one(f"gemm_{ta}{tb}", "Gemm", x, w, r("b", 5), transA=ta, transB=tb, alpha=0.5, beta=2.0)
    for name, bias in [("row", r("b", 1, 5)), ("scalar", r("b", 1)), ("column", r("b", 3, 1)), ("full", r("b", 3, 5))]:
        c.one(f"gemm_bias_{name}", "Gemm", r("x", 3, 4), r("w", 4, 5), bias)
    c.one("gemm_nobias", "Gemm", r("x", 3, 4), r("w", 4, 5), opset=11)
    c.one("gemm_opset7", "Gemm", r("x", 3, 4), r("w", 5, 4), r("b", 5), opset=7, transB=1)
    c.add("gemm_two_inputs", [node("Gemm", ["x", "z", "b"], ["y"], transB=1, alpha=0.5)],
          {"x": r("x", 3, 4), "z": r("z", 5, 4)}, {"b": r("b", 5)})
    c.add("gemm_constant_left", [node("Gemm", ["w", "x"], ["y"])], {"x": r("x", 4, 5)}, {"w": r("w", 3, 4)})
    for name, x, w in [("2d", (3, 4), (4, 5)), ("3d", (2, 3, 4), (4, 5)), ("4d", (2, 2, 3, 4), (4, 5)),
                       ("batched", (2, 3, 4), (2, 4, 5)), ("broadcast", (3, 4), (2, 4, 5)), ("vector", (4,), (4, 5))]:
        c.add(f"matmul_add_{name}", [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])],
              {"x": r("x", *x)}, {"w": r("w", *w), "b": r("b", 5)})
    c.add("matmul_constant_left", [node("MatMul", ["w", "x"], ["y"])], {"x": r("x", 2, 4, 5)}, {"w": r("w", 3, 4)})
    c.add("matmul_vector_right", [node("MatMul", ["x", "w"], ["y"])], {"x": r("x", 2, 3, 4)}, {"w": r("w", 4)})
    c.add("matmul_two_inputs", [node("MatMul", ["x", "z"], ["y"])], {"x": r("x", 2, 3, 4), "z": r("z", 2, 4, 5)})
    c.add("matmul_two_inputs_broadcast", [node("MatMul", ["x", "z"], ["y"])], {"x": r("x", 2, 3, 4), "z": r("z", 4, 5)})
    c.add("mlp_symbolic", [node("Gemm", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["g"]), node("Gemm", ["g", "v"], ["y"])],
          {"x": r("x", 3, 4)}, {"w": r("w", 4, 6), "b": r("b", 6), "v": r("v", 6, 2)}, symbolic=True)


def pools(c: Cases) -> None:
    for op in ["MaxPool", "AveragePool"]:
        low = op.lower()
        c.one(f"{low}_1d", op, r("x", 2, 3, 9), kernel_shape=[3], strides=[2], pads=[1, 0])
        c.one(f"{low}_2d", op, r("x", 1, 2, 7, 8), kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 2])
        c.one(f"{low}_3d", op, r("x", 1, 2, 4, 5, 6), kernel_shape=[2, 2, 3], strides=[2, 1, 2])
        c.one(f"{low}_stride_above_kernel", op, r("x", 1, 2, 9), kernel_shape=[2], strides=[4])
        c.one(f"{low}_opset8", op, r("x", 1, 2, 6, 6), kernel_shape=[2, 2], opset=8)
        for name, size, pad in [("even", 8, 0), ("odd", 9, 0), ("pads", 8, 1), ("dropped", 7, 1)]:
            c.one(f"{low}_ceil_{name}", op, r("x", 1, 2, size, size), kernel_shape=[3, 3], strides=[2, 2],
                  pads=[pad] * 4, ceil_mode=1)
        for pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
            c.one(f"{low}_{pad}", op, r("x", 1, 2, 8, 7), kernel_shape=[3, 2], strides=[2, 3], auto_pad=pad)
    c.one("maxpool_dilations", "MaxPool", r("x", 1, 2, 9, 9), kernel_shape=[2, 3], dilations=[3, 2])
    c.one("maxpool_dilations_ceil", "MaxPool", r("x", 1, 2, 10), kernel_shape=[2], dilations=[3], strides=[2], ceil_mode=1)
    c.one("averagepool_dilations", "AveragePool", r("x", 1, 2, 9, 9), kernel_shape=[2, 3], dilations=[3, 2], opset=19)
    for ceil in [0, 1]:
        c.one(f"averagepool_count_include_pad_{ceil}", "AveragePool", r("x", 1, 2, 8, 7), kernel_shape=[3, 3],
              strides=[2, 2], pads=[1, 1, 1, 0], count_include_pad=1, ceil_mode=ceil, opset=19)
    c.one("averagepool_excluded_pads", "AveragePool", r("x", 1, 2, 6, 6), kernel_shape=[3, 3], pads=[1, 2, 1, 0])
    for op in ["GlobalAveragePool", "GlobalMaxPool"]:
        for name, shape in [("1d", (2, 3, 5)), ("2d", (2, 3, 4, 5)), ("3d", (1, 2, 3, 2, 4))]:
            c.one(f"{op.lower()}_{name}", op, r("x", *shape))


def activations(c: Cases) -> None:
    x = r("x", 2, 3, 5) * 2
    for op in ["Relu", "Elu", "Selu", "LeakyRelu", "Softplus", "Softsign", "HardSigmoid", "Sigmoid", "Tanh", "Erf", "Abs",
               "Neg", "Exp", "Sin", "Cos", "Tan", "Floor", "Ceil", "Sign", "Round", "Identity"]:
        c.one(op.lower(), op, x)
    for op in ["HardSwish", "Celu", "ThresholdedRelu", "Shrink"]:
        c.one(op.lower(), op, x)
    c.one("mish", "Mish", x, opset=18)
    for op in ["Log", "Sqrt", "Reciprocal"]:
        c.one(op.lower(), op, abs(x) + np.float32(0.1))
    for approximate in ["none", "tanh"]:
        c.one(f"gelu_{approximate}", "Gelu", x, opset=20, approximate=approximate)
    c.one("elu_alpha", "Elu", x, alpha=0.3)
    c.one("selu_alpha", "Selu", x, alpha=1.1, gamma=0.7)
    c.one("celu_alpha", "Celu", x, alpha=0.4)
    c.one("leakyrelu_alpha", "LeakyRelu", x, alpha=-0.3)
    c.one("hardsigmoid_alpha", "HardSigmoid", x, alpha=0.4, beta=0.3)
    c.one("thresholdedrelu_alpha", "ThresholdedRelu", x, alpha=0.3)
    c.one("shrink_bias", "Shrink", x, bias=0.3, lambd=0.7)
    c.one("prelu_channel", "PRelu", r("x", 2, 3, 4, 4), r("slope", 3, 1, 1))
    c.one("prelu_scalar", "PRelu", x, r("slope", 1))
    c.one("prelu_opset7", "PRelu", x, r("slope", 3, 1), opset=7)
    c.one("clip_attributes", "Clip", x, opset=6, min=-0.5, max=1.0)
    c.one("clip_attribute_min", "Clip", x, opset=6, min=-0.5)
    c.one("clip_inputs", "Clip", x, np.float32(-0.5), np.float32(1.0), opset=11)
    c.one("clip_min", "Clip", x, np.float32(-0.5), opset=13)
    c.one("clip_max", "Clip", x, None, np.float32(0.5), opset=13)
    c.one("clip_neither", "Clip", x, opset=13)
    for op in ["Softmax", "LogSoftmax"]:
        for axis in [0, 1, 2, -1]:
            c.one(f"{op.lower()}_11_axis{axis}", op, x, opset=11, axis=axis)
            c.one(f"{op.lower()}_13_axis{axis}", op, x, opset=13, axis=axis)
        c.one(f"{op.lower()}_11_default", op, x, opset=11)
        c.one(f"{op.lower()}_13_default", op, x, opset=13)
    c.one("dropout_7", "Dropout", x, opset=7, ratio=0.3)
    c.one("dropout_13", "Dropout", x, np.float32(0.3), np.array(False), opset=13)
    c.add("cast_to_int_and_back", [node("Cast", ["x"], ["h"], to=TensorProto.INT64),
                                   node("Cast", ["h"], ["g"], to=TensorProto.FLOAT), node("Mul", ["x", "g"], ["y"])], {"x": x})
    c.add("swish", [node("Sigmoid", ["x"], ["h"]), node("Mul", ["x", "h"], ["y"])], {"x": x})
    c.add("normalisation_chain", [node("Tanh", ["x"], ["h"]), node("Relu", ["h"], ["g"]), node("Softmax", ["g"], ["y"])], {"x": x})


def arithmetic(c: Cases) -> None:
    shapes = {"same": ((2, 3, 4), (2, 3, 4)), "right": ((2, 3, 4), (3, 1)), "left": ((4,), (2, 3, 4)),
              "both": ((2, 1, 4), (3, 1)), "scalar": ((2, 3, 4), ()), "one": ((1,), (2, 3))}
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"]:
        for name, (a, b) in shapes.items():
            divisor = r("z", *b)
            divisor = np.asarray(divisor + 2 * np.sign(divisor), np.float32) if op == "Div" else divisor
            c.add(f"{op.lower()}_inputs_{name}", [node(op, ["x", "z"], ["y"])], {"x": r("x", *a), "z": divisor})
            c.add(f"{op.lower()}_constant_right_{name}", [node(op, ["x", "z"], ["y"])], {"x": r("x", *a)}, {"z": divisor})
            c.add(f"{op.lower()}_constant_left_{name}", [node(op, ["w", "x"], ["y"])], {"x": divisor}, {"w": r("w", *a)})
    for op in ["Max", "Min", "Sum", "Mean"]:
        c.add(f"{op.lower()}_three", [node(op, ["x", "w", "z"], ["y"])], {"x": r("x", 2, 3), "z": r("z", 2, 1)},
              {"w": r("w", 3)})
        c.add(f"{op.lower()}_one", [node(op, ["x"], ["y"])], {"x": r("x", 2, 3)})
        c.add(f"{op.lower()}_ties", [node(op, ["x", "x", "w"], ["y"])], {"x": r("x", 2, 3)}, {"w": r("w", 2, 3)})
    c.add("add_opset7", [node("Add", ["x", "w"], ["y"])], {"x": r("x", 2, 3)}, {"w": r("w", 3)}, opset=7)
    c.add("pow_2", [node("Pow", ["x", "w"], ["y"])], {"x": r("x", 2, 3)}, {"w": np.float32(2)})
    c.add("pow_half", [node("Pow", ["x", "w"], ["y"])], {"x": abs(r("x", 2, 3))}, {"w": np.float32(0.5)})
    c.add("refused_Mod", [node("Mod", ["x", "w"], ["y"], fmod=1)], {"x": r("x", 2, 3) * 3}, {"w": np.float32(2)})
    c.add("where_inputs", [node("Greater", ["x", "z"], ["h"]), node("Where", ["h", "x", "z"], ["y"])],
          {"x": r("x", 2, 3, 4), "z": r("z", 3, 1)})
    c.add("where_constant", [node("Where", ["m", "x", "w"], ["y"])], {"x": r("x", 2, 3)},
          {"m": np.array([True, False, True]), "w": np.float32(-3)})
    c.add("residual", [node("Relu", ["x"], ["h"]), node("Add", ["h", "x"], ["y"])], {"x": r("x", 2, 3)})
    c.add("same_operand_twice", [node("Mul", ["x", "x"], ["y"])], {"x": r("x", 2, 3)})
    c.add("zeros", [node("Add", ["x", "z"], ["y"])], {"x": np.zeros((2, 3), np.float32), "z": np.zeros((2, 3), np.float32)})


def movement(c: Cases) -> None:
    x = r("x", 2, 6, 4)
    for axis in [0, 1, -1]:
        c.add(f"concat_{axis}", [node("Concat", ["x", "w", "x"], ["y"], axis=axis)], {"x": x}, {"w": r("w", 2, 6, 4)})

    def split(name: str, n: int, sizes: list[int] | None, opset: int, **attributes: Any) -> None:
        outs = [f"h{i}" for i in range(n)]
        ins = ["x"] + (["sizes"] if sizes and opset >= 13 else [])
        if sizes and opset < 13:
            attributes["split"] = sizes
        c.add(name, [node("Split", ins, outs, **attributes), node("Concat", [*outs[1:], outs[0]], ["y"], axis=1)],
              {"x": x}, {"sizes": i64(*sizes)} if sizes and opset >= 13 else {}, opset=opset)

    split("split_equal_11", 2, None, 11, axis=1)
    split("split_equal_13", 3, None, 13, axis=1)
    split("split_sizes_11", 2, [1, 5], 11, axis=1)
    split("split_sizes_13", 3, [1, 2, 3], 13, axis=-2)
    split("split_num_outputs_18", 3, None, 18, axis=1, num_outputs=3)
    split("split_num_outputs_uneven", 4, None, 18, axis=1, num_outputs=4)
    c.one("slice_9", "Slice", x, opset=9, starts=[1, -3], ends=[5, 9], axes=[1, 2])
    c.one("slice_inputs", "Slice", x, i64(1), i64(5), i64(1), i64(2))
    c.one("slice_negative_step", "Slice", x, i64(-1, 3), i64(-100, 0), i64(1, 2), i64(-2, -1))
    c.one("slice_negative_start", "Slice", x, i64(-4, -3), i64(-1, 100), i64(1, -1))
    c.one("slice_default_axes", "Slice", x, i64(0, 2), i64(1, 6))
    c.one("pad_2", "Pad", x, opset=9, pads=[0, 1, 2, 0, 2, 1], value=1.5)
    c.one("pad_constant", "Pad", x, i64(0, 1, 2, 0, 2, 1), np.float32(1.5), opset=13)
    c.one("pad_negative", "Pad", x, i64(0, -1, 2, 0, 2, -1), opset=13)
    c.one("pad_axes", "Pad", x, i64(1, 2), np.float32(0), i64(-1), opset=18)
    for mode in ["reflect", "edge"]:
        c.one(f"pad_{mode}", "Pad", x, i64(0, 1, 2, 0, 2, 1), opset=13, mode=mode)
    for name, to in [("zero_and_minus", [0, -1]), ("minus", [3, -1, 2]), ("all", [4, 12])]:
        c.one(f"reshape_{name}", "Reshape", x, i64(*to))
    c.one("reshape_allowzero", "Reshape", x, i64(6, 8), opset=14, allowzero=1)
    for axis in [0, 1, 2, 3, -1]:
        c.one(f"flatten_{axis}", "Flatten", x, axis=axis)
    c.one("squeeze_11", "Squeeze", r("x", 2, 1, 3, 1), opset=11, axes=[1, -1])
    c.one("squeeze_13", "Squeeze", r("x", 2, 1, 3, 1), i64(1, 3), opset=13)
    c.one("squeeze_all", "Squeeze", r("x", 2, 1, 3, 1), opset=13)
    c.one("unsqueeze_11", "Unsqueeze", r("x", 2, 3), opset=11, axes=[0, 3])
    c.one("unsqueeze_13", "Unsqueeze", r("x", 2, 3), i64(-1), opset=13)
    c.one("transpose", "Transpose", x, perm=[2, 0, 1])
    c.one("transpose_default", "Transpose", x)
    c.one("expand", "Expand", r("x", 3, 1), i64(2, 3, 4))
    c.one("expand_smaller", "Expand", r("x", 2, 3), i64(1, 1))
    c.one("tile", "Tile", r("x", 2, 3), i64(2, 3))
    c.one("depth_to_space_DCR", "DepthToSpace", r("x", 1, 8, 2, 3), blocksize=2)
    c.one("depth_to_space_CRD", "DepthToSpace", r("x", 1, 8, 2, 3), blocksize=2, mode="CRD")
    c.one("space_to_depth", "SpaceToDepth", r("x", 1, 2, 4, 6), blocksize=2)
    c.one("gather_rows", "Gather", x, i64(2, 0, -1, 2), axis=1)
    c.one("gather_scalar", "Gather", x, np.array(1, np.int64), axis=2)
    c.one("gather_matrix", "Gather", x, np.array([[0, 3], [5, 1]], np.int64), axis=-2)
    c.add("embedding", [node("Gather", ["w", "ids"], ["h"]), node("ReduceMean", ["h"], ["y"], axes=[1], keepdims=0)],
          {"ids": np.array([[1, 4, 0], [2, 2, 5]], np.int64)}, {"w": r("w", 6, 4)})
    c.add("identity_chain", [node("Identity", ["x"], ["h"]), node("Identity", ["h"], ["y"])], {"x": x})


def reductions(c: Cases) -> None:
    x = r("x", 2, 3, 4) + np.float32(0.2)
    moved = {"ReduceSum": 13}  # the opset that made axes an operand; 18 for the others
    for op in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
               "ReduceLogSumExp", "ReduceSumSquare"]:
        opset = moved.get(op, 18)
        for keep in [0, 1]:
            c.one(f"{op}_attribute_{keep}", op, x, opset=11, axes=[1, -1], keepdims=keep)
            c.one(f"{op}_input_{keep}", op, x, i64(-2), opset=opset, keepdims=keep)
            c.one(f"{op}_all_{keep}", op, x, opset=opset, keepdims=keep)
        c.one(f"{op}_noop", op, x, opset=opset, noop_with_empty_axes=1)
        c.one(f"{op}_first_axis", op, x, i64(0), opset=21, keepdims=0)
    c.one("ReduceLogSum", "ReduceLogSum", abs(x), i64(1), opset=18)
    c.one("ReduceLogSum_noop", "ReduceLogSum", abs(x), opset=18, noop_with_empty_axes=1)
    c.one("ReduceLogSumExp_large", "ReduceLogSumExp", x * 100, i64(1), opset=18)


def normalisations(c: Cases) -> None:
    x, s, o = r("x", 2, 3, 4), r("s", 4), r("o", 4)
    c.one("layer_norm", "LayerNormalization", x, s, o)
    c.one("layer_norm_nobias", "LayerNormalization", x, s, epsilon=0.1)
    c.one("layer_norm_axis1", "LayerNormalization", x, r("s", 3, 4), r("o", 3, 4), axis=1)
    for name, shape in [("1d", (2, 3, 7)), ("2d", (2, 3, 4, 5)), ("3d", (1, 3, 2, 3, 2))]:
        c.one(f"instance_norm_{name}", "InstanceNormalization", r("x", *shape), r("s", 3), r("o", 3))
    c.one("group_norm", "GroupNormalization", r("x", 2, 6, 3, 3), r("s", 6), r("o", 6), num_groups=3, opset=21)
    c.one("rms_norm", "RMSNormalization", x, s, opset=23)
    c.one("lrn", "LRN", r("x", 2, 6, 3, 3), size=3)
    c.one("lrn_wide", "LRN", r("x", 2, 6, 3, 3), size=5, alpha=0.1, beta=0.6, bias=2.0)
    c.one("mean_variance", "MeanVarianceNormalization", r("x", 2, 3, 4, 4))


def shapes(c: Cases) -> None:
    x = r("x", 3, 4, 5)
    c.add("flatten_by_shape", [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["b"], axis=0),
                               node("Unsqueeze", ["b", "axes"], ["bs"]), node("Concat", ["bs", "rest"], ["to"], axis=0),
                               node("Reshape", ["x", "to"], ["y"])], {"x": x},
          {"zero": np.array(0, np.int64), "axes": i64(0), "rest": i64(-1)}, symbolic=True)
    c.add("shape_slice_15", [node("Shape", ["x"], ["s"], start=0, end=1), node("Concat", ["s", "rest"], ["to"], axis=0),
                             node("Reshape", ["x", "to"], ["y"])], {"x": x}, {"rest": i64(2, 10)}, opset=15, symbolic=True)
    c.add("expand_by_shape", [node("Shape", ["x"], ["s"]), node("Expand", ["w", "s"], ["h"]), node("Add", ["x", "h"], ["y"])],
          {"x": x}, {"w": r("w", 4, 1)}, symbolic=True)
    c.add("constant_of_shape", [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["h"],
                                value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])),
                                node("Add", ["x", "h"], ["y"])], {"x": x}, symbolic=True)
    c.add("symbolic_conv", [node("Conv", ["x", "w", "b"], ["h"], strides=[2]), node("Relu", ["h"], ["g"]),
                            node("Flatten", ["g"], ["y"])], {"x": x}, {"w": r("w", 2, 4, 3), "b": r("b", 2)}, symbolic=True)
    for opset in [7, 9, 11, 13, 17, 21, 23]:
        c.add(f"opset{opset}", [node("Conv", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["g"]),
                                node("GlobalAveragePool", ["g"], ["p"]), node("Flatten", ["p"], ["f"]),
                                node("Gemm", ["f", "v", "c"], ["y"], transB=1)], {"x": r("x", 2, 3, 5, 5)},
              {"w": r("w", 4, 3, 3, 3), "b": r("b", 4), "v": r("v", 2, 4), "c": r("c", 2)}, opset=opset)
    body = [helper.make_node("Mul", ["a", "k"], ["m"]), helper.make_node("Relu", ["m"], ["out"])]
    scaled = helper.make_function("local", "ScaledRelu", ["a", "k"], ["out"], body, [helper.make_opsetid("", 17)])
    c.add("function", [helper.make_node("ScaledRelu", ["x", "w"], ["h"], name="f", domain="local"),
                       helper.make_node("ScaledRelu", ["h", "w"], ["y"], name="g", domain="local")],
          {"x": x}, {"w": r("w", 5)}, functions=[scaled])
    leaky = helper.make_node("LeakyRelu", ["a"], ["out"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    sloped = helper.make_function("local", "Sloped", ["a"], ["out"], [leaky], [helper.make_opsetid("", 17)], ["slope"])
    c.add("function_attribute", [helper.make_node("Sloped", ["x"], ["y"], name="f", domain="local", slope=0.3)],
          {"x": x}, functions=[sloped])


def resizes(c: Cases) -> None:
    x = r("x", 1, 2, 4, 5)
    c.one("upsample_7", "Upsample", x, opset=7, scales=[1.0, 1.0, 2.0, 3.0])
    c.one("upsample_9", "Upsample", x, f32(1, 1, 2, 1.5), opset=9)
    c.one("resize_10", "Resize", x, f32(1, 1, 2, 3), opset=10)
    for mode in ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]:
        for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]:
            for name, scale in [("up", (2, 3)), ("down", (0.5, 0.6)), ("uneven", (1.7, 0.75))]:
                c.one(f"resize_{mode}_{rounding}_{name}", "Resize", x, None, f32(1, 1, *scale), opset=13,
                      coordinate_transformation_mode=mode, nearest_mode=rounding)
    c.one("resize_sizes", "Resize", x, None, None, i64(1, 2, 7, 3), opset=13)
    c.one("resize_axes", "Resize", x, None, None, i64(9, 2), opset=18, axes=[3, -2])
    c.add("resize_symbolic", [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="asymmetric",
                                   nearest_mode="floor")], {"x": r("x", 3, 2, 4, 5)}, {"s": f32(1, 1, 2, 2)}, symbolic=True)


def einsums(c: Cases) -> None:
    def two(name: str, equation: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        """Once with a weight on the right, once on the left, once with two computed operands."""
        for weight in ["right", "left", "none"]:
            x, w = r("x", *a), r("w", *b)
            inputs = {"x": x} if weight == "right" else {"w": w} if weight == "left" else {"x": x, "w": w}
            rest = {"w": w} if weight == "right" else {"x": x} if weight == "left" else {}
            c.add(f"einsum_{name}_{weight}", [node("Einsum", ["x", "w"], ["y"], equation=equation)], inputs, rest)

    two("linear", "bi,io->bo", (2, 3), (3, 4))
    two("heads", "ibh,hnd->ibnd", (3, 2, 6), (6, 2, 3))
    two("merge_heads", "ibnd,hnd->ibh", (3, 2, 2, 3), (6, 2, 3))
    two("scores", "ibnd,jbnd->bnij", (3, 2, 2, 4), (5, 2, 2, 4))
    two("mix", "bnij,jbnd->ibnd", (2, 2, 3, 5), (5, 2, 2, 4))
    two("outer", "i,j->ij", (3,), (4,))
    two("sum_of_one", "ij,kj->i", (3, 4), (2, 4))
    two("elementwise", "bij,bij->bij", (2, 3, 4), (2, 3, 4))
    two("implicit", "ij,jk", (3, 4), (4, 2))
    two("ellipsis", "...ij,...jk->...ik", (2, 3, 4), (2, 4, 5))
    for name, equation in [("transpose", "ijk->kij"), ("sum", "ijk->ik"), ("total", "ijk->"), ("spaces", " i j k -> j k ")]:
        c.add(f"einsum_{name}", [node("Einsum", ["x"], ["y"], equation=equation)], {"x": r("x", 2, 3, 4)})


def triangles(c: Cases) -> None:
    x = r("x", 2, 4, 5)
    for upper in [0, 1]:
        for k in [-2, 0, 1]:
            c.one(f"trilu_{upper}_{k}", "Trilu", x, np.array(k, np.int64), upper=upper)
    c.one("trilu_default", "Trilu", x)
    c.add("trilu_boolean", [node("Greater", ["x", "w"], ["g"]), node("Trilu", ["g"], ["t"], upper=0), node("Where", ["t", "x", "w"], ["y"])],
          {"x": x}, {"w": f32(0.1)})
    for exclusive in [0, 1]:
        for reverse in [0, 1]:
            c.one(f"cumsum_{exclusive}{reverse}", "CumSum", x, np.array(1, np.int64), exclusive=exclusive, reverse=reverse)
    c.one("cumsum_last", "CumSum", x, np.array(-1, np.int64))
    c.add("cumsum_of_a_mask", [node("Cast", ["m"], ["i"], to=TensorProto.INT32), node("CumSum", ["i", "axis"], ["p"]),
                               node("Gather", ["table", "p"], ["h"]), node("Mul", ["h", "x"], ["y"])],
          {"x": r("x", 2, 4, 3), "m": np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.int64)}, {"axis": np.array(1, np.int64), "table": r("t", 6, 3)})
    c.add("eye_like", [node("EyeLike", ["x"], ["e"], k=1), node("Add", ["e", "x"], ["y"])], {"x": r("x", 3, 4)})
    c.add("range_down", [node("Shape", ["x"], ["s"]), node("Gather", ["s", "one"], ["n"]), node("Neg", ["n"], ["m"]),
                         node("Range", ["n", "m", "minus"], ["r"]), node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
                         node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=1), node("Mul", ["mean", "f"], ["y"])],
          {"x": x}, {"one": np.array(1, np.int64), "minus": np.array(-1, np.int64)}, symbolic=True)
    c.add("range_of_floats", [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
                              node("Range", ["start", "f", "step"], ["r"]), node("Reshape", ["r", "column"], ["c"]),
                              node("Mul", ["x", "c"], ["y"])],
          {"x": r("x", 3, 4)}, {"zero": np.array(0, np.int64), "start": np.array(0, np.float32), "step": np.array(1, np.float32),
                                "column": i64(-1, 1)}, symbolic=True)
    c.add("range_of_fractions", [node("Range", ["start", "end", "step"], ["r"]), node("Mul", ["x", "r"], ["y"])], {"x": r("x", 3, 4)},
          {"start": np.array(0.5, np.float32), "end": np.array(-1.1, np.float32), "step": np.array(-0.5, np.float32)})
    c.add("slice_from_minus_length", [node("Shape", ["x"], ["s"], start=0, end=1), node("Neg", ["s"], ["m"]),
                                      node("Slice", ["x", "m", "end", "axis"], ["y"])], {"x": x},
          {"end": i64(2**63 - 1), "axis": i64(0)}, symbolic=True)
    dirty = np.array([[1, np.nan, 3], [np.nan, np.inf, -np.inf]], np.float32)
    c.add("is_nan", [node("Add", ["x", "w"], ["h"]), node("IsNaN", ["h"], ["n"]), node("Where", ["n", "x", "zero"], ["y"])],
          {"x": r("x", 2, 3)}, {"w": dirty, "zero": np.float32(0)})
    for positive in [0, 1]:
        for negative in [0, 1][positive == 0:]:
            c.add(f"is_inf_{positive}{negative}", [node("Add", ["x", "w"], ["h"]), node("IsInf", ["h"], ["n"], detect_positive=positive, detect_negative=negative),
                                                   node("Where", ["n", "x", "zero"], ["y"])], {"x": r("x", 2, 3)}, {"w": dirty, "zero": np.float32(0)})


def scatters(c: Cases) -> None:
    x = r("x", 4, 3, 5)
    rows = np.array([[2], [0], [-1]], np.int64)
    pairs = np.array([[[0, 1], [3, 2]], [[2, 0], [-1, -1]]], np.int64)

    def cases(name: str, at: np.ndarray, shape: tuple[int, ...], **attributes: Any) -> None:
        u = r("u", *shape)
        for live in ["data", "updates", "both"]:
            inputs = {"x": x} if live == "data" else {"u": u} if live == "updates" else {"x": x, "u": u}
            rest = {"u": u} if live == "data" else {"x": x} if live == "updates" else {}
            c.add(f"scatter_nd_{name}_{live}", [node("ScatterND", ["x", "i", "u"], ["y"], **attributes)], inputs, {"i": at, **rest}, opset=16)

    cases("rows", rows, (3, 3, 5))
    cases("pairs", pairs, (2, 2, 5))
    cases("add", np.array([[2], [0], [2]], np.int64), (3, 3, 5), reduction="add")


def attentions(c: Cases) -> None:
    """The forms in which exporters write attention; all but the last two are recovered as one operator."""
    b, h, m, n, d, e = 2, 2, 3, 5, 4, 6
    live = {"q": r("q", b, h, m, d), "k": r("k", b, h, n, d), "v": r("v", b, h, n, e)}
    keep = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool).reshape(b, 1, 1, n)
    additive = np.where(keep, 0, -np.inf).astype(np.float32)
    turn = node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2])
    score, mix = node("MatMul", ["q", "t"], ["s"]), node("MatMul", ["p", "v"], ["y"])
    soft = node("Softmax", ["w"], ["p"], axis=-1)
    two = np.float32(2)
    c.add("attention_plain", [turn, node("MatMul", ["q", "t"], ["w"]), soft, mix], live)
    c.add("attention_divided", [turn, score, node("Div", ["s", "c"], ["w"]), soft, mix], live, {"c": two})
    c.add("attention_masked", [turn, score, node("Div", ["s", "c"], ["a"]), node("Add", ["a", "mask"], ["w"]), soft, mix], live,
          {"c": two, "mask": additive})
    c.add("attention_masked_then_scaled", [turn, score, node("Add", ["mask", "s"], ["a"]), node("Mul", ["a", "c"], ["w"]), soft, mix], live,
          {"c": two, "mask": r("mask", b, 1, m, n)})
    c.add("attention_where", [turn, score, node("Where", ["keep", "s", "low"], ["w"]), soft, mix], live,
          {"keep": keep, "low": np.float32(-np.inf)})
    c.add("attention_where_not", [turn, score, node("Where", ["drop", "low", "s"], ["w"]), soft, mix], live,
          {"drop": ~keep, "low": np.float32(-3.4028235e38)})
    c.add("attention_both_sides", [node("Mul", ["q", "c"], ["qc"]), turn, node("Mul", ["t", "c"], ["tc"]), node("MatMul", ["qc", "tc"], ["s"]),
                                   node("Add", ["s", "mask"], ["w"]), soft, mix], live, {"c": np.float32(0.7), "mask": additive})
    nothing = np.where(np.arange(m).reshape(1, 1, m, 1) == 1, -np.inf, 0).astype(np.float32) + np.zeros((1, 1, m, n), np.float32)
    c.add("attention_guarded", [turn, score, node("Add", ["s", "mask"], ["w"]), node("Softmax", ["w"], ["p0"], axis=-1), node("IsNaN", ["p0"], ["nan"]),
                                node("Where", ["nan", "zero", "p0"], ["p"]), mix], live, {"mask": nothing, "zero": np.float32(0)})
    flat = {"x": r("x", b, m, 12)}
    heads = [node("Split", ["h"], ["q0", "k0", "v0"], axis=-1)]
    for name in "qkv":
        heads += [node("Reshape", [name + "0", "heads"], [name + "1"]), node("Transpose", [name + "1"], [name], perm=[0, 2, 1, 3])]
    packed = [node("MatMul", ["x", "weight"], ["h0"]), node("Add", ["h0", "bias"], ["h"]), *heads,
              node("Transpose", ["k1"], ["t"], perm=[0, 2, 3, 1]), score, node("Mul", ["s", "c"], ["w"]), soft, node("MatMul", ["p", "v"], ["o"]),
              node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]), node("Reshape", ["o1", "merged"], ["y"])]
    weights = {"weight": r("weight", 12, 24), "bias": r("bias", 24), "heads": i64(0, 0, 2, 4), "merged": i64(0, 0, 8), "c": np.float32(0.5)}
    c.add("attention_packed", packed, flat, weights, symbolic=True)
    grouped = {"q": r("q", b, 4, m, d), "k0": r("k", b, 2, n, d), "v0": r("v", b, 2, n, e)}
    repeat = []
    for name, width in [("k", d), ("v", e)]:
        repeat += [node("Unsqueeze", [name + "0", "two"], [name + "1"]), node("Expand", [name + "1", "wide_" + name], [name + "2"]),
                   node("Reshape", [name + "2", "flat_" + name], [name])]
    sizes = {"two": i64(2), "wide_k": i64(b, 2, 2, n, d), "wide_v": i64(b, 2, 2, n, e), "flat_k": i64(b, 4, n, d), "flat_v": i64(b, 4, n, e)}
    c.add("attention_grouped", [*repeat, turn, score, node("Mul", ["s", "c"], ["w"]), soft, mix], grouped, {**sizes, "c": np.float32(0.5)})
    c.add("attention_softcap", [turn, score, node("Tanh", ["s"], ["a"]), node("Mul", ["a", "c"], ["w"]), soft, mix], live, {"c": np.float32(5)})
    c.add("attention_two_scores", [turn, score, node("Einsum", ["q", "r"], ["s2"], equation="bhmd,hnd->bhmn"), node("Add", ["s", "s2"], ["w"]), soft, mix],
          live, {"r": r("r", h, n, d)})

    def op23(name: str, inputs: Arrays, weights: Arrays, operands: list[str], **attributes: Any) -> None:
        c.add(f"attention_23_{name}", [node("Attention", operands, ["y"], **attributes)], inputs, weights, opset=23)

    op23("plain", live, {}, ["q", "k", "v"])
    op23("scaled", live, {}, ["q", "k", "v"], scale=0.3)
    op23("mask", live, {"mask": np.broadcast_to(additive, (b, 1, m, n)).copy()}, ["q", "k", "v", "mask"])
    op23("boolean_mask", live, {"mask": np.broadcast_to(keep, (b, 1, m, n)).copy()}, ["q", "k", "v", "mask"])
    op23("causal", {**live, "q": r("q", b, h, n, d)}, {}, ["q", "k", "v"], is_causal=1)
    op23("softcap", live, {}, ["q", "k", "v"], softcap=2.0)
    op23("grouped", {"q": r("q", b, 4, m, d), "k": live["k"], "v": live["v"]}, {}, ["q", "k", "v"])
    three = {"q": r("q", b, m, 4 * d), "k": r("k", b, n, 2 * d), "v": r("v", b, n, 2 * e)}
    op23("rank_3", three, {}, ["q", "k", "v"], q_num_heads=4, kv_num_heads=2)
    c.add("attention_23_past", [node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], is_causal=1)],
          {**live, "pk": r("pk", b, h, 2, d), "pv": r("pv", b, h, 2, e)}, opset=23, outputs=("y", "nk", "nv"))


def recovered_norms(c: Cases) -> None:
    """Normalisations in the pieces that exporters write."""
    x, g, o = r("x", 2, 3, 8), r("g", 8), r("o", 8)
    eps, two = {"e": np.float32(1e-5)}, {"t": np.float32(2)}
    rms = [node("Pow", ["x", "t"], ["sq"]), node("ReduceMean", ["sq"], ["v"], axes=[-1], keepdims=1), node("Add", ["v", "e"], ["ve"]),
           node("Sqrt", ["ve"], ["sd"])]
    c.add("rms_reciprocal", [*rms, node("Reciprocal", ["sd"], ["ir"]), node("Mul", ["x", "ir"], ["n"]), node("Mul", ["g", "n"], ["y"])],
          {"x": x}, {"g": g, **eps, **two})
    c.add("rms_divided", [*rms, node("Div", ["x", "sd"], ["n"]), node("Mul", ["n", "g"], ["y"])], {"x": x}, {"g": g, **eps, **two})
    c.add("rms_one_over", [*rms, node("Div", ["one", "sd"], ["ir"]), node("Mul", ["x", "ir"], ["y"])], {"x": x}, {"one": np.float32(1), **eps, **two})
    c.add("rms_of_product", [node("Mul", ["x", "x"], ["sq"]), *rms[1:], node("Div", ["x", "sd"], ["y"])], {"x": x}, eps)
    layer = [node("ReduceMean", ["x"], ["m"], axes=[-1], keepdims=1), node("Sub", ["x", "m"], ["d"]), node("Pow", ["d", "t"], ["sq"]), *rms[1:]]
    c.add("layer_norm_pieces", [*layer, node("Div", ["d", "sd"], ["n"]), node("Mul", ["n", "g"], ["s"]), node("Add", ["s", "o"], ["y"])],
          {"x": x}, {"g": g, "o": o, **eps, **two})
    c.add("layer_norm_two_differences", [*layer, node("Sub", ["x", "m"], ["d2"]), node("Div", ["d2", "sd"], ["n"]), node("Mul", ["n", "g"], ["y"])],
          {"x": x}, {"g": g, **eps, **two})
    c.add("gelu_tanh_pieces", [node("Pow", ["x", "three"], ["c"]), node("Mul", ["c", "k"], ["ck"]), node("Add", ["x", "ck"], ["u"]), node("Mul", ["u", "s"], ["us"]),
                               node("Tanh", ["us"], ["th"]), node("Add", ["th", "one"], ["p"]), node("Mul", ["x", "half"], ["hx"]), node("Mul", ["hx", "p"], ["y"])],
          {"x": x}, {"three": np.float32(3), "k": np.float32(0.044715), "s": np.float32((2 / np.pi) ** 0.5), "one": np.float32(1), "half": np.float32(0.5)})


def from_tensorflow(c: Cases) -> None:
    """What TensorFlow and JAX write for embeddings, norms, softmax, GELU."""
    x = r("x", 3, 8)
    ids = np.array([[2], [0], [4]], np.int64)
    c.add("one_hot_embedding", [node("Equal", ["ids", "scale"], ["e"]), node("Cast", ["e"], ["hot"], to=1), node("MatMul", ["hot", "w"], ["m"]),
                                node("Add", ["m", "b"], ["y"])],
          {"ids": ids}, {"scale": np.arange(5)[None], "w": r("w", 5, 4), "b": r("b", 4)})
    moments = [node("ReduceSum", ["x", "axis"], ["s"], keepdims=1), node("Mul", ["s", "n"], ["m"]), node("Mul", ["x", "x"], ["xx"]),
               node("ReduceSum", ["xx", "axis"], ["ss"], keepdims=1), node("Mul", ["ss", "n"], ["p"]), node("Mul", ["m", "m"], ["mm"]),
               node("Sub", ["p", "mm"], ["d"]), node("Max", ["zero", "d"], ["v"]), node("Add", ["v", "e"], ["ve"]), node("Sqrt", ["ve"], ["sd"]),
               node("Reciprocal", ["sd"], ["ir"]), node("Mul", ["ir", "g"], ["k"]), node("Sub", ["x", "m"], ["c"]), node("Mul", ["c", "k"], ["n1"]),
               node("Add", ["n1", "o"], ["y"])]
    c.add("moment_norm", moments, {"x": x}, {"axis": i64(1), "n": np.float32(1 / 8), "zero": np.float32(0), "e": np.float32(1e-6), "g": r("g", 8), "o": r("o", 8)})
    c.add("softmax_pieces", [node("ReduceMax", ["x"], ["m"], axes=[1], keepdims=1), node("Sub", ["x", "m"], ["d"]), node("Exp", ["d"], ["e"]),
                             node("ReduceSum", ["e", "axis"], ["s"], keepdims=1), node("Div", ["e", "s"], ["y"])], {"x": x}, {"axis": i64(1)})
    c.add("gelu_products", [node("Mul", ["k", "x"], ["a"]), node("Mul", ["x", "a"], ["b"]), node("Mul", ["x", "b"], ["c"]), node("Add", ["x", "c"], ["u"]),
                            node("Mul", ["s", "u"], ["us"]), node("Tanh", ["us"], ["th"]), node("Add", ["one", "th"], ["p"]), node("Mul", ["half", "p"], ["h"]),
                            node("Mul", ["x", "h"], ["y"])],
          {"x": x}, {"k": np.float32(0.044715), "s": np.float32((2 / np.pi) ** 0.5), "one": np.float32(1), "half": np.float32(0.5)})


def recurrent(c: Cases) -> None:
    """LSTM, GRU and RNN: directions, layouts, lengths, initial states, activations."""
    t, b, f, h = 5, 3, 4, 6

    def layer(name: str, op: str, *, directions: int = 1, batch_first: bool = False, bias: bool = True, lengths: list[int] | None = None,
              initial: bool = False, live_initial: bool = False, peepholes: bool = False, opset: int = 17, **attributes: Any) -> None:
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
        inputs: Arrays = {"x": r("x", *((b, t, f) if batch_first else (t, b, f)))}
        weights: Arrays = {"w": r("w", directions, gates * h, f), "r": r("r", directions, gates * h, h) / 2}
        if bias:
            weights["b"] = r("b", directions, 2 * gates * h)
        if lengths:
            weights["lens"] = np.array(lengths, np.int32)
        state = (b, directions, h) if batch_first else (directions, b, h)
        if initial:
            weights.update(h0=r("h0", *state), c0=r("c0", *state))
        if live_initial:
            inputs.update(h0=r("h0", *state), c0=r("c0", *state))
        if peepholes:
            weights["p"] = r("p", directions, 3 * h)
        if op != "LSTM":
            weights.pop("c0", None), inputs.pop("c0", None)
        have = {**inputs, **weights}
        operands = [n if n in have else "" for n in ["x", "w", "r", "b", "lens", "h0", "c0", "p"][:8 if op == "LSTM" else 6]]
        while not operands[-1]:
            operands.pop()
        outputs = ("y", "y_h", "y_c") if op == "LSTM" else ("y", "y_h")
        # The last states of all: one output, whose relevance reaches every step.
        nodes = [node(op, operands, list(outputs), hidden_size=h, **attributes)]
        if not name.startswith("refused"):
            c.add(f"{name}_states", [*nodes, node("Flatten", ["y_h"], ["out"], axis=1)], inputs, weights, opset=opset, outputs=("out",))
        c.add(name, nodes, inputs, weights, opset=opset, outputs=outputs)

    for op in ["LSTM", "GRU", "RNN"]:
        name = f"recurrent_{op.lower()}"
        layer(name, op)
        layer(f"{name}_plain", op, bias=False)
        layer(f"{name}_reverse", op, direction="reverse")
        layer(f"{name}_both", op, directions=2, direction="bidirectional", initial=True)
        layer(f"{name}_lengths", op, lengths=[5, 2, 4])
        layer(f"{name}_lengths_both", op, directions=2, direction="bidirectional", lengths=[3, 5, 1])
        layer(f"{name}_initial", op, live_initial=True)
        layer(f"{name}_clip", op, clip=0.4)
        layer(f"{name}_opset_7", op, opset=7)
        layer(f"{name}_opset_22", op, opset=22)
    layer("recurrent_gru_after", "GRU", linear_before_reset=1)
    layer("recurrent_gru_after_both", "GRU", linear_before_reset=1, directions=2, direction="bidirectional", lengths=[2, 5, 3])
    layer("recurrent_gru_after_plain", "GRU", linear_before_reset=1, bias=False)
    layer("recurrent_rnn_relu", "RNN", activations=["Relu"])
    layer("recurrent_rnn_leaky", "RNN", activations=["LeakyRelu"], activation_alpha=[0.3])
    layer("recurrent_rnn_two", "RNN", directions=2, direction="bidirectional", activations=["Elu", "HardSigmoid"],
          activation_alpha=[0.7, 0.25], activation_beta=[0.4])
    layer("recurrent_lstm_activations", "LSTM", activations=["HardSigmoid", "Softsign", "Relu"], activation_alpha=[0.3], activation_beta=[0.4])
    layer("recurrent_lstm_coupled", "LSTM", input_forget=1)
    layer("refused_LSTM", "LSTM", peepholes=True)
    layer("refused_RNN", "RNN", activations=["ScaledTanh"], activation_alpha=[1.1], activation_beta=[0.7])


def interpolations(c: Cases) -> None:
    x = r("x", 1, 2, 4, 5)
    scales = {"up": (2, 3), "down": (0.5, 0.6), "uneven": (1.7, 0.75)}
    for mode in ["linear", "cubic"]:
        for where in ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]:
            for name, scale in scales.items():
                c.one(f"resize_{mode}_{where}_{name}", "Resize", x, None, f32(1, 1, *scale), opset=13, mode=mode,
                      coordinate_transformation_mode=where)
        c.one(f"resize_{mode}_symmetric", "Resize", x, None, f32(1, 1, 1.7, 0.75), opset=19, mode=mode,
              coordinate_transformation_mode="half_pixel_symmetric")
        c.one(f"resize_{mode}_sizes", "Resize", x, None, None, i64(1, 2, 7, 3), opset=13, mode=mode)
        c.one(f"resize_{mode}_crop", "Resize", x, f32(0, 0, 0.1, 0.2, 1, 1, 0.7, 0.8), None, i64(1, 2, 5, 6), opset=13, mode=mode,
              coordinate_transformation_mode="tf_crop_and_resize")
        for name in ["down", "uneven"]:
            c.one(f"resize_{mode}_antialias_{name}", "Resize", x, None, f32(1, 1, *scales[name]), opset=18, mode=mode, antialias=1)
    c.one("resize_linear_beyond", "Resize", x, f32(0, 0, -0.2, 0.2, 1, 1, 0.7, 1.3), None, i64(1, 2, 5, 6), opset=13, mode="linear",
          coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=2.0)
    c.one("resize_cubic_coefficient", "Resize", x, None, f32(1, 1, 2, 1.5), opset=13, mode="cubic", cubic_coeff_a=-0.5)
    c.one("resize_cubic_exclude", "Resize", x, None, f32(1, 1, 2, 1.5), opset=13, mode="cubic", exclude_outside=1)
    c.one("resize_linear_axis", "Resize", r("x", 2, 3, 7), None, f32(2), opset=18, mode="linear", axes=[2])
    c.one("upsample_linear", "Upsample", x, f32(1, 1, 2, 3), opset=9, mode="linear")
    for where in ["half_pixel", "asymmetric", "align_corners"]:
        c.add(f"resize_linear_symbolic_{where}", [node("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode=where)],
              {"x": r("x", 5, 3)}, {"s": f32(2, 1)}, symbolic=True)
        c.add(f"resize_nearest_symbolic_{where}", [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode=where,
                                                         nearest_mode="floor")], {"x": r("x", 5, 3)}, {"s": f32(2, 1)}, symbolic=True)
    for policy in ["not_larger", "not_smaller"]:
        c.one(f"resize_{policy}", "Resize", x, None, None, i64(7, 7), opset=18, axes=[2, 3], mode="linear", keep_aspect_ratio_policy=policy)


def samples(c: Cases) -> None:
    x = r("x", 2, 3, 5, 6)
    grid = np.clip(0.7 * r("g", 2, 4, 3, 2), -1.37, 1.37).astype(np.float32)
    for mode in ["bilinear", "nearest", "bicubic"]:
        for padding in ["zeros", "border", "reflection"]:
            for corners in [0, 1]:
                c.one(f"grid_sample_{mode}_{padding}_{corners}", "GridSample", x, grid, mode=mode, padding_mode=padding,
                      align_corners=corners)
    c.one("grid_sample_20", "GridSample", x, grid, opset=20, mode="linear")
    boxes = f32(0.5, 1, 4, 3.5, -1, 0, 6, 5, 2, 2, 2.2, 2.1).reshape(3, 4)
    for half in ["half_pixel", "output_half_pixel"]:
        for ratio in [1, 2, 3]:
            c.one(f"roi_align_{half}_{ratio}", "RoiAlign", x, boxes, i64(0, 1, 1), output_height=2, output_width=3, sampling_ratio=ratio,
                  spatial_scale=0.8, coordinate_transformation_mode=half)
        c.one(f"roi_align_{half}_as_needed", "RoiAlign", x, boxes, i64(0, 1, 1), output_height=2, output_width=1, sampling_ratio=0,
              spatial_scale=0.8, coordinate_transformation_mode=half)
        for ratio in [0, 1, 2]:
            c.one(f"roi_align_{half}_max_{ratio}", "RoiAlign", x, boxes, i64(0, 1, 1), output_height=2, output_width=1,
                  sampling_ratio=ratio, spatial_scale=0.8, coordinate_transformation_mode=half, mode="max")
    # The last box has no extent, and the boxes are an input: how many samples they need is measured.
    c.add("roi_align_computed_boxes", [node("RoiAlign", ["x", "b", "i"], ["y"], output_height=3, output_width=2, sampling_ratio=0)],
          {"x": x, "b": f32(0.5, 1, 4, 3.5, -1, 0, 6, 5, 2, 2, 2, 2).reshape(3, 4)}, {"i": i64(0, 1, 1)})
    c.one("roi_align_10", "RoiAlign", x, boxes, i64(0, 1, 0), opset=11, output_height=2, output_width=2, sampling_ratio=2)


def choices(c: Cases) -> None:
    """Results whose sizes depend on values."""
    x = r("x", 3, 4, 5)
    for axis in [0, 1, -1]:
        for largest in [0, 1]:
            c.add(f"top_k_{axis}_{largest}", [node("TopK", ["x", "k"], ["y", "i"], axis=axis, largest=largest),
                                                node("Cast", ["i"], ["at"], to=1)], {"x": x}, {"k": i64(2)}, outputs=("y", "at"))
    c.add("top_k_ties", [node("TopK", ["t", "k"], ["v", "i"]), node("Gather", ["x", "i"], ["y"])], {"x": r("x", 6)},
          {"t": f32(1, 3, 3, 0, 3, 1), "k": i64(4)})
    found = [node("Greater", ["x", "zero"], ["b"]), node("NonZero", ["b"], ["i"])]
    pairs = [*found, node("Transpose", ["i"], ["t"])]
    zero = {"zero": f32(0.3)}
    c.add("non_zero_gather", [*pairs, node("GatherND", ["x", "t"], ["y"])], {"x": x}, zero)
    c.add("non_zero_float", [node("NonZero", ["m"], ["i"]), node("Transpose", ["i"], ["t"]), node("GatherND", ["x", "t"], ["y"])],
          {"x": r("x", 2, 3)}, {"m": f32(0, 1, 2, 0, 0, 3).reshape(2, 3)})
    c.add("non_zero_products", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Unsqueeze", ["g", "one"], ["c"]),
                                node("MatMul", ["c", "w"], ["p"]), node("ReduceSum", ["p", "first"], ["y"], keepdims=0)], {"x": x},
          {**zero, "one": i64(1), "first": i64(0), "w": r("w", 1, 4)})
    # None passes: a sum over nothing, and the bias is all there is.
    c.add("non_zero_none", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Unsqueeze", ["g", "one"], ["c"]),
                            node("MatMul", ["c", "w"], ["p"]), node("ReduceSum", ["p", "first"], ["s"], keepdims=0),
                            node("ReduceMean", ["x"], ["m"], keepdims=0), node("Add", ["s", "m"], ["y"])], {"x": x},
          {"zero": f32(100), "one": i64(1), "first": i64(0), "w": r("w", 1, 4)})
    c.add("non_zero_scatter", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Mul", ["g", "two"], ["u"]),
                               node("ScatterND", ["x", "t", "u"], ["y"])], {"x": x}, {**zero, "two": f32(2)})
    c.add("top_k_counted", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Shape", ["g"], ["n"]),
                            node("Concat", ["n", "most"], ["all"], axis=0), node("ReduceMin", ["all"], ["k"], keepdims=1),
                            node("TopK", ["g", "k"], ["y", "at"])], {"x": x}, {**zero, "most": i64(7)})
    c.add("slice_counted", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Slice", ["g", "from", "to"], ["y"])], {"x": x},
          {**zero, "from": i64(1), "to": i64(1000)})
    c.add("slice_counted_from_end", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Slice", ["g", "from", "to"], ["y"])], {"x": x},
          {**zero, "from": i64(-3), "to": i64(-1)})
    c.add("range_counted", [*pairs, node("GatherND", ["x", "t"], ["g"]), node("Size", ["g"], ["n"]), node("Range", ["o", "n", "s"], ["at"]),
                            node("Gather", ["g", "at"], ["y"])], {"x": x}, {**zero, "o": np.int64(0), "s": np.int64(2)})
    for axis in [0, 1]:
        mask = np.array([True, False, True, True][: 3 + axis])
        c.add(f"compress_{axis}", [node("Compress", ["x", "m"], ["y"], axis=axis)], {"x": x}, {"m": mask})
    c.add("compress_flat", [node("Compress", ["x", "m"], ["y"])], {"x": r("x", 2, 3)}, {"m": np.array([True, False, True, True])})
    boxes = f32(0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 0, 10.1, 1, 11.1, 0, 100, 1, 101).reshape(1, 6, 4)
    scores = f32(0.9, 0.75, 0.6, 0.95, 0.5, 0.3, 0.2, 0.8, 0.9, 0.1, 0.4, 0.7).reshape(1, 2, 6)
    middle = np.stack([(boxes[..., 1] + boxes[..., 3]) / 2, (boxes[..., 0] + boxes[..., 2]) / 2, boxes[..., 3] - boxes[..., 1],
                       boxes[..., 2] - boxes[..., 0]], -1)
    for name, given, most, overlap, least, center in [("corners", boxes, 3, 0.5, 0.0, 0), ("center", middle, 3, 0.5, 0.0, 1),
                                                      ("least", boxes, 10, 0.5, 0.55, 0), ("one", boxes, 1, 0.5, 0.0, 0),
                                                      ("all", boxes, 10, 1.0, 0.0, 0)]:
        c.add(f"nms_{name}", [node("NonMaxSuppression", ["b", "x", "m", "o", "l"], ["k"], center_point_box=center),
                              node("Cast", ["k"], ["kept"], to=1), node("GatherND", ["x", "k"], ["y"])], {"x": scores},
              {"b": given, "m": i64(most), "o": f32(overlap), "l": f32(least)}, outputs=("y", "kept"))
    c.add("split_counted", [*found, node("Squeeze", ["i", "first"], ["at"]), node("Shape", ["at"], ["n"]), node("Sub", ["six", "n"], ["m"]),
                            node("Concat", ["n", "m"], ["parts"], axis=0), node("Split", ["x", "parts"], ["y", "z"], axis=0)],
          {"x": r("x", 6)}, {**zero, "first": i64(0), "six": i64(6)}, outputs=("y", "z"))


def branches(c: Cases) -> None:
    """Graphs within nodes."""

    def graph(name: str, nodes: list[onnx.NodeProto], inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ("o",),
              kinds: dict[str, int] | None = None, weights: Arrays | None = None) -> onnx.GraphProto:
        def info(n: str) -> onnx.ValueInfoProto:
            kind = (kinds or {}).get(n, TensorProto.FLOAT)
            return helper.make_tensor_value_info(n, kind, None if kind == TensorProto.FLOAT else ())
        return helper.make_graph(nodes, name, [info(i) for i in inputs], [info(o) for o in outputs],
                                 [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()])

    def choice(nodes: list[onnx.NodeProto], otherwise: list[onnx.NodeProto]) -> onnx.NodeProto:
        return node("If", ["c"], ["y"], then_branch=graph("t", nodes), else_branch=graph("e", otherwise))

    x = r("x", 3, 4)
    products = {"v": r("v", 4, 2), "w": r("w", 4, 2)}
    above = [node("ReduceMax", ["x"], ["top"], keepdims=0), node("Greater", ["top", "limit"], ["c"])]
    plain = choice([node("MatMul", ["x", "v"], ["o"])], [node("MatMul", ["x", "w"], ["p"]), node("Relu", ["p"], ["o"])])
    for name, limit in [("then", -100.0), ("else", 100.0)]:
        c.add(f"if_{name}", [*above, plain], {"x": x}, {**products, "limit": np.float32(limit)})
        # Branches of other shapes, both of which read the same value.
        c.add(f"if_shape_{name}", [*above, node("Exp", ["x"], ["a"]), choice([node("Slice", ["a", "f", "t"], ["o"])], [node("Identity", ["a"], ["o"])])],
              {"x": x}, {"limit": np.float32(limit), "f": i64(0), "t": i64(2)})
        c.add(f"if_constant_{name}", [choice([node("Neg", ["x"], ["o"])], [node("Exp", ["x"], ["o"])])], {"x": x}, {"c": np.array(limit < 0)})
    # A branch that cannot run on what it would get: it is not taken.
    empty = [node("Greater", ["x", "limit"], ["b"]), node("NonZero", ["b"], ["i"]), node("Transpose", ["i"], ["t"]),
             node("GatherND", ["x", "t"], ["g"]), node("Size", ["g"], ["n"]), node("Equal", ["n", "zero"], ["c"])]
    c.add("if_empty", [*empty, choice([node("ReduceSum", ["x"], ["o"], keepdims=0)], [node("ReduceMax", ["g"], ["o"], keepdims=0)])],
          {"x": x}, {"limit": f32(100), "zero": np.int64(0)})
    nested = graph("t", [node("If", ["d"], ["o"], then_branch=graph("tt", [node("Neg", ["x"], ["o1"])], outputs=("o1",)),
                              else_branch=graph("te", [node("Exp", ["x"], ["o2"])], outputs=("o2",)))])
    c.add("if_nested", [*above, node("Less", ["top", "limit"], ["d"]),
                        node("If", ["c"], ["y"], then_branch=nested, else_branch=graph("e", [node("Abs", ["x"], ["o"])]))],
          {"x": x}, {"limit": np.float32(-100)})
    kinds = {"i": TensorProto.INT64, "k": TensorProto.BOOL, "k2": TensorProto.BOOL}
    body = graph("b", [node("MatMul", ["s", "m"], ["t"]), node("Add", ["t", "x"], ["s2"]), node("Identity", ["k"], ["k2"]),
                       node("Relu", ["s2"], ["z"])], ("i", "k", "s"), ("k2", "s2", "z"), kinds)
    c.add("loop", [node("Loop", ["n", "", "x"], ["y", "z"], body=body)], {"x": x}, {"n": np.int64(3), "m": r("m", 4, 4)}, outputs=("y", "z"))
    steps = graph("b", [node("MatMul", ["s", "m"], ["t"]), node("Add", ["t", "e"], ["s2"]), node("Tanh", ["s2"], ["z"])], ("s", "e"), ("s2", "z"))
    for way in [0, 1]:
        c.add(f"scan_{way}", [node("Scan", ["s0", "x"], ["y", "z"], body=steps, num_scan_inputs=1, scan_input_directions=[way],
                                   scan_output_directions=[way])], {"x": x}, {"s0": r("s", 4), "m": r("m", 4, 4)}, outputs=("y", "z"))


def elements(c: Cases) -> None:
    x = r("x", 3, 4, 5)
    for axis in range(3):
        at = np.array([[[0, -1], [1, 2]], [[2, 0], [1, -2]]], np.int64)
        c.one(f"gather_elements_{axis}", "GatherElements", x, at, axis=axis)
        u = r("u", 2, 2, 2)
        unlike = np.array([[[0, -1], [1, 2]], [[2, 1], [0, 1]]], np.int64)
        for live in ["data", "updates", "both"]:
            inputs = {"x": x} if live == "data" else {"u": u} if live == "updates" else {"x": x, "u": u}
            rest = {"u": u} if live == "data" else {"x": x} if live == "updates" else {}
            for reduction in ["none", "add"]:
                where = at if reduction == "add" else unlike
                c.add(f"scatter_elements_{axis}_{reduction}_{live}", [node("ScatterElements", ["x", "i", "u"], ["y"], axis=axis, reduction=reduction)],
                      inputs, {"i": where, **rest}, opset=16)
    c.add("scatter_elements_rows", [node("Expand", ["i", "s"], ["at"]), node("ScatterElements", ["x", "at", "u"], ["y"], axis=0)],
          {"x": r("x", 5, 3), "u": r("u", 2, 3)}, {"i": i64(4, 1).reshape(2, 1), "s": i64(2, 3)})
    c.one("gather_nd_rows", "GatherND", x, np.array([[2], [-3]], np.int64))
    c.one("gather_nd_elements", "GatherND", x, np.array([[2, 0, 1], [-3, -1, 4]], np.int64))
    c.one("gather_nd_batch", "GatherND", x, np.array([[[2], [1]], [[0], [3]], [[-1], [1]]], np.int64), batch_dims=1)
    for axis in [0, -1]:
        c.add(f"one_hot_{axis}", [node("OneHot", ["i", "d", "v"], ["h"], axis=axis), node("ReduceSum", ["h"], ["s"], keepdims=0),
                                  node("Mul", ["x", "s"], ["y"])], {"x": r("x", 2, 3)},
              {"i": i64(1, -1, 7), "d": np.int64(4), "v": f32(0.5, 2)})


def refused(c: Cases) -> None:
    """Operators that are not supported: the compiler must say which."""
    x = r("x", 1, 2, 7)
    for op in ["Atan", "Sinh", "Cosh", "Asinh", "Hardmax"]:
        c.one(f"refused_{op}", op, x)
    for op in ["Asin", "Acos", "Atanh"]:
        c.one(f"refused_{op}", op, np.tanh(x))
    c.one("refused_Acosh", "Acosh", abs(x) + 1)
    c.one("refused_LpPool", "LpPool", x, kernel_shape=[3])
    c.one("refused_GlobalLpPool", "GlobalLpPool", x)
    c.one("refused_LpNormalization", "LpNormalization", x)
    c.add("refused_Einsum", [node("Einsum", ["x", "x", "w"], ["y"], equation="nci,nco,io->nco")], {"x": x}, {"w": r("w", 7, 7)})


GROUPS = [convolutions, products, pools, activations, arithmetic, movement, reductions, normalisations, shapes, resizes,
          interpolations, samples, choices, branches, einsums, triangles, scatters, elements, attentions, recovered_norms, from_tensorflow, recurrent, refused]

if __name__ == "__main__":
    main()
