"""A stand-in for NVIDIA's package of this name, for rehearsals: the functions that the suite calls, over the interpreter.

`DLBC_PTXSIM` names the built example `serve` of `cuda/ptxsim`. `DLBC_PLANT=FAULT:KERNEL` makes the results of a kernel
wrong: `zeros`, `row`, `nan`, `last`; `hang` and `crash` end the process instead.
"""
import atexit
import ctypes
import os
import subprocess
import time
from enum import IntEnum

import numpy as np


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class CUjit_option(IntEnum):
    CU_JIT_INFO_LOG_BUFFER = 3
    CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES = 4
    CU_JIT_ERROR_LOG_BUFFER = 5
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6
    CU_JIT_LOG_VERBOSE = 12


class CUfunction_attribute(IntEnum):
    CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3
    CU_FUNC_ATTRIBUTE_NUM_REGS = 4
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


OK = CUresult.CUDA_SUCCESS
# Bytes of memory; what is taken costs the interpreter several times as much.
CAPACITY = 128 << 20
# The launches of a graph under capture.
capture = None
# Once a launch has failed, every call fails, as on a device.
broken = False
sizes = {}


class Server:
    def __init__(self) -> None:
        self.process = subprocess.Popen([os.environ["DLBC_PTXSIM"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.process.kill)

    def ask(self, line: str, payload: bytes = b"", answer: int = 0) -> tuple:
        self.process.stdin.write(line.encode() + b"\n" + payload)
        self.process.stdin.flush()
        said = self.process.stdout.readline().decode().split(None, 1)
        if not said or said[0] != "ok":
            return None, said[1].strip() if len(said) > 1 else "the interpreter ended"
        return (said[1].split() if len(said) > 1 else []), self.process.stdout.read(answer) if answer else b""


server = Server()


class Function:
    def __init__(self, number: int, name: str, params: int) -> None:
        self.number, self.name, self.params = number, name, params


def cuInit(flags):
    return (OK,)


def cuDeviceGet(ordinal):
    return OK, ordinal


def cuDevicePrimaryCtxRetain(device):
    return OK, "context"


def cuCtxSetCurrent(context):
    return (OK,)


def cuStreamCreate(flags):
    return OK, "stream"


def cuDeviceGetName(length, device):
    return OK, b"PTX interpreter".ljust(length, b"\0")


def cuDriverGetVersion():
    return OK, 13000


def cuMemGetInfo():
    return OK, CAPACITY - sum(sizes.values()), CAPACITY


def cuMemAlloc(size):
    if size > CAPACITY - sum(sizes.values()):
        return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
    numbers, _ = server.ask(f"allocate {size}")
    if numbers is None:
        return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
    sizes[int(numbers[0])] = (size + 3) // 4 * 4
    return OK, int(numbers[0])


def cuMemFree(address):
    server.ask(f"release {address}")
    sizes.pop(address, None)
    return (OK,)


def cuMemcpyHtoD(address, source, size):
    if broken:
        return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
    numbers, _ = server.ask(f"write {address} {size}", bytes(memoryview(source).cast("B"))[:size])
    return (OK if numbers is not None else CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)


def cuMemcpyDtoH(target, address, size):
    if broken:
        return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
    numbers, content = server.ask(f"read {address} {size}", answer=size)
    if numbers is None:
        return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
    memoryview(target).cast("B")[:size] = content
    return (OK,)


def cuModuleLoadDataEx(image, count, keys, values):
    if count != len(keys) or count != len(values) or not image.endswith(b"\0"):
        return CUresult.CUDA_ERROR_INVALID_PTX, None
    text = image[:-1]
    name = text.split(b".entry ")[1].split(b"(")[0].decode()
    logs = {key: value for key, value in zip(keys, values) if isinstance(value, bytearray)}
    # Dynamic shared memory comes with the launch; the interpreter wants it here, so all that a block may take.
    numbers, said = server.ask(f"load {name} {99 << 10} {len(text)}", text)
    if numbers is None:
        logs[CUjit_option.CU_JIT_ERROR_LOG_BUFFER][:len(said)] = said.encode()
        return CUresult.CUDA_ERROR_INVALID_PTX, None
    return OK, Function(int(numbers[0]), name, int(numbers[2]))


def cuModuleGetFunction(module, name):
    assert module.name == name.decode()
    return OK, module


def cuFuncGetAttribute(attribute, function):
    return OK, 0


def cuFuncSetAttribute(function, attribute, value):
    return (OK,)


def cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, params, extra):
    first = ctypes.cast(params, ctypes.POINTER(ctypes.c_void_p))[0]
    launch = function, (gx, gy, gz), ctypes.string_at(first, function.params)
    if capture is not None:
        capture.append(launch)
        return (OK,)
    return (execute(*launch),)


def execute(function, grid, params):
    global broken
    fault, _, name = os.environ.get("DLBC_PLANT", "").partition(":")
    planted = name == function.name
    if planted and fault == "hang":
        time.sleep(1e6)
    if planted and fault == "crash":
        os._exit(139)
    before = contents() if planted else {}
    numbers, said = server.ask(f"launch {function.number} {grid[0]} {grid[1]} {grid[2]} {len(params)}", params)
    if numbers is None:
        broken = True
        print(said, flush=True)
        return CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    if planted:
        plant(fault, before)
    return OK


def contents():
    return {at: np.frombuffer(server.ask(f"read {at} {size}", answer=size)[1], np.uint32) for at, size in sizes.items()}


def plant(fault, before):
    """Spoils the first buffer of more than one word that the launch wrote."""
    for at, after in contents().items():
        changed = np.flatnonzero(after != before[at])
        if changed.size < 2:
            continue
        words = after.copy()
        floats = words.view(np.float32)
        if fault == "zeros":
            words[changed] = 0
        elif fault == "row":
            width = min(16, changed.size // 2)
            words[changed[:width]], words[changed[-width:]] = after[changed[-width:]], after[changed[:width]]
        elif fault == "nan":
            floats[changed[changed.size // 2]] = np.nan
        elif fault == "last":
            floats[changed[-1]] += 1e-3 * np.nanmax(np.abs(floats[changed]))
        server.ask(f"write {at} {words.nbytes}", words.tobytes())
        return


def cuStreamSynchronize(stream):
    return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS if broken else OK,)


cuEventSynchronize = cuStreamSynchronize


def cuCtxSynchronize():
    return cuStreamSynchronize(None)


def cuStreamBeginCapture(stream, mode):
    global capture
    capture = []
    return (OK,)


def cuStreamEndCapture(stream):
    global capture
    graph, capture = capture, None
    return OK, graph


def cuGraphInstantiate(graph, flags):
    return OK, graph


def cuGraphLaunch(graph, stream):
    codes = [execute(*launch) for launch in graph]
    return (max(codes, default=OK),)


def cuEventCreate(flags):
    return OK, [0.0]


def cuEventRecord(event, stream):
    event[0] = time.perf_counter()
    return (OK,)


def cuEventElapsedTime(begin, end):
    return OK, max(1e3 * (end[0] - begin[0]), 1e-6)
