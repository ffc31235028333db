"""A thin layer over the driver's interface for Python: memory with guard words, kernels from PTX, launches, graphs, events."""
import ctypes
import time

import numpy as np
from cuda.bindings import driver

GUARD = 256
GUARD_BYTE, POISON = 0xA5, 0xFF
LOG = 1 << 14


class Fault(RuntimeError):
    """A call of the driver that failed."""


def call(result, what: str = ""):
    """The values of a call of the driver; raises what failed."""
    code, *values = result
    if int(code) != 0:
        raise Fault(f"{what or 'driver'}: {getattr(code, 'name', code)}")
    return values[0] if len(values) == 1 else values or None


class Kernel:
    def __init__(self, function, milliseconds: float, log: str, threads: int, shared: int) -> None:
        self.function, self.milliseconds, self.log = function, milliseconds, log
        self.threads, self.shared = threads, shared
        attribute = driver.CUfunction_attribute
        get = lambda a: call(driver.cuFuncGetAttribute(a, function), "cuFuncGetAttribute")
        self.registers = int(get(attribute.CU_FUNC_ATTRIBUTE_NUM_REGS))
        self.local = int(get(attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES))


class Block:
    """A buffer between two guards."""

    def __init__(self, device: "Device", size: int, guard: int = GUARD) -> None:
        self.size, self.guard = size, guard
        whole = max(4, (size + 3) // 4 * 4) + 2 * guard
        self.base = int(call(driver.cuMemAlloc(whole), "cuMemAlloc"))
        self.address, self.whole = self.base + guard, whole

    def fill(self, content: bytes | None) -> None:
        """Writes the guards and the content, or poison where there is none."""
        image = np.full(self.whole, GUARD_BYTE, np.uint8)
        inner = image[self.guard:self.guard + self.size]
        inner[:] = POISON if content is None else np.frombuffer(content, np.uint8)
        call(driver.cuMemcpyHtoD(self.base, image, self.whole), "cuMemcpyHtoD")

    def read(self) -> tuple:
        """The content in words, and whether both guards are intact."""
        image = np.empty(self.whole, np.uint8)
        call(driver.cuMemcpyDtoH(image, self.base, self.whole), "cuMemcpyDtoH")
        inner = image[self.guard:self.guard + self.size]
        outside = np.concatenate([image[:self.guard], image[self.guard + self.size:]])
        return inner.copy().view(np.uint32), bool((outside == GUARD_BYTE).all())

    def release(self) -> None:
        driver.cuMemFree(self.base)


class Device:
    def __init__(self, ordinal: int = 0) -> None:
        call(driver.cuInit(0), "cuInit")
        handle = call(driver.cuDeviceGet(ordinal), "cuDeviceGet")
        context = call(driver.cuDevicePrimaryCtxRetain(handle), "cuDevicePrimaryCtxRetain")
        call(driver.cuCtxSetCurrent(context), "cuCtxSetCurrent")
        # A stream that waits for the copies of the legacy stream.
        self.stream = call(driver.cuStreamCreate(0), "cuStreamCreate")
        name = call(driver.cuDeviceGetName(128, handle), "cuDeviceGetName")
        self.name = name.split(b"\0")[0].decode() if isinstance(name, bytes) else str(name)
        self.version = int(call(driver.cuDriverGetVersion(), "cuDriverGetVersion"))

    def load(self, name: str, text: str, threads: int, shared: int) -> Kernel:
        option = driver.CUjit_option
        log, errors = bytearray(LOG), bytearray(LOG)
        keys = [option.CU_JIT_INFO_LOG_BUFFER, option.CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                option.CU_JIT_ERROR_LOG_BUFFER, option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, option.CU_JIT_LOG_VERBOSE]
        begin = time.perf_counter()
        code, module = driver.cuModuleLoadDataEx(text.encode() + b"\0", len(keys), keys, [log, LOG, errors, LOG, 1])
        milliseconds = 1e3 * (time.perf_counter() - begin)
        said = lambda buffer: bytes(buffer).split(b"\0")[0].decode(errors="replace").strip()
        if int(code) != 0:
            raise Fault(f"{name} does not load: {getattr(code, 'name', code)} {said(errors)}")
        function = call(driver.cuModuleGetFunction(module, name.encode()), "cuModuleGetFunction")
        if shared:
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            call(driver.cuFuncSetAttribute(function, attribute, shared), "cuFuncSetAttribute")
        return Kernel(function, milliseconds, said(log), threads, shared)

    def launch(self, kernel: Kernel, grid: list, params: bytes) -> None:
        block = ctypes.create_string_buffer(bytes(params), len(params))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        call(driver.cuLaunchKernel(kernel.function, *grid, kernel.threads, 1, 1, kernel.shared, self.stream,
                                   ctypes.addressof(pointers), 0), "cuLaunchKernel")

    def synchronize(self) -> None:
        call(driver.cuStreamSynchronize(self.stream), "cuStreamSynchronize")

    def graph(self, launches: list):
        """A graph of launches: kernel, grid and parameter block of each."""
        call(driver.cuStreamBeginCapture(self.stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
             "cuStreamBeginCapture")
        for kernel, grid, params in launches:
            self.launch(kernel, grid, params)
        graph = call(driver.cuStreamEndCapture(self.stream), "cuStreamEndCapture")
        return call(driver.cuGraphInstantiate(graph, 0), "cuGraphInstantiate")

    def times(self, graph, seconds: float, warm: float = 1.0, most: int = 400) -> list:
        """Milliseconds of replays of a graph, by events, after the clocks had `warm` seconds to rise."""
        begin, end = (call(driver.cuEventCreate(0), "cuEventCreate") for _ in range(2))

        def replay() -> float:
            call(driver.cuEventRecord(begin, self.stream), "cuEventRecord")
            call(driver.cuGraphLaunch(graph, self.stream), "cuGraphLaunch")
            call(driver.cuEventRecord(end, self.stream), "cuEventRecord")
            call(driver.cuEventSynchronize(end), "cuEventSynchronize")
            return float(call(driver.cuEventElapsedTime(begin, end), "cuEventElapsedTime"))

        until = time.monotonic() + warm
        replay()
        while time.monotonic() < until:
            replay()
        taken, until = [replay()], time.monotonic() + seconds
        while time.monotonic() < until and len(taken) < most:
            taken.append(replay())
        return taken
