# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""What can act in a conversation: a model on token ids, a model behind an endpoint, or a function."""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessorList
from transformers.utils import get_json_schema
from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    supports_tool_calling,
)

from ._compat import is_malformed_call, parse_action
from ._describe import describe
from ._show import show
from .rollout import Episode, StopReason, TokenPolicy
from .turns import render_feedback
from .users.endpoint import ChatClient, Completion, EndpointError, read_arguments


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class PolicyError(RuntimeError):
    """A policy could not act. It ends the evaluation: no made-up message stands in for an action."""


@dataclass
class SeededEpisode(Episode):
    """
    An episode with random numbers of its own, so that neither the batch that it is played in nor an interruption
    changes what is drawn.

    Attributes:
        seed (`str`):
            Seed of the episode.
    """

    seed: str = ""

    def next_action_rng(self) -> random.Random:
        """Random numbers for the next action, the same whatever was drawn for those before."""
        return random.Random(f"{self.seed} {self.num_actions}")


class Policy(Protocol):
    """What [`evaluate`] evaluates."""

    @property
    def description(self) -> dict[str, str]:
        """What tells this policy from others, for the settings of an evaluation. No secrets."""

    def make_actor(
        self,
        *,
        has_tools: bool,
        converses: bool,
        temperature: float,
        max_completion_length: int,
        chat_template_kwargs: dict[str, Any],
        event_loop: asyncio.AbstractEventLoop,
    ) -> Callable[[list[SeededEpisode]], None]:
        """
        What lets the policy act in [`~trl_infopo.rollout.converse`], the first action included, in an environment
        that has tools or not, and a user who answers or not.
        """


def load_policy(policy: "str | tuple | Callable | Policy") -> Policy:
    """
    Find out what a policy is, and load it.

    Args:
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]` or `Callable` or [`Policy`]):
            Path or hub id of a model, a model and its tokenizer, a scripted policy, or a policy as it is.

    Returns:
        [`Policy`]: The policy.
    """
    if isinstance(policy, str | os.PathLike):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(policy, dtype="auto").to(device)
        return ModelPolicy(model, AutoTokenizer.from_pretrained(policy))
    if isinstance(policy, tuple):
        return ModelPolicy(*policy)
    return policy if hasattr(policy, "make_actor") else ScriptedPolicy(policy)


class ScriptedPolicy:
    """
    A function as a policy.

    Args:
        function (`Callable[[list[dict], list[Callable]], dict]`):
            Makes the next assistant message of the messages so far and the tools.
    """

    def __init__(self, function: Callable[[list[dict], list[Callable]], dict]):
        if not callable(function):
            raise TypeError(
                f"`policy` is a {type(function).__name__}. Pass the path or hub id of a model, a model and its "
                "tokenizer as a tuple, a `ChatPolicy`, or a function of the messages and the tools."
            )
        self.function = function

    @property
    def description(self) -> dict[str, str]:
        return {"policy": describe(self.function)}

    def make_actor(self, **settings) -> Callable[[list[SeededEpisode]], None]:
        def act(episodes: list[SeededEpisode]) -> None:
            for episode in episodes:
                messages = episode.prompt + episode.completion + episode.feedback
                message = self.function(messages, list(episode.tools.values()))
                if not _is_message(message):
                    raise PolicyError(
                        f"The policy {describe(self.function)} returned {show(message)} in {episode.name}. Return a "
                        '`dict` with the `role` "assistant", text as its `content`, and for tool calls `tool_calls`, '
                        'a list of {"function": {"name": ..., "arguments": ...}}.'
                    )
                episode.act(message)

        return act


def _is_message(message: Any) -> bool:
    """Whether the loop can play it. Arguments may be anything: the call fails, and the policy is told so."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    tool_calls = message.get("tool_calls") or []
    if not isinstance(tool_calls, list) or not all(map(_is_tool_call, tool_calls)):
        return False
    return isinstance(message.get("content"), str) or bool(tool_calls)


def _is_tool_call(tool_call: Any) -> bool:
    function = tool_call.get("function") if isinstance(tool_call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str) and "arguments" in function


class ModelPolicy:
    """
    A language model with its tokenizer. It acts on token ids, as in training.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Model, on the device it shall run on.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer, with a chat template.
    """

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"):
        if tokenizer.chat_template is None:
            raise ValueError(
                f"The policy's tokenizer ({type(tokenizer).__name__}) has no chat template, but the policy speaks "
                "through one. Set `tokenizer.chat_template`, or take the tokenizer of a chat model."
            )
        self.model = model
        self.tokenizer = tokenizer

    @property
    def description(self) -> dict[str, str]:
        # A path may hold other weights than yesterday. The first values of each tensor tell, and are read fast
        digest = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            values = parameter.detach().flatten()[:256].float().cpu()
            digest.update(name.encode() + values.numpy().tobytes())
        return {"policy": type(self.model).__name__, "weights": digest.hexdigest()[:16]}

    def make_actor(
        self,
        *,
        has_tools: bool,
        converses: bool,
        temperature: float,
        max_completion_length: int,
        chat_template_kwargs: dict[str, Any],
        **settings,
    ) -> Callable[[list[SeededEpisode]], None]:
        tokenizer, chat_template = _prepare_tokenizer(self.tokenizer, has_tools)
        actor = _ModelActor(
            self.model, tokenizer, chat_template, chat_template_kwargs, temperature, max_completion_length
        )
        if converses:
            actor.prepare_replies()
        return actor


class _ModelActor(TokenPolicy):
    """A model in the conversations of one environment: templates and tokens as `InfoPOTrainer` has them."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        chat_template: str | None,
        chat_template_kwargs: dict[str, Any],
        temperature: float,
        max_completion_length: int,
    ):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self._prefixes = {}
        self.chat_template_kwargs = chat_template_kwargs
        self.temperature = temperature
        eos_token_ids = model.generation_config.eos_token_id or []
        eos_token_ids = [eos_token_ids] if isinstance(eos_token_ids, int) else eos_token_ids
        super().__init__(
            self._sample,
            self._parse,
            self._render,
            eos_token_ids=list(dict.fromkeys([tokenizer.eos_token_id, *eos_token_ids])),
            max_completion_length=max_completion_length,
            max_model_length=model.config.get_text_config().max_position_embeddings,
            is_malformed=partial(is_malformed_call, tokenizer),
        )

    def __call__(self, episodes: list[SeededEpisode]) -> None:
        for episode in episodes:
            if not episode.prompt_ids:
                episode.prompt_ids = self.tokenizer.apply_chat_template(
                    episode.prompt,
                    tools=list(episode.tools.values()) or None,
                    chat_template=self.chat_template,
                    add_generation_prompt=True,
                    return_dict=False,
                    **self.chat_template_kwargs,
                )
        self._episodes = episodes
        super().__call__(episodes)

    def prepare_replies(self) -> None:
        """See to it that what the policy sampled stays as it was when a user replies."""
        try:
            self._render([{"role": "user", "content": "dummy"}])
        except ValueError:
            self.chat_template = get_training_chat_template(self.tokenizer)
            self._render([{"role": "user", "content": "dummy"}])

    def _sample(self, contexts: list[list[int]]) -> tuple[list[list[int]], None]:
        if not contexts:
            return [], None
        # Those that have no room for an action were stopped before
        acting = [episode for episode in self._episodes if episode.stop_reason is None]
        room = max(
            self._budget(episode) + len(episode.prompt_ids) - len(context)
            for episode, context in zip(acting, contexts, strict=True)
        )
        width = max(map(len, contexts))
        pad_token_id = self.tokenizer.pad_token_id
        pad_token_id = self.tokenizer.eos_token_id if pad_token_id is None else pad_token_id
        input_ids = [[pad_token_id] * (width - len(context)) + context for context in contexts]
        mask = [[0] * (width - len(context)) + [1] * len(context) for context in contexts]
        sampler = [] if self.temperature == 0 else [self._make_sampler(acting)]
        with torch.no_grad(), _without_generation_config(self.model):
            output = self.model.generate(
                torch.tensor(input_ids, device=self.model.device),
                attention_mask=torch.tensor(mask, device=self.model.device),
                generation_config=GenerationConfig(
                    max_new_tokens=room,
                    do_sample=False,
                    eos_token_id=self.eos_token_ids,
                    pad_token_id=pad_token_id,
                ),
                logits_processor=LogitsProcessorList(sampler),
            )
        return [self._cut(ids) for ids in output[:, width:].tolist()], None

    def _make_sampler(self, episodes: list[SeededEpisode]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Leaves the greedy search one token each, drawn with the episode's own random numbers."""
        rngs = [episode.next_action_rng() for episode in episodes]

        def sample(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            cumulative = (scores / self.temperature).softmax(dim=-1).cumsum(dim=-1)
            total = cumulative[:, -1:]
            drawn = torch.tensor([[rng.random()] for rng in rngs], dtype=total.dtype, device=total.device) * total
            token_ids = torch.searchsorted(cumulative, drawn, right=True)
            # Rounded up to the total, the draw would fall behind the last token that has a probability
            token_ids = token_ids.minimum((cumulative < total).sum(dim=-1, keepdim=True))
            return torch.full_like(scores, -torch.inf).scatter(1, token_ids, 0.0)

        return sample

    def _cut(self, ids: list[int]) -> list[int]:
        """An action without the padding after its end."""
        end = next((i for i, token_id in enumerate(ids) if token_id in self.eos_token_ids), len(ids))
        return ids[: end + 1]

    def _parse(self, episode: Episode, ids: list[int], context: list[int]) -> dict:
        return parse_action(self.tokenizer, ids, context, list(episode.tools.values()))

    def _render(self, feedback: list[dict]) -> list[int]:
        # TRL looks for the end of a tool call with the tokenizer's own end token alone
        is_tool = feedback[0]["role"] == "tool"
        eos_token_ids = [self.tokenizer.eos_token_id] if is_tool else self.eos_token_ids
        template = (self.chat_template, self._prefixes)
        return render_feedback(self.tokenizer, feedback, eos_token_ids, *template, **self.chat_template_kwargs)


@contextmanager
def _without_generation_config(model: "PreTrainedModel") -> Iterator[None]:
    """`generate` takes what it is not told from the model's own configuration, such as beams or penalties."""
    own = {module: module.generation_config for module in model.modules() if "generation_config" in vars(module)}
    for module in own:
        module.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for module, generation_config in own.items():
            module.generation_config = generation_config


def _prepare_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", has_tools: bool
) -> tuple["PreTrainedTokenizerBase", str | None]:
    """A tokenizer that parses tool calls, and the chat template to use instead of its own, as TRL sets them up."""
    if not has_tools:
        return tokenizer, None
    if not supports_tool_calling(tokenizer):
        raise ValueError(
            "The environment has tools, but the chat template of the policy's tokenizer does not render tool calls. "
            "Take a model that can call tools, or set `tokenizer.chat_template`."
        )
    if tokenizer.response_template is None:
        tokenizer = add_response_schema(copy(tokenizer))
    return tokenizer, None if is_chat_template_prefix_preserving(tokenizer) else get_training_chat_template(tokenizer)


class ChatPolicy(ChatClient):
    """
    A model behind any OpenAI-compatible endpoint. Needs the package `openai` (`pip install "trl-infopo[users]"`).

    The episodes of a batch act concurrently. Tools are sent as JSON schemas. A tool call whose name or arguments are
    of the wrong type is the model's own mistake: it is played, fails, and the model is told so.

    An attempt fails when the whole response is not there within `timeout` seconds, on a lost connection, on the
    statuses 408, 409, 425, 429 and 5xx, and on a response that is not a chat completion or has more than 1 MiB (packed
    or unpacked). It is repeated up to `max_retries` times, after a growing delay and no sooner than `Retry-After`
    says, as long as that is within a minute. Other statuses, such as 401 or 404, are not retried, and redirects are
    not followed. When attempts run out, the evaluation stops.

    Args:
        model (`str`):
            Name of the model at the endpoint.
        base_url (`str`, *optional*):
            Address of the endpoint, such as `"http://localhost:8000/v1"`. If `None`, the environment variable
            `OPENAI_BASE_URL`, or else OpenAI's.
        api_key (`str`, *optional*):
            Key for the endpoint. If `None`, the environment variable `OPENAI_API_KEY`. It is in no message, file or
            pickle of this class.
        timeout (`float`, *optional*, defaults to `120.0`):
            Seconds that an attempt may take from its start to the last byte.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one. The delays are spread at random, down to
            half.
        max_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of requests under way at once.
        request_options (`dict`, *optional*):
            Further options of the chat completions request, such as `{"extra_body": {"chat_template_kwargs":
            {"enable_thinking": False}}}`. They replace those that [`evaluate`] sets (`temperature`, `max_tokens`,
            `seed`, `extra_body` where there are `chat_template_kwargs`); `None` leaves one out. What of them is known
            to be harmless, such as numbers, is written into the settings of an evaluation. If they may hold a secret
            (`extra_headers`, `extra_query`, text), they are in no pickle or copy either, which then cannot be used.

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
    """Messages with what the endpoint asks for: ids that tie results to calls, and arguments as JSON text."""
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
    arguments = function["arguments"]
    return {"name": function["name"], "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}


def _to_message(completion: Completion) -> dict:
    """The assistant message of a completion, which the loop can play: names as text, arguments as objects."""
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
