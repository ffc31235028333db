#!/usr/bin/env python3
"""Hardware counters of a few operations, by Nsight Compute where it is: tensor pipe, L2, stalls.

    counters.py --out FILE --rates DIR --csv FILE
"""
import argparse
import glob
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import processes  # noqa: E402 (the line above keeps the tree clean)
from rates import Operations  # noqa: E402
from store import Store  # noqa: E402

STEP = "counters"
METRICS = ["sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active", "lts__t_throughput.avg.pct_of_peak_sustained_elapsed",
           "dram__throughput.avg.pct_of_peak_sustained_elapsed", "smsp__issue_active.avg.pct_of_peak_sustained_active"]


def one(args: argparse.Namespace) -> int:
    """Launches an operation once; what the tool looks at."""
    from device import Device
    from rates import Loaded

    device, dump = Device(), Operations(args.rates)
    loaded = Loaded(device, dump, dump.operations[args.operation])
    for kernel, grid, params in loaded.launches:
        device.launch(kernel, grid, params)
    device.synchronize()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rates", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--operation")
    args = parser.parse_args()
    if args.operation:
        return one(args)
    store = Store(args.out)
    tool = next((p for p in [shutil.which("ncu"), *glob.glob("/usr/local/cuda*/bin/ncu")] if p), None)
    if tool is None:
        store.add(STEP, "ncu", ok=None, why="ncu is not on this machine")
        return 0
    names = list(Operations(args.rates).operations)
    picked = [next((n for n in names if kind in n and "3xtf32" in n), None) for kind in ("product", "convolution", "attention")]
    for name in filter(None, picked):
        if name in store.results(STEP):
            continue
        command = [tool, "--clock-control", "none", "--csv", "--metrics", ",".join(METRICS), sys.executable, __file__, "--out",
                   args.out, "--rates", args.rates, "--operation", name]
        done = processes.finish(command, 20)
        lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
        with open(args.csv, "a") as file:
            file.write("\n".join([name, *lines, ""]))
        store.add(STEP, name, ok=done.returncode == 0 and bool(lines), why=done.stderr.strip()[-200:], lines=len(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
