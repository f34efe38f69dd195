# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""From the JSONs of the runs to the page in the docs, without training."""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from .arms import ARMS, BASELINE, MAIN_ARMS
from .families import QUESTIONS
from .regimes import CHOOSING, CHOOSING_SEEDS, CONFIRMING_SEEDS, REGIMES
from .run import RESULTS, ROOT, read_result


DOCS = ROOT / "docs"
NUM_RESAMPLES = 10_000
MIN_PAIRS = 3  # with fewer seeds there is no interval worth showing

Results = dict[str, dict[str, dict[int, dict]]]  # by regime, arm and seed


def read_results(directory: Path) -> Results:
    """All whole results, in the order in which regimes and arms are listed."""
    results: Results = {}
    for regime in REGIMES:
        for arm in ARMS:
            paths = sorted((directory / regime / arm).glob("*.json"), key=lambda path: int(path.stem))
            runs = {int(path.stem): result for path in paths if (result := read_result(path)) is not None}
            if runs:
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


def compare(runs: dict[int, dict], baselines: dict[int, dict]) -> tuple[float, float, float] | None:
    """Ratio of the areas over the seeds that both have, with its interval; `None` where these are too few."""
    paired = [seed for seed in runs if seed in baselines]
    if len(paired) < MIN_PAIRS:
        return None
    return paired_ratio(*([area(results[seed]) for seed in paired] for results in (runs, baselines)))


def verdict(low: float, high: float) -> str:
    """What an interval of the ratio to GRPO says."""
    return "helps" if low > 1 else "hurts" if high < 1 else "neutral"


def divide(value: float, other: float) -> float:
    return value / other if other else float("inf")


def spread(values: list[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def arm_row(arm: str, runs: dict[int, dict], baselines: dict[int, dict]) -> str:
    compared = None if arm == BASELINE else compare(runs, baselines)
    against = "{:.2f} [{:.2f}, {:.2f}]".format(*compared) if compared else ""
    collapses = sum(collapsed(result, baselines.get(seed)) for seed, result in runs.items())
    asked = [f"{fmean(num_questions(result, kind) for result in runs.values()):.1f}" for kind in QUESTIONS]
    cells = [
        ARMS[arm].title,
        str(len(runs)),
        spread([area(result) for result in runs.values()]),
        against,
        spread([last_value(result) for result in runs.values()]),
        str(collapses),
        " / ".join(asked),
        f"{fmean(result['seconds']['cpu'] for result in runs.values()):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def regime_section(regime: str, arms: dict[str, dict[int, dict]]) -> list[str]:
    columns = ["arm", "seeds", "area", "ratio to GRPO", f"last {REGIMES[regime].measure}", "collapses"]
    columns += ["questions at the end", "CPU seconds"]
    lines = [
        f"## `{regime}`",
        "",
        REGIMES[regime].reason,
        "",
        f"| {' | '.join(columns)} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    baselines = arms.get(BASELINE, {})
    return [*lines, *(arm_row(arm, runs, baselines) for arm, runs in arms.items()), ""]


def half_of(results: Results, is_choosing: bool) -> Results:
    """The runs that settings were chosen on, or those that nobody has looked at until then."""
    half: Results = {}
    for regime, arms in results.items():
        for arm, runs in arms.items():
            chosen = {s: r for s, r in runs.items() if (regime in CHOOSING and s in CHOOSING_SEEDS) == is_choosing}
            if chosen:
                half.setdefault(regime, {})[arm] = chosen
    return half


def headline(results: Results) -> list[str]:
    """One row for each regime: GRPO's area, and the verdict on the other main arms."""
    arms = [arm for arm in MAIN_ARMS if arm != BASELINE]
    lines = [f"| regime | GRPO's area | {' | '.join(ARMS[arm].title for arm in arms)} |"]
    lines.append(f"|---|---:|{'---|' * len(arms)}")
    for regime, by_arm in results.items():
        baselines = by_arm.get(BASELINE, {})
        cells = [f"[`{regime}`](#{regime})"]
        cells.append(spread([area(result) for result in baselines.values()]) if baselines else "")
        for arm in arms:
            compared = compare(by_arm.get(arm, {}), baselines)
            cells.append("{:.2f} [{:.2f}, {:.2f}], {}".format(*compared, verdict(*compared[1:])) if compared else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def markdown_page(results: Results) -> str:
    runs = [result for arms in results.values() for by_seed in arms.values() for result in by_seed.values()]
    versions = {", ".join(f"{name} {value}" for name, value in result["versions"].items()) for result in runs}
    sizes = runs[0]["settings"]["sizes"]
    lines = [
        "<!-- Written by `python -m benchmarks.learning table`; edit benchmarks/learning instead. -->",
        "",
        "# Results",
        "",
        f"A policy of 140,000 parameters, warm-started on demonstrations that ask at random, then trained for "
        f"{sizes['steps']} steps of {sizes['num_prompts']} groups of {sizes['num_generations']} rollouts with the "
        f"real trainer. Success, a reward of 1, is measured on {sizes['num_held_out']} held-out tasks, sampled as in "
        f"training, before the first step and every {sizes['eval_steps']}. All arms of a seed start from the same "
        "weights and see the same tasks.",
        "",
        "- *area*: under the curve of held-out success, or of held-out reward in `clarify`, where it is graded; mean "
        "± standard deviation over seeds.",
        "- *ratio to GRPO*: of the mean areas over the seeds that both have, with the 95 % interval of a paired "
        f"bootstrap over seeds; with fewer than {MIN_PAIRS} seeds there is none.",
        "- *collapses*: runs that end with less than one question, or below half of the last value of GRPO's run "
        "with the same seed.",
        "- *questions at the end*: useful / useless / repeated, per rollout.",
        "",
        "One tiny policy and games of a few words: leads for your own task, not proof.",
        "",
        "![Held-out success by step](learning_curves.svg)",
        "",
        "## Ratio to GRPO of the area under held-out success",
        "",
        "An arm *helps* where its interval lies above 1, and *hurts* where it lies below.",
        "",
        "### Where settings were chosen",
        "",
        f"Six regimes with the seeds {CHOOSING_SEEDS}.",
        "",
        *headline(half_of(results, is_choosing=True)),
        "### Where they were put to the test",
        "",
        f"The other regimes, and these with the seeds {CONFIRMING_SEEDS}: nothing was chosen after a look at them.",
        "",
        *headline(half_of(results, is_choosing=False)),
    ]
    for regime, arms in results.items():
        lines += regime_section(regime, arms)
    lines.append(f"{len(runs)} runs. {'; '.join(sorted(versions))}.")
    return "\n".join(lines) + "\n"


def draw_curves(results: Results, path: Path) -> None:
    """Held-out success (or reward) of the main arms in each regime: the mean, and a band from worst seed to best."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    num_columns = min(4, len(results))
    num_rows = -(-len(results) // num_columns)
    # The same results make the same file
    with plt.rc_context({"svg.hashsalt": "learning", "svg.fonttype": "none", "font.size": 8}):
        figure, axes = plt.subplots(
            num_rows,
            num_columns,
            figsize=(2.5 * num_columns, 2.0 * num_rows),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis in axes.flat[len(results) :]:
            axis.set_axis_off()
        for axis, (regime, arms) in zip(axes.flat, results.items(), strict=False):
            axis.set_title(regime)
            for arm in MAIN_ARMS:
                if arm not in arms:
                    continue
                steps = [point["step"] for point in next(iter(arms[arm].values()))["curve"]]
                curves = zip(*(held_out(run) for run in arms[arm].values()))
                successes = list(curves)
                (line,) = axis.plot(steps, [fmean(values) for values in successes], label=ARMS[arm].title)
                lowest, highest = map(min, successes), map(max, successes)
                axis.fill_between(steps, list(lowest), list(highest), color=line.get_color(), alpha=0.15, linewidth=0)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(MAIN_ARMS), frameon=False)
        figure.supxlabel("step")
        figure.supylabel("held-out success (clarify: reward)")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


@dataclass
class TableArguments:
    """
    Arguments of the table.
    """

    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})
    docs: str = field(default=str(DOCS), metadata={"help": "Directory for `results.md` and `learning_curves.svg`."})


def main(args: TableArguments) -> None:
    results = read_results(Path(args.results))
    if not results:
        raise SystemExit(f"There is no result in {args.results}: run `python -m benchmarks.learning grid` first.")
    page, figure = Path(args.docs) / "results.md", Path(args.docs) / "learning_curves.svg"
    page.write_text(markdown_page(results))
    draw_curves(results, figure)
    print(f"Written to {os.path.relpath(page)} and {os.path.relpath(figure)}")
