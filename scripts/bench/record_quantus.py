"""Records what Quantus says of relevance maps of `fixtures/digits_cnn`, for tests/cli/quantus.rs.

    .cache/venv-quantus/bin/python scripts/bench/record_quantus.py target/debug/dlbc fixtures/quantus

(the environment: `scripts/python_env.sh --quantus`). Quantus gets the maps that dlbc computed, and the same random
numbers: those of SplitMix64 as `dlbc eval` draws them. Samples are given to Quantus one at a time, because it normalises
a batch by its largest value.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import quantus
from quantus.helpers import utils
from quantus.helpers.model.model_interface import ModelInterface

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "fixtures/digits_cnn/model.onnx"
RULES = ["dlb", "lrp-epsilon", "gradient"]
SEED, STEP, PATCH, RUNS, SUBSET, DRAWS, RADIUS = 42, 2, 2, 50, 16, 5, 0.2
BITS = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
SUBSETS, NOISE, OTHER = 1 << 32, 2 << 32, 3 << 32


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


class Random:
    def __init__(self, seed, stream):
        self.state = (mix((seed + GAMMA) & BITS) + mix((stream + 2 * GAMMA) & BITS)) & BITS

    def bits(self):
        self.state = (self.state + GAMMA) & BITS
        return mix(self.state)

    def unit(self):
        return (self.bits() >> 11) / (1 << 53)

    def below(self, n):
        return (self.bits() * n) >> 64

    def choose(self, n, count):
        all_ = list(range(n))
        for i in range(count):
            j = i + self.below(n - i)
            all_[i], all_[j] = all_[j], all_[i]
        return all_[:count]


class Onnx(ModelInterface):
    """ONNX Runtime behind Quantus' interface of models."""

    def __init__(self, softmax):
        super().__init__(model=None, channel_first=True, softmax=softmax)
        self.session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])

    def predict(self, x, **_):
        logits = self.session.run(["logits"], {"input": np.asarray(x, np.float32)})[0].astype(np.float64)
        if not self.softmax:
            return logits
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def shape_input(self, x, shape, channel_first=None, batched=False):
        return np.asarray(x).reshape(shape)

    def get_model(self):
        return self


# The rest of the interface is for training and hidden layers, which no metric here asks for.
Onnx.__abstractmethods__ = frozenset()


def explain(dlbc, folder, x, rules, target, start=None):
    """Relevance maps of dlbc, float64 of x's shape."""
    start = start or ("one" if rules == "gradient" else "value")
    np.savez(folder / "in.npz", input=x.astype(np.float32))
    command = [dlbc, "run", MODEL, "--inputs", folder / "in.npz", "--rules", rules, "--target", str(target)]
    command += ["--start", start]
    subprocess.run([*map(str, command), "--out", folder / "out.npz", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return np.load(folder / "out.npz")["relevance/input"].astype(np.float64)


def score(dlbc, folder, rules, number, x, y, mask, other):
    """Every metric of one sample, a batch of one."""
    a = explain(dlbc, folder, x, rules, y)
    quiet = dict(disable_warnings=True, display_progressbar=False)
    target = np.array([y])

    def call(metric, a=a, softmax=None, **more):
        utils.get_wrapped_model = lambda softmax, **_: Onnx(softmax)
        found = metric(model=object(), x_batch=x, y_batch=target, a_batch=a.copy(), softmax=softmax,
                       channel_first=True, **more)
        return np.asarray(found, np.float64).reshape(-1).tolist()

    flip = lambda: quantus.PixelFlipping(features_in_step=STEP, **quiet)
    result = {
        "morf": call(flip(), softmax=True),
        "lerf": call(flip(), a=-a, softmax=True),
        "region-perturbation": call(quantus.RegionPerturbation(patch_size=PATCH, **quiet), softmax=True),
        "sparseness": call(quantus.Sparseness(**quiet)),
        "complexity": call(quantus.Complexity(**quiet)),
        "rank-accuracy": call(quantus.RelevanceRankAccuracy(**quiet), s_batch=mask),
        "mass-accuracy": call(quantus.RelevanceMassAccuracy(**quiet), s_batch=mask),
        "pointing-game": call(quantus.PointingGame(**quiet), s_batch=mask),
    }
    random, choice = Random(SEED, SUBSETS + number), np.random.choice
    np.random.choice = lambda n, size, replace: np.array(random.choose(n, size))
    metric = quantus.FaithfulnessCorrelation(nr_runs=RUNS, subset_size=SUBSET, return_aggregate=False, **quiet)
    result["faithfulness-correlation"] = call(metric, softmax=False)
    np.random.choice = choice

    random = Random(SEED, NOISE + number)
    noisy = [np.array([v + RADIUS * (2 * random.unit() - 1) for v in x.reshape(-1).tolist()]) for _ in range(DRAWS)]
    maps = iter(explain(dlbc, folder, np.stack(noisy).reshape(DRAWS, *x.shape[1:]), rules, y))
    inputs = iter(noisy)
    metric = quantus.MaxSensitivity(nr_samples=DRAWS, perturb_func=lambda arr, **_: next(inputs)[None], **quiet)
    result["max-sensitivity"] = call(metric, explain_func=lambda **_: next(maps)[None])

    here, there = (explain(dlbc, folder, x, rules, unit, "one") for unit in (y, other))
    metric = quantus.RandomLogit(num_classes=10, **quiet)
    result["random-logit"] = call(metric, a=here, explain_func=lambda **_: there)
    return result


def main():
    dlbc, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    x = np.load(ROOT / "fixtures/digits_cnn/input.npz")["input"]
    mask = x > 0.6
    logits = Onnx(False).predict(x)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for rules in RULES:
            for i in range(len(x)):
                y = int(logits[i].argmax())
                chosen = Random(SEED, OTHER + i).below(logits.shape[1] - 1)
                other = chosen if chosen < y else chosen + 1
                found = score(dlbc, Path(folder), rules, i, x[i : i + 1], y, mask[i : i + 1], other)
                for metric, values in found.items():
                    if not all(math.isfinite(v) for v in values):
                        raise SystemExit(f"{rules}, sample {i}: {metric} is {values}")
                    results.setdefault(rules, {}).setdefault(metric, []).append(values)
    settings = {"step": STEP, "patch": PATCH, "runs": RUNS, "subset": SUBSET, "draws": DRAWS, "radius": RADIUS, "seed": SEED}
    np.savez(out / "mask.npz", mask=mask.astype(np.uint8))
    text = json.dumps({"quantus": quantus.__version__, "settings": settings, "results": results})
    (out / "digits_cnn.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
