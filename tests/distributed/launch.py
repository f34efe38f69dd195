# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Starts processes with `accelerate launch`, and ends them in time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch


HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "examples" / "accelerate_configs"
TIME_LIMIT = 300  # seconds, twice what a busy machine takes; a hang ends here


def launch(
    script: Path,
    arguments: list[str],
    config: str | None = None,
    launcher_arguments: tuple[str, ...] = (),
    time_limit: float = TIME_LIMIT,
) -> None:
    """Run a script, in as many processes as the configuration says, or in one without a launcher."""
    command = [sys.executable]
    if config is not None:
        command += ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{config}.yaml")]
        command += ["--main_process_port", "0", *launcher_arguments]
    command += [str(script), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        output, _ = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher takes its workers with it
        output, _ = process.communicate()
        raise TimeoutError(f"still running after {time_limit} s: {' '.join(command)}\n{output[-4000:]}") from None
    assert process.returncode == 0, output[-6000:]


def train(
    output_dir: Path, processes: int, runs: list[dict], config: str | None = None, *arguments: str
) -> list[list[dict]]:
    """What each process saw in each run of train.py."""
    output_dir.mkdir(exist_ok=True)
    arguments = [
        "--output_dir",
        str(output_dir),
        "--processes",
        str(processes),
        "--runs",
        json.dumps(runs),
        *arguments,
    ]
    launch(HERE / "train.py", arguments, config)
    return [torch.load(output_dir / f"{rank}.pt") for rank in range(processes)]
