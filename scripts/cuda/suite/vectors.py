#!/usr/bin/env python3
"""Single instructions on operands that tell implementations apart; the device's bits become golden vectors of the interpreter.

    vectors.py --out FILE [--golden FILE.npz]

Each probe is a kernel of one warp a block: a thread loads its words, runs the instruction, stores the results. Results go to
an archive, `NAME.in` and `NAME.out`, and a summary of each to the results.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
from store import Store  # noqa: E402 (the line above keeps the tree clean)

STEP = "vectors"
F32, U32 = np.float32, np.uint32

HEAD = """.version 7.0
.target sm_80
.address_size 64

.visible .entry {name}(.param .align 8 .b8 p[16])
.maxntid 32, 1, 1
{{
    .reg .b16 %h<4>;
    .reg .b32 %r<32>;
    .reg .b64 %d<16>;
    .reg .f32 %f<32>;
    .reg .pred %p<4>;
    .shared .align 16 .b8 smem[1024];
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %tid.x;
    mad.lo.u32 %r2, %r0, 32, %r1;
    ld.param.u64 %d0, [p+0];
    ld.param.u64 %d1, [p+8];
    mad.wide.s32 %d2, %r2, {into}, %d0;
    mad.wide.s32 %d3, %r2, {outof}, %d1;
"""


def text(name: str, inputs: int, outputs: int, body: list) -> str:
    """A kernel whose threads read `inputs` words into %f0 and up, and store `outputs` words from %f16 and up."""
    lines = [f"ld.global.f32 %f{i}, [%d2+{4 * i}];" for i in range(inputs)] + body
    lines += [f"st.global.f32 [%d3+{4 * i}], %f{16 + i};" for i in range(outputs)]
    lines = "".join(f"    {line}\n" for line in lines)
    return HEAD.format(name=name, into=4 * inputs, outof=4 * outputs) + lines + "    ret;\n}\n"


def moved(first: int, count: int, register: int) -> list:
    """Moves floats to integer registers."""
    return [f"mov.b32 %r{register + i}, %f{first + i};" for i in range(count)]


def names(kind: str, first: int, count: int) -> str:
    return "{" + ", ".join(f"%{kind}{first + i}" for i in range(count)) + "}"


def mma(shape: str, kind: str, words: int) -> list:
    """A product of fragments of `words` and two words, with four sums."""
    half = words // 2
    body = moved(0, words + half, 4)
    return body + [f"mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {names('f', 16, 4)}, "
                   f"{names('r', 4, words)}, {names('r', 4 + words, half)}, {names('f', words + half, 4)};"]


def specials(rng) -> np.ndarray:
    """Zeros, subnormals, ties of 11 and 8 bits, halves, large values, infinities, NaN; and random bits of every exponent."""
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.5, -0.4, 1e-40, -1e-40, 1.17549435e-38, 3.4028235e38, -3.4028235e38,
              np.inf, -np.inf, np.nan, 65520.0, 2147483648.0, -2147483648.0, 9.2e18, -9.3e18, 1e19, 300.5, -129.0, 255.5]
    bits = [0x3F801000, 0x3F803000, 0x3F808000, 0x3F818000, 0x3F800FFF, 0x7F7FF000, 0x7F7F8000, 0x7F800001, 0xFFC00001,
            0x00000001, 0x007FFFFF, 0x80000001]
    drawn = rng.integers(0, 1 << 32, 32 * 40 - len(values) - len(bits), dtype=np.uint64).astype(U32)
    return np.concatenate([np.array(values, F32).view(U32), np.array(bits, U32), drawn])


def fragments(rng, words: int, blocks: int, drop: int) -> np.ndarray:
    """Normal values with their lower bits cleared, for each lane its operands and four sums."""
    values = rng.standard_normal((32 * blocks, words)).astype(F32).view(U32)
    values[:, :words - 4] &= U32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return values


def pairs(values: np.ndarray) -> np.ndarray:
    """Two bf16 values a word."""
    return values >> 16 | np.roll(values, 1, 0) & U32(0xFFFF0000)


def sums_probe(words: int, kind: str) -> np.ndarray:
    """One product row of ones, whose other operands and sum decide how the unit adds: what is cut off, in which order.

    The sum is 1; the products are 2^-e for e from 20 to 27, in the first, the last or all places of the depth.
    """
    blocks = []
    for exponent in range(20, 28):
        for where in ("first", "last", "all", "minus"):
            block = np.zeros((32, words), F32)
            small = F32(2.0 ** -exponent)
            left, right = block[:, :words - 4][:, :(words - 4) * 2 // 3], block[:, (words - 4) * 2 // 3:words - 4]
            left[:] = 1.0
            lanes = np.arange(32)
            place = {"first": lanes % 4 == 0, "last": lanes % 4 == 3}.get(where, lanes >= 0)
            right[place, :] = -small if where == "minus" else small
            block[:, words - 4:] = 1.0
            bits = block.view(U32).copy()
            if kind == "bf16":
                bits[:, :words - 4] = bits[:, :words - 4] >> 16 | bits[:, :words - 4] & U32(0xFFFF0000)
            blocks.append(bits)
    return np.concatenate(blocks)


def probes() -> dict:
    """Text, inputs and words of a result, by name."""
    rng = np.random.default_rng(5)
    special, result = specials(rng), {}

    def add(name: str, inputs: np.ndarray, outputs: int, body: list) -> None:
        inputs = inputs.reshape(len(inputs), -1)
        result[name] = (text(f"probe_{name}", inputs.shape[1], outputs, body), inputs.astype(U32), outputs)

    add("mma_tf32", fragments(rng, 10, 8, 13), 4, mma("m16n8k8", "tf32", 4))
    bf16 = fragments(rng, 10, 8, 16)
    bf16[:, :6] = pairs(bf16[:, :6])
    add("mma_bf16", bf16, 4, mma("m16n8k16", "bf16", 4))
    add("mma_tf32_sums", sums_probe(10, "tf32"), 4, mma("m16n8k8", "tf32", 4))
    add("mma_bf16_sums", sums_probe(10, "bf16"), 4, mma("m16n8k16", "bf16", 4))
    small = fragments(rng, 10, 2, 13)
    small[:, :6] = (small[:, :6] & U32(0x807FE000)) | U32(0x1F800000)
    small[:, 6:] = rng.integers(0, 1 << 23, small[:, 6:].shape).astype(U32)
    add("mma_tf32_subnormal", small, 4, mma("m16n8k8", "tf32", 4))
    add("cvt_rna_tf32", special, 1, ["cvt.rna.tf32.f32 %r4, %f0;", "mov.b32 %f16, %r4;"])
    add("cvt_bf16x2", np.stack([special, np.roll(special, 1)], 1), 1,
        ["cvt.rn.bf16x2.f32 %r4, %f0, %f1;", "mov.b32 %f16, %r4;"])
    add("cvt_rni", special, 1, ["cvt.rni.f32.f32 %f16, %f0;"])
    add("cvt_rzi_s64", special, 2, ["cvt.rzi.s64.f32 %d4, %f0;", "mov.b64 {%r4, %r5}, %d4;", "mov.b32 %f16, %r4;",
                                    "mov.b32 %f17, %r5;"])
    add("ex2_approx", np.linspace(-160, 130, 1 << 20, dtype=F32).view(U32), 1, ["ex2.approx.f32 %f16, %f0;"])
    both = rng.integers(0, 1 << 32, (1 << 20, 2), dtype=np.uint64).astype(U32)
    add("div_full", both, 1, ["div.full.f32 %f16, %f0, %f1;"])
    two = np.stack([special, np.roll(special, 7)], 1)
    signed = np.array([[0x80000000, 0], [0, 0x80000000], [0x80000000, 0x80000000]], U32)
    two[:3] = signed
    add("max_min", two, 4, ["max.f32 %f16, %f0, %f1;", "min.f32 %f17, %f0, %f1;", "max.NaN.f32 %f18, %f0, %f1;",
                            "min.NaN.f32 %f19, %f0, %f1;"])
    add("shfl", special, 2, ["mov.b32 %r4, %f0;", "shfl.sync.bfly.b32 %r5, %r4, 5, 31, 0xffffffff;",
                             "shfl.sync.up.b32 %r6, %r4, 3, 0, 0xffffffff;", "mov.b32 %f16, %r5;", "mov.b32 %f17, %r6;"])
    for size in (0, 4, 8, 12, 16):
        words = rng.integers(0, 1 << 32, (64, 4), dtype=np.uint64).astype(U32)
        add(f"cp_async_{size}", words, 4, [
            "mov.u32 %r4, smem;", "mad.lo.u32 %r4, %r1, 16, %r4;", f"mov.u32 %r5, {size};",
            "cp.async.cg.shared.global [%r4+0], [%d2], 16, %r5;", "cp.async.commit_group;", "cp.async.wait_group 0;",
            "bar.sync 0;", *[f"ld.shared.f32 %f{16 + i}, [%r4+{4 * i}];" for i in range(4)]])
    return result


def ulps(actual: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance from float64 values in units of the last place of float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(F32)
        ok = np.isfinite(rounded) & np.isfinite(actual) & (np.abs(exact) >= 1.2e-38)
        unit = np.spacing(np.abs(rounded[ok])).astype(np.float64)
        return float((np.abs(actual[ok].astype(np.float64) - exact[ok]) / unit).max(initial=0.0))


def summary(name: str, inputs: np.ndarray, bits: np.ndarray) -> dict:
    """What a reader of the results wants of a probe at once."""
    floats = bits.view(F32)
    with np.errstate(all="ignore"):
        if name == "ex2_approx":
            return {"ulps": ulps(floats[:, 0], np.exp2(inputs.view(F32)[:, 0].astype(np.float64)))}
        if name == "div_full":
            a, b = inputs.view(F32).astype(np.float64).T
            return {"ulps": ulps(floats[:, 0], a / b)}
    if name.endswith("_sums"):
        # The first element of each block, in units of 2^-23 above the sum of 1.
        rows = floats.reshape(-1, 32, 4)[:, 0, 0].astype(np.float64)
        return {"above_one": [round((v - 1) * 2 ** 23, 3) for v in rows]}
    if name == "max_min":
        return {"zeros": [[hex(w) for w in row] for row in bits[:3]]}
    return {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--golden", type=Path)
    parser.add_argument("--points", type=int, default=1 << 20, help="operands of a probe, at most")
    args = parser.parse_args()
    from device import Block, Device, Fault

    store = Store(args.out)
    device, golden, bad = Device(), {}, 0
    for name, (source, inputs, outputs) in probes().items():
        inputs = inputs[:args.points // 32 * 32]
        store.add(STEP, name, begun=True)
        try:
            kernel = device.load(f"probe_{name}", source, 32, 0)
            blocks = [Block(device, inputs.nbytes), Block(device, 4 * outputs * len(inputs))]
            blocks[0].fill(np.ascontiguousarray(inputs).tobytes())
            blocks[1].fill(None)
            params = b"".join(b.address.to_bytes(8, "little") for b in blocks)
            device.launch(kernel, [len(inputs) // 32, 1, 1], params)
            device.synchronize()
            (words, intact) = blocks[1].read()
        except Fault as fault:
            store.add(STEP, name, ok=False, why=str(fault))
            return 1
        bits = words.reshape(-1, outputs)
        golden[f"{name}.in"], golden[f"{name}.out"] = inputs, bits
        store.add(STEP, name, ok=intact, why="" if intact else "the words around the results were overwritten",
                  **summary(name, inputs, bits))
        bad += not intact
        for block in blocks:
            block.release()
        if args.golden:
            np.savez_compressed(args.golden, **{k: v[:4096] for k, v in golden.items()})
    print(f"{STEP}: {len(golden) // 2} probes, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
