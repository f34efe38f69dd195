# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the tables, drawn at random and run again from scratch, warm start included."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory

from .arms import ARMS
from .grid import title
from .results import RESULTS
from .run import prepare_process, train
from .settings import Sizes
from .statistics import Results, area, held_out, read_results


def draw_rows(results: Results, num_rows: int, seed: int) -> list[tuple[str, str]]:
    """Regime and arm of rows that state a spread, which takes two seeds."""
    rows = [
        (regime, arm)
        for regime, arms in results.items()
        for arm, runs in arms.items()
        if arm in ARMS and len(runs) > 1
    ]
    return random.Random(seed).sample(rows, min(num_rows, len(rows)))


@dataclass
class CheckArguments:
    """
    Arguments of a check.
    """

    rows: int = field(default=3, metadata={"help": "Number of rows."})
    seed: int = field(default=0, metadata={"help": "Seed of what is drawn: the rows, and the run of each."})
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})


def main(args: CheckArguments) -> None:
    prepare_process()
    results = read_results(Path(args.results))
    num_outside = 0
    for regime, arm in draw_rows(results, args.rows, args.seed):
        runs = results[regime][arm]
        run_seed = random.Random(args.seed).choice(list(runs))
        sizes = Sizes(**runs[run_seed]["settings"]["sizes"])
        with TemporaryDirectory() as cache:
            result = train(regime, arm, run_seed, sizes, Path(cache))
        committed, again = runs[run_seed], area(result)
        areas = [area(result) for result in runs.values()]
        mean, spread = fmean(areas), stdev(areas)
        if held_out(result) == held_out(committed):
            found = "the same to the digit"
        elif abs(again - mean) <= spread:
            found = "another run, inside"  # other processors and versions round differently
        else:
            found = "OUTSIDE"
            num_outside += 1
        print(
            f"{title((regime, arm, run_seed))}: {again:.3f}, committed {area(committed):.3f}; the row says "
            f"{mean:.3f} ± {spread:.3f}: {found}"
        )
    if num_outside:
        raise SystemExit(f"{num_outside} rows are not what they were.")
