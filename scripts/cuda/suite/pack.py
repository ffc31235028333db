#!/usr/bin/env python3
"""Packs the suite for a machine with a GPU that has Python and nothing of this project: code, cases, program, results.

    scripts/cuda/suite/pack.py [--to target/gpu-suite] [--dlbc PROGRAM] [--small]

Builds the program (stripped and compressed), has the tests write their cases, computes on the processor what the device must
give, and says the one command to run there. With --small: small sizes, for rehearsals on the interpreter.
"""
import argparse
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from kernel_files import ROOT, write_cases, write_operations  # noqa: E402 (the lines above come first)

CODE = ["checks", "counters", "device", "dump", "graphs", "kernels", "machine", "models", "paths", "peers", "processes",
        "program", "rates", "run", "sanitizer", "store", "table", "vectors"]
PRECISIONS = ["3xtf32", "tf32", "bf16", "simt"]
# Name, model, its input archive or other arguments.
SHIPPED = [
    ("digits_cnn", "digits_cnn/model.onnx", "digits_cnn/input.npz"),
    ("tabular_mlp", "tabular_mlp/model.onnx", "tabular_mlp/input.npz"),
    ("resnet_bottleneck", "tiny/resnet_bottleneck.onnx", "tiny/resnet_bottleneck.npz"),
    ("textcnn", "tiny/textcnn.onnx", "tiny/textcnn.npz"),
    ("experts", "experts/model.onnx", "experts/input.npz"),
    ("wine", "tables/wine.onnx", "tables/wine.npz"),
    ("sentiment_bert", "sentiment_bert/model.onnx", None),
]
TEXT = ["--text", "a fine film that I would not miss"]
# Faults of the tests' driver that stand for taken memory and a missing device.
STANDINS = {"no_memory": {"FAKE_CUDA": "memory=65536"}, "no_device": {"FAKE_CUDA": "cuInit=100"}}
# Runs with changing inputs in one process: the samples of smoothgrad, drawn from a seed.
SAMPLES = {False: 200, True: 6}


def language_model(name: str, layers: int, width: int, heads: int, kv_heads: int, hidden: int, vocabulary: int, tied: bool,
                   tokens: int) -> dict:
    return {"name": f"{name}, {tokens} tokens", "kind": "llama", "layers": layers, "width": width, "heads": heads,
            "kv_heads": kv_heads, "hidden": hidden, "vocabulary": vocabulary, "tied": tied, "tokens": tokens, "batch": 1}


def models(small: bool) -> list:
    """Models, cheapest first. Small ones have two layers, and take the same path."""
    layers, side = ([1, 1], 32) if small else ([3, 4, 6, 3], 224)
    resnet = {"kind": "resnet", "layers": layers, "side": side}
    sizes = (2, 32, 2, 64, 100) if small else (12, 768, 12, 3072, 30522)
    bert = dict(zip(("layers", "width", "heads", "hidden", "vocabulary"), sizes), kind="bert", tokens=8 if small else 128)
    llama = (2, 32, 2, 2, 64, 100, False) if small else (12, 768, 12, 12, 2048, 32000, False)
    large = (2, 64, 4, 2, 96, 120, True) if small else (2, 3072, 24, 8, 8192, 128256, True)
    listed = [
        {**resnet, "name": "ResNet-50, batch 1", "batch": 1},
        {**bert, "name": "BERT-base, 128 tokens, batch 1", "batch": 1},
        {**resnet, "name": "ResNet-50, batch 8", "batch": 2 if small else 8},
        {**bert, "name": "BERT-base, 128 tokens, batch 8", "batch": 2 if small else 8},
        language_model("LLaMA-like of 12 layers", *llama, 12 if small else 1024),
        language_model("two layers of LLaMA-3.2-3B", *large, 8 if small else 256),
        language_model("two layers of LLaMA-3.2-3B", *large, 20 if small else 1500),
    ]
    for model in listed:
        model["repeat"] = 1 if small else 30
        # What the processor computes in a second or two.
        model["check"] = model["batch"] == 1 and model["kind"] != "llama" or small
        model["precisions"] = (["3xtf32", "bf16"] if model["batch"] == 1 else ["bf16"]) if small else ["3xtf32", "tf32", "bf16"]
    return listed


def compress(path: Path, preset: int) -> None:
    path.with_name(path.name + ".xz").write_bytes(lzma.compress(path.read_bytes(), preset=preset))
    path.unlink()


def written(to: Path, small: bool) -> None:
    """The cases of the interpreter and the launches of single operations."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_cases(folder / "cases")
        write_operations(folder / "rates")
        shutil.move(folder / "cases", to / "cases")
        shutil.move(folder / "rates" / ("small" if small else "full"), to / "rates")
    for file in [*(to / "cases").iterdir(), *(to / "rates").iterdir()]:
        compress(file, 1 if small else 6)


def program(to: Path, built: Path, small: bool) -> None:
    target = to / "dlbc"
    shutil.copy(built, target)
    subprocess.run(["strip", str(target)], check=True)
    compress(target, 0 if small else 6)


def jobs(to: Path, built: Path, small: bool) -> list:
    """Runs of the program on what ships, with the processor's results."""
    (to / "expected").mkdir()
    result = []
    for name, model, inputs in SHIPPED:
        for file in filter(None, [model, inputs, *(["sentiment_bert/tokenizer.json"] if inputs is None else [])]):
            target = to / "fixtures" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "fixtures" / file, target)
        given = ["--inputs", f"fixtures/{inputs}"] if inputs else TEXT
        job = {"name": name, "kind": "model", "arguments": [f"fixtures/{model}", *given, "--target", "0"],
               "precisions": PRECISIONS if not small or name == "digits_cnn" else ["3xtf32"], "expected": f"expected/{name}.npz"}
        if inputs:
            job["inputs"] = f"fixtures/{inputs}"
        result.append(job)
    rules = (ROOT / "compiler/rules/smoothgrad.toml").read_text().replace("samples = 32", f"samples = {SAMPLES[small]}")
    (to / "fixtures" / "changing.toml").write_text(rules)
    result.append({**result[0], "name": f"digits_cnn with {SAMPLES[small]} inputs in one process", "kind": "inputs",
                   "arguments": [*result[0]["arguments"], "--rules", "fixtures/changing.toml"],
                   "precisions": ["3xtf32"], "expected": "expected/changing.npz"})
    for job in result:
        arguments = [str(to / a) if a.startswith("fixtures/") else a for a in job["arguments"]]
        subprocess.run([str(built), "run", *arguments, "--device", "cpu", "--quiet", "--out", str(to / job["expected"])],
                       check=True, stdout=subprocess.DEVNULL)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "target" / "gpu-suite")
    parser.add_argument("--dlbc", type=Path, help="a program that is built already")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    to = args.to.resolve()
    shutil.rmtree(to, ignore_errors=True)
    (to / "suite").mkdir(parents=True)
    for name in CODE:
        shutil.copy(HERE / f"{name}.py", to / "suite")
    shutil.copy(ROOT / "scripts" / "fixtures" / "make_transformers.py", to / "suite")
    built = args.dlbc
    if built is None:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
        built = ROOT / "target" / "release" / "dlbc"
    written(to, args.small)
    program(to, built, args.small)
    plan = {
        "paths": jobs(to, built, args.small), "models": models(args.small),
        "jobs": 2 if args.small else 6, "only": "", "sanitized": "transpose" if args.small else "",
        "points": 4096 if args.small else 1 << 20, "sample": 0.01 if args.small else 0.4,
        "limit": 60 if args.small else 30, "model_limit": 60, **(STANDINS if args.small else {"no_memory": {}, "no_device": {}}),
    }
    (to / "plan.json").write_text(json.dumps(plan, indent=1))
    files = [f for f in to.rglob("*") if f.is_file()]
    for part in sorted(p for p in to.iterdir()):
        size = sum(f.stat().st_size for f in files if f == part or part in f.parents)
        print(f"{size / 2**20:8.2f} MiB  {part.name}")
    print(f"{sum(f.stat().st_size for f in files) / 2**20:8.2f} MiB  in all, in {to}")
    shown = to.relative_to(ROOT) if to.is_relative_to(ROOT) else to
    print(f"on the machine with the GPU: python3 {shown}/suite/run.py --out \"$OUT\"")
    print("the page from its results:   scripts/cuda/suite/table.py results.jsonl --write docs/gpu-results.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
