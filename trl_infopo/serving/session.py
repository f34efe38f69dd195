# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One episode of an agent that runs its own loop: its requests are one conversation, in messages and in tokens."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._show import cut, show
from ..calls import encodable_message
from ..rollout import Episode
from ..turns import feedback_blocks, segment_turns
from .messages import arguments_text, comparable, for_template, is_tool, read_message
from .template import ChatTemplate


# What a request may have
ALLOWED = (
    *("messages", "model", "tools", "max_tokens", "max_completion_tokens", "stream", "stream_options"),
    # Ignored: how to sample, which is the trainer's to say
    *("temperature", "top_p", "top_k", "min_p", "seed"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty"),
    # Ignored: for whom it is, where it is kept, what it costs
    *("user", "safety_identifier", "metadata", "store", "service_tier", "priority", "request_id"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_salt"),
)

# All else asks for another policy or another answer, except with a value that asks for nothing
NOTHING = (None, "", [], {})
UNSUPPORTED = {
    "n": (None, 1),
    "best_of": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "auto", "none"),
    "parallel_tool_calls": (None, True),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "moderation": (None,),
    "web_search_options": (None,),
    "verbosity": (None, "medium"),
    "use_beam_search": (None, False),
    "length_penalty": (None, 1),
    "min_tokens": (None, 0),
    "ignore_eos": (None, False),
    "include_reasoning": (None, True),
    "include_stop_str_in_output": (None, False),
    "skip_special_tokens": (None, True),
    "spaces_between_special_tokens": (None, True),
    "add_generation_prompt": (None, True),
    "continue_final_message": (None, False),
    "add_special_tokens": (None, False),
    "echo": (None, False),
}


class RequestError(Exception):
    """
    A request that is not answered, in OpenAI's terms.

    Args:
        message (`str`):
            What is wrong, and the way out.
        code (`str`):
            Its kind in one word.
        param (`str`, *optional*):
            Which part of the request it is about.
        status (`int`, *optional*, defaults to `400`):
            Status of the response. Clients retry after 409, 429 and 5xx.
    """

    def __init__(self, message: str, code: str, param: str | None = None, status: int = 400):
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status

    def body(self) -> dict:
        """The body of the response, in OpenAI's shape."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class RewrittenHistoryError(RuntimeError):
    """A request does not continue the conversation of its episode, so that its tokens are not those of the policy."""


@dataclass
class PendingRequest:
    """A request that waits for the policy."""

    session: "PolicySession"
    max_tokens: int | None
    future: asyncio.Future
    since: float
    index: int = 0


class PolicySession:
    """
    An episode's access to the policy: the address of an OpenAI-compatible endpoint of its own.

    All requests to it are one conversation. The first brings the prompt and the tools. Each later one brings the
    conversation so far, unchanged, and after the policy's last message what came back: results of tools, and messages
    of a user. A request that repeats the last one, as clients send after a lost connection, gets the same answer. A
    request that leaves out, changes or forks what was said is refused, and fails the episode: see
    [`RewrittenHistoryError`].

    Attributes:
        base_url (`str`):
            For an OpenAI client: `AsyncOpenAI(base_url=session.base_url, api_key=session.api_key)`.
        api_key (`str`):
            Its key. The address holds it too, so that any key will do.
        model (`str`):
            Name of the model to ask for.
        name (`str`):
            Name of the episode in errors.
        metrics (`dict[str, float]`):
            Numbers to log besides the reward, for `play` to fill.
    """

    def __init__(self, name: str, model: str, template: ChatTemplate, submit: Callable[[PendingRequest], None]):
        self.name = name
        self.model = model
        self.key = secrets.token_urlsafe(16)
        self.base_url = ""  # set by the server
        self.api_key = self.key
        self.metrics: dict[str, float] = {}
        self.episode = Episode([], name=name)
        self.refusal: RewrittenHistoryError | None = None
        self.is_delivered = True  # what the policy said last
        self.is_open = True
        self._template = template
        self._submit = submit
        self._tools: list[dict] | None = None
        self._said: list[dict] = []  # as requests bring it, and what was answered
        self._request: tuple | None = None  # the last one, as it was
        self._answer: asyncio.Future | None = None

    @property
    def messages(self) -> list[dict]:
        """The conversation so far, from the prompt to what the policy said last."""
        return self.episode.prompt + self.episode.completion

    @property
    def is_full(self) -> bool:
        """Whether no further request can be answered, as the conversation has as many tokens as it may have."""
        return self.episode.stop_reason is not None

    async def settle(self) -> None:
        """Wait a moment for the policy's last answer to leave, if it has not."""
        for _ in range(10):
            if self.is_delivered:
                return
            await asyncio.sleep(0.1)

    async def answer(self, request: Any) -> dict:
        """
        Answer one request.

        Args:
            request (`Any`):
                Body of a request for a chat completion.

        Returns:
            `dict`: The chat completion.

        Raises:
            `RequestError`: If it cannot be answered.
        """
        messages, tools, max_tokens = self._read(request)
        callable_tools = [] if request.get("tool_choice") == "none" else tools or []
        if not self.is_open:
            raise RequestError(f"{self.name} is over. Start a new one.", "episode_over", status=410)
        if self.refusal is not None:
            raise RequestError(str(self.refusal), "rewritten_history", "messages")
        if self._answer is not None and (messages, tools, callable_tools) == self._request:
            return await asyncio.shield(self._answer)
        if self._answer is not None and not self._answer.done():
            self._refuse("asks while its last request is not answered yet, which is a fork of the conversation")
        self._continue(messages, tools)
        self._request = messages, tools, callable_tools
        self.episode.tools = {tool["function"]["name"]: tool for tool in callable_tools}
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self.is_delivered = False
        self._submit(PendingRequest(self, max_tokens, self._answer, time.monotonic()))
        return await asyncio.shield(self._answer)

    def _read(self, request: Any) -> tuple[list[dict], list[dict] | None, int | None]:
        """Messages, tools and limit of tokens of a request."""
        if not isinstance(request, dict):
            raise RequestError("The body is no JSON object.", "invalid_body")
        if request.get("model") not in (None, self.model):
            raise RequestError(
                f"The model {show(request['model'])} is not here, which serves {self.model!r}, the policy in "
                "training, alone. Send requests to other models, as of a judge, to where they are.",
                "model_not_found",
                "model",
                404,
            )
        if not isinstance(request.get("stream_options") or {}, dict):
            raise RequestError("`stream_options` is no JSON object.", "invalid_value", "stream_options")
        for name, value in request.items():
            if name not in ALLOWED and not self._asks_for_nothing(name, value):
                raise RequestError(
                    f"`{cut(name)}` is {show(value)}, which the policy cannot give: it is sampled as its trainer "
                    "says, one answer at a time. Leave it out.",
                    "unsupported_value",
                    cut(name),
                )
        limits = [request.get(name) for name in ("max_completion_tokens", "max_tokens")]
        max_tokens = next((limit for limit in limits if limit is not None), None)
        if max_tokens is not None and (not isinstance(max_tokens, int) or max_tokens < 1):
            raise RequestError(
                f"`max_tokens` is {show(max_tokens)}, set it to a whole number of at least 1.",
                "invalid_value",
                "max_tokens",
            )
        tools = request.get("tools")
        if tools is not None and not (isinstance(tools, list) and all(map(is_tool, tools))):
            raise RequestError(
                "`tools` is no list of functions, each with a name. The policy calls functions alone.",
                "invalid_value",
                "tools",
            )
        if tools and not self._template.takes_tools:
            raise RequestError(
                "The request has tools, but the chat template of the policy does not render tool calls and their "
                "results, or TRL does not know how to parse them. Take a model whose tool calls TRL supports, or set "
                "the tokenizer's `chat_template` and `response_template`.",
                "unsupported_value",
                "tools",
            )
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages:
            raise RequestError("`messages` is no list of messages.", "invalid_value", "messages")
        try:
            messages = [read_message(message) for message in encodable_message(messages)]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RequestError(f"`messages` is no chat of text: {error!r}.", "invalid_value", "messages") from None
        return messages, tools or None, max_tokens

    def _asks_for_nothing(self, name: str, value: Any) -> bool:
        """Whether an option of a request asks for what is the case anyway."""
        if name == "chat_template_kwargs" and isinstance(value, dict):
            return {**self._template.chat_template_kwargs, **value} == self._template.chat_template_kwargs
        return value in UNSUPPORTED.get(name, NOTHING)

    def _continue(self, messages: list[dict], tools: list[dict] | None) -> None:
        """Add what a request brings to the conversation."""
        episode = self.episode
        if not self._said:
            try:
                ids = self._template.prompt(for_template(messages), tools)
            except Exception as error:  # what a template raises may be anything
                raise RequestError(f"The chat template fails: {error}", "invalid_value", "messages") from None
            episode.prompt, episode.prompt_ids = for_template(messages), ids
            self._tools, self._said = tools, messages
            return
        if tools != self._tools:
            self._refuse("has other tools than the first")
        for i, (before, now) in enumerate(zip(self._said, messages, strict=False)):
            if comparable(before) != comparable(now):
                self._refuse(
                    f"has message {i} ({now['role']}) not as it was: {show(comparable(now)[1:])} instead of "
                    f"{show(comparable(before)[1:])}"
                )
        new = messages[len(self._said) :]
        if not new:
            self._refuse(f"goes back to its first {len(messages)} of {len(self._said)} messages")
        if any(message["role"] not in ("tool", "user") for message in new):
            role = next(message["role"] for message in new if message["role"] not in ("tool", "user"))
            self._refuse(f"brings a message of the role {role!r}, which is neither a user's nor a tool's")
        if self.is_full:
            raise self.overflow()
        try:
            feedback = for_template(messages)[len(self._said) :]
            self._template.feedback(feedback)
        except Exception as error:  # what a template raises may be anything
            raise RequestError(f"The chat template fails: {error}", "invalid_value", "messages") from None
        if episode.completion_ids[-1] not in (*self._template.eos_token_ids, self._template.end_token_id):
            # The limit of a request cut the last action off; the template would have ended it
            episode.completion_ids.append(self._template.end_token_id)
            episode.action_mask.append(0)
            if episode.logprobs is not None:
                episode.logprobs.append(0.0)
        episode.feedback = feedback
        self._said = messages

    def _refuse(self, reason: str) -> None:
        text = (
            f"A request of {self.name} does not continue its conversation: it {reason}. An episode is one row of a "
            "batch, and its tokens are those that the policy saw and sampled. Let the agent send back the whole "
            "conversation as it was, with nothing cut out, summarized or forked."
        )
        self.refusal = self.refusal or RewrittenHistoryError(text)
        raise RequestError(text, "rewritten_history", "messages")

    def overflow(self) -> RequestError:
        """The error of a request that does not fit."""
        return RequestError(
            f"The maximum context length of {self.name} is reached: its conversation has as many tokens as it may "
            "have (`max_completion_length` of the trainer, or the length of the model).",
            "context_length_exceeded",
            "messages",
        )

    def content_mask(self) -> list[int]:
        """For each token of the completion, 1 where it is content of what came back, 0 elsewhere."""
        mask = [0] * len(self.episode.completion_ids)
        for turn, feedback in zip(
            segment_turns(self.episode.action_mask), feedback_blocks(self.episode.completion), strict=False
        ):
            # At the end of the observation, which may begin with the end token that a cut action lacked
            _, content = self._template.feedback(feedback)
            mask[turn.observation.stop - len(content) : turn.observation.stop] = content
        return mask

    def completion(self, is_cut: bool) -> dict:
        """
        The chat completion that tells what the policy has just said.

        Args:
            is_cut (`bool`):
                Whether a limit of tokens cut it off.

        Returns:
            `dict`: The chat completion.
        """
        episode = self.episode
        message = episode.completion[-1]
        calls = [call["function"] for call in message.get("tool_calls") or []]
        answer = {"role": "assistant", "content": message.get("content") or (None if calls else "")}
        if message.get("reasoning_content"):
            answer["reasoning_content"] = message["reasoning_content"]
        if calls:
            answer["tool_calls"] = [
                {
                    "id": f"call_{episode.num_actions}_{i}",
                    "type": "function",
                    "function": {"name": function["name"], "arguments": arguments_text(function["arguments"])},
                }
                for i, function in enumerate(calls)
            ]
        self._said = [*self._said, read_message(answer)]
        num_sampled = len(segment_turns(episode.action_mask)[-1].action)
        num_tokens = len(episode.prompt_ids) + len(episode.completion_ids)
        return {
            "id": f"chatcmpl-{self.key}-{episode.num_actions}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [
                {
                    "index": 0,
                    "message": answer,
                    "finish_reason": "length" if is_cut else "tool_calls" if calls else "stop",
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": num_tokens - num_sampled,
                "completion_tokens": num_sampled,
                "total_tokens": num_tokens,
            },
        }
