"""The kernels of the project as files: the tests write them, the repository has a few of them as text."""
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "cuda" / "kernels" / "manifest.json"


def test(binary: str, name: str, **variables: Path) -> None:
    """Runs a test that writes files to the folders that environment variables name."""
    environment = {**os.environ, **{k: str(v.resolve()) for k, v in variables.items()}}
    subprocess.run(["cargo", "test", "--quiet", "--workspace", "--test", binary, name], check=True, cwd=ROOT,
                   env=environment, stdout=subprocess.DEVNULL)


def write(folder: Path) -> None:
    """Writes every kernel of the library to a folder, and the test then compares them with the manifest."""
    test("library", "kernels_are_as_the_manifest_says", DLBC_KERNELS_OUT=folder)


def write_plans(folder: Path) -> None:
    """Writes the kernels that plans of whole models emit, without running them."""
    test("cuda", "plans_emit_kernels_that_are_right", DLBC_PLAN_KERNELS=folder, DLBC_WRITE_ONLY=folder)


def write_cases(folder: Path) -> None:
    """Writes the launches of the interpreter's tests: `index.json`, and the contents of all buffers in `blobs.bin`."""
    test("interpreted", "cases_are_written", DLBC_CASES=folder)


def write_operations(folder: Path) -> None:
    """Writes the launches that plans of single operations take."""
    test("cuda", "operations_are_written", DLBC_OPERATIONS=folder)
