#!/usr/bin/env python3
"""Asks NVIDIA's assembler for the results of scalar instructions: it computes instructions of immediates itself.

    scripts/cuda/ptxas_folds.py             assembles every case and compares its result with cuda/ptxsim/tests/folds.txt
    scripts/cuda/ptxas_folds.py --update    writes the file

`cuda/ptxsim/tests/folds.rs` runs the same cases on the interpreter. A case that ptxas leaves to the hardware has no result and is
left out. ptxas and nvdisasm come from PyPI, pinned by hash.
"""
import argparse
import itertools
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True
import ptxas  # noqa: E402 (the line above keeps the source tree clean)
from kernel_files import ROOT  # noqa: E402

FILE = ROOT / "cuda" / "ptxsim" / "tests" / "folds.txt"
REQUIREMENTS = Path(__file__).with_name("requirements-nvdisasm.txt")
CHIP = "sm_90"

# Bits of operands that are likely to be treated in a special way.
FLOATS = [0x00000000, 0x80000000, 0x3F800000, 0xBFC00000, 0x7F800000, 0xFF800000, 0x7FC00001, 0x00000001, 0x807FFFFF,
          0x7F7FFFFF]
SINGLE = [*FLOATS, 0x40490FDB, 0xFFC00001, 0x00800000, 0x3F800001]
ROUNDED = [0x3F801000, 0x3F800FFF, 0x3F803000, 0xBF801000, 0x7F7FF000, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x38800000,
           0x387FC000, 0x33000000, 0x33000001, 0x477FE000, 0x477FF000, 0x477FEFFF, 0x7F7F8000, 0x7F800001]
WHOLE = [0x40200000, 0xBECCCCCD, 0x3F000000, 0x3FC00000, 0xC0200000, 0x4B000001, 0x4F000000, 0xCF000000, 0x5F000000,
         0xDF000000, 0x47C35000]
WORDS = [0, 1, 7, 31, 32, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFD]
WIDE = [0, 1, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFF9, 0x123456789ABCDEF0]
DOUBLES = [0x0000000000000000, 0x8000000000000000, 0x3FF0000000000000, 0xC004000000000000, 0x7FF0000000000000,
           0x7FF8000000000000, 0x36A0000000000000, 0x4415AF1D78B58C40, 0x3FE0000000000000, 0x41DFFFFFFFC00000]
HALVES = [0x0000, 0x8000, 0x3C00, 0x7C00, 0xFC00, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7E00]

# Instructions of the interpreter that ptxas computes: the classes of result and operands, and the values of the operands. `r` is 32
# bits, `d` 64, `f` a float32, `g` a float64, `h` 16 bits, `p` a predicate.
CASES = [
    *[(f"{name}.f32", "fff", (FLOATS, FLOATS)) for name in ["max", "min", "max.NaN", "min.NaN"]],
    *[(f"{name}.rn.f32", "fff", (FLOATS, FLOATS)) for name in ["add", "sub", "mul"]],
    ("div.full.f32", "fff", (SINGLE, FLOATS[2:6])),
    *[(f"{name}.f32", "ff", (SINGLE,)) for name in ["abs", "neg"]],
    ("ex2.approx.f32", "ff", (SINGLE + [0x3FC00000, 0xC2FC0000, 0xC3150000, 0x43000000, 0x42FE0000],)),
    *[(f"cvt.{mode}.f32.f32", "ff", (SINGLE + WHOLE,)) for mode in ["rni", "rmi", "rpi"]],
    ("cvt.rna.tf32.f32", "rf", (SINGLE + ROUNDED,)),
    ("cvt.rn.f16.f32", "hf", (SINGLE + ROUNDED,)),
    ("cvt.rn.bf16.f32", "hf", (SINGLE + ROUNDED,)),
    ("cvt.f32.f16", "fh", (HALVES,)),
    ("cvt.rzi.s64.f32", "df", (SINGLE + WHOLE,)),
    ("cvt.rzi.u64.f32", "df", (SINGLE + WHOLE,)),
    ("cvt.rzi.s32.f64", "rg", (DOUBLES,)),
    ("cvt.rn.f32.f64", "fg", (DOUBLES,)),
    ("cvt.f64.f32", "gf", (SINGLE,)),
    ("cvt.rni.f64.f64", "gg", (DOUBLES,)),
    ("cvt.rmi.f64.f64", "gg", (DOUBLES,)),
    ("cvt.rn.f32.s32", "fr", (WORDS,)),
    ("cvt.rn.f32.u32", "fr", (WORDS,)),
    *[(f"{name}.f64", "ggg", (DOUBLES[:7], DOUBLES[:7])) for name in ["max", "min"]],
    *[(f"{name}.u32", "rrr", (WORDS, WORDS)) for name in ["add", "sub", "mul.lo", "div", "shr", "min"]],
    *[(f"{name}.s32", "rrr", (WORDS, WORDS)) for name in ["shr", "max", "min"]],
    ("shl.b32", "rrr", (WORDS, WORDS)),
    ("mad.wide.s32", "drrd", ([3, 0xFFFFFFFD, 0x80000000], [4, 0x80000000], [100])),
    *[(f"{name}", "ddr", (WIDE, [0, 1, 32, 63, 64, 90])) for name in ["shl.b64", "shr.u64", "shr.s64"]],
    *[(f"{name}.s64", "ddd", (WIDE, WIDE)) for name in ["mul.lo", "max", "min"]],
    ("abs.s64", "dd", (WIDE,)),
    *[(f"setp.{relation}.f32", "pff", (FLOATS[:7], FLOATS[:7])) for relation in ["eq", "neu", "lt", "le", "gt", "ge", "nan"]],
]
TYPES = {"r": "b32", "d": "b64", "f": "f32", "g": "f64", "h": "b16"}
DIGITS = {"r": 8, "d": 16, "f": 8, "g": 16, "h": 4, "p": 1}


def nvdisasm() -> Path:
    folder = next(iter(ptxas.assemblers().values())).parent
    version = re.search(r"==([\d.]+)", REQUIREMENTS.read_text()).group(1)
    binary = folder / f"nvdisasm-{version}"
    if not binary.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--platform", "manylinux2014_x86_64", "--require-hashes",
             "--dest", str(folder), "-r", str(REQUIREMENTS)],
            check=True,
        )
        wheel = next(folder.glob(f"nvidia_cuda_nvdisasm-{version}*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith("bin/nvdisasm"))
            binary.write_bytes(archive.read(name))
        binary.chmod(0o755)
        wheel.unlink()
    return binary


def immediate(kind: str, bits: int) -> str:
    prefix = {"f": "0f", "g": "0d"}.get(kind, "0x")
    return f"{prefix}{bits:0{DIGITS[kind]}X}"


def body(number: int, name: str, classes: str, values: tuple) -> str:
    """The instruction on registers that hold the values, and the store of its result."""
    result, operands = classes[0], classes[1:]
    lines = [f"mov.{TYPES[kind]} %{kind}{i + 1}, {immediate(kind, bits)};"
             for i, (kind, bits) in enumerate(zip(operands, values))]
    arguments = ", ".join([f"%{result}0"] + [f"%{kind}{i + 1}" for i, kind in enumerate(operands)])
    lines.append(f"{name} {arguments};")
    if result == "p":
        lines.append("selp.u32 %r0, 1, 0, %p0;")
    elif result == "h":
        lines.append("cvt.u32.u16 %r0, %h0;")
    stored = {"p": "%r0", "h": "%r0"}.get(result, f"%{result}0")
    width = "b64" if result in "dg" else "b32"
    return "\n".join([*lines, f"st.global.{width} [%d9+{8 * number}], {stored};"])


def half(text: str) -> int:
    return int.from_bytes(struct.pack("<e", float(text)), "little")


def constants(listing: str) -> dict:
    """The words that a disassembled kernel stores: address to value, None for a value that it computes."""
    registers, stored = {}, {}
    if "CALL" in listing or listing.count("BRA") > 1:
        # One path through the kernel is not enough.
        return stored
    for line in listing.splitlines():
        found = re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line)
        if not found:
            continue
        text = found.group(1)
        store = re.match(r"STG\.E(\.64)? (?:desc\[\w+\])?\[R\d+\.64(?:\+(0x[0-9a-f]+))?\], (\w+)", text)
        if store:
            at, source = int(store.group(2) or "0", 16), store.group(3)
            stored[at] = registers.get(source, 0 if source == "RZ" else None)
            if store.group(1):
                upper = f"R{int(source[1:]) + 1}" if source != "RZ" else "RZ"
                stored[at + 4] = registers.get(upper, 0 if upper == "RZ" else None)
            continue
        move = re.match(r"(MOV|IMAD\.MOV(?:\.U32)?|HFMA2(?:\.MMA)?|CS2R(?:\.32)?|\S+) (R\d+)(.*)", text)
        if not move:
            continue
        operation, target, rest = move.groups()
        registers[target] = None
        pair = re.match(r", -RZ, RZ, (\S+), (\S+)", rest)
        last = re.search(r", (-?0x[0-9a-f]+|RZ)$", rest)
        if operation.startswith("HFMA2") and pair and "NAN" not in rest:
            registers[target] = half(pair.group(1)) << 16 | half(pair.group(2))
        elif operation in ("MOV", "IMAD.MOV", "IMAD.MOV.U32") and last:
            registers[target] = 0 if last.group(1) == "RZ" else int(last.group(1), 16) & 0xFFFFFFFF
        elif operation.startswith("CS2R") and rest.strip(", ") in ("SRZ", "SR_CLOCKLO") and "SRZ" in rest:
            registers[target] = 0
            registers[f"R{int(target[1:]) + 1}"] = 0
        elif ".64" in operation or operation.startswith(("DADD", "DMUL", "DFMA", "F2F.F64", "I2F.F64", "IMAD.WIDE")):
            registers[f"R{int(target[1:]) + 1}"] = None
    return stored


def fold(cases: list) -> list:
    """Returns each case's result, None where ptxas leaves the instruction to the hardware."""
    classes = "\n".join(f".reg .{ty} %{kind}<12>;" for kind, ty in {**TYPES, "p": "pred"}.items())
    text = "\n".join(body(i, *case) for i, case in enumerate(cases))
    source = f".version 7.8\n.target {CHIP}\n.address_size 64\n.visible .entry k(.param .u64 o) {{\n{classes}\n" \
             f"ld.param.u64 %d9, [o];\n{text}\nret;\n}}\n"
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder) / "k.ptx", Path(folder) / "k.cubin"
        ptx.write_text(source)
        subprocess.run([next(iter(ptxas.assemblers().values())), f"-arch={CHIP}", ptx, "-o", cubin], check=True)
        listing = subprocess.run([nvdisasm(), "-c", cubin], check=True, capture_output=True, text=True).stdout
    stored = constants(listing)
    results = []
    for i, (_, kinds, _) in enumerate(cases):
        words = [stored.get(8 * i), stored.get(8 * i + 4) if kinds[0] in "dg" else 0]
        results.append(None if None in words else words[0] | words[1] << 32)
    return results


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    cases = [(name, kinds, values) for name, kinds, lists in CASES for values in itertools.product(*lists)]
    cases = list(dict.fromkeys(cases))
    lines = []
    for first in range(0, len(cases), 400):
        part = cases[first:first + 400]
        for (name, kinds, values), result in zip(part, fold(part)):
            if result is not None:
                operands = " ".join(f"{kind}{bits:0{DIGITS[kind]}x}" for kind, bits in zip(kinds[1:], values))
                lines.append(f"{name} {operands} = {kinds[0]}{result:0{DIGITS[kinds[0]]}x}")
    if args.update:
        FILE.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} of {len(cases)} cases are computed by ptxas, {len({l.split()[0] for l in lines})} instructions")
    recorded = FILE.read_text().splitlines()
    for line in sorted(set(lines) ^ set(recorded))[:20]:
        print(f"error: {'recorded' if line in recorded else 'found'}: {line}", file=sys.stderr)
    return int(lines != recorded)


if __name__ == "__main__":
    sys.exit(main())
