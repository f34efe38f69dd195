# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import math
from pathlib import Path

import pytest
from launch import launch


pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("config", ["cpu_multi_process", "cpu_zero3"])
@pytest.mark.parametrize("fault", ["none", "fails"])
def test_agents_of_two_processes(tmp_path, config, fault):
    launch(Path(__file__).parent / "serve.py", [str(tmp_path), fault], config)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["processes"] == 2
    if fault == "fails":
        assert "The agent of rollout 0 of process 1 at step 0 failed in 1 attempt: OSError" in second["error"]
        assert second["error"] in first["error"]
    else:
        assert math.isfinite(first["gain"])
        assert first["weights"] == second["weights"]
