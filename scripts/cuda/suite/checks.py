"""Comparison of results with expectations, element by element and by norms."""
from dataclasses import asdict, dataclass

import numpy as np

# Largest admitted norm of all errors, as a share of the norm of all bounds: a tensor whose every element is close to its
# bound is wrong, too.
NORM_SHARE = 0.5
# Largest admitted root mean square of the errors of results in 16 bits, each as a share of its bound: a last rounding is
# distributed evenly up to its bound, which makes 0.58. The norm of all errors may be that of one large element.
NARROW_SHARE = 0.75
# From this number of elements on, norms say something.
MANY = 64
# Models, by precision: norm of the difference over the norm of the reference, and the largest difference over the largest
# magnitude.
MODEL_BOUNDS = {"3xtf32": (1e-5, 1e-4), "simt": (1e-5, 1e-4), "tf32": (2e-3, 1e-2), "bf16": (2e-2, 8e-2)}


@dataclass
class Verdict:
    ok: bool
    why: str = ""
    wrong: int = 0
    # Largest error over its bound, and the norm of the errors over the norm of the expected values.
    worst: float = 0.0
    norm: float = 0.0

    def fields(self) -> dict:
        return {k: v for k, v in asdict(self).items() if k != "ok"}


def elements(actual: np.ndarray, expected: np.ndarray, bound: np.ndarray, narrow: bool = False) -> Verdict:
    """Compares floats with one bound each. NaN expects NaN; an infinite bound admits anything. `narrow` results have 16 bits."""
    if actual.shape != expected.shape:
        return Verdict(False, f"{actual.shape} elements, expected {expected.shape}", actual.size)
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected)) | np.isinf(bound)
        error = np.where(same, 0.0, np.abs(actual - expected))
        wrong = ~same & ~(error <= bound)
    finite = np.isfinite(error) & np.isfinite(expected) & ~np.isinf(bound)
    ratios = error[finite & (bound > 0)] / bound[finite & (bound > 0)]
    size = np.linalg.norm(expected[finite])
    norm = float(np.linalg.norm(error[finite]) / size) if size else 0.0
    verdict = Verdict(not wrong.any(), wrong=int(wrong.sum()), worst=float(ratios.max(initial=0.0)), norm=norm)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        verdict.why = f"element {at} is {actual[at]:.9g}, expected {expected[at]:.9g} within {bound[at]:.2g}"
    elif narrow:
        share = float(np.sqrt(np.mean(ratios ** 2))) if ratios.size >= MANY else 0.0
        if share > NARROW_SHARE:
            verdict.ok, verdict.why = False, f"errors of {share:.2g} of their bounds, in the root mean square, above {NARROW_SHARE}"
    elif finite.sum() >= MANY and np.linalg.norm(error[finite]) > NORM_SHARE * np.linalg.norm(bound[finite]) > 0:
        verdict.ok, verdict.why = False, f"norm of the errors {norm:.2g}, above {NORM_SHARE} of the norm of the bounds"
    return verdict


def widened(words: np.ndarray, storage: str) -> np.ndarray:
    """The floats of 16 bits that words hold."""
    if storage == "f16":
        return words.view(np.float16).astype(np.float32)
    return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def words(actual: np.ndarray, expected: np.ndarray) -> Verdict:
    """Compares words exactly."""
    if actual.shape != expected.shape:
        return Verdict(False, f"{actual.size} words, expected {expected.size}", actual.size)
    wrong = np.flatnonzero(actual != expected)
    if not wrong.size:
        return Verdict(True)
    at = wrong[0]
    return Verdict(False, f"word {at} is {actual[at]:#x}, expected {expected[at]:#x}", int(wrong.size))


def expectation(expected: dict, actual: np.ndarray) -> Verdict:
    """Compares the words of a buffer with an expectation of the dump."""
    kind = expected["kind"]
    if kind == "any":
        return Verdict(True)
    if kind == "words":
        return words(actual, expected["value"])
    if kind == "some":
        return words(np.where(expected["open"], expected["value"], actual), expected["value"])
    if kind == "narrow":
        floats = widened(actual, expected["storage"])[:len(expected["value"])]
        return elements(floats, expected["value"], expected["bound"], narrow=True)
    floats = actual.view(np.float32 if kind == "floats" else np.float64)
    return elements(floats, expected["value"], expected["bound"])


def tensors(actual: dict, expected: dict, precision: str) -> Verdict:
    """Compares tensors of a model by name; the worst of all counts."""
    by_norm, by_element = MODEL_BOUNDS[precision]
    total = Verdict(True)
    if sorted(actual) != sorted(expected):
        return Verdict(False, f"tensors {sorted(actual)}, expected {sorted(expected)}", 1)
    for name, e in expected.items():
        a, e = np.asarray(actual[name], np.float64), np.asarray(e, np.float64)
        if a.shape != e.shape:
            return Verdict(False, f"{name}: shape {a.shape}, expected {e.shape}", 1)
        if not np.isfinite(a[np.isfinite(e)]).all():
            return Verdict(False, f"{name}: not finite", 1)
        finite = np.isfinite(e)
        a, e = a[finite], e[finite]
        norm = float(np.linalg.norm(a - e) / max(np.linalg.norm(e), 1e-300))
        largest = float(np.abs(a - e).max(initial=0.0) / max(np.abs(e).max(initial=0.0), 1e-300))
        total.norm, total.worst = max(total.norm, norm), max(total.worst, largest)
        if norm > by_norm or largest > by_element:
            total.ok, total.wrong = False, total.wrong + 1
            total.why = f"{name}: norm {norm:.2g} (up to {by_norm:g}), element {largest:.2g} (up to {by_element:g})"
    return total
