#!/usr/bin/env python3
"""The whole suite on a machine with a GPU, step by step, within a budget of seconds.

    run.py --out DIR [--seconds 480] [--steps machine kernels ...]

Every result is a line of DIR/results.jsonl as soon as it is known. A second run goes on where the first ended. Each step is a
process of its own under a limit; what it leaves running is ended with it. The table is printed from the file at the end.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
import processes  # noqa: E402 (the line above keeps the tree clean)
import table  # noqa: E402
from store import Store  # noqa: E402

HERE = Path(__file__).resolve().parent
# Seconds that the table and the end need.
RESERVE = 5
# Nothing is timed while products are wrong.
TIMED = ("ceilings", "rates", "counters", "models")


def steps(args: argparse.Namespace, plan: dict) -> list:
    """Name, limit in seconds and command of each step, in order."""
    out, pack = str(args.out / "results.jsonl"), str(args.pack)
    dump, rates = str(args.pack / "cases"), str(args.pack / "rates")
    jobs = str(plan["jobs"])
    return [
        ("machine", 25, ["machine.py", "--out", out, "--pack", pack]),
        ("kernels", 100, ["kernels.py", "--out", out, "--dump", dump, "--jobs", jobs, "--only", plan["only"],
                          "--seconds", "95"]),
        ("vectors", 20, ["vectors.py", "--out", out, "--golden", str(args.out / "golden.npz"),
                         "--points", str(plan["points"])]),
        ("paths", 60, ["paths.py", "--out", out, "--pack", pack]),
        ("sanitizer", 65, ["sanitizer.py", "--out", out, "--dump", dump, "--only", plan["sanitized"], "--seconds", "20"]),
        ("ceilings", 20, ["rates.py", "--out", out, "--rates", rates, "--ceilings", "--seconds", str(plan["sample"])]),
        ("rates", 75, ["rates.py", "--out", out, "--rates", rates, "--seconds", str(plan["sample"])]),
        ("counters", 20, ["counters.py", "--out", out, "--rates", rates, "--csv", str(args.out / "counters.csv")]),
        ("models", 190, ["models.py", "--out", out, "--pack", pack]),
    ]


def products_are_wrong(store: Store) -> str:
    bad = [n for n, r in store.results("kernels").items() if not r["ok"] and n.startswith("gemm")]
    return f"{len(bad)} products are wrong, {bad[0]} among them" if bad else ""


def step(name: str, limit: float, command: list, store: Store, log) -> None:
    """Runs a step; only one that came to its end counts as finished."""
    print(f"== {name}, up to {limit:.0f} s", flush=True)
    begin = time.monotonic()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    process = processes.start([sys.executable, HERE / command[0], *command[1:]], stdout=log, stderr=log, env=environment)
    try:
        code = process.wait(timeout=limit)
        # A step that failed on its way is begun again, one that found faults is not.
        store.add("steps" if code in (0, 1) else "stopped", name, ok=code == 0, value=f"exit {code}",
                  seconds=round(time.monotonic() - begin, 1))
    except subprocess.TimeoutExpired:
        store.add("stopped", name, ok=False, value=f"stopped after {limit:.0f} s")
    finally:
        processes.stop(process)
    print(f"   {time.monotonic() - begin:.1f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pack", type=Path, default=HERE.parent)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--steps", nargs="+", default=[])
    parser.add_argument("--retry", action="store_true", help="measure again what was wrong or stopped")
    args = parser.parse_args()
    begin = time.monotonic()
    plan = json.loads((args.pack / "plan.json").read_text())
    store = Store(args.out / "results.jsonl")
    if args.retry:
        store.retry()
    with open(args.out / "suite.log", "ab") as log:
        for name, limit, command in steps(args, plan):
            left = args.seconds - RESERVE - (time.monotonic() - begin)
            if (args.steps and name not in args.steps) or store.finished(name):
                continue
            if left < 2:
                store.add("left out", name, ok=None, value="no time was left")
                continue
            wrong = products_are_wrong(store) if name in TIMED else ""
            if wrong:
                store.add("left out", name, ok=None, value=wrong)
                print(f"== {name} is left out: {wrong}")
                continue
            step(name, min(limit, left), command, store, log)
    text = table.text(store)
    (args.out / "gpu-results.md").write_text(text)
    print(text)
    print(f"{time.monotonic() - begin:.0f} s of {args.seconds:.0f}")
    complete = all(store.finished(name) for name, _, _ in steps(args, plan) if not args.steps or name in args.steps)
    return 0 if complete and all(r["ok"] for r in store.results("steps").values()) else 1


if __name__ == "__main__":
    sys.exit(main())
