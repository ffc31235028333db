#!/usr/bin/env python3
"""Trains small scikit-learn networks on tables and writes fixtures/tables.

    scripts/make_tables.py [--out DIR]

Three pipelines of StandardScaler and a network with scikit-learn's default settings, each
as skl2onnx writes it (NAME.onnx) and as the network alone on standardised rows
(NAME_bare.onnx), with held-out rows and their Shapley values. See fixtures/tables/README.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import csv
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from skl2onnx import to_onnx
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

ROWS = 30
BACKGROUND = 100
PERMUTATIONS = {"mean": 4000, "sample": 100}

Scores = Callable[[np.ndarray], np.ndarray]


def raw_scores(mlp: MLPClassifier | MLPRegressor) -> Scores:
    """The network before its last sigmoid or softmax: [rows, units]; z as (-z, z) of two classes."""

    def scores(x: np.ndarray) -> np.ndarray:
        for i, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
            x = (np.maximum(x, 0) if i else x) @ weight + bias
        return np.hstack([-x, x]) if isinstance(mlp, MLPClassifier) and x.shape[1] == 1 else x

    return scores


def shapley(scores: Scores, row: np.ndarray, background: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Shapley values [units, features] of the mean score over the background, by `count` permutations and their reverses."""
    features = len(row)
    total = 0.0
    for _ in range(count):
        order = rng.permutation(features)
        for path in (order, order[::-1]):
            points = np.repeat(background[:, None, :], features + 1, axis=1)
            for step, feature in enumerate(path):
                points[:, step + 1 :, feature] = row[feature]
            means = scores(points.reshape(-1, features)).reshape(len(background), features + 1, -1).mean(axis=0)
            steps = np.empty((features, means.shape[1]))
            steps[path] = np.diff(means, axis=0)
            total = total + steps
    return (total / (2 * count)).T


def write_csv(path: Path, names: list[str], rows: np.ndarray) -> None:
    with open(path, "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(names)
        out.writerows([str(v) for v in row] for row in rows)


def save(estimator: BaseEstimator, sample: np.ndarray, path: Path) -> None:
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    model = to_onnx(estimator, sample, target_opset={"": 17, "ai.onnx.ml": 1}, options=options)
    model.graph.name = path.stem  # else a random name
    onnx.save(model, path)


def make(name: str, data: Bunch, hidden: tuple[int, ...], folder: Path) -> None:
    regression = not hasattr(data, "target_names")
    x, y = data.data.astype("f4"), data.target
    if regression:
        y = (y - y.mean()) / y.std()
    train_x, test_x, train_y, _ = split = train_test_split(x, y, random_state=0, stratify=None if regression else y)
    mlp = (MLPRegressor if regression else MLPClassifier)(hidden_layer_sizes=hidden, max_iter=300, random_state=0)
    pipeline = make_pipeline(StandardScaler(), mlp).fit(train_x, train_y)
    scaler = pipeline[0]
    print(f"| {name} | {len(train_x)} | {pipeline.score(test_x, split[3]):.3f} |")

    # As the ONNX operator computes it, in float32.
    standardise = lambda x: (x - scaler.mean_.astype("f4")) * (1 / scaler.scale_).astype("f4")
    rows = test_x[:ROWS]
    standard = standardise(rows)
    save(pipeline, rows[:1], folder / f"{name}.onnx")
    save(mlp, rows[:1], folder / f"{name}_bare.onnx")
    names = [str(n) for n in data.feature_names]
    write_csv(folder / f"{name}.csv", names, rows)
    write_csv(folder / f"{name}_bare.csv", names, standard)
    if not regression:
        (folder / f"{name}_classes.txt").write_text("".join(f"{n}\n" for n in data.target_names))

    rng = np.random.default_rng(0)
    sample = train_x[rng.choice(len(train_x), BACKGROUND, replace=False)]
    scores = raw_scores(mlp)
    values = {}
    for kind, background in [("mean", scaler.mean_[None]), ("sample", sample)]:
        background = (background - scaler.mean_) / scaler.scale_
        per_row = [shapley(scores, row, background, PERMUTATIONS[kind], rng) for row in standard.astype("f8")]
        values[f"shapley_{kind}"] = np.stack(per_row).astype("f4")
    np.savez_compressed(folder / f"{name}.npz", X=rows, standardised=standard, background=sample,
                        mean=scaler.mean_.astype("f4"), scores=scores(standard).astype("f4"), **values)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "fixtures" / "tables"
    ap.add_argument("--out", type=Path, default=default, help="folder to write (default: fixtures/tables)")
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", ConvergenceWarning)
    make("breast_cancer", load_breast_cancer(), (32, 16), args.out)
    make("wine", load_wine(), (16,), args.out)
    make("diabetes", load_diabetes(scaled=False), (16,), args.out)


if __name__ == "__main__":
    main()
