#!/usr/bin/env python3
"""Runs ONNX Runtime (CPU) on a list of models: the reference of the tests.

    scripts/models/ort_forward.py JOBS.json [--threads N] [--optimize none|basic|all]

JOBS.json is a list of {"model": FILE.onnx, "inputs": IN.npz, "outputs": OUT.npz}; paths
are relative to the working folder. All outputs of a graph are saved by name, in the type
that they have. A model that fails leaves OUT.npz.error with the message instead of
OUT.npz, and the rest go on. Prints a line a model; exits with 1 when one failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session(model: Path, threads: int, optimize: str) -> ort.InferenceSession:
    """A quiet CPU session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = LEVELS[optimize]
    options.log_severity_level = 4
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like np.savez, for any name (np.savez refuses an array called "file")."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, value in arrays.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as f:
                np.lib.format.write_array(f, np.asarray(value), allow_pickle=False)
    part.replace(path)


def forward(model: Path, inputs: Path, outputs: Path, threads: int = 1, optimize: str = "basic",
            skip: tuple[str, ...] = (), extra: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Runs a model and saves every output by name. `skip` names inputs that are not given."""
    s = session(model, threads, optimize)
    with np.load(inputs) as file:
        feed = {k: file[k] for k in file.files if k not in skip}
    feed |= extra or {}
    names = [o.name for o in s.get_outputs()]
    got = dict(zip(names, s.run(names, feed)))
    for name, value in got.items():
        if not isinstance(value, np.ndarray) or value.dtype == object:
            raise TypeError(f"output {name} is not a numeric tensor")
    save_npz(outputs, got)
    return got


def job(entry: dict[str, str], threads: int, optimize: str) -> bool:
    """One entry of the list; False when it failed."""
    out = Path(entry["outputs"])
    error = out.with_name(out.name + ".error")
    for old in (out, error):
        old.unlink(missing_ok=True)
    start = time.perf_counter()
    try:
        got = forward(Path(entry["model"]), Path(entry["inputs"]), out, threads, optimize)
    except Exception as e:  # ONNX Runtime raises many kinds; all of them are a result here
        error.write_text(f"{type(e).__name__}: {e}\n")
        print(f"FAIL {entry['model']}: {str(e).splitlines()[0][:160]}", flush=True)
        return False
    print(f"ok {entry['model']}: {len(got)} outputs, {1000 * (time.perf_counter() - start):.0f} ms", flush=True)
    return True


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("jobs", type=Path)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--optimize", choices=LEVELS, default="basic", help="ONNX Runtime's graph optimisation")
    args = ap.parse_args()
    done = [job(entry, args.threads, args.optimize) for entry in json.loads(args.jobs.read_text())]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
