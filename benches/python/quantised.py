#!/usr/bin/env python3
"""Milliseconds and peak memory of an explanation of quantised forms, beside that of the float form and ONNX Runtime's forward.

    benches/python/quantised.py NAME=MODEL:INPUTS ... [--dlbc target/release/dlbc] [--forms float,cast,dynamic,qdq]
                                [--rounds 3] [--repeat 5] [--threads 1] [--rules dlb]

The forms are those of `scripts/fixtures/quantise_models.py`. Each form runs in turns with the others, each run in a process of its
own; a cell is the smallest over rounds of the process's median, since a disturbed run is never faster. Prints a table of: the file's
size, the forward and the explanation, its ratio to the float form's, ONNX Runtime's forward on the same file, the ratio to that, and
the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from growth import ORT, measured  # noqa: E402

# A process of its own: the peak memory of a process begins with that of the one that starts it.
WRITE = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from quantise_models import quant_pre_process, write
model, inputs, folder, names = Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5].split(",")
prepared = folder / "prepared.onnx"
try:
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
except Exception:  # the tools are used on the file as it is
    prepared = model
for name in names:
    source = model if name in ("float", "cast", "float16") else prepared
    write(name, source, folder / f"{name}.onnx", dict(np.load(inputs)))
"""


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("models", nargs="+")
    ap.add_argument("--dlbc", default="target/release/dlbc")
    ap.add_argument("--forms", default="float,cast,float16,dynamic,qdq,q4")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--rules", default="dlb")
    args = ap.parse_args()
    print("| model | form | file, MB | dlbc forward, ms | explanation | over the float form's | ONNX Runtime forward, ms "
          "| explanation over it | peak memory, MB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for argument in args.models:
        title, paths = argument.split("=", 1)
        model, inputs = (Path(p) for p in paths.rsplit(":", 1))
        with tempfile.TemporaryDirectory() as folder:
            scripts = Path(__file__).parents[2] / "scripts" / "fixtures"
            subprocess.run([sys.executable, "-c", WRITE, str(scripts), str(model), str(inputs), folder, args.forms], check=True)
            forms = {form: Path(folder) / f"{form}.onnx" for form in args.forms.split(",")}
            rows: dict[str, list[list[float]]] = {form: [] for form in forms}
            for _ in range(args.rounds):
                for form, path in forms.items():
                    numbers = [str(args.threads), str(args.repeat)]
                    out, peak = measured([args.dlbc, "run", str(path), "--inputs", str(inputs), "--threads", numbers[0],
                                          "--rules", args.rules, "--repeat", numbers[1], "--json", "--quiet"])
                    seconds = json.loads(out)["seconds"]
                    try:
                        peer, _ = measured([sys.executable, "-c", ORT, str(path), str(inputs), *numbers])
                        runtime = statistics.median(json.loads(peer)["seconds"])
                    except SystemExit:
                        runtime = float("nan")
                    forward, reverse = seconds["forward"], seconds["reverse"]
                    rows[form].append([forward, forward + reverse, runtime, peak])
            base = None
            for form, measures in rows.items():
                forward, explanation, runtime, peak = (min(column) for column in zip(*measures))
                base = base or explanation
                size = forms[form].stat().st_size / 1e6
                print(f"| {title} | {form} | {size:.1f} | {1e3 * forward:.2f} | {1e3 * explanation:.2f} "
                      f"| {explanation / base:.2f} | {1e3 * runtime:.2f} | {explanation / runtime:.1f} "
                      f"| {peak * 1024 / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
