#!/usr/bin/env python3
"""Draws docs/src/pictures/quantisation.png: relevance of a network in float and in int8, for docs/src/how-to/quantisation.md.

    scripts/bench/quantisation_picture.py DLBC

Rows are digits, columns the picture and the relevance of its class in float, in int8 by calibrated ranges and in int8 by ranges of
pictures that are too dark (fixtures/digits_cnn/make_int8.py). Red speaks for the class, blue against it; the columns of a row share
one scale. Below a map stands its rank correlation with the float one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "fixtures/digits_cnn"
MODELS = {"model": "float", "int8": "int8", "int8_dim": "int8, dark calibration"}
SAMPLES = (0, 2, 3, 7)
CELL, GAP, TOP = 168, 28, 40
BLUE, WHITE, RED = np.array([5, 48, 160]), np.array([255, 255, 255]), np.array([178, 10, 28])


def relevance(dlbc: str, model: str, folder: Path) -> np.ndarray:
    """Relevance of the recorded digits, each for its class: [digit, row, column]."""
    out = folder / f"{model}.npz"
    command = [dlbc, "run", FOLDER / f"{model}.onnx", "--inputs", FOLDER / "input.npz", "--rules", "epsilon-plus", "--out", out]
    subprocess.run([*command, "--quiet"], check=True, capture_output=True)
    return np.load(out)["relevance/input"][:, 0]


def drawn(values: np.ndarray, largest: float) -> Image.Image:
    """A map of values from blue over white to red."""
    share = np.clip(values / largest, -1, 1)[..., None]
    colours = np.where(share > 0, WHITE + share * (RED - WHITE), WHITE - share * (BLUE - WHITE))
    return Image.fromarray(colours.astype("u1")).resize((CELL, CELL), Image.Resampling.NEAREST)


def main() -> None:
    digits = np.load(FOLDER / "input.npz")["input"][:, 0]
    with tempfile.TemporaryDirectory() as folder:
        maps = {title: relevance(sys.argv[1], model, Path(folder)) for model, title in MODELS.items()}
    width, height = (len(maps) + 1) * (CELL + GAP) + GAP, TOP + len(SAMPLES) * (CELL + GAP)
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for column, title in enumerate(["input", *maps]):
        draw.text((GAP + column * (CELL + GAP) + CELL // 2, TOP // 2), title, "black", font, "mm")
    for row, sample in enumerate(SAMPLES):
        y = TOP + row * (CELL + GAP)
        grey = Image.fromarray(np.rint(255 * (1 - digits[sample])).astype("u1"))
        cells = [grey.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST)]
        largest = max(np.abs(m[sample]).max() for m in maps.values())
        cells += [drawn(m[sample], largest) for m in maps.values()]
        for column, cell in enumerate(cells):
            x = GAP + column * (CELL + GAP)
            image.paste(cell, (x, y))
            draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), outline="#888888")
        for column, values in list(enumerate(maps.values()))[1:]:
            rank = spearmanr(maps["float"][sample].ravel(), values[sample].ravel()).statistic
            draw.text((GAP + (column + 1) * (CELL + GAP) + CELL // 2, y + CELL + 12), f"rank {rank:.3f}", "black", font, "mm")
    image.save(ROOT / "docs/src/pictures/quantisation.png", optimize=True)


if __name__ == "__main__":
    main()
