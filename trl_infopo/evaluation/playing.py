# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on tasks with users, and keeps the episodes."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .._describe import describe
from .._options import LONGEST_WAIT, check_bool, check_callable, check_number, check_temperature, check_text
from .._progress import ProgressBar
from .._show import show
from ..policies import Policy, load_policy
from ..rollout import begin, converse, converses, find_tools, gather_rewards
from .episodes import (
    check_columns,
    check_prompt,
    check_reward,
    check_rows,
    make_record,
    running_event_loop,
    start_episode,
    to_number,
)
from .statistics import Evaluation
from .store import append_records, job_of, lock_directory, open_records, write_whole


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    Evaluate a policy: let it do tasks with users.

    The conversations are played as in training: with the same loop and, given the same `chat_template_kwargs`, the
    same tokens. The random numbers of an episode depend only on `seed`, its task and its run, so that all users and
    policies are compared under the same draws, and in float32 neither the batch nor an interruption changes what is
    sampled. In bfloat16, the padding of a batch changes how its values are rounded, which may decide between two
    tokens that are almost equally likely.

    Args:
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]` or [`Policy`] or `Callable`):
            The policy: path or Hub id of a model, a model and its tokenizer, a [`~trl_infopo.policies.ChatPolicy`] for
            a model behind an endpoint, or a function that makes the next assistant message from the messages so far
            and the tools.
        users (`Mapping[str, Callable[[], Any]]`):
            For each user, by name, a factory of environments with that user in it. An environment without users has
            one entry, of any name.
        dataset ([`~datasets.Dataset`] or `list[dict]`):
            The tasks: rows with a conversational `prompt` and what the environment's `reset` takes. Where there is no
            `prompt`, what `reset` returns is the user's first message, as in training.
        num_runs (`int`, *optional*, defaults to `1`):
            Number of episodes for each task and user.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature, between 1e-5 and 1e5; 0 decodes greedily.
        max_turns (`int`, *optional*, defaults to `16`):
            Largest number of actions in an episode, `None` for no limit. Tool calls of the last one are not run.
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
            Number of episodes that are played at the same time.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of openings and replies of users, tools and rewards that are awaited at the same time.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool, a user, an `on_action`, an `on_end` or a `get_reward` may take. A tool that takes
            longer fails, and the agent is told so; anything else that takes longer ends the evaluation with an error.
            If `None`, there is no limit.
        output_dir (`str` or `os.PathLike`, *optional*):
            Directory for `episodes.jsonl`, one line per episode, written after each batch, and `summary.json`. If it
            has episodes of the same settings, these are not played again. Users and runs can be added. Functions are
            identified by their names, and partials by their arguments as well. It belongs to one evaluation at a time;
            its lock is released when the process that holds it ends.
        console ([`~rich.console.Console`], *optional*):
            Console for the progress bar.
        show_progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar, or lines of progress if the console is not a terminal.

    Returns:
        [`Evaluation`]: The episodes and their statistics.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or `output_dir` cannot be made, is in use,
            cannot be read, or holds episodes of other settings or users; if a reward is not a finite number.
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. What was finished is in `output_dir`.
        [`~trl_infopo.policies.PolicyError`]: If an endpoint fails.
        `RuntimeError`: If an environment's `on_action`, `on_end` or `get_reward` fails.
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
    chat_template_kwargs = json.loads(json.dumps(dict(chat_template_kwargs or {})))  # as it is written and compared
    with running_event_loop() as event_loop, lock_directory(output_dir):
        path = None if output_dir is None else Path(output_dir, "episodes.jsonl")
        policy = load_policy(policy)
        environments = {user: [make()] for user, make in users.items()}  # the others are made when they are needed
        first = [pool[0] for pool in environments.values()]
        for environment in first:
            check_reward(environment)
            check_columns(rows, environment)
        settings = {
            **policy.description,
            "environment": type(first[0]).__name__,
            "dataset": hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:16],
            "num_tasks": len(rows),
            "temperature": float(temperature),  # NumPy's numbers cannot be written as JSON
            "max_turns": max_turns and int(max_turns),
            "max_completion_length": int(max_completion_length),
            "system_prompt": system_prompt,
            "chat_template_kwargs": chat_template_kwargs,
            "feedback_timeout": feedback_timeout and float(feedback_timeout),
            "success_threshold": float(success_threshold),
            "seed": int(seed),
            "users": {user: describe(make) for user, make in users.items()},
        }
        records = {} if path is None else open_records(path, settings)
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

        def is_whole(user: str) -> bool:
            """Whether each task was played, and equally often, which is not so after an interruption."""
            played = Counter(task for task, _, name in records if name == user)
            return len(played) == len(rows) and len(set(played.values())) == 1

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
                        check_prompt(episode, rows[task])
                    act(episodes)
                    converse(
                        episodes,
                        act,
                        event_loop,
                        max_turns=max_turns,
                        concurrency=concurrency,
                        feedback_timeout=feedback_timeout,
                    )
                    rewards = gather_rewards(episodes, event_loop, concurrency, feedback_timeout)
                    played = [
                        make_record(job, episode, to_number(reward, episode), success_threshold)
                        for job, episode, reward in zip(batch, episodes, rewards, strict=True)
                    ]
                    if path is not None:
                        append_records(path, played)
                except (RuntimeError, OSError, ValueError) as error:
                    if path is not None:
                        error.add_note(
                            f"Finished episodes are in {path}. The same evaluation, run again, goes on there."
                        )
                    raise
                records.update((job_of(record), record) for record in played)
                success = sum(record["success"] for record in records.values()) / len(records)
                progress.update(progress.completed + len(batch), f"success {success:.2f}")

        evaluation = Evaluation(settings, [records[job] for job in jobs()])
        if path is not None:
            # Of all that is in the directory: users and runs may have been added to those of an earlier evaluation
            names = [*users, *sorted({user for _, _, user in records if is_whole(user)} - users.keys())]
            jobs_there = sorted(
                (job for job in records if job[2] in names), key=lambda job: (names.index(job[2]), job[1], job[0])
            )
            there = Evaluation(settings, [records[job] for job in jobs_there])
            report = {"settings": settings, "users": there.summary()}
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


def _positions(batch: list[tuple[int, int, str]]) -> list[int]:
    """For each job of a batch, how many jobs before it have the same user."""
    seen = Counter()
    positions = []
    for _, _, user in batch:
        positions.append(seen[user])
        seen[user] += 1
    return positions
