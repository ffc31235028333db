#!/usr/bin/env python3
"""Compares what two builds of dlbc write, byte by byte, on the fixtures and the model zoo.

    scripts/bench/same_bits.py BASE NEW             everything: fixtures, then the zoo beside the checkout
    scripts/bench/same_bits.py BASE NEW --quick     a subset, under a minute with development builds
    scripts/bench/same_bits.py BASE NEW --only digits    the cases whose name has these words
    scripts/bench/same_bits.py --list               the names of the cases

A case is one command line. Both programs run it, and exit code, standard output and error, and every file that it writes must
be equal: arrays by entry, JSON by value and order, everything else by byte. Seconds are left out, and what a run
leaves out when it is slow. The digests of BASE's results
are kept in `.cache/same_bits`, by the digest of the program; where NEW's differ, BASE runs the case again, so a stale digest
costs time and hides nothing. Exit code 1 says that something differs.
"""
import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
CACHE = Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")) / "same_bits"
MODES = ("default", "contrastive")
SECONDS = re.compile(r"(?<![\w.])[\d.]+(?:e-?\d+)? (?:ms|s)\b")
PICTURE = ["--image", "scenes/picture.png", "--mean", "0", "--std", "1"]
TEXTS = ["--tokenizer", "sentiment_bert/tokenizer.json", "--text", "a very good film", "--text", "not a good film at all"]

# Name, model, inputs, target: the settings that a run needs.
MODELS = [
    ("digits", "digits_cnn/model.onnx", ["--inputs", "digits_cnn/input.npz"], []),
    ("experts", "experts/model.onnx", ["--inputs", "experts/input.npz"], []),
    ("experts_dense", "experts/dense.onnx", ["--inputs", "experts/input.npz"], []),
    ("detector", "scenes/detector.onnx", PICTURE, ["--box", "best"]),
    ("segmenter", "scenes/segmenter.onnx", PICTURE, ["--task", "segmentation", "--class", "2"]),
    ("bert", "sentiment_bert/model.onnx", TEXTS, []),
    ("lstm", "sentiment_lstm/model.onnx", TEXTS, []),
    ("breast_cancer", "tables/breast_cancer.onnx", ["--csv", "tables/breast_cancer.csv", "--row", "0-3"], []),
    ("breast_cancer_bare", "tables/breast_cancer_bare.onnx", ["--csv", "tables/breast_cancer_bare.csv", "--row", "0-3"], []),
    ("diabetes", "tables/diabetes.onnx", ["--csv", "tables/diabetes.csv", "--row", "0-3"], []),
    ("wine", "tables/wine.onnx", ["--csv", "tables/wine.csv", "--row", "0-3"], []),
    ("tabular", "tabular_mlp/model.onnx", ["--csv", "tabular_mlp/rows.csv", "--row", "0-3"], []),
    ("sklearn", "tabular_mlp/sklearn.onnx", ["--csv", "tabular_mlp/rows.csv", "--row", "0-3"], []),
    ("mlp_bn_softmax", "tiny/mlp_bn_softmax.onnx", ["--inputs", "tiny/mlp_bn_softmax.npz"], []),
    ("mlp_mixed", "tiny/mlp_mixed.onnx", ["--inputs", "tiny/mlp_mixed.npz"], []),
    ("resnet", "tiny/resnet_bottleneck.onnx", ["--inputs", "tiny/resnet_bottleneck.npz"], []),
    ("textcnn", "tiny/textcnn.onnx", ["--inputs", "tiny/textcnn.npz"], []),
]
EXPERTS = ("experts", "experts_dense")
# What the quick subset runs besides the default composite.
QUICK = {"digits": None, "bert": ("attnlrp",), "lstm": ("attnlrp",), "experts": ("attnlrp",), "resnet": ("epsilon-plus",)}
ZOO_SETTINGS = [("dlb", "default"), ("dlb", "contrastive"), ("attnlrp", "default"), ("grad-x-input", "default")]


class Case:
    """A command line; `{out}` in a word is an empty folder for what it writes."""

    def __init__(self, name: str, *words: str, quick: bool = False, cwd: Path = FIXTURES):
        self.name, self.words, self.quick, self.cwd = name, words, quick, cwd


def explained(name: str, model: str, inputs: list, settings: list, device: str, threads: int, **more) -> Case:
    where = ["--device", device, "--threads", str(threads), "--out", "{out}/result.npz", "--json", "-q"]
    return Case(f"{name} {device} {threads}", "run", model, *inputs, *settings, *where, **more)


def fixture_cases(composites: list, repeated: set) -> list:
    cases = []
    for name, model, inputs, target in MODELS:
        for composite in composites:
            ledger = [] if composite in repeated else ["--ledger", "--layers", "--heads", "--keep", "all"]
            experts = ["--experts"] if name in EXPERTS and composite not in repeated else []
            # All others refuse the contrastive mode, whatever the model.
            for mode in MODES if composite.startswith("dlb") or name == "digits" else MODES[:1]:
                common = ["--rules", composite, "--mode", mode]
                chosen = composite == "dlb" or name in QUICK and (QUICK[name] is None or composite in QUICK[name])
                label = f"{name} {composite} {mode}"
                for device, threads in (("cpu", 2), ("cpu", 1), ("reference", 1)):
                    quick = chosen and (device, threads) == ("cpu", 2) or composite == "dlb" and name in ("digits", "experts")
                    settings = [*target, *common, *ledger, *experts]
                    cases.append(explained(label, model, inputs, settings, device, threads, quick=quick))
                words = ["compile", model, *common, "-o", "{out}/artifact.onnx", "--emit", "json", "-q"]
                cases.append(Case(f"{label} compile", *words, quick=chosen and composite in ("dlb", "attnlrp")))
    return cases


def operator_cases() -> list:
    cases = []
    for name in json.loads((FIXTURES / "operators/cases.json").read_text()):
        model, inputs = f"operators/{name}.onnx", ["--inputs", f"operators/{name}.in.npz"]
        for composite in ("dlb", "grad-x-input"):
            settings = ["--target", "all", "--rules", composite, "--ledger", "--keep", "all"]
            for device in ("cpu", "reference"):
                quick = composite == "dlb" and device == "cpu"
                cases.append(explained(f"{name} {composite}", model, inputs, settings, device, 1, quick=quick))
    return cases


def command_cases() -> list:
    """Every command and kind of result once: tables, pictures, other files, several targets, the export."""
    digits = ["digits_cnn/model.onnx", "--inputs", "digits_cnn/input.npz"]
    cpu = ["--device", "cpu", "--threads", "1", "-q"]
    picture = ["digits_cnn/model.onnx", "--image", "digits_cnn/digit.png"]
    table = ["tabular_mlp/model.onnx", "--csv", "tabular_mlp/rows.csv"]
    cases = [
        Case("targets", "run", *digits, "--target", "argmax,top3,0-1", "--ledger", "--out", "{out}/r.npz", "--json", *cpu),
        Case("values", "run", *digits, "--start", "value", "--scaler", "1", "--out", "{out}/r.safetensors", *cpu),
        Case("tables", "run", *digits, "--ledger", "--layers", "--heads", "--out", "{out}/r.json", *cpu),
        Case("heads", "run", "sentiment_bert/model.onnx", *TEXTS, "--ledger", "--layers", "--heads", "--words", *cpu),
        Case("expert tables", "run", "experts/model.onnx", "--inputs", "experts/input.npz", "--experts", "--ledger",
             "--expert-map", "{out}/map.png", *cpu),
        Case("heatmap", "run", *picture, "--heatmap", "{out}/a.png", "--overlay", "{out}/b.png", *cpu),
        Case("heatmap svg", "run", *picture, "--heatmap", "{out}/a.svg", "--colors", "purple-orange", *cpu),
        Case("boxes", "run", "scenes/detector.onnx", *PICTURE, "--box", "top2", "--overlay", "{out}/b.png", "--json", *cpu),
        Case("coordinate", "run", "scenes/detector.onnx", *PICTURE, "--box", "best", "--coordinate", "x", "--json", *cpu),
        Case("pixels", "run", "scenes/segmenter.onnx", *PICTURE, "--output", "object", "--threshold", "0.1", "--json", *cpu),
        Case("rows", "run", *table, "--row", "0-9", "--out", "{out}/r.csv", "--heatmap", "{out}/row.png", *cpu),
        Case("baseline", "run", *table, "--row", "0-3", "--rules", "integrated-gradients", "--baseline", "mean", "--json", *cpu),
        Case("inside", "run", *digits, "--output", "pool1.out", "--target", "all", "--json", "--ledger", *cpu),
        Case("stopped", "compile", "digits_cnn/model.onnx", "--stop-at", "pool1.out", "-o", "{out}/a.onnx", "-q"),
        Case("eval", "eval", *table, "--limit", "4", "--rules", "dlb,lrp-epsilon,integrated-gradients", "--out",
             "{out}/scores.json", "--device", "cpu", "--threads", "1", "-q"),
        Case("diff", "diff", "tables/wine.onnx", "tables/wine_bare.onnx", "--csv", "tables/wine.csv", "--row", "0-3", "--json", *cpu),
        Case("inspect", "inspect", "tiny/resnet_bottleneck.onnx", "-q"),
        Case("inspect json", "inspect", "sentiment_bert/model.onnx", "--json", "-q"),
        Case("dot", "compile", "digits_cnn/model.onnx", "-o", "{out}/a.onnx", "--emit", "dot", "-q"),
        Case("relevance graph", "compile", "sentiment_lstm/model.onnx", "-o", "{out}/a.onnx", "--emit", "relevance", "-q"),
        Case("lowered graph", "compile", "experts/model.onnx", "-o", "{out}/a.onnx", "--emit", "lowered", "-q"),
        Case("rules", "rules"),
        Case("rules json", "rules", "--json"),
        Case("a composite", "rules", "dlb"),
        Case("help", "run", "--help"),
        Case("no model", "run", "nothing.onnx"),
        Case("no input", "run", "digits_cnn/model.onnx", *cpu),
        Case("no composite", "compile", "digits_cnn/model.onnx", "--rules", "nothing"),
    ]
    for name, model, _, target in MODELS:
        unit = ["--target", "0"] if not target else []
        for mode in MODES:
            cases.append(Case(f"{name} export {mode}", "export", model, *unit, "--mode", mode, "-o", "{out}/explained.onnx", "-q"))
    for case in cases:
        case.quick = " export " not in case.name or case.name.startswith(("digits", "lstm"))
    return cases


def zoo_cases(zoo: Path) -> list:
    cases = []
    for model in sorted(zoo.glob("*/*.onnx")):
        stem = model.name.split(".")[0]
        arrays = next((p for p in (model.parent / f"{stem}.in.npz", zoo / "v4.48" / f"{stem}.in.npz") if p.exists()), None)
        if arrays is None:
            continue
        path, label = str(model.relative_to(zoo)), f"zoo/{model.parent.name}/{model.name.removesuffix('.onnx')}"
        inputs = ["--inputs", str(arrays.relative_to(zoo))]
        for composite, mode in ZOO_SETTINGS:
            common = ["--rules", composite, "--mode", mode]
            # An output without units on its last axis is refused in the same words by both.
            settings = ["--target", "0", *common, "--ledger", "--layers", "--heads"]
            cases.append(explained(f"{label} {composite} {mode}", path, inputs, settings, "cpu", 2, cwd=zoo))
            if composite == "dlb":
                words = ["compile", path, *common, "-o", "{out}/artifact.onnx", "-q"]
                cases.append(Case(f"{label} {composite} {mode} compile", *words, cwd=zoo))
    return cases


def without_time(value):
    """The value without seconds and without what a run computes only when it was fast enough: the map of the runner-up."""
    if isinstance(value, dict):
        fixed = {k: without_time(v) for k, v in value.items() if k != "seconds"}
        if "phases" in fixed:
            fixed["phases"] = [phase[:2] for phase in fixed["phases"]]
        if any("runner-up" in c["targets"] for c in fixed.get("target_correlation", [])):
            del fixed["target_correlation"]
        return fixed
    if isinstance(value, list):
        return [without_time(v) for v in value]
    return value


def text_parts(name: str, data: bytes) -> dict:
    """JSON as its tokens, other text line by line, both without seconds."""
    try:
        value = json.loads(data, parse_float=str)
        return {name: json.dumps(without_time(value)).encode()}
    except ValueError:
        return {name: SECONDS.sub("# s", data.decode(errors="replace")).encode()}


def file_parts(path: Path) -> dict:
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {f"{path.name}/{e.filename}": archive.read(e) for e in archive.infolist()}
    if path.suffix in (".json", ".csv", ".svg"):
        return text_parts(path.name, path.read_bytes())
    return {path.name: path.read_bytes()}


def run(program: Path, case: Case) -> dict:
    """What a program writes for a case, by part."""
    with tempfile.TemporaryDirectory(prefix="same_bits_") as folder:
        words = ["dlbc", *(w.replace("{out}", folder) for w in case.words)]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
        done = subprocess.run(words, executable=program, cwd=case.cwd, env=environment, capture_output=True)
        parts = {"exit code": str(done.returncode).encode()}
        for name, data in (("standard output", done.stdout), ("standard error", done.stderr)):
            parts.update(text_parts(name, data.replace(folder.encode(), b"OUT")))
        for path in sorted(Path(folder).iterdir()):
            parts.update(file_parts(path))
        return parts


def digests(parts: dict) -> dict:
    return {name: hashlib.sha256(data).hexdigest()[:32] for name, data in parts.items()}


def paths(a, b, at: str = "") -> list:
    """The places at which two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return [f"{at or '.'}: keys {list(a)} and {list(b)}"]
        return [line for k in a for line in paths(a[k], b[k], f"{at}.{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b)) for line in paths(x, y, f"{at}[{i}]")]
    return [] if a == b else [f"{at}: {str(a)[:200]} and {str(b)[:200]}"]


def describe(name: str, a: bytes, b: bytes) -> list:
    """Says in a few lines how two parts differ."""
    if name.endswith(".npy"):
        try:
            import numpy
        except ImportError:
            return [f"{len(a)} and {len(b)} bytes (numpy would say more)"]
        x, y = (numpy.load(io.BytesIO(data)) for data in (a, b))
        if x.shape != y.shape or x.dtype != y.dtype:
            return [f"{x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}"]
        other = x.reshape(-1).view(numpy.uint8) != y.reshape(-1).view(numpy.uint8)
        other = other.reshape(x.size, -1).any(axis=1)
        gap = numpy.abs(x.astype("f8") - y.astype("f8")).max() if x.dtype.kind in "fiu" else "?"
        return [f"{other.sum()} of {x.size} elements differ, by {gap} at most; magnitudes up to {numpy.abs(x).max()}"]
    if name.endswith(".onnx"):
        return describe_model(a, b)
    try:
        return paths(json.loads(a), json.loads(b))[:8] or ["order of keys"]
    except ValueError:
        pass
    lines = zip((a + b"\n\0").splitlines(), (b + b"\n\0").splitlines())
    return next(([f"line {i}: - {x[:300]!r}", f"line {i}: + {y[:300]!r}"] for i, (x, y) in enumerate(lines, 1) if x != y), ["?"])


def describe_model(a: bytes, b: bytes) -> list:
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    lines = [f"{len(a)} and {len(b)} bytes, the first difference at {at}"]
    try:
        import onnx
    except ImportError:
        return [*lines, "(the Python package onnx would say more: .venv/bin/python)"]
    x, y = onnx.load_from_string(a), onnx.load_from_string(b)
    for kind, pair in {
        "metadata": [{p.key: p for p in m.metadata_props} for m in (x, y)],
        "initializer": [{t.name: t for t in m.graph.initializer} for m in (x, y)],
        "node": [{n.output[0]: n for n in m.graph.node} for m in (x, y)],
        "function": [{f.name: f for f in m.functions} for m in (x, y)],
    }.items():
        other = [k for k in pair[0] if k in pair[1] and pair[0][k] != pair[1][k]]
        gone, new = ([k for k in p if k not in q] for p, q in (pair, pair[::-1]))
        for what, names in (("differs", other), ("only in BASE", gone), ("only in NEW", new)):
            lines += [f"{kind} {what}: {', '.join(names[:6])}"] if names else []
        if other and kind == "metadata":
            values = [p[other[0]].value for p in pair]
            lines += [line[:500] for line in describe("text", *(v.encode() for v in values))]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path, help="the program whose results are right")
    parser.add_argument("new", nargs="?", type=Path, help="the program that is compared with it")
    parser.add_argument("--quick", action="store_true", help="a subset, under a minute with development builds")
    parser.add_argument("--only", default="", metavar="WORDS", help="the cases whose name has all of these words")
    parser.add_argument("--zoo", type=Path, default=ROOT / "../shared/zoo", help="the model zoo [../shared/zoo]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time [one a core]")
    parser.add_argument("--refused", action="store_true", help="print the cases that are refused, with the reason")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    args = parser.parse_args()
    if not args.list and not (args.base and args.new):
        parser.error("BASE and NEW are needed")

    rules = {p.stem: p.read_text() for p in sorted((ROOT / "rules").glob("*.toml"))}
    repeated = {name for name, text in rules.items() if "[repeat]" in text}
    cases = [*command_cases(), *fixture_cases(list(rules), repeated), *operator_cases()]
    cases += zoo_cases(args.zoo) if args.zoo.is_dir() else []
    words = args.only.split()
    cases = [c for c in cases if (c.quick or not args.quick) and all(w in c.name for w in words)]
    if args.list:
        print("\n".join(c.name for c in cases))
        return 0
    base, new = args.base.resolve(strict=True), args.new.resolve(strict=True)
    kept = CACHE / f"{hashlib.sha256(base.read_bytes()).hexdigest()[:16]}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}

    def compare(case: Case) -> tuple:
        key = json.dumps([case.name, *case.words])
        expected = known.get(key)
        before = run(base, case) if expected is None else None
        expected = expected or digests(before)
        after = run(new, case)
        if digests(after) == expected:
            return case, key, expected, {}, after
        before = before or run(base, case)
        differences = {}
        for name in {**before, **after}:
            if name not in before or name not in after:
                differences[name] = [f"only in {'NEW' if name in after else 'BASE'}"]
            elif before[name] != after[name]:
                differences[name] = describe(name, before[name], after[name])
        return case, key, digests(before), differences, after

    failed, refused = 0, 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for case, key, expected, differences, after in pool.map(compare, cases):
            known[key] = expected
            refused += after["exit code"] != b"0"
            if args.refused and after["exit code"] != b"0":
                print(f"{case.name}: {after['standard error'].decode().splitlines()[0]}")
            failed += bool(differences)
            if differences and failed <= 40:
                print(f"\n{case.name}\n  dlbc {' '.join(case.words)}")
                for name, lines in differences.items():
                    print(f"  {name}\n" + "\n".join(f"    {line}" for line in lines), flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(known))
    partial.replace(kept)
    print(f"{len(cases)} cases, {refused} of them refused: {failed or 'none'} differ{'s' if failed == 1 else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
