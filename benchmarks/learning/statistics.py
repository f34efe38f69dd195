# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What results say: areas, ratios with their intervals, verdicts. Nothing here trains."""

import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

from .arms import TITLES
from .regimes import CHOOSING, CHOOSING_SEEDS, REGIMES
from .results import read_seeds


NUM_RESAMPLES = 10_000
MIN_PAIRS = 3  # with fewer seeds there is no interval worth showing

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


def collapsed(result: dict, baseline: dict | None) -> bool:
    """Whether a policy has unlearned to ask, or ends below half of what GRPO reaches from the same start."""
    return num_questions(result) < 1 or (baseline is not None and last_value(result) < last_value(baseline) / 2)


def paired_ratio(values: list[float], baselines: list[float], seed: int = 0) -> tuple[float, float, float]:
    """
    Ratio of two means over the same seeds, with its 95 % interval by a bootstrap over the seeds.

    Args:
        values (`list[float]`):
            Of one arm, by seed.
        baselines (`list[float]`):
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


def compare(
    runs: dict[int, dict], baselines: dict[int, dict], value: Callable[[dict], float] = area
) -> tuple[float, float, float] | None:
    """Ratio of a value over the seeds that both have, with its interval; `None` where these are too few."""
    paired = [seed for seed in runs if seed in baselines]
    if len(paired) < MIN_PAIRS:
        return None
    return paired_ratio(*([value(results[seed]) for seed in paired] for results in (runs, baselines)))


def verdict(low: float, high: float) -> str:
    """What an interval of the ratio to GRPO says."""
    return "helps" if low > 1 else "hurts" if high < 1 else "neutral"


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
