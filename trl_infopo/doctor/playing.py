# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the player: in new environments, in one that has played the others, and several at the same time."""

import asyncio
import functools
import inspect
import os
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


NUM_REPLAYS = 8  # of an episode, after which it counts as reproducible


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
    draws: bool  # whether it, or one at the same time, drew global random numbers

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

    def converse(
        self, episodes: list[SeededEpisode], act: Callable[[list[SeededEpisode]], None], concurrency: int = 64
    ) -> None:
        """Play episodes to their end, all at the same time."""
        limits = {"concurrency": concurrency, "feedback_timeout": self.feedback_timeout}
        begin(episodes, self.event_loop, **limits)
        act(episodes)
        converse(episodes, act, self.event_loop, max_turns=self.max_turns, **limits)

    def reward(self, episodes: list[SeededEpisode]) -> list[float | None]:
        """The rewards of episodes that have ended; None where the environment has none."""
        if not all(hasattr(episode.environment, "get_reward") for episode in episodes):
            return [None] * len(episodes)
        rewards = gather_rewards(episodes, self.event_loop, feedback_timeout=self.feedback_timeout)
        return [to_number(reward, episode) for reward, episode in zip(rewards, episodes, strict=True)]

    def play(self, environment: Any, i: int) -> Play:
        """Let the player play an episode, with the same state of the global random numbers each time."""
        (play,) = self.play_together([(environment, i)])
        return play

    def play_together(self, environments: list[tuple[Any, int]], concurrency: int = 64) -> list[Play]:
        """
        Let the player play several episodes at the same time, turn by turn as in training. As each turn begins with
        the same state of the global random numbers, the first episode gets the same ones as alone.
        """
        rows = {self.name(i): self.rows[i % len(self.rows)] for _, i in environments}

        state = last = random.getstate()
        draws, started = False, []

        def seed(name: str, num_actions: int | None = None) -> None:
            nonlocal last, draws
            draws = draws or random.getstate() != last
            random.seed(f"{self.seed} {name} {num_actions}")
            last = random.getstate()

        def act(episodes: list[SeededEpisode]) -> None:
            seed(episodes[0].name, episodes[0].num_actions)
            for episode in episodes:
                act_at_random(episode, rows[episode.name])

        try:
            for environment, i in environments:
                seed(self.name(i))
                started.append((*self.start(environment, i), is_done(environment)))
            episodes = [episode for episode, _, _ in started]
            seed(episodes[0].name, 0)
            self.converse(episodes, act, concurrency)
            seed(episodes[0].name, episodes[0].num_actions)
            rewards = self.reward(episodes)
            draws = draws or random.getstate() != last
        finally:
            random.setstate(state)
        return [
            Play(i % len(self.rows), episode, results, reward, was_done, draws)
            for (_, i), (episode, results, was_done), reward in zip(environments, started, rewards, strict=True)
        ]


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


def play_all(checkup: Checkup, table: Table, num_episodes: int) -> dict[int, Play]:
    """Play episodes in new environments, and again in one that has played the others."""
    make, plays = table.factory.factory, {}
    used = make()
    for i in range(num_episodes):
        play = play_new(checkup, table, i)
        if play is None:
            continue
        plays[i] = play
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
    if plays and all(play.reward is None for play in plays.values()):
        checkup.add(
            "no reward",
            WARNING,
            "the environment has no `get_reward`",
            "Give it one, or pass `reward_funcs` to the trainer.",
        )
    return plays


def play_new(checkup: Checkup, table: Table, i: int) -> Play | None:
    """Play an episode in a new environment; `None` where it fails, which is a finding."""
    try:
        return table.play(table.factory.factory(), i)
    except Exception as error:
        add_failure(checkup, table.name(i), error)
        return None


def first_difference(one: Play, other: Play) -> tuple[str, str]:
    """Where two plays of an episode differ, as each of them went there."""
    pairs = zip(one.transcript(), other.transcript(), strict=False)
    first, second = next(((a, b) for a, b in pairs if a != b), ("the end", "more"))
    same = len(os.path.commonprefix([first, second]))
    start = "" if same < 60 else f"...{first[same - 30 : same]}"
    return tuple(shorten(start + text[same if start else 0 :]) for text in (first, second))


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
        is_state = all(
            table.play(table.factory.factory(), i).transcript() == play.transcript() for _ in range(NUM_REPLAYS)
        )
    except Exception:  # which it did not the first time
        is_state = False
    first, second = first_difference(play, again)
    seen = f"{table.name(i)}: {first} in a new environment, {second} in one that had played before"
    if is_state:
        checkup.add("state left by `reset`", ERROR, seen, "Set everything that an episode changes in `reset`.")
    else:
        add_chance(checkup, f"{seen}; two new environments differ as well")


def add_chance(checkup: Checkup, seen: str) -> None:
    """Add a finding for an episode that new environments play differently."""
    checkup.add(
        "not reproducible",
        WARNING,
        seen,
        "If chance or a model is part of it, let a column of the dataset seed it where it can; else see what the "
        "environments share: class attributes, globals, files.",
    )
