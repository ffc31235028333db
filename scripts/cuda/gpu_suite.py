#!/usr/bin/env python3
"""Correctness and speed on a machine with a GPU. Needs the built program and that machine's Python (numpy; torch for the peers).

    scripts/cuda/gpu_suite.py --dlbc target/release/dlbc                  prints the report
    scripts/cuda/gpu_suite.py --dlbc ... --write docs/gpu-results.md      and writes it

Order: what the device is; correctness of the models that ship against the processor, and the same bits on repeated runs;
compute-sanitizer where it is there; models built here with fixed seeds, against the processor, then beside torch's forward and
torch's gradient of the input, rounds interleaved. A failed check stops the timing. Figures that could not be taken stay blank.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Outputs and relevance against the processor: largest difference of an element, of the sum of magnitudes, by precision.
BOUNDS = {"3xtf32": 1e-4, "simt": 1e-4, "tf32": 1e-2, "bf16": 8e-2}
DEFAULT = "3xtf32"
# What is timed, beside torch in float32, in tf32 and under autocast to bfloat16.
TIMED = ["3xtf32", "tf32", "bf16"]


def run(command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)


def explain(args, model, inputs, device, out, repeat=0, precision=DEFAULT):
    command = [args.dlbc, "run", model, "--inputs", inputs, "--device", device, "--target", "0", "--json"]
    command += ["--precision", precision] if device != "cpu" else []
    command += ["--out", out] if out else []
    command += ["--repeat", repeat] if repeat else []
    done = run(command)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def gap(found, expected):
    import numpy as np

    worst = 0.0
    for name in expected.files:
        a, b = found[name].astype("float64"), expected[name].astype("float64")
        if not np.isfinite(a).all():
            return float("nan")
        worst = max(worst, float(abs(a - b).max() / max(abs(b).sum(), 1e-300)) if a.size else 0.0)
    return worst


def compare(args, folder, name, model, inputs, precision):
    """The worst gap to the processor, and whether two runs have the same bits."""
    import numpy as np

    files = [folder / f"{name}.{i}.npz" for i in range(3)]
    for device, file in zip(["cpu", args.device, args.device], files):
        explain(args, model, inputs, device, file, precision=precision)
    expected, first, second = (np.load(f) for f in files)
    same = all((first[k].tobytes() == second[k].tobytes()) for k in first.files)
    return gap(first, expected), same


def shipped():
    for name in ["digits_cnn", "tabular_mlp"]:
        folder = ROOT / "fixtures" / name
        yield name, folder / "model.onnx", folder / "input.npz"


def sanitizer(args):
    tool = shutil.which("compute-sanitizer")
    results = {}
    name, model, inputs = next(shipped())
    for check in ["memcheck", "racecheck", "initcheck"]:
        if not tool:
            results[check] = "not there"
            continue
        done = run([tool, "--tool", check, "--error-exitcode", "9", args.dlbc, "run", model, "--inputs", inputs,
                    "--device", args.device], timeout=300)
        results[check] = "no errors" if done.returncode == 0 else f"exit code {done.returncode}"
    return results


def models(torch):
    """Models with random weights and fixed seeds: name, module, inputs by name."""
    torch.manual_seed(0)
    try:
        import torchvision

        net = torchvision.models.resnet50(weights=None).eval()
        for batch in (1, 8):
            yield f"ResNet-50|{batch}", net, {"x": torch.randn(batch, 3, 224, 224)}
    except ImportError:
        print("skipped: no torchvision", file=sys.stderr)
    try:
        import transformers

        class Logits(torch.nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, input_ids):
                return self.net(input_ids=input_ids).logits

        bert = transformers.BertForSequenceClassification(transformers.BertConfig()).eval()
        for tokens, batch in ((128, 1), (128, 8), (512, 1)):
            ids = torch.randint(0, 30000, (batch, tokens))
            yield f"BERT-base, {tokens} tokens|{batch}", Logits(bert), {"input_ids": ids}
        config = transformers.LlamaConfig(
            hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12, use_cache=False
        )
        llama = transformers.LlamaForCausalLM(config).eval()
        for tokens in (128, 1024):
            yield f"LLaMA-like, {tokens} tokens|1", Logits(llama), {"input_ids": torch.randint(0, 30000, (1, tokens))}
    except ImportError:
        print("skipped: no transformers", file=sys.stderr)

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.LSTM(64, 256, num_layers=2, batch_first=True)
            self.head = torch.nn.Linear(256, 10)

        def forward(self, x):
            return self.head(self.net(x)[0][:, -1])

    # cuDNN gives no gradients of recurrences in evaluation mode; nothing here differs by mode.
    yield "LSTM of 2 layers, 500 steps|8", Last(), {"x": torch.randn(8, 500, 64)}


def export(torch, net, inputs, path):
    torch.onnx.export(net, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
                      opset_version=17, dynamo=False)


def milliseconds(torch, body, rounds=30):
    for _ in range(10):
        body()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        body()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def peers(torch, net, inputs, precision):
    """Torch's forward, and its forward with the gradient of the input (of the embeddings, for ids), in the same precision."""
    coarse = precision in ("tf32", "bf16")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = coarse
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
        return both(torch, net, inputs)


def both(torch, net, inputs):
    net = net.cuda()
    inputs = {k: v.cuda() for k, v in inputs.items()}
    name, x = next(iter(inputs.items()))

    def forward():
        with torch.no_grad():
            net(x)

    if x.dtype.is_floating_point:
        leaf = x.clone().requires_grad_()

        def gradient():
            torch.autograd.grad(net(leaf).flatten(1)[:, 0].sum(), leaf)
    else:
        table = net.net.get_input_embeddings()
        kept = {}
        table.register_forward_hook(lambda _m, _i, out: kept.setdefault("leaf", out.detach().requires_grad_()))

        def gradient():
            kept.clear()
            y = net(x)
            torch.autograd.grad(y.flatten(1)[:, 0].sum(), kept["leaf"])

    times = milliseconds(torch, forward), milliseconds(torch, gradient)
    net.cpu()
    torch.cuda.empty_cache()
    return times


def micro(torch):
    """Torch's side of the table of operations; ours has no entry point of its own and stays blank."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    a, w = torch.randn(4096, 4096, device="cuda"), torch.randn(64, 64, 3, 3, device="cuda")
    x, big = torch.randn(8, 64, 56, 56, device="cuda"), torch.empty(1 << 28, device="cuda")
    few, to = torch.randn(16, 4096, device="cuda"), torch.empty_like(big)
    heads = [torch.randn(1, 12, 1024, 64, device="cuda") for _ in range(3)]
    return {
        "product 4096x4096x4096, float32": milliseconds(torch, lambda: a @ a),
        "product 16x4096x4096, float32": milliseconds(torch, lambda: few @ a),
        "convolution 3x3, 64 channels, 56x56, batch 8": milliseconds(
            torch, lambda: torch.nn.functional.conv2d(x, w, padding=1)),
        "attention, 12 heads of 64, 1024 tokens": milliseconds(
            torch, lambda: torch.nn.functional.scaled_dot_product_attention(*heads)),
        "softmax 4096x4096": milliseconds(torch, lambda: torch.softmax(a, 1)),
        "copy, 1 GiB": milliseconds(torch, lambda: to.copy_(big)),
    }


def row(cells):
    return "| " + " | ".join(cells) + " |"


def cell(value, digits=3):
    return "" if value is None else f"{value:.{digits}g}"


def report(device, checks, operations, timed):
    text = ["# Results on GPUs", "", "Written by `scripts/cuda/gpu_suite.py`; blank is what was not measured.", "", device, "",
            "## Correctness", "", row(["check", "result"]), row(["---", "---"])]
    text += [row([k, v]) for k, v in checks]
    text += ["", "## Kernels", "", "Milliseconds.", "", row(["operation", "ours", "torch", "ratio"]), row(["---"] * 4)]
    text += [row([k, "", cell(v), ""]) for k, v in operations.items()]
    text += ["", "## Models", "",
             "Milliseconds, medians. A: torch forward. B: torch forward and the gradient of the input. C: dlbc forward. "
             "D: dlbc forward and", "relevance, copies from and to the host included. Torch computes in float32 "
             "beside 3xtf32, in tf32, and under autocast to bfloat16.", "",
             row(["model", "batch", "precision", "A", "B", "C", "D", "C/A", "D/A", "D/B"]), row(["---"] * 10)]
    for name, (a, b, c, d) in timed.items():
        ratio = lambda x, y: None if x is None or y is None else x / y
        text.append(row(name.split("|") + [cell(v) for v in (a, b, c, d, ratio(c, a), ratio(d, a), ratio(d, b))]))
    return "\n".join(text) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dlbc", default=ROOT / "target" / "release" / "dlbc", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--seconds", type=float, default=480, help="no model is begun after so many")
    args = parser.parse_args()
    begun = time.monotonic()
    import numpy as np

    smi = run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]) \
        if shutil.which("nvidia-smi") else None
    if smi is None or smi.returncode:
        print("error: no GPU: nvidia-smi is not there or fails", file=sys.stderr)
        return 5
    version = run([args.dlbc, "--version"]).stdout.strip()
    device = f"Device: {smi.stdout.strip()}. Program: {version}."
    print(device)
    checks, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)

        def check(name, model, inputs):
            good = True
            for precision, bound in BOUNDS.items():
                file = f"{name}.{precision}".replace(" ", "_").replace("|", "_")
                worst, same = compare(args, folder, file, model, inputs, precision)
                good &= worst <= bound and same
                checks.append((f"{name.replace('|', ', batch ')} in {precision} against the processor",
                               f"{worst:.1e} of the sum, {'the same bits' if same else 'OTHER BITS'} again"))
                print(*checks[-1], sep=": ")
            return good

        for name, model, inputs in shipped():
            failed |= not check(name, model, inputs)
        for tool, result in sanitizer(args).items():
            checks.append((f"compute-sanitizer {tool}", result))
            failed |= result.startswith("exit")
        operations, timed = {}, {}
        try:
            import torch
        except ImportError:
            torch = None
            print("skipped: no torch, so no peers and no models", file=sys.stderr)
        if torch is not None and not failed:
            operations = micro(torch)
            for name, net, inputs in models(torch):
                if time.monotonic() - begun > args.seconds:
                    print(f"skipped: {name}, no time left", file=sys.stderr)
                    continue
                path, arrays = folder / "model.onnx", folder / "inputs.npz"
                export(torch, net, inputs, path)
                np.savez(arrays, **{k: v.numpy() for k, v in inputs.items()})
                if not check(name, path, arrays):
                    failed = True
                    break
                # Rounds alternate, so that a clock that drifts drifts for both.
                for precision in TIMED:
                    rounds = []
                    for _ in range(3):
                        a, b = peers(torch, net, inputs, precision)
                        seconds = explain(args, path, arrays, args.device, None, 20, precision)["seconds"]
                        c = 1e3 * seconds["forward"]
                        rounds.append((a, b, c, c + 1e3 * seconds["reverse"]))
                    timed[f"{name}|{precision}"] = [statistics.median(r[i] for r in rounds) for i in range(4)]
                    print(name, precision, timed[f"{name}|{precision}"])
    text = report(device, checks, operations, timed)
    print(text)
    if args.write:
        args.write.write_text(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
