#!/usr/bin/env python3
"""Writes a corpus of hostile and broken models, the same on every run.

    scripts/make_broken.py OUT_DIR MODEL.onnx [--seed N]

OUT_DIR gets models/NAME.onnx, inputs/NAME.npz, secret.bin (which lies outside of the
models' folder, so nothing may read it) and manifest.json:

  NAME -> file     the model, relative to OUT_DIR
          expect   acceptable exit codes of `dlbc run` with the inputs
          compile  acceptable exit codes of `dlbc compile`; absent: the same as expect
          names    what the error message should contain when the code is not 0
                   (names of nodes, ops, tensors)
          forbid   what no output on a terminal may contain (control characters in names)
          inputs   an .npz for `dlbc run`; absent for the variants of MODEL, which take
                   the inputs of MODEL

Exit codes: 0 done, 3 invalid model or input, 4 unsupported op, 7 resource limit. The
variants of MODEL (truncated, bits flipped, bytes moved) may end in any of those, but
never in another one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

INVALID, UNSUPPORTED, LIMIT = 3, 4, 7
BIG = 2**40
IMAGE = (1, 3, 8, 8)


@dataclass
class Case:
    """One model of the corpus."""

    name: str
    model: ModelProto | bytes
    expect: list[int]
    names: list[str] = field(default_factory=list)
    compile: list[int] | None = None
    forbid: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = (1, 4)  # of the input x


# ---------------------------------------------------------------- building blocks


def info(name: str, shape: tuple[int | str, ...] | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def tensor(name: str, value: Any, dtype: str = "f4") -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def ones(name: str, *shape: int) -> TensorProto:
    return tensor(name, np.ones(shape))


def ints(name: str, *values: int) -> TensorProto:
    return tensor(name, values, "i8")


def scalar(name: str, value: int) -> TensorProto:
    return tensor(name, value, "i8")


def node(op: str, inputs: list[str], outputs: list[str], name: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, name or f"bad_{op.lower()}", **attributes)


def model(nodes: list[NodeProto], tensors: list[TensorProto] = [], shape: tuple[int | str, ...] = (1, 4),
          outputs: list[str] = ["y"], opset: int | None = 17, extra: list[tuple[str, int]] = []) -> ModelProto:
    """A model with the input x and outputs of no declared shape, unchecked."""
    graph = helper.make_graph(nodes, "broken", [info("x", shape)], [info(o, None) for o in outputs], tensors)
    m = ModelProto(ir_version=8, producer_name="make_broken.py", graph=graph)
    for domain, version in ([("", opset)] if opset is not None else []) + extra:
        m.opset_import.add(domain=domain, version=version)
    return m


def one(name: str, op: str, inputs: list[str | TensorProto], expect: list[int] = [INVALID], outputs: int = 1,
        shape: tuple[int, ...] = (1, 4), compile: list[int] | None = None, names: list[str] | None = None,
        opset: int = 17, **attributes: Any) -> Case:
    """A model of one bad node: its inputs are x, or constants given as tensors."""
    outs = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
    bad = node(op, [i if isinstance(i, str) else i.name for i in inputs], outs, **attributes)
    m = model([bad], [i for i in inputs if not isinstance(i, str)], shape, outs, opset)
    return Case(name, m, expect, [bad.name] if names is None else names, compile, shape=shape)


def linear(weight: TensorProto) -> ModelProto:
    """x [1, 4] times a weight [4, 4]."""
    return model([node("MatMul", ["x", weight.name], ["y"], "matmul")], [weight])


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def chunk(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


# ---------------------------------------------------------------- the graph


def graph_cases() -> Iterator[Case]:
    relu = lambda a, b, name: node("Relu", [a], [b], name)
    yield Case("cycle", model([node("Add", ["x", "b"], ["a"], "first"), relu("a", "b", "second"), relu("b", "y", "last")]),
               [INVALID], ["first"])
    yield Case("cycle_self", model([node("Add", ["x", "y"], ["y"], "eats_itself")]), [INVALID], ["eats_itself"])
    yield Case("missing_tensor", model([node("Add", ["x", "not_there"], ["y"], "adder")]), [INVALID], ["not_there", "adder"])
    yield Case("missing_weight", model([node("MatMul", ["x", "lost.weight"], ["y"], "fc")]), [INVALID], ["lost.weight"])
    yield Case("missing_required_input", model([node("MatMul", ["x"], ["y"], "fc")]), [INVALID], ["fc"])
    yield Case("empty_required_input", model([node("MatMul", ["x", ""], ["y"], "fc")]), [INVALID], ["fc"])
    yield Case("too_many_inputs", model([node("Relu", ["x", "x", "x"], ["y"], "act")]), [INVALID], ["act"])
    yield Case("too_many_outputs", model([node("Relu", ["x"], ["y", "z"], "act")]), [INVALID], ["act"])
    yield Case("no_node_output", model([node("Relu", ["x"], [], "silent"), relu("x", "y", "act")]), [INVALID, 0], ["silent"])
    yield Case("unknown_ops", model([node("FlyToTheMoon", ["x"], ["a"], "moon"), node("ComeBack", ["a"], ["y"], "home")]),
               [UNSUPPORTED], ["FlyToTheMoon", "ComeBack"])
    yield Case("unknown_domain", model([node("Relu", ["x"], ["y"], "theirs", domain="com.example.secret")],
                                       extra=[("com.example.secret", 1)]), [UNSUPPORTED], ["com.example.secret"])
    yield Case("undeclared_domain", model([node("Relu", ["x"], ["y"], "theirs", domain="com.example.secret")]),
               [INVALID, UNSUPPORTED], ["com.example.secret"])
    yield Case("empty_op_type", model([node("", ["x"], ["y"], "nameless_op")]), [INVALID, UNSUPPORTED], ["nameless_op"])
    yield Case("duplicate_node_output", model([relu("x", "y", "one"), node("Neg", ["x"], ["y"], "second_maker")]), [INVALID], ["second_maker"])
    yield Case("duplicate_graph_output", model([relu("x", "y", "act")], outputs=["y", "y"]), [INVALID], ["y"])
    yield Case("shadows_initializer", model([relu("x", "fc.weight", "shadow"), relu("fc.weight", "y", "act")], [ones("fc.weight", 1, 4)]),
               [INVALID], ["fc.weight"])
    yield Case("shadows_input", model([relu("x", "x", "shadow"), relu("x", "y", "act")]), [INVALID], ["shadow"])
    yield Case("duplicate_initializer", model([node("Add", ["x", "fc.weight"], ["y"], "add")],
                                              [ones("fc.weight", 1, 4), tensor("fc.weight", [[2, 2, 2, 2]])]),
               [INVALID], ["fc.weight"])
    yield Case("no_outputs", model([relu("x", "y", "act")], outputs=[]), [INVALID])
    yield Case("empty_graph", model([], outputs=[]), [INVALID])
    m = model([relu("x", "y", "act")])
    m.ClearField("graph")
    yield Case("no_graph", m, [INVALID])
    yield Case("no_bytes", b"", [INVALID])
    yield Case("not_protobuf", b"This is not a model.\n" * 20, [INVALID])
    yield Case("output_nobody_makes", model([relu("x", "z", "act")]), [INVALID], ["y"])
    m = model([relu("x", "y", "act")])
    m.graph.input.append(m.graph.input[0])
    yield Case("input_twice", m, [INVALID], ["x"])
    yield Case("nodes_out_of_order", model([relu("a", "y", "late"), relu("x", "a", "early")]), [0, INVALID])
    yield Case("output_is_input", model([], outputs=["x"]), [0, INVALID])
    yield Case("opset_99", model([relu("x", "y", "act")], opset=99), [INVALID, UNSUPPORTED], ["99"])
    yield Case("opset_missing", model([relu("x", "y", "act")], opset=None), [INVALID, UNSUPPORTED])
    yield Case("opset_zero", model([relu("x", "y", "act")], opset=0), [INVALID, UNSUPPORTED])
    yield Case("opset_negative", model([relu("x", "y", "act")], opset=-5), [INVALID, UNSUPPORTED])
    yield Case("opset_twice", model([relu("x", "y", "act")], extra=[("", 7)]), [INVALID, UNSUPPORTED])
    m = model([relu("x", "y", "act")])
    m.ir_version = 2**40
    yield Case("ir_version_huge", m, [INVALID, UNSUPPORTED])
    yield Case("input_dim_negative", model([relu("x", "y", "act")], shape=(1, -4)), [INVALID, 0], ["x"])  # some exporters mean "any" by -1
    yield Case("input_dim_huge", model([relu("x", "y", "act")], shape=(BIG, BIG)), [INVALID, LIMIT], compile=[INVALID, LIMIT, 0])
    m = model([relu("x", "y", "act")])
    m.graph.input[0].type.tensor_type.elem_type = 99
    yield Case("input_dtype_99", m, [INVALID], ["x"])
    m = model([relu("x", "y", "act")])
    m.graph.input[0].ClearField("type")
    yield Case("input_untyped", m, [INVALID], ["x"])
    m = model([relu("x", "y", "act")])
    m.graph.output[0].CopyFrom(info("y", (7, 7, 7)))
    yield Case("output_shape_lies", m, [0, INVALID], ["y"])
    m = model([relu("x", "y", "act")])
    del m.graph.input[0].type.tensor_type.shape.dim[:]
    m.graph.input[0].type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension(dim_value=1)] * 5000)
    yield Case("input_rank_5000", m, [INVALID, LIMIT], compile=[INVALID, LIMIT, 0])


def attribute_cases() -> Iterator[Case]:
    def conv(change: Callable[[NodeProto], None]) -> ModelProto:
        n = node("Conv", ["x", "w"], ["y"], "conv", kernel_shape=[3, 3])
        change(n)
        return model([n], [ones("w", 2, 3, 3, 3)], IMAGE)

    def wrong_type(n: NodeProto) -> None:
        n.attribute.append(helper.make_attribute("strides", "two by two"))

    def typeless(n: NodeProto) -> None:
        n.attribute[0].ClearField("type")

    def lies(n: NodeProto) -> None:
        n.attribute[0].type = AttributeProto.TENSOR

    def type_99(n: NodeProto) -> None:
        n.attribute[0].ClearField("type")
        n.attribute[0].MergeFromString(varint(20 << 3) + varint(99))

    def twice(n: NodeProto) -> None:
        n.attribute.append(helper.make_attribute("kernel_shape", [1, 1]))

    def dangling(n: NodeProto) -> None:
        n.attribute.append(AttributeProto(name="group", ref_attr_name="outer", type=AttributeProto.INT))

    for name, change, extra in (("wrong_type", wrong_type, []), ("typeless", typeless, [0]), ("type_lies", lies, []),
                                ("type_99", type_99, []), ("twice", twice, [0]), ("dangling_reference", dangling, [])):
        yield Case(f"attribute_{name}", conv(change), [INVALID, *extra], ["conv"], shape=IMAGE)
    unknown = model([node("Relu", ["x"], ["y"], "act", surprise=7)])
    yield Case("attribute_unknown", unknown, [INVALID, UNSUPPORTED], ["act", "surprise"])
    yield one("attribute_missing", "Cast", ["x"])
    yield one("constant_without_value", "Constant", [])
    yield one("constant_with_two_values", "Constant", [], value_float=1.0, value_int=3)


# ---------------------------------------------------------------- tensors


def tensor_cases(secret: Path) -> Iterator[Case]:
    def weight(change: Callable[[TensorProto], None], base: TensorProto | None = None) -> ModelProto:
        w = base or ones("fc.weight", 4, 4)
        change(w)
        return linear(w)

    def dims(*d: int) -> Callable[[TensorProto], None]:
        def change(w: TensorProto) -> None:
            del w.dims[:]
            w.dims.extend(d)
        return change

    def put(**fields: Any) -> Callable[[TensorProto], None]:
        def change(w: TensorProto) -> None:
            for k, v in fields.items():
                (getattr(w, k).extend(v) if isinstance(v, list) else setattr(w, k, v))
        return change

    one_cases: list[tuple[str, ModelProto, list[int]]] = [
        ("dims_negative", weight(dims(4, -4)), [INVALID]),
        ("dims_both_negative", weight(dims(-4, -4)), [INVALID]),
        ("dims_2_60", weight(dims(2**60)), [INVALID, LIMIT]),
        ("dims_overflow_to_zero", weight(dims(2**32, 2**32)), [INVALID, LIMIT]),
        ("dims_overflow_to_sixteen", weight(dims(2**62 + 4, 4)), [INVALID, LIMIT]),
        ("dims_rank_3000", weight(dims(*([1] * 2998), 4, 4)), [INVALID, LIMIT]),
        ("dims_int64_max", weight(dims(2**63 - 1)), [INVALID, LIMIT]),
        ("raw_data_short", weight(put(raw_data=b"\0" * 63)), [INVALID]),
        ("raw_data_long", weight(put(raw_data=b"\0" * 68)), [INVALID]),
        ("raw_data_empty", weight(put(raw_data=b"")), [INVALID]),
        ("dtype_99", weight(put(data_type=99)), [INVALID]),
        ("dtype_0", weight(put(data_type=0)), [INVALID]),
        ("dtype_negative", weight(put(data_type=-1)), [INVALID]),
        ("dtype_double_in_float", weight(put(data_type=TensorProto.DOUBLE)), [INVALID]),
        ("float_data_and_raw_data", weight(put(float_data=[2.0] * 16)), [INVALID]),
        ("int64_data_and_raw_data", weight(put(int64_data=[2] * 16)), [INVALID]),
        ("float_data_short", weight(put(float_data=[1.0] * 15), TensorProto(name="fc.weight", dims=[4, 4], data_type=1)), [INVALID]),
        ("wrong_data_field", weight(put(int32_data=[1] * 16), TensorProto(name="fc.weight", dims=[4, 4], data_type=1)), [INVALID]),
        ("strings", linear(helper.make_tensor("fc.weight", TensorProto.STRING, [4, 4], [b"a"] * 16)), [INVALID, UNSUPPORTED]),
        ("integers_times_floats", linear(tensor("fc.weight", np.ones((4, 4)), "i8")), [INVALID, UNSUPPORTED]),
        ("complex", linear(tensor("fc.weight", np.ones((4, 4)), "c8")), [INVALID, UNSUPPORTED]),
        ("segment", weight(lambda w: w.segment.MergeFrom(TensorProto.Segment(begin=0, end=4))), [INVALID, UNSUPPORTED]),
    ]
    for name, m, expect in one_cases:
        # The weight itself is well formed there: the node is what does not fit.
        culprit = "matmul" if name == "integers_times_floats" else "fc.weight"
        yield Case(f"tensor_{name}", m, expect, [culprit] if INVALID in expect and 0 not in expect else [])
    yield Case("tensor_nan_and_inf", linear(tensor("fc.weight", np.diag([np.nan, np.inf, -np.inf, 1e-42]))), [0])
    yield Case("tensor_zeros", linear(tensor("fc.weight", np.zeros((4, 4)))), [0])
    yield Case("tensor_huge_values", linear(tensor("fc.weight", np.full((4, 4), 3e38))), [0])
    yield Case("tensor_empty", model([node("Concat", ["x", "fc.weight"], ["y"], "join", axis=1)], [ones("fc.weight", 1, 0)]), [0])

    def external(**keys: str) -> TensorProto:
        w = TensorProto(name="fc.weight", dims=[4, 4], data_type=1, data_location=TensorProto.EXTERNAL)
        for k, v in keys.items():
            w.external_data.add(key=k, value=v)
        return w

    places = {
        "parent": "../secret.bin",
        "dotdot_inside": "sub/../../secret.bin",
        "absolute": str(secret.resolve()),
        "system_file": "../../../../../../../../../../etc/passwd",
        "backslash": "..\\secret.bin",
        "nul": "weights.bin\0.txt",
        "symlink": "symlink.bin",
        "symlinked_folder": "linked/secret.bin",
        "hardlink": "hardlink.bin",
        "folder": "sub",
        "missing": "no_such_file.bin",
        "empty": "",
        "device": "/dev/zero",
    }
    for name, place in places.items():
        yield Case(f"external_{name}", linear(external(location=place)), [INVALID], ["fc.weight"])
    wrong = {
        "no_location": dict(offset="0"),
        "offset_past_end": dict(location="weights.bin", offset="4096"),
        "offset_negative": dict(location="weights.bin", offset="-64"),
        "offset_no_number": dict(location="weights.bin", offset="six"),
        "length_wrong": dict(location="weights.bin", length="60"),
        "length_negative": dict(location="weights.bin", length="-1"),
        "length_huge": dict(location="weights.bin", length=str(2**63 - 1)),
        "sum_overflows": dict(location="weights.bin", offset=str(2**64 - 32), length="64"),
        "unknown_key": dict(location="weights.bin", __class__="builtins.object"),
    }
    for name, keys in wrong.items():
        # An unknown key may be ignored; it must not be obeyed.
        yield Case(f"external_{name}", linear(external(**keys)), [INVALID, 0] if name == "unknown_key" else [INVALID], ["fc.weight"])
    yield Case("external_fine", linear(external(location="weights.bin", offset="0", length="64")), [0])
    both = external(location="weights.bin")
    both.raw_data = b"\0" * 64
    yield Case("external_and_raw_data", linear(both), [INVALID], ["fc.weight"])
    attribute = node("Constant", [], ["fc.weight"], "constant", value=external(location="../secret.bin"))
    yield Case("external_in_constant", model([attribute, node("MatMul", ["x", "fc.weight"], ["y"], "matmul")]), [INVALID], ["constant"])
    sparse = onnx.SparseTensorProto(dims=[4, 4], indices=ints("i", 0))
    sparse.values.CopyFrom(external(location="../secret.bin"))
    hidden = node("Constant", [], ["fc.weight"], "constant", sparse_value=sparse)
    yield Case("external_in_sparse", model([hidden, node("MatMul", ["x", "fc.weight"], ["y"], "matmul")]), [INVALID, UNSUPPORTED])
    m = model([node("MatMul", ["x", "fc.weight"], ["y"], "matmul")])
    m.graph.sparse_initializer.append(sparse)
    yield Case("external_in_sparse_initializer", m, [INVALID, UNSUPPORTED], ["fc.weight"])
    sparse = onnx.SparseTensorProto(dims=[4, 4], values=tensor("fc.weight", [1.0]), indices=ints("i", 10**9))
    m = model([node("MatMul", ["x", "fc.weight"], ["y"], "matmul")])
    m.graph.sparse_initializer.append(sparse)
    yield Case("sparse_index_outside", m, [INVALID, UNSUPPORTED], ["fc.weight"])


# ---------------------------------------------------------------- ops with impossible arguments


def size_cases() -> Iterator[Case]:
    """Small files that ask for a lot of memory."""
    big = [LIMIT]
    yield one("huge_constantofshape", "ConstantOfShape", [ints("s", BIG)], big)
    yield one("huge_constantofshape_overflow", "ConstantOfShape", [ints("s", 2**32, 2**32)], [LIMIT, INVALID])
    yield one("huge_constantofshape_negative", "ConstantOfShape", [ints("s", -BIG)], [INVALID])
    yield one("huge_expand", "Expand", ["x", ints("s", BIG, 1, 4)], big)
    yield one("huge_tile", "Tile", ["x", ints("r", BIG, 1)], big)
    yield one("huge_range", "Range", [scalar("a", 0), scalar("b", BIG), scalar("c", 1)], big)
    yield one("huge_pad", "Pad", ["x", ints("p", 0, 0, 0, BIG)], big)
    yield one("huge_pad_overflow", "Pad", ["x", ints("p", 0, 2**63 - 1, 0, 2**63 - 1)], [LIMIT, INVALID])
    yield one("huge_resize", "Resize", ["x", "", tensor("s", [1, 1, 1e9, 1e9])], [LIMIT, INVALID, UNSUPPORTED], shape=IMAGE)
    yield one("huge_onehot", "OneHot", [ints("i", 1), scalar("d", BIG), ones("v", 2)], [LIMIT, UNSUPPORTED])
    yield one("huge_col2im", "Col2Im", [ones("c", 1, 4, 4), ints("s", BIG, BIG), ints("k", 2, 2)],
              [LIMIT, INVALID, UNSUPPORTED], opset=18)
    yield one("huge_conv_padding", "Conv", ["x", ones("w", 2, 3, 3, 3)], [LIMIT, INVALID], shape=IMAGE,
              pads=[BIG, BIG, BIG, BIG])
    yield one("huge_convtranspose", "ConvTranspose", ["x", ones("w", 3, 2, 3, 3)], [LIMIT, INVALID, UNSUPPORTED], shape=IMAGE,
              strides=[BIG, BIG])
    grow = [node("Concat", [f"t{i}", f"t{i}"], [f"t{i + 1}"], f"double{i}", axis=0) for i in range(50)]
    yield Case("huge_doubling", model([node("Identity", ["x"], ["t0"], "start"), *grow,
                                       node("ReduceSum", ["t50"], ["y"], "sum")]), big)
    outer = [node("Reshape", ["x", "column"], ["c"], "column_of_x"), node("Expand", ["c", "wide"], ["e"], "spread"),
             node("MatMul", ["e", "f"], ["y"], "product"), node("Transpose", ["e"], ["f"], "turn", perm=[1, 0])]
    outer[2], outer[3] = outer[3], outer[2]
    yield Case("huge_matmul", model(outer, [ints("column", 4, 1), ints("wide", 4, 2**34)]), big)


def op_cases() -> Iterator[Case]:
    """One node each whose shapes or attributes cannot be."""
    either = [INVALID, UNSUPPORTED]
    late = dict(compile=[0, INVALID])  # may show only when the values are there
    image = dict(shape=IMAGE)
    w = ones("w", 2, 3, 3, 3)

    yield one("conv_kernel_rank_above_input", "Conv", ["x", ones("w", 2, 3, 3, 3, 3)], **image)
    yield one("conv_kernel_rank_below_input", "Conv", ["x", ones("w", 2, 3, 3)], **image)
    yield one("conv_input_rank_2", "Conv", ["x", ones("w", 2, 4)])
    yield one("conv_group_zero", "Conv", ["x", w], **image, group=0)
    yield one("conv_group_negative", "Conv", ["x", w], **image, group=-1)
    yield one("conv_group_does_not_divide", "Conv", ["x", w], **image, group=2)
    yield one("conv_stride_zero", "Conv", ["x", w], **image, strides=[0, 0])
    yield one("conv_stride_negative", "Conv", ["x", w], **image, strides=[-1, -1])
    yield one("conv_strides_rank", "Conv", ["x", w], **image, strides=[1])
    yield one("conv_pads_negative", "Conv", ["x", w], **image, pads=[-20, -20, -20, -20])
    yield one("conv_pads_rank", "Conv", ["x", w], **image, pads=[1, 1])
    yield one("conv_dilation_huge", "Conv", ["x", w], [INVALID, LIMIT], **image, dilations=[BIG, BIG])
    yield one("conv_dilation_overflow", "Conv", ["x", w], [INVALID, LIMIT], **image, dilations=[2**62, 2**62])
    yield one("conv_dilation_zero", "Conv", ["x", w], **image, dilations=[0, 0])
    yield one("conv_kernel_shape_lies", "Conv", ["x", w], **image, kernel_shape=[5, 5])
    yield one("conv_kernel_empty", "Conv", ["x", ones("w", 2, 3, 0, 0)], **image)
    yield one("conv_channels_mismatch", "Conv", ["x", ones("w", 2, 7, 3, 3)], **image)
    yield one("conv_bias_length", "Conv", ["x", w, ones("b", 5)], **image)
    yield one("conv_larger_than_input", "Conv", ["x", ones("w", 2, 3, 11, 11)], **image)
    yield one("conv_auto_pad_unknown", "Conv", ["x", w], **image, auto_pad="SOMEHOW")
    yield one("convtranspose_channels", "ConvTranspose", ["x", ones("w", 7, 2, 3, 3)], either, **image)
    yield one("convtranspose_output_shape", "ConvTranspose", ["x", ones("w", 3, 2, 3, 3)], either, **image, output_shape=[-4, -4])
    yield one("maxpool_kernel_zero", "MaxPool", ["x"], **image, kernel_shape=[0, 0])
    yield one("maxpool_stride_zero", "MaxPool", ["x"], **image, kernel_shape=[2, 2], strides=[0, 0])
    yield one("maxpool_kernel_rank", "MaxPool", ["x"], **image, kernel_shape=[2])
    yield one("maxpool_kernel_huge", "MaxPool", ["x"], [INVALID, LIMIT], **image, kernel_shape=[BIG, BIG])
    yield one("maxpool_no_kernel", "MaxPool", ["x"], **image)
    yield one("averagepool_pads_above_kernel", "AveragePool", ["x"], [INVALID, 0], **image, kernel_shape=[2, 2], pads=[9, 9, 9, 9])
    yield one("globalaveragepool_scalar", "GlobalAveragePool", [tensor("s", 1.0)])
    yield one("gemm_dims", "Gemm", ["x", ones("w", 5, 4)])
    yield one("gemm_bias", "Gemm", ["x", ones("w", 4, 3), ones("b", 5)])
    yield one("gemm_rank", "Gemm", ["x", ones("w", 4, 3)], shape=(1, 1, 4))
    yield one("matmul_dims", "MatMul", ["x", ones("w", 5, 4)])
    yield one("matmul_batch_dims", "MatMul", ["x", ones("w", 3, 4, 5)], shape=(2, 3, 4))
    yield one("matmul_scalar", "MatMul", ["x", tensor("w", 2.0)])
    yield one("add_does_not_broadcast", "Add", ["x", ones("w", 1, 5)])
    yield one("where_does_not_broadcast", "Where", [tensor("c", np.ones(3), "?"), "x", "x"])
    stats = [ones("scale", 3), ones("bias", 3), ones("mean", 3), ones("var", 3)]
    for i, t in enumerate(("scale", "bias", "mean", "var")):
        wrong = [ones(s.name, 7) if i == j else s for j, s in enumerate(stats)]
        yield one(f"batchnormalization_{t}_length", "BatchNormalization", ["x", *wrong], **image)
    yield one("layernormalization_scale", "LayerNormalization", ["x", ones("s", 7)])
    yield one("layernormalization_axis", "LayerNormalization", ["x", ones("s", 4)], axis=9)
    yield one("reshape_wrong_size", "Reshape", ["x", ints("s", 3, 3)])
    yield one("reshape_two_unknowns", "Reshape", ["x", ints("s", -1, -1)])
    yield one("reshape_negative", "Reshape", ["x", ints("s", -4, -1)])
    yield one("reshape_zero_outside", "Reshape", ["x", ints("s", 1, 4, 0)])
    yield one("reshape_overflow", "Reshape", ["x", ints("s", 2**32, 2**32)])
    yield one("reshape_float_shape", "Reshape", ["x", tensor("s", [2, 2])])
    yield one("flatten_axis", "Flatten", ["x"], axis=7)
    yield one("concat_axis", "Concat", ["x", ones("w", 1, 4)], axis=5)
    yield one("concat_dims", "Concat", ["x", ones("w", 2, 5)], axis=0)
    yield one("concat_ranks", "Concat", ["x", ones("w", 4)], axis=0)
    yield one("transpose_perm_duplicates", "Transpose", ["x"], perm=[0, 0])
    yield one("transpose_perm_range", "Transpose", ["x"], perm=[0, 9])
    yield one("transpose_perm_length", "Transpose", ["x"], perm=[0, 1, 2])
    slice_ = lambda name, starts, ends, axes, steps, expect=[INVALID], **k: one(
        f"slice_{name}", "Slice", ["x", ints("starts", *starts), ints("ends", *ends), ints("axes", *axes), ints("steps", *steps)],
        expect, **k)
    yield slice_("step_zero", [0], [4], [1], [0])
    yield slice_("axis", [0], [4], [9], [1])
    yield slice_("axes_duplicate", [0, 0], [4, 4], [1, 1], [1, 1], [INVALID, 0])
    yield slice_("lengths", [0, 0], [4], [1], [1])
    yield slice_("step_int64_min", [-1], [-(2**63)], [1], [-(2**63)], [0, INVALID])
    yield one("split_sizes", "Split", ["x", ints("s", 3, 3)], outputs=2, axis=1)
    yield one("split_negative", "Split", ["x", ints("s", 5, -1)], outputs=2, axis=1)
    yield one("split_outputs", "Split", ["x", ints("s", 1, 1, 2)], outputs=2, axis=1)
    yield one("split_axis", "Split", ["x"], outputs=2, axis=8)
    yield one("softmax_axis", "Softmax", ["x"], axis=4)
    yield one("softmax_axis_int64_min", "Softmax", ["x"], axis=-(2**63))
    yield one("gather_index", "Gather", ["x", ints("i", 4)], axis=1, **late)
    yield one("gather_index_negative", "Gather", ["x", ints("i", -5)], axis=1, **late)
    yield one("gather_axis", "Gather", ["x", ints("i", 0)], axis=3)
    yield one("gather_float_indices", "Gather", ["x", tensor("i", [0.0])], axis=1)
    yield one("gathernd_depth", "GatherND", ["x", ints("i", 0, 0, 0)], either)
    yield one("gatherelements_rank", "GatherElements", ["x", ints("i", 0)], either, axis=1)
    yield one("scatterelements_index", "ScatterElements", ["x", tensor("i", [[99]], "i8"), ones("u", 1, 1)], either,
              compile=[0, *either], axis=1)
    yield one("expand_incompatible", "Expand", ["x", ints("s", 1, 3)])
    yield one("tile_repeats", "Tile", ["x", ints("r", 2)])
    yield one("tile_negative", "Tile", ["x", ints("r", 1, -2)])
    yield one("pad_length", "Pad", ["x", ints("p", 1, 1, 1)])
    yield one("pad_negative_beyond", "Pad", ["x", ints("p", 0, -3, 0, -3)])
    yield one("pad_mode_unknown", "Pad", ["x", ints("p", 0, 1, 0, 1)], either, mode="sideways")
    yield one("range_step_zero", "Range", [scalar("a", 0), scalar("b", 5), scalar("c", 0)])
    yield one("squeeze_wide", "Squeeze", ["x", ints("a", 1)])
    yield one("unsqueeze_duplicates", "Unsqueeze", ["x", ints("a", 0, 0)])
    yield one("unsqueeze_range", "Unsqueeze", ["x", ints("a", 99)])
    yield one("reducesum_axis", "ReduceSum", ["x", ints("a", 6)])
    yield one("reducemean_axis", "ReduceMean", ["x"], axes=[6])
    yield one("argmax_axis", "ArgMax", ["x"], either, axis=-7)
    yield one("topk_k", "TopK", ["x", ints("k", 99)], outputs=2, axis=1)
    yield one("cumsum_axis", "CumSum", ["x", scalar("a", 9)], either, compile=[0, *either])
    yield one("cast_to_99", "Cast", ["x"], to=99)
    yield one("einsum_equation", "Einsum", ["x", "x"], either, equation="ij,jk->i->")
    yield one("einsum_dims", "Einsum", ["x", ones("w", 5, 4)], either, equation="ij,jk->ik")
    yield one("depthtospace_zero", "DepthToSpace", ["x"], either, **image, blocksize=0)
    yield one("depthtospace_channels", "DepthToSpace", ["x"], either, **image, blocksize=2)
    yield one("resize_zero", "Resize", ["x", "", tensor("s", [1, 1, 0, 0])], either, **image)
    yield one("resize_negative", "Resize", ["x", "", tensor("s", [1, 1, -2, -2])], either, **image)
    yield one("resize_rank", "Resize", ["x", "", tensor("s", [2, 2])], either, **image)
    lstm = [ones("w", 1, 12, 4), ones("r", 1, 12, 3)]
    yield one("lstm_hidden", "LSTM", ["x", *lstm], either, outputs=1, shape=(2, 1, 4), hidden_size=5)
    yield one("lstm_weights", "LSTM", ["x", ones("w", 1, 13, 4), lstm[1]], either, outputs=1, shape=(2, 1, 4), hidden_size=3)
    yield one("lstm_direction", "LSTM", ["x", *lstm], either, outputs=1, shape=(2, 1, 4), hidden_size=3, direction="upward")
    yield one("clip_vector_bound", "Clip", ["x", ones("lo", 3)])
    yield one("relu_of_strings", "Relu", [helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"b"])], either, names=["s"])
    yield one("top_k_too_large", "TopK", ["x", ints("k", 9)], outputs=2)
    yield one("top_k_negative", "TopK", ["x", ints("k", -1)], outputs=2)
    # Computed from the input: known in a run alone.
    for name, factor in [("too_large", 0.0), ("negative", -1.0)]:
        computed = [node("ReduceMax", ["x"], ["m"], "max", keepdims=0), node("Mul", ["m", "f"], ["s"], "scale"),
                    node("Add", ["s", "o"], ["a"], "add"), node("Cast", ["a"], ["i"], "cast", to=TensorProto.INT64),
                    node("Reshape", ["i", "one"], ["k"], "reshape"), node("TopK", ["x", "k"], ["y", "at"])]
        offset = 9.0 if factor == 0 else -1e6
        yield Case(f"top_k_computed_{name}", model(computed, [tensor("f", factor), tensor("o", offset), ints("one", 1)], outputs=["y"]),
                   [INVALID], ["`at`" if factor == 0 else "bad_topk"], [0, INVALID])
    yield one("one_hot_depth", "OneHot", [ints("i", 1), scalar("d", -4), ones("v", 2)], either)
    grid = {"compile": [0, INVALID]}
    yield one("gather_elements_range", "GatherElements", ["x", tensor("i", [[7]], "i8")], **grid)
    # Of a flattened operand this would be another element.
    yield one("gather_nd_range", "GatherND", ["x", tensor("i", [[0, 9]], "i8")], shape=(3, 4), **grid)
    yield one("scatter_elements_range", "ScatterElements", ["x", tensor("i", [[-9]], "i8"), ones("u", 1, 1)], **grid)
    yield one("roi_align_samples", "RoiAlign", ["x", ones("r", 1, 4), ints("b", 0)], [LIMIT, INVALID, UNSUPPORTED],
              shape=(1, 1, 4, 4), sampling_ratio=1 << 30)
    yield one("loop_2_63_times", "Loop", [scalar("n", 2**63 - 1), tensor("go", True, "?"), "x"], [LIMIT, INVALID],
              body=helper.make_graph([node("Identity", ["go_in"], ["go_out"], "i"), node("Relu", ["v"], ["v_out"], "r")], "body",
                                     [info("n_in", (), 7), info("go_in", (), 9), info("v", None)],
                                     [info("go_out", (), 9), info("v_out", None)]))


# ---------------------------------------------------------------- nesting, functions, names, length


def nesting_cases() -> Iterator[Case]:
    def nested_if(depth: int) -> bytes:
        """If in If, by bytes: the protobuf library refuses to copy messages so deep."""
        def branch(inner: bytes, output: str) -> bytes:
            return chunk(1, inner) + chunk(2, b"branch") + chunk(12, info(output, None).SerializeToString())

        def attribute(name: bytes, graph: bytes) -> bytes:
            return chunk(5, chunk(1, name) + chunk(6, graph) + varint(20 << 3) + varint(AttributeProto.GRAPH))

        inner = node("Relu", ["x"], [f"y{depth}"], "innermost").SerializeToString()
        for level in range(depth - 1, -1, -1):
            other = node("Neg", ["x"], [f"e{level}"], "else").SerializeToString()
            head = node("If", ["go"], [f"y{level}"], f"if{level}").SerializeToString()
            inner = (head + attribute(b"then_branch", branch(inner, f"y{level + 1}"))
                     + attribute(b"else_branch", branch(other, f"e{level}")))
        m = model([node("ReduceMax", ["x"], ["m"], "max", keepdims=0), node("Greater", ["m", "zero"], ["go"], "greater")],
                  [tensor("zero", 0.0)], outputs=["y0"])
        graph = m.graph.SerializeToString() + chunk(1, inner)
        m.ClearField("graph")
        return m.SerializeToString() + chunk(7, graph)

    yield Case("if_3_deep", nested_if(3), [0, UNSUPPORTED])
    yield Case("if_25_deep", nested_if(25), [0, UNSUPPORTED, LIMIT])
    yield Case("if_40_deep", nested_if(40), [0, INVALID, UNSUPPORTED, LIMIT])
    yield Case("if_1000_deep", nested_if(1000), [INVALID, LIMIT], ["if_1000_deep.onnx", "nested"])

    # A graph in an attribute of a node of a graph ..., deeper than any protobuf reader should follow.
    graph = b""
    for _ in range(5000):
        attribute = chunk(1, b"body") + chunk(6, graph)
        graph = chunk(1, chunk(4, b"Loop") + chunk(5, attribute))
    yield Case("protobuf_5000_deep", varint(1 << 3) + b"\x08" + chunk(7, graph) + chunk(8, varint(2 << 3) + b"\x11"),
               [INVALID, UNSUPPORTED, LIMIT])

    def function(name: str, calls: list[str]) -> onnx.FunctionProto:
        outs = [f"v{i}" for i in range(1, len(calls))] + ["out"]
        nodes = [helper.make_node(c, [i], [o], f"{name}_{k}", domain="" if c == "Relu" else "local")
                 for k, (c, i, o) in enumerate(zip(calls, ["in", *outs], outs))]
        return helper.make_function("local", name, ["in"], ["out"], nodes,
                                    [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])

    def calling(name: str, functions: list[onnx.FunctionProto]) -> ModelProto:
        m = model([node(name, ["x"], ["y"], "call", domain="local")], extra=[("local", 1)])
        m.functions.extend(functions)
        return m

    yield Case("function_fine", calling("F", [function("F", ["Relu", "Relu"])]), [0])
    yield Case("function_calls_itself", calling("F", [function("F", ["F"])]), [INVALID], ["F"])
    yield Case("function_calls_in_a_ring", calling("Ping", [function("Ping", ["Pong"]), function("Pong", ["Ping"])]),
               [INVALID], ["Ping", "Pong"])
    levels = [function(f"Level{i}", [f"Level{i + 1}" if i < 9 else "Relu"] * 10) for i in range(10)]
    yield Case("function_bomb", calling("Level0", levels), [LIMIT])
    yield Case("function_chain_3000", calling("C0", [function(f"C{i}", [f"C{i + 1}" if i < 2999 else "Relu"]) for i in range(3000)]),
               [0, LIMIT, INVALID])
    yield Case("function_missing", calling("Nowhere", [function("F", ["Relu"])]), [UNSUPPORTED, INVALID], ["Nowhere"])
    yield Case("function_twice", calling("F", [function("F", ["Relu"]), function("F", ["Relu", "Relu"])]), [INVALID], ["F"])
    lost = function("F", ["Relu"])
    lost.node[0].input[0] = "from_nowhere"
    yield Case("function_missing_tensor", calling("F", [lost]), [INVALID], ["from_nowhere"])
    unmade = function("F", ["Relu"])
    unmade.output[0] = "nobody_makes_this"
    yield Case("function_missing_output", calling("F", [unmade]), [INVALID], ["nobody_makes_this"])
    arity = model([node("F", ["x", "x", "x"], ["y"], "call", domain="local")], extra=[("local", 1)])
    arity.functions.append(function("F", ["Relu"]))
    yield Case("function_too_many_inputs", arity, [INVALID], ["call"])
    naming = calling("F", [function("F", ["Relu"])])
    naming.functions[0].ClearField("opset_import")
    yield Case("function_without_opset", naming, [INVALID, UNSUPPORTED, 0])


def name_cases() -> Iterator[Case]:
    names = {
        "escape_codes": "red\x1b[31m\x1b]0;title\x07",
        "newlines": "first\nerror: second\r\x00end",
        "bidi": "abc\u202egnp.exe\u2066",
        "script": "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
        "quotes": "\"';--`$(reboot)`%s%n{}{0}",
        "path": "../../../../tmp/owned",
        "long": "n" * 100_000,
    }
    for key, name in names.items():
        control = [c for c in name if not c.isprintable() and c != "\n"]
        forbid = sorted(set(control)) + ([name] if key == "newlines" else [])
        fine = model([node("MatMul", ["x", name + "w"], [name + "m"], name), node("Relu", [name + "m"], [name], name + "r")],
                     [ones(name + "w", 4, 4)], outputs=[name])
        yield Case(f"name_{key}", fine, [0, INVALID], forbid=forbid)
        bad = model([node("NoSuchOp" + name, ["x"], ["y"], name)])
        yield Case(f"name_{key}_in_error", bad, [UNSUPPORTED, INVALID], forbid=forbid)
    m = model([node("Relu", ["x"], ["y"], "QQQQ")]).SerializeToString()
    yield Case("name_no_utf8", m.replace(b"QQQQ", b"\xff\xfe\xc0\x80"), [0, INVALID])
    unnamed = model([node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["y"])])
    for n in unnamed.graph.node:
        n.ClearField("name")
    yield Case("name_none", unnamed, [0])
    yield Case("name_twice", model([node("Relu", ["x"], ["a"], "same"), node("Neg", ["a"], ["y"], "same")]), [0, INVALID])
    case = model([node("Relu", ["x"], ["A"], "n"), node("Neg", ["A"], ["a"], "N"), node("Add", ["A", "a"], ["y"], "sum")])
    yield Case("name_differs_by_case", case, [0])


def long_cases() -> Iterator[Case]:
    def chain(count: int, op: bytes) -> bytes:
        """A chain of `count` nodes, as bytes: building it as objects takes gigabytes."""
        names = [b"x", *(b"%x_" % i for i in range(1, count)), b"y"]
        nodes = [chunk(1, chunk(1, a) + chunk(2, b) + chunk(4, op)) for a, b in zip(names, names[1:])]
        base = model([])
        head = base.graph.SerializeToString()
        base.ClearField("graph")
        return base.SerializeToString() + chunk(7, b"".join(nodes) + head)

    yield Case("long_20000_relu", chain(20_000, b"Relu"), [0, LIMIT])
    yield Case("long_million_identity", chain(1_000_000, b"Identity"), [0, LIMIT])
    wide = model([node("Concat", ["x"] * 50_000, ["y"], "wide", axis=0)])
    yield Case("long_concat_50000", wide, [0, LIMIT])
    tensors = [tensor(f"w{i}", [1.0]) for i in range(50_000)]
    yield Case("long_unused_weights", model([node("Relu", ["x"], ["y"], "act")], tensors), [0, LIMIT])


# ---------------------------------------------------------------- variants of a good model


def variants(good: bytes, seed: int) -> Iterator[Case]:
    """Truncations, flipped bits, moved, inserted and overwritten bytes."""
    rng = random.Random(seed)
    anything = [0, INVALID, UNSUPPORTED, LIMIT]
    # Weights fill most of a file and any bits are fine there; aim at the rest.
    weights = [t.raw_data for t in onnx.load_from_string(good).graph.initializer]
    structure = set(range(len(good)))
    for data in weights:
        start = good.find(data) if len(data) > 16 else -1
        if start >= 0:
            structure -= set(range(start, start + len(data)))
    spots = sorted(structure) or range(len(good))
    spot = lambda: rng.choice(spots) if rng.random() < 0.8 else rng.randrange(len(good))

    lengths = sorted({*range(1, 20), *rng.sample(range(20, len(good)), 60), len(good) - 1})
    for i, n in enumerate(lengths):
        yield Case(f"truncated_{i:03}", good[:n], anything)
    for i in range(150):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
            data[spot()] ^= 1 << rng.randrange(8)
        yield Case(f"flipped_{i:03}", bytes(data), anything)
    for i in range(40):
        data = bytearray(good)
        a, n = spot(), rng.choice([1, 2, 8, 64])
        data[a : a + n] = rng.choice([b"\xff", b"\0", b"\x80", b"\x7f"]) * len(data[a : a + n])
        yield Case(f"overwritten_{i:03}", bytes(data), anything)
    for i in range(30):
        a, b, n = spot(), spot(), rng.choice([1, 4, 32, 256])
        yield Case(f"inserted_{i:03}", good[:b] + good[a : a + n] + good[b:], anything)
    for i in range(20):
        a, n = spot(), rng.choice([1, 2, 16, 128])
        yield Case(f"deleted_{i:03}", good[:a] + good[a + n :], anything)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path, metavar="OUT_DIR")
    ap.add_argument("model", type=Path, metavar="MODEL.onnx", help="a good model, to make variants of")
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    models, inputs = args.out / "models", args.out / "inputs"
    for folder in (models, inputs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    # 64 bytes each, so that a reader which follows the path gets a whole weight.
    secret = args.out / "secret.bin"
    secret.unlink(missing_ok=True)
    secret.write_bytes(np.full(16, 42, "f4").tobytes())
    (models / "weights.bin").write_bytes(np.ones(16, "f4").tobytes())
    (models / "sub").mkdir()
    (models / "symlink.bin").symlink_to("../secret.bin")
    (models / "linked").symlink_to("..", target_is_directory=True)
    os.link(secret, models / "hardlink.bin")

    manifest: dict[str, dict[str, Any]] = {}
    good = args.model.read_bytes()
    parts = [graph_cases(), attribute_cases(), tensor_cases(secret), size_cases(), op_cases(), nesting_cases(),
             name_cases(), long_cases(), variants(good, args.seed)]
    for case in (c for part in parts for c in part):
        assert case.name not in manifest, case.name
        data = case.model if isinstance(case.model, bytes) else case.model.SerializeToString(deterministic=True)
        (models / f"{case.name}.onnx").write_bytes(data)
        entry: dict[str, Any] = {"file": f"models/{case.name}.onnx", "expect": sorted(case.expect), "names": case.names}
        if case.compile is not None:
            entry["compile"] = sorted(case.compile)
        if case.forbid:
            entry["forbid"] = case.forbid
        if not case.name.startswith(("truncated_", "flipped_", "overwritten_", "inserted_", "deleted_")):
            path = inputs / ("x_" + "x".join(map(str, case.shape)) + ".npz")
            if not path.exists():
                np.savez(path, x=np.linspace(-1, 1, int(np.prod(case.shape)), dtype="f4").reshape(case.shape))
            entry["inputs"] = f"inputs/{path.name}"
        manifest[case.name] = entry
    (args.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    named = sum("inputs" in e for e in manifest.values())
    print(f"{len(manifest)} models ({named} by name, {len(manifest) - named} variants) in {args.out}")


if __name__ == "__main__":
    main()
