#!/usr/bin/env python3
"""Writes ResNet50 and VGG16 with random weights, for benchmarks that need no PyTorch.

    scripts/make_models.py [resnet50] [vgg16] [--out DIR] [--batch 1|symbolic] [--seed N]

torchvision's architectures at 224x224, opset 17, batch normalisation folded into the
convolutions as exporters do. He initialisation, small random biases (a bias of zero would
hide what biases absorb). Writes DIR/NAME/model.onnx and DIR/NAME/input.npz.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 224
VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool"]
RESNET50 = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]  # width, blocks, stride of the first


class Builder:
    """Collects nodes and random weights, named as torchvision names its modules."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, op: str, inputs: list[str], name: str, output: str | None = None, **attributes: Any) -> str:
        output = output or name + ".out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def weights(self, name: str, *shape: int, gain: float = 2.0) -> list[str]:
        """A weight of variance gain / fan-in, and a bias."""
        scale = np.float32(np.sqrt(gain / np.prod(shape[1:])))
        weight = self.rng.standard_normal(shape, np.float32) * scale
        bias = self.rng.standard_normal(shape[0], np.float32) * np.float32(0.05)
        self.tensors += [numpy_helper.from_array(weight, name + ".weight"), numpy_helper.from_array(bias, name + ".bias")]
        return [name + ".weight", name + ".bias"]

    def conv(self, x: str, name: str, inputs: int, outputs: int, k: int, stride: int = 1, gain: float = 2.0) -> str:
        pad = k // 2
        return self.node("Conv", [x, *self.weights(name, outputs, inputs, k, k, gain=gain)], name,
                         kernel_shape=[k, k], strides=[stride, stride], pads=[pad] * 4)

    def relu(self, x: str, name: str) -> str:
        return self.node("Relu", [x], name)

    def gemm(self, x: str, name: str, inputs: int, outputs: int, output: str | None = None, gain: float = 2.0) -> str:
        return self.node("Gemm", [x, *self.weights(name, outputs, inputs, gain=gain)], name, output, transB=1)


def resnet50(b: Builder) -> None:
    x = b.relu(b.conv("input", "conv1", 3, 64, 7, 2), "relu")
    x = b.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for i, (width, blocks, first_stride) in enumerate(RESNET50, 1):
        for j in range(blocks):
            name, stride, skip = f"layer{i}.{j}", first_stride if j == 0 else 1, x
            x = b.relu(b.conv(x, name + ".conv1", channels, width, 1), name + ".relu1")
            x = b.relu(b.conv(x, name + ".conv2", width, width, 3, stride), name + ".relu2")
            # A small gain keeps the sum over 16 blocks from growing.
            x = b.conv(x, name + ".conv3", width, 4 * width, 1, gain=0.3)
            if j == 0:
                skip = b.conv(skip, name + ".downsample", channels, 4 * width, 1, stride, gain=1.0)
            channels = 4 * width
            x = b.relu(b.node("Add", [x, skip], name + ".add"), name + ".relu3")
    x = b.node("GlobalAveragePool", [x], "avgpool")
    b.gemm(b.node("Flatten", [x], "flatten"), "fc", channels, 1000, "logits", gain=1.0)


def vgg16(b: Builder) -> None:
    x, channels, index = "input", 3, 0
    for step in VGG16:
        if step == "pool":
            x = b.node("MaxPool", [x], f"features.{index}", kernel_shape=[2, 2], strides=[2, 2])
            index += 1
        else:
            x = b.relu(b.conv(x, f"features.{index}", channels, step, 3), f"features.{index + 1}")
            channels, index = step, index + 2
    # torchvision's adaptive pooling to 7x7 does nothing at this size.
    x = b.node("Flatten", [x], "flatten")
    x = b.relu(b.gemm(x, "classifier.0", channels * 49, 4096), "classifier.1")
    x = b.relu(b.gemm(x, "classifier.3", 4096, 4096), "classifier.4")
    b.gemm(x, "classifier.6", 4096, 1000, "logits", gain=1.0)


MODELS = {"resnet50": resnet50, "vgg16": vgg16}


def build(name: str, batch: int | str, seed: int) -> onnx.ModelProto:
    b = Builder(seed)
    MODELS[name](b)
    value = lambda n, *dims: helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *dims])
    graph = helper.make_graph(b.nodes, name, [value("input", 3, SIZE, SIZE)], [value("logits", 1000)], b.tensors)
    return helper.make_model(graph, producer_name="make_models.py", ir_version=8,
                             opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("names", nargs="*", metavar="NAME", help="resnet50, vgg16 (default: both)")
    cache = Path(os.environ.get("DLBC_CACHE", Path(__file__).resolve().parent.parent / ".cache"))
    ap.add_argument("--out", type=Path, default=cache / "models")
    ap.add_argument("--batch", choices=["1", "symbolic"], default="1")
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()
    if unknown := set(args.names) - set(MODELS):
        ap.error(f"no such model: {', '.join(sorted(unknown))}")

    for name in args.names or MODELS:
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        model = build(name, 1 if args.batch == "1" else "batch", args.seed)
        onnx.save(model, folder / "model.onnx")
        onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
        rng = np.random.default_rng(args.seed + 1)
        np.savez(folder / "input.npz", input=rng.standard_normal((1, 3, SIZE, SIZE), np.float32))
        print(folder / "model.onnx")


if __name__ == "__main__":
    main()
