# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


class UserSimulator(Protocol):
    """
    Whoever answers the agent's plain messages: an environment's attribute `user`.

    A user may also have a method `opening`, with the arguments of `reply` and sync or `async` as well: what they say
    first, once the environment is reset, or `None` for nothing. The messages are those of the prompt.

    And they may have an attribute `usage`, a [`Usage`], from which the trainer takes the metrics `user/tokens` and
    `user/errors`.
    """

    def reply(self, messages: list[dict]) -> str | None | Awaitable[str | None]:
        """
        Answer the agent. May be `async`, then the replies of a batch are awaited together.

        Args:
            messages (`list[dict]`):
                The conversation as a user sees it: messages with the roles `user` and `assistant` and plain text as
                content, the agent's last one at the end. No system prompt, no tool traffic, no reasoning.

        Returns:
            `str` or `None`: The answer, or `None` to end the conversation.

        Raises:
            [`UserSimulatorError`]: If there is no answer. Never make one up.
        """


class UserSimulatorError(RuntimeError):
    """A user could not answer. It ends the run: no canned reply and no zero reward stands in for an answer."""


@dataclass
class Usage:
    """
    What a user has cost since it was made.

    Attributes:
        tokens (`int`):
            Tokens read and written by the model behind the user.
        errors (`int`):
            Attempts that failed, those that a retry made good included.
    """

    tokens: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Fact:
    """
    One thing that a user knows and tells when asked.

    Attributes:
        topic (`str`):
            What it is about, such as `"city"`; unique within a scenario.
        value (`str`):
            What the user has in mind, such as `"Paris"`.
        keywords (`tuple[str, ...]`):
            Lower-case words or phrases; a message that contains one of them as a whole word asks for this fact.
        sentence (`str`, *optional*, defaults to `"{value}"`):
            How the user says it, such as `"I want to go to {value}."`.
        alternatives (`tuple[str, ...]`, *optional*):
            Other values that it could have had; mistaken and switching users say one of them first.
    """

    topic: str
    value: str
    keywords: tuple[str, ...]
    sentence: str = "{value}"
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """
    What a simulated user plays from. Every environment with a user describes each task in this form, so that one
    simulator can stand in for another.

    Attributes:
        request (`str`):
            What the user said first, the underspecified request.
        facts (`tuple[Fact, ...]`):
            What the user knows.
        profile (`str`, *optional*):
            Who the user is and what they want, in prose that addresses them ("You want to ..."), for users played by
            a language model. Scripted users do not read it.
        rules (`str`, *optional*):
            How a user of this environment must behave ("Answer in at most two sentences."), for language models.
        max_facts (`int`, *optional*):
            Largest number of facts that a scripted user tells in one reply. If `None`, all that were asked for.
    """

    request: str
    facts: tuple[Fact, ...]
    profile: str = ""
    rules: str = ""
    max_facts: int | None = None


def encodable(text: str) -> str:
    """
    Make text encodable as UTF-8, as tokenizers and files need it: halves of surrogate pairs that JSON escapes can name
    are joined, lone ones become U+FFFD.

    Args:
        text (`str`):
            Any text.

    Returns:
        `str`: The same text, where it was encodable already.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


UserFactory = Callable[[Scenario, int], UserSimulator]
"""Makes the user of an episode, from what they know and a seed. An environment takes one as `make_user`."""
