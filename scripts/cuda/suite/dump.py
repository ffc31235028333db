"""Cases as the tests of the interpreter write them (`cuda/ptxsim/tests/cases/dump.rs`)."""
import json
import lzma
from pathlib import Path

import numpy as np


class Dump:
    """An index and the contents of all buffers, plain or compressed."""

    def __init__(self, folder: Path) -> None:
        self.index, self.blobs = self.opened(folder)
        self.kernels = self.index["kernels"]
        # Cases of one kernel and one shape are told apart by a number.
        self.cases, seen = {}, {}
        for case in self.index["cases"]:
            name = f"{case['kernel']} on {case['shape']}"
            seen[name] = seen.get(name, 0) + 1
            self.cases[name if seen[name] == 1 else f"{name} #{seen[name]}"] = case

    @staticmethod
    def opened(folder: Path) -> tuple:
        return json.loads(read(Path(folder) / "index.json")), read(Path(folder) / "blobs.bin")

    def bytes(self, place: list) -> bytes:
        return self.blobs[place[0]:place[0] + place[1]]

    def array(self, place: list, dtype) -> np.ndarray:
        return np.frombuffer(self.blobs, dtype, place[1] // np.dtype(dtype).itemsize, place[0])

    def text(self, kernel: str) -> str:
        return self.bytes(self.kernels[kernel]["text"]).decode()

    def expected(self, case: dict) -> list:
        """Expectations of the written buffers, with arrays in the place of blobs; `bits` are the interpreter's words."""
        result = []
        for e in case["expected"]:
            e = dict(e)
            if e["kind"] == "words":
                e["value"] = self.array(e["value"], np.uint32)
                e["bits"] = e["value"]
            elif e["kind"] == "some":
                e["value"], e["open"] = self.array(e["value"], np.uint32), self.array(e["open"], np.uint8) != 0
            elif e["kind"] == "floats":
                bits = self.array(e["value"], np.uint32)
                e["value"] = bits.view(np.float32)
                e["bits"] = bits ^ self.array(e["difference"], np.uint32)
                e["bound"] = upper_half(self.array(e["bound"], np.uint16))
            elif e["kind"] == "narrow":
                e["value"] = self.array(e["value"], np.float32)
                e["bits"] = self.array(e["bits"], np.uint32)
                e["bound"] = upper_half(self.array(e["bound"], np.uint16))
            elif e["kind"] == "doubles":
                e["value"] = self.array(e["value"], np.float64)
                e["bound"] = upper_half(self.array(e["bound"], np.uint16))
            result.append(e)
        return result


def upper_half(bits: np.ndarray) -> np.ndarray:
    """Floats whose upper halves are stored."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def read(path: Path) -> bytes:
    packed = path.with_name(path.name + ".xz")
    return lzma.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
