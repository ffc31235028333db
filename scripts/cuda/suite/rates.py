#!/usr/bin/env python3
"""Rates of operations on the device, by events around CUDA graphs, beside torch; with --ceilings, of the machine.

    rates.py --out FILE --rates DIR [--ceilings] [--seconds 0.5] [--only NAME] [--quick]

The launches are those that the planner chooses (`tests/cuda/operations.rs`). Operands are positive: the sums of a product have
one sign, the hardest case of a tensor core's rounding, and are compared with float64 on some rows.
"""
import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True
from dump import Dump  # noqa: E402 (the line above keeps the tree clean)
from store import Store  # noqa: E402

# Rows of a product that are compared.
ROWS = 4
PATTERN = 1 << 22


class Operations(Dump):
    """Operations, whose index has launches in the place of cases."""

    def __init__(self, folder: Path) -> None:
        self.index, self.blobs = self.opened(folder)
        self.kernels = self.index["kernels"]
        self.operations = {o["name"]: o for o in self.index["operations"]}


def fields(times: list, operation: dict, prefix: str = "") -> dict:
    """Milliseconds and the rate: TFLOP/s where operations are counted, else TB/s."""
    ms = statistics.median(times)
    work = operation["flops"] or operation["bytes"]
    low, *_, high = statistics.quantiles(times, n=10) if len(times) > 1 else (ms, ms)
    return {f"{prefix}ms": ms, f"{prefix}rate": work / ms / 1e9, f"{prefix}p10": low, f"{prefix}p90": high}


class Loaded:
    """An operation on the device: its memory, filled, and its launches."""

    def __init__(self, device, dump: Operations, operation: dict) -> None:
        from device import Block

        self.device, self.operation = device, operation
        self.blocks = [Block(device, size, 0) for size in operation["allocations"]]
        pattern = (np.abs(np.random.default_rng(3).standard_normal(PATTERN)) + 0.01).astype(np.float32)
        for block in self.blocks:
            repeats = -(-block.size // pattern.nbytes)
            block.fill(np.tile(pattern, repeats).tobytes()[:block.size])
        for upload in operation["uploads"]:
            allocation, offset = upload["at"]
            self.copy(self.blocks[allocation].address + offset, dump.bytes(upload["content"]))
        kernels = {}
        self.launches = []
        for launch in operation["launches"]:
            name = launch["kernel"]
            if name not in kernels:
                listed = dump.kernels[name]
                kernels[name] = device.load(name, dump.text(name), listed["threads"], listed["shared"])
            params = bytearray(launch["params"])
            for at, allocation, offset in launch["relocations"]:
                params[at:at + 8] = (self.blocks[allocation].address + offset).to_bytes(8, "little")
            self.launches.append((kernels[name], launch["grid"], bytes(params)))

    @staticmethod
    def copy(address: int, content: bytes) -> None:
        from cuda.bindings import driver

        from device import call
        if content:
            call(driver.cuMemcpyHtoD(address, content, len(content)), "cuMemcpyHtoD")

    def region(self, place: list, count: int | None = None, skip: int = 0) -> np.ndarray:
        """Floats of a region."""
        from cuda.bindings import driver

        from device import call
        allocation, offset, size = place
        floats = np.empty(size // 4 if count is None else count, np.float32)
        call(driver.cuMemcpyDtoH(floats, self.blocks[allocation].address + offset + 4 * skip, floats.nbytes), "cuMemcpyDtoH")
        return floats

    def checked(self) -> dict:
        """Compares some rows of a product with float64, relative to the sums of magnitudes."""
        m, n, k = self.operation["peer"]["sizes"]
        by_size = {place[2]: place for launch in self.operation["launches"] for place in launch["reads"]}
        x, w = self.region(by_size[4 * m * k]).reshape(m, k), self.region(by_size[4 * k * n]).reshape(k, n)
        result = self.operation["launches"][-1]["writes"][0]
        picked = np.unique(np.linspace(0, m - 1, ROWS).astype(int))
        exact = x[picked].astype(np.float64) @ w.astype(np.float64)
        actual = np.stack([self.region(result, n, int(row) * n) for row in picked]).astype(np.float64)
        error = (actual - exact) / exact
        worst, bound = float(np.abs(error).max()), self.operation["bound"]
        ok = bool(worst <= bound)
        return {"ok": ok, "why": "" if ok else f"an element is off by {worst:.2g} of its sum, up to {bound:.2g}",
                "error": worst, "bias": float(error.mean())}

    def release(self) -> None:
        for block in self.blocks:
            block.release()


def rates(args: argparse.Namespace, store: Store) -> int:
    from device import Device, Fault

    import peers
    device, dump, bad = Device(), Operations(args.rates), 0
    torch_times: dict = {}
    for name, operation in dump.operations.items():
        if args.only not in name or name in store.results("rates"):
            continue
        store.add("rates", name, begun=True)
        try:
            loaded = Loaded(device, dump, operation)
            graph = device.graph(loaded.launches)
            measured = fields(device.times(graph, args.seconds, args.warm), operation)
            checked = loaded.checked() if operation["peer"]["op"] == "product" else {"ok": True, "why": ""}
            loaded.release()
        except Fault as fault:
            store.add("rates", name, ok=False, why=str(fault))
            return 1
        key = str(operation["peer"]) + operation["precision"]
        if key not in torch_times:
            torch_times[key] = peers.operation_times(operation["peer"], operation["precision"], args.seconds)
        beside = fields(torch_times[key], operation, "torch_") if torch_times[key] else {}
        store.add("rates", name, **measured, **beside, **checked)
        bad += not checked["ok"]
        print(name, measured, beside, checked)
    return 1 if bad else 0


def ceilings(args: argparse.Namespace, store: Store) -> int:
    import peers

    for name, flops, moved, times in peers.ceilings(args.seconds, args.quick):
        store.add("ceilings", name, ok=bool(times), why="" if times else "torch is not on this machine",
                  **({k: v for k, v in fields(times, {"flops": flops, "bytes": moved}, "torch_").items()} if times else {}))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rates", type=Path, required=True)
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=0.5, help="of samples for each operation")
    parser.add_argument("--warm", type=float, default=0.3, help="seconds before the samples of each operation")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    store = Store(args.out)
    return ceilings(args, store) if args.ceilings else rates(args, store)


if __name__ == "__main__":
    sys.exit(main())
