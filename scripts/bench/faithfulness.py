#!/usr/bin/env python3
"""Measures every composite with `dlbc eval` and writes the tables and plots of docs/src/appendix/faithfulness.md.

    scripts/bench/faithfulness.sh                   builds dlbc, fetches the model, measures all (half an hour on two cores)
    scripts/bench/faithfulness.py DLBC [NAME ...]   only some of digits, pictures, texts, columns, standardised

The text of the page is written by hand; what stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced.
"""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import onnx
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / os.environ.get("DLBC_CACHE", ".cache")
PAGE = ROOT / "docs/src/appendix/faithfulness.md"
REVIEWS = """
A waste of two hours.
One of the best films of the year, funny and moving.
The plot makes no sense and the acting is terrible.
A warm, clever and beautiful story about growing up.
I was bored from the first scene to the last.
The performances are excellent and the script is sharp.
Too long, too loud and not very funny.
It is a touching portrait of a family, told with great skill.
The jokes fall flat and the characters are dull.
A thrilling ride that never lets you go.
Despite a good cast, the film is a mess.
It is not the disaster that everyone expected, but a charming surprise.
There is nothing fresh or original in this sequel.
An intelligent and powerful drama with a wonderful ending.
The worst movie that I have seen this year.
Slow at times, but always honest and often brilliant.
""".strip()


def composites(dlbc):
    listed = subprocess.run([dlbc, "rules", "--json"], check=True, capture_output=True, text=True).stdout
    return [c["name"] for c in json.loads(listed)]


def digits(folder):
    """Held-out digits, as fixtures/digits_cnn/make.py splits them; the evidence is where the ink is."""
    x = (load_digits().images[1500:1564] / 16).astype(np.float32)[:, None]
    np.savez(folder / "digits.npz", input=x)
    np.savez(folder / "ink.npz", mask=(x > 0.5).astype(np.uint8))
    return ["fixtures/digits_cnn/model.onnx", "--inputs", folder / "digits.npz", "--limit", 64,
            "--mask", folder / "ink.npz"]


def pictures(folder):
    return [CACHE / "models/efficientnet_lite0/model.onnx", "--image", CACHE / "pictures", "--step", 6272, "--runs", 16]


def texts(folder):
    (folder / "reviews.txt").write_text(REVIEWS)
    return ["fixtures/sentiment_bert/model.onnx", "--text", f"@{folder / 'reviews.txt'}"]


def held_out():
    """Rows of tumours that fixtures/tabular_mlp/make.py did not train with, and the names of their columns."""
    data = load_breast_cancer()
    x = data.data.astype(np.float32)
    return train_test_split(x, data.target, random_state=0, stratify=data.target)[1][:64], data.feature_names


def columns(folder):
    """Columns as they are measured."""
    x, names = held_out()
    np.savetxt(folder / "rows.csv", x, fmt="%.9g", delimiter=",", header=",".join(names), comments="")
    return ["fixtures/tabular_mlp/model.onnx", "--csv", folder / "rows.csv", "--limit", 64]


def standardised(folder):
    """The same, explained where the model has standardised them: 0 is the mean of the training data."""
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in
               onnx.load(ROOT / "fixtures/tabular_mlp/model.onnx").graph.initializer}
    x = held_out()[0]
    h0 = (x - weights["scaler.mean"]) / weights["scaler.scale"]
    np.savez(folder / "rows.npz", X=x, h0=h0.astype(np.float32))
    return ["fixtures/tabular_mlp/model.onnx", "--stop-at", "h0", "--inputs", folder / "rows.npz", "--limit", 64,
            "--baseline", 0]


# Of photographs without noise and randomised weights, which take many explanations of each.
METRICS = {
    "pictures": "morf,lerf,gap,insertion,deletion,faithfulness-correlation,sparseness,complexity,random-logit,conservation",
}
CONTRASTIVE = ["dlb", "dlb-v1"]
# A plot of all would show nothing.
PLOTTED = ["dlb", "lrp-epsilon", "lrp-gamma", "epsilon-plus", "attnlrp", "integrated-gradients"]
SUBJECTS = {
    "digits": digits, "pictures": pictures, "texts": texts, "columns": columns, "standardised": standardised,
}


def measure(dlbc, name, rules):
    """One result with all composites, the contrastive ones before the controls."""
    plot = ROOT / f"docs/src/pictures/faithfulness_{name}.png"
    with tempfile.TemporaryDirectory() as folder:
        samples = SUBJECTS[name](Path(folder))

        def run(rules, *more):
            words = [dlbc, "eval", *samples, "--rules", ",".join(rules), "--json", *more]
            done = subprocess.run([str(w) for w in words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            return json.loads(done.stdout)

        only = ["--metrics", METRICS[name]] if name in METRICS else []
        found = run(rules, *only)
        own = [r for r in found["results"] if not r["control"]]
        contrasts = [r for r in run(CONTRASTIVE, "--mode", "contrastive", *only)["results"] if not r["control"]]
        for result in contrasts:
            result["rules"] += ", contrastive"
        found["results"] = own + contrasts + [r for r in found["results"] if r["control"]]
        run(PLOTTED, "--metrics", "gap,insertion", "--plot", plot)
    return found


def cell(value, best):
    if value is None:
        return "-"
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return f"**{text}**" if best is not None and f"{best:.2f}" == f"{value:.2f}" else text


def markdown(found):
    metrics = [m for m in ORDER if m in found["metrics"]]
    results = found["results"]
    means = [{m: (r["scores"].get(m) or {}).get("mean") for m in metrics} for r in results]
    best = {}
    for metric in metrics:
        # The mass accuracy of signed maps is unbounded, so the largest value is not the best.
        better = "neither" if metric == "mass-accuracy" else found["metrics"][metric]["better"]
        own = [m[metric] for m, r in zip(means, results) if not r["control"] and m[metric] is not None]
        best[metric] = {"higher": max, "lower": min}.get(better, lambda _: None)(own)
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}
    titles = [f"{ORDER[m]}{arrow[found['metrics'][m]['better']]}" for m in metrics]
    lines = ["| composite | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(metrics)]
    for result, mean in zip(results, means):
        shown = f"*{result['rules']}*" if result["control"] else f"`{result['rules']}`"
        own = {m: None for m in metrics} if result["control"] else best
        lines.append(f"| {shown} | " + " | ".join(cell(mean[m], own[m]) for m in metrics) + " |")
    settings = textwrap.fill("; ".join(f"{k}: {v}" for k, v in found["settings"].items()), 120)
    return "\n".join(lines) + f"\n\n{len(found['samples'])} samples.\n{settings}.\n"


ORDER = {
    "gap": "gap", "morf": "MoRF", "lerf": "LeRF", "region-perturbation": "region", "insertion": "insertion",
    "deletion": "deletion", "faithfulness-correlation": "faith. corr.", "max-sensitivity": "max. sens.",
    "sparseness": "Gini", "complexity": "entropy", "rank-accuracy": "rank acc.", "mass-accuracy": "mass acc.",
    "pointing-game": "pointing", "random-logit": "rand. logit", "randomisation": "rand. weights",
    "conservation": "conserved",
}


def main():
    dlbc = str(Path(sys.argv[1]).resolve())
    rules = composites(dlbc)
    for name in sys.argv[2:] or SUBJECTS:
        block = markdown(measure(dlbc, name, rules))
        page = PAGE.read_text()
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = page.split(start)
        PAGE.write_text(before + start + "\n" + block + "\n" + end + rest.split(end)[1])
        print(f"{name}: {len(rules)} composites", file=sys.stderr)


if __name__ == "__main__":
    main()
