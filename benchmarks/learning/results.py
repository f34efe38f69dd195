# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Where results are, and how they are read and written."""

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

import trl_infopo


ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "learning"
CACHE = RESULTS / ".cache"  # warm starts, trained policies and logs, not committed


def result_path(regime_name: str, arm_name: str, seed: int, results: Path = RESULTS) -> Path:
    return results / regime_name / arm_name / f"{seed}.json"


def policy_path(regime_name: str, arm_name: str, seed: int, cache: Path = CACHE) -> Path:
    """Where the weights at the end of a run are kept, for tests with other users and tasks."""
    return cache / "policies" / f"{regime_name}-{arm_name}-{seed}.pt"


def read_result(path: Path) -> dict | None:
    """A result, `None` where there is none or only the beginning of one."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def read_seeds(directory: Path) -> dict[int, dict]:
    """All whole results of a directory, by seed."""
    paths = sorted(directory.glob("*.json"), key=lambda path: int(path.stem))
    return {int(path.stem): result for path in paths if (result := read_result(path)) is not None}


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def run_unless_done(path: Path, settings: dict, make: Callable[[], dict]) -> None:
    """Make and write a result, unless it is there, whole and of these settings."""
    result = read_result(path)
    if result is None or result["settings"] != settings:
        write_atomically(path, json.dumps(make(), separators=(",", ":")) + "\n")


def versions() -> dict[str, str]:
    return {
        "trl_infopo": trl_infopo.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def rounded(value: Any) -> Any:
    """Floats with four significant digits, which is more than a run is worth, and keeps results small."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
