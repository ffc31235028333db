#!/usr/bin/env python3
"""Times what dlbc is compared with; prints a line of JSON for each measurement.

    benches/python/peers.py --model resnet50 --onnx MODEL.onnx --threads 2
    benches/python/peers.py --model vgg16 --method torch_grad_input --repeats 5

Needs the environment of `scripts/python_env.sh --bench`; the ONNX file comes from
scripts/fixtures/make_models.py (ort_forward takes any file, with the inputs beside it as
input.npz). Every method runs in its own process, so that memory is its own:

  ort_forward               ONNX Runtime's forward pass
  torch_forward             torchvision's forward pass
  torch_grad_input          gradient x input, weights frozen
  zennit_epsilon_plus       LRP, zennit's EpsilonPlus
  zennit_epsilon_plus_flat  LRP, zennit's EpsilonPlusFlat
  lxt                       AttnLRP, LXT's patched modules; transformers only

The models of torchvision and of transformers have random weights; they do not change the time.
A transformer is explained at its embeddings, a language model at its last position.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

ZENNIT = ("zennit_epsilon_plus", "zennit_epsilon_plus_flat")
METHODS = ("ort_forward", "torch_forward", "torch_grad_input", *ZENNIT, "lxt")
TRANSFORMERS = ("bert-base", "llama-8x1024")
TARGET = 3  # the class that is explained


def prepare_ort(path: Path, inputs: Path | None, threads: int) -> Callable[[], object]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = dict(np.load(inputs or path.with_name("input.npz")))
    return lambda: session.run(None, feed)


def prepare_torch(model: str, method: str, threads: int) -> Callable[[], object]:
    import torch
    import torchvision

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = getattr(torchvision.models, model)(weights=None).eval()
    for p in net.parameters():
        p.requires_grad_(False)
    x = torch.randn(1, 3, 224, 224)

    if method == "torch_forward":
        def forward() -> object:
            with torch.no_grad():
                return net(x)
        return forward
    if method == "torch_grad_input":
        def grad_input() -> object:
            leaf = x.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(net(leaf)[0, TARGET], leaf)
            return gradient * leaf
        return grad_input

    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus, EpsilonPlusFlat
    from zennit.torchvision import ResNetCanonizer, VGGCanonizer

    composite = EpsilonPlusFlat if method.endswith("flat") else EpsilonPlus
    canonizer = ResNetCanonizer() if model.startswith("resnet") else VGGCanonizer()
    start = torch.eye(1000)[[TARGET]]
    attributor = Gradient(model=net, composite=composite(canonizers=[canonizer]))
    attributor.__enter__()  # stays registered while the process lives, as a user would keep it
    return lambda: attributor(x, start)


def prepare_transformer(model: str, method: str, threads: int, tokens: int) -> Callable[[], object]:
    import torch
    import transformers

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if method == "lxt":
        import importlib

        from lxt.efficient import monkey_patch
        family = "bert" if model == "bert-base" else "llama"
        monkey_patch(importlib.import_module(f"transformers.models.{family}.modeling_{family}"))
    if model == "bert-base":
        net = transformers.BertForSequenceClassification(
            transformers.BertConfig(num_labels=2, attn_implementation="eager"))
    else:
        net = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            num_hidden_layers=8, hidden_size=1024, num_attention_heads=16, num_key_value_heads=8, intermediate_size=2816,
            vocab_size=32000, attn_implementation="eager", use_cache=False))
    net.eval()
    for p in net.parameters():
        p.requires_grad_(False)
    ids = torch.randint(0, net.config.vocab_size, (1, tokens))
    table = net.get_input_embeddings()

    def logits(embedded: object) -> object:
        out = net(inputs_embeds=embedded).logits
        return out[0, TARGET % 2] if out.dim() == 2 else out[0, -1, TARGET]

    if method == "torch_forward":
        def forward() -> object:
            with torch.no_grad():
                return logits(table(ids))
        return forward

    def explain() -> object:
        leaf = table(ids).clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(logits(leaf), leaf)
        return (gradient * leaf).sum(-1)
    return explain


def measure(args: argparse.Namespace, method: str) -> dict[str, object]:
    """One method, in this process."""
    warnings.filterwarnings("ignore")
    if method == "ort_forward":
        run = prepare_ort(args.onnx, args.inputs, args.threads)
    elif args.model in TRANSFORMERS:
        run = prepare_transformer(args.model, method, args.threads, args.tokens)
    else:
        run = prepare_torch(args.model, method, args.threads)
    times, cpu = [], []
    for i in range(args.warmup + args.repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        if i >= args.warmup:
            times.append(1000 * (time.perf_counter() - start))
            cpu.append(1000 * (time.process_time() - cpu_start))
    return {
        "model": args.model, "method": method, "threads": args.threads,
        "median_ms": round(statistics.median(times), 2), "min_ms": round(min(times), 2),
        "cpu_ms": round(statistics.median(cpu), 2),  # of all threads; steadier on a shared machine
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 2),  # of the machine, to judge the numbers by
    }


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", choices=["resnet50", "vgg16", *TRANSFORMERS, "olmoe-16th"], required=True,
                    help="olmoe-16th: ort_forward only")
    ap.add_argument("--onnx", type=Path, help="the model for ort_forward; without it that method is left out")
    ap.add_argument("--inputs", type=Path, help="of ort_forward, instead of input.npz beside the model")
    ap.add_argument("--method", choices=METHODS, action="append", help="repeatable (default: all)")
    ap.add_argument("--tokens", type=int, default=128, help="of a transformer's input")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--repeats", type=int, default=5)
    ap.add_argument("--warmup", type=int, default=1)
    args = ap.parse_args()
    own = ("lxt",) if args.model not in TRANSFORMERS else ZENNIT
    methods = args.method or [m for m in METHODS if m not in own and (m != "ort_forward" or args.onnx)]
    if "ort_forward" in methods and not args.onnx:
        ap.error("ort_forward needs --onnx")

    if len(methods) == 1:
        print(json.dumps(measure(args, methods[0])), flush=True)
        return 0
    failed = 0
    for method in methods:
        command = [sys.executable, __file__, "--model", args.model, "--method", method, "--threads", str(args.threads),
                   "--repeats", str(args.repeats), "--warmup", str(args.warmup), "--tokens", str(args.tokens)]
        command += ["--onnx", str(args.onnx)] if args.onnx else []
        command += ["--inputs", str(args.inputs)] if args.inputs else []
        failed |= subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(args.threads)}).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
