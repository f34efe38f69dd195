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
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ._describe import describe
from ._options import (
    LONGEST_WAIT,
    check_bool,
    check_callable,
    check_number,
    check_output_dir,
    check_temperature,
    check_text,
)
from ._progress import ProgressBar
from ._show import as_json, show
from .calls import call, encodable_message, guard_event_loop
from .policies import Policy, SeededEpisode, load_policy
from .rollout import begin, converse, converses, find_tools, gather_rewards
from .turns import feedback_blocks


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_PROMPT = [{"role": "user", "content": ""}]  # TRL's, to which it adds what `reset` returns
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
    feedback_timeout: float | None = None,
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
            Who acts: path or hub id of a model, a model and its tokenizer, a [`~trl_infopo.policies.ChatPolicy`] for a
            model behind an endpoint, or a function that makes the next assistant message of the messages so far and
            the tools.
        users (`Mapping[str, Callable[[], Any]]`):
            By the name of a user, a factory of environments with that user in it. An environment without users has one
            entry, of any name.
        dataset ([`~datasets.Dataset`] or `list[dict]`):
            The tasks: rows with a conversational `prompt` and what the environment's `reset` takes. Where there is no
            `prompt`, what `reset` returns is the user's first message, as in training.
        num_runs (`int`, *optional*, defaults to `1`):
            Number of episodes for each task and user.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature, between 1e-5 and 1e5; 0 decodes greedily.
        max_turns (`int`, *optional*, defaults to `16`):
            Largest number of actions in an episode, `None` for no limit. What the last one calls is not run.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Largest number of tokens of a conversation after its prompt, feedback included, as in training. For a
            [`~trl_infopo.policies.ChatPolicy`], of one message.
        system_prompt (`str`, *optional*):
            Instructions for the policy, added at the end of the prompt's own system message.
        chat_template_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the chat template, such as `{"enable_thinking": False}`: those of the same name in the
            training's [`InfoPOConfig`]. A [`~trl_infopo.policies.ChatPolicy`] sends them to its endpoint in
            `extra_body`.
        success_threshold (`float`, *optional*, defaults to `1.0`):
            Reward from which an episode is a success.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the sampling and of the bootstrap.
        batch_size (`int`, *optional*, defaults to `32`):
            Number of episodes played at once.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of openings and replies of users, of tools and of rewards awaited at once.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool or a reply of a user may take. A tool that takes longer fails, which the agent is told;
            a user that does ends the evaluation with an error. If `None`, there is no limit.
        output_dir (`str`, *optional*):
            Directory for `episodes.jsonl`, one line per episode, written after each batch, and `summary.json`. Where
            it holds episodes of the same settings, these are not played again. Users and runs can be added. Functions
            are told apart by their names, and partials also by their arguments. It belongs to one evaluation at a
            time; the lock in it is gone with the process that holds it.
        console ([`~rich.console.Console`], *optional*):
            Console for the progress bar.
        show_progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar, or lines where the console is no terminal.

    Returns:
        [`Evaluation`]: The episodes and their statistics.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or `output_dir` cannot be made, is in use,
            cannot be read, or holds episodes of other settings or users.
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. What was finished is in `output_dir`.
        [`~trl_infopo.policies.PolicyError`]: If an endpoint fails.
        `RuntimeError`: If an environment's `on_end` or `get_reward` fails.
        `OSError`: If an episode cannot be written, as on a full disk. What was written before is kept.

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
    rows = _check_arguments(
        users,
        dataset,
        num_runs=num_runs,
        temperature=temperature,
        max_turns=max_turns,
        max_completion_length=max_completion_length,
        system_prompt=system_prompt,
        chat_template_kwargs=chat_template_kwargs,
        success_threshold=success_threshold,
        seed=seed,
        batch_size=batch_size,
        concurrency=concurrency,
        feedback_timeout=feedback_timeout,
        show_progress=show_progress,
    )
    chat_template_kwargs = dict(chat_template_kwargs or {})
    with running_event_loop() as event_loop, lock_directory(output_dir):
        path = None if output_dir is None else Path(output_dir, "episodes.jsonl")
        policy = load_policy(policy)
        environments = {user: [make()] for user, make in users.items()}  # the others are made when they are needed
        first = [pool[0] for pool in environments.values()]
        for environment in first:
            _check_columns(rows, environment)
        settings = {
            **policy.description,
            "environment": type(first[0]).__name__,
            "dataset": hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:16],
            "num_tasks": len(rows),
            "temperature": float(temperature),  # NumPy's numbers have no JSON
            "max_turns": max_turns and int(max_turns),
            "max_completion_length": int(max_completion_length),
            "system_prompt": system_prompt,
            "chat_template_kwargs": chat_template_kwargs,
            "success_threshold": float(success_threshold),
            "seed": int(seed),
            "users": {user: describe(make) for user, make in users.items()},
        }
        records = {} if path is None else _open_records(path, settings)
        act = policy.make_actor(
            has_tools=any(map(find_tools, first)),
            converses=any(map(converses, first)),
            temperature=temperature,
            max_completion_length=max_completion_length,
            chat_template_kwargs=chat_template_kwargs,
            event_loop=event_loop,
        )

        def jobs() -> Iterator[tuple[int, int, str]]:
            return ((task, run, user) for user in users for run in range(num_runs) for task in range(len(rows)))

        num_jobs = len(users) * num_runs * len(rows)
        completed = sum(task < len(rows) and run < num_runs and user in users for task, run, user in records)
        open_jobs = (job for job in jobs() if job not in records)
        with ProgressBar("episodes", num_jobs, completed, console, show_progress) as progress:
            while batch := list(islice(open_jobs, batch_size)):
                episodes = []
                for (task, run, user), position in zip(batch, _positions(batch), strict=True):
                    if position == len(environments[user]):
                        environments[user].append(users[user]())
                    name = f"task {task}, run {run} with the user {user!r}"
                    environment, episode_seed = environments[user][position], f"{seed} {task} {run}"
                    episodes.append(start_episode(environment, rows[task], system_prompt, name, episode_seed))
                try:
                    begin(episodes, event_loop, concurrency=concurrency, feedback_timeout=feedback_timeout)
                    for (task, _, _), episode in zip(batch, episodes, strict=True):
                        _check_prompt(episode, rows[task])
                    act(episodes)
                    converse(
                        episodes,
                        act,
                        event_loop,
                        max_turns=max_turns,
                        concurrency=concurrency,
                        feedback_timeout=feedback_timeout,
                    )
                    rewards = gather_rewards(episodes, event_loop, concurrency)
                    played = [
                        _record(job, episode, to_number(reward, episode), success_threshold)
                        for job, episode, reward in zip(batch, episodes, rewards, strict=True)
                    ]
                    if path is not None:
                        _append(path, played)
                except (RuntimeError, OSError) as error:
                    if path is not None:
                        error.add_note(
                            f"Finished episodes are in {path}. The same evaluation, run again, goes on there."
                        )
                    raise
                records.update((_job(record), record) for record in played)
                success = sum(record["success"] for record in records.values()) / len(records)
                progress.update(progress.completed + len(batch), f"success {success:.2f}")

        evaluation = Evaluation(settings, [records[job] for job in jobs()])
        if path is not None:
            report = {"settings": settings, "users": evaluation.summary()}
            write_whole(path.with_name("summary.json"), json.dumps(report, indent=2) + "\n")
    return evaluation


def _check_arguments(users: Any, dataset: Any, **arguments) -> list[dict]:
    """
    The rows of the dataset.

    Raises:
        `ValueError`: If an argument of [`evaluate`] is of another type or out of range.
    """
    for name in ("num_runs", "batch_size", "max_completion_length", "concurrency"):
        check_number(name, arguments[name], integer=True, at_least=1)
    if arguments["max_turns"] is not None:
        check_number("max_turns", arguments["max_turns"], integer=True, at_least=1, hint="or to None for no limit")
    check_temperature("temperature", arguments["temperature"])
    check_number("success_threshold", arguments["success_threshold"])
    check_number("seed", arguments["seed"], integer=True, at_least=0)
    check_bool("show_progress", arguments["show_progress"])
    if (timeout := arguments["feedback_timeout"]) is not None:
        check_number("feedback_timeout", timeout, above=0, at_most=LONGEST_WAIT, hint="or to None for no limit")
    if arguments["system_prompt"] is not None:
        check_text("system_prompt", arguments["system_prompt"])
    kwargs = arguments["chat_template_kwargs"]
    try:
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise TypeError(f"it is no mapping but a {type(kwargs).__name__}")
        json.dumps(dict(kwargs or {}))
    except (TypeError, ValueError) as error:
        example = '{"enable_thinking": False}'
        raise ValueError(
            f"`chat_template_kwargs` is {show(kwargs)}, set it to a dict like {example}: {error}."
        ) from None

    if not isinstance(users, Mapping) or not users:
        problem = "is empty" if isinstance(users, Mapping) else f"is {show(users)}"
        raise ValueError(f"`users` {problem}. Pass a factory of environments for each user, by the user's name.")
    for user, make in users.items():
        check_text("users", user)
        check_callable(f"users[{user!r}]", make, "a class or function that makes an environment")

    return check_rows(dataset)


def check_rows(dataset: Any) -> list[dict]:
    """
    The rows of a dataset.

    Raises:
        `ValueError`: If there are none, or one has no conversational `prompt`.
    """
    if isinstance(dataset, str | Mapping) or not isinstance(dataset, Iterable):
        raise ValueError(f"`dataset` is {show(dataset)}. Pass tasks as rows with a conversational `prompt`.")
    rows = list(dataset)
    if not rows:
        raise ValueError("`dataset` has no rows. Pass tasks as rows with a conversational `prompt`.")
    for i, row in enumerate(rows):
        prompt = row.get("prompt", NO_PROMPT) if isinstance(row, Mapping) else None
        if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
            problem = f"is {show(row)}" if prompt is None else f"has the prompt {show(prompt)}"
            raise ValueError(
                f"Row {i} of `dataset` {problem}. Give it a conversational `prompt`: a list of messages like "
                '{"role": "user", "content": "Hello."}, or none where `reset` returns the first one.'
            )
    return rows


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("role"), str) and "content" in message


def _check_columns(rows: list[dict], environment: Any) -> None:
    """
    Raises:
        `ValueError`: If the rows do not have what `reset` takes.
    """
    signature = inspect.signature(environment.reset)
    for row in {tuple(row): row for row in rows}.values():
        try:
            signature.bind(**row)
        except TypeError as error:
            raise ValueError(
                f"`dataset` has the columns {list(row)}, which `{type(environment).__name__}.reset` cannot take: "
                f"{error}. Give the dataset what is missing, and `reset` a `**row` for what it does not need."
            ) from None


@contextmanager
def lock_directory(output_dir: str | os.PathLike | None) -> Iterator[None]:
    """
    Make a directory and keep other evaluations out of it. The lock ends with the process, however that ends.

    Args:
        output_dir (`str`, *optional*):
            Directory. If `None`, there is nothing to lock.

    Raises:
        `ValueError`: If another evaluation has it, or it cannot be made.
    """
    if output_dir is None:
        yield
        return
    check_output_dir("output_dir", output_dir)
    try:
        os.makedirs(output_dir, exist_ok=True)
        lock = FileLock(Path(output_dir, ".lock"), timeout=0)
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"Another evaluation is running in `output_dir` ({output_dir}). Wait for its end, or take another one."
        ) from None
    except OSError as error:
        raise ValueError(
            f"`output_dir` is {str(output_dir)!r}, which cannot be written to: {error}. Take another directory."
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, text: str) -> None:
    """
    Write a file so that a process that is killed leaves the old one or the new one.

    Args:
        path (`Path`):
            The file.
        text (`str`):
            What it shall hold.
    """
    new_path = path.with_name(f"{path.name}.new")
    with _naming(path):
        with open(new_path, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new_path, path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Of a full disk Python does not say which file it was."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


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
            [`Evaluation`]: The evaluation. Of an episode that is there more than once the first counts.

        Raises:
            `ValueError`: If the file cannot be read. It names the line.
        """
        path = Path(output_dir, "episodes.jsonl")
        settings, records = _read_episodes(path)
        if settings is None:
            raise ValueError(f"{path} holds no evaluation yet: it is empty.")
        return cls(settings, list(records.values()))

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
                escape(user),
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


@contextmanager
def running_event_loop() -> Iterator[asyncio.AbstractEventLoop]:
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


def start_episode(environment: Any, row: dict, system_prompt: str | None, name: str, seed: str) -> SeededEpisode:
    """Reset an environment as TRL does, and make the prompt."""
    row = deepcopy(row)
    prompt = deepcopy(row.get("prompt", NO_PROMPT))
    observation = call(environment.reset, row)
    if observation is not None:
        prompt[-1]["content"] = _join(prompt[-1]["content"], observation)
    if system_prompt is not None:
        if prompt[0]["role"] == "system":
            prompt[0]["content"] = _join(prompt[0]["content"], f"\n\n{system_prompt}")
        else:
            prompt.insert(0, {"role": "system", "content": system_prompt})
    return SeededEpisode(encodable_message(prompt), environment, find_tools(environment), name, seed=seed)


def _check_prompt(episode: SeededEpisode, row: dict) -> None:
    """
    Raises:
        `ValueError`: If neither the row nor the environment nor its user has brought a prompt.
    """
    if "prompt" not in row and not episode.prompt[-1]["content"]:
        raise ValueError(
            f"There is no prompt in {episode.name}: its row has none, `{type(episode.environment).__name__}.reset` "
            "returned no text, and no user has an `opening`. Give the row a `prompt`, or let `reset` return one."
        )


def _join(content: str | list[dict], addition: str | list[dict]) -> str | list[dict]:
    """Content with something added. Where one of the two is made of parts, the other becomes a part, as in TRL."""
    if isinstance(content, list) and isinstance(addition, str):
        return [*content, {"type": "text", "text": addition}]
    if isinstance(content, str) and isinstance(addition, list):
        return [{"type": "text", "text": content}, *addition]
    return content + addition


def to_number(reward: Any, episode: SeededEpisode) -> float:
    """
    Args:
        reward (`Any`):
            What `get_reward` returned.
        episode ([`~trl_infopo.policies.SeededEpisode`]):
            Whose reward it is.

    Returns:
        `float`: The reward.

    Raises:
        `ValueError`: If it is not a finite number.
    """
    try:
        number = math.nan if isinstance(reward, str) else float(reward)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"`{type(episode.environment).__name__}.get_reward` returned {show(reward)} in {episode.name}. Return a "
            "finite number."
        )
    return number


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
        "messages": as_json(episode.prompt + episode.completion + episode.feedback),
    }


def _job(record: dict) -> tuple[int, int, str]:
    return record["task"], record["run"], record["user"]


def _open_records(path: Path, settings: dict) -> dict[tuple[int, int, str], dict]:
    """
    The episodes that a file holds already, by their jobs. The file is made if there is none, else new users are added
    to its settings, and a half-written line at its end and what is there twice are dropped.
    """
    old_settings, records = _read_episodes(path) if os.path.lexists(path) else (None, {})
    if records:
        _check_settings(path.parent, old_settings, settings, {user for _, _, user in records})
        settings = {**settings, "users": {**old_settings["users"], **settings["users"]}}
    content = "".join(json.dumps(line) + "\n" for line in [{"settings": settings}, *records.values()])
    if not path.exists() or path.read_bytes() != content.encode():
        write_whole(path, content)
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


def _read_episodes(path: Path) -> tuple[dict | None, dict[tuple[int, int, str], dict]]:
    """
    Settings and episodes by their jobs, of a file of JSON lines. The settings are `None` in an empty file. A line at
    its end that is no JSON is dropped: it is all that a process that is killed can leave.

    Raises:
        `ValueError`: If the file cannot be read, or a line is not what it should be.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"The episodes of `output_dir` cannot be read: {error}.") from None
    settings, records = None, {}
    *whole, last = content.split(b"\n")
    for number, line in enumerate([*whole, last], start=1):
        try:
            entry = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            if number > len(whole):
                break
            problem = f"is not JSON ({error})"
        else:
            problem = _find_problem(entry, settings)
        if problem:
            kept = f"the {number - 1} lines before it" if number > 1 else "what you need of it"
            raise ValueError(
                f"{path}, line {number} {problem}. Repair or remove this line (the evaluation plays what is missing), "
                f"keep {kept} elsewhere and start with a new `output_dir`, or restore the file."
            )
        if settings is None:
            settings = entry["settings"]
        else:
            records.setdefault(_job(entry), entry)
    return settings, records


def _find_problem(entry: Any, settings: dict | None) -> str:
    """What keeps a line from being the settings, where there are none yet, or else one of their episodes."""
    if settings is None:
        found = entry.get("settings") if isinstance(entry, dict) else None
        is_whole = isinstance(found, dict) and isinstance(found.get("users"), dict)
        is_whole = is_whole and _is_count(found.get("num_tasks")) and _is_count(found.get("seed"))
        return "" if is_whole else "does not hold the settings of an evaluation"
    if not isinstance(entry, dict):
        return "is not an episode"
    for name, is_right in RECORD.items():
        if name not in entry:
            return f"is not an episode: it has no `{name}`"
        if not is_right(entry[name]):
            return f"is not an episode: its `{name}` is {show(entry[name])}"
    if entry["task"] >= settings["num_tasks"]:
        return f"is of the task {entry['task']}, but there are {settings['num_tasks']}"
    return "" if entry["user"] in settings["users"] else f"is of the user {entry['user']!r}, whom the settings lack"


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 0


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# What an episode is on disk
RECORD = {
    "task": _is_count,
    "run": _is_count,
    "user": _is_text,
    "reward": _is_finite,
    "success": lambda value: isinstance(value, bool),
    "num_turns": _is_count,
    "num_questions": _is_count,
    "stop_reason": _is_text,
    "messages": lambda value: isinstance(value, list),
}


def _append(path: Path, records: list[dict]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    with _naming(path), open(path, "a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
