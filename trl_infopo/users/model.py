# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A user played by a local transformers model."""

import asyncio
import time
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .._options import check_number
from .base import Scenario, Usage, UserSimulatorError
from .prompt import PERSONA_PROMPT, build_system_prompt, read_reply, swap_roles


BATCHING_WINDOW = 0.005  # seconds that a batch waits for more requests, so that concurrent ones share it


class LocalChatModel:
    """
    A transformers model that answers chats in batches. Make one, and share it among the users.

    Requests that wait at the same time, from whatever event loop or thread, run as one batch, left-padded and greedy,
    in a thread of this object. Nothing is sampled and torch's global generators are not touched. In float32, the
    answer does not depend on the rest of the batch; in bfloat16, rounding may decide between two tokens that are
    almost equally likely.

    Args:
        model (`str` or `Path` or [`~transformers.PreTrainedModel`]):
            Hub id or folder of a model with a chat template, or the model itself, which is put in evaluation mode.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
            Its tokenizer. If `None`, it is loaded from the same place as the model.
        max_tokens (`int`, *optional*, defaults to `256`):
            Largest length of an answer in tokens, reasoning included. Thinking is turned off in chat templates that
            have a switch for it.
        batch_size (`int`, *optional*, defaults to `32`):
            Largest number of requests in a batch.
        **model_kwargs:
            Arguments of `AutoModelForCausalLM.from_pretrained`, such as `device_map="cuda:0"`.

    Raises:
        `ValueError`: If an argument is out of range, or the tokenizer is missing or has no chat template.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        max_tokens: int = 256,
        batch_size: int = 32,
        **model_kwargs,
    ):
        check_number("max_tokens", max_tokens, integer=True, at_least=1)
        check_number("batch_size", batch_size, integer=True, at_least=1)
        if isinstance(model, str | Path):
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            model = AutoModelForCausalLM.from_pretrained(model, **model_kwargs)
        elif not isinstance(model, torch.nn.Module):
            raise ValueError(f"`model` is of type {type(model).__name__}, give a hub id, a folder or a loaded model.")
        elif model_kwargs:
            raise ValueError(
                f"{list(model_kwargs)} are for loading, but `model` is loaded: give a hub id or a folder."
            )
        if tokenizer is None:
            raise ValueError(
                "`tokenizer` is missing: give the one of `model`, or give `model` as a hub id or a folder."
            )
        if tokenizer.chat_template is None:
            raise ValueError(f"The tokenizer of {model.name_or_path!r} has no chat template: use a chat model.")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        stops = model.generation_config.eos_token_id
        self._stops = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])} - {None}
        self._waiting: deque[tuple[list[dict], Future]] = deque()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-chat-model")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.name_or_path or type(self.model).__name__!r})"

    async def answer(self, messages: list[dict]) -> tuple[str, bool, int]:
        """
        Answer a chat, in one batch with other requests that wait.

        Args:
            messages (`list[dict]`):
                The chat, system prompt included.

        Returns:
            `tuple[str, bool, int]`:
                The answer, whether `max_tokens` cut it off, and the number of tokens read and written.
        """
        future = Future()
        self._waiting.append((messages, future))
        self._worker.submit(self._serve)
        return await asyncio.wrap_future(future)

    def _serve(self) -> None:
        """Answer a batch of waiting requests. It is called once per request; a later call takes what one leaves."""
        if not self._waiting:
            return
        time.sleep(BATCHING_WINDOW)
        batch = []
        while self._waiting and len(batch) < self.batch_size:
            messages, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                batch.append((messages, future))
        if not batch:
            return
        try:
            answers = self._generate([messages for messages, _ in batch])
        except Exception as error:  # raised where the answers are awaited
            for _, future in batch:
                future.set_exception(error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)

    def _generate(self, chats: list[list[dict]]) -> list[tuple[str, bool, int]]:
        # Tokenizers are not thread-safe: this thread alone uses this one
        prompts = [
            self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, enable_thinking=False)["input_ids"]
            for chat in chats
        ]
        width = max(len(prompt) for prompt in prompts)
        # Padded on the left with a token of the prompt itself: it is masked, but a repetition penalty sees it
        input_ids = torch.tensor([prompt[:1] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        output = self.model.generate(
            input_ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            do_sample=False,
            max_new_tokens=self.max_tokens,
            eos_token_id=sorted(self._stops),
            pad_token_id=min(self._stops),  # after the end of an answer
        )
        answers = []
        for prompt, row in zip(prompts, output[:, width:].tolist(), strict=True):
            length = next((i for i, token in enumerate(row) if token in self._stops), None)
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True)
            written = len(row) if length is None else length + 1
            answers.append((text, length is None, len(prompt) + written))
        return answers


class ModelUser:
    """
    A user played by a local transformers model.

    Its prompt, the reading of its answers and its end marker are those of a [`ChatUser`]. Replies that are awaited
    concurrently run as one batch of the model.

    Args:
        scenario ([`Scenario`]):
            What the user knows.
        seed (`int`, *optional*, defaults to `0`):
            Not used: nothing is sampled.
        model ([`LocalChatModel`]):
            The model, shared by all users.
        persona_prompt (`str`, *optional*, defaults to [`PERSONA_PROMPT`]):
            System prompt, a format string with the fields `profile`, `facts`, `request`, `rules` and `end_marker`.

    Example:

    ```python
    from functools import partial

    from trl_infopo.users import LocalChatModel, ModelUser

    make_user = partial(ModelUser, model=LocalChatModel("Qwen/Qwen3-4B", device_map="cuda:0"))
    ```
    """

    def __init__(
        self, scenario: Scenario, seed: int = 0, *, model: LocalChatModel, persona_prompt: str = PERSONA_PROMPT
    ):
        if not isinstance(model, LocalChatModel):
            raise ValueError(
                f"`model` is of type {type(model).__name__}, make one `LocalChatModel` and share it among the users."
            )
        self.scenario = scenario
        self.model = model
        self.usage = Usage()
        self._system_prompt = build_system_prompt(persona_prompt, scenario)

    async def reply(self, messages: list[dict]) -> str | None:
        text, cut, tokens = await self.model.answer(swap_roles(self._system_prompt, messages))
        self.usage.tokens += tokens
        reply = read_reply(text)
        if reply == "":
            self.usage.errors += 1
            raise UserSimulatorError(
                f"{self.model} gave an empty answer{' within its `max_tokens`' if cut else ''}. It is greedy and "
                "would give it again: use another model or persona prompt, or raise `max_tokens` if it thinks first."
            )
        if reply and cut:
            warnings.warn(
                f"A reply of {self.model} was cut off at its `max_tokens`. Raise it, or ask for shorter answers in "
                "the scenario's `rules`.",
                stacklevel=1,
            )
        return reply
