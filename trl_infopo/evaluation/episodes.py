# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One episode: its row of the dataset, its start as in TRL, its reward, and the record of it."""

import asyncio
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from threading import Thread
from typing import Any

from .._environment import find_metrics
from .._show import as_json, show
from ..calls import call, encodable_message, guard_event_loop
from ..policies import SeededEpisode
from ..rollout import find_tools
from ..turns import feedback_blocks


NO_PROMPT = [{"role": "user", "content": ""}]  # TRL's, to which it adds what `reset` returns


def check_rows(dataset: Any) -> list[dict]:
    """
    Check the rows of a dataset.

    Args:
        dataset (`Any`):
            The dataset.

    Returns:
        `list[dict]`: Its rows.

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


def check_columns(rows: list[dict], environment: Any) -> None:
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


def check_reward(environment: Any) -> None:
    """
    Raises:
        `ValueError`: If the environment has no reward.
    """
    if not callable(getattr(environment, "get_reward", None)):
        raise ValueError(
            f"`{type(environment).__name__}` has no `get_reward`, so nothing says what an episode was worth. Define "
            "it, in a subclass for the evaluation if rewards come from `reward_funcs` in training."
        )


@contextmanager
def running_event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop on another thread, as a notebook runs one on this thread."""
    loop = asyncio.new_event_loop()
    guard_event_loop(loop)
    thread = Thread(target=loop.run_forever, name="evaluate", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        if not thread.is_alive():  # else something blocks the loop, which an error has said
            loop.close()


def start_episode(environment: Any, row: dict, system_prompt: str | None, name: str, seed: str) -> SeededEpisode:
    """
    Reset an environment as TRL does, and make the prompt.

    Args:
        environment (`object`):
            The environment.
        row (`dict`):
            Row of the dataset.
        system_prompt (`str`, *optional*):
            Instructions for the policy, added at the end of the prompt's own system message.
        name (`str`):
            Name of the episode in errors.
        seed (`str`):
            Seed of the episode.

    Returns:
        [`~trl_infopo.policies.SeededEpisode`]: The episode, before its first action.
    """
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


def check_prompt(episode: SeededEpisode, row: dict) -> None:
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
    """Content with something added. If one of the two consists of parts, the other becomes a part, as in TRL."""
    if isinstance(content, list) and isinstance(addition, str):
        return [*content, {"type": "text", "text": addition}]
    if isinstance(content, str) and isinstance(addition, list):
        return [{"type": "text", "text": content}, *addition]
    return content + addition


def to_number(reward: Any, episode: SeededEpisode) -> float:
    """
    Convert a reward to a number.

    Args:
        reward (`Any`):
            What `get_reward` returned.
        episode ([`~trl_infopo.policies.SeededEpisode`]):
            The episode that it is for.

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


def make_record(job: tuple[int, int, str], episode: SeededEpisode, reward: float, success_threshold: float) -> dict:
    task, run, user = job
    metrics = find_metrics(episode.environment)
    return {
        "task": task,
        "run": run,
        "user": user,
        "reward": reward,
        "success": reward >= success_threshold or math.isclose(reward, success_threshold),  # sums are rounded
        "num_turns": episode.num_actions,
        "num_questions": len(feedback_blocks(episode.completion)),
        "stop_reason": str(episode.stop_reason),
        **({"metrics": metrics} if metrics else {}),
        "messages": as_json(episode.prompt + episode.completion + episode.feedback),
    }
