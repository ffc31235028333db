#!/usr/bin/env python3
"""Seconds and peak memory of an explanation over the number of tokens, with the growth exponents.

    benches/python/growth.py [--dlbc target/release/dlbc] [--model target/models/llama-8x1024]
                             [--tokens 64,256,1024] [--threads 2] [--repeat 3]

`scripts/fixtures/make_transformers.py llama-8x1024 --out target/models` makes the model. Prints a table: the
forward and the reverse of `dlbc run`, ONNX Runtime's forward in the same minute, and the peak memory
of each process, weights included. One number of tokens gives no exponents:

    benches/python/growth.py --model target/models/llama-1b --tokens 128 --repeat 1
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ORT = """
import json, resource, sys, time
import numpy as np, onnxruntime as ort
model, inputs, threads, repeat = sys.argv[1], dict(np.load(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {i.name: inputs[i.name] for i in session.get_inputs()}
seconds = []
for _ in range(repeat + 1):
    start = time.perf_counter(); session.run(None, feed); seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": seconds[1:], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def measured(command: list[str]) -> tuple[str, int]:
    """Standard output of a process, and its own peak memory in KiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:3])} failed with status {status}")
    return out, usage.ru_maxrss


def exponent(xs: list[int], ys: list[float]) -> float:
    """The slope of the last two points in logarithms."""
    return math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2])


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--dlbc", default="target/release/dlbc")
    ap.add_argument("--model", type=Path, default=Path("target/models/llama-8x1024"))
    ap.add_argument("--tokens", default="64,256,1024")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--rules", default="dlb")
    args = ap.parse_args()
    model, counts = str(args.model / "model.onnx"), [int(n) for n in args.tokens.split(",")]
    rng = np.random.default_rng(0)
    rows = []
    for tokens in counts:
        with tempfile.TemporaryDirectory() as folder:
            inputs = os.path.join(folder, "input.npz")
            ids = rng.integers(0, 32000, (1, tokens))
            np.savez(inputs, input_ids=ids, attention_mask=np.ones_like(ids))
            run = [args.dlbc, "run", model, "--inputs", inputs, "--threads", str(args.threads), "--rules", args.rules,
                   "--repeat", str(args.repeat), "--json", "--quiet"]
            out, peak = measured(run)
            seconds = json.loads(out)["seconds"]
            peer, _ = measured([sys.executable, "-c", ORT, model, inputs, str(args.threads), str(args.repeat)])
            peer = json.loads(peer)
        print(f"{tokens} tokens: load {seconds['load']:.2f} s, compile {seconds['compile']:.2f} s", flush=True)
        rows.append((tokens, seconds["forward"], seconds["reverse"], statistics.median(peer["seconds"]), peak / 1024, peer["peak"] / 1024))
    print("tokens  forward s  reverse s  explanation s  ORT forward s  ratio  peak MiB  ORT peak MiB")
    for tokens, forward, reverse, peer, peak, peer_peak in rows:
        print(f"{tokens:6}  {forward:9.3f}  {reverse:9.3f}  {forward + reverse:13.3f}  {peer:13.3f}  {(forward + reverse) / peer:5.2f}"
              f"  {peak:8.0f}  {peer_peak:12.0f}")
    if len(rows) < 2:
        return
    columns = list(zip(*rows))
    whole = [f + r for f, r in zip(columns[1], columns[2])]
    weights = sum(f.stat().st_size for f in args.model.iterdir() if f.suffix != ".npz") / 2**20
    beyond = [[peak - weights for peak in columns[i]] for i in (4, 5)]
    print(f"weights: {weights:.0f} MiB")
    for what, ys in (("forward", columns[1]), ("explanation", whole), ("ORT forward", columns[3]),
                     ("peak memory beyond the weights", beyond[0]), ("ORT peak memory beyond the weights", beyond[1])):
        print(f"exponent of {what} from {counts[-2]} to {counts[-1]} tokens: {exponent(counts, list(ys)):.2f}")


if __name__ == "__main__":
    main()
