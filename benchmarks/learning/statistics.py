# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What results say: areas, ratios with their intervals, verdicts. Nothing here trains."""

import json
import math
import random
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from .arms import BASELINE, DEFAULT, TITLES
from .regimes import CHOOSING, CHOOSING_SEEDS, REGIMES
from .results import read_seeds


NUM_RESAMPLES = 10_000
MIN_PAIRS = 3  # with fewer seeds there is no interval worth showing
LEVEL = 0.05  # of the test, which cannot reach it with fewer than 6 seeds
ALIKE = (0.9, 1.1)  # an interval inside says that there is no difference worth having

Results = dict[str, dict[str, dict[int, dict]]]  # by regime, arm and seed


def read_results(directory: Path) -> Results:
    """All whole results, in the order in which regimes and arms are listed."""
    results: Results = {}
    for regime in REGIMES:
        for arm in TITLES:
            if runs := read_seeds(directory / regime / arm):
                results.setdefault(regime, {})[arm] = runs
    return results


def held_out(result: dict) -> list[float]:
    """Success on the held-out tasks at each evaluation, or their reward where the regime is measured by it."""
    return [point[REGIMES[result["settings"]["regime"]].measure] for point in result["curve"]]


def area(result: dict) -> float:
    """Area under the curve of held-out tasks, by the trapezoidal rule, as a share of 1 from the first step on."""
    steps, values = [point["step"] for point in result["curve"]], held_out(result)
    pieces = [(steps[i + 1] - steps[i]) * (values[i + 1] + values[i]) / 2 for i in range(len(values) - 1)]
    return sum(pieces) / (steps[-1] - steps[0])


def last_value(result: dict) -> float:
    return held_out(result)[-1]


def num_questions(result: dict, kind: str | None = None) -> float:
    questions = result["curve"][-1]["questions"]
    return questions[kind] if kind else sum(questions.values())


def collapsed(result: dict, other: dict | None) -> bool:
    """Whether a policy has unlearned to ask, or ends below half of what another reaches from the same start."""
    return num_questions(result) < 1 or (other is not None and last_value(result) < last_value(other) / 2)


def num_collapses(arms: dict[str, dict[int, dict]], arm: str) -> int:
    """Of GRPO's runs those that collapse beside the default's, of all others those that collapse beside GRPO's."""
    others = arms.get(DEFAULT if arm == BASELINE else BASELINE, {})
    return sum(collapsed(result, others.get(seed)) for seed, result in arms.get(arm, {}).items())


class Comparison(NamedTuple):
    """
    Two arms over the seeds that both have.

    Attributes:
        ratio (`float`):
            Of the mean values.
        low (`float`):
            Lower end of its 95 % interval, by a bootstrap over seeds.
        high (`float`):
            Upper end.
        num_seeds (`int`):
            Number of seeds.
        num_above (`int`):
            In how many of them the first is above the other.
        p_value (`float`):
            Of an exact test of the differences, see [`sign_flip_test`].
    """

    ratio: float
    low: float
    high: float
    num_seeds: int
    num_above: int
    p_value: float

    @property
    def verdict(self) -> str:
        """What may be said of the first arm."""
        if self.p_value <= LEVEL:
            return "helps" if self.ratio > 1 else "hurts"
        return "neutral" if ALIKE[0] <= self.low and self.high <= ALIKE[1] else "open"

    def __str__(self) -> str:
        return f"{self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}]"


def sign_flip_test(differences: list[float]) -> float:
    """
    Two-sided p-value of paired differences, exact: the share of all ways to swap the two of each pair in which the sum
    is at least as far from 0. With n pairs it is at least 2 / 2^n.

    Args:
        differences (`list[float]`):
            One for each pair.

    Returns:
        `float`: The p-value.
    """
    total = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(sign * difference for sign, difference in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return fmean(value >= total - 1e-12 for value in sums)


def paired_ratio(values: Sequence[float], baselines: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """
    Ratio of two means over the same seeds, with its 95 % interval by a bootstrap over the seeds.

    Args:
        values (`Sequence[float]`):
            Of one arm, by seed.
        baselines (`Sequence[float]`):
            Of the other, in the same order.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the bootstrap.

    Returns:
        `tuple[float, float, float]`: The ratio, and the two ends of the interval.
    """
    rng = random.Random(seed)
    pairs = list(zip(values, baselines, strict=True))
    ratios = []
    for _ in range(NUM_RESAMPLES):
        drawn = rng.choices(pairs, k=len(pairs))
        ratios.append(divide(sum(value for value, _ in drawn), sum(baseline for _, baseline in drawn)))
    ratios.sort()
    ends = ratios[round(0.025 * (NUM_RESAMPLES - 1))], ratios[round(0.975 * (NUM_RESAMPLES - 1))]
    return divide(sum(values), sum(baselines)), *ends


def compare_values(values: dict[int, float], others: dict[int, float]) -> Comparison | None:
    """Two values by seed, over the seeds that both have; `None` where these are too few."""
    pairs = [(value, others[seed]) for seed, value in values.items() if seed in others]
    if len(pairs) < MIN_PAIRS:
        return None
    differences = [value - other for value, other in pairs]
    num_above = sum(difference > 0 for difference in differences)
    return Comparison(*paired_ratio(*zip(*pairs, strict=True)), len(pairs), num_above, sign_flip_test(differences))


def compare(
    runs: dict[int, dict], others: dict[int, dict], value: Callable[[dict], float] = area
) -> Comparison | None:
    """Two arms of a regime."""
    return compare_values(*({seed: value(result) for seed, result in arm.items()} for arm in (runs, others)))


def compare_together(results: Results, regimes: list[str]) -> Comparison | None:
    """The default against GRPO by their mean areas over regimes, so that a seed counts once; of the seeds in all."""
    arms = {arm: [results[regime].get(arm, {}) for regime in regimes] for arm in (DEFAULT, BASELINE)}
    seeds = sorted(set.intersection(*(set(runs) for by_regime in arms.values() for runs in by_regime)))
    return compare_values(
        *({seed: fmean(area(runs[seed]) for runs in by_regime) for seed in seeds} for by_regime in arms.values())
    )


def shared_starts(results: Results) -> list[list[str]]:
    """Regimes, together where their runs of a seed start from the same policy."""
    groups: dict[str, list[str]] = {}
    for regime, arms in results.items():
        run = next(iter(next(iter(arms.values())).values()))
        start = {name: value for name, value in run["settings"]["warm_start"].items() if name != "seed"}
        groups.setdefault(json.dumps(start, sort_keys=True), []).append(regime)
    return list(groups.values())


def divide(value: float, other: float) -> float:
    return value / other if other else float("inf")


def spread(values: list[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def half_of(results: Results, is_choosing: bool) -> Results:
    """The runs that settings were chosen on, or those that nobody has looked at until then."""
    half: Results = {}
    for regime, arms in results.items():
        for arm, runs in arms.items():
            chosen = {s: r for s, r in runs.items() if (regime in CHOOSING and s in CHOOSING_SEEDS) == is_choosing}
            if chosen:
                half.setdefault(regime, {})[arm] = chosen
    return half
