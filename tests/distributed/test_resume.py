# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
from pathlib import Path

import pytest
from launch import launch


@pytest.mark.distributed
def test_processes_resume_between_uses_of_their_rollouts(tmp_path):
    launch(Path(__file__).parent / "reuse.py", [str(tmp_path)], "cpu_multi_process")
    for rank in range(2):
        seen = json.loads((tmp_path / f"{rank}.json").read_text())
        assert seen == {"num_processes": 2, "resumed_steps": [1, 2, 3, 4], "rollouts": True, "is_equal": True}
