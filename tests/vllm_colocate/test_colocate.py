# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""InfoPO with vLLM in colocate mode, really run on a CPU. See docs/vllm.md for the command and the figures."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TIME_LIMIT = 600  # seconds; a hang ends here
BATCH_SIZE = 8

# Environment, vLLM's dtype, `info_gain_engine`, `vllm_max_model_length`
CASES = {
    "tools": ("tools", "float32", "replay", 1024),
    "user": ("user", "float32", "replay", 1024),
    "tools, bfloat16": ("tools", "bfloat16", "auto", 1024),
    "user, bfloat16": ("user", "bfloat16", "auto", 1024),
    "user, short context": ("user", "float32", "auto", 80),
}
# Largest log-probability difference between vLLM and the trainer in nats: rounding
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2}


@pytest.fixture(scope="module")
def report(request):
    runs = {}
    yield runs
    path = request.config.getoption("results")
    if path is not None and len(runs) == len(CASES):
        path.write_text(json.dumps(runs, indent=2) + "\n")


@pytest.fixture(scope="module", params=CASES)
def seen(request, report, tmp_path_factory):
    """What a run saw, in a process of its own: vLLM does not start twice in one."""
    output_dir = tmp_path_factory.mktemp("colocate")
    names = ("environment", "dtype", "engine", "max_model_length")
    options = [f"--{name}={value}" for name, value in zip(names, CASES[request.param], strict=True)]
    command = [sys.executable, str(HERE / "train.py"), "--output_dir", str(output_dir), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, cwd=output_dir)
    assert result.returncode == 0, result.stderr[-6000:]
    report[request.param] = json.loads((output_dir / "seen.json").read_text())
    return report[request.param]


def test_two_steps_train_on_finite_gains(seen):
    assert len(seen["logs"]) == len(seen["scorings"]) == 2
    for log, scoring in zip(seen["logs"], seen["scorings"], strict=True):
        assert scoring["gains"]
        assert all(map(math.isfinite, scoring["gains"]))
        assert math.isfinite(log["infopo/information_gain/mean"])
        assert log["infopo/intrinsic_share"] > 0
        assert log["infopo/turns/max"] > 1
        assert log["grad_norm"] > 0


def test_vllm_samples_from_the_policy_that_is_trained(seen):
    """With feedback between the actions: a log-probability that is one token off would be whole nats away."""
    assert seen["vllm_dtype"] == seen["settings"]["dtype"]
    for log in seen["logs"]:
        assert 0 < log["sampling/sampling_logp_difference/max"] < TOLERANCE[seen["vllm_dtype"]]
        if seen["vllm_dtype"] == "float32":
            assert log["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)


def test_weights_are_in_sync(seen):
    at_start, after_a_step, at_end = seen["syncs"]  # before each step, and once more after the last
    for sync in (seen["initial_weights"], at_start, after_a_step, at_end):
        assert sync["num_parameters"] > 10
        assert sync["num_different"] == 0
    assert at_start["largest_change"] == 0
    assert after_a_step["largest_change"] > 0
    assert at_end["largest_change"] > 0


def test_rollouts_fit_into_vllms_context(seen):
    max_model_length = seen["settings"]["max_model_length"]
    assert seen["vllm_max_model_length"] == max_model_length
    assert max(seen["lengths"]) <= max_model_length
    if max_model_length < 300:  # the limit of a completion, which here is never reached
        assert max_model_length in seen["lengths"]
        assert any(log["infopo/stop/max_tokens"] > 0 for log in seen["logs"])
        assert any(log["infopo/turns/max"] > 1 for log in seen["logs"])


def test_their_log_probabilities_are_the_factual_side_of_replay(seen):
    for scoring in seen["scorings"]:
        assert scoring["has_their_logps"]
        assert scoring["largest_difference_without_their_logps"] < 1e-4
        saved = scoring["num_forwards_without_their_logps"] - scoring["num_forwards"]
        assert scoring["uses_their_logps"] == (scoring["engine"] == "replay")
        if scoring["engine"] == "replay":
            assert scoring["num_forwards"] == math.ceil(len(scoring["gains"]) / BATCH_SIZE)  # branches alone
            assert saved == 1
        else:  # which needs the keys and values of a trunk of its own
            assert scoring["engine"] == "tree"
            assert saved == 0
