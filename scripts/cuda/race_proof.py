#!/usr/bin/env python3
"""Proves kernels of the library free of races and barrier faults for every schedule, launch by launch.

    scripts/cuda/race_proof.py                    every kernel, on the smallest launch of its tests; fails on a race
    scripts/cuda/race_proof.py --only gemm_       kernels by name
    scripts/cuda/race_proof.py --planted          removes each barrier, too: the proof must then fail

The launches are those of cuda/ptxsim/tests. The prover is sentryward (Apache-2.0), from PyPI, pinned by hash; it reads PTX
and a launch, and goes through all orders of threads, which the interpreter only samples. What it does not know it says, and
so does the table: a kernel is proven, racy, or beyond the prover (an instruction, a bound of time).
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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
from kernel_files import ROOT, write, write_cases  # noqa: E402 (the line above keeps the source tree clean)

REQUIREMENTS = Path(__file__).with_name("requirements-prove.txt")


def prover() -> Path:
    version = re.search(r"==([\d.]+)", REQUIREMENTS.read_text()).group(1)
    cache = Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")) / f"sentryward-{version}"
    binary = cache / "sentryward" / "_native" / "sentryward-ptx"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--require-hashes", "--dest", str(cache), "-r", str(REQUIREMENTS)],
            check=True,
        )
        wheel = next(cache.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(cache)
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        wheel.unlink()
    return binary


def launches() -> list:
    """The launches of the tests, with what each kernel takes and the sizes of the buffers."""
    with tempfile.TemporaryDirectory() as folder:
        write_cases(Path(folder))
        index = json.loads((Path(folder) / "index.json").read_text())
    return [{**case, **index["kernels"][case["kernel"]], "sizes": [b["bytes"] for b in case["buffers"]]}
            for case in index["cases"]]


def config(launch: dict, text: str) -> dict:
    """The prover's input: the fields of the parameter block that the kernel reads, and what stands in them."""
    block = bytes(launch["params"])
    declarations, arguments = [], []
    fields = sorted(set(re.findall(r"ld\.param\.(\w+) %\w+, \[p\+(\d+)\]", text)), key=lambda f: int(f[1]))
    for kind, offset in fields:
        at = int(offset)
        value = int.from_bytes(block[at:at + (8 if kind.endswith("64") else 4)], "little")
        name = f"f{at}"
        near = [a for a in launch["addresses"] if 0 <= value - a < 1 << 31]
        if kind == "u64" and near:
            declarations.append({"parameter": "p", "offset": at, "name": name, "type": "pointer", "space": "global"})
            continue
        declarations.append({"parameter": "p", "offset": at, "name": name, "type": "u64" if kind == "u64" else "u32"})
        arguments.append({"field": name, "value": value})
    return {
        "schema": "spverify.kernel-input/v1",
        "entry": launch["kernel"],
        "declarations": declarations,
        "arguments": arguments,
        "launch": {
            "grid_dim": launch["grid"], "block_dim": [launch["threads"], 1, 1], "cluster_dim": [1, 1, 1],
            "dynamic_shared_bytes": launch["shared"],
        },
    }


def prove(tool: Path, launch: dict, text: str, seconds: float) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        ptx, given = Path(folder) / "kernel.ptx", Path(folder) / "launch.json"
        ptx.write_text(text)
        given.write_text(json.dumps(config(launch, text)))
        run = subprocess.run(
            [tool, "--ptx", ptx, "--config", given, "--sync-threads", "1", "--timeout-seconds", str(seconds),
             "--rss-limit-mib", "4096"], capture_output=True, text=True,
        )
    try:
        made = json.loads(run.stdout)
    except json.JSONDecodeError:
        return "no answer", (run.stdout + run.stderr).strip()[-100:], 0.0
    why = made.get("reason") or made.get("error") or made.get("message") or ""
    return made.get("result", "no answer"), str(why)[:100], made.get("pipeline_elapsed_seconds", 0.0)


def size(launch: dict) -> int:
    return launch["grid"][0] * launch["grid"][1] * launch["grid"][2] * 10**9 + sum(launch["sizes"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=60.0, help="for one launch")
    parser.add_argument("--planted", action="store_true", help="also without each barrier")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    tool = prover()
    listed = launches()
    smallest = {}
    # A launch of a single element shows little: the smallest one of more than a thread's work.
    for launch in sorted(listed, key=size):
        if args.only in launch["kernel"] and (sum(launch["sizes"]) > 4096 or launch["kernel"] not in smallest):
            known = smallest.get(launch["kernel"])
            if known is None or sum(known["sizes"]) <= 4096:
                smallest[launch["kernel"]] = launch
    jobs = []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        texts = {name: (Path(folder) / f"{name}.ptx").read_text() for name in smallest}
    for name, launch in sorted(smallest.items()):
        text = texts[name]
        jobs.append((name, launch, text, False))
        barriers = [m.start() for m in re.finditer(r"    bar\.sync 0;\n", text)] if args.planted else []
        for i, at in enumerate(barriers):
            end = at + len("    bar.sync 0;\n")
            jobs.append((f"{name} without barrier {i + 1}", launch, text[:at] + text[end:], True))
    faults, count, planted, noticed = [], Counter(), Counter(), {}
    with ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(lambda job: prove(tool, job[1], job[2], args.seconds), jobs)
        for (name, launch, _, broken), (result, why, seconds) in zip(jobs, results):
            print(f"{name:56} {launch['shape']:28} {result:20} {seconds:6.1f} s  {why}", flush=True)
            (planted if broken else count)[result] += 1
            if "race" in result and result != "race_free" and not broken:
                faults.append(f"{name}: {result}")
            if broken and "race" in result:
                # A barrier may serve larger launches alone.
                kernel = launch["kernel"]
                noticed[kernel] = noticed.get(kernel, False) or result != "race_free"
    print(f"{len(smallest)} kernels: " + ", ".join(f"{n} {what}" for what, n in count.most_common()))
    if planted:
        print("without a barrier: " + ", ".join(f"{n} {what}" for what, n in planted.most_common()))
    faults += [f"{kernel}: proven without any of its barriers" for kernel, seen in noticed.items() if not seen]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
