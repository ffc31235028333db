#!/usr/bin/env python3
"""Assembles every kernel of the library for every chip, and compares registers with cuda/kernels/manifest.json.

    scripts/cuda/ptxas_gate.py            writes the kernels with `cargo test` and fails on a kernel that does not assemble, spills, or outgrows its registers
    scripts/cuda/ptxas_gate.py --update   writes the registers
    scripts/cuda/ptxas_gate.py --only gemm
    scripts/cuda/ptxas_gate.py --kernels DIR    takes kernels that were written before (`DLBC_KERNELS_OUT=DIR`)

ptxas comes from PyPI, pinned by hash (requirements-ptxas.txt). Its licence does not let us pass it on: it goes to the cache.
"""
import argparse
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
from kernels import MANIFEST, ROOT, write  # noqa: E402 (the line above keeps the source tree clean)

REQUIREMENTS = Path(__file__).with_name("requirements-ptxas.txt")
TARGETS = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"]
# Registers that a kernel may grow by before somebody has to look.
SLACK = 4


def ptxas() -> Path:
    cache = Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")) / "ptxas"
    wanted = REQUIREMENTS.read_text()
    version = re.search(r"==([\d.]+)", wanted).group(1)
    binary = cache / f"ptxas-{version}"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--platform", "manylinux2010_x86_64", "--require-hashes",
             "--dest", str(cache), "-r", str(REQUIREMENTS)],
            check=True,
        )
        wheel = next(cache.glob(f"*{version}*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            binary.write_bytes(archive.read("nvidia/cuda_nvcc/bin/ptxas"))
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        wheel.unlink()
    return binary


def assemble(tool: Path, kernel: Path, target: str) -> dict:
    made = subprocess.run(
        [tool, f"-arch={target}", "-v", "--warn-on-spills", "-o", os.devnull, kernel], capture_output=True, text=True
    )
    log = made.stdout + made.stderr
    if made.returncode:
        return {"error": log.strip().splitlines()[:3]}

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found.group(1)) if found else 0

    return {
        "registers": number(r"Used (\d+) registers"),
        "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        "shared": number(r"(\d+) bytes smem"),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if args.kernels:
        return gate(args, args.kernels)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return gate(args, Path(folder))


def gate(args: argparse.Namespace, folder: Path) -> int:
    tool = ptxas()
    kernels = sorted(k for k in folder.glob("*.ptx") if args.only in k.name)
    manifest = json.loads(MANIFEST.read_text())
    entries = {entry["name"]: entry for entry in manifest}
    with ThreadPoolExecutor(args.jobs) as pool:
        made = {(k, t): pool.submit(assemble, tool, k, t) for k in kernels for t in TARGETS}
    faults = []
    print(f"{'kernel':44} {'shared':>7}  registers on {', '.join(TARGETS)}")
    for kernel in kernels:
        results = [made[kernel, t].result() for t in TARGETS]
        for target, result in zip(TARGETS, results):
            if "error" in result:
                faults.append(f"{kernel.name} for {target}: {' '.join(result['error'])}")
            elif result["spills"]:
                faults.append(f"{kernel.name} for {target}: {result['spills']} bytes of spills")
        registers = [r.get("registers", 0) for r in results]
        budget = entries[kernel.stem]["registers"]
        if args.update:
            entries[kernel.stem]["registers"] = dict(zip(TARGETS, registers))
        elif budget.keys() != set(TARGETS):
            faults.append(f"{kernel.name} has no registers in the manifest: --update")
        else:
            faults += [f"{kernel.name} takes {taken} registers on {target}, the manifest has {budget[target]}"
                       for target, taken in zip(TARGETS, registers) if taken > budget[target] + SLACK]
        shared = max(r.get("shared", 0) for r in results)
        print(f"{kernel.stem:44} {shared:7}  {' '.join(f'{r:4}' for r in registers)}")
    if args.update:
        lines = [json.dumps(entry, separators=(",", ":")) for entry in manifest]
        MANIFEST.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(kernels)} kernels, {len(TARGETS)} chips, {len(kernels) * len(TARGETS)} assemblies")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
