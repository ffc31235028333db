#!/usr/bin/env python3
"""The device, the driver and the program: whether they are there, and what they are.

    machine.py --out FILE --pack DIR
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
import program  # noqa: E402 (the line above keeps the tree clean)
from store import Store  # noqa: E402

STEP = "machine"


def first_line(command: list) -> tuple:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode == 0, lines[0] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    args = parser.parse_args()
    store = Store(args.out)

    def add(name: str, ok: bool, value: str, **fields) -> bool:
        store.add(STEP, name, ok=ok, value=value, **fields)
        print(f"{name}: {value}")
        return ok

    add("date", True, time.strftime("%Y-%m-%d"))
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    add("gpu", *first_line(query))
    good = add("program", *first_line([str(program.unpacked(args.pack)), "--version"]))
    model = args.pack / "fixtures" / "tabular_mlp"
    for name, extra in (("first run", {"CUDA_MODULE_LOADING": "EAGER"}), ("second run", {})):
        begin = time.monotonic()
        done = program.run(args.pack, ["run", model / "model.onnx", "--inputs", model / "input.npz", "--device", "cuda",
                                       "--target", "0"], extra=extra, limit=30)
        good &= add(name, done.returncode == 0, (done.stderr.strip().splitlines() or ["runs"])[-1],
                    seconds=round(time.monotonic() - begin, 3))
    try:
        from device import Device
        device = Device()
        add("device", True, f"{device.name}, driver API {device.version}")
    except Exception as error:  # Whatever the package raises without a driver.
        good = add("device", False, repr(error))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
