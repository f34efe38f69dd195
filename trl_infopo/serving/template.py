# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Converts messages to tokens, and sampled tokens to messages."""

from copy import copy, deepcopy
from threading import RLock
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import add_response_schema, get_training_chat_template, supports_tool_calling

from .._compat import parse_action
from ..turns import common_length, render_feedback


class ChatTemplate:
    """
    Renders the prompt of a conversation once, and then only what is new in it, so that nothing that the policy sampled
    is ever tokenized again. Where the tokenizer's own template does not keep an action as it was once something
    follows it, TRL's training template takes its place.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Tokenizer with a chat template. It is not changed.
        chat_template (`str`, *optional*):
            Template to use instead of the tokenizer's own.
        chat_template_kwargs (`dict[str, Any]`):
            Passed on to the template.
        eos_token_ids (`list[int]`):
            Tokens that end an action.

    Attributes:
        takes_tools (`bool`):
            Whether the template renders tool calls and their results, and TRL can parse them.
        chat_template_kwargs (`dict[str, Any]`):
            Passed on to the template.
        eos_token_ids (`list[int]`):
            Tokens that end an action.
        end_token_id (`int`):
            The token with which the template ends an action.

    Raises:
        `ValueError`: If there is no template under which actions stay as they were.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None,
        chat_template_kwargs: dict[str, Any],
        eos_token_ids: list[int],
    ):
        if tokenizer.chat_template is None and chat_template is None:
            raise ValueError(
                f"`processing_class` ({type(tokenizer).__name__}) has no chat template, but an agent speaks with the "
                "policy through one. Set `chat_template`, or take the tokenizer of a chat model."
            )
        tokenizer = deepcopy(tokenizer)  # one object must not be used by several threads at once
        self._lock = RLock()
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        self.chat_template_kwargs = chat_template_kwargs
        self.eos_token_ids = eos_token_ids
        self.takes_tools = supports_tool_calling(tokenizer)
        if self.takes_tools and getattr(tokenizer, "response_template", None) is None:
            try:
                tokenizer = add_response_schema(tokenizer)
            except ValueError:  # a template that TRL does not know
                self.takes_tools = False
        self._tokenizer = tokenizer
        self._callless = _without_calls(tokenizer)
        self._rendered, self._prefixes = {}, {}
        try:
            self._try_feedback()
        except ValueError:
            tokenizer.chat_template = get_training_chat_template(tokenizer)
            self._rendered, self._prefixes = {}, {}
            self._try_feedback()
        self.end_token_id = self._prefixes["user"][-1]

    def _try_feedback(self) -> None:
        self.feedback([{"role": "user", "content": "dummy"}])
        if self.takes_tools:
            self.feedback([{"role": "tool", "name": "dummy", "content": "dummy"}])

    def prompt(self, messages: list[dict], tools: list[dict] | None) -> list[int]:
        """
        Token ids of a conversation's beginning, the generation prompt included.

        Args:
            messages (`list[dict]`):
                Its messages.
            tools (`list[dict]`, *optional*):
                Schemas of the tools that the policy may call.

        Returns:
            `list[int]`: The token ids.
        """
        with self._lock:
            return self._tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=True, return_dict=False, **self.chat_template_kwargs
            )

    def feedback(self, messages: list[dict]) -> tuple[list[int], list[int]]:
        """
        Token ids of the feedback on an action, the generation prompt for the next one included.

        Args:
            messages (`list[dict]`):
                Messages of the roles `tool` and `user`.

        Returns:
            `tuple[list[int], list[int]]`: The token ids, and for each of them 1 where it is content of a message and 0
            where it is scaffolding of the template.
        """
        key = repr(messages)
        with self._lock:
            if key not in self._rendered:
                self._rendered[key] = self._render_with_mask(messages)
            return self._rendered[key]

    def _render_with_mask(self, messages: list[dict]) -> tuple[list[int], list[int]]:
        ids = self._render(messages)
        content_mask = [0] * len(ids)
        for i, message in enumerate(messages):
            if not message["content"]:
                continue
            # Content is where the tokens change with the content. Of two other contents, at least one begins
            # differently, and at least one ends differently
            start, stop = len(ids), 0
            for content in ("0", "x"):
                other = self._render([*messages[:i], {**message, "content": content}, *messages[i + 1 :]])
                start = min(start, common_length(ids, other))
                stop = max(stop, len(ids) - common_length(ids[::-1], other[::-1]))
            content_mask[start:stop] = [1] * (stop - start)
        return ids, content_mask

    def forget(self) -> None:
        """Clear the cache of rendered feedback: the next batch brings other feedback."""
        self._rendered = {}

    def _render(self, messages: list[dict]) -> list[int]:
        # TRL looks for the end of a tool call only with the tokenizer's own end token
        is_tool = messages[0]["role"] == "tool"
        eos_token_ids = [self._tokenizer.eos_token_id] if is_tool else self.eos_token_ids
        return render_feedback(
            self._tokenizer, messages, eos_token_ids, None, self._prefixes, **self.chat_template_kwargs
        )

    def parse(self, ids: list[int], context: list[int], tools: list[dict] | None) -> dict:
        """
        The assistant message that a policy sampled.

        Args:
            ids (`list[int]`):
                Token ids that it sampled.
            context (`list[int]`):
                All token ids before them.
            tools (`list[dict]`, *optional*):
                Schemas of the tools that it may call. Without any, what looks like a call is text.

        Returns:
            `dict`: The message, with arguments of calls as TRL parses them.
        """
        with self._lock:
            return parse_action(self._tokenizer if tools else self._callless, ids, context, tools or [])


def _without_calls(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer, parsing all but tool calls, which stay in the text."""
    template = getattr(tokenizer, "response_template", None)
    if template is None:
        return tokenizer
    tokenizer = copy(tokenizer)
    fields = {name: field for name, field in template["fields"].items() if name != "tool_calls"}
    tokenizer.response_template = {**template, "fields": fields}
    return tokenizer
