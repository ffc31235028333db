#!/usr/bin/env python3
"""Writes LightGBM models as ONNX with LightGBM's own path-dependent contributions.

    scripts/trees/make_contributions.py OUT

Writes OUT/contributions_NAME.onnx and OUT/contributions_NAME.npz: `in/X`, 25 rows; `background/X`, all rows that the model was
trained on, from which covers are counted; `contributions`, what `predict(pred_contrib=True)` gives for each feature of class
`unit`; `mean`, its last column; `raw`, the raw score of each row. `nodes_hitrates` of the regression are the numbers of rows of
the training that reach each node; the converter writes 1.0 in the others. The packages are those of
scripts/trees/requirements.txt.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from lightgbm import LGBMClassifier, LGBMRegressor
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

ROWS = 25


def count_rows(node: onnx.NodeProto, x: np.ndarray) -> None:
    """Sets `nodes_hitrates` to the number of rows that reach each node; all branches are BRANCH_LEQ without NaN."""
    lists = {a.name: list(a.ints or a.floats or a.strings) for a in node.attribute if a.name.startswith("nodes_")}
    keys = list(zip(lists["nodes_treeids"], lists["nodes_nodeids"]))
    index = {key: i for i, key in enumerate(keys)}
    counts = np.zeros(len(keys))
    for tree in sorted(set(lists["nodes_treeids"])):
        stack = [(index[tree, 0], np.arange(len(x)))]
        while stack:
            i, rows = stack.pop()
            counts[i] = len(rows)
            if lists["nodes_modes"][i] == b"LEAF":
                continue
            assert lists["nodes_modes"][i] == b"BRANCH_LEQ"
            holds = x[rows, lists["nodes_featureids"][i]] <= np.float32(lists["nodes_values"][i])
            stack.append((index[tree, lists["nodes_truenodeids"][i]], rows[holds]))
            stack.append((index[tree, lists["nodes_falsenodeids"][i]], rows[~holds]))
    attribute = next(a for a in node.attribute if a.name == "nodes_hitrates")
    attribute.floats[:] = counts


def write(out: Path, name: str, model: Any, x: np.ndarray, y: np.ndarray, unit: int, counts: bool = False) -> None:
    model.fit(x, y)
    onx = convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, x.shape[1]]))], target_opset=15, zipmap=False)
    if counts:
        count_rows(next(node for node in onx.graph.node if node.op_type.startswith("TreeEnsemble")), x)
    rows = x[-ROWS:]
    contributions = np.asarray(model.predict(rows, pred_contrib=True), np.float64)
    raw = np.asarray(model.predict(rows, raw_score=True), np.float64).reshape(ROWS, -1)
    width = x.shape[1] + 1
    classes = contributions.shape[1] // width
    column = unit if classes > 1 else 0
    values = contributions.reshape(ROWS, classes, width)[:, column]
    assert np.allclose(values.sum(axis=1), raw[:, column])
    (out / f"contributions_{name}.onnx").write_bytes(onx.SerializeToString())
    np.savez_compressed(out / f"contributions_{name}.npz", unit=np.array([unit]), contributions=values[:, :-1],
                        mean=values[:, -1], raw=raw[:, column], **{"in/X": rows, "background/X": x})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    quiet = dict(n_estimators=12, verbose=-1, random_state=0, deterministic=True, force_row_wise=True)

    # Whole numbers, whose midpoints are exact in float32.
    def whole(load: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = load(return_X_y=True)
        return np.round(100 * x).astype(np.float32), y

    write(out, "2", LGBMClassifier(num_leaves=15, **quiet), *whole(load_breast_cancer), unit=1)
    x, y = whole(load_wine)
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    write(out, "3", LGBMClassifier(num_leaves=7, **quiet), x, y, unit=2)
    write(out, "regression", LGBMRegressor(num_leaves=15, **quiet), *whole(load_diabetes), unit=0, counts=True)


if __name__ == "__main__":
    main()
