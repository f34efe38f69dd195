# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""How well a policy does with whom: success, reward, turns and questions per user, and the shift between users."""

import asyncio
import hashlib
import inspect
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ._describe import describe
from .calls import guard_event_loop
from .policies import Policy, PolicyError, SeededEpisode, load_policy
from .rollout import converse, converses, find_tools
from .turns import feedback_blocks
from .users import UserSimulatorError


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
COMPACT = {"box": SIMPLE_HEAD, "show_edge": False, "padding": (0, 1, 0, 0)}  # five users fit into 80 columns


def evaluate(
    policy: "str | tuple[PreTrainedModel, PreTrainedTokenizerBase] | Policy | Callable[[list[dict], list], dict]",
    users: Mapping[str, Callable[[], Any]],
    dataset: "Dataset | list[dict]",
    *,
    num_runs: int = 1,
    temperature: float = 0.0,
    max_turns: int | None = 16,
    max_completion_length: int = 2048,
    system_prompt: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    success_threshold: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    concurrency: int = 64,
    output_dir: str | os.PathLike | None = None,
    console: Console | None = None,
    show_progress: bool = True,
) -> "Evaluation":
    """
    Let a policy do tasks with users.

    The conversations are those of training: same loop, and with the same `chat_template_kwargs` the same tokens. An
    episode draws its random numbers from `seed`, its task and its run, so that all users and policies are compared
    under the same draws, and in float32 neither the batch nor an interruption changes what is sampled. In bfloat16,
    the padding of a batch changes how its numbers are rounded, which may decide between two tokens that are almost
    equally likely.

    Args:
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]` or [`Policy`] or `Callable`):
            Who acts: path or hub id of a model, a model and its tokenizer, a [`ChatPolicy`] for a model behind an
            endpoint, or a function that makes the next assistant message of the messages so far and the tools.
        users (`Mapping[str, Callable[[], Any]]`):
            By the name of a user, a factory of environments with that user in it. An environment without users has one
            entry, of any name.
        dataset ([`~datasets.Dataset`] or `list[dict]`):
            The tasks: rows with a conversational `prompt` and what the environment's `reset` takes.
        num_runs (`int`, *optional*, defaults to `1`):
            Number of episodes for each task and user.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature; 0 decodes greedily.
        max_turns (`int`, *optional*, defaults to `16`):
            Largest number of actions in an episode. What the last one calls is not run.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Largest number of tokens of a conversation after its prompt, feedback included, as in training. For a
            [`ChatPolicy`], of one message.
        system_prompt (`str`, *optional*):
            Instructions for the policy, added at the end of the prompt's own system message.
        chat_template_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the chat template, such as `{"enable_thinking": False}`: those of the same name in the
            training's [`InfoPOConfig`]. A [`ChatPolicy`] sends them to its endpoint in `extra_body`.
        success_threshold (`float`, *optional*, defaults to `1.0`):
            Reward from which an episode is a success.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the sampling and of the bootstrap.
        batch_size (`int`, *optional*, defaults to `32`):
            Number of episodes played at once.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of user replies and tools awaited at once.
        output_dir (`str`, *optional*):
            Directory for `episodes.jsonl`, one line per episode, written after each batch, and `summary.json`. Where
            it holds episodes of the same settings, these are not played again. Users and runs can be added. Functions
            are told apart by their names, and partials also by their arguments.
        console ([`~rich.console.Console`], *optional*):
            Console for the progress bar.
        show_progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar.

    Returns:
        [`Evaluation`]: The episodes and their statistics.

    Raises:
        `ValueError`: If an argument is out of range, or `output_dir` holds episodes of other settings or users.
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. What was finished is in `output_dir`.
        [`PolicyError`]: If an endpoint fails.

    Example:

    ```python
    from functools import partial

    from trl_infopo.environments import BookingEnv, booking_dataset
    from trl_infopo.evaluation import evaluate

    evaluation = evaluate(
        "infopo-quickstart",
        {persona: partial(BookingEnv, persona=persona) for persona in ("plain", "terse", "chatty")},
        booking_dataset("test", 100),
    )
    print(evaluation.summary()["terse"]["success"])
    ```
    """
    rows = list(dataset)
    if not rows or "prompt" not in rows[0]:
        raise ValueError("`dataset` has no rows with a `prompt`. Pass tasks as rows with a conversational `prompt`.")
    if not users:
        raise ValueError("`users` is empty. Pass a factory of environments for each user, by the user's name.")
    bounds = (
        ("num_runs", num_runs, 1),
        ("batch_size", batch_size, 1),
        ("temperature", temperature, 0),
        ("max_turns", max_turns, 1),
        ("max_completion_length", max_completion_length, 1),
        ("concurrency", concurrency, 1),
    )
    for name, value, least in bounds:
        if value is not None and value < least:
            raise ValueError(f"`{name}` is {value}, set it to at least {least}.")
    chat_template_kwargs = dict(chat_template_kwargs or {})
    policy = load_policy(policy)
    environments = {user: [make()] for user, make in users.items()}  # the others are made when they are needed
    first = [pool[0] for pool in environments.values()]
    settings = {
        **policy.description,
        "environment": type(first[0]).__name__,
        "dataset": hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:16],
        "num_tasks": len(rows),
        "temperature": temperature,
        "max_turns": max_turns,
        "max_completion_length": max_completion_length,
        "system_prompt": system_prompt,
        "chat_template_kwargs": chat_template_kwargs,
        "success_threshold": success_threshold,
        "seed": seed,
        "users": {user: describe(make) for user, make in users.items()},
    }
    jobs = [(task, run, user) for user in users for run in range(num_runs) for task in range(len(rows))]
    path = None if output_dir is None else Path(output_dir, "episodes.jsonl")
    records = {} if path is None else {_job(record): record for record in _open_records(path, settings)}
    open_jobs = [job for job in jobs if job not in records]

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not show_progress)
    with _event_loop() as event_loop, progress:
        act = policy.make_actor(
            has_tools=any(map(find_tools, first)),
            converses=any(map(converses, first)),
            temperature=temperature,
            max_completion_length=max_completion_length,
            chat_template_kwargs=chat_template_kwargs,
            event_loop=event_loop,
        )
        bar = progress.add_task("success    ", total=len(jobs), completed=len(jobs) - len(open_jobs))
        for start in range(0, len(open_jobs), batch_size):
            batch = open_jobs[start : start + batch_size]
            episodes = []
            for (task, run, user), position in zip(batch, _positions(batch), strict=True):
                if position == len(environments[user]):
                    environments[user].append(users[user]())
                name = f"task {task}, run {run} with the user {user!r}"
                environment, episode_seed = environments[user][position], f"{seed} {task} {run}"
                episodes.append(_start(environment, rows[task], system_prompt, name, episode_seed))
            try:
                act(episodes)
                converse(episodes, act, event_loop, max_turns=max_turns, concurrency=concurrency)
            except (UserSimulatorError, PolicyError) as error:
                if path is not None:
                    error.add_note(f"Finished episodes are in {path}. The same evaluation, run again, goes on there.")
                raise
            played = [
                _record(job, episode, _reward(episode, event_loop), success_threshold)
                for job, episode in zip(batch, episodes, strict=True)
            ]
            if path is not None:
                _append(path, played)
            records.update((_job(record), record) for record in played)
            success = sum(record["success"] for record in records.values()) / len(records)
            progress.update(bar, advance=len(batch), description=f"success {success:.2f}")

    evaluation = Evaluation(settings, [records[job] for job in jobs])
    if path is not None:
        text = json.dumps({"settings": settings, "users": evaluation.summary()}, indent=2)
        path.with_name("summary.json").write_text(text + "\n")
    return evaluation


@dataclass(frozen=True)
class Evaluation:
    """
    Episodes of a policy, and their statistics.

    Attributes:
        settings (`dict`):
            What was evaluated, and how.
        records (`list[dict]`):
            The episodes: `task` (index of the row), `run`, `user`, `reward`, `success`, `num_turns` (the policy's
            actions), `num_questions` (turns on which feedback came that the policy saw), `stop_reason` and `messages`,
            at whose end may be feedback that the policy never saw.
    """

    settings: dict
    records: list[dict]

    @classmethod
    def load(cls, output_dir: str | os.PathLike) -> "Evaluation":
        """
        Read all episodes that [`evaluate`] has written, or has written so far. Nothing on disk is changed.

        Args:
            output_dir (`str`):
                Its `output_dir`.

        Returns:
            [`Evaluation`]: The evaluation.
        """
        header, *records = _read_lines(Path(output_dir, "episodes.jsonl"))
        return cls(header["settings"], records)

    def summary(self) -> dict[str, dict]:
        """
        Statistics of each user.

        Returns:
            `dict[str, dict]`:
                By the user's name: `num_tasks`, `num_episodes`, the means of `success`, `reward`, `num_turns` and
                `num_questions`, each with the ends of its interval (`mean`, `low`, `high`), and the shares of the
                `stop_reasons`.
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
        return summary

    def table(self, title: str | None = None) -> Table:
        """
        The statistics for the screen.

        Args:
            title (`str`, *optional*):
                Title of the table.

        Returns:
            [`~rich.table.Table`]: One line per user.
        """
        table = Table("user", title=title, title_justify="left", **COMPACT)
        for name in ("success", "reward", "turns", "questions"):
            table.add_column(f"{name} ", justify="right", no_wrap=True)
        table.add_column("stop reasons")
        for user, statistics in self.summary().items():
            table.add_row(
                user,
                *(_plus_minus(statistics[name]) for name in ("success", "reward", "num_turns", "num_questions")),
                ", ".join(f"{reason} {share:.0%}" for reason, share in statistics["stop_reasons"].items()),
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
    task are no independent samples.

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


def user_shift_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """
    The user-shift report: success of policies, each trained with its own user, with all users.

    Args:
        evaluations (`Mapping[str, Evaluation]`):
            Evaluations by the name of the policy. A policy that bears a user's name was trained with that user.

    Returns:
        [`~rich.table.Table`]:
            A row for each policy and a column for each user: mean success and half the width of its interval, bold and
            with a star where a policy meets the user it was trained with.
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
        table.add_column(f"{user} ", justify="right", no_wrap=True)
    for policy, summary in summaries.items():
        cells = []
        for user in users:
            if user not in summary:
                cells.append("")
                continue
            cell = _plus_minus(summary[user]["success"])
            cells.append(f"[bold]{cell}*[/bold]" if user == policy else f"{cell} ")
        table.add_row(policy, *cells)
    return table


def _plus_minus(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.2f} ±{(estimate['high'] - estimate['low']) / 2:.2f}"


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop on another thread, as a notebook has one of its own on this thread."""
    loop = asyncio.new_event_loop()
    guard_event_loop(loop)
    thread = Thread(target=loop.run_forever, name="evaluate", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _positions(batch: list[tuple[int, int, str]]) -> list[int]:
    """For each job of a batch, how many jobs before it have the same user."""
    seen = Counter()
    positions = []
    for _, _, user in batch:
        positions.append(seen[user])
        seen[user] += 1
    return positions


def _start(environment: Any, row: dict, system_prompt: str | None, name: str, seed: str) -> SeededEpisode:
    """Reset an environment as TRL does, and make the prompt."""
    row = deepcopy(row)
    prompt = deepcopy(row["prompt"])
    observation = environment.reset(**row)
    if observation is not None:
        prompt[-1]["content"] = _join(prompt[-1]["content"], observation)
    if system_prompt is not None:
        if prompt[0]["role"] == "system":
            prompt[0]["content"] = _join(prompt[0]["content"], f"\n\n{system_prompt}")
        else:
            prompt.insert(0, {"role": "system", "content": system_prompt})
    return SeededEpisode(prompt, environment, find_tools(environment), name, seed=seed)


def _join(content: str | list[dict], addition: str | list[dict]) -> str | list[dict]:
    """Content with something added. Where one of the two is made of parts, the other becomes a part, as in TRL."""
    if isinstance(content, list) and isinstance(addition, str):
        return [*content, {"type": "text", "text": addition}]
    if isinstance(content, str) and isinstance(addition, list):
        return [{"type": "text", "text": content}, *addition]
    return content + addition


def _reward(episode: SeededEpisode, event_loop: asyncio.AbstractEventLoop) -> float:
    reward = episode.environment.get_reward()
    if inspect.isawaitable(reward):
        reward = asyncio.run_coroutine_threadsafe(reward, event_loop).result()
    if reward is None:
        raise ValueError(f"`{type(episode.environment).__name__}.get_reward` returned None. Return a number.")
    return float(reward)


def _record(job: tuple[int, int, str], episode: SeededEpisode, reward: float, success_threshold: float) -> dict:
    task, run, user = job
    return {
        "task": task,
        "run": run,
        "user": user,
        "reward": reward,
        "success": reward >= success_threshold,
        "num_turns": episode.num_actions,
        "num_questions": len(feedback_blocks(episode.completion)),
        "stop_reason": str(episode.stop_reason),
        "messages": episode.prompt + episode.completion + episode.feedback,
    }


def _job(record: dict) -> tuple[int, int, str]:
    return record["task"], record["run"], record["user"]


def _open_records(path: Path, settings: dict) -> list[dict]:
    """
    The episodes that a file holds already. The file is made if there is none, else new users are added to its settings
    and a half-written line at its end is dropped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    old_header, *records = (_read_lines(path) if path.exists() else []) or [None]
    if records:
        old_settings = old_header["settings"]
        _check_settings(path.parent, old_settings, settings, {record["user"] for record in records})
        settings = {**settings, "users": {**old_settings["users"], **settings["users"]}}
    content = "".join(json.dumps(line) + "\n" for line in [{"settings": settings}, *records])
    if not path.exists() or path.read_bytes() != content.encode():
        new_path = path.with_suffix(".new")  # so that a run that is killed here loses nothing
        new_path.write_text(content)
        os.replace(new_path, path)
    return records


def _check_settings(output_dir: Path, old_settings: dict, settings: dict, played_users: set[str]) -> None:
    """
    Raises:
        `ValueError`: If settings differ, or users of whom there are episodes.
    """
    for name in settings | old_settings:
        old, new = old_settings.get(name), settings.get(name)
        if name != "users" and old != new:
            raise ValueError(
                f"`output_dir` ({output_dir}) holds episodes with the setting `{name}` at {old!r}, which is now "
                f"{new!r}. Evaluate with the old settings, take another `output_dir`, or remove this one."
            )
    for user, new in settings["users"].items():
        if user in played_users and (old := old_settings["users"][user]) != new:
            raise ValueError(
                f"`output_dir` ({output_dir}) holds episodes with the user {user!r} made by {old}, who is now made by "
                f"{new}. Give the new user another name, take another `output_dir`, or remove this one."
            )


def _read_lines(path: Path) -> list[dict]:
    """The objects in a file of JSON lines, but for a half-written one at its end."""
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _append(path: Path, records: list[dict]) -> None:
    with open(path, "a") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))
        file.flush()
        os.fsync(file.fileno())
