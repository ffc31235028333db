#!/usr/bin/env python3
"""Times two builds of dlbc in turns and prints what changed: seconds, processor time, page faults and peak memory.

    scripts/bench/before_after.py BASE NEW [--models resnet50 bert-base llama-8x1024] [--rounds 9] [--threads 1]

Both are release builds. Each round runs BASE and NEW once on each model, each in a process of its own, in an order that
alternates, so that what disturbs the machine disturbs both. Both programs are copied first: a process maps fewer pages of a file
that has partly left the page cache, up to 3 MiB of the peak. A process explains `--repeats` times after a warm-up and gives the
medians. A cell is the median over the rounds; a ratio is the median of the ratios within a round, with the smallest and the
largest. Page faults show how often the allocator gave memory back to the system and asked for it again; 1000 of them take about
1.6 ms, and their number varies between processes of one program. The models have random weights and are written where they are
missing (`scripts/fixtures/make_models.py`, `scripts/fixtures/make_transformers.py`, with `.venv/bin/python`).
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024
# Key, title, digits.
ROWS = [
    ("start", "load, compile, prepare, ms", 1),
    ("forward", "forward, ms", 1),
    ("reverse", "reverse, ms", 1),
    ("explanation", "explanation, ms", 1),
    ("processor", "processor time of the process, s", 2),
    ("faults", "page faults, thousands", 0),
    ("peak", "peak memory, MiB", 0),
]


def model(name: str, cache: Path) -> Path:
    path = cache / "models" / name / "model.onnx"
    if not path.exists():
        script = "make_models.py" if name in ("resnet50", "vgg16") else "make_transformers.py"
        python = os.environ.get("DLBC_PYTHON", ROOT / ".venv/bin/python")
        subprocess.run([python, ROOT / "scripts" / "fixtures" / script, name, "--out", cache / "models"], check=True, stdout=sys.stderr)
    return path


def once(program: Path, path: Path, words: list) -> dict:
    """One process: milliseconds by phase, processor seconds and peak memory."""
    command = [program, "run", path, "--inputs", path.with_name("input.npz"), "--device", "cpu", "--json", "-q", *words]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(w) for w in command], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{program} failed with exit code {process.returncode} on {path}")
        out.seek(0)
        seconds = json.load(out)["seconds"]
    ms = {phase: 1e3 * s for phase, s in seconds.items()}
    return {
        "start": ms["load"] + ms["compile"] + ms["prepare"],
        "forward": ms["forward"],
        "reverse": ms["reverse"],
        "explanation": ms["forward"] + ms["reverse"],
        "processor": usage.ru_utime + usage.ru_stime,
        "faults": usage.ru_minflt / 1000,
        "peak": usage.ru_maxrss / MIB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="the program from before")
    parser.add_argument("new", type=Path, help="the program that is compared with it")
    parser.add_argument("--models", nargs="+", default=["resnet50", "bert-base", "llama-8x1024"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=3, help="explanations of a process after its warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rules", default="dlb", help="the composite")
    parser.add_argument("--mode", default="default")
    parser.add_argument("--json", type=Path, help="also write every measurement there")
    parser.add_argument("--cache", type=Path, default=Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")))
    args = parser.parse_args()
    words = ["--threads", args.threads, "--repeat", args.repeats, "--rules", args.rules, "--mode", args.mode]
    paths = {name: model(name, args.cache) for name in args.models}
    taken = {name: {"base": [], "new": []} for name in args.models}
    with tempfile.TemporaryDirectory() as folder:
        programs = {"base": shutil.copy2(args.base, Path(folder) / "base"), "new": shutil.copy2(args.new, Path(folder) / "new")}
        for i in range(args.rounds):
            for name, path in paths.items():
                for which in ("base", "new") if i % 2 == 0 else ("new", "base"):
                    taken[name][which].append(once(programs[which], path, words))
            print(f"round {i + 1} of {args.rounds}", file=sys.stderr, flush=True)
    print(f"{args.rounds} rounds, {args.threads} thread(s), rules {args.rules}, mode {args.mode}\n")
    print("| model | | BASE | NEW | NEW over BASE |\n| --- | --- | ---: | ---: | --- |")
    for name, by in taken.items():
        for key, title, digits in ROWS:
            base, new = ([r[key] for r in by[which]] for which in ("base", "new"))
            ratios = sorted(b / a for a, b in zip(base, new))
            cells = f"{median(base):.{digits}f} | {median(new):.{digits}f}"
            print(f"| {name} | {title} | {cells} | {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) |")
    if args.json:
        args.json.write_text(json.dumps(taken, indent=1))


if __name__ == "__main__":
    main()
