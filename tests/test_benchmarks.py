# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The speed benchmarks run, in sizes that say nothing about speed."""

import json
import runpy
import sys
from pathlib import Path

import pytest


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = ["--hidden_size", "192", "--num_hidden_layers", "1", "--repeats", "1", "--turns", "3"]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "options", "seconds"),
    [
        pytest.param(
            *("skipping", ["--num_tied", "1", "--num_groups", "2"], ["rows", 0, "scoring_seconds", "skipping"]),
            marks=pytest.mark.thorough,
        ),
        ("rollout", [], ["rows", 0, "seconds", "reading"]),
        ("step", ["--scaling_turns", "4", "8", "--scaling_tokens", "512"], ["steps", 0, "seconds", "tree"]),
        ("scoring", ["--num_trajectories", "2"], ["results", 0, "seconds", "tree"]),
    ],
)
def test_a_benchmark_measures(name, options, seconds, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    output = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", [name, *TINY, *options, "--output", str(output)])
    runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    value = json.loads(output.read_text())
    for key in seconds:
        value = value[key]
    assert value > 0
