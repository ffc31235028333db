#!/usr/bin/env python3
"""Writes 28 pipelines of scikit-learn, LightGBM and XGBoost as ONNX, and what they must give.

    scripts/trees/make_pipelines.py OUT

Writes OUT/NAME.onnx, OUT/NAME.npz with the rows (`in/INPUT`), ONNX Runtime's float outputs (`out/OUTPUT`) and, for a model
whose score is a sum of trees, a background (`background/INPUT`), the values of shap's TreeExplainer against it (`shap`, of the
class or target `unit`) and the raw score of each row (`raw`), and OUT/pipelines.json, the list of names. The packages are those
of scripts/trees/requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import shap
from lightgbm import LGBMClassifier, LGBMRegressor
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import (calculate_linear_classifier_output_shapes,
                                              calculate_linear_regressor_output_shapes)
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (ExtraTreesClassifier, ExtraTreesRegressor, GradientBoostingClassifier,
                              GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

OPSET = {"": 18, "ai.onnx.ml": 3}
ROWS = 25
BACKGROUND = 40

update_registered_converter(LGBMClassifier, "LightGbmLGBMClassifier", calculate_linear_classifier_output_shapes,
                            convert_lightgbm, options={"nocl": [True, False], "zipmap": [True, False, "columns"]})
update_registered_converter(LGBMRegressor, "LightGbmLGBMRegressor", calculate_linear_regressor_output_shapes,
                            convert_lightgbm, options={"split": None})
update_registered_converter(XGBClassifier, "XGBoostXGBClassifier", calculate_linear_classifier_output_shapes,
                            convert_xgboost, options={"nocl": [True, False], "zipmap": [True, False, "columns"]})
update_registered_converter(XGBRegressor, "XGBoostXGBRegressor", calculate_linear_regressor_output_shapes, convert_xgboost)


class Pipelines:
    """Collects pipelines; writes each when it is added."""

    def __init__(self, out: Path) -> None:
        self.out, self.names = out, []  # type: Path, list[str]
        out.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, model: Any, feeds: dict[str, np.ndarray], types: list | None = None,
            trees: dict[str, Any] | None = None) -> None:
        first = next(iter(feeds.values()))
        onx = to_onnx(model, None if types else first[:1], initial_types=types, target_opset=OPSET)
        rows = {n: a[-ROWS:] for n, a in feeds.items()}
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        run = {n: a.astype(object) if a.dtype.kind == "U" else a for n, a in rows.items()}
        results = dict(zip([o.name for o in session.get_outputs()], session.run(None, run)))
        arrays = {f"in/{n}": a for n, a in rows.items() if a.dtype.kind != "U"}
        words = {n: a.ravel().tolist() for n, a in rows.items() if a.dtype.kind == "U"}
        for n, value in results.items():
            if isinstance(value, list):
                value = np.array([list(d.values()) for d in value])
            if value.dtype.kind == "f":
                arrays[f"out/{n}"] = value
        if trees:
            arrays.update(trees)
            arrays.update({f"background/{n}": a[:BACKGROUND] for n, a in feeds.items()})
        np.savez(self.out / f"{name}.npz", **arrays)
        (self.out / f"{name}.words.json").write_text(json.dumps(words))
        (self.out / f"{name}.onnx").write_bytes(onx.SerializeToString())
        self.names.append(name)

    def trees(self, name: str, pipeline: Any, x: np.ndarray, y: np.ndarray, unit: int = 0) -> None:
        """A pipeline that ends in trees; what stands before them scales columns, so that values are those of the inputs."""
        pipeline.fit(x, y)
        steps = pipeline.steps if hasattr(pipeline, "steps") else [("", pipeline)]
        before = x
        for _, step in steps[:-1]:
            before = step.transform(before)
        before = before.astype(np.float32)
        explainer = shap.TreeExplainer(steps[-1][1], data=before[:BACKGROUND], feature_perturbation="interventional")
        values = np.asarray(explainer.shap_values(before[-ROWS:], check_additivity=False), np.float64)
        expected = np.atleast_1d(explainer.expected_value)
        if values.ndim == 3:
            values, expected = values[:, :, unit], expected[unit:unit + 1]
        raw = values.sum(axis=1) + expected[0]
        self.add(name, pipeline, {"X": x}, trees={"shap": values, "raw": raw, "unit": np.array([unit])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    p = Pipelines(parser.parse_args().out)
    warnings.simplefilter("ignore")
    cancer, iris, wine, diabetes = (f(return_X_y=True) for f in (load_breast_cancer, load_iris, load_wine, load_diabetes))
    rng = np.random.default_rng(0)

    def data(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng(1).permutation(len(pair[1]))
        return pair[0][order].astype(np.float32), pair[1][order]

    cancer, iris, wine, diabetes = map(data, (cancer, iris, wine, diabetes))
    # Whole numbers, whose midpoints are exact in float32: shap rounds thresholds to nearest, which moves ties.
    diabetes = (np.round(100 * diabetes[0]), diabetes[1])
    small = dict(max_depth=4, random_state=0)
    p.trees("tree", DecisionTreeClassifier(**small), *iris, unit=1)
    p.trees("forest_2", RandomForestClassifier(n_estimators=12, **small), *cancer, unit=1)
    p.trees("forest_3", make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=10, **small)), *wine, unit=2)
    p.trees("forest_regression", RandomForestRegressor(n_estimators=10, **small), *diabetes)
    p.trees("extra_trees", make_pipeline(MinMaxScaler(), ExtraTreesRegressor(n_estimators=10, **small)), *diabetes)
    p.trees("boosting_2", GradientBoostingClassifier(n_estimators=15, max_depth=3, random_state=0), *cancer, unit=1)
    p.trees("boosting_regression", make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=15, random_state=0)),
            *diabetes)
    p.trees("extra_trees_3", ExtraTreesClassifier(n_estimators=10, **small), *wine, unit=0)
    quiet = dict(n_estimators=12, verbose=-1, random_state=0)
    p.trees("lightgbm_2", LGBMClassifier(num_leaves=7, **quiet), *cancer, unit=1)
    p.trees("lightgbm_3", LGBMClassifier(num_leaves=5, **quiet), *wine, unit=1)
    p.trees("lightgbm_regression", make_pipeline(StandardScaler(), LGBMRegressor(num_leaves=7, **quiet)), *diabetes)
    p.trees("xgboost_2", XGBClassifier(n_estimators=12, max_depth=3), *cancer, unit=1)
    p.trees("xgboost_3", XGBClassifier(n_estimators=10, max_depth=3), *iris, unit=2)
    p.trees("xgboost_regression", XGBRegressor(n_estimators=12, max_depth=3), *diabetes)
    x, y = wine
    gaps = np.round(100 * x)
    gaps[rng.random(x.shape) < 0.1] = np.nan
    p.trees("imputed_forest", make_pipeline(SimpleImputer(strategy="most_frequent"),
                                           RandomForestClassifier(n_estimators=8, **small)), gaps, y, unit=0)

    def plain(name: str, model: Any, pair: tuple[np.ndarray, np.ndarray]) -> None:
        p.add(name, model.fit(*pair), {"X": pair[0]})

    plain("logistic_2", make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), cancer)
    plain("logistic_3", make_pipeline(Normalizer(), LogisticRegression(max_iter=500)), wine)
    plain("logistic_binary_features", make_pipeline(Binarizer(threshold=3.0), LogisticRegression()), iris)
    plain("boosting_3", GradientBoostingClassifier(n_estimators=8, random_state=0), wine)
    plain("linear", LinearRegression(), diabetes)
    plain("ridge", make_pipeline(StandardScaler(), Ridge()), diabetes)
    plain("machine", make_pipeline(StandardScaler(), SVC(kernel="rbf")), iris)
    plain("network", make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(8,), max_iter=200, random_state=0)), wine)
    plain("network_regression", make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0)), diabetes)
    plain("bayes", GaussianNB(), iris)
    plain("process", GaussianProcessRegressor(), (diabetes[0][:60], diabetes[1][:60]))
    plain("mixed_forest", make_pipeline(PCA(3), RandomForestClassifier(n_estimators=8, **small)), iris)
    colors = rng.choice(["red", "green", "blue"], size=(len(wine[1]), 1))
    table = {"color": colors, "age": wine[0][:, :1], "weight": wine[0][:, 1:2]}

    import pandas as pd
    frame = pd.DataFrame({n: a[:, 0] for n, a in table.items()})
    encode = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["color"]),
                                ("numbers", StandardScaler(), ["age", "weight"])])
    model = make_pipeline(encode, LogisticRegression(max_iter=300)).fit(frame, wine[1])
    p.add("text_column", model, table,
          [("color", StringTensorType([None, 1])), ("age", FloatTensorType([None, 1])), ("weight", FloatTensorType([None, 1]))])
    (p.out / "pipelines.json").write_text(json.dumps(p.names, indent=0) + "\n")
    print(len(p.names), "pipelines")


if __name__ == "__main__":
    main()
