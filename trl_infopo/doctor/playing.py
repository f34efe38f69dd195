# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the player: in new environments, and again in one that has played the others."""

import asyncio
import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._checks import CheckedFactory
from .._environment import is_done
from .._schemas import SchemaTool
from .._show import safe_repr, show
from ..evaluation import start_episode, to_number
from ..policies import SeededEpisode
from ..rollout import begin, converse, gather_rewards
from ..turns import content_text, feedback_blocks
from ..users import UserSimulatorError
from .findings import ERROR, WARNING, Checkup, say, shorten
from .player import act_at_random


@dataclass
class Result:
    """The result of a tool call; as long as the call runs, the value is `...`."""

    tool: str
    arguments: dict[str, Any]
    value: Any = ...
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"`{self.tool}({', '.join(f'{name}={show(value)}' for name, value in self.arguments.items())})`"


@dataclass
class Play:
    """An episode that was played to its end."""

    row: int
    episode: SeededEpisode
    results: list[Result]
    reward: float | None
    was_done: bool  # before the first action

    def transcript(self) -> list[str]:
        """Everything that the agent and the trainer see of it."""
        messages = self.episode.prompt + self.episode.completion + self.episode.feedback
        return [*map(safe_repr, messages), f"stop reason {self.episode.stop_reason}", f"reward {self.reward}"]

    def seen_feedback(self) -> Iterator[tuple[str, str]]:
        """Source and text of the feedback that an action followed."""
        for block in feedback_blocks(self.episode.completion):
            for message in block:
                yield message.get("name", "user"), content_text(message["content"])


@dataclass
class Table:
    """What all episodes of an examination have in common."""

    factory: CheckedFactory
    rows: list[dict]
    event_loop: asyncio.AbstractEventLoop
    max_turns: int
    feedback_timeout: float | None
    seed: int

    def name(self, i: int) -> str:
        return f"episode {i} (row {i % len(self.rows)})"

    def start(self, environment: Any, i: int) -> tuple[SeededEpisode, list[Result]]:
        """Reset an environment for an episode, with tools that remember what they returned."""
        row = self.rows[i % len(self.rows)]
        episode = start_episode(environment, row, None, self.name(i), f"{self.seed} {i}")
        results = []
        episode.tools = {name: _recording(tool, results) for name, tool in episode.tools.items()}
        return episode, results

    def finish(self, episodes: list[SeededEpisode], act: Callable[[list[SeededEpisode]], None]) -> list[float | None]:
        """Play episodes to their end, and give their rewards; None where the environment has none."""
        begin(episodes, self.event_loop, feedback_timeout=self.feedback_timeout)
        act(episodes)
        converse(episodes, act, self.event_loop, max_turns=self.max_turns, feedback_timeout=self.feedback_timeout)
        if not all(hasattr(episode.environment, "get_reward") for episode in episodes):
            return [None] * len(episodes)
        rewards = gather_rewards(episodes, self.event_loop, feedback_timeout=self.feedback_timeout)
        return [to_number(reward, episode) for reward, episode in zip(rewards, episodes, strict=True)]

    def play(self, environment: Any, i: int) -> Play:
        """Let the player play an episode, with the same state of the global random numbers each time."""
        state = random.getstate()
        random.seed(f"{self.seed} {i}")
        try:
            episode, results = self.start(environment, i)
            was_done = is_done(environment)
            row = self.rows[i % len(self.rows)]
            (reward,) = self.finish([episode], functools.partial(act_at_random, row=row))
        finally:
            random.setstate(state)
        return Play(i % len(self.rows), episode, results, reward, was_done)


def _recording(tool: Callable, results: list[Result]) -> Callable:
    """A tool that adds what it returns, or raises, to a list."""

    async def await_result(result: Result, pending: Awaitable) -> Any:
        try:
            result.value = await pending
        except Exception as error:
            result.error = error
            raise
        return result.value

    @functools.wraps(tool)
    def run(**arguments):
        result = Result(tool.__name__, arguments)
        results.append(result)
        try:
            value = tool(**arguments)
        except Exception as error:
            result.error = error
            raise
        if inspect.isawaitable(value):
            return await_result(result, value)
        result.value = value
        return value

    return SchemaTool(tool, _Recorder(run)) if isinstance(tool, SchemaTool) else run


@dataclass
class _Recorder:
    """Replaces the environment of a tool that comes with a schema."""

    run: Callable

    def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        return self.run(**arguments)


def play_all(checkup: Checkup, table: Table, num_episodes: int) -> list[Play]:
    """Play episodes in new environments, and again in one that has played the others."""
    make, plays = table.factory.factory, []
    class_state = _class_state(table.factory.kind)
    used = make()
    for i in range(num_episodes):
        try:
            play = table.play(make(), i)
        except Exception as error:
            add_failure(checkup, table.name(i), error)
            continue
        plays.append(play)
        try:
            again = table.play(used, i)
        except Exception as error:
            checkup.add(
                "state left by `reset`",
                ERROR,
                f"{table.name(i)} went well in a new environment and failed in one that had played before: "
                f"{say(error)}",
                "Set everything that an episode changes in `reset`.",
            )
            used = make()
            continue
        if again.transcript() != play.transcript():
            _add_difference(checkup, table, i, play, again)
    changed = [name for name, value in _class_state(table.factory.kind).items() if class_state.get(name) != value]
    if changed:
        checkup.add(
            "state in the class",
            ERROR,
            f"`{table.factory.kind.__name__}.{changed[0]}` of the class changed while episodes were played",
            "Set it on `self` in `reset`: what is in the class is shared by all rollouts of a batch.",
        )
    if plays and all(play.reward is None for play in plays):
        checkup.add(
            "no reward",
            WARNING,
            "the environment has no `get_reward`",
            "Give it one, or pass `reward_funcs` to the trainer.",
        )
    return plays


def _class_state(kind: type) -> dict[str, str]:
    """The data of a class, as text."""
    attributes = {name: value for cls in reversed(kind.__mro__[:-1]) for name, value in vars(cls).items()}
    return {
        name: safe_repr(value)
        for name, value in attributes.items()
        if not name.startswith("__") and isinstance(value, bool | int | float | str | list | dict | set | tuple | None)
    }


def add_failure(checkup: Checkup, name: str, error: Exception) -> None:
    """Add a finding for the error that ended an episode early."""
    text = say(error)
    if isinstance(error, UserSimulatorError):
        checkup.add("user fails", ERROR, text, "Return text, or None to end the conversation. Never raise.")
    elif "get_reward` returned" in text:
        checkup.add("reward", ERROR, text, "Return a finite number, whatever happened in the episode.")
    else:
        checkup.add("episode fails", ERROR, f"{name}: {text}", "Let `reset`, the user and the reward cope with it.")


def _add_difference(checkup: Checkup, table: Table, i: int, play: Play, again: Play) -> None:
    """Two plays of an episode differ: because of what the environment played before, or because all plays differ."""
    try:
        is_state = table.play(table.factory.factory(), i).transcript() == play.transcript()
    except Exception:  # which it did not the first time
        is_state = False
    pairs = zip(play.transcript(), again.transcript(), strict=False)
    first, second = next(((a, b) for a, b in pairs if a != b), ("the end", "more"))
    seen = f"{table.name(i)}: {shorten(first)} in a new environment, {shorten(second)} in one that had played before"
    if is_state:
        checkup.add("state left by `reset`", ERROR, seen, "Set everything that an episode changes in `reset`.")
    else:
        checkup.add(
            "not reproducible",
            WARNING,
            f"{seen}; two new environments differ as well",
            "If chance or a model is part of it, let a column of the dataset seed it where it can; else see what the "
            "environments share: class attributes, globals, files.",
        )
