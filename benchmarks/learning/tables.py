# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""From the JSONs of the runs to the page in the docs, without training."""

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean

from .arms import ARMS, BASELINE, DEFAULT, MAIN_ARMS, TITLES
from .families import QUESTIONS
from .regimes import CHOOSING_SEEDS, REGIMES
from .results import RESULTS, ROOT
from .shift import RESULTS_OF_SHIFT, TESTS, TRAINED_WITH, read_shift
from .statistics import (
    MIN_PAIRS,
    Results,
    area,
    collapsed,
    compare,
    half_of,
    held_out,
    last_value,
    num_questions,
    read_results,
    spread,
    verdict,
)


DOCS = ROOT / "docs"
WANTED_SEEDS = 6


def arm_row(arm: str, runs: dict[int, dict], baselines: dict[int, dict]) -> str:
    compared = None if arm == BASELINE else compare(runs, baselines)
    against = "{:.2f} [{:.2f}, {:.2f}]".format(*compared) if compared else ""
    collapses = sum(collapsed(result, baselines.get(seed)) for seed, result in runs.items())
    asked = [f"{fmean(num_questions(result, kind) for result in runs.values()):.1f}" for kind in QUESTIONS]
    cells = [
        TITLES[arm],
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


def unseen_success(regime: str, result: dict) -> float:
    """Mean success in the tests with users and tasks that a policy was not trained with."""
    return fmean(test["success"] for name, test in result["tests"].items() if name not in TRAINED_WITH[regime])


def shift_section(shift: Results) -> list[str]:
    """A row for each policy, that is regime and arm, and a column for each test."""
    lines = [
        "## Other users and other tasks",
        "",
        "Success of policies that were trained with one kind of user, or in `mixed` with four, when tested with all "
        "seven, and with tasks of four slots instead of three. Mean ± standard deviation over seeds, bold where the "
        "user is one of the training. The words of chatty and evasive users are new to these policies, which read "
        "them as one unknown token. *unseen*: mean over the other tests; its ratio is paired by seed, with the 95 % "
        "interval of a bootstrap over seeds.",
        "",
        f"| trained in | arm | seeds | {' | '.join(TESTS)} | unseen | ratio to GRPO |",
        f"|---|---|---:|{'---:|' * len(TESTS)}---:|---:|",
    ]
    for regime, arms in shift.items():
        unseen = partial(unseen_success, regime)
        for arm, runs in arms.items():
            cells = [f"`{regime}`", TITLES[arm], str(len(runs))]
            for name in TESTS:
                cell = spread([result["tests"][name]["success"] for result in runs.values()])
                cells.append(f"**{cell}**" if name in TRAINED_WITH[regime] else cell)
            cells.append(spread(list(map(unseen, runs.values()))))
            compared = None if arm == BASELINE else compare(runs, arms.get(BASELINE, {}), unseen)
            cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*compared) if compared else "")
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def headline(results: Results) -> list[str]:
    """One row for each regime: GRPO's area, and the verdict on the other main arms."""
    arms = [arm for arm in MAIN_ARMS if arm != BASELINE]
    lines = [f"| regime | GRPO's area | {' | '.join(TITLES[arm] for arm in arms)} |"]
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


def unknown_section(results: Results) -> list[str]:
    """What the runs leave open: too few seeds, arms and regimes that were never run, and what no run here can say."""
    pairs = {
        regime: len(by_arm.get(BASELINE, {}).keys() & by_arm.get(DEFAULT, {}).keys())
        for regime, by_arm in results.items()
    }
    few = ", ".join(f"`{regime}` {pairs.get(regime, 0)}" for regime in REGIMES if pairs.get(regime, 0) < WANTED_SEEDS)
    seen = {arm for by_arm in results.values() for arm in by_arm}
    missing = ", ".join(TITLES[arm] for arm in ARMS if arm not in seen)
    return [
        "## What is not known",
        "",
        *([f"- Seeds of both GRPO and the default, where they are fewer than {WANTED_SEEDS}: {few}."] if few else []),
        *([f"- Never run: {missing}."] if missing else []),
        "- Whether any of it holds for a language model of useful size. [A chat model of 135 million parameters]"
        "(chat_model_training.md) was trained on one small task, whose rewards are graded as in `clarify`.",
        "- Other learning rates, group sizes and lengths of training: all runs share these, and none was tuned.",
        "- People. All users here are programs.",
        "",
    ]


def markdown_page(results: Results, shift: Results) -> str:
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
        f"bootstrap over seeds; with fewer than {MIN_PAIRS} seeds there is none, and with {MIN_PAIRS} it is hardly "
        "more than their range.",
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
        "The other regimes, and these with other seeds: the default was chosen without a look at them.",
        "",
        *headline(half_of(results, is_choosing=False)),
    ]
    for regime, arms in results.items():
        lines += regime_section(regime, arms)
    if shift:
        lines += shift_section(shift)
    lines += unknown_section(results)
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
                (line,) = axis.plot(steps, [fmean(values) for values in successes], label=TITLES[arm])
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
    shift: str = field(
        default=str(RESULTS_OF_SHIFT), metadata={"help": "Directory of the tests with other users and tasks."}
    )
    docs: str = field(default=str(DOCS), metadata={"help": "Directory for `results.md` and `learning_curves.svg`."})


def main(args: TableArguments) -> None:
    results = read_results(Path(args.results))
    if not results:
        raise SystemExit(f"There is no result in {args.results}: run `python -m benchmarks.learning grid` first.")
    page, figure = Path(args.docs) / "results.md", Path(args.docs) / "learning_curves.svg"
    page.write_text(markdown_page(results, read_shift(Path(args.shift))))
    draw_curves(results, figure)
    print(f"Written to {os.path.relpath(page)} and {os.path.relpath(figure)}")
