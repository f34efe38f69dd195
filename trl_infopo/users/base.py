# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a user, and the scenario that a simulated user plays."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


class UserSimulator(Protocol):
    """
    A user who answers the agent's plain messages: an environment's attribute `user`.

    A user may also have a method `opening`, sync or `async`, with the arguments of `reply`. It returns what the
    user says first, after the environment's `reset`, or `None` for nothing; the messages are those of the prompt.

    An optional attribute `usage`, a [`Usage`], gives the trainer the metrics `user/tokens` and `user/errors`.
    """

    def reply(self, messages: list[dict]) -> str | None | Awaitable[str | None]:
        """
        Answer the agent. If this method is `async`, the replies of a batch are awaited concurrently.

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
    """A user could not answer. This ends the run: no reply is made up, and no reward of zero is given."""


@dataclass
class Usage:
    """
    What a user has cost since it was made.

    Attributes:
        tokens (`int`):
            Tokens read and written by the model behind the user.
        errors (`int`):
            Failed attempts, including those after which a retry succeeded.
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
            Lower-case words or phrases; a message that contains one of them as a whole, or a regular inflection of
            it, asks for this fact. `"where ... go"` has up to five words in its gap, and what
            `"-where ... sleep"` covers does not ask.
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
    The scenario that a simulated user plays. Every environment with a user describes each task in this form, so that
    users can be exchanged.

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
    Make text encodable as UTF-8, as tokenizers and files need it: halves of surrogate pairs, which JSON escapes can
    contain, are joined, and lone ones become U+FFFD.

    Args:
        text (`str`):
            Any text.

    Returns:
        `str`: The text, unchanged if it was encodable already.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


UserFactory = Callable[[Scenario, int], UserSimulator]
"""Makes the user of an episode from a [`Scenario`] and a seed. An environment takes one as `make_user`."""
