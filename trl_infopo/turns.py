# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Splits tokens into turns, actions and observations, and masks the content of observations."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MALFORMED_CALL = "{'error': 'The tool call could not be parsed.'}"
"""
All that an agent is told when its tool call cannot be parsed. It is never masked, so that its gain is exactly 0:
otherwise a policy could earn gains by new ways of writing calls that cannot be parsed.
"""

EMPTY_MESSAGE = "Your message was empty."
"""
All that an agent is told when its message to a user has neither text nor a call. The user does not get the message. It
is never masked either.
"""


@dataclass(frozen=True)
class Turn:
    """
    One exchange of a rollout. The action that follows is the next turn's `action`.

    Attributes:
        action (`range`):
            Positions in the completion of the tokens that the policy sampled.
        observation (`range`):
            Positions of the tokens that came back, the chat template's scaffolding included; empty if none did.
    """

    action: range
    observation: range


def segment_turns(action_mask: list[int]) -> list[Turn]:
    """
    Split one completion into turns.

    Args:
        action_mask (`list[int]`):
            One value per completion token, without padding: 1 where the policy sampled the token, 0 where it came from
            outside. A leading run of 0 belongs to the prompt.

    Returns:
        `list[Turn]`: The turns in order; empty when the policy sampled nothing.

    Raises:
        `ValueError`: If a value is neither 0 nor 1.

    Example:

    ```python
    >>> from trl_infopo.turns import segment_turns

    >>> segment_turns([1, 1, 0, 0, 0, 1])
    [Turn(action=range(0, 2), observation=range(2, 5)), Turn(action=range(5, 6), observation=range(6, 6))]
    ```
    """
    if not set(action_mask) <= {0, 1}:
        raise ValueError(
            f"An action mask holds 1 for sampled and 0 for external tokens, got {sorted(set(action_mask))}. Check the "
            "`env_mask` that your `rollout_func` returns."
        )
    turns = []
    for is_sampled, run in groupby(range(len(action_mask)), key=action_mask.__getitem__):
        positions = list(run)
        span = range(positions[0], positions[-1] + 1)
        if is_sampled:
            turns.append(Turn(action=span, observation=range(span.stop, span.stop)))
        elif turns:
            turns[-1] = replace(turns[-1], observation=span)
    return turns


def feedback_blocks(completion: list[dict]) -> list[list[dict]]:
    """
    The feedback between the actions of a completion: all results of one turn's tool calls, or one reply.

    Args:
        completion (`list[dict]`):
            Messages of one rollout, in order.

    Returns:
        `list[list[dict]]`: The messages with another role than `assistant` that follow each turn.
    """
    runs = groupby(completion, key=lambda message: message["role"] == "assistant")
    return [list(run) for is_action, run in runs if not is_action]


def find_exchanges(completion: list[dict]) -> list[str]:
    """
    What the turns of a completion asked and got, as texts that are equal for turns that asked and got the same.

    Args:
        completion (`list[dict]`):
            Messages of one rollout, in order, the first of them the assistant's.

    Returns:
        `list[str]`: For each turn with feedback, its tool calls, or its text where there are none, and the content of
        the feedback.
    """
    runs = [list(run) for _, run in groupby(completion, key=lambda message: message["role"] == "assistant")]
    exchanges = []
    for actions, feedback in zip(runs[::2], runs[1::2], strict=False):
        calls = [call["function"] for call in actions[-1].get("tool_calls") or []]
        exchanges.append(repr((calls or actions[-1]["content"], [message["content"] for message in feedback])))
    return exchanges


def render_feedback(
    tokenizer: "PreTrainedTokenizerBase",
    feedback: list[dict],
    eos_token_ids: Collection[int],
    chat_template: str | None = None,
    prefixes: dict[str, list[int]] | None = None,
    **chat_template_kwargs,
) -> list[int]:
    """
    Token ids that feedback adds to a conversation after an action, the generation prompt for the next action included.

    They are cut out of a minimal conversation, as TRL does for tool results, so that what the policy sampled is never
    tokenized again.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Tokenizer with a chat template.
        feedback (`list[dict]`):
            One user message, or the tool messages of one action.
        eos_token_ids (`Collection[int]`):
            Tokens that end an action. What the template renders after them belongs to the feedback.
        chat_template (`str`, *optional*):
            Template to use instead of the tokenizer's own.
        prefixes (`dict[str, list[int]]`, *optional*):
            A cache to fill, and to pass again with the same tokenizer, template and tokens that end an action: the
            tokens before a user message. With it, all replies but the first are rendered once instead of three times.
        **chat_template_kwargs:
            Passed on to the template.

    Returns:
        `list[int]`: The token ids.

    Raises:
        `ValueError`: If the template renders an action, up to a token that ends it, differently when something follows
            it.
    """
    question = {"role": "user", "content": "dummy"}
    is_tool = feedback[0]["role"] == "tool"
    if is_tool:
        functions = ({"name": feedback[0]["name"], "arguments": arguments} for arguments in ({}, {"other": 1}))
        action, other_action = (
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
            for function in functions
        )
    else:
        # Of different lengths, so that a tokenizer that does not know the word tells them apart as well
        action, other_action = ({"role": "assistant", "content": content} for content in ("dummy", "dummy dummy"))

    def render(messages: list[dict], add_generation_prompt: bool) -> list[int]:
        return tokenizer.apply_chat_template(
            messages,
            return_dict=False,
            add_generation_prompt=add_generation_prompt,
            chat_template=chat_template,
            **chat_template_kwargs,
        )

    full_ids = render([question, action, *feedback], add_generation_prompt=True)
    prefix = None if is_tool or prefixes is None else prefixes.get("user")
    if prefix is not None and full_ids[: len(prefix)] == prefix:
        return full_ids[len(prefix) :]
    start = common_length(render([question, other_action, *feedback], add_generation_prompt=True), full_ids)
    alone_ids = render([question, action], add_generation_prompt=False)
    stop = common_length(alone_ids, full_ids)
    # Some templates (GLM) render the end of an action only as the beginning of what follows
    ends = [i + 1 for i in range(start, min(stop + 1, len(full_ids))) if full_ids[i] in eos_token_ids]
    if not ends and is_tool and stop == len(alone_ids):
        ends = [stop]  # as TRL does where a template ends tool calls with another token
    if not ends:
        raise ValueError(
            "The chat template does not keep an assistant message as it was sampled, up to a token that ends "
            f"generation (ids {list(eos_token_ids)}), once a {feedback[0]['role']} message follows it. Set a chat "
            "template that is prefix-preserving, or see whether `model.generation_config.eos_token_id` holds the "
            "token with which the template ends assistant messages, and whether the tokenizer has tokens for any text."
        )
    if prefixes is not None and not is_tool:
        prefixes["user"] = full_ids[: ends[-1]]
    return full_ids[ends[-1] :]


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def content_text(content: str | list | None) -> str:
    """
    The text of a message's content.

    Args:
        content (`str` or `list`, *optional*):
            Text, or blocks. A message that only calls tools may have none.

    Returns:
        `str`: The text of all blocks, one after the other; a block without text is written as its type, `<image>`.
    """
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(
        block.get("text", f"<{block.get('type')}>") if isinstance(block, dict) else str(block) for block in content
    )


def mask_messages(messages: list[dict], placeholder: str) -> list[dict]:
    """
    Replace the content of messages by the placeholder, structured content by one block of text, and keep everything
    else. Messages that say that a call could not be parsed ([`MALFORMED_CALL`]) or that a message was empty
    ([`EMPTY_MESSAGE`]) are not masked.

    Args:
        messages (`list[dict]`):
            Messages with the feedback.
        placeholder (`str`):
            Text that says nothing.

    Returns:
        `list[dict]`: The masked messages.
    """
    block = [{"type": "text", "text": placeholder}]
    return [
        m
        if m["content"] in (MALFORMED_CALL, EMPTY_MESSAGE)
        else {**m, "content": block if isinstance(m["content"], list) else placeholder}
        for m in messages
    ]


def mask_content_ids(
    observation_ids: Sequence[int], placeholder_ids: list[int], content_mask: Sequence[int] | None = None
) -> list[int]:
    """
    Replace the content of an observation that is known only as token ids.

    Args:
        observation_ids (`Sequence[int]`):
            Token ids of the observation.
        placeholder_ids (`list[int]`):
            Token ids of the placeholder.
        content_mask (`Sequence[int]`, *optional*):
            1 on the tokens that are content, 0 on scaffolding. Each run of content becomes one placeholder. Without
            it, the whole observation does.

    Returns:
        `list[int]`: Token ids of the masked observation.
    """
    if content_mask is None:
        return list(placeholder_ids)
    masked_ids = []
    for is_content, run in groupby(zip(observation_ids, content_mask, strict=True), key=lambda pair: pair[1]):
        masked_ids += placeholder_ids if is_content else [token_id for token_id, _ in run]
    return masked_ids
