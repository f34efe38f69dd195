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
"""Real processes, through `accelerate launch`: two of them compute what one does, and none waits for ever."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch


HERE = Path(__file__).parent
TIME_LIMIT = 120  # seconds; a hang ends here


def run(output_dir: Path, processes: int, *arguments: str, script: str = "train") -> list[dict]:
    """What each process saw."""
    output_dir.mkdir(exist_ok=True)
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "accelerate.commands.launch", "--config_file", str(HERE / "ddp.yaml")]
        launcher += ["--main_process_port", "0"]
    command = [*launcher, str(HERE / f"{script}.py"), "--output_dir", str(output_dir), "--processes", str(processes)]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=TIME_LIMIT)
    assert result.returncode == 0, result.stderr[-4000:]
    if script == "talk":
        return [json.loads((output_dir / f"{rank}.json").read_text()) for rank in range(processes)]
    return [torch.load(output_dir / f"{rank}.pt") for rank in range(processes)]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("engine", "estimator", "questions"),
    [
        ("auto", "log_ratio", (12, 0)),
        ("replay", "kl", (1, 9)),
        ("tree", "log_ratio", (2, 2)),
        ("auto", "log_ratio", (0, 0)),
    ],
)
def test_two_processes_compute_what_one_does(tmp_path, engine, estimator, questions):
    arguments = ["--engine", engine, "--estimator", estimator, "--questions", *map(str, questions)]
    [one] = run(tmp_path / "one", 1, *arguments)
    two = run(tmp_path / "two", 2, *arguments)

    assert [process["wrapper"] for process in two] == ["DistributedDataParallel"] * 2
    for step, expected in enumerate(one["advantages"]):
        split = two[0]["advantages"][step] + two[1]["advantages"][step]
        for a, b in zip(split, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)  # rounding of gains, over their spread
    for process in two:
        for a, b in zip(process["parameters"], one["parameters"], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert two[0]["forwards"] == two[1]["forwards"]
    assert (one["forwards"] > 0) == any(questions)
    for name, value in one["metrics"][-1].items():
        if name.startswith("infopo/") and name != "infopo/scoring_seconds" and value is not None:
            assert two[0]["metrics"][-1][name] == pytest.approx(value, abs=1e-4)


@pytest.mark.distributed
def test_processes_talk_until_the_last_one_is_done(tmp_path):
    short, long = run(tmp_path, 2, "--num_replies", "0", "6", script="talk")
    assert [process["wrapper"] for process in (short, long)] == ["DistributedDataParallel"] * 2
    assert short["error"] is long["error"] is None
    assert short["rounds"] == long["rounds"] > 6
    assert len(long["logs"]) == 2
    assert all(log["infopo/turns/max"] > 2 for log in long["logs"])


@pytest.mark.distributed
def test_a_user_who_dies_stops_all_processes(tmp_path):
    alive, bereaved = run(tmp_path, 2, "--num_replies", "2", "-2", script="talk")
    assert alive["error"] == bereaved["error"]
    assert "of process 1 at step 1 failed: no line after 3 attempts" in alive["error"]
    assert len(alive["logs"]) == 1
