# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A language model that acts on token ids."""

from collections.abc import Callable

from .episodes import Episode, StopReason


class TokenPolicy:
    """
    Lets a language model act on token ids: what it sampled is never tokenized again.

    Args:
        generate (`Callable[[list[list[int]]], tuple[list[list[int]], list[list[float]] | None]]`):
            Samples one continuation per context, with the log-probabilities of its tokens if there are any. It is
            called once a round, with no contexts where no episode goes on.
        parse (`Callable[[Episode, list[int], list[int]], dict]`):
            Makes the assistant message from the episode, the sampled ids and the context before them.
        render (`Callable[[list[dict]], list[int]]`):
            Converts feedback to token ids, including the generation prompt for the next action.
        eos_token_ids (`list[int]`):
            Tokens that end an action.
        max_completion_length (`int`):
            Largest number of tokens of a completion, feedback included.
        max_model_length (`int`):
            Length of the model's context in tokens.
        is_malformed (`Callable[[list[int], dict], bool]`, *optional*):
            Whether sampled ids hold a tool call that their message lacks. If `None`, none does.
    """

    def __init__(
        self,
        generate: Callable[[list[list[int]]], tuple[list[list[int]], list[list[float]] | None]],
        parse: Callable[[Episode, list[int], list[int]], dict],
        render: Callable[[list[dict]], list[int]],
        *,
        eos_token_ids: list[int],
        max_completion_length: int,
        max_model_length: int,
        is_malformed: Callable[[list[int], dict], bool] | None = None,
    ):
        self.generate = generate
        self.parse = parse
        self.is_malformed = is_malformed
        self.render = render
        self.eos_token_ids = eos_token_ids
        self.max_completion_length = max_completion_length
        self.max_model_length = max_model_length

    def __call__(self, episodes: list[Episode]) -> None:
        acting, contexts = [], []
        for episode in episodes:
            feedback_ids = self.render(episode.feedback) if episode.feedback else []
            if len(episode.completion_ids) + len(feedback_ids) >= self._budget(episode):
                episode.stop_reason = StopReason.MAX_TOKENS
                continue
            acting.append((episode, feedback_ids))
            contexts.append(episode.prompt_ids + episode.completion_ids + feedback_ids)
        sampled_ids, logprobs = self.generate(contexts)
        for i, (episode, feedback_ids) in enumerate(acting):
            if not sampled_ids[i]:
                episode.stop_reason = StopReason.MAX_TOKENS
                continue
            episode.completion_ids += feedback_ids
            episode.action_mask += [0] * len(feedback_ids)
            if episode.logprobs is not None:
                episode.logprobs += [0.0] * len(feedback_ids)
            room = self._budget(episode) - len(episode.completion_ids)
            ids = sampled_ids[i][:room]
            message = self.parse(episode, ids, contexts[i])
            self.record(episode, message, ids, None if logprobs is None else logprobs[i][:room])

    def record(self, episode: Episode, message: dict, ids: list[int], logprobs: list[float] | None) -> None:
        """
        Add an action to an episode, which ends there if the action was cut off.

        Args:
            episode ([`Episode`]):
                Episode, changed in place.
            message (`dict`):
                The assistant message that was parsed from `ids`.
            ids (`list[int]`):
                Token ids that the policy sampled.
            logprobs (`list[float]`, *optional*):
                Their log-probabilities.
        """
        episode.act(message, self.is_malformed is not None and self.is_malformed(ids, message))
        episode.completion_ids += ids
        episode.action_mask += [1] * len(ids)
        if logprobs is not None:
            episode.logprobs = (episode.logprobs or []) + logprobs
        if len(episode.completion_ids) >= self._budget(episode) and ids[-1] not in self.eos_token_ids:
            episode.stop_reason = StopReason.MAX_TOKENS

    def _budget(self, episode: Episode) -> int:
        """Number of tokens that the completion may have."""
        return min(self.max_completion_length, self.max_model_length - len(episode.prompt_ids))
