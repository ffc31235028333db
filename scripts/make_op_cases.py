#!/usr/bin/env python3
"""Writes models of one to three operators with inputs and what ONNX Runtime gives for them.

    scripts/make_op_cases.py OUT [--only PREFIX]

Writes OUT/NAME.onnx, OUT/NAME.in.npz, OUT/NAME.out.npz and OUT/cases.json, the list of names.
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
    c.add("batch_norm_before_conv", [node("BatchNormalization", ["x", "s", "o", "m", "v"], ["h"], epsilon=0.1),
                                     node(conv, ["h", "w"], ["y"])],
          {"x": r("x", 2, 3, 5, 5)}, {"w": r("w", 4, 3, 3, 3), **norm})
    for opset in [7, 9, 14, 17]:
        c.one(f"batch_norm_alone_opset{opset}", "BatchNormalization", r("x", 2, 3, 4, 4), *norm.values(), opset=opset)
    c.one("batch_norm_matrix", "BatchNormalization", r("x", 2, 3), *norm.values())
    c.add("conv_transpose_relu_conv", [node(transposed, ["x", "w", "b"], ["h"], strides=[2, 2]), node("Relu", ["h"], ["g"]),
                                       node(conv, ["g", "v"], ["y"])],
          {"x": r("x", 3, 3, 5, 5)}, {"w": r("w", 3, 3, 3, 3), "b": r("b", 3), "v": r("v", 2, 3, 3, 3)}, symbolic=True)


GROUPS = [convolutions]

if __name__ == "__main__":
    main()
