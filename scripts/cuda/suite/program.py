"""The program `dlbc` of a packed suite."""
import json
import lzma
import os
import subprocess
from pathlib import Path

import processes

# Where drivers stand that the loader does not know.
DRIVERS = ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"]


def unpacked(pack: Path) -> Path:
    """The program, which is unpacked at its first use."""
    path = Path(os.environ.get("DLBC_UNPACKED", "/tmp")) / f"dlbc-{os.getuid()}-{(pack / 'dlbc.xz').stat().st_mtime_ns}"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(lzma.decompress((pack / "dlbc.xz").read_bytes()))
        partial.chmod(0o755)
        partial.rename(path)
    return path


def environment(extra: dict = {}) -> dict:
    libraries = [os.environ.get("LD_LIBRARY_PATH", ""), *DRIVERS]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(p for p in libraries if p), **extra}


def run(pack: Path, arguments: list, extra: dict = {}, limit: float = 60) -> subprocess.CompletedProcess:
    """Runs the program to its end or its limit."""
    return processes.finish([unpacked(pack), *arguments], limit, env=environment(extra))


def answer(done: subprocess.CompletedProcess) -> dict:
    """What the program printed as JSON."""
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    return json.loads(done.stdout)
