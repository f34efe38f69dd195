# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A model behind an OpenAI-compatible endpoint as a policy, and its messages in OpenAI's format."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from transformers.utils import get_json_schema

from .._describe import describe
from ..rollout import StopReason
from ..users.endpoint import ChatClient, EndpointError
from ..users.responses import Completion, read_arguments
from .protocol import PolicyError, SeededEpisode


class ChatPolicy(ChatClient):
    """
    A model behind any OpenAI-compatible endpoint. Needs the package `openai` (`pip install "trl-infopo[users]"`).

    The episodes of a batch act concurrently. Tools are sent as JSON schemas. A tool call whose name or arguments are
    of the wrong type is the model's own mistake: the call fails, and the model is told so.

    An attempt fails when the whole response has not arrived within `timeout` seconds, on a lost connection, on the
    statuses 408, 409, 425, 429 and 5xx, and on a response that is not a chat completion or has more than 1 MiB
    (compressed or decompressed). It is repeated up to `max_retries` times, after a growing delay and no sooner than
    `Retry-After` says, as long as that is within a minute. Other statuses, such as 401 or 404, are not retried, and
    redirects are not followed. When no attempts are left, the evaluation stops.

    Args:
        model (`str`):
            Name of the model at the endpoint.
        base_url (`str`, *optional*):
            Address of the endpoint, such as `"http://localhost:8000/v1"`. If `None`, the environment variable
            `OPENAI_BASE_URL`, or else OpenAI's.
        api_key (`str`, *optional*):
            Key for the endpoint. If `None`, the environment variable `OPENAI_API_KEY`. This class writes it into no
            message, file or pickle.
        timeout (`float`, *optional*, defaults to `120.0`):
            Seconds that an attempt may take from its start to the last byte.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one. Each delay is shortened at random, by up to
            half.
        max_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of concurrent requests.
        request_options (`dict`, *optional*):
            Further options of the chat completions request, such as `{"extra_body": {"chat_template_kwargs":
            {"enable_thinking": False}}}`. They replace those that [`evaluate`] sets (`temperature`, `max_tokens`,
            `seed`, `extra_body` where there are `chat_template_kwargs`); `None` leaves one out. Those that are known
            to be harmless, such as numbers, are written into the settings of an evaluation. Options that may hold a
            secret (`extra_headers`, `extra_query`, text) are left out of pickles and copies, which then cannot be
            used.

    Raises:
        `ImportError`: If `openai` is not installed.
        `ValueError`: If there is no API key, or an argument is out of range.

    Example:

    ```python
    from trl_infopo.policies import ChatPolicy

    policy = ChatPolicy("Qwen/Qwen3-8B", base_url="http://localhost:8000/v1", api_key="local")
    ```
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 120.0,
        max_retries: int = 4,
        backoff: float = 1.0,
        max_concurrency: int = 64,
        request_options: dict | None = None,
    ):
        super().__init__(
            model,
            base_url,
            api_key,
            timeout=timeout,
            max_retries=max_retries,
            backoff=backoff,
            max_concurrency=max_concurrency,
            request_options=request_options,
        )

    @property
    def description(self) -> dict[str, str]:
        return {
            "policy": self.model,
            "base_url": describe(self.base_url, "base_url"),
            "request_options": describe(self.request_options),
        }

    def make_actor(
        self,
        *,
        temperature: float,
        max_completion_length: int,
        chat_template_kwargs: dict[str, Any],
        event_loop: asyncio.AbstractEventLoop,
        **settings,
    ) -> Callable[[list[SeededEpisode]], None]:
        options = {"temperature": temperature, "max_tokens": max_completion_length}
        if chat_template_kwargs:
            options["extra_body"] = {"chat_template_kwargs": chat_template_kwargs}

        async def act_together(episodes: list[SeededEpisode]) -> list:
            acting = (self._act(episode, options) for episode in episodes)
            return await asyncio.gather(*acting, return_exceptions=True)

        def act(episodes: list[SeededEpisode]) -> None:
            outcomes = asyncio.run_coroutine_threadsafe(act_together(episodes), event_loop).result()
            for episode, outcome in zip(episodes, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                episode.act(_to_message(outcome))
                if outcome.is_cut:
                    episode.stop_reason = StopReason.MAX_TOKENS

        return act

    async def _act(self, episode: SeededEpisode, options: dict[str, Any]) -> Completion:
        messages = _to_openai(episode.prompt + episode.completion + episode.feedback)
        tools = [tool if isinstance(tool, dict) else get_json_schema(tool) for tool in episode.tools.values()] or None
        seed = episode.next_action_rng().getrandbits(31)
        try:
            return await self.complete(messages, {"tools": tools, "seed": seed, **options}, read=lambda answer: answer)
        except EndpointError as error:
            failure = str(error)
        raise PolicyError(f"The policy failed in {episode.name}. {failure}")


def _to_openai(messages: list[dict]) -> list[dict]:
    """Messages as the endpoint needs them: with ids that link results to calls, and arguments as JSON text."""
    converted, call_ids = [], []
    for i, message in enumerate(messages):
        message = {key: message[key] for key in ("role", "content", "tool_calls") if message.get(key) is not None}
        if message["role"] == "tool":
            message["tool_call_id"] = call_ids.pop(0)
        elif "tool_calls" in message:
            call_ids = [f"call_{i}_{j}" for j in range(len(message["tool_calls"]))]
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": _with_text_arguments(call["function"])}
                for call_id, call in zip(call_ids, message["tool_calls"], strict=True)
            ]
        converted.append(message)
    return converted


def _with_text_arguments(function: dict) -> dict:
    """A call whose arguments are the text of an object, whatever they were: some servers refuse or fail at others."""
    arguments = function["arguments"]
    arguments = arguments if isinstance(arguments, dict) else {"invalid": arguments}
    return {"name": function["name"], "arguments": json.dumps(arguments)}


def _to_message(completion: Completion) -> dict:
    """The assistant message of a completion, in the form of the loop: names as text, arguments as objects."""
    message = {"role": "assistant", "content": completion.content}
    if completion.tool_calls:
        message["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": _to_name(call["name"]), "arguments": read_arguments(call["arguments"])},
            }
            for call in completion.tool_calls
        ]
    return message


def _to_name(name: Any) -> str:
    return name if isinstance(name, str) else json.dumps(name)
