# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The conversation loop: tool calls and user replies in any order, concurrent over the batch."""

import asyncio
import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

from ._environment import check_users, converses, find_tools, find_user, hears_actions, hears_end, is_done
from ._show import show
from .episodes import Episode, StopReason, infer_stop_reason, visible_messages
from .feedback import Call, RunningCalls, calls_of, run_together
from .token_policy import TokenPolicy
from .turns import EMPTY_MESSAGE, MALFORMED_CALL
from .users.base import encodable


__all__ = [
    "EMPTY_MESSAGE",
    "MALFORMED_CALL",
    "Episode",
    "StopReason",
    "TokenPolicy",
    "begin",
    "converse",
    "converses",
    "find_tools",
    "gather_rewards",
    "infer_stop_reason",
    "visible_messages",
]


def begin(
    episodes: list[Episode],
    event_loop: asyncio.AbstractEventLoop,
    *,
    concurrency: int = 64,
    feedback_timeout: float | None = None,
    synchronize: Callable[[bool, Exception | None], bool] | None = None,
) -> bool:
    """
    Let users that have an `opening` speak first. Openings are awaited concurrently, like replies.

    What a user says is added to the prompt: to its last message if that is the user's, else as a new message. One who
    returns `None` says nothing.

    Args:
        episodes (`list[Episode]`):
            Episodes before their first action, changed in place.
        event_loop (`asyncio.AbstractEventLoop`):
            Loop that runs in another thread, where async users live.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of openings awaited at once.
        feedback_timeout (`float`, *optional*):
            Seconds that an opening may take.
        synchronize (`Callable[[bool, Exception | None], bool]`, *optional*):
            With several processes, called once on each, with whether any of its users spoke and with an error, if any.

    Returns:
        `bool`: Whether any user spoke, on any process.

    Raises:
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. It names the episode.
        `ValueError`: If an environment declares a user and has none, or has a scripted user of another episode.
    """
    calls, error = [], None
    try:
        check_users([episode.environment for episode in episodes])
        for episode in episodes:
            opening = getattr(find_user(episode.environment), "opening", None)
            if callable(opening):
                messages = [message for message in visible_messages(episode.prompt) if message["content"]]
                calls.append(Call(episode, partial(opening, messages), {}, feedback_timeout))
        run_together([[asked] for asked in calls], event_loop, concurrency)
        for asked in calls:
            asked.deliver_opening()
    except Exception as exception:  # raised by `synchronize`, so that no other process waits for this one
        error = exception
    return (synchronize or _raise_here)(bool(calls), error)


def converse(
    episodes: list[Episode],
    act: Callable[[list[Episode]], None],
    event_loop: asyncio.AbstractEventLoop,
    *,
    max_turns: int | None = None,
    concurrency: int = 64,
    min_ready_fraction: float = 1.0,
    feedback_timeout: float | None = None,
    synchronize: Callable[[bool, Exception | None], bool] | None = None,
) -> None:
    """
    Play episodes, whose first actions have been taken, to their end.

    Each round runs the tool calls and replies of the last actions, then lets the policy act on the feedback, in all
    episodes that go on or, with `min_ready_fraction` below 1, in those that need not wait any more. An assistant
    message with tool calls runs them and is not shown to the user; one without goes to the environment's `user`. The
    agent is told of a tool call that cannot be parsed with [`MALFORMED_CALL`], and of an empty message with
    [`EMPTY_MESSAGE`]. Environments with an `on_action` are told each other message of the assistant before it is
    played, and those with an `on_end` how their episodes ended, when all episodes have ended.

    Replies, tools and `on_end`s that are `async`, and sync ones of environments with `thread_safe = True`, are awaited
    concurrently over the whole batch. Other sync ones run in order on the calling thread. Results keep the order of
    the episodes and of the calls, whatever is ready first.

    Args:
        episodes (`list[Episode]`):
            Episodes, changed in place.
        act (`Callable[[list[Episode]], None]`):
            Lets the policy act: calls [`Episode.act`] on each of the episodes it gets, or sets its stop reason.
        event_loop (`asyncio.AbstractEventLoop`):
            Loop that runs in another thread, where async tools and users live.
        max_turns (`int`, *optional*):
            Largest number of actions in an episode. Tool calls of the last one are not run.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of replies and tools awaited at once.
        min_ready_fraction (`float`, *optional*, defaults to `1.0`):
            Share of the episodes still going on whose feedback must be there before the policy acts on it. Below 1,
            which episodes act together depends on who answers first, and so do samples that are drawn from one random
            state.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool, a reply, an `on_action` or an `on_end` may take. A tool that takes longer fails;
            anything else that takes longer ends the run. With a limit, sync ones run in threads of their own.
        synchronize (`Callable[[bool, Exception | None], bool]`, *optional*):
            With several processes, called once a round on each, with whether any episode goes on and with an error,
            such as that of a user, if any. It raises on all processes if there was one on any, else returns whether
            any process goes on; `act` is then called on every process, with no episodes where all have ended.

    Raises:
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. It names the episode.
        `ValueError`: If an environment declares a user and has none, or has a scripted user of another episode.
        `RuntimeError`: If an `on_action` or an `on_end` fails. It names the episode.
    """
    synchronize = synchronize or _raise_here
    order = {id(episode): i for i, episode in enumerate(episodes)}
    acted, goes_on, is_checked = episodes, True, False
    with RunningCalls(event_loop, concurrency) as running:
        while goes_on:
            ready, error = [], None
            try:
                if not is_checked:
                    check_users([episode.environment for episode in episodes if episode.num_replies == 0])
                    is_checked = True
                ready = _bring_feedback(acted, running, max_turns, min_ready_fraction, feedback_timeout)
                if not ready:
                    _tell_end(episodes, event_loop, concurrency, feedback_timeout)
            except Exception as exception:  # raised by `synchronize`, so that no other process waits for this one
                error = exception
            goes_on = synchronize(bool(ready), error)
            if goes_on:
                acted = sorted(ready, key=lambda episode: order[id(episode)])
                act(acted)


def gather_rewards(
    episodes: list[Episode],
    event_loop: asyncio.AbstractEventLoop | None,
    concurrency: int = 64,
    feedback_timeout: float | None = None,
) -> list[Any]:
    """
    Ask environments for the rewards of their episodes: `async` ones and those of environments with `thread_safe =
    True` concurrently, others in order on the calling thread.

    Args:
        episodes (`list[Episode]`):
            Episodes that have ended.
        event_loop (`asyncio.AbstractEventLoop`, *optional*):
            Loop that runs in another thread, where async rewards live.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of rewards awaited at once.
        feedback_timeout (`float`, *optional*):
            Seconds that a reward may take.

    Returns:
        `list[Any]`: What `get_reward` of each environment returned.

    Raises:
        `RuntimeError`: If one fails. It names the episode.
    """
    calls = [Call(episode, episode.environment.get_reward, {}, feedback_timeout) for episode in episodes]
    run_together([[asked] for asked in calls], event_loop, concurrency)
    for asked in calls:
        asked.raise_failure("get_reward")
    return [asked.result for asked in calls]


def _raise_here(is_active: bool, error: Exception | None) -> bool:
    if error is not None:
        raise error
    return is_active


def _bring_feedback(
    acted: list[Episode],
    running: RunningCalls,
    max_turns: int | None,
    min_ready_fraction: float,
    timeout: float | None,
) -> list[Episode]:
    """Run the calls of last actions; set feedback or stop reasons, for all episodes that go on or enough of them."""
    ready, started = [], []
    for episode in acted:
        if episode.stop_reason is not None:
            continue
        is_call = episode.is_malformed or episode.completion[-1].get("tool_calls")
        if not is_call and find_user(episode.environment) is None:
            episode.stop_reason = StopReason.ANSWERED
        elif episode.num_actions == max_turns:
            episode.stop_reason = StopReason.MAX_TURNS
        elif not is_call and not visible_messages(episode.completion[-1:])[0]["content"].strip():
            episode.num_empty_messages += 1
            episode.feedback.append({"role": "user", "content": EMPTY_MESSAGE})
            ready.append(episode)
        elif episode.is_malformed:
            episode.num_tool_calls += 1
            episode.num_tool_failures += 1
            episode.num_malformed_calls += 1
            episode.feedback.append({"role": "tool", "name": "unknown", "content": MALFORMED_CALL})
            ready.append(episode)
        else:
            started.append(calls_of(episode, timeout))
    _tell_actions([calls[0].episode for calls in started], running, timeout)
    running.start(started)
    while running and (missing := math.ceil(min_ready_fraction * (len(ready) + len(running))) - len(ready)) > 0:
        for calls in running.collect(missing):
            episode = calls[0].episode
            for ended in calls:
                ended.deliver()
            if episode.stop_reason is None and is_done(episode.environment):
                episode.stop_reason = StopReason.ENVIRONMENT_DONE
            if episode.stop_reason is None:
                ready.append(episode)
    return ready


def _tell_end(
    episodes: list[Episode], event_loop: asyncio.AbstractEventLoop, concurrency: int, timeout: float | None
) -> None:
    """Tell environments once how their episodes ended, and use the reasons that they return."""
    told = [episode for episode in episodes if not episode.has_ended and hears_end(episode.environment)]
    for episode in told:
        episode.has_ended = True
    calls = [Call(episode, partial(episode.environment.on_end, episode.stop_reason), {}, timeout) for episode in told]
    run_together([[ending] for ending in calls], event_loop, concurrency)
    for ending in calls:
        ending.raise_failure("on_end")
        if ending.result is None:
            continue
        if not isinstance(ending.result, str) or not ending.result.strip():
            raise ValueError(
                f"`{type(ending.episode.environment).__name__}.on_end` returned {show(ending.result)} in "
                f"{ending.episode.name}. Return None, or a reason of the environment's own as a short text."
            )
        ending.episode.stop_reason = encodable(ending.result)


def _tell_actions(episodes: list[Episode], running: RunningCalls, timeout: float | None) -> None:
    """Tell environments what the agent does, before it is played."""
    told = [
        Call(episode, episode.environment.on_action, {"message": deepcopy(episode.completion[-1])}, timeout)
        for episode in episodes
        if hears_actions(episode.environment)
    ]
    run_together([[action] for action in told], running.event_loop, running.concurrency)
    for action in told:
        action.raise_failure("on_action")
