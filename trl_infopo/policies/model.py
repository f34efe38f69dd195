# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A language model as a policy: on token ids as in training, sampled with separate random numbers for each episode."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessorList
from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    supports_tool_calling,
)

from .._compat import is_malformed_call, parse_action
from ..causal_lm import eval_mode
from ..rollout import Episode, TokenPolicy
from ..turns import render_feedback
from .protocol import SeededEpisode


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelPolicy:
    """
    A language model with its tokenizer. It acts on token ids, as in training.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Model, on the device that it runs on.
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
        # The weights at a path may change. The first values of each tensor show it, and are read fast
        digest = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            values = parameter.detach().flatten()[:256].float().cpu()
            digest.update(name.encode() + values.numpy().tobytes())
        # So may what turns messages into tokens and back
        speaks = (
            self.tokenizer.chat_template,
            self.tokenizer.response_template,
            self.model.generation_config.eos_token_id,
        )
        return {
            "policy": type(self.model).__name__,
            "weights": digest.hexdigest()[:16],
            "template": hashlib.sha256(repr(speaks).encode()).hexdigest()[:16],
        }

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
            self.model,
            tokenizer,
            chat_template,
            chat_template_kwargs,
            temperature,
            max_completion_length,
            # In TRL's loop, which trains in the other environments, a call that cannot be parsed is an answer
            is_malformed=partial(is_malformed_call, tokenizer) if converses else None,
        )
        if converses:
            actor.prepare_replies()
        return actor


class _ModelActor(TokenPolicy):
    """A model in the conversations of one environment, with the templates and tokens of `InfoPOTrainer`."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        chat_template: str | None,
        chat_template_kwargs: dict[str, Any],
        temperature: float,
        max_completion_length: int,
        is_malformed: Callable[[list[int], dict], bool] | None = None,
    ):
        self.model = model
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
            is_malformed=is_malformed,
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
        """Make sure that the tokens that the policy sampled stay the same when a user replies."""
        try:
            self._render([{"role": "user", "content": "dummy"}])
        except ValueError:
            self.chat_template = get_training_chat_template(self.tokenizer)
            self._render([{"role": "user", "content": "dummy"}])

    def _sample(self, contexts: list[list[int]]) -> tuple[list[list[int]], None]:
        if not contexts:
            return [], None
        # Episodes that have no room for an action were stopped before
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
        with torch.no_grad(), eval_mode(self.model), _without_generation_config(self.model):
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
        """Make a logits processor that leaves one token for each row, drawn with the episode's own random numbers."""
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
        # TRL looks for the end of a tool call only with the tokenizer's own end token
        is_tool = feedback[0]["role"] == "tool"
        eos_token_ids = [self.tokenizer.eos_token_id] if is_tool else self.eos_token_ids
        template = (self.chat_template, self._prefixes)
        return render_feedback(self.tokenizer, feedback, eos_token_ids, *template, **self.chat_template_kwargs)


@contextmanager
def _without_generation_config(model: "PreTrainedModel") -> Iterator[None]:
    """Hide the model's `generation_config`, from which `generate` would take options such as beams or penalties."""
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
