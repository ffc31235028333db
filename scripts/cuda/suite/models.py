#!/usr/bin/env python3
"""Models, cheapest first: dlbc's forward and relevance beside torch's forward and gradient.

    models.py --out FILE --pack DIR

Each is built here with random weights. What dlbc computes in the first precision is compared with the processor where the
plan says so. A model that fails is written down and the next one begins.
"""
import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
import checks  # noqa: E402 (the line above keeps the tree clean)
import peers  # noqa: E402
import program  # noqa: E402
from store import Store  # noqa: E402

STEP = "models"


def dlbc(args: argparse.Namespace, plan: dict, files: tuple, precision: str, out: Path | None, repeat: int) -> dict:
    device = ["--device", "cpu"] if precision == "cpu" else ["--device", "cuda", "--precision", precision]
    command = ["run", files[0], "--inputs", files[1], "--target", "0", "--json", "--quiet", *device]
    command += ["--out", out] if out else []
    command += ["--repeat", repeat] if repeat else []
    return program.answer(program.run(args.pack, command, limit=plan["model_limit"]))["seconds"]


def measured(args: argparse.Namespace, plan: dict, model: dict, store: Store, folder: Path) -> None:
    import graphs

    names = {p: f"{model['name']} in {p}" for p in model["precisions"]}
    open_names = {p: n for p, n in names.items() if n not in store.results(STEP)}
    if not open_names:
        return
    for name in open_names.values():
        store.add(STEP, name, begun=True)
    files = graphs.write(model, folder)
    reference = None
    if model["check"]:
        reference = folder / "cpu.npz"
        dlbc(args, plan, files, "cpu", reference, 0)
    for precision, name in open_names.items():
        try:
            out = folder / f"{precision}.npz"
            seconds = dlbc(args, plan, files, precision, out if reference else None, model["repeat"])
            fields = {"C": [1e3 * seconds["forward"]] * 3, "D": [1e3 * (seconds["forward"] + seconds["reverse"])] * 3,
                      "prepare": seconds["prepare"]}
            ok, why = True, ""
            if reference:
                verdict = checks.tensors(dict(np.load(out)), dict(np.load(reference)), precision)
                ok, why = verdict.ok, verdict.why
                fields.update(worst=verdict.worst, norm=verdict.norm)
        except (RuntimeError, KeyError, OSError) as error:
            store.add(STEP, name, ok=False, why=str(error)[:300])
            continue
        try:
            fields.update(peers.model_times(model, precision, plan["sample"]))
        except Exception as error:  # Whatever torch raises costs its columns and no more.
            fields["torch"] = str(error)[:300]
        store.add(STEP, name, ok=ok, why=why, **fields)
        print(name, fields, why)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    args = parser.parse_args()
    plan, store = json.loads((args.pack / "plan.json").read_text()), Store(args.out)
    for model in plan["models"]:
        folder = Path(tempfile.mkdtemp(prefix="dlbc-suite-"))
        try:
            measured(args, plan, model, store, folder)
        except Exception as error:  # Recorded; the next model is measured.
            for precision in model["precisions"]:
                name = f"{model['name']} in {precision}"
                if name not in store.results(STEP):
                    store.add(STEP, name, ok=False, why=repr(error)[:300])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    bad = [n for n, r in store.results(STEP).items() if r["ok"] is False]
    print(f"{STEP}: {len(bad)} wrong {bad[:3]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
