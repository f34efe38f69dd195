# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks measure with: time, peak memory, and where it was; and where they write it."""

import ctypes
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
import trl


ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


class Meter:
    """Seconds and peak MiB of the parts of a step."""

    def __init__(self, device: str):
        self.on_gpu = device.startswith("cuda")
        self.seconds: dict[str, float] = {}
        self.peak_mib: dict[str, float] = {}

    def now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def reset_peak(self) -> int:
        """Make what is in memory now the peak, and return it in bytes."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
        Path("/proc/self/clear_refs").write_text("5")
        return resident_peak()

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated() if self.on_gpu else resident_peak()

    def start(self) -> tuple[float, int]:
        memory = self.reset_peak()
        return self.now(), memory

    def stop(self, part: str, started: tuple[float, int]) -> None:
        start, memory = started
        self.seconds[part] = self.seconds.get(part, 0.0) + self.now() - start
        self.peak_mib[part] = max(self.peak_mib.get(part, 0.0), (self.peak() - memory) / 2**20)

    def measured(self, part: str, function: Callable) -> Callable:
        def wrapper(*args, **kwargs):
            started = self.start()
            result = function(*args, **kwargs)
            self.stop(part, started)
            return result

        return wrapper


def resident_peak() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 2**10


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    names = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"CPU ({(names or [platform.machine()])[0]})"


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def write_results(benchmark: str, args, report: dict) -> None:
    """Write what a benchmark measured to the file that its arguments name, or else to the results of its device."""
    output = Path(args.output or RESULTS / f"{benchmark}_{args.device.split(':')[0]}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"Written to {os.path.relpath(output)}")
