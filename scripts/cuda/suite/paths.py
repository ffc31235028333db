#!/usr/bin/env python3
"""The program on the device: results against those of the processor that travel with the suite, changing inputs in one
process, two processes at once, too little memory, exit codes.

    paths.py --out FILE --pack DIR
"""
import argparse
import json
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
import checks  # noqa: E402 (the line above keeps the tree clean)
import program  # noqa: E402
from store import Store  # noqa: E402

STEP = "paths"
# Bytes that stay free when memory is taken on purpose.
LEFT = 24 << 20


class Paths:
    def __init__(self, args: argparse.Namespace) -> None:
        self.pack, self.store = args.pack, Store(args.out)
        self.plan = json.loads((args.pack / "plan.json").read_text())
        self.folder = tempfile.TemporaryDirectory()
        self.bad = 0

    def add(self, name: str, kind: str, ok: bool, why: str = "", **fields) -> None:
        self.store.add(STEP, name, kind=kind, ok=ok, why=why, **fields)
        self.bad += not ok
        print(f"{name}: {'right' if ok else why}")

    def missing(self, name: str) -> bool:
        if name in self.store.results(STEP):
            return False
        self.store.add(STEP, name, begun=True)
        return True

    def arguments(self, job: dict) -> list:
        """Arguments of a run; those that are files of the suite are beside it."""
        return ["run", *[str(self.pack / a) if a.startswith("fixtures/") else a for a in job["arguments"]]]

    def results(self, job: dict, precision: str, number: int = 0) -> dict:
        out = Path(self.folder.name) / f"{job['name']}-{precision}-{number}.npz".replace(" ", "_")
        command = [*self.arguments(job), "--device", "cuda", "--precision", precision, "--out", out, "--quiet"]
        done = program.run(self.pack, command, limit=self.plan["limit"])
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return dict(np.load(out))

    def compared(self, name: str, kind: str, job: dict, precision: str, number: int = 0) -> None:
        try:
            actual = self.results(job, precision, number)
        except RuntimeError as error:
            self.add(name, kind, False, str(error))
            return
        expected = dict(np.load(self.pack / job["expected"]))
        verdict = checks.tensors(actual, expected, precision)
        totals = {k: float(v.sum()) for k, v in actual.items() if v.dtype.kind == "f"}
        self.add(name, kind, verdict.ok, verdict.why, worst=verdict.worst, norm=verdict.norm, sums=totals)

    def models(self) -> None:
        for job in self.plan["paths"]:
            for precision in job["precisions"]:
                name = f"{job['name']} in {precision}"
                if self.missing(name):
                    self.compared(name, job["kind"], job, precision)

    def sessions(self) -> None:
        """Two processes at once."""
        job = self.plan["paths"][0]
        names = [f"{job['name']}, two processes at once, number {i}" for i in (1, 2)]
        threads = [threading.Thread(target=self.compared, args=(n, "sessions", job, "3xtf32", i))
                   for i, n in enumerate(names, 1) if self.missing(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def ended(self, name: str, kind: str, arguments: list, code: int, message: str, extra: dict = {}) -> None:
        if not self.missing(name):
            return
        done = program.run(self.pack, arguments, extra=extra, limit=self.plan["limit"])
        ok = done.returncode == code and message in done.stderr
        said = (done.stderr.strip().splitlines() or [""])[0]
        self.add(name, kind, ok, "" if ok else f"exit {done.returncode}, expected {code} and `{message}`: {said}")

    def memory(self) -> None:
        """Takes the device's memory but for a rest, and runs a model beside."""
        from device import Device, call

        from cuda.bindings import driver
        name = "too little memory"
        if name in self.store.results(STEP):
            return
        Device()
        free = lambda: int(call(driver.cuMemGetInfo(), "cuMemGetInfo")[0])
        taken, size = [], free() - LEFT
        while size > LEFT:
            code, address = driver.cuMemAlloc(size)
            if int(code) == 0:
                taken.append(address)
                size = free() - LEFT
            else:
                size //= 2
        job = self.plan["paths"][0]
        self.ended(name, "memory", [*self.arguments(job), "--device", "cuda"], 5, "memory", self.plan["no_memory"])
        for address in taken:
            driver.cuMemFree(address)

    def codes(self) -> None:
        job = self.plan["paths"][0]
        command = self.arguments(job)
        self.ended("a device that is not there", "exit code", [*command, "--device", "cuda:99"], 5, "found 99")
        hidden = {"CUDA_VISIBLE_DEVICES": "", **self.plan["no_device"]}
        self.ended("no device", "exit code", [*command, "--device", "cuda"], 5, "no CUDA device", hidden)
        inputs = Path(self.folder.name) / "nan.npz"
        arrays = dict(np.load(self.pack / self.plan["paths"][0]["inputs"]))
        for array in arrays.values():
            if array.dtype.kind == "f":
                array.flat[0] = np.nan
        np.savez(inputs, **arrays)
        model = command[1]
        self.ended("NaN in an input", "exit code", ["run", model, "--inputs", inputs, "--device", "cuda"], 3, "finite number")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    paths = Paths(parser.parse_args())
    paths.models()
    paths.sessions()
    paths.codes()
    paths.memory()
    print(f"{STEP}: {paths.bad} wrong")
    return 1 if paths.bad else 0


if __name__ == "__main__":
    sys.exit(main())
