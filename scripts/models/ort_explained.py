#!/usr/bin/env python3
"""Runs a model that `dlbc export` wrote in ONNX Runtime (CPU).

    scripts/models/ort_explained.py EXPLAINED.onnx INPUTS.npz OUT.npz [--target N ...]

Saves every output by name: the model's own and relevance/NAME. The optional input
dlbc_target is left out (the model then explains its best unit) unless --target gives it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
from ort_forward import LEVELS, forward  # noqa: E402 (the line above keeps the source tree clean)

TARGET = "dlbc_target"


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", type=Path)
    ap.add_argument("inputs", type=Path)
    ap.add_argument("outputs", type=Path)
    ap.add_argument("--target", type=int, nargs="+", metavar="N", help="output unit of each batch row")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--optimize", choices=LEVELS, default="basic", help="ONNX Runtime's graph optimisation")
    args = ap.parse_args()
    extra = {TARGET: np.array(args.target, np.int64)} if args.target else None
    try:
        got = forward(args.model, args.inputs, args.outputs, args.threads, args.optimize, (TARGET,), extra)
    except Exception as e:  # ONNX Runtime raises many kinds
        print(f"error: {args.model}: {e}", file=sys.stderr)
        return 1
    for name, value in got.items():
        total = f", sum {value.sum():.6g}" if np.issubdtype(value.dtype, np.floating) else ""
        print(f"{name} {value.dtype} {list(value.shape)}{total}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
