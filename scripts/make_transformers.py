#!/usr/bin/env python3
"""Writes transformers with random weights, for benchmarks that need no PyTorch.

    scripts/make_transformers.py bert-base [--tokens 128] [--out DIR] [--seed N]
    scripts/make_transformers.py llama-8x1024 llama-1b --dtype bf16 --tokens 128
    scripts/make_transformers.py olmoe-16th --tokens 64

`bert-base` is a classifier (12 layers, 768 features, 12 heads); `llama-8x1024` has 8 layers of
1024 features, 16 heads over 8 of keys, 2816 hidden, 32000 tokens; `llama-1b` has the shape of
LLaMA-3.2-1B: 16 layers of 2048 features, 32 heads over 8, 8192 hidden, 128256 tokens, the head tied
to the embedding. `olmoe-16th` is a mixture of experts of OLMoE-1B-7B's shape: its 16 layers, 16 heads,
50304 tokens, 64 experts of which a token takes 8, and a quarter of its widths (512 features, 256 in an
expert), so that experts and attentions have a sixteenth of its parameters; each expert gathers its
tokens (NonZero, GatherND, ScatterND), as PyTorch's exporter writes it. Batch and sequence are symbolic.
Opset 17, in the pieces that exporters write.
Writes DIR/NAME/model.onnx, its weights beside it in model.onnx.data, and DIR/NAME/input.npz.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

DTYPES = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass
class Llama:
    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    tied: bool
    experts: int = 1
    chosen: int = 1


LLAMAS = {
    "llama-8x1024": Llama(8, 1024, 16, 8, 2816, 32000, False),
    "llama-1b": Llama(16, 2048, 32, 8, 8192, 128256, True),
    "olmoe-16th": Llama(16, 512, 16, 16, 256, 50304, False, 64, 8),
}


class Builder:
    """Collects nodes; weights go to the data file as they are made."""

    def __init__(self, seed: int, data: BinaryIO, dtype: str) -> None:
        self.rng, self.data, self.dtype = np.random.default_rng(seed), data, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.count = 0

    def node(self, op: str, inputs: list[str], name: str | None = None, output: str | None = None,
             **attributes: Any) -> str:
        self.count += 1
        name = name or f"{op}_{self.count}"
        output = output or name + ".out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def ints(self, *values: int) -> str:
        self.count += 1
        name = f"ints_{self.count}"
        self.tensors.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def number(self, value: float) -> str:
        self.count += 1
        name = f"number_{self.count}"
        self.tensors.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
        return name

    def index(self, value: int) -> str:
        self.count += 1
        name = f"index_{self.count}"
        self.tensors.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
        return name

    def random(self, name: str, *shape: int, scale: float) -> str:
        """Normally distributed weights; float32 for the graph, cast where the file has another type."""
        tensor = TensorProto(name=name, data_type=DTYPES[self.dtype], dims=shape, data_location=TensorProto.EXTERNAL)
        self.data.write(b"\0" * (-self.data.tell() % 4096))
        start = self.data.tell()
        rows = max(1, (1 << 24) // max(1, int(np.prod(shape[1:], dtype=np.int64))))
        for at in range(0, shape[0], rows):
            part = (min(rows, shape[0] - at), *shape[1:])
            values = self.rng.standard_normal(part, np.float32) * np.float32(scale)
            if self.dtype == "f16":
                values = values.astype(np.float16)
            elif self.dtype == "bf16":
                values = ((values.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
            self.data.write(values.tobytes())
        for key, value in (("location", "model.onnx.data"), ("offset", start), ("length", self.data.tell() - start)):
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        return name if self.dtype == "f32" else self.node("Cast", [name], name + ".cast", to=TensorProto.FLOAT)

    def vector(self, name: str, values: np.ndarray) -> str:
        self.tensors.append(helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.astype(np.float32)))
        return name

    def linear(self, x: str, name: str, inputs: int, outputs: int, bias: bool = True) -> str:
        y = self.node("MatMul", [x, self.random(name + ".weight", inputs, outputs, scale=inputs ** -0.5)], name + ".mm")
        if not bias:
            return y
        b = self.vector(name + ".bias", self.rng.standard_normal(outputs) * 0.02)
        return self.node("Add", [b, y], name + ".add")

    def heads(self, x: str, heads: int, width: int) -> str:
        x = self.node("Reshape", [x, self.ints(0, 0, heads, width)])
        return self.node("Transpose", [x], perm=[0, 2, 1, 3])

    def attend(self, q: str, k: str, v: str, mask: str, width: int, features: int) -> str:
        scores = self.node("MatMul", [q, self.node("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = self.node("Div", [scores, self.number(width ** 0.5)])
        p = self.node("Softmax", [self.node("Add", [scores, mask])], axis=-1)
        y = self.node("Transpose", [self.node("MatMul", [p, v])], perm=[0, 2, 1, 3])
        return self.node("Reshape", [y, self.ints(0, 0, features)])


def bert_base(b: Builder) -> tuple[str, int]:
    layers, width, heads, hidden, vocabulary = 12, 768, 12, 3072, 30522

    def norm(x: str, name: str) -> str:
        scale = b.vector(name + ".weight", 1 + b.rng.standard_normal(width) * 0.02)
        shift = b.vector(name + ".bias", b.rng.standard_normal(width) * 0.02)
        return b.node("LayerNormalization", [x, scale, shift], name, axis=-1, epsilon=1e-12)

    words = b.node("Gather", [b.random("word.weight", vocabulary, width, scale=0.05), "input_ids"], "word")
    length = b.node("Gather", [b.node("Shape", ["input_ids"]), b.index(1)])
    ids = b.node("Range", [b.index(0), length, b.index(1)])
    places = b.node("Gather", [b.random("position.weight", 512, width, scale=0.05), ids], "position")
    x = norm(b.node("Add", [words, places]), "embeddings.norm")
    mask = b.node("Cast", [b.node("Unsqueeze", ["attention_mask", b.ints(1, 2)])], to=TensorProto.FLOAT)
    mask = b.node("Mul", [b.node("Sub", [b.number(1.0), mask]), b.number(-3.4028235e38)])
    for i in range(layers):
        name = f"layer.{i}"
        q, k, v = (b.heads(b.linear(x, f"{name}.{n}", width, width), heads, width // heads) for n in "qkv")
        y = b.attend(q, k, v, mask, width // heads, width)
        x = norm(b.node("Add", [b.linear(y, name + ".out", width, width), x]), name + ".norm1")
        y = b.linear(x, name + ".up", width, hidden)
        erf = b.node("Erf", [b.node("Div", [y, b.number(2 ** 0.5)])])
        y = b.node("Mul", [b.node("Mul", [y, b.node("Add", [erf, b.number(1.0)])]), b.number(0.5)])
        x = norm(b.node("Add", [b.linear(y, name + ".down", hidden, width), x]), name + ".norm2")
    first = b.node("Gather", [x, b.index(0)], axis=1)
    pooled = b.node("Tanh", [b.linear(first, "pooler", width, width)])
    logits = b.linear(pooled, "classifier", width, 2)
    b.node("Identity", [logits], "logits", "logits")
    return "logits", vocabulary


def gated(b: Builder, x: str, name: str, m: Llama) -> str:
    """SwiGLU."""
    gate = b.linear(x, name + ".gate", m.width, m.hidden, False)
    gate = b.node("Mul", [gate, b.node("Sigmoid", [gate])])
    y = b.node("Mul", [gate, b.linear(x, name + ".up", m.width, m.hidden, False)])
    return b.linear(y, name + ".down", m.hidden, m.width, False)


def mixture(b: Builder, x: str, name: str, m: Llama) -> str:
    """The sum of each token's experts, weighted by their probabilities."""
    shape = b.node("Shape", [x])
    x = b.node("Reshape", [x, b.ints(-1, m.width)])
    p = b.node("Softmax", [b.linear(x, name + "/gate", m.width, m.experts, False)], axis=-1)
    top, at = name + "/top", name + "/at"
    b.nodes.append(helper.make_node("TopK", [p, b.ints(m.chosen)], [top, at], name + "/TopK", axis=-1))
    hot = b.node("OneHot", [at, b.index(m.experts), b.ints(0, 1)], axis=-1)
    hot = b.node("Transpose", [hot], perm=[2, 1, 0])
    total = b.node("Mul", [x, b.number(0.0)])
    for e in range(m.experts):
        own = f"{name}/experts.{e}"
        found = b.node("NonZero", [b.node("Gather", [hot, b.index(e)], axis=0)], own + "/NonZero")
        slot, token = own + "/slot", own + "/token"
        b.nodes.append(helper.make_node("Split", [found], [slot, token], own + "/Split", axis=0))
        token = b.node("Transpose", [token], perm=[1, 0])
        y = gated(b, b.node("GatherND", [x, token]), own, m)
        pair = b.node("Concat", [token, b.node("Transpose", [slot], perm=[1, 0])], axis=1)
        share = b.node("Unsqueeze", [b.node("GatherND", [top, pair]), b.ints(1)])
        y = b.node("Mul", [y, share], own + "/Mul")
        total = b.node("ScatterND", [total, token, y], own + "/ScatterND", reduction="add")
    return b.node("Reshape", [total, shape])


def llama(b: Builder, m: Llama) -> tuple[str, int]:
    width = m.width // m.heads
    half = width // 2

    def norm(x: str, name: str) -> str:
        scale = b.vector(name + ".weight", 1 + b.rng.standard_normal(m.width) * 0.02)
        mean = b.node("ReduceMean", [b.node("Pow", [x, b.number(2.0)])], axes=[-1], keepdims=1)
        std = b.node("Sqrt", [b.node("Add", [mean, b.number(1e-5)])])
        return b.node("Mul", [scale, b.node("Mul", [x, b.node("Reciprocal", [std])])], name)

    def rotate(x: str, cos: str, sin: str) -> str:
        low = b.node("Slice", [x, b.ints(0), b.ints(half), b.ints(3)])
        high = b.node("Slice", [x, b.ints(half), b.ints(width), b.ints(3)])
        turned = b.node("Concat", [b.node("Neg", [high]), low], axis=-1)
        return b.node("Add", [b.node("Mul", [x, cos]), b.node("Mul", [turned, sin])])

    def repeat(x: str, sizes: list[str]) -> str:
        if m.heads == m.kv_heads:
            return x
        x = b.node("Unsqueeze", [x, b.ints(2)])
        to = b.node("Concat", [sizes[0], b.ints(m.kv_heads, m.heads // m.kv_heads), sizes[1], b.ints(width)], axis=0)
        x = b.node("Expand", [x, to])
        return b.node("Reshape", [x, b.node("Concat", [sizes[0], b.ints(m.heads), sizes[1], b.ints(width)], axis=0)])

    table = b.random("embed.weight", m.vocabulary, m.width, scale=0.05)
    x = b.node("Gather", [table, "input_ids"], "embed")
    shape = b.node("Shape", ["input_ids"])
    sizes = [b.node("Slice", [shape, b.ints(i), b.ints(i + 1)]) for i in (0, 1)]
    length = b.node("Gather", [shape, b.index(1)])
    places = b.node("Range", [b.index(0), length, b.index(1)])
    row, column = b.node("Unsqueeze", [places, b.ints(1)]), b.node("Unsqueeze", [places, b.ints(0)])
    seen = b.node("LessOrEqual", [column, row])
    kept = b.node("Cast", [b.node("Unsqueeze", ["attention_mask", b.ints(1, 2)])], to=TensorProto.BOOL)
    mask = b.node("Where", [b.node("And", [seen, kept]), b.number(0.0), b.number(-3.4028235e38)])
    angles = 500000.0 ** (-np.arange(half) / half)
    angle = b.node("Mul", [b.node("Cast", [row], to=TensorProto.FLOAT), b.vector("angles", angles.astype(np.float32))])
    angle = b.node("Concat", [angle, angle], axis=-1)
    cos, sin = b.node("Cos", [angle]), b.node("Sin", [angle])
    for i in range(m.layers):
        name = f"layer.{i}"
        y = norm(x, name + ".norm1")
        q, k, v = (b.linear(y, f"{name}.{n}", m.width, heads * width, False) for n, heads in
                   (("q", m.heads), ("k", m.kv_heads), ("v", m.kv_heads)))
        if m.experts > 1:
            q, k = norm(q, name + ".q_norm"), norm(k, name + ".k_norm")
        q = rotate(b.heads(q, m.heads, width), cos, sin)
        k, v = b.heads(k, m.kv_heads, width), b.heads(v, m.kv_heads, width)
        k, v = repeat(rotate(k, cos, sin), sizes), repeat(v, sizes)
        y = b.attend(q, k, v, mask, width, m.width)
        x = b.node("Add", [x, b.linear(y, name + ".out", m.width, m.width, False)])
        y = norm(x, name + ".norm2")
        x = b.node("Add", [x, mixture(b, y, f"/layers.{i}/mlp", m) if m.experts > 1 else gated(b, y, name, m)])
    x = norm(x, "norm")
    if m.tied:
        b.node("MatMul", [x, b.node("Transpose", [table], perm=[1, 0])], "logits", "logits")
    else:
        head = b.random("head.weight", m.width, m.vocabulary, scale=m.width ** -0.5)
        b.node("MatMul", [x, head], "logits", "logits")
    return "logits", m.vocabulary


def write(name: str, out: Path, tokens: int, seed: int, dtype: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "model.onnx.data", "wb") as data:
        b = Builder(seed, data, dtype)
        logits, vocabulary = bert_base(b) if name == "bert-base" else llama(b, LLAMAS[name])
    dims = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info(logits, TensorProto.FLOAT, None)]
    graph = helper.make_graph(b.nodes, name, inputs, outputs, b.tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out / "model.onnx")
    rng = np.random.default_rng(seed + 1)
    np.savez(out / "input.npz", input_ids=rng.integers(0, vocabulary, (1, tokens)),
             attention_mask=np.ones((1, tokens), np.int64))
    print(out / "model.onnx", f"{os.path.getsize(out / 'model.onnx.data') / 2**20:.0f} MiB of weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=["bert-base", *LLAMAS])
    parser.add_argument("--out", type=Path, default=Path("target/models"))
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f32")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.models:
        write(name, arguments.out / name, arguments.tokens, arguments.seed, arguments.dtype)


if __name__ == "__main__":
    main()
