"""The kernels of the library as files: the emitter writes them, the repository has a few of them as text."""
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "cuda" / "kernels" / "manifest.json"


def write(folder: Path) -> None:
    """Writes every kernel of the library to a folder, and the test then compares them with the manifest."""
    subprocess.run(
        ["cargo", "test", "--quiet", "--workspace", "--test", "library", "kernels_are_as_the_manifest_says"],
        check=True, cwd=ROOT, env={**os.environ, "DLBC_KERNELS_OUT": str(folder.resolve())}, stdout=subprocess.DEVNULL,
    )
