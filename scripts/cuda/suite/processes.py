"""Processes that end with their parent, and in time."""
import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1


def bound() -> None:
    """Runs in a child before its program: it is killed when its parent ends."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


def start(command: list, **options) -> subprocess.Popen:
    """Starts a process in a group of its own."""
    return subprocess.Popen(list(map(str, command)), process_group=0, preexec_fn=bound, **options)


def stop(process: subprocess.Popen) -> None:
    """Kills a process and the group that it leads."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def finish(command: list, limit: float, given: str | None = None, **options) -> subprocess.CompletedProcess:
    """Runs a process to its end or its limit; a stopped one has the exit code -9."""
    pipes = {"stdin": subprocess.PIPE if given is not None else subprocess.DEVNULL, "stdout": subprocess.PIPE,
             "stderr": subprocess.PIPE}
    process = start(command, text=True, errors="replace", **{**pipes, **options})
    try:
        out, err = process.communicate(given, timeout=limit)
        return subprocess.CompletedProcess(command, process.returncode, out, err)
    except subprocess.TimeoutExpired:
        stop(process)
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, -9, out or "", f"{err or ''}\nstopped after {limit:g} s")
