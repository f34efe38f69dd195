# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
from launch import launch

from trl_infopo import load_traces


SCRIPT = Path(__file__).parent / "traces.py"


@pytest.mark.distributed
def test_killed_processes_leave_readable_traces_and_resumed_ones_complete_them(tmp_path):
    with pytest.raises(AssertionError, match="SIGKILL|Signal 9"):
        launch(SCRIPT, [str(tmp_path), "3", "begin"], "cpu_multi_process")
    directory = tmp_path / "traces"
    assert (directory / "train-0000003-1.tmp").exists()
    left = load_traces(tmp_path)
    assert [row["step"] for row in left][:16] == [1] * 8 + [2] * 8
    assert left["rollout"][:16] == list(range(8)) * 2
    assert set(left["group"]) == {0}

    launch(SCRIPT, [str(tmp_path), "0", "resume"], "cpu_multi_process")
    traces = load_traces(tmp_path)
    assert [(row["step"], row["group"], row["rollout"]) for row in traces] == [
        (step, 0, rollout) for step in range(1, 5) for rollout in range(8)
    ]
    assert traces.to_list()[:16] == left.to_list()[:16]
    assert len(list(directory.glob("*.parquet"))) == 8
    assert not list(directory.glob("*.tmp"))
