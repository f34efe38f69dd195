# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a policy with each user: means with their intervals, and tables of them."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from .store import read_episodes


NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
COMPACT = {"box": SIMPLE_HEAD, "show_edge": False, "padding": (0, 1, 0, 0)}  # five users fit into 80 columns


@dataclass(frozen=True)
class Evaluation:
    """
    Episodes of a policy, and their statistics.

    Attributes:
        settings (`dict`):
            What was evaluated, and how.
        records (`list[dict]`):
            The episodes: `task` (index of the row), `run`, `user`, `reward`, `success`, `num_turns` (the policy's
            actions), `num_questions` (turns that brought feedback which the policy saw), `stop_reason` and `messages`,
            whose last ones may be feedback that the policy never saw. Also `metrics`, where the environment
            has some.
    """

    settings: dict
    records: list[dict]

    @classmethod
    def load(cls, output_dir: str | os.PathLike) -> "Evaluation":
        """
        Read all episodes that [`evaluate`] has written, or has written so far. Nothing on disk is changed.

        Args:
            output_dir (`str` or `os.PathLike`):
                The `output_dir` of the evaluation.

        Returns:
            [`Evaluation`]: The evaluation. If an episode is there more than once, the first counts.

        Raises:
            `ValueError`: If the file cannot be read. It names the line.
        """
        path = Path(output_dir, "episodes.jsonl")
        settings, records = read_episodes(path)
        if settings is None:
            raise ValueError(f"{path} holds no evaluation yet: it is empty.")
        return cls(settings, list(records.values()))

    def summary(self) -> dict[str, dict]:
        """
        Statistics of each user.

        Returns:
            `dict[str, dict]`:
                By the user's name: `num_tasks`, `num_episodes`, the means of `success`, `reward`, `num_turns` and
                `num_questions`, each with the ends of its interval (`mean`, `low`, `high`), the shares of the
                `stop_reasons`, and where there are some, the same means of the environment's `metrics`. Where every
                task was played several times, `pass_hat_k`: for each k, the chance that k episodes of a task are all
                successes, in the estimate of τ-bench.
        """
        summary = {}
        for user in dict.fromkeys(record["user"] for record in self.records):
            records = [record for record in self.records if record["user"] == user]
            tasks = defaultdict(list)
            for record in records:
                tasks[record["task"]].append(record)
            summary[user] = {"num_tasks": len(tasks), "num_episodes": len(records)}
            for name in ("success", "reward", "num_turns", "num_questions"):
                values = [[float(record[name]) for record in runs] for runs in tasks.values()]
                summary[user][name] = asdict(bootstrap_mean(values, seed=self.settings["seed"]))
            counts = Counter(record["stop_reason"] for record in records)
            summary[user]["stop_reasons"] = {reason: n / len(records) for reason, n in counts.most_common()}
            if names := dict.fromkeys(name for record in records for name in record.get("metrics", {})):
                summary[user]["metrics"] = {name: self._mean_of(name, tasks.values()) for name in names}
            if (num_runs := min(map(len, tasks.values()))) > 1:
                successes = [[record["success"] for record in runs] for runs in tasks.values()]
                summary[user]["pass_hat_k"] = {str(k): pass_hat_k(successes, k) for k in range(1, num_runs + 1)}
        return summary

    def _mean_of(self, name: str, tasks: Iterable[list[dict]]) -> dict[str, float]:
        """Mean of a metric over the episodes that have it."""
        values = [[record["metrics"][name] for record in runs if name in record.get("metrics", {})] for runs in tasks]
        return asdict(bootstrap_mean([runs for runs in values if runs], seed=self.settings["seed"]))

    def table(self, title: str | None = None) -> Table:
        """
        The statistics for the screen.

        Args:
            title (`str`, *optional*):
                Title of the table.

        Returns:
            [`~rich.table.Table`]: One line per user.
        """
        summary = self.summary()
        num_runs = min((len(statistics.get("pass_hat_k", ())) for statistics in summary.values()), default=0)
        table = Table("user", title=title, title_justify="left", **COMPACT)
        for name in ("success", *([f"pass^{num_runs}"] if num_runs else []), "reward", "turns", "questions"):
            table.add_column(f"{name} ", justify="right", no_wrap=True)
        table.add_column("stop reasons")
        for user, statistics in summary.items():
            table.add_row(
                escape(user),
                _plus_minus(statistics["success"]),
                *([f"{statistics['pass_hat_k'][str(num_runs)]:.2f}"] if num_runs else []),
                *(_plus_minus(statistics[name]) for name in ("reward", "num_turns", "num_questions")),
                ", ".join(f"{escape(reason)} {share:.0%}" for reason, share in statistics["stop_reasons"].items()),
            )
        return table


@dataclass(frozen=True)
class Estimate:
    """
    A mean and its confidence interval.

    Attributes:
        mean (`float`):
            The mean.
        low (`float`):
            Lower end of the interval.
        high (`float`):
            Upper end of the interval.
    """

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Iterable[Iterable[float]],
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """
    Mean over episodes, and its percentile bootstrap interval. Tasks are drawn with all their runs: the runs of one
    task are not independent samples.

    Args:
        values (`Iterable[Iterable[float]]`):
            For each task the values of its runs.
        confidence (`float`, *optional*, defaults to `0.95`):
            Confidence level.
        num_resamples (`int`, *optional*, defaults to `2000`):
            Number of bootstrap samples.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resampling.

    Returns:
        [`Estimate`]: Mean and interval. The interval is of width 0 when all tasks had the same value.
    """
    rng = np.random.default_rng(seed)
    tasks = [list(runs) for runs in values]
    sums = np.array([sum(runs) for runs in tasks])
    counts = np.array([len(runs) for runs in tasks])
    means = []
    chunk_size = max(1, 1_000_000 // len(tasks))  # bounds the memory
    for start in range(0, num_resamples, chunk_size):
        drawn = rng.integers(len(tasks), size=(min(chunk_size, num_resamples - start), len(tasks)))
        means.extend(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def pass_hat_k(successes: Iterable[Iterable[bool]], k: int) -> float:
    """
    The chance that k episodes of a task are all successes, pass^k of
    [τ-bench](https://huggingface.co/papers/2406.12045): of n episodes with c successes, the share C(c, k) / C(n, k) of
    the ways to choose k of them; the mean over tasks.

    Args:
        successes (`Iterable[Iterable[bool]]`):
            For each task, which of its episodes were successes.
        k (`int`):
            Number of episodes, at most as many as each task has.

    Returns:
        `float`: The estimate.

    Raises:
        `ValueError`: If a task has fewer episodes.
    """
    tasks = [list(runs) for runs in successes]
    if k > (fewest := min(map(len, tasks))):
        raise ValueError(f"`k` is {k}, but a task has only {fewest} episodes. Play more, with `num_runs`.")
    return sum(math.comb(sum(runs), k) / math.comb(len(runs), k) for runs in tasks) / len(tasks)


def user_shift_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """
    The matrix of the user shift: success of policies, each trained with one user, with all users.

    Args:
        evaluations (`Mapping[str, Evaluation]`):
            Evaluations by the name of the policy. A policy that has a user's name counts as trained with that user.

    Returns:
        [`~rich.table.Table`]:
            A row for each policy and a column for each user: mean success and half the width of its interval, bold and
            with a star for the user that the policy was trained with.
    """
    summaries = {policy: evaluation.summary() for policy, evaluation in evaluations.items()}
    users = list(dict.fromkeys(user for summary in summaries.values() for user in summary))
    table = Table(
        "policy",
        title="success of policies, by the user they were trained with, when tested with",
        title_justify="left",
        caption="± half the 95 % bootstrap interval, * the user it was trained with",
        caption_justify="left",
        **COMPACT,
    )
    for user in users:
        table.add_column(f"{escape(user)} ", justify="right", no_wrap=True)
    for policy, summary in summaries.items():
        cells = []
        for user in users:
            if user not in summary:
                cells.append("")
                continue
            cell = _plus_minus(summary[user]["success"])
            cells.append(f"[bold]{cell}*[/bold]" if user == policy else f"{cell} ")
        table.add_row(escape(policy), *cells)
    return table


def _plus_minus(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.2f} ±{(estimate['high'] - estimate['low']) / 2:.2f}"
