# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the tokens alone ask of scoring: a forward pass over trajectories, and how many more tokens gains need."""

import torch
from transformers import LlamaForCausalLM

from trl_infopo.turns import Turn


CHUNK_SIZE = 1024  # states that a forward pass takes through the LM head at a time


@torch.no_grad()
def plain_forward(
    model: LlamaForCausalLM,
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int]]],
) -> torch.Tensor:
    """Log-probabilities of all action tokens of trajectories that have the same turns."""
    input_ids = torch.tensor([p + c for p, c in zip(prompt_ids, completion_ids)], device=model.device)
    positions = torch.tensor([len(prompt_ids[0]) + i for turn in turns[0] for i in turn.action], device=model.device)
    states = model.model(input_ids, use_cache=False).last_hidden_state[:, positions - 1].flatten(0, 1)
    labels = input_ids[:, positions].flatten()[:, None]
    logps = []
    for chunk, chunk_labels in zip(states.split(CHUNK_SIZE), labels.split(CHUNK_SIZE)):
        logits = model.lm_head(chunk).float()
        logps.append(logits.gather(1, chunk_labels)[:, 0] - logits.logsumexp(-1))
    return torch.cat(logps)


def token_limit(
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int]]],
) -> float:
    """
    The limit of scoring in forwards over the trajectories, if a forward took time by its tokens alone: each trajectory
    once, and each masked observation with the action that follows, `1 + Σ (|õ| + |a|) / S`.
    """
    num_tokens = sum(map(len, prompt_ids)) + sum(map(len, completion_ids))
    more = sum(
        len(masked) + len(following.action)
        for rollout, observations in zip(turns, masked_observations)
        for masked, following in zip(observations, rollout[1:])
    )
    return 1 + more / num_tokens
