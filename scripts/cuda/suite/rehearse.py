#!/usr/bin/env python3
"""The whole suite without a GPU: the same code, with the interpreter in the place of the device.

    scripts/cuda/suite/rehearse.py            everything: a complete run, a run that is killed and goes on, planted faults
    scripts/cuda/suite/rehearse.py --quick    one family of kernels, and every planted fault

Stand-ins are in `stubs`: the driver's package for Python over the interpreter, torch, compute-sanitizer, nvidia-smi. The
program runs on the tests' driver, which executes kernels on the interpreter, too.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import processes  # noqa: E402 (the lines above come first)
from dump import Dump  # noqa: E402
from store import Store  # noqa: E402

ROOT = HERE.parents[2]
DEBUG = ROOT / "target" / "debug"
BUDGET = 480
# Kernels that are spoiled: a product, a sum by tensor cores, attention, rows.
PLANTED = ["gemm_id_k_id_64x64x16", "gemm_id_k_id_64x64x16_3xtf32", "attention_forward", "softmax"]
FAULTS = ["zeros", "row", "nan", "last"]


def environment(folder: Path, **extra: str) -> dict:
    """The stand-ins before everything else."""
    drivers = folder / "driver"
    drivers.mkdir(exist_ok=True)
    library = DEBUG / "libdlbc_fakedriver.so"
    if library.exists() and not (drivers / "libcuda.so.1").exists():
        (drivers / "libcuda.so.1").symlink_to(library)
    return {
        **os.environ, "PYTHONPATH": str(HERE / "stubs"), "PATH": f"{HERE / 'stubs' / 'bin'}:{os.environ['PATH']}",
        "DLBC_PTXSIM": str(DEBUG / "examples" / "serve"), "LD_LIBRARY_PATH": str(drivers), "DLBC_UNPACKED": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **extra,
    }


def run(pack: Path, out: Path, folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, pack / "suite" / "run.py", "--out", out, "--seconds", BUDGET, *arguments]
    return processes.start(command, env=environment(folder))


def complete(pack: Path, folder: Path) -> None:
    """A complete run: every step ends, nothing is wrong, in time."""
    begin = time.monotonic()
    process = run(pack, folder / "complete", folder)
    code = process.wait()
    seconds = time.monotonic() - begin
    store = Store(folder / "complete" / "results.jsonl")
    for line in store.lines():
        if line.get("ok") is False:
            print(f"wrong: {line}")
    assert code == 0, f"exit {code}"
    assert seconds <= BUDGET, f"{seconds:.0f} s"
    print(f"complete: {len(store.lines())} results in {seconds:.0f} s of {BUDGET}")


def interrupted(pack: Path, folder: Path, steps: list, only: str, pause: float) -> None:
    """A run that is killed at random moments and goes on loses nothing and repeats nothing."""
    out = folder / "interrupted"
    plan = json.loads((pack / "plan.json").read_text())
    (pack / "plan.json").write_text(json.dumps({**plan, "only": only}))
    path, kills, last = out / "results.jsonl", 0, 0
    while True:
        process = run(pack, out, folder, "--steps", *steps)
        try:
            process.wait(timeout=random.uniform(0.2, pause) if kills < 5 else None)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        results = sum(len(Store(path).results(s)) for s in steps)
        assert results >= last, f"{last - results} results were lost"
        last = results
    time.sleep(1)
    store = Store(path)
    names = [(line["step"], line["name"]) for line in store.lines() if "ok" in line and line["step"] in steps]
    assert len(names) == len(set(names)), "a measurement was repeated"
    missing = {n for n, case in Dump(pack / "cases").cases.items() if only in case["kernel"]} - set(store.results("kernels"))
    assert not missing, f"{len(missing)} cases were not run: {sorted(missing)[:3]}"
    (pack / "plan.json").write_text(json.dumps(plan))
    bad = [n for s in steps for n, r in store.results(s).items() if r["ok"] is False]
    assert not bad, bad[:5]
    print(f"interrupted: killed {kills} times, {len(names)} results, none lost, none repeated")


def planted(pack: Path, folder: Path) -> None:
    """Every spoiled kernel is named, and no other one."""
    listed = Dump(pack / "cases")
    kernels = [k for k in PLANTED if k in listed.kernels]
    assert len(kernels) >= 2, "the kernels to spoil have other names"
    count = 0
    for kernel in kernels:
        for fault in FAULTS + (["crash"] if kernel == "softmax" else []):
            out = folder / f"{fault}-{kernel}.jsonl"
            command = [sys.executable, pack / "suite" / "kernels.py", "--out", out, "--dump", pack / "cases", "--only", kernel]
            done = processes.finish(command, 300, env=environment(folder, DLBC_PLANT=f"{fault}:{kernel}"))
            results = Store(out).results("kernels")
            assert results, done.stderr
            bad = {r["kernel"] for r in results.values() if not r["ok"]}
            assert bad == {kernel}, f"{fault} in {kernel}: {sorted(bad)} are called wrong\n{done.stdout}{done.stderr}"
            others = [r for r in results.values() if r["kernel"] != kernel]
            assert all(r["ok"] for r in others)
            count += 1
    print(f"planted: {count} faults in {len(kernels)} kernels, each named")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pack", type=Path, help="a suite that was packed before with --small")
    parser.add_argument("--keep", type=Path, help="a folder for all files")
    args = parser.parse_args()
    begin = time.monotonic()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="dlbc-rehearsal-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([sys.executable, HERE / "test_suite.py"], check=True)
        pack = args.pack
        if pack is None:
            pack = folder / "pack"
            # The driver, the server and the program, as the tests build them.
            subprocess.run(["cargo", "build", "--quiet", "--workspace", "--examples", "--bins", "--lib"], cwd=ROOT, check=True)
            subprocess.run([sys.executable, HERE / "pack.py", "--small", "--to", pack, "--dlbc", DEBUG / "dlbc"], check=True)
        planted(pack, folder)
        if args.quick:
            interrupted(pack, folder, ["kernels", "vectors"], "reduce", 2.0)
        else:
            complete(pack, folder)
            interrupted(pack, folder, ["kernels", "vectors"], "", 12.0)
        print(f"rehearsed in {time.monotonic() - begin:.0f} s")
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
