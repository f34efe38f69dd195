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
    ALIKE,
    LEVEL,
    MIN_PAIRS,
    Comparison,
    Results,
    area,
    compare,
    compare_together,
    divide,
    half_of,
    held_out,
    last_value,
    num_collapses,
    num_questions,
    read_results,
    shared_starts,
    spread,
)


DOCS = ROOT / "docs"
WANTED_SEEDS = 6
WANTED_SEEDS_OF_ABLATIONS = 4
PAPER_ARM = "group"
COLORS = {arm: f"C{i}" for i, arm in enumerate(MAIN_ARMS)}


def seed_list(seeds: list[int]) -> str:
    """As in `0-3, 5`."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def ratio_on_same_seeds(runs: dict[int, dict], others: dict[int, dict]) -> str:
    """Ratio of the mean areas, without an interval where the seeds are too few for one."""
    if compared := compare(runs, others):
        return str(compared)
    paired = [seed for seed in runs if seed in others]
    if not paired:
        return ""
    return f"{divide(*(sum(area(arm[seed]) for seed in paired) for arm in (runs, others))):.2f}"


def arm_row(arm: str, arms: dict[str, dict[int, dict]]) -> str:
    runs = arms[arm]
    asked = [f"{fmean(num_questions(result, kind) for result in runs.values()):.1f}" for kind in QUESTIONS]
    cells = [
        TITLES[arm],
        seed_list(list(runs)),
        spread([area(result) for result in runs.values()]),
        "" if arm == BASELINE else ratio_on_same_seeds(runs, arms.get(BASELINE, {})),
        "" if arm in (BASELINE, DEFAULT) else ratio_on_same_seeds(runs, arms.get(DEFAULT, {})),
        spread([last_value(result) for result in runs.values()]),
        str(num_collapses(arms, arm)),
        " / ".join(asked),
        f"{fmean(result['seconds']['cpu'] for result in runs.values()):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def regime_section(regime: str, arms: dict[str, dict[int, dict]]) -> list[str]:
    columns = ["arm", "seeds", "area", "ratio to GRPO", "ratio to the default", f"last {REGIMES[regime].measure}"]
    columns += ["collapses", "questions at the end", "CPU seconds"]
    lines = [
        f"## `{regime}`",
        "",
        REGIMES[regime].reason,
        "",
        f"| {' | '.join(columns)} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return [*lines, *(arm_row(arm, arms) for arm in arms), ""]


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
            cells.append(str(compared) if compared else "")
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def headline(results: Results) -> list[str]:
    """One row for each regime: GRPO's area, the other main arms against it, and where GRPO and the default end."""
    arms = [arm for arm in MAIN_ARMS if arm != BASELINE and any(arm in by_arm for by_arm in results.values())]
    lines = [f"| regime | GRPO's area | {' | '.join(TITLES[arm] for arm in arms)} | last: GRPO, default |"]
    lines.append(f"|---|---:|{'---|' * len(arms)}---|")
    for regime, by_arm in results.items():
        baselines, runs = by_arm.get(BASELINE, {}), by_arm.get(DEFAULT, {})
        paired = [seed for seed in baselines if seed in runs]
        cells = [f"[`{regime}`](#{regime})"]
        cells.append(spread([area(baselines[seed]) for seed in paired or baselines]) if baselines else "")
        for arm in arms:
            compared = compare(by_arm.get(arm, {}), baselines)
            cells.append(verdict_cell(compared) if compared else "")
        ends = [fmean(last_value(arm[seed]) for seed in paired) for arm in (baselines, runs)] if paired else []
        cells.append(", ".join(f"{value:.2f}" for value in ends))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def verdict_cell(compared: Comparison) -> str:
    return f"{compared}, {compared.num_above} of {compared.num_seeds}: {compared.verdict}"


def together_section(results: Results) -> list[str]:
    """What rows of one warm start say together, since they are not independent."""
    regimes = max(shared_starts(results), key=len)
    compared = compare_together(results, regimes) if len(regimes) > 1 else None
    if compared is None:
        return []
    names = ", ".join(f"`{regime}`" for regime in regimes)
    return [
        f"Rows are not independent: {names} share one warm start for each seed. By the mean over these {len(regimes)} "
        "regimes, both halves together and each seed counted once, the ratio of the default to GRPO is "
        f"{compared}, above 1 in "
        f"{compared.num_above} of the {compared.num_seeds} seeds that all have: {compared.verdict}.",
        "",
    ]


def paper_section(results: Results) -> list[str]:
    """The default beside the paper's gate, whose runs are the same to the digit while the factor stays at 1."""
    lines = [
        "## The default against the paper's gate",
        "",
        "Ratio of the areas, default to paper, over the seeds that both have. *identical*: runs with the same curve, "
        "as the factor stayed at 1. *collapses*: of the default, of the paper's gate.",
        "",
        "| regime | seeds | ratio | identical | collapses |",
        "|---|---:|---:|---:|---:|",
    ]
    for regime, by_arm in results.items():
        runs, papers = by_arm.get(DEFAULT, {}), by_arm.get(PAPER_ARM, {})
        paired = [seed for seed in runs if seed in papers]
        if not paired:
            continue
        same = sum(held_out(runs[seed]) == held_out(papers[seed]) for seed in paired)
        shared = {arm: {seed: by_arm[arm][seed] for seed in paired} for arm in (DEFAULT, PAPER_ARM)}
        shared[BASELINE] = by_arm.get(BASELINE, {})
        collapses = ", ".join(str(num_collapses(shared, arm)) for arm in (DEFAULT, PAPER_ARM))
        ratio = ratio_on_same_seeds(runs, papers)
        lines.append(f"| `{regime}` | {seed_list(paired)} | {ratio} | {same} of {len(paired)} | {collapses} |")
    return [*lines, ""] if len(lines) > 6 else []


def unknown_section(results: Results) -> list[str]:
    """What the runs leave open: too few seeds, arms and regimes that were never run, and what no run here can say."""
    pairs = {
        regime: len(by_arm.get(BASELINE, {}).keys() & by_arm.get(DEFAULT, {}).keys())
        for regime, by_arm in results.items()
    }
    few = ", ".join(f"`{regime}` {pairs.get(regime, 0)}" for regime in REGIMES if pairs.get(regime, 0) < WANTED_SEEDS)
    seen = {arm for by_arm in results.values() for arm in by_arm}
    missing = ", ".join(TITLES[arm] for arm in ARMS if arm not in seen)
    most = {arm: max(len(by_arm.get(arm, {})) for by_arm in results.values()) for arm in ARMS if arm in seen}
    single = "; ".join(TITLES[arm] for arm, num_seeds in most.items() if num_seeds < WANTED_SEEDS_OF_ABLATIONS)
    return [
        "## What is not known",
        "",
        *([f"- Seeds of both GRPO and the default, where they are fewer than {WANTED_SEEDS}: {few}."] if few else []),
        *([f"- Never run: {missing}."] if missing else []),
        *([f"- In no regime {WANTED_SEEDS_OF_ABLATIONS} seeds: {single}."] if single else []),
        "- Whether any of it holds for a language model of useful size. [A chat model of 135 million parameters]"
        "(chat_model_training.md) was trained on one small task, whose rewards are graded as in `clarify`.",
        "- Other learning rates, group sizes and lengths of training: all runs share these, and none was tuned.",
        "- People. All users here are programs.",
        "",
    ]


def markdown_page(results: Results, shift: Results) -> str:
    runs = [result for arms in results.values() for by_seed in arms.values() for result in by_seed.values()]
    versions = {", ".join(f"{name} {value}" for name, value in result["versions"].items()) for result in runs}
    sizes, choosing = runs[0]["settings"]["sizes"], half_of(results, is_choosing=True)
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
        "- *ratio*: of the mean areas over the seeds that both have, with the 95 % interval of a paired bootstrap "
        f"over seeds. With fewer than {MIN_PAIRS} seeds there is none. With {MIN_PAIRS} it is their range, which lies "
        "on one side of 1 by chance one time in four, and with six it is still narrower than it says.",
        "- *collapses*: runs that end with less than one question, or below half of the last value of GRPO's run "
        "with the same seed; for GRPO, below half of the default's. Some seeds of single runs were picked because the "
        "default had failed there.",
        "- *questions at the end*: useful / useless / repeated, per rollout.",
        "",
        "An area mixes speed and level, and depends on where the training stops: see the last values as well. One "
        "tiny policy and games of a few words: leads for your own task, not proof.",
        "",
        "![Held-out success by step](learning_curves.svg)",
        "",
        "Mean, and a band from the worst to the best seed, over the seeds that the arms of a panel share.",
        "",
        "## Ratio to GRPO of the area under held-out success",
        "",
        "With each ratio, in how many seeds the arm is above GRPO, and a verdict: it *helps* or *hurts* where an "
        f"exact test (all ways to swap the two of a pair) tells the areas apart at {LEVEL:.0%}, for which it takes "
        f"six seeds or more; it is *neutral* where the interval lies within {ALIKE[0]} and {ALIKE[1]}; all else is "
        "*open*. Nothing is corrected for the number of comparisons.",
        "",
        "### Where settings were chosen",
        "",
        f"Seeds {CHOOSING_SEEDS} of the regimes that were set apart for it.",
        "",
        *headline(choosing),
        "### Where they were put to the test",
        "",
        "The other regimes, and these with other seeds. The default was a candidate before any of these runs was "
        "there, and the default after the first five. What was tried later, such as a coefficient of 0.3 and partial "
        "agreement, was judged on this half too: for them it is no test.",
        "",
        *headline(half_of(results, is_choosing=False)),
        *together_section(results),
        *paper_section(results),
    ]
    for regime, arms in results.items():
        lines += regime_section(regime, arms)
    if shift:
        lines += shift_section(shift)
    lines += unknown_section(results)
    hours = sum(result["seconds"]["cpu"] for result in runs) / 3600
    lines.append(f"{len(runs)} runs, {hours:.1f} hours of one core. {'; '.join(sorted(versions))}.")
    return "\n".join(lines) + "\n"


def draw_curves(results: Results, path: Path) -> None:
    """
    Held-out success (or reward) of the main arms in each regime: the mean, and a band from worst seed to best, over
    the seeds that all arms shown share. An arm without three of the seeds of GRPO and the default is not shown.
    """
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

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
            shown, seeds = shown_together(arms)
            axis.set_title(f"{regime}, {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}")
            for arm in shown:
                runs = [arms[arm][seed] for seed in seeds]
                steps = [point["step"] for point in runs[0]["curve"]]
                values = list(zip(*map(held_out, runs), strict=True))
                style = {"color": COLORS[arm], "linestyle": line_style(arm)}
                axis.plot(steps, list(map(fmean, values)), gid=f"{regime}-{arm}", **style)
                lowest, highest = list(map(min, values)), list(map(max, values))
                axis.fill_between(steps, lowest, highest, color=COLORS[arm], alpha=0.15, linewidth=0)
        handles = [
            Line2D([], [], color=COLORS[arm], linestyle=line_style(arm), label=TITLES[arm]) for arm in MAIN_ARMS
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(MAIN_ARMS), frameon=False)
        figure.supxlabel("step")
        figure.supylabel("held-out success (clarify: reward)")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def line_style(arm: str) -> str:
    """Dashed for the default, under which another arm may lie: many of its runs are those of the paper's gate."""
    return "--" if arm == DEFAULT else "-"


def shown_together(arms: dict[str, dict[int, dict]]) -> tuple[list[str], list[int]]:
    """The main arms that a panel shows, and the seeds that all of these have."""
    shown = [arm for arm in (BASELINE, DEFAULT) if arm in arms]
    seeds = set.intersection(*(set(arms[arm]) for arm in shown)) if shown else set()
    for arm in MAIN_ARMS:
        if arm not in shown and len(seeds & arms.get(arm, {}).keys()) >= MIN_PAIRS:
            shown.append(arm)
            seeds &= arms[arm].keys()
    return [arm for arm in MAIN_ARMS if arm in shown], sorted(seeds)


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
