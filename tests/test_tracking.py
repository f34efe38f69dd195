# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that a real tracker tracks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trl_infopo import load_traces


PROGRAM = """
import sys

sys.path.insert(0, {tests!r})
from trainer_helpers import make_trainer

options = {{"report_to": [sys.argv[1]], "log_completions": True, "log_traces": True, "num_completions_to_print": 0}}
make_trainer("run", options=options).train()
"""


def train(tmp_path, tracker: str, **variables: str) -> None:
    code = PROGRAM.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", code, tracker]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


READ_TRACKIO = """
import json
from trackio.sqlite_storage import SQLiteStorage

[project] = SQLiteStorage.get_projects()
[run] = SQLiteStorage.get_runs(project)
print(json.dumps(SQLiteStorage.get_logs(project, run)))
"""


@pytest.mark.thorough
def test_trackio_gets_a_row_for_each_turn(tmp_path):
    train(tmp_path, "trackio", TRACKIO_DIR=str(tmp_path))
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path)}  # read when trackio is imported
    reading = subprocess.run([sys.executable, "-c", READ_TRACKIO], env=environment, capture_output=True, text=True)
    assert reading.returncode == 0, reading.stderr[-3000:]
    logs = json.loads(reading.stdout.splitlines()[-1])
    tables = [log["traces"]["_value"] for log in logs if "traces" in log]
    traces = load_traces(tmp_path / "run")
    assert [row["action"] for rows in tables for row in rows] == [
        "".join(turn["tokens"]) for rollout in traces for turn in rollout["turns"]
    ]
    assert [row["feedback"] for rows in tables for row in rows] == [
        turn["feedback"] or "" for rollout in traces for turn in rollout["turns"]
    ]
    assert any(name.startswith("train/infopo/") for log in logs for name in log)


@pytest.mark.thorough
def test_wandb_gets_tables_of_calls_and_of_speech(tmp_path):
    """Its tables hold one type a column, and some messages have calls."""
    train(tmp_path, "wandb", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    tables = {}
    for path in tmp_path.glob("wandb/offline-run-*/files/media/table/*.json"):
        table = json.loads(path.read_text())
        rows = [dict(zip(table["columns"], row)) for row in table["data"]]
        tables.setdefault(path.name.split("_")[0], []).append(rows)
    assert {len(rows) for rows in tables["completions"]} == {8}
    completions = [json.loads(row["completion"]) for rows in tables["completions"] for row in rows]
    assert {"tool_calls" in completion[0] for completion in completions} == {True, False}
    assert len(tables["traces"]) == 2
    assert all(isinstance(row["information_gain"], float | None) for rows in tables["traces"] for row in rows)
