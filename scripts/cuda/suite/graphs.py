"""Models with random weights, written where they run: nothing but code travels."""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import make_transformers as transformers


def resnet(b: transformers.Builder, layers: list, side: int) -> None:
    """Residual blocks of three convolutions, as in ResNet-50, with batch normalisation folded into the weights."""

    def convolution(x: str, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> str:
        weight = b.random(name + ".weight", outputs, inputs, kernel, kernel, scale=(2 / (inputs * kernel ** 2)) ** 0.5)
        bias = b.vector(name + ".bias", b.rng.standard_normal(outputs) * 0.02)
        pad = kernel // 2
        x = b.node("Conv", [x, weight, bias], name, kernel_shape=[kernel, kernel], strides=[stride] * 2, pads=[pad] * 4)
        return b.node("Relu", [x]) if relu else x

    x = convolution("x", "stem", 3, 64, 7, 2)
    x = b.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, count in enumerate(layers):
        width = 64 << stage
        for block in range(count):
            stride = 2 if block == 0 and stage else 1
            name = f"layer{stage + 1}.{block}"
            y = convolution(x, name + ".conv1", channels, width, 1)
            y = convolution(y, name + ".conv2", width, width, 3, stride)
            y = convolution(y, name + ".conv3", width, 4 * width, 1, relu=False)
            if block == 0:
                x = convolution(x, name + ".shortcut", channels, 4 * width, 1, stride, relu=False)
            channels = 4 * width
            # The shares keep the magnitudes of deep networks of random weights.
            y = b.node("Mul", [b.node("Add", [x, y]), b.number(0.7)])
            x = b.node("Relu", [y])
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], "average")], axis=1)
    b.node("Identity", [b.linear(x, "head", channels, 1000)], "logits", "logits")


def write(model: dict, folder: Path) -> tuple:
    """Writes a model and its input; the paths of both."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    if model["kind"] == "resnet":
        with open(folder / "model.onnx.data", "wb") as data:
            b = transformers.Builder(0, data, "f32")
            resnet(b, model["layers"], model["side"])
        shape = [model["batch"], 3, model["side"], model["side"]]
        save(b, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape[1:]])], folder)
        np.savez(folder / "input.npz", x=rng.standard_normal(shape).astype(np.float32))
        return folder / "model.onnx", folder / "input.npz"
    if model["kind"] == "bert":
        shape = transformers.Bert(model["layers"], model["width"], model["heads"], model["hidden"], model["vocabulary"])
        build = lambda b: transformers.bert(b, shape)
    else:
        shape = transformers.Llama(model["layers"], model["width"], model["heads"], model["kv_heads"], model["hidden"],
                                   model["vocabulary"], model["tied"])
        build = lambda b: transformers.llama(b, shape)
    with open(folder / "model.onnx.data", "wb") as data:
        b = transformers.Builder(0, data, model.get("dtype", "f32"))
        build(b)
    dims = ["batch", "sequence"]
    names = ("input_ids", "attention_mask")
    save(b, [helper.make_tensor_value_info(n, TensorProto.INT64, dims) for n in names], folder)
    ids = rng.integers(0, model["vocabulary"], (model["batch"], model["tokens"]))
    np.savez(folder / "input.npz", input_ids=ids, attention_mask=np.ones_like(ids))
    return folder / "model.onnx", folder / "input.npz"


def save(b: transformers.Builder, inputs: list, folder: Path) -> None:
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    graph = helper.make_graph(b.nodes, "suite", inputs, outputs, b.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
