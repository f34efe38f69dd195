# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One conversation between a policy and an environment, why it ended, and what a user sees of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .turns import EMPTY_MESSAGE


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
            Name of this episode in errors.
        completion (`list[dict]`):
            The policy's messages and what came back in between. It begins and ends with a message of the policy.
        feedback (`list[dict]`):
            The feedback on the last action, before the policy acts on it: one user message, or one tool message per
            call. When the episode has ended, feedback that the policy never saw.
        is_malformed (`bool`):
            Whether the last action contains a tool call that cannot be parsed. The agent is told so, the user is not.
        stop_reason ([`StopReason`] or `str`, *optional*):
            Why it ended, or the environment's own reason if it gives one; `None` as long as it goes on.
        has_ended (`bool`):
            Whether its environment has been told that it ended.
        num_actions, num_replies (`int`):
            Number of messages of the policy, and of what the user said.
        num_tool_calls, num_tool_failures, num_tool_timeouts (`int`):
            Number of tool calls, of those that failed, and of those that failed because they took too long.
        num_malformed_calls, num_empty_messages (`int`):
            Number of messages with a tool call that cannot be parsed, each of which counts as a failed call as well,
            and of messages that said nothing.
        reply_seconds (`float`):
            Seconds that the user took to reply, in total.
        prompt_ids, completion_ids (`list[int]`):
            Token ids of the prompt and of the completion, as a policy that works on tokens saw and sampled them.
        action_mask (`list[int]`):
            For each token of the completion, 1 where the policy sampled it, 0 elsewhere.
        logprobs (`list[float]`, *optional*):
            Log-probabilities of the sampled tokens, 0 elsewhere; `None` when the generation returns none.
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
        """Take the policy's next action: feedback becomes part of the conversation, and the message follows it."""
        self.completion += [*self.feedback, message]
        self.feedback = []
        self.is_malformed = is_malformed
        self.num_actions += 1


def visible_messages(messages: list[dict]) -> list[dict]:
    """
    What a user sees of a conversation: no system prompt, no tool traffic, no reasoning, no empty messages. A message
    that a tool's result follows was a call, whether it could be parsed or not.

    Args:
        messages (`list[dict]`):
            Messages of any role.

    Returns:
        `list[dict]`: Messages with the roles `user` and `assistant`, each with only `role` and `content`.
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
    Why an episode that TRL's own loop played has ended, where there is neither a user nor a `done`.

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
