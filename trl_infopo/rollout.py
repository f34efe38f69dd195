# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The conversation loop: tool calls and user replies in any order, concurrent over the batch."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from inspect import isawaitable
from typing import Any

from ._environment import (
    check_users,
    converses,
    find_tools,
    find_user,
    has_schemas,
    hears_end,
    is_done,
    is_thread_safe,
)
from ._show import show
from .calls import FeedbackTimeout, block_content, call, error_text, finish, run_on, tool_content
from .turns import EMPTY_MESSAGE, MALFORMED_CALL
from .users import UserSimulatorError
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


LONGEST_CAUSE = 600  # characters of a user's error in ours, which keeps the whole as its cause


class StopReason(StrEnum):
    """Why an episode ended."""

    ANSWERED = "answered"
    """The assistant spoke, and its environment has no user who could reply."""

    USER_ENDED = "user_ended"
    """The user had nothing more to say."""

    ENVIRONMENT_DONE = "environment_done"
    """The environment set `done`."""

    MAX_TURNS = "max_turns"
    """The assistant's last action would have gone on, but it was the last one allowed. What it called was not run."""

    MAX_TOKENS = "max_tokens"
    """The completion was cut off, or what came back did not fit into it."""


@dataclass
class Episode:
    """
    One conversation between a policy and an environment.

    Attributes:
        prompt (`list[dict]`):
            Messages before the first action.
        environment (`object`, *optional*):
            The environment, after its `reset`.
        tools (`dict[str, Callable]`):
            The tools that the policy may call, by name.
        name (`str`):
            How errors speak of this episode.
        completion (`list[dict]`):
            The policy's messages and what came back in between. It begins and ends with a message of the policy.
        feedback (`list[dict]`):
            What came back on the last action, before the policy acts on it: one user message, or one tool message per
            call. When the episode has ended, what the policy never saw.
        is_malformed (`bool`):
            Whether the last action holds a tool call that cannot be parsed. The agent is told so, the user is not.
        stop_reason ([`StopReason`] or `str`, *optional*):
            Why it ended, in words of its environment if it has some; `None` as long as it goes on.
        has_ended (`bool`):
            Whether its environment knows that it ended.
        prompt_ids, completion_ids, action_mask, logprobs:
            The conversation as the policy saw and sampled it, for policies that work on tokens: token ids of the
            prompt and of the completion, and per token of the completion 1 where it was sampled and its
            log-probability, 0 elsewhere. `logprobs` is `None` when the generation returns none.
    """

    prompt: list[dict]
    environment: Any = None
    tools: dict[str, Callable] = field(default_factory=dict)
    name: str = "episode"
    completion: list[dict] = field(default_factory=list)
    feedback: list[dict] = field(default_factory=list)
    is_malformed: bool = False
    stop_reason: StopReason | str | None = None
    has_ended: bool = False
    num_actions: int = 0
    num_tool_calls: int = 0
    num_tool_failures: int = 0
    num_tool_timeouts: int = 0
    num_malformed_calls: int = 0
    num_empty_messages: int = 0
    num_replies: int = 0
    reply_seconds: float = 0.0
    prompt_ids: list[int] = field(default_factory=list)
    completion_ids: list[int] = field(default_factory=list)
    action_mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None

    def act(self, message: dict, is_malformed: bool = False) -> None:
        """Take the policy's next action: feedback becomes part of the conversation, and the message follows on it."""
        self.completion += [*self.feedback, message]
        self.feedback = []
        self.is_malformed = is_malformed
        self.num_actions += 1


def begin(
    episodes: list[Episode],
    event_loop: asyncio.AbstractEventLoop,
    *,
    concurrency: int = 64,
    feedback_timeout: float | None = None,
    synchronize: Callable[[bool, Exception | None], bool] | None = None,
) -> bool:
    """
    Let the users speak first who have an `opening`. Openings are awaited together, as replies are.

    What a user says is added to the prompt: to its last message if that is the user's, or else as another message. One
    who returns `None` says nothing.

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
            With several processes, called once on each with whether any of its users spoke and with what went wrong.

    Returns:
        `bool`: Whether any user spoke, on any process.

    Raises:
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. It names the episode.
        `ValueError`: If an environment declares a user and has none, or shares one that remembers.
    """
    calls, error = [], None
    try:
        check_users([episode.environment for episode in episodes])
        for episode in episodes:
            opening = getattr(find_user(episode.environment), "opening", None)
            if callable(opening):
                messages = [message for message in visible_messages(episode.prompt) if message["content"]]
                calls.append(_Call(episode, partial(opening, messages), {}, feedback_timeout))
        _run_together([[asked] for asked in calls], event_loop, concurrency)
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
    feedback_timeout: float | None = None,
    synchronize: Callable[[bool, Exception | None], bool] | None = None,
) -> None:
    """
    Play episodes, each with its first action taken, to their end.

    Each round runs what the actions call for, then lets the policy act on what came back. An assistant message with
    tool calls runs them and is not shown to the user; one without goes to the environment's `user`. What looks like a
    tool call and cannot be parsed goes back to the agent, as [`MALFORMED_CALL`], and so does a message that says
    nothing, as [`EMPTY_MESSAGE`]. An environment with an `on_end` is told when its episode has ended.

    Replies, tools and `on_end`s that are `async`, and sync ones of environments with `thread_safe = True`, are awaited
    together over the whole batch. Other sync ones run in order on the calling thread. Results keep the order of the
    episodes and of the calls, whoever answers first.

    Args:
        episodes (`list[Episode]`):
            Episodes, changed in place.
        act (`Callable[[list[Episode]], None]`):
            Lets the policy act: calls [`Episode.act`] on each of the episodes it gets, or sets its stop reason.
        event_loop (`asyncio.AbstractEventLoop`):
            Loop that runs in another thread, where async tools and users live.
        max_turns (`int`, *optional*):
            Largest number of actions in an episode. What the last one calls is not run.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of replies and tools awaited at once.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool or a reply may take. A tool that takes longer fails, a user ends the run. With a limit,
            sync ones run on threads of their own.
        synchronize (`Callable[[bool, Exception | None], bool]`, *optional*):
            With several processes, called once a round on each with whether any episode goes on and with what went
            wrong, such as a user who failed. Raises on all processes if anything did, else says whether any process
            goes on; `act` is then called on every process, with no episodes where all have ended.

    Raises:
        [`~trl_infopo.users.UserSimulatorError`]: If a user fails. It names the episode.
        `ValueError`: If an environment declares a user and has none, or shares one that remembers.
        `RuntimeError`: If an `on_end` fails. It names the episode.
    """
    synchronize = synchronize or _raise_here
    goes_on, is_checked = True, False
    while goes_on:
        error = None
        try:
            if not is_checked:
                check_users([episode.environment for episode in episodes if episode.num_replies == 0])
                is_checked = True
            active = [episode for episode in episodes if episode.stop_reason is None]
            _bring_feedback(active, event_loop, max_turns, concurrency, feedback_timeout)
            _tell_end(episodes, event_loop, concurrency)
        except Exception as exception:  # raised by `synchronize`, so that no other process waits for this one
            error = exception
        active = [episode for episode in episodes if episode.stop_reason is None]
        goes_on = synchronize(bool(active), error)
        if goes_on:
            act(active)


def gather_rewards(
    episodes: list[Episode], event_loop: asyncio.AbstractEventLoop | None, concurrency: int = 64
) -> list[Any]:
    """
    Ask environments for the rewards of their episodes: `async` ones and those of environments with `thread_safe =
    True` together, others in order on the calling thread.

    Args:
        episodes (`list[Episode]`):
            Episodes that have ended.
        event_loop (`asyncio.AbstractEventLoop`, *optional*):
            Loop that runs in another thread, where async rewards live.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of rewards awaited at once.

    Returns:
        `list[Any]`: What `get_reward` of each environment returned.

    Raises:
        `RuntimeError`: If one fails. It names the episode.
    """
    calls = [_Call(episode, episode.environment.get_reward, {}, None) for episode in episodes]
    _run_together([[asked] for asked in calls], event_loop, concurrency)
    for asked in calls:
        asked.raise_failure("get_reward")
    return [asked.result for asked in calls]


def visible_messages(messages: list[dict]) -> list[dict]:
    """
    What a user sees of a conversation: no system prompt, no tool traffic, no reasoning, no empty messages. A message
    on which a tool's result follows was a call, whether it could be parsed or not.

    Args:
        messages (`list[dict]`):
            Messages of any role.

    Returns:
        `list[dict]`: Messages with the roles `user` and `assistant`, each with `role` and `content` alone.
    """
    visible = []
    for message, following in zip(messages, [*messages[1:], {"role": "end"}], strict=True):
        if message["role"] not in ("user", "assistant") or message.get("tool_calls") or following["role"] == "tool":
            continue
        if _says_empty(message) or _says_empty(following):
            continue
        text = message["content"]
        if isinstance(text, list):
            text = "".join(part["text"] for part in text if part["type"] == "text")
        if message["role"] == "assistant":
            # Where the tokenizer parses no reasoning, it is still in the content, and may have no beginning or no end
            text = text.rpartition("</think>")[2].partition("<think>")[0].strip()
        visible.append({"role": message["role"], "content": text})
    return visible


def _says_empty(message: dict) -> bool:
    return message["role"] == "user" and message["content"] == EMPTY_MESSAGE


def infer_stop_reason(
    completion: list[dict],
    completion_ids: list[int],
    eos_token_ids: list[int],
    max_turns: int,
    max_completion_length: int,
) -> StopReason:
    """
    Why an episode ended that TRL's own loop played: it has no user and cannot be done.

    Args:
        completion (`list[dict]`):
            Its messages since the prompt.
        completion_ids (`list[int]`):
            Its token ids since the prompt.
        eos_token_ids (`list[int]`):
            Tokens that end an action.
        max_turns (`int`):
            Largest number of actions.
        max_completion_length (`int`):
            Largest number of tokens of a completion.

    Returns:
        [`StopReason`]: The reason.
    """
    if len(completion_ids) >= max_completion_length and completion_ids[-1] not in eos_token_ids:
        return StopReason.MAX_TOKENS
    if not completion[-1].get("tool_calls"):
        return StopReason.ANSWERED if completion[-1]["role"] == "assistant" else StopReason.MAX_TOKENS
    num_actions = sum(message["role"] == "assistant" for message in completion)
    return StopReason.MAX_TURNS if num_actions == max_turns else StopReason.MAX_TOKENS


class TokenPolicy:
    """
    Lets a language model act on token ids: what it sampled is never tokenized again.

    Args:
        generate (`Callable[[list[list[int]]], tuple[list[list[int]], list[list[float]] | None]]`):
            Samples one continuation per context, with the log-probabilities of its tokens if there are any. It is
            called once a round, with no contexts where no episode goes on.
        parse (`Callable[[Episode, list[int], list[int]], dict]`):
            Makes the assistant message of sampled ids, from the episode, the ids and the context before them.
        render (`Callable[[list[dict]], list[int]]`):
            Makes token ids of feedback, the generation prompt for the next action included.
        eos_token_ids (`list[int]`):
            Tokens that end an action.
        max_completion_length (`int`):
            Largest number of tokens of a completion, feedback included.
        max_model_length (`int`):
            Largest number of tokens that the model can look at.
        is_malformed (`Callable[[list[int], dict], bool]`, *optional*):
            Whether sampled ids hold a tool call that their message lacks. If `None`, none does.
    """

    def __init__(
        self,
        generate: Callable[[list[list[int]]], tuple[list[list[int]], list[list[float]] | None]],
        parse: Callable[[Episode, list[int], list[int]], dict],
        render: Callable[[list[dict]], list[int]],
        *,
        eos_token_ids: list[int],
        max_completion_length: int,
        max_model_length: int,
        is_malformed: Callable[[list[int], dict], bool] | None = None,
    ):
        self.generate = generate
        self.parse = parse
        self.is_malformed = is_malformed
        self.render = render
        self.eos_token_ids = eos_token_ids
        self.max_completion_length = max_completion_length
        self.max_model_length = max_model_length

    def __call__(self, episodes: list[Episode]) -> None:
        acting, contexts = [], []
        for episode in episodes:
            feedback_ids = self.render(episode.feedback) if episode.feedback else []
            if len(episode.completion_ids) + len(feedback_ids) >= self._budget(episode):
                episode.stop_reason = StopReason.MAX_TOKENS
                continue
            acting.append((episode, feedback_ids))
            contexts.append(episode.prompt_ids + episode.completion_ids + feedback_ids)
        sampled_ids, logprobs = self.generate(contexts)
        for i, (episode, feedback_ids) in enumerate(acting):
            if not sampled_ids[i]:
                episode.stop_reason = StopReason.MAX_TOKENS
                continue
            episode.completion_ids += feedback_ids
            episode.action_mask += [0] * len(feedback_ids)
            if episode.logprobs is not None:
                episode.logprobs += [0.0] * len(feedback_ids)
            room = self._budget(episode) - len(episode.completion_ids)
            ids = sampled_ids[i][:room]
            message = self.parse(episode, ids, contexts[i])
            self.record(episode, message, ids, None if logprobs is None else logprobs[i][:room])

    def record(self, episode: Episode, message: dict, ids: list[int], logprobs: list[float] | None) -> None:
        """
        Add an action to an episode, which ends there if the action was cut off.

        Args:
            episode ([`Episode`]):
                Episode, changed in place.
            message (`dict`):
                The assistant message that was parsed from `ids`.
            ids (`list[int]`):
                Token ids that the policy sampled.
            logprobs (`list[float]`, *optional*):
                Their log-probabilities.
        """
        episode.act(message, self.is_malformed is not None and self.is_malformed(ids, message))
        episode.completion_ids += ids
        episode.action_mask += [1] * len(ids)
        if logprobs is not None:
            episode.logprobs = (episode.logprobs or []) + logprobs
        if len(episode.completion_ids) >= self._budget(episode) and ids[-1] not in self.eos_token_ids:
            episode.stop_reason = StopReason.MAX_TOKENS

    def _budget(self, episode: Episode) -> int:
        """Number of tokens that the completion may have."""
        return min(self.max_completion_length, self.max_model_length - len(episode.prompt_ids))


def _raise_here(is_active: bool, error: Exception | None) -> bool:
    if error is not None:
        raise error
    return is_active


@dataclass
class _Call:
    """A tool call or a message to the user, what it gave, or what went wrong."""

    episode: Episode
    function: Callable
    arguments: dict[str, Any]
    timeout: float | None
    tool: str | None = None  # None: a message to the user
    result: Any = None
    error: BaseException | None = None
    pending: Awaitable | None = None
    seconds: float = 0.0

    def start(self) -> None:
        start = time.perf_counter()
        try:
            self.result = call(self.function, self.arguments, self.timeout)
        except Exception as error:  # told to the agent or raised by `deliver`
            self.error = error
        self.seconds = time.perf_counter() - start
        if isawaitable(self.result):
            self.pending, self.result = self.result, None

    async def finish(self, limit: asyncio.Semaphore) -> None:
        async with limit:
            start = time.perf_counter()
            try:
                self.result = await finish(self.pending, self.timeout)
            except (Exception, asyncio.CancelledError) as error:  # told to the agent or raised by `deliver`
                self.error = error
            self.seconds += time.perf_counter() - start

    def raise_failure(self, method: str) -> None:
        """Raise what went wrong in a method of the environment, and say where."""
        if self.error is None:
            return
        name = f"`{type(self.episode.environment).__name__}.{method}`"
        kind = UserSimulatorError if isinstance(self.error, UserSimulatorError) else RuntimeError
        raise kind(f"{name} failed in {self.episode.name}: {self._cause()}") from self.error

    def _cause(self) -> str:
        """What an error says, not at any length."""
        cause = error_text(self.error) or show(self.error)
        return cause if len(cause) <= LONGEST_CAUSE else f"{cause[:LONGEST_CAUSE]}..."

    def deliver(self) -> None:
        """Turn the outcome into feedback, or end the episode."""
        if self.tool is None or isinstance(self.error, UserSimulatorError):
            self._deliver_reply()
        else:
            self._deliver_tool_result()

    def _deliver_tool_result(self) -> None:
        episode, result = self.episode, self.result
        episode.num_tool_calls += 1
        if isinstance(result, list) and any(isinstance(part, dict) and "image" in part for part in result):
            raise ValueError(
                f"The tool `{self.tool}` returned an image in {episode.name}, but images are not supported where an "
                "environment has a user. Return text, or train without `user`."
            )
        if self.error is None:
            try:
                content = block_content(result) if converses(episode.environment) else tool_content(result)
            except Exception as error:  # its result cannot say what it is
                self.error = error
        if self.error is not None:
            episode.num_tool_failures += 1
            episode.num_tool_timeouts += isinstance(self.error, FeedbackTimeout)
            content = str({"error": error_text(self.error)})
        episode.feedback.append({"role": "tool", "name": self.tool, "content": content})

    def deliver_opening(self) -> None:
        """Add what the user says first to the prompt."""
        if self.error is None and self.result is None:
            return
        self._count_reply()
        text, episode = self.result, self.episode
        if not isinstance(text, str) or not text.strip():
            raise UserSimulatorError(
                f"The user of {episode.name} failed: `{type(episode.environment.user).__name__}.opening` returned "
                f"{show(text)}. Return text, or None to say nothing."
            )
        text, (*before, last) = encodable(text), episode.prompt
        if last["role"] != "user":
            episode.prompt = [*episode.prompt, {"role": "user", "content": text}]
        elif isinstance(last["content"], list):
            episode.prompt = [*before, {**last, "content": [*last["content"], {"type": "text", "text": text}]}]
        else:
            content = f"{last['content']}\n\n{text}" if last["content"] else text
            episode.prompt = [*before, {**last, "content": content}]

    def _count_reply(self) -> None:
        """Count what a user said, or raise what went wrong."""
        if self.error is not None:
            cause = self._cause()
            if isinstance(self.error, FeedbackTimeout):
                cause += " Raise `feedback_timeout`, or see why it takes so long."
            raise UserSimulatorError(f"The user of {self.episode.name} failed: {cause}") from self.error
        self.episode.num_replies += 1
        self.episode.reply_seconds += self.seconds

    def _deliver_reply(self) -> None:
        self._count_reply()
        episode, result = self.episode, self.result
        if result is None:
            episode.stop_reason = StopReason.USER_ENDED
        elif isinstance(result, str) and result.strip():
            episode.feedback.append({"role": "user", "content": encodable(result)})
        else:
            raise UserSimulatorError(
                f"The user of {episode.name} failed: `{type(episode.environment.user).__name__}.reply` returned "
                f"{show(result)}. Return text, or None to end the conversation."
            )


def _calls(episode: Episode, timeout: float | None) -> list[_Call]:
    """What an episode's last action calls for: its tool calls, or a reply of the user."""
    tool_calls = episode.completion[-1].get("tool_calls")
    if not tool_calls:
        messages = visible_messages(episode.prompt + episode.completion)
        return [_Call(episode, partial(find_user(episode.environment).reply, messages), {}, timeout)]
    calls = []
    for tool_call in tool_calls:
        name = tool_call["function"]["name"]
        # A name may be anything that a policy samples
        is_known = isinstance(name, str) and name in episode.tools
        function = episode.tools[name] if is_known else _unknown_tool(episode.environment, name)
        calls.append(_Call(episode, function, tool_call["function"]["arguments"], timeout, tool=name))
    return calls


def _unknown_tool(environment: Any, name: Any) -> Callable:
    """What runs a tool that is not there: an environment with schemas is asked itself, as it may count the mistake."""

    def ask(**arguments):
        return environment.call_tool(name, arguments)

    def fail(**arguments):
        raise ValueError(f"Tool {name} not found.")

    return ask if isinstance(name, str) and has_schemas(environment) else fail


def _start_in_order(calls: list[_Call]) -> None:
    for started in calls:
        started.start()


def _run_together(groups: list[list[_Call]], event_loop: asyncio.AbstractEventLoop | None, concurrency: int) -> None:
    """Run the calls of several episodes: async ones and those of thread-safe environments at once, others in order."""
    # An async function only makes its coroutine here
    with ThreadPoolExecutor(max_workers=concurrency) as threads:
        started, in_order = [], []
        for calls in groups:
            if calls and is_thread_safe(calls[0].episode.environment):
                started.append(threads.submit(_start_in_order, calls))
            else:
                in_order += calls
        _start_in_order(in_order)
    for future in started:
        future.result()

    async def finish_together(pending: list[_Call]) -> None:
        limit = asyncio.Semaphore(concurrency)
        await asyncio.gather(*(waiting.finish(limit) for waiting in pending))

    pending = [waiting for calls in groups for waiting in calls if waiting.pending is not None]
    if pending:
        timeout = pending[0].timeout
        longest = None if timeout is None else timeout * math.ceil(len(pending) / concurrency)
        run_on(event_loop, finish_together(pending), longest)


def _tell_end(episodes: list[Episode], event_loop: asyncio.AbstractEventLoop, concurrency: int) -> None:
    """Tell environments how their episodes ended that have ended since, and take their own words for it."""
    ended = [episode for episode in episodes if episode.stop_reason is not None and not episode.has_ended]
    for episode in ended:
        episode.has_ended = True
    told = [episode for episode in ended if hears_end(episode.environment)]
    calls = [_Call(episode, partial(episode.environment.on_end, episode.stop_reason), {}, None) for episode in told]
    _run_together([[ending] for ending in calls], event_loop, concurrency)
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


def _bring_feedback(
    episodes: list[Episode],
    event_loop: asyncio.AbstractEventLoop,
    max_turns: int | None,
    concurrency: int,
    timeout: float | None,
) -> None:
    """Run what each episode's last action calls for; set its feedback or its stop reason."""
    playing = []
    for episode in episodes:
        is_call = episode.is_malformed or episode.completion[-1].get("tool_calls")
        if not is_call and find_user(episode.environment) is None:
            episode.stop_reason = StopReason.ANSWERED
        elif episode.num_actions == max_turns:
            episode.stop_reason = StopReason.MAX_TURNS
        elif not is_call and not visible_messages(episode.completion[-1:])[0]["content"].strip():
            episode.num_empty_messages += 1
            episode.feedback.append({"role": "user", "content": EMPTY_MESSAGE})
        elif episode.is_malformed:
            episode.num_tool_calls += 1
            episode.num_tool_failures += 1
            episode.num_malformed_calls += 1
            episode.feedback.append({"role": "tool", "name": "unknown", "content": MALFORMED_CALL})
        else:
            playing.append((episode, _calls(episode, timeout)))

    _run_together([calls for _, calls in playing], event_loop, concurrency)
    for episode, calls in playing:
        for ended in calls:
            ended.deliver()
        if episode.stop_reason is None and is_done(episode.environment):
            episode.stop_reason = StopReason.ENVIRONMENT_DONE
