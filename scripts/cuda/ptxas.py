"""NVIDIA's assemblers from PyPI, pinned by hash, and what they say of kernels.

Their licence does not let us pass them on: they go to the cache. What an assembler said of a text is kept there, too.
"""
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kernel_files import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements-ptxas.txt")
CACHE = Path(os.environ.get("DLBC_CACHE", ROOT / ".cache")) / "ptxas"
TARGETS = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"]
# Bytes of kernels that are assembled in one call: starting the assembler takes longer than a small kernel.
BATCH = 150_000


def assemblers() -> dict:
    """Programs by version, oldest first."""
    pins = re.findall(r"^([\w-]+)==([\d.]+) --hash", REQUIREMENTS.read_text(), re.M)
    return {version: downloaded(name, version) for name, version in pins}


def downloaded(name: str, version: str) -> Path:
    binary = CACHE / f"ptxas-{version}"
    if not binary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            pin = Path(folder) / "pin.txt"
            pin.write_text(next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith(f"{name}==")))
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--only-binary", ":all:", "--platform", "manylinux2010_x86_64", "--platform", "manylinux2014_x86_64",
                 "--require-hashes", "--dest", folder, "-r", str(pin)],
                check=True,
            )
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
                member = next(m for m in archive.namelist() if m.endswith("/bin/ptxas"))
                partial = Path(folder) / "ptxas"
                partial.write_bytes(archive.read(member))
                partial.chmod(partial.stat().st_mode | stat.S_IXUSR)
                partial.rename(binary)
    return binary


def call(tool: Path, text: str, target: str) -> tuple:
    """Exit code and log of an assembly."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([tool, f"-arch={target}", "-v", "--warn-on-spills", "-o", os.devnull, file.name],
                              capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def read(log: str) -> dict:
    """Registers, bytes of spills and shared memory by entry point."""
    result: dict = {}
    for part in log.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]

        def number(pattern: str) -> int:
            match = re.search(pattern, part)
            return int(match.group(1)) if match else 0

        result[name] = {
            "registers": number(r"Used (\d+) registers"),
            "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            "shared": number(r"(\d+) bytes smem"),
        }
    return result


def joined(texts: dict) -> str:
    """Kernels as one module: the header of the first, one declaration of dynamic shared memory, every entry point."""
    head, _, _ = next(iter(texts.values())).partition(".visible")
    head = head.split(".extern")[0]
    shared = ".extern .shared .align 16 .b8 smem[];\n\n"
    dynamic = any(".extern .shared" in text for text in texts.values())
    return head + (shared if dynamic else "") + "\n".join(".visible" + t.partition(".visible")[2] for t in texts.values())


def assemble(tool: Path, texts: dict, target: str) -> dict:
    """Assembles kernels together, and one by one if the assembler refuses them together."""
    code, log = call(tool, joined(texts), target)
    result = read(log) if code == 0 else {}
    if code == 0 and set(result) == set(texts):
        return result
    if len(texts) == 1:
        return {name: {"error": log.strip().splitlines()[:3]} for name in texts}
    return {k: v for name, text in texts.items() for k, v in assemble(tool, {name: text}, target).items()}


def batches(texts: dict) -> list:
    """Kernels with and without dynamic shared memory apart, each batch up to its size."""
    result: list = []
    for dynamic in (False, True):
        size, batch = 0, {}
        for name, text in sorted(texts.items()):
            if (".extern .shared" in text) != dynamic:
                continue
            if batch and size + len(text) > BATCH:
                result.append(batch)
                size, batch = 0, {}
            batch[name], size = text, size + len(text)
        if batch:
            result.append(batch)
    return result


def assembled(texts: dict, pairs: list, jobs: int) -> dict:
    """What each assembler says of each kernel for each chip: results by kernel and pair of version and chip."""
    tools = assemblers()
    path = CACHE / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    results, work = {}, []
    for version, target in pairs:
        missing = {}
        for name, text in texts.items():
            said = known.get(f"{version} {target} {digests[name]}")
            if said is None:
                missing[name] = text
            else:
                results[name, version, target] = said
        work += [(version, target, batch) for batch in batches(missing)]
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = pool.map(lambda w: assemble(tools[w[0]], w[2], w[1]), work)
        for (version, target, _), said in zip(work, outcomes):
            for name, fields in said.items():
                results[name, version, target] = fields
                known[f"{version} {target} {digests[name]}"] = fields
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(known))
    partial.rename(path)
    return results
