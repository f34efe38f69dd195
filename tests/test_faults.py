# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One run of 200 rollouts in which 40 things go wrong: nothing is lost, each is counted, and the weights are those of
a run in which nothing went wrong and each of these things was replaced by what the guide says becomes of it.
"""

import json
import math
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from fault_injection import (
    BATCH_SIZE,
    FAULTS,
    KILLED,
    NUM_FAULTS,
    NUM_ROLLOUTS,
    NUM_STEPS,
    TURNS_WITH_FEEDBACK,
)

from trl_infopo.rollout import MALFORMED_CALL


pytestmark = pytest.mark.thorough
PROGRAM = Path(__file__).with_name("fault_injection.py")


def start(output_dir: Path, kind: str) -> subprocess.Popen:
    output_dir.mkdir(exist_ok=True)
    with (output_dir / "output.txt").open("a") as output:
        return subprocess.Popen([sys.executable, PROGRAM, output_dir, kind], stdout=output, stderr=output)


def end(process: subprocess.Popen, output_dir: Path, status: int = 0) -> None:
    assert process.wait(timeout=600) == status, (output_dir / "output.txt").read_text()[-5000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """Directories of the run with faults and of the one without."""
    faulty, replaced = (tmp_path_factory.mktemp(name) for name in ("faulty", "replaced"))
    processes = [start(faulty, "faulty"), start(replaced, "replaced")]
    try:
        end(processes[0], faulty, -signal.SIGKILL)
        assert (faulty / f"checkpoint-{KILLED // BATCH_SIZE // 5 * 5}").is_dir()
        processes.append(start(faulty, "faulty"))
        end(processes[2], faulty)
        end(processes[1], replaced)
    finally:
        for process in processes:
            process.kill()
    return faulty, replaced


def read_log(output_dir: Path) -> list[dict]:
    """What was logged in each step."""
    log = [entry for entry in json.loads((output_dir / "log.json").read_text()) if "reward" in entry]
    assert [entry["step"] for entry in log] == list(range(1, NUM_STEPS + 1))
    return log


def read_table(output_dir: Path) -> pd.DataFrame:
    """The completions of all rollouts, in their order."""
    return pd.concat([pd.read_parquet(path) for path in sorted((output_dir / "completions").iterdir())])


def test_40_things_go_wrong():
    assert sum(NUM_FAULTS.values()) + 1 == 40
    assert Counter(FAULTS.values()) == NUM_FAULTS
    assert KILLED not in FAULTS


def test_each_fault_is_counted_where_it_belongs(runs):
    expected = {
        "user/errors": NUM_FAULTS["user error"] + NUM_FAULTS["slow user"],
        "tools/failures": NUM_FAULTS["tool error"] + NUM_FAULTS["slow tool"] + NUM_FAULTS["malformed call"],
        "tools/timeouts": NUM_FAULTS["slow tool"],
        "malformed_calls": NUM_FAULTS["malformed call"],
        "unscored_rollouts": NUM_FAULTS["unscored"],
        "nonfinite_gains": NUM_FAULTS["nonfinite gains"] * TURNS_WITH_FEEDBACK,
    }
    log = read_log(runs[0])
    for name, count in expected.items():
        assert sum(entry[f"infopo/{name}"] for entry in log) == count, name
    # And in the step in which it happened
    for k, entry in enumerate(log):
        faults = Counter(FAULTS.get(n) for n in range(k * BATCH_SIZE, (k + 1) * BATCH_SIZE))
        assert entry["infopo/malformed_calls"] == faults["malformed call"]
        assert entry["infopo/unscored_rollouts"] == faults["unscored"]
        assert entry["infopo/user/errors"] == faults["user error"] + faults["slow user"]


def test_no_rollout_is_lost(runs):
    table = read_table(runs[0])
    assert len(table) == NUM_ROLLOUTS
    for n, completion in enumerate(table["completion"]):
        assert completion[0]["content"] == f"{n}: to which city?"
        assert [message["role"][0] for message in completion][::2] == list("aaaa")
    assert all(entry["infopo/stop/user_ended"] == 1 for entry in read_log(runs[0]))


def test_each_fault_becomes_what_the_guide_says(runs):
    table = read_table(runs[0])
    for n, (completion, gains, advantages) in enumerate(
        zip(table["completion"], table["information_gain"], table["turn_advantages"], strict=True)
    ):
        fault = FAULTS.get(n)
        shelf, answer = completion[3]["content"], completion[5]["content"]
        assert ("No result within" in shelf) == (fault == "slow tool")
        assert ("no shelf" in shelf) == (fault == "tool error")
        assert (answer == MALFORMED_CALL) == (fault == "malformed call")
        assert (gains[2] == 0) == (fault == "malformed call")
        assert all(map(math.isnan, gains[:3])) == (fault == "nonfinite gains")
        if fault == "unscored":
            assert not advantages.any()


def test_only_what_went_wrong_is_told_apart_from_a_run_without_faults(runs):
    faulty, replaced = map(read_table, runs)
    for name in ("information_gain", "turn_advantages", "gate", "advantage"):
        for n, (one, other) in enumerate(zip(faulty[name], replaced[name], strict=True)):
            assert str(one) == str(other), (name, n)
    for n, (one, other) in enumerate(zip(faulty["completion"], replaced["completion"], strict=True)):
        assert [m["content"] for m in one if m["role"] != "assistant"] == [
            m["content"] for m in other if m["role"] != "assistant"
        ], n


def test_weights_are_those_of_a_run_without_faults(runs):
    faulty, replaced = (torch.load(output_dir / "weights.pt") for output_dir in runs)
    for name, weight in faulty.items():
        assert weight.isfinite().all(), name
        assert torch.equal(weight, replaced[name]), (name, (weight - replaced[name]).abs().max())
