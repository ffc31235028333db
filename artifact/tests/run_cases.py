#!/usr/bin/env python3
"""Checks ONNX models and runs them in ONNX Runtime.

    run_cases.py FOLDER

FOLDER/cases.json lists cases {"model", "inputs": [{"name", "dtype", "shape", "file"}]}. Each is checked by onnx and run
with default optimisation; FOLDER/results.json then lists {"outputs": [{"name", "dtype", "shape", "file"}]} or {"error"},
a case each.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

ort.set_default_logger_severity(3)


def run(folder: Path, number: int, case: dict, sessions: dict) -> dict:
    path = str(folder / case["model"])
    if path not in sessions:
        onnx.checker.check_model(onnx.load(path), full_check=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        sessions[path] = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session = sessions[path]
    feeds = {
        i["name"]: np.fromfile(folder / i["file"], i["dtype"]).reshape(i["shape"]) for i in case["inputs"]
    }
    names = [o.name for o in session.get_outputs()]
    outputs = []
    for k, (name, value) in enumerate(zip(names, session.run(names, feeds))):
        file = f"out_{number}_{k}.bin"
        np.ascontiguousarray(value).tofile(folder / file)
        outputs.append({"name": name, "dtype": str(value.dtype), "shape": list(value.shape), "file": file})
    return {"outputs": outputs}


def main() -> None:
    folder = Path(sys.argv[1])
    sessions: dict = {}
    results = []
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())):
        try:
            results.append(run(folder, number, case, sessions))
        except Exception as e:  # onnx and ONNX Runtime raise many kinds
            results.append({"error": f"{type(e).__name__}: {e}"})
    (folder / "results.json").write_text(json.dumps(results))


main()
