#!/usr/bin/env python3
"""Tests of the suite itself: what must fail fails, and what was measured is not lost.

    test_suite.py
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import checks  # noqa: E402 (the lines above come first)
import table  # noqa: E402
from store import Store  # noqa: E402


def spoiled(values: np.ndarray) -> dict:
    """A tensor of rows, wrong in the ways that a check must notice."""
    row, nan, last = values.copy(), values.copy(), values.copy()
    row[[2, 5]] = values[[5, 2]]
    nan[3, 1] = np.nan
    last[-1, -1] += 1e-3 * np.abs(values).max()
    return {"zeros": np.zeros_like(values), "row": row, "nan": nan, "last": last}


class Checks(unittest.TestCase):
    def setUp(self) -> None:
        self.values = np.random.default_rng(1).standard_normal((2000, 300)).astype(np.float32)

    def test_each_fault_of_a_kernel_is_noticed(self) -> None:
        bound = np.full(self.values.size, 3e-6)
        noise = self.values * (1 + 1e-7)
        self.assertTrue(checks.elements(noise.ravel(), self.values.ravel(), bound).ok)
        for fault, wrong in spoiled(self.values).items():
            verdict = checks.elements(wrong.ravel(), self.values.ravel(), bound)
            self.assertFalse(verdict.ok, fault)
            self.assertRegex(verdict.why, r"element \d+ is")

    def test_each_fault_of_a_model_is_noticed(self) -> None:
        expected = {"relevance": self.values}
        self.assertTrue(checks.tensors({"relevance": self.values * (1 + 1e-7)}, expected, "3xtf32").ok)
        for fault, wrong in spoiled(self.values).items():
            self.assertFalse(checks.tensors({"relevance": wrong}, expected, "3xtf32").ok, fault)
            if fault != "last":
                self.assertFalse(checks.tensors({"relevance": wrong}, expected, "bf16").ok, fault)
        self.assertFalse(checks.tensors({}, expected, "3xtf32").ok)
        self.assertFalse(checks.tensors({"relevance": self.values[:5]}, expected, "3xtf32").ok)

    def test_errors_that_all_come_close_to_their_bounds_are_noticed(self) -> None:
        bound = np.full(self.values.size, 1e-6)
        biased = self.values.ravel().astype(np.float64) + 9e-7
        verdict = checks.elements(biased, self.values.ravel(), bound)
        self.assertFalse(verdict.ok)
        self.assertIn("norm", verdict.why)

    def test_roundings_of_16_bit_results_pass_and_errors_close_to_their_bounds_do_not(self) -> None:
        values = self.values.ravel().astype(np.float64)
        # One large element, whose rounding makes up the norm of all.
        values[7] = 1e6
        bound = np.abs(values) * 2.0 ** -9
        roundings = np.random.default_rng(2).uniform(-1, 1, values.size)
        roundings[7] = 0.99
        self.assertTrue(checks.elements(values + roundings * bound, values, bound, narrow=True).ok)
        self.assertFalse(checks.elements(values + 0.9 * bound, values, bound, narrow=True).ok)
        self.assertFalse(checks.elements(values * 0, values, bound, narrow=True).ok)

    def test_special_values(self) -> None:
        expected = np.array([np.nan, np.inf, 1.0, 2.0])
        bound = np.array([0.0, 0.0, np.inf, 0.0])
        self.assertTrue(checks.elements(np.array([np.nan, np.inf, np.nan, 2.0]), expected, bound).ok)
        for wrong in ([0, np.inf, 1, 2], [np.nan, 1e38, 1, 2], [np.nan, np.inf, 1, np.nan]):
            self.assertFalse(checks.elements(np.array(wrong, np.float64), expected, bound).ok)

    def test_words_and_lengths(self) -> None:
        a = np.arange(5, dtype=np.uint32)
        self.assertTrue(checks.words(a, a).ok)
        self.assertFalse(checks.words(a[:4], a).ok)
        self.assertIn("word 2", checks.words(np.array([0, 1, 9, 3, 4], np.uint32), a).why)


class Pages(unittest.TestCase):
    def test_the_page_of_results_has_the_tables_that_are_written(self) -> None:
        page = (Path(__file__).resolve().parents[3] / "docs" / "gpu-results.md").read_text()
        with tempfile.TemporaryDirectory() as folder:
            blank = table.text(Store(Path(folder) / "results.jsonl"))
        heads = [line for line in blank.splitlines() if line.startswith(("#", "| check", "| operation", "| model"))]
        self.assertEqual([line for line in page.splitlines() if line in heads], heads)
        if table.NOTHING.strip() in page:
            self.assertEqual(page, blank)


WRITER = """
import sys
sys.path.insert(0, {suite!r})
from store import Store
store = Store({path!r})
done = store.results("s")
for i in range(400):
    if str(i) not in done:
        store.add("s", str(i), begun=True)
        store.add("s", str(i), value=i)
"""


class Stores(unittest.TestCase):
    def test_nothing_is_lost_when_a_run_is_killed_and_goes_on(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.jsonl"
            code = WRITER.format(suite=str(Path(__file__).resolve().parent), path=str(path))
            kept = 0
            for _ in range(4):
                process = subprocess.Popen([sys.executable, "-c", code])
                time.sleep(random.uniform(0.1, 0.4))
                process.send_signal(signal.SIGKILL)
                process.wait()
                results = Store(path).results("s")
                self.assertGreaterEqual(len(results), kept)
                kept = len(results)
            subprocess.run([sys.executable, "-c", code], check=True)
            results = Store(path).results("s")
            self.assertEqual(sorted(map(int, results)), list(range(400)))
            values = [line["name"] for line in Store(path).lines() if "value" in line]
            self.assertEqual(len(values), len(set(values)), "a measurement was repeated")

    def test_a_torn_line_is_skipped_and_its_measurement_is_known_to_have_begun(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.jsonl"
            Store(path).add("s", "a", ok=True)
            Store(path).add("s", "b", begun=True)
            with open(path, "ab") as file:
                file.write(b'{"step": "s", "name": "b", "ok"')
                os.fsync(file.fileno())
            store = Store(path)
            store.add("s", "c", ok=True)
            self.assertEqual(list(store.results("s")), ["a", "c"])
            self.assertEqual(store.begun("s"), ["b"])


if __name__ == "__main__":
    unittest.main()
