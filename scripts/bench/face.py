#!/usr/bin/env python3
"""Measures composites on the face that nudenet finds, and writes the table of docs/src/appendix/real-models.md.

    scripts/bench/face.py DLBC [NAME ...]     every composite unless named; ten minutes on two cores

Columns: the share of the positive relevance in the face's box, in the box half as wide and high again, and how the score
of the face falls while patches of 16 pixels are replaced by the picture's mean colour, a twentieth of them at a time, the
most or the least relevant ones first (the mean over the steps, as a share of the score at the start).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / os.environ.get("DLBC_CACHE", ".cache") / "models/nudenet"
PAGE = ROOT / "docs/src/appendix/real-models.md"
PATCH, STEPS, FACE = 16, 20, 1


def relevance(dlbc: str, rules: str, mode: str, folder: Path) -> np.ndarray:
    """Summed over channels: [row, column]."""
    out = folder / "result.npz"
    command = [dlbc, "run", MODEL / "model.onnx", "--image", MODEL / "picture.png", "--mean", "0", "--std", "1", "--box", "best",
               "--class", str(FACE), "--rules", rules, "--mode", mode, "--device", "cpu", "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    result = np.load(out)
    if mode == "contrastive":
        return (result["relevance_pos/images"] - result["relevance_neg/images"])[0].sum(0)
    return result["relevance/images"][0].sum(0)


def within(r: np.ndarray, box: np.ndarray, scale: float) -> float:
    y, x = np.mgrid[: r.shape[0], : r.shape[1]] + 0.5
    inside = (abs(x - box[0]) <= scale * box[2] / 2) & (abs(y - box[1]) <= scale * box[3] / 2)
    return float(r[inside].clip(0).sum() / r.clip(0).sum())


def fall(session: ort.InferenceSession, x: np.ndarray, r: np.ndarray, anchor: int, most: bool) -> float:
    side = x.shape[-1] // PATCH
    sums = r.reshape(side, PATCH, side, PATCH).sum((1, 3)).ravel()
    order = np.argsort(-sums if most else sums, kind="stable")
    changed, scores = x.copy(), []
    for part in np.array_split(order, STEPS):
        for patch in part:
            row, column = divmod(int(patch), side)
            changed[0, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = x.mean((0, 2, 3))[:, None, None]
        scores.append(session.run(None, {"images": changed})[0][0, 4 + FACE, anchor])
    first = session.run(None, {"images": x})[0][0, 4 + FACE, anchor]
    return float(np.mean(scores) / first)


def main() -> None:
    dlbc = sys.argv[1]
    listed = subprocess.run([dlbc, "rules", "--json"], check=True, capture_output=True, text=True).stdout
    names = sys.argv[2:] or [c["name"] for c in json.loads(listed)]
    methods = [(name, "default") for name in names] + [("dlb", "contrastive")]
    session = ort.InferenceSession(MODEL / "model.onnx")
    x = np.load(MODEL / "input.npz")["images"]
    output = np.load(MODEL / "output.npz")["output0"][0]
    anchor = int(output[4 + FACE].argmax())
    box = output[:4, anchor]
    with tempfile.TemporaryDirectory() as folder:
        maps = [(f"`{n}`" if m == "default" else f"`{n}`, {m}", relevance(dlbc, n, m, Path(folder))) for n, m in methods]
    generator = np.random.default_rng(0)
    maps += [("*random*", generator.random(x.shape[2:])), ("*all-equal*", np.ones(x.shape[2:]))]
    rows = []
    for name, r in maps:
        gone, kept = fall(session, x, r, anchor, True), fall(session, x, r, anchor, False)
        rows.append(f"| {name} | {within(r, box, 1):.2f} | {within(r, box, 1.5):.2f} | {gone:.2f} | {kept:.2f} | {kept - gone:.2f} |")
        print(rows[-1], flush=True)
    head = ["| composite | in the box | in the box grown by half | most relevant first ↓ | least relevant first ↑ | gap ↑ |",
            "| --- | ---: | ---: | ---: | ---: | ---: |"]
    text = PAGE.read_text()
    before, rest = text.split("<!-- face -->")
    _, after = rest.split("<!-- /face -->")
    PAGE.write_text(before + "\n".join(["<!-- face -->\n", *head, *rows, "\n<!-- /face -->"]) + after)


if __name__ == "__main__":
    main()
