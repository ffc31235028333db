#!/usr/bin/env python3
"""Assembles kernels with NVIDIA's ptxas for every chip: those of the library, whose registers the manifest has, and those
that plans of whole models emit.

    scripts/cuda/ptxas_gate.py            the library by the older assembler for every chip, plans for a chip of each assembler
    scripts/cuda/ptxas_gate.py --all      everything by every assembler for every chip
    scripts/cuda/ptxas_gate.py --update   writes the registers of the library
    scripts/cuda/ptxas_gate.py --only gemm
    scripts/cuda/ptxas_gate.py --kernels DIR --plans DIR    takes kernels that were written before

Fails on a kernel that does not assemble, spills, or outgrows its registers. The kernels are
written with `cargo test`.
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import ptxas  # noqa: E402 (the line above keeps the source tree clean)
from kernel_files import MANIFEST, write, write_plans  # noqa: E402

# Registers that a kernel may grow by before somebody has to look.
SLACK = 4
# Chips of plans' kernels on every change, by place of the assembler: the oldest one, and the one of the measurements.
USUAL = [["sm_80"], ["sm_90a"]]


def texts(folder: Path, only: str) -> dict:
    """Texts by the name of the entry point."""
    result = {}
    for file in sorted(folder.glob("*.ptx")):
        text = file.read_text()
        name = text.split(".visible .entry ")[1].split("(")[0]
        if only in name:
            result[name] = text
    return result


def faults_of(results: dict) -> list:
    faults = []
    for (name, version, target), said in sorted(results.items()):
        if "error" in said:
            faults.append(f"{name} for {target} by {version}: {' '.join(said['error'])}")
        elif said["spills"]:
            faults.append(f"{name} for {target} by {version}: {said['spills']} bytes of spills")
    return faults


def library(folder: Path, args: argparse.Namespace) -> list:
    """The library's kernels, with their registers by the first assembler."""
    first, *others = ptxas.assemblers()
    kernels = texts(folder, args.only)
    pairs = [(v, t) for v in [first, *(others if args.all else [])] for t in ptxas.TARGETS]
    results = ptxas.assembled(kernels, pairs, args.jobs)
    faults = faults_of(results)
    manifest = json.loads(MANIFEST.read_text())
    entries = {entry["name"]: entry for entry in manifest}
    print(f"{'kernel':44} {'shared':>7}  registers on {', '.join(ptxas.TARGETS)}")
    for name in kernels:
        said = [results[name, first, t] for t in ptxas.TARGETS]
        registers = [s.get("registers", 0) for s in said]
        budget = entries[name]["registers"]
        if args.update:
            entries[name]["registers"] = dict(zip(ptxas.TARGETS, registers))
        elif budget.keys() != set(ptxas.TARGETS):
            faults.append(f"{name} has no registers in the manifest: --update")
        else:
            faults += [f"{name} takes {taken} registers on {target}, the manifest has {budget[target]}"
                       for target, taken in zip(ptxas.TARGETS, registers) if taken > budget[target] + SLACK]
        shared = max(s.get("shared", 0) for s in said)
        print(f"{name:44} {shared:7}  {' '.join(f'{r:4}' for r in registers)}")
    if args.update:
        lines = [json.dumps(entry, separators=(",", ":")) for entry in manifest]
        MANIFEST.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(kernels)} kernels of the library, {len(pairs)} assemblers and chips, {len(results)} assemblies")
    return faults


def plans(folder: Path, args: argparse.Namespace) -> list:
    """The kernels of plans."""
    versions = list(ptxas.assemblers())
    targets = [ptxas.TARGETS] * len(versions) if args.all else USUAL
    pairs = [(version, target) for version, some in zip(versions, targets) for target in some]
    kernels = texts(folder, args.only)
    results = ptxas.assembled(kernels, pairs, args.jobs)
    most = max((s.get("registers", 0) for s in results.values()), default=0)
    print(f"{len(kernels)} kernels of plans, {len(pairs)} assemblers and chips, {len(results)} assemblies, "
          f"up to {most} registers")
    return faults_of(results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--plans", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.kernels is None:
            args.kernels = Path(folder) / "library"
            write(args.kernels)
        if args.plans is None and not args.update:
            args.plans = Path(folder) / "plans"
            write_plans(args.plans)
        faults = library(args.kernels, args)
        faults += plans(args.plans, args) if args.plans else []
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
