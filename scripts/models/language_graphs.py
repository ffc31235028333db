"""Graphs of one language model as different tools write it; language_forms.py lists the forms."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from smollm2 import BLOCK, Weights

MICROSOFT, EPSILON = "com.microsoft", 1e-5


class Form:
    """A form while it is written: methods add nodes and return the name of their first result."""

    opset = 17
    has_cache = True

    def __init__(self, weights: Weights) -> None:
        self.weights, self.sizes = weights, weights.sizes
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def op(self, op: str, *inputs: str, outputs: list[str] | None = None, domain: str = "", **attributes: Any) -> str:
        outputs = outputs or [f"{op}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, f"{op}_{len(self.nodes)}", domain=domain, **attributes))
        return outputs[0]

    def ms(self, op: str, *inputs: str, outputs: list[str] | None = None, **attributes: Any) -> str:
        return self.op(op, *inputs, outputs=outputs, domain=MICROSOFT, **attributes)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.setdefault(name, np.asarray(value, order="C"))
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, "i8"))

    def int(self, value: int) -> str:
        return self.constant(f"int_{value}", np.array(value, "i8"))

    def dim(self, x: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", x), self.int(axis))

    def angles(self) -> list[str]:
        """Tables of cosines and sines."""
        s = self.sizes
        steps = s.base ** (-np.arange(s.head // 2, dtype="f4") / np.float32(s.head // 2))
        angles = np.outer(np.arange(s.positions, dtype="f4"), steps.astype("f4"))
        return [self.constant("cos", np.cos(angles)), self.constant("sin", np.sin(angles))]

    def declare(self) -> None:
        """Adds the inputs and outputs."""
        total = "past + sequence" if self.has_cache else "sequence"
        for name, length in [("input_ids", "sequence"), ("attention_mask", total), ("position_ids", "sequence")]:
            if name != "position_ids" or self.has_positions():
                self.inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length]))
        shape = ["batch", "sequence", self.sizes.vocabulary]
        self.outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
        for layer in range(self.sizes.layers if self.has_cache else 0):
            for part in ("key", "value"):
                shape = ["batch", self.sizes.groups, "past", self.sizes.head]
                self.inputs.append(helper.make_tensor_value_info(f"past_key_values.{layer}.{part}", self.cache_type(), shape))
                shape = ["batch", self.sizes.groups, total, self.sizes.head]
                self.outputs.append(helper.make_tensor_value_info(f"present.{layer}.{part}", self.cache_type(), shape))

    def has_positions(self) -> bool:
        return True

    def cache_type(self) -> int:
        return TensorProto.FLOAT

    def model(self) -> onnx.ModelProto:
        self.declare()
        self.write()
        initializers = [numpy_helper.from_array(v, n) for n, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "decoder", self.inputs, self.outputs, initializers)
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=11)

    def write(self) -> None:
        raise NotImplementedError

    def mlp(self, h: str, layer: int) -> str:
        gate, up = self.linear(h, layer, "gate"), self.linear(h, layer, "up")
        return self.linear(self.op("Mul", self.silu(gate), up), layer, "down")

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def linear(self, x: str, layer: int, part: str) -> str:
        return self.op("MatMul", x, self.constant(f"{layer}.{part}", self.weights.matrix(f"{layer}.{part}").T))


class Primitives(Form):
    """Plain, cache and float16: what exporters make of the modules. `half` computes in float16, but for norms and softmax."""

    def __init__(self, weights: Weights, cache: bool, half: bool = False, half_cache: bool = False, tied: bool = True) -> None:
        super().__init__(weights)
        self.has_cache, self.half, self.half_cache, self.tied = cache, half, half_cache, tied

    def cache_type(self) -> int:
        return TensorProto.FLOAT16 if self.half_cache else TensorProto.FLOAT

    def number(self, value: float) -> str:
        return self.constant(f"number_{value}", np.array(value, "f4"))

    def weight(self, name: str, value: np.ndarray) -> str:
        return self.constant(name, value.astype("f2" if self.half else "f4"))

    def narrow(self, x: str) -> str:
        return self.op("Cast", x, to=TensorProto.FLOAT16) if self.half else x

    def wide(self, x: str) -> str:
        return self.op("Cast", x, to=TensorProto.FLOAT) if self.half else x

    def linear(self, x: str, layer: int, part: str) -> str:
        weight = self.weight(f"{layer}.{part}", self.weights.matrix(f"{layer}.{part}").T)
        return self.op("MatMul", x, weight, outputs=[f"/layers.{layer}/{part}/MatMul"])

    def norm(self, x: str, name: str) -> str:
        x = self.wide(x)
        mean = self.op("ReduceMean", self.op("Pow", x, self.number(2)), axes=[-1])
        scale = self.op("Div", self.number(1), self.op("Sqrt", self.op("Add", mean, self.number(EPSILON))))
        return self.op("Mul", self.weight(f"norm.{name}", self.weights.norm(name)), self.narrow(self.op("Mul", x, scale)))

    def heads(self, x: str, count: int) -> str:
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, 0, count, self.sizes.head)), perm=[0, 2, 1, 3])

    def rotated(self, x: str) -> str:
        half = self.sizes.head // 2
        a = self.op("Slice", x, self.ints(0), self.ints(half), self.ints(3))
        b = self.op("Slice", x, self.ints(half), self.ints(2 * half), self.ints(3))
        turned = self.op("Concat", self.op("Neg", b), a, axis=-1)
        return self.op("Add", self.op("Mul", x, "cos"), self.op("Mul", turned, "sin"))

    def repeated(self, x: str) -> str:
        s, shape = self.sizes, self.op("Shape", x)
        batch, length = (self.op("Slice", shape, self.ints(i), self.ints(i + 1)) for i in (0, 2))
        counts = self.ints(s.groups), self.ints(s.heads // s.groups)
        to = self.op("Concat", batch, *counts, length, self.ints(s.head), axis=0)
        wide = self.op("Expand", self.op("Unsqueeze", x, self.ints(2)), to)
        return self.op("Reshape", wide, self.op("Concat", batch, self.ints(s.heads), length, self.ints(s.head), axis=0))

    def shared(self) -> None:
        """The additive mask, and cosines and sines computed from the position ids."""
        length = self.dim("input_ids", 1)
        past = self.dim("past_key_values.0.key", 2) if self.has_cache else self.int(0)
        total = self.op("Add", past, length)
        keys = self.op("Range", self.int(0), total, self.int(1))
        queries = self.op("Unsqueeze", self.op("Range", past, total, self.int(1)), self.ints(1))
        padded = self.op("Equal", self.op("Unsqueeze", "attention_mask", self.ints(1, 2)), self.int(0))
        hidden = self.op("Or", self.op("Greater", keys, queries), padded)
        low = np.finfo("f2" if self.half else "f4").min
        self.op("Where", hidden, self.weight("low", np.array(low)), self.weight("zero", np.array(0)), outputs=["mask"])
        s = self.sizes
        steps = s.base ** (-np.arange(s.head // 2, dtype="f4") / np.float32(s.head // 2))
        positions = self.op("Cast", self.op("Unsqueeze", "position_ids", self.ints(2)), to=TensorProto.FLOAT)
        angles = self.op("MatMul", positions, self.constant("steps", steps.astype("f4")[None]))
        angles = self.op("Unsqueeze", self.op("Concat", angles, angles, axis=-1), self.ints(1))
        for function in ("Cos", "Sin"):
            self.op("Identity", self.narrow(self.op(function, angles)), outputs=[function.lower()])

    def with_past(self, x: str, layer: int, part: str) -> str:
        past, present = f"past_key_values.{layer}.{part}", f"present.{layer}.{part}"
        if self.half == self.half_cache:
            return self.op("Concat", past, x, axis=2, outputs=[present])
        joined = self.op("Concat", self.narrow(past), x, axis=2)
        self.op("Cast", joined, to=TensorProto.FLOAT, outputs=[present])
        return joined

    def attention(self, h: str, layer: int) -> str:
        s = self.sizes
        counts = {"q": s.heads, "k": s.groups, "v": s.groups}
        q, k, v = (self.heads(self.linear(h, layer, part), n) for part, n in counts.items())
        q, k = self.rotated(q), self.rotated(k)
        if self.has_cache:
            k, v = self.with_past(k, layer, "key"), self.with_past(v, layer, "value")
        k, v = self.repeated(k), self.repeated(v)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Mul", scores, self.weight("scale", np.array(s.head**-0.5)))
        scores = self.wide(self.op("Add", scores, "mask"))
        y = self.op("MatMul", self.narrow(self.op("Softmax", scores, axis=-1)), v)
        y = self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), self.ints(0, 0, s.hidden))
        return self.linear(y, layer, "o")

    def write(self) -> None:
        self.shared()
        table = self.weight("table", self.weights.table())
        x = self.op("Gather", table, "input_ids")
        for layer in range(self.sizes.layers):
            x = self.op("Add", x, self.attention(self.norm(x, f"{layer}.before"), layer))
            x = self.op("Add", x, self.mlp(self.norm(x, f"{layer}.between"), layer))
        head = self.op("Transpose", table, perm=[1, 0]) if self.tied else self.weight("head", self.weights.table().T)
        x = self.norm(x, "last")
        if self.half:
            self.op("Cast", self.op("MatMul", x, head), to=TensorProto.FLOAT, outputs=["logits"])
        else:
            self.op("MatMul", x, head, outputs=["logits"])


class Genai(Form):
    """Contrib and q4: what onnxruntime-genai writes. `bits` names how weights are packed."""

    opset = 21

    def __init__(self, weights: Weights, packed: bool = True, rotates: bool = True, bits: str | None = None) -> None:
        super().__init__(weights)
        self.packed, self.rotates, self.bits = packed, rotates, bits

    def has_positions(self) -> bool:
        return not self.rotates

    def product(self, x: str, layer: int, *parts: str) -> str:
        name = f"{layer}.{'_'.join(parts)}"
        if self.bits is None:
            weight = np.concatenate([self.weights.matrix(f"{layer}.{part}") for part in parts]).T
            return self.op("MatMul", x, self.constant(name, weight))
        codes, scale, zero = self.rounded([f"{layer}.{part}" for part in parts])
        operands = [self.constant(f"{name}.packed", pairs(codes)), self.constant(f"{name}.scales", scale)]
        if zero is not None:
            operands.append(self.constant(f"{name}.zeros", zero))
        rows, blocks, _ = codes.shape
        return self.ms("MatMulNBits", x, *operands, K=blocks * BLOCK, N=rows, bits=4, block_size=BLOCK)

    def linear(self, x: str, layer: int, part: str) -> str:
        return self.product(x, layer, part)

    def rounded(self, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Codes, scales and zero points; zero points of None are all 8."""
        if self.bits == "q4":
            codes, scale, minimum = (np.concatenate(parts) for parts in zip(*map(self.weights.codes, names)))
            # A block of one value has the scale 1 and the code 0.
            flat = scale == 0
            scale = np.where(flat, np.float32(1), scale)
            return np.where(flat[..., None], 0, codes).astype("u1"), scale, (-minimum / scale).astype("f4")
        values = np.concatenate([self.weights.matrix(name) for name in names])
        blocks = values.reshape(len(values), -1, BLOCK)
        if self.bits == "q4_sym":
            largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)[..., 0]
            scale, zero = (largest / -8).astype("f4"), np.full(blocks.shape[:2], 8)
        else:
            low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
            scale = ((high - low) / 15).astype("f4")
            zero = np.rint(-low / np.where(scale == 0, 1, scale))
        scale[scale == 0] = 1
        codes = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, 15).astype("u1")
        if self.bits == "q4_sym":
            return codes, scale, None
        odd = zero.shape[1] % 2
        return codes, scale, pairs(np.pad(zero.astype("u1"), ((0, 0), (0, odd)), constant_values=8))

    def embedded(self) -> tuple[str, Callable[[str], str]]:
        """The rows of the ids, and a function that adds the head."""
        if self.bits is None:
            head = self.constant("head", self.weights.table().T)
            rows = self.op("Gather", self.op("Transpose", head, perm=[1, 0]), "input_ids")
            return rows, lambda x: self.op("MatMul", x, head, outputs=["logits"])
        codes, scale = self.weights.embedding()
        packed = self.constant("head.packed", (codes.astype("i2") + 128).astype("u1"))
        scales, s = self.constant("head.scales", scale), self.sizes
        flat = self.op("Reshape", packed, self.ints(s.vocabulary, s.hidden))
        attributes = {"bits": 8, "block_size": BLOCK}
        rows = self.ms("GatherBlockQuantized", flat, "input_ids", scales, gather_axis=0, quantize_axis=1, **attributes)
        sizes = {"K": s.hidden, "N": s.vocabulary}
        return rows, lambda x: self.ms("MatMulNBits", x, packed, scales, outputs=["logits"], **sizes, **attributes)

    def attention(self, h: str, layer: int) -> str:
        s = self.sizes
        operands = [self.product(h, layer, "q", "k", "v"), "", ""]
        if not self.packed:
            operands = [self.product(h, layer, part) for part in "qkv"]
        if not self.rotates:
            for i, count in ((0, s.heads), (1, s.groups)):
                operands[i] = self.ms("RotaryEmbedding", operands[i], "position_ids", *self.angles(), num_heads=count)
        past, present = ([f"{name}.{layer}.{part}" for part in ("key", "value")] for name in ("past_key_values", "present"))
        operands += [*past, "lengths", "total", *(self.angles() if self.rotates else [])]
        y = self.ms(
            "GroupQueryAttention", *operands, outputs=[f"attention.{layer}", *present], num_heads=s.heads,
            kv_num_heads=s.groups, scale=s.head**-0.5, do_rotary=int(self.rotates),
        )  # fmt: skip
        return self.product(y, layer, "o")

    def write(self) -> None:
        lengths = self.op("Sub", self.op("ReduceSum", "attention_mask", self.ints(1)), self.ints(1))
        self.op("Cast", lengths, to=TensorProto.INT32, outputs=["lengths"])
        self.op("Cast", self.dim("attention_mask", 1), to=TensorProto.INT32, outputs=["total"])
        x, head = self.embedded()
        weight = lambda name: self.constant(f"norm.{name}", self.weights.norm(name))
        h = self.op("SimplifiedLayerNormalization", x, weight("0.before"), axis=-1, epsilon=EPSILON, stash_type=1)
        skip = lambda x, y, name: self.ms(
            "SkipSimplifiedLayerNormalization", x, y, weight(name), outputs=[f"h.{name}", "", "", f"x.{name}"], epsilon=EPSILON
        )
        for layer in range(self.sizes.layers):
            skip(x, self.attention(h, layer), f"{layer}.between")
            y = self.mlp(f"h.{layer}.between", layer)
            following = f"{layer + 1}.before" if layer + 1 < self.sizes.layers else "last"
            h, x = skip(f"x.{layer}.between", y, following), f"x.{following}"
        head(h)


class Standard(Form):
    """Operators of the standard for language models, of opset 23 or 24."""

    def __init__(self, weights: Weights, opset: int) -> None:
        super().__init__(weights)
        self.opset = opset

    def silu(self, x: str) -> str:
        return self.op("Swish", x, alpha=1.0) if self.opset > 23 else super().silu(x)

    def norm(self, x: str, name: str) -> str:
        return self.op("RMSNormalization", x, self.constant(f"norm.{name}", self.weights.norm(name)), axis=-1, epsilon=EPSILON)

    def mask(self) -> str:
        """True at keys that are seen. The operator adds causality from opset 24 on, and wants the queries' axis."""
        seen = self.op("Cast", self.op("Unsqueeze", "attention_mask", self.ints(1, 2)), to=TensorProto.BOOL)
        length, total = self.dim("input_ids", 1), self.dim("attention_mask", 1)
        if self.opset > 23:
            to = self.op("Concat", self.ints(1, 1), self.op("Unsqueeze", length, self.ints(0)), self.ints(1), axis=0)
            return self.op("Expand", seen, to)
        keys = self.op("Range", self.int(0), total, self.int(1))
        queries = self.op("Range", self.op("Sub", total, length), total, self.int(1))
        return self.op("And", seen, self.op("LessOrEqual", keys, self.op("Unsqueeze", queries, self.ints(1))))

    def attention(self, h: str, layer: int, mask: str) -> str:
        s = self.sizes
        q, k, v = (self.linear(h, layer, part) for part in "qkv")
        q, k = (
            self.op("RotaryEmbedding", x, *self.angles(), "position_ids", num_heads=n)
            for x, n in ((q, s.heads), (k, s.groups))
        )
        past, present = ([f"{name}.{layer}.{part}" for part in ("key", "value")] for name in ("past_key_values", "present"))
        y = self.op(
            "Attention", q, k, v, mask, *past, outputs=[f"attention.{layer}", *present], q_num_heads=s.heads,
            kv_num_heads=s.groups, scale=s.head**-0.5, is_causal=int(self.opset > 23),
        )  # fmt: skip
        return self.linear(y, layer, "o")

    def write(self) -> None:
        mask = self.mask()
        table = self.constant("table", self.weights.table())
        x = self.op("Gather", table, "input_ids")
        for layer in range(self.sizes.layers):
            x = self.op("Add", x, self.attention(self.norm(x, f"{layer}.before"), layer, mask))
            x = self.op("Add", x, self.mlp(self.norm(x, f"{layer}.between"), layer))
        self.op("MatMul", self.norm(x, "last"), self.op("Transpose", table, perm=[1, 0]), outputs=["logits"])


def pairs(codes: np.ndarray) -> np.ndarray:
    """Two codes of 4 bits in a byte, the first in its low bits."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype("u1")
