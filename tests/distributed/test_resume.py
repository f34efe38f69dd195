# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
