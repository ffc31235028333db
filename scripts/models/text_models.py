"""Text models as ONNX from the weights that Python packages carry, without PyTorch."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from efficientnet_lite0 import Pending, WeightsUnpickler

Weights = dict[str, np.ndarray]
OPSET = 17


class Net:
    """A graph while it is written: each method adds nodes and returns the name of their result."""

    def __init__(self, name: str, inputs: dict[str, list[Any]]) -> None:
        self.name, self.nodes, self.weights = name, [], {}  # type: str, list[onnx.NodeProto], dict[str, np.ndarray]
        self.inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n, dims in inputs.items()]

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.setdefault(name, value)
        return name

    def number(self, value: float) -> str:
        return self.weight(f"number_{value:g}", np.float32(value))

    def ints(self, *values: int) -> str:
        return self.weight("ints_" + "_".join(map(str, values)), np.array(values, "i8"))

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x: str, name: str, w: np.ndarray, b: np.ndarray | None = None) -> str:
        y = self.add("MatMul", x, self.weight(f"{name}.weight", np.ascontiguousarray(w.T)), name=f"{name}.map")
        return y if b is None else self.add("Add", y, self.weight(f"{name}.bias", b), name=name)

    def heads(self, x: str, count: int, size: int) -> str:
        x = self.add("Reshape", x, self.ints(0, 0, count, size))
        return self.add("Transpose", x, perm=[0, 2, 1, 3])

    def together(self, x: str, size: int) -> str:
        x = self.add("Transpose", x, perm=[0, 2, 1, 3])
        return self.add("Reshape", x, self.ints(0, 0, size))

    def attention(self, q: str, k: str, v: str, scale: float, mask: str | None) -> str:
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.add("Mul", scores, self.number(scale))
        if mask:
            scores = self.add("Add", scores, mask)
        return self.add("MatMul", self.add("Softmax", scores, axis=-1), v)

    def mean(self, x: str, mask: str) -> str:
        """The mean over the positions that the mask shows."""
        wide = self.add("Unsqueeze", self.add("Cast", mask, to=TensorProto.FLOAT), self.ints(-1))
        total = self.add("ReduceSum", self.add("Mul", x, wide), self.ints(1), keepdims=0)
        return self.add("Div", total, self.add("ReduceSum", wide, self.ints(1), keepdims=0))

    def model(self, output: str, dims: list[Any]) -> bytes:
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, dims)]
        initializers = [numpy_helper.from_array(w, n) for n, w in self.weights.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, made, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def read_safetensors(data: bytes) -> Weights:
    """The float32 and int64 tensors of a safetensors file."""
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    kinds = {"F32": "<f4", "I64": "<i8"}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in kinds:
            continue
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + start : 8 + size + end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def read_checkpoint(data: bytes) -> dict[str, Any]:
    """A file in PyTorch's format since 1.6: an archive with one pickle, and the elements of each storage."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    root = next(n for n in archive.namelist() if n.endswith("/data.pkl")).removesuffix("data.pkl")
    reader = WeightsUnpickler(io.BytesIO(archive.read(f"{root}data.pkl")))
    saved = reader.load()
    storages = {k: np.frombuffer(archive.read(f"{root}data/{k}"), t) for k, t in reader.dtypes.items()}
    # bfloat16 is the upper half of float32.
    storages = {k: (v.astype("u4") << 16).view("f4") if v.dtype == "u2" else v for k, v in storages.items()}

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: resolved(v) for k, v in value.items()}
        return value.resolve(storages) if isinstance(value, Pending) else value

    return resolved(saved)


def minilm(weights: Weights, config: dict[str, Any]) -> bytes:
    """A sentence encoder: BERT, then the mean over the text, scaled to length 1."""
    tokens: list[Any] = ["batch", "sequence"]
    net = Net("minilm", {"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens})
    w = {k.removeprefix("bert."): v for k, v in weights.items()}
    size, count = config["hidden_size"], config["num_attention_heads"]

    def norm(x: str, name: str) -> str:
        scale, bias = net.weight(f"{name}.scale", w[f"{name}.weight"]), net.weight(f"{name}.bias", w[f"{name}.bias"])
        return net.add("LayerNormalization", x, scale, bias, name=name, axis=-1, epsilon=config["layer_norm_eps"])

    def linear(x: str, name: str) -> str:
        return net.linear(x, name, w[f"{name}.weight"], w[f"{name}.bias"])

    def table(name: str) -> str:
        return net.weight(name, w[f"embeddings.{name}.weight"])

    length = net.add("Gather", net.add("Shape", "input_ids"), net.ints(1))
    positions = net.add("Slice", table("position_embeddings"), net.ints(0), length, net.ints(0))
    x = net.add("Gather", table("word_embeddings"), "input_ids")
    x = net.add("Add", x, net.add("Gather", table("token_type_embeddings"), "token_type_ids"))
    x = norm(net.add("Add", x, positions), "embeddings.LayerNorm")
    hidden = net.add("Sub", net.number(1), net.add("Cast", "attention_mask", to=TensorProto.FLOAT))
    mask = net.add("Unsqueeze", net.add("Mul", hidden, net.number(float(np.finfo("f4").min))), net.ints(1, 2))
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        q, k, v = (net.heads(linear(x, f"{at}.attention.self.{n}"), count, size // count) for n in ("query", "key", "value"))
        y = net.together(net.attention(q, k, v, 1 / math.sqrt(size // count), mask), size)
        x = norm(net.add("Add", linear(y, f"{at}.attention.output.dense"), x), f"{at}.attention.output.LayerNorm")
        y = linear(x, f"{at}.intermediate.dense")
        e = net.add("Erf", net.add("Div", y, net.number(math.sqrt(2))))
        y = net.add("Mul", net.add("Mul", y, net.add("Add", e, net.number(1))), net.number(0.5))
        x = norm(net.add("Add", linear(y, f"{at}.output.dense"), x), f"{at}.output.LayerNorm")
    x = net.mean(x, "attention_mask")
    length = net.add("ReduceL2", x, axes=[-1], keepdims=1)
    net.add("Div", x, length, name="embedding")
    return net.model("embedding", ["batch", size])


def nanoguard(weights: Weights, config: dict[str, Any]) -> bytes:
    """A classifier of prompts (0 harmless, 1 injection): 4 layers, rotary positions, squared ReLU."""
    tokens: list[Any] = ["batch", "sequence"]
    net = Net("nanoguard", {"input_ids": tokens, "attention_mask": tokens})
    size, count = config["n_embd"], config["n_head"]
    per_head = size // count

    def norm(x: str) -> str:
        square = net.add("ReduceMean", net.add("Mul", x, x), axes=[-1], keepdims=1)
        root = net.add("Sqrt", net.add("Add", square, net.number(float(np.finfo("f4").eps))))
        return net.add("Div", x, root)

    def rotated(x: str, cos: str, sin: str) -> str:
        first, second = (net.add("Slice", x, net.ints(a), net.ints(b), net.ints(3)) for a, b in ((0, per_head // 2), (per_head // 2, per_head)))
        left = net.add("Add", net.add("Mul", first, cos), net.add("Mul", second, sin))
        right = net.add("Sub", net.add("Mul", second, cos), net.add("Mul", first, sin))
        return net.add("Concat", left, right, axis=3)

    # Sine and cosine are rounded to bfloat16, as the model was trained.
    angles = np.outer(np.arange(2 * config["sequence_len"], dtype="f4"), 1 / 10000 ** (np.arange(0, per_head, 2, dtype="f4") / per_head))
    length = net.add("Gather", net.add("Shape", "input_ids"), net.ints(1))
    tables = []
    for name, f in (("cos", np.cos), ("sin", np.sin)):
        table = net.weight(name, bfloat16(f(angles.astype("f4")).astype("f4"))[None, None])
        tables.append(net.add("Slice", table, net.ints(0), length, net.ints(2)))
    x = start = norm(net.add("Gather", net.weight("wte", weights["transformer.wte.weight"]), "input_ids"))
    for i in range(config["n_layer"]):
        at = f"transformer.h.{i}"
        scale, again = (float(weights[f"{n}_lambdas"][i]) for n in ("resid", "x0"))
        x = net.add("Add", net.add("Mul", x, net.number(scale)), net.add("Mul", start, net.number(again)))
        y = norm(x)
        q, k, v = (net.heads(net.linear(y, f"{at}.attn.c_{n}", weights[f"{at}.attn.c_{n}.weight"]), count, per_head) for n in "qkv")
        q, k = (norm(rotated(v, *tables)) for v in (q, k))
        y = net.together(net.attention(q, k, v, 1 / math.sqrt(per_head), None), size)
        x = net.add("Add", x, net.linear(y, f"{at}.attn.c_proj", weights[f"{at}.attn.c_proj.weight"]))
        y = net.add("Relu", net.linear(norm(x), f"{at}.mlp.c_fc", weights[f"{at}.mlp.c_fc.weight"]))
        x = net.add("Add", x, net.linear(net.add("Mul", y, y), f"{at}.mlp.c_proj", weights[f"{at}.mlp.c_proj.weight"]))
    x = net.mean(norm(x), "attention_mask")
    scale, bias = (net.weight(f"cls_norm.{n}", weights[f"cls_norm.{n}"]) for n in ("weight", "bias"))
    x = net.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
    net.linear(x, "logits", weights["cls_head.weight"], weights["cls_head.bias"])
    return net.model("logits", ["batch", config["num_classes"]])


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16, half to even, as float32."""
    bits = x.view("u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view("f4")


class Encoding(dict):
    """What a byte-pair encoder was saved with."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class EncodingUnpickler(pickle.Unpickler):
    """Reads that and refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("tiktoken.core", "Encoding"):
            return Encoding
        raise pickle.UnpicklingError(f"the tokenizer file asks for {module}.{name}")


def byte_pairs(data: bytes, first: str) -> bytes:
    """A tokenizer.json of a pickled byte-pair encoder; every text begins with the token `first`."""
    saved = EncodingUnpickler(io.BytesIO(data)).load()
    ranks, special = saved["mergeable_ranks"], saved["special_tokens"]
    # Bytes that print stand for themselves, the others for characters from 256 on.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    letters |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in letters)}
    word = lambda token: "".join(letters[b] for b in token)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda e: e[1]):
        if len(token) > 1:
            parts = [bytes([b]) for b in token]
            while len(parts) > 2:
                best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
                parts[best : best + 2] = [parts[best] + parts[best + 1]]
            merges.append([word(parts[0]), word(parts[1])])
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for t, i in sorted(special.items(), key=lambda e: e[1])]
    isolated = {"type": "Split", "pattern": {"Regex": saved["pat_str"]}, "behavior": "Isolated", "invert": False}
    by_byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return json.dumps({
        "version": "1.0", "truncation": {"max_length": 512, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}, "padding": None,
        "added_tokens": added, "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [isolated, by_byte]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {first: {"id": first, "ids": [special[first]], "tokens": [first]}}},
        "decoder": by_byte,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": True, "vocab": {word(t): r for t, r in ranks.items()}, "merges": merges},
    }).encode()


def g2p(weights: Weights) -> bytes:
    """Letters to phonemes: the last state of one GRU starts another, which predicts the phoneme after each given one."""
    net = Net("g2p", {"letters": ["batch", "letters"], "phonemes": ["batch", "phonemes"]})

    def gru(ids: str, side: str, start: str | None) -> tuple[str, str]:
        x = net.add("Gather", net.weight(f"{side}_emb", weights[f"{side}_emb"].astype("f4")), ids)
        # The package's blocks are reset, update, new; the operator's update, reset, hidden.
        turned = lambda w: np.concatenate([w[1::3], w[0::3], w[2::3]]).reshape(1, -1, *w.shape[2:])
        blocks = lambda k: turned(weights[f"{side}_{k}"].astype("f4").reshape(3, -1, *weights[f"{side}_{k}"].shape[1:]))
        w, r = net.weight(f"{side}_w", blocks("w_ih")), net.weight(f"{side}_r", blocks("w_hh"))
        b = net.weight(f"{side}_b", np.concatenate([blocks("b_ih"), blocks("b_hh")], 1))
        x = net.add("Transpose", x, perm=[1, 0, 2])
        y, last = f"{side}_states", f"{side}_last"
        net.nodes.append(helper.make_node("GRU", [x, w, r, b] + (["", start] if start else []), [y, last], name=f"{side}_gru",
                                          hidden_size=int(weights[f"{side}_w_hh"].shape[1]), linear_before_reset=1))
        return y, last

    _, last = gru("letters", "enc", None)
    states, _ = gru("phonemes", "dec", last)
    y = net.add("Transpose", net.add("Squeeze", states, net.ints(1)), perm=[1, 0, 2])
    net.linear(y, "logits", weights["fc_w"].astype("f4"), weights["fc_b"].astype("f4"))
    return net.model("logits", ["batch", "phonemes", int(weights["fc_w"].shape[0])])
