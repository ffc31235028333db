"""Torch beside dlbc: single operations, the machine's ceilings, and whole models, eager and as CUDA graphs."""
import contextlib
import time


def torch_or_none():
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


@contextlib.contextmanager
def precision_of(torch, precision: str):
    """The arithmetic of torch that stands beside a precision of dlbc."""
    coarse = precision in ("tf32", "bf16")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = coarse
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


def times_of(torch, body, seconds: float, warm: float = 0.3, most: int = 400) -> list:
    """Milliseconds of a function by events, after the clocks had `warm` seconds to rise."""
    until = time.monotonic() + warm
    body()
    torch.cuda.synchronize()
    while time.monotonic() < until:
        body()
        torch.cuda.synchronize()
    taken, until = [], time.monotonic() + seconds
    while not taken or (time.monotonic() < until and len(taken) < most):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        body()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end))
    return taken


def graphed(torch, body):
    """A function as a CUDA graph; the function itself where it cannot be captured."""
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            body()
        return graph.replay
    except RuntimeError as error:
        print(f"no CUDA graph: {error}")
        torch.cuda.synchronize()
        return None


def operation_body(torch, peer: dict):
    functional, sizes = torch.nn.functional, peer["sizes"]
    random = lambda *dims: torch.rand(*dims, device="cuda")
    if peer["op"] == "product":
        m, n, k = sizes
        x, w = random(m, k), random(k, n)
        return lambda: x @ w
    if peer["op"] in ("convolution", "adjoint"):
        images, channels, side = sizes
        x, w = random(images, channels, side, side), random(channels, channels, 3, 3)
        function = functional.conv2d if peer["op"] == "convolution" else functional.conv_transpose2d
        return lambda: function(x, w, padding=1)
    if peer["op"] == "attention":
        heads, tokens, width = sizes
        q, k, v = (random(1, heads, tokens, width) for _ in range(3))
        return lambda: functional.scaled_dot_product_attention(q, k, v)
    x, y, z = (random(*sizes) for _ in range(3))
    return {"softmax": lambda: torch.softmax(x, 1), "elementwise": lambda: x.abs() * y + z}[peer["op"]]


def operation_times(peer: dict, precision: str, seconds: float) -> list:
    """Milliseconds of torch's operation in a CUDA graph; none without torch."""
    torch = torch_or_none()
    if torch is None:
        return []
    with torch.no_grad(), precision_of(torch, precision):
        body = operation_body(torch, peer)
        times = times_of(torch, graphed(torch, body) or body, seconds)
    torch.cuda.empty_cache()
    return times


def ceilings(seconds: float, quick: bool):
    """Name, operations, bytes and milliseconds: a copy, and large products in each arithmetic."""
    torch = torch_or_none()
    size, side = (1 << 20, 256) if quick else (1 << 30, 8192)
    kinds = [("copy", "3xtf32", None)] + [(f"product {side}x{side}x{side}", p, d) for p, d in
                                          (("3xtf32", "float32"), ("tf32", "float32"), ("bf16", "bfloat16"))]
    for name, precision, dtype in kinds:
        flops, moved = (0.0, 8.0 * size) if dtype is None else (2.0 * side ** 3, 0.0)
        label = name if dtype is None else f"{name} by torch, {'tf32' if precision == 'tf32' else dtype}"
        if torch is None:
            yield label, flops, moved, []
            continue
        with torch.no_grad(), precision_of(torch, "tf32" if precision == "tf32" else "3xtf32"):
            if dtype is None:
                x = torch.rand(size, device="cuda")
                y = torch.empty_like(x)
                body = lambda: y.copy_(x)
            else:
                a, b = (torch.rand(side, side, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
                body = lambda: a @ b
            yield label, flops, moved, times_of(torch, body, seconds, 1.0)
        torch.cuda.empty_cache()


def network(torch, model: dict):
    """A model of random weights, and a function from a leaf to the explained number. `leaf` makes a fresh leaf."""
    torch.manual_seed(0)
    batch = model["batch"]
    if model["kind"] == "resnet":
        import torchvision

        blocks = torchvision.models.resnet.Bottleneck
        net = torchvision.models.ResNet(blocks, model["layers"]).eval().cuda()
        x = torch.rand(batch, 3, model["side"], model["side"], device="cuda")
        return net, lambda leaf: net(leaf)[:, 0].sum(), lambda: x
    import transformers

    sizes = dict(num_hidden_layers=model["layers"], hidden_size=model["width"], num_attention_heads=model["heads"],
                 intermediate_size=model["hidden"], vocab_size=model["vocabulary"], attn_implementation="sdpa")
    if model["kind"] == "bert":
        config = transformers.BertConfig(num_labels=2, **sizes)
        net = transformers.BertForSequenceClassification(config).eval().cuda()
        start = lambda leaf: net(inputs_embeds=leaf).logits[:, 0].sum()
    else:
        config = transformers.LlamaConfig(num_key_value_heads=model["kv_heads"], use_cache=False, **sizes)
        net = transformers.LlamaForCausalLM(config).eval().cuda()
        # Of a language model the last position is explained; the head is computed for it alone.
        start = lambda leaf: net(inputs_embeds=leaf, logits_to_keep=1).logits[:, -1, 0].sum()
    ids = torch.randint(0, model["vocabulary"], (batch, model["tokens"]), device="cuda")
    embedded = net.get_input_embeddings()(ids).detach()
    return net, start, lambda: embedded


def model_times(model: dict, precision: str, seconds: float) -> dict:
    """Milliseconds of forward (A) and of forward with the gradient of the input (B): the faster of eager and graph."""
    torch = torch_or_none()
    if torch is None:
        return {}
    with precision_of(torch, precision):
        net, start, leaf = network(torch, model)
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        x = leaf().clone().requires_grad_(True)

        def forward() -> None:
            with torch.no_grad():
                start(x)

        def gradient() -> None:
            torch.autograd.grad(start(x), x)

        result = {}
        for key, body in (("A", forward), ("B", gradient)):
            eager = times_of(torch, body, seconds)
            replay = graphed(torch, body)
            taken = {"eager": eager, **({"graph": times_of(torch, replay, seconds)} if replay else {})}
            best = min(taken, key=lambda kind: sorted(taken[kind])[len(taken[kind]) // 2])
            ordered = sorted(taken[best])
            result[key] = [ordered[int(q * (len(ordered) - 1))] for q in (0.1, 0.5, 0.9)]
            result[f"{key} by"] = best
    del net, start, leaf, x
    torch.cuda.empty_cache()
    return result
