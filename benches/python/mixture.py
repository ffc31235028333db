#!/usr/bin/env python3
"""Times a mixture of experts beside ONNX Runtime, in turns, and what a new routing and idle experts cost.

    benches/python/mixture.py [--model .cache/models/olmoe-16th] [--tokens 64] [--threads 2] [--rounds 5] [--json OUT]

`scripts/fixtures/make_transformers.py olmoe-16th --out .cache/models` makes the model: OLMoE-1B-7B's shape at a
sixteenth of its parameters, random weights. Each method has a process of its own in every round; a cell
is the median over the rounds of each process's median. Random tokens spread over all experts of a layer;
one token repeated goes to the same eight. A new routing is the first run of other random tokens in a
session that has run before: its time, and how much of that is planning.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from compare import ROOT, build, once
from growth import measured

VOCABULARY = 50304


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", type=Path, default=ROOT / ".cache/models/olmoe-16th")
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--repeats", type=int, default=5)
    ap.add_argument("--binary", type=Path, help="the bench `explain`; built when absent")
    ap.add_argument("--json", type=Path, help="also write every measurement there")
    args = ap.parse_args()
    binary = args.binary or build()
    onnx = args.model / "model.onnx"
    rng = np.random.default_rng(3)
    taken: dict[tuple[str, str], list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        def made(name: str, ids: np.ndarray) -> Path:
            path = Path(folder) / f"{name}.npz"
            np.savez(path, input_ids=ids, attention_mask=np.ones_like(ids))
            return path

        random = lambda: rng.integers(0, VOCABULARY, (1, args.tokens))
        inputs = {"spread": made("spread", random()), "eight experts": made("eight", np.full((1, args.tokens), 1234))}
        others = [made(f"other{i}", random()) for i in range(4)]
        for _ in range(args.rounds):
            for routing, arrays in inputs.items():
                for method in ("ort_forward", "dlbc_forward", "dlbc_explain"):
                    row = once(binary, "olmoe-16th", onnx, method, args.threads, args.repeats, arrays)
                    taken.setdefault((routing, method), []).append(row)
            command = [str(binary), str(onnx), str(inputs["spread"]), "--threads",
                       str(args.threads), "--repeats", "1", "--then", *map(str, others)]
            taken.setdefault(("spread", "new routings"), []).append(json.loads(measured(command)[0].splitlines()[-1]))
    median = statistics.median
    print(f"{args.model.name}, {args.tokens} tokens, {args.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    print("| routing | method | median ms | processor ms | over ONNX Runtime's forward | over our forward | peak memory, MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for (routing, method), rows in taken.items():
        if method == "new routings":
            continue
        # Ratios of processor time: what others do on the machine counts less.
        over = [median(r["cpu_ms"] / b["cpu_ms"] for r, b in zip(rows, taken[routing, base], strict=True))
                for base in ("ort_forward", "dlbc_forward")]
        print(f"| {routing} | {method} | {median(r['median_ms'] for r in rows):.0f} | {median(r['cpu_ms'] for r in rows):.0f} | "
              f"{over[0]:.2f} | {over[1]:.2f} | {median(r['peak_rss_mb'] for r in rows):.0f} |")
    rows = taken["spread", "new routings"]
    print("\n| run of a session | ms | of which planning |\n| --- | ---: | ---: |")
    print(f"| first | {median(r['first_ms'] for r in rows):.0f} | |")
    for i in range(len(rows[0]["then_ms"])):
        whole, planning = (median(r["then_ms"][i][k] for r in rows) for k in (0, 1))
        print(f"| new routing {i + 1} | {whole:.0f} | {planning:.0f} |")
    print(f"| the same routing again | {median(r['median_ms'] for r in rows):.0f} | |")
    if args.json:
        args.json.write_text(json.dumps([{"routing": k[0], "method": k[1], "rows": v} for k, v in taken.items()], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
