# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts as they were sampled: their turns, what masks the feedback in them, and what was asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from .turns import Turn, content_text, feedback_blocks, find_exchanges, mask_content_ids, mask_messages


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class SampledRollouts:
    """
    The `B` rollouts that a process has sampled in one generation batch.

    Attributes:
        rows (`list[dict]`):
            Their rows, with what a `rollout_func` has returned.
        completion_ids (`list[list[int]]`):
            Token ids of each completion, without padding.
        blocks (`list[list[list[dict]]]`, *optional*):
            For each rollout, the messages of the feedback on each action; `None` where tokens are all that is known.
        exchanges (`list[list[str]]`, *optional*):
            For each rollout, what each action asked and got, as text.
        messages (`list[tuple[str, str]]`, *optional*):
            For traces: prompt and completion of each rollout as JSON text.
        rewards_per_func (`torch.Tensor`):
            Rewards of the rollouts of all processes, one column for each reward function.
        turns (`list[list[Turn]]`):
            Turns of each completion.
        placeholders (`list[str]`):
            The text that masks feedback in each rollout.
    """

    rows: list[dict]
    completion_ids: list[list[int]]
    blocks: list[list[list[dict]]] | None = None
    exchanges: list[list[str]] | None = None
    messages: list[tuple[str, str]] | None = None
    rewards_per_func: torch.Tensor | None = None
    turns: list[list[Turn]] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)

    def read_messages(self, completions: list[list[dict]]) -> None:
        """Keep what the messages of the completions asked and got, whatever is done to the messages afterwards."""
        self.blocks = [
            [[dict(message) for message in block] for block in feedback_blocks(completion)]
            for completion in completions
        ]
        self.exchanges = [find_exchanges(completion) for completion in completions]

    def mask_observations(
        self, render: Callable[[list[dict]], list[int]], tokenizer: "PreTrainedTokenizerBase"
    ) -> list[list[list[int] | None]]:
        """
        Mask the observations of the rollouts.

        Args:
            render (`Callable[[list[dict]], list[int]]`):
                Token ids of feedback. Masked feedback is rendered as the real one was, so that it differs from it in
                content only.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
                For the placeholder, where there are no messages.

        Returns:
            `list[list[list[int] | None]]`: For each turn, the token ids of its masked observation; `None` where no
                action follows.
        """
        masked_observations = []
        for i, rollout in enumerate(self.turns):
            answered = rollout[:-1]
            if self.blocks is None:
                masked = self._mask_ids(i, answered, tokenizer)
            else:
                blocks = self.blocks[i]
                if rollout and len(blocks) - len(answered) not in (0, 1):  # no action follows the last block
                    raise RuntimeError(
                        f"A rollout has {len(answered)} observations between actions, but {len(blocks)} blocks of "
                        "messages between the assistant's. Was `_tool_call_loop` overridden?"
                    )
                masked = [render(mask_messages(block, self.placeholders[i])) for block in blocks[: len(answered)]]
            masked_observations.append(masked + [None] * (len(rollout) - len(answered)))
        return masked_observations

    def _mask_ids(self, i: int, turns: list[Turn], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
        """External tokens of a `rollout_func`, masked where `feedback_content_mask` is 1, or all of them."""
        ids, content_mask = self.completion_ids[i], self.rows[i].get("feedback_content_mask")
        if content_mask is not None and len(content_mask) != len(ids):
            raise ValueError(
                f"`feedback_content_mask` has {len(content_mask)} values for a completion of {len(ids)} tokens. Your "
                "`rollout_func` must return one per completion token, as in `env_mask`."
            )
        placeholder_ids = tokenizer.encode(self.placeholders[i], add_special_tokens=False)
        spans = [slice(turn.observation.start, turn.observation.stop) for turn in turns]
        return [
            mask_content_ids(ids[span], placeholder_ids, None if content_mask is None else content_mask[span])
            for span in spans
        ]

    def count_questions(self, masked_observations: list[list[list[int] | None]]) -> torch.Tensor:
        """
        Count what the rollouts asked, for the metrics.

        Args:
            masked_observations (`list[list[list[int] | None]]`):
                For each turn, the token ids of its masked observation.

        Returns:
            `torch.Tensor` of shape `(B, 3)`: For each rollout, numbers of turns with an observation, of those that
                repeat an earlier one, and of those whose observation equals its masked form.
        """
        counts = []
        for i, rollout in enumerate(self.turns):
            answered = [turn for turn in rollout if turn.observation]
            ids = [
                [self.completion_ids[i][span.start : span.stop] for span in (turn.action, turn.observation)]
                for turn in answered
            ]
            asked = self.exchanges[i] if self.exchanges is not None else list(map(repr, ids))
            num_repeated = len(asked) - len(set(asked)) if rollout else 0
            masked = masked_observations[i][: len(answered)]
            alike = sum(observation == masked_ids for (_, observation), masked_ids in zip(ids, masked, strict=True))
            counts.append([len(answered), num_repeated, alike])
        return torch.tensor(counts, dtype=torch.float)

    def feedback_texts(
        self, masked_observations: list[list[list[int] | None]] | None, tokenizer: "PreTrainedTokenizerBase"
    ) -> list[list[tuple[str, str | None]]]:
        """
        The texts of the feedback, for traces.

        Args:
            masked_observations (`list[list[list[int] | None]]`, *optional*):
                For each turn, the token ids of its masked observation; `None` where nothing was scored.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
                For the texts, where there are no messages.

        Returns:
            `list[list[tuple[str, str | None]]]`: The feedback on each action, and what the counterfactual has in its
                place.
        """
        texts = []
        for i, rollout in enumerate(self.turns):
            if self.blocks is not None:
                masked_blocks = [mask_messages(block, self.placeholders[i]) for block in self.blocks[i]]
                pairs = list(zip(map(_block_text, self.blocks[i]), map(_block_text, masked_blocks), strict=True))
            else:
                decode = partial(tokenizer.decode, skip_special_tokens=True)
                spans = [turn.observation for turn in rollout[:-1]]
                observations = [self.completion_ids[i][span.start : span.stop] for span in spans]
                masked = masked_observations[i] if masked_observations else [None] * len(rollout)
                pairs = [(decode(o), decode(m or [])) for o, m in zip(observations, masked, strict=False)]
            texts.append(pairs if masked_observations else [(text, None) for text, _ in pairs])
        return texts


def _block_text(messages: list[dict]) -> str:
    return "\n".join(content_text(message["content"]) for message in messages)
