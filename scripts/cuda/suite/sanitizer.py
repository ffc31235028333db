#!/usr/bin/env python3
"""compute-sanitizer over the launcher: every kernel on its smallest case, without guards, tool by tool.

    sanitizer.py --out FILE --dump DIR [--tools memcheck synccheck racecheck] [--seconds N]

racecheck runs the kernels with shared memory alone. What a tool finished before its time is in the results.
"""
import argparse
import glob
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import processes  # noqa: E402 (the line above keeps the tree clean)
from dump import Dump  # noqa: E402
from kernels import selected  # noqa: E402
from store import Store  # noqa: E402

STEP = "sanitizer"


def tool() -> str | None:
    places = [shutil.which("compute-sanitizer"), *glob.glob("/usr/local/cuda*/bin/compute-sanitizer"),
              *glob.glob("/opt/nvidia/*/compute-sanitizer")]
    return next((p for p in places if p), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--tools", nargs="+", default=["memcheck", "synccheck", "racecheck"])
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=20, help="of each tool")
    args = parser.parse_args()
    store, dump, program = Store(args.out), Dump(args.dump), tool()
    bad = 0
    for name in args.tools:
        if name in store.results(STEP):
            continue
        if program is None:
            store.add(STEP, name, ok=None, why="compute-sanitizer is not on this machine")
            continue
        cases = sum(selected(dump, args.only, True).values(), [])
        if name == "racecheck":
            cases = [c for c in cases if "smem" in dump.text(dump.cases[c]["kernel"])]
        step = f"{STEP} {name}"
        cases = [c for c in cases if c not in store.results(step)]
        command = [program, "--tool", name, "--error-exitcode", "9", sys.executable,
                   str(Path(__file__).with_name("kernels.py")), "--child", "--exact", "--out", str(args.out),
                   "--dump", str(args.dump), "--step", step]
        done = processes.finish(command, args.seconds, "\n".join(cases), stderr=subprocess.STDOUT)
        text, ended = done.stdout, f"exit {done.returncode}"
        print(text[-4000:])
        results = store.results(step)
        errors = re.findall(r"ERROR SUMMARY: (\d+) error", text)
        failed = [c for c in results if not results[c]["ok"]]
        messages = [line.strip("= ") for line in text.splitlines() if line.startswith("=========") and "Error" in line]
        # A tool that was stopped has found no error in what it finished, unless it printed one.
        found = bool(failed or messages) or any(int(n) for n in errors)
        done = f"{len(results)} of {len(results) + len([c for c in cases if c not in results])} kernels"
        store.add(STEP, name, ok=not found and bool(results or not cases), why="; ".join(messages[:3]) or ended, finished=done,
                  errors=sum(map(int, errors)), wrong=failed[:5])
        bad += found
    print(f"{STEP}: {bad} tools with errors")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
