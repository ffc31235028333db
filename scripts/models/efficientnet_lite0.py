"""EfficientNet-Lite0 as ONNX from its PyTorch weights file, without PyTorch."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# The stages: repeats, stride of the first block, expansion. Kernels and channels follow from the weights.
STAGES = [
    (1, 1, 1),
    (2, 2, 6),
    (2, 2, 6),
    (3, 2, 6),
    (3, 1, 6),
    (4, 2, 6),
    (1, 1, 6),
]
SIZE = 224
EPSILON = 1e-3
# bfloat16 as the integers of its bits.
STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8", "BFloat16Storage": "<u2"}


class Pending:
    """A tensor that is read before the bytes of its storage."""

    def __init__(self, key: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.key, self.offset, self.size, self.stride = key, offset, size, stride

    def resolve(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        data = storages[self.key]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride))
        if self.offset < 0 or min(self.stride, default=0) < 0 or last >= data.size:
            raise ValueError("a tensor reaches outside its storage")
        bytes_ = [s * data.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.size, bytes_).copy()


class WeightsUnpickler(pickle.Unpickler):
    """Builds dictionaries and `Pending` tensors, and refuses every other class."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, size, stride, *_: Pending(key, offset, size, stride)
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"the weights file asks for {module}.{name}")

    def persistent_load(self, pid: tuple) -> str:
        kind, dtype, key = pid[:3]
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown persistent id {kind}")
        self.dtypes[key] = STORAGES[dtype]
        return key


def read_weights(data: bytes) -> dict[str, np.ndarray]:
    """Tensors of a file in PyTorch's format before 1.6.

    Five pickles (magic number, version, machine, tensors, storage keys), then for each
    key the number of elements (int64) and the elements.
    """
    file = io.BytesIO(data)
    magic, version, _machine = (WeightsUnpickler(file).load() for _ in range(3))
    if magic != 0x1950A86A20F9469CFC6C or version != 1001:
        raise ValueError("not a PyTorch weights file of the old format")
    reader = WeightsUnpickler(file)
    tensors = reader.load()
    storages = {}
    for key in WeightsUnpickler(file).load():
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        dtype = np.dtype(reader.dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        if storages[key].size != count:
            raise ValueError("the weights file is cut short")
    return {name: t.resolve(storages) for name, t in tensors.items()}


class Builder:
    """Collects nodes and initializers; remembers the channel picture's side for SAME padding."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.tensors = {"relu6.min": np.float32(0), "relu6.max": np.float32(6)}
        self.side = SIZE

    def node(self, op: str, inputs: list[str], name: str, output: str | None = None, **attributes: Any) -> str:
        output = output or name + ".out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def weight(self, name: str) -> str:
        self.tensors[name] = self.weights[name]
        return name

    def conv_bn(self, x: str, conv: str, bn: str, stride: int = 1, act: bool = True) -> str:
        """Convolution with TensorFlow's SAME padding, batch normalisation, ReLU6."""
        w = self.weights[conv + ".weight"]
        k = w.shape[2]
        group = w.shape[0] if w.shape[1] == 1 else 1
        out = -(-self.side // stride)
        pad = max((out - 1) * stride + k - self.side, 0)
        a, b = pad // 2, pad - pad // 2
        self.side = out
        x = self.node("Conv", [x, self.weight(conv + ".weight")], conv, group=group, kernel_shape=[k, k],
                      strides=[stride, stride], pads=[a, a, b, b])
        stats = [self.weight(f"{bn}.{s}") for s in ("weight", "bias", "running_mean", "running_var")]
        x = self.node("BatchNormalization", [x, *stats], bn, epsilon=EPSILON)
        return self.node("Clip", [x, "relu6.min", "relu6.max"], bn + ".relu6") if act else x


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The graph, opset 17, `input` [batch, 3, 224, 224] to `logits` [batch, 1000]."""
    b = Builder(weights)
    x = b.conv_bn("input", "_conv_stem", "_bn0", stride=2)
    index = 0
    for repeats, stride, expand in STAGES:
        for repeat in range(repeats):
            block, skip = f"_blocks.{index}", x
            first = repeat == 0
            if expand != 1:
                x = b.conv_bn(x, block + "._expand_conv", block + "._bn0")
            x = b.conv_bn(x, block + "._depthwise_conv", block + "._bn1", stride if first else 1)
            x = b.conv_bn(x, block + "._project_conv", block + "._bn2", act=False)
            if not first:  # the first block of every stage changes the channels
                x = b.node("Add", [x, skip], block + ".add")
            index += 1
    x = b.conv_bn(x, "_conv_head", "_bn1")
    x = b.node("GlobalAveragePool", [x], "_avg_pooling")
    x = b.node("Flatten", [x], "flatten")
    b.node("Gemm", [x, b.weight("_fc.weight"), b.weight("_fc.bias")], "_fc", "logits", transB=1)

    value = lambda name, *dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims])
    graph = helper.make_graph(b.nodes, "efficientnet_lite0", [value("input", 3, SIZE, SIZE)], [value("logits", 1000)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in b.tensors.items()])
    model = helper.make_model(graph, producer_name="dlbc fixtures", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    unused = {k for k in weights if k not in b.tensors and not k.endswith("num_batches_tracked")}
    if unused:
        raise ValueError(f"weights without a place: {sorted(unused)}")
    return model
