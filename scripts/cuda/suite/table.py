#!/usr/bin/env python3
"""The page of results, from the file of results: what was not measured stays blank.

    table.py RESULTS.jsonl [--write docs/gpu-results.md]
"""
import argparse
import sys
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
from store import Store  # noqa: E402 (the line above keeps the tree clean)

TITLE = """# Results on GPUs

Written by `scripts/cuda/suite/table.py` from the results of `scripts/cuda/suite/run.py`; blank is what was not measured.
"""
NOTHING = "Nothing has been measured on a device yet, for want of one: every figure is blank.\n"
MODELS = """Milliseconds, medians, of torch with the tenth and the ninetieth percentile. A: torch forward, the faster of eager and CUDA
graph. B: torch forward and the gradient of the input, likewise. C: dlbc forward. D: dlbc forward and relevance, copies from and
to the host included. Torch computes in float32 beside 3xtf32, in tf32, and under autocast to bfloat16."""
KERNELS = """Milliseconds on the device, by events around CUDA graphs, and TFLOP/s or TB/s. The same operation by torch beside it."""


def row(cells) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def rows(head: list, body: list) -> str:
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, body)])


def cell(value, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def ratio(a, b) -> str:
    return "" if not a or not b else f"{a / b:.2g}"


def verdict(results: dict, unit: str) -> str:
    """A line about checks: how many, how many were wrong, which."""
    if not results:
        return ""
    bad = [name for name, r in results.items() if r.get("ok") is False]
    text = f"{len(results) - len(bad)} of {len(results)} {unit} right"
    return text + (f"; wrong: {', '.join(sorted(bad)[:8])}{' …' if len(bad) > 8 else ''}" if bad else "")


def correctness(store: Store) -> list:
    kernels, paths = store.results("kernels"), store.results("paths")
    whole = [r for r in kernels.values() if "same" in r]
    body = [
        ["kernels on the cases of the interpreter", verdict(kernels, "cases")],
        ["the same bits on a second launch", f"{sum(r['same'] for r in whole)} of {len(whole)}" if whole else ""],
        ["the bits of the interpreter", f"{sum(r['interpreter'] for r in whole)} of {len(whole)}" if whole else ""],
        ["spilled registers", spills(whole)],
        ["single instructions", verdict(store.results("vectors"), "probes")],
    ]
    for kind in ("model", "inputs", "sessions", "memory", "exit code"):
        some = {n: r for n, r in paths.items() if r.get("kind") == kind}
        body.append([f"program: {kind}", verdict(some, "checks")])
    for tool in ("memcheck", "synccheck", "racecheck"):
        r = store.results("sanitizer").get(tool)
        text = "" if r is None else f"{'no errors' if r['ok'] else r['why']} ({r.get('finished', 'not run')})"
        body.append([f"compute-sanitizer {tool}", text])
    return body


def spills(results: list) -> str:
    if not results:
        return ""
    spilled = sorted({r["kernel"] for r in results if r["local"] > 64})
    return f"{len(spilled)} kernels{': ' + ', '.join(spilled[:5]) if spilled else ''}"


def operations(store: Store) -> list:
    body = []
    for name, r in {**store.results("ceilings"), **store.results("rates")}.items():
        if r.get("ok") is False:
            body.append([name, r["why"], "", "", "", ""])
            continue
        body.append([name, cell(r.get("ms")), cell(r.get("rate")), cell(r.get("torch_ms")), cell(r.get("torch_rate")),
                     ratio(r.get("ms"), r.get("torch_ms"))])
    return body


def models(store: Store) -> list:
    body = []
    for name, r in store.results("models").items():
        model, _, precision = name.partition(" in ")
        if r.get("ok") is False:
            body.append([model, precision, r["why"], *[""] * 6])
            continue

        def spread(key: str) -> str:
            value = r.get(key)
            if value is None or value[0] == value[2]:
                return cell(value and value[1])
            return f"{cell(value[1])} ({cell(value[0])}–{cell(value[2])})"
        middle = {k: (r.get(k) or [None, None])[1] for k in "ABCD"}
        body.append([model, precision, *map(spread, "ABCD"), ratio(middle["C"], middle["A"]), ratio(middle["D"], middle["A"]),
                     ratio(middle["D"], middle["B"])])
    return body


def text(store: Store) -> str:
    machine = store.results("machine")
    value = lambda name: machine.get(name, {}).get("value") or "not run"
    parts = [TITLE] if machine else [TITLE, NOTHING]
    parts += [f"Device: {value('gpu')}. Program: {value('program')}. Date: {value('date')}.\n"]
    parts += ["## Correctness\n", rows(["check", "result"], correctness(store)), ""]
    parts += ["## Kernels\n", KERNELS, "", rows(["operation", "ours", "rate", "torch", "rate", "ours/torch"], operations(store)), ""]
    parts += ["## Models\n", MODELS, "",
              rows(["model", "precision", "A", "B", "C", "D", "C/A", "D/A", "D/B"], models(store)), ""]
    left = [(n, r["value"]) for kind in ("left out", "stopped") for n, r in store.results(kind).items()
            if not store.finished(n)]
    parts += [f"Step {name}: {why}." for name, why in left]
    count = Counter(line["step"] for line in store.lines())
    if count:
        parts.append(f"\nFrom {sum(count.values())} lines of results.")
    return "\n".join(parts).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    page = text(Store(args.results))
    if args.write:
        args.write.write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
