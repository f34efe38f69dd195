# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Many runs, a process each. What is there already is not run again, so an interrupted grid goes on where it was."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from .arms import ARMS, MAIN_ARMS
from .regimes import REGIMES
from .results import CACHE, RESULTS, ROOT, read_result, result_path
from .settings import Sizes, run_settings


POLL_SECONDS = 0.5

Run = tuple[str, str, int]  # regime, arm, seed


def all_runs(regimes: list[str], arms: list[str], seeds: list[int]) -> list[Run]:
    """The arms of a pair first, then the regimes, then the next seed: a grid that is cut short can be read."""
    return [(regime, arm, seed) for seed, regime, arm in product(seeds, regimes, arms)]


def is_done(run: Run, sizes: Sizes, results: Path) -> bool:
    """Whether the result of a run is there, whole, and of the same settings."""
    result = read_result(result_path(*run, results))
    return result is not None and result["settings"] == run_settings(*run, sizes)


def run_all(runs: list[Run], sizes: Sizes, results: Path = RESULTS, num_processes: int = 2) -> dict[Run, str]:
    """
    Run what is missing.

    Args:
        runs (`list[Run]`):
            Regime, arm and seed of each run.
        sizes ([`Sizes`]):
            How much of everything.
        results (`Path`, *optional*):
            Directory of the results.
        num_processes (`int`, *optional*, defaults to `2`):
            Runs at a time.

    Returns:
        `dict[Run, str]`: The last lines of the runs that failed.
    """
    missing = [run for run in runs if not is_done(run, sizes, results)]
    queue, running, failures = list(missing), {}, {}
    with tqdm(total=len(missing), unit="run", smoothing=0.1) as progress:
        progress.write(f"{len(runs) - len(missing)} of {len(runs)} runs are done.")
        try:
            while queue or running:
                while queue and len(running) < num_processes:
                    run = queue.pop(0)
                    running[run] = start(run, sizes, results)
                time.sleep(POLL_SECONDS)
                for run, (process, log) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[run]
                    log.close()
                    progress.update()
                    if process.returncode:
                        lines = Path(log.name).read_text().splitlines() or [f"exit status {process.returncode}"]
                        failures[run] = lines[-1]
                        progress.write(f"{title(run)} failed: {lines[-1]} ({log.name})")
        finally:
            for process, log in running.values():
                process.terminate()
                process.wait()
                log.close()
    return failures


def title(run: Run) -> str:
    return "{} {} {}".format(*run)


def start(run: Run, sizes: Sizes, results: Path) -> tuple[subprocess.Popen, TextIO]:
    regime, arm, seed = run
    log = CACHE / "logs" / f"{regime}-{arm}-{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.learning", "run", "--regime", regime, "--arm", arm]
    command += ["--seed", str(seed), "--steps", str(sizes.steps), "--results", str(results)]
    output = log.open("w")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    return process, output


@dataclass
class GridArguments:
    """
    Arguments of a grid.
    """

    regimes: list[str] = field(
        default_factory=lambda: list(REGIMES), metadata={"help": "Regimes.", "choices": list(REGIMES)}
    )
    arms: list[str] = field(default_factory=lambda: list(MAIN_ARMS), metadata={"help": "Arms.", "choices": list(ARMS)})
    seeds: list[int] = field(default_factory=lambda: list(range(6)), metadata={"help": "Seeds."})
    steps: int = field(default=Sizes.steps, metadata={"help": "Steps of reinforcement learning."})
    processes: int = field(default=2, metadata={"help": "Runs at a time, each on one core."})
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})


def main(args: GridArguments) -> None:
    runs = all_runs(args.regimes, args.arms, args.seeds)
    failures = run_all(runs, Sizes(steps=args.steps), Path(args.results).resolve(), args.processes)
    if failures:
        raise SystemExit(f"{len(failures)} of {len(runs)} runs failed: {', '.join(map(title, failures))}.")
