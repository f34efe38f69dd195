# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import re
from pathlib import Path

import pytest
from launch import launch
from lazy import lazily


pytest.importorskip("openenv")

servers = lazily("openenv_servers")  # OpenEnv's server brings Gradio
pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("fault", ["none", "fails"])
def test_a_server_that_fails_in_one_process_stops_both(tmp_path, fault):
    with servers.serve(servers.make_app("action")) as url:
        launch(Path(__file__).parent / "far.py", [str(tmp_path), url, fault], "cpu_multi_process")
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["processes"] == 2
    if fault == "none":
        assert first["steps"] == second["steps"] == 1
    else:
        assert first["error"] == second["error"]
        assert re.search(r"rollout \d of process 1 at step 0 failed: .*The board is broken", first["error"])
