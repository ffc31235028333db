#!/usr/bin/env python3
"""Kernel by kernel: every case of the dump is launched twice and compared with its expectation.

    kernels.py --out FILE --dump DIR --step kernels [--only NAME] [--smallest] [--exact] [--jobs N]

Children take some kernels each, so that a fault costs one. A result says whether every element is within its bound, whether
the guards around the buffers are intact, whether operands are unchanged, whether the second launch has the same bits and
whether they are the interpreter's, and what the kernel takes: registers, local bytes, milliseconds of assembly.
"""
import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
import checks  # noqa: E402 (the line above keeps the tree clean)
import processes  # noqa: E402
from dump import Dump  # noqa: E402
from store import Store  # noqa: E402

# Kernels of a child.
SHARE = 20
# Seconds without a new result after which a child counts as hung.
PATIENCE = 30


def launch_case(device, kernel, dump: Dump, case: dict, guard: int) -> dict:
    """Launches a case twice and compares; the fields of its result."""
    from device import Block

    contents = [None if b["content"] is None else dump.bytes(b["content"]) for b in case["buffers"]]
    blocks = [Block(device, b["bytes"], guard) for b in case["buffers"]]
    try:
        params = bytearray(case["params"])
        for offset, buffer, distance in case["relocations"]:
            params[offset:offset + 8] = (blocks[buffer].address + distance).to_bytes(8, "little")
        runs = []
        for _ in range(2):
            for block, content in zip(blocks, contents):
                block.fill(content)
            device.launch(kernel, case["grid"], params)
            device.synchronize()
            runs.append([block.read() for block in blocks])
    finally:
        for block in blocks:
            block.release()
    return judged(dump, case, contents, runs)


def judged(dump: Dump, case: dict, contents: list, runs: list) -> dict:
    """Compares the buffers of two runs, each with whether its guards are intact, with the expectations of a case."""
    roles = [b["role"] for b in case["buffers"]]
    fields = {"ok": True, "why": "", "worst": 0.0, "norm": 0.0, "wrong": 0}

    def failed(why: str) -> None:
        if fields["ok"]:
            fields.update(ok=False, why=why)

    for run in runs:
        for i, (words, intact) in enumerate(run):
            if not intact:
                failed(f"buffer {i}: the words around it were overwritten")
            if roles[i] == "read" and not np.array_equal(words, np.frombuffer(contents[i], np.uint32)):
                failed(f"buffer {i}: an operand was overwritten")
    written = [i for i, role in enumerate(roles) if role != "read"]
    same, as_interpreted = True, True
    for i, expected in zip(written, dump.expected(case)):
        first, second = (run[i][0] for run in runs)
        verdict = checks.expectation(expected, first)
        if not verdict.ok:
            failed(f"buffer {i}: {verdict.why}")
        fields["worst"] = max(fields["worst"], verdict.worst)
        fields["norm"] = max(fields["norm"], verdict.norm)
        fields["wrong"] += verdict.wrong
        same &= np.array_equal(first, second)
        as_interpreted &= "bits" not in expected or np.array_equal(first, expected["bits"])
    if not same:
        failed("a second launch gives other bits")
    return {**fields, "same": bool(same), "interpreter": bool(as_interpreted)}


def selected(dump: Dump, only: str, smallest: bool) -> dict:
    """Names of the cases by kernel; with `smallest`, the case of fewest instructions above a thread's work."""
    by_kernel: dict = {}
    for name, case in dump.cases.items():
        if only in case["kernel"]:
            by_kernel.setdefault(case["kernel"], []).append(name)
    if smallest:
        def work(name: str) -> tuple:
            n = dump.cases[name]["instructions"]
            return n < 200, n
        by_kernel = {k: [min(names, key=work)] for k, names in by_kernel.items()}
    return by_kernel


def child(args: argparse.Namespace) -> int:
    """Runs the cases named on the standard input; ends at the first fault, which may have ruined the context."""
    from device import GUARD, Device, Fault

    store, dump = Store(args.out), Dump(args.dump)
    device, loaded = Device(), {}
    for name in sys.stdin.read().splitlines():
        case = dump.cases[name]
        listed = dump.kernels[case["kernel"]]
        store.add(args.step, name, begun=True)
        try:
            if case["kernel"] not in loaded:
                loaded[case["kernel"]] = device.load(
                    case["kernel"], dump.text(case["kernel"]), listed["threads"], listed["shared"])
            kernel = loaded[case["kernel"]]
            fields = launch_case(device, kernel, dump, case, 0 if args.exact else GUARD)
        except Fault as fault:
            store.add(args.step, name, kernel=case["kernel"], ok=False, why=str(fault))
            return 1
        store.add(args.step, name, kernel=case["kernel"], registers=kernel.registers, local=kernel.local,
                  jit_ms=round(kernel.milliseconds, 2), **fields)
    return 0


def watched(command: list, names: list, store: Store, step: str, until: float) -> str:
    """Runs a child until it ends, hangs or the time is up; says how it ended."""
    process = processes.start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said: list = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True)
    reader.start()
    process.stdin.write("\n".join(names).encode())
    process.stdin.close()
    count, last = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = time.monotonic()
        if now - last > 1:
            size = store.path.stat().st_size if store.path.exists() else 0
            count, last = (size, now) if size != count else (count, last)
        if now > until or now - last > PATIENCE:
            processes.stop(process)
            return "out of time" if now > until else f"hung for {PATIENCE} s"
    reader.join(1)
    text = b"".join(said).decode(errors="replace").strip().splitlines()
    return "" if process.returncode == 0 else f"exit {process.returncode} {text[-1] if text else ''}".strip()


def work(names: list, args: argparse.Namespace, store: Store, until: float, prefix: list) -> None:
    """Runs cases in children, one after another, each from where the last one ended."""
    command = [*prefix, sys.executable, __file__, "--child", "--out", args.out, "--dump", args.dump, "--step", args.step]
    command += ["--exact"] if args.exact else []
    while time.monotonic() < until:
        results = store.results(args.step)
        names = [n for n in names if n not in results]
        if not names:
            return
        ended = watched(command, names, store, args.step, until)
        if ended == "out of time":
            return
        results = store.results(args.step)
        left = [n for n in names if n not in results]
        if left == names or (ended and left):
            # The measurement under way, or the first one where none had begun, took the child down.
            begun = [n for n in store.begun(args.step) if n in left]
            if begun or left == names:
                culprit = begun[-1] if begun else left[0]
                store.add(args.step, culprit, kernel=culprit.split(" on ")[0], ok=False, why=ended or "no result")


def run(args: argparse.Namespace, prefix: list = ()) -> int:
    store, dump = Store(args.out), Dump(args.dump)
    by_kernel = list(selected(dump, args.only, args.smallest).values())
    names = sum(by_kernel, [])
    shares = [sum(by_kernel[i:i + SHARE], []) for i in range(0, len(by_kernel), SHARE)]
    until = time.monotonic() + args.seconds
    lock = threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                if not shares:
                    return
                share = shares.pop(0)
            work(share, args, store, until, list(prefix))

    workers = [threading.Thread(target=worker) for _ in range(args.jobs)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    results = store.results(args.step)
    bad = [n for n in results if not results[n]["ok"]]
    missing = [n for n in names if n not in results]
    print(f"{args.step}: {len(results)} cases, {len(bad)} wrong, {len(missing)} not run")
    for name in bad[:20]:
        print(f"  {name}: {results[name]['why']}")
    return 1 if bad or missing else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dump", type=Path, required=True)
    parser.add_argument("--step", default="kernels")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    parser.add_argument("--smallest", action="store_true", help="one case of each kernel")
    parser.add_argument("--exact", action="store_true", help="no guards, so that a sanitizer sees the ends of buffers")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    arguments = parser().parse_args()
    sys.exit(child(arguments) if arguments.child else run(arguments))
