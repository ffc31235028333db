#!/usr/bin/env python3
"""Times explanations beside ONNX Runtime, PyTorch, zennit and LXT, in turns, and prints tables.

    benches/python/compare.py [--models resnet50 vgg16 bert-base llama-8x1024] [--threads 2] [--rounds 5] [--json OUT]

Run it with the environment of `scripts/python_env.sh --bench`. Builds the bench
`explain`, writes the models with random weights where they are missing, and gives each
method a process of its own in every round, so that what disturbs the machine disturbs all
of them. A cell is the median over the rounds of each process's median. Ratios are to ONNX
Runtime's forward in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("dlbc_forward", "dlbc_explain")
PEERS = ("ort_forward", "torch_forward", "torch_grad_input")
VISION = ("zennit_epsilon_plus", "zennit_epsilon_plus_flat")
TRANSFORMERS = ("bert-base", "llama-8x1024")


def build() -> Path:
    """The bench's binary."""
    command = ["cargo", "bench", "--bench", "explain", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in out.splitlines())
    found = [m["executable"] for m in messages if m.get("target", {}).get("name") == "explain" and m.get("executable")]
    return Path(found[-1])


def model(name: str, cache: Path) -> Path:
    path = cache / "models" / name / "model.onnx"
    if not path.exists():
        script = "make_transformers.py" if name in TRANSFORMERS else "make_models.py"
        command = [sys.executable, str(ROOT / "scripts" / "fixtures" / script), name, "--out", str(cache / "models")]
        subprocess.run(command, check=True)
    return path


def once(binary: Path, name: str, onnx: Path, method: str, threads: int, repeats: int,
         inputs: Path | None = None) -> dict[str, float]:
    inputs = inputs or onnx.with_name("input.npz")
    if method in OURS:
        command = [str(binary), str(onnx), str(inputs), "--threads", str(threads)]
        command += ["--repeats", str(repeats)] + (["--forward"] if method == "dlbc_forward" else [])
    else:
        command = [sys.executable, str(ROOT / "benches/python/peers.py"), "--model", name, "--onnx", str(onnx),
                   "--inputs", str(inputs), "--method", method, "--threads", str(threads), "--repeats", str(repeats)]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    return json.loads(out.splitlines()[-1])


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--models", nargs="+", default=["resnet50", "vgg16", "bert-base"])
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--repeats", type=int, default=7)
    ap.add_argument("--json", type=Path, help="also write every measurement there")
    ap.add_argument("--cache", type=Path, default=Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")))
    args = ap.parse_args()
    binary = build()
    taken = []
    for name in args.models:
        onnx = model(name, args.cache)
        rows: dict[str, list[dict[str, float]]] = {m: [] for m in (*OURS, *PEERS, *(("lxt",) if name in TRANSFORMERS else VISION))}
        for _ in range(args.rounds):
            for method in rows:
                rows[method].append(once(binary, name, onnx, method, args.threads, args.repeats))
                taken.append({"model": name, **rows[method][-1]})
        base = [r["median_ms"] for r in rows["ort_forward"]]
        print(f"\n{name}, {args.threads} threads\n")
        print("| method | median ms | over ONNX Runtime's forward | peak memory, MiB |")
        print("| --- | ---: | ---: | ---: |")
        for method, runs in rows.items():
            ratio = statistics.median(r["median_ms"] / b for r, b in zip(runs, base, strict=True))
            ms = statistics.median(r["median_ms"] for r in runs)
            memory = statistics.median(r["peak_rss_mb"] for r in runs)
            print(f"| {method} | {ms:.0f} | {ratio:.2f} | {memory:.0f} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(taken, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
