# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The definition of information gain in plain forwards, and what else tests of scoring share."""

import math
from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from trl_infopo import engines
from trl_infopo.turns import Turn, segment_turns


@torch.no_grad()
def naive_logps(model: nn.Module, ids: list[int], num_labels: int, temperature: float) -> torch.Tensor:
    """Log-probabilities over the vocabulary at the last `num_labels` tokens of one unpadded row."""
    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([ids], device=device)).logits[0].float()
    return (logits / temperature).log_softmax(-1)[-num_labels - 1 : -1]


def naive_gains(
    model: nn.Module,
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int] | None]],
    temperature: float = 1.0,
    estimator: str = "log_ratio",
) -> torch.Tensor:
    """The definition: two plain forwards for each turn that has feedback, its masked form and a following action."""
    gains = torch.full((len(turns), max(len(t) for t in turns)), math.nan)
    for rollout, (prompt, completion) in enumerate(zip(prompt_ids, completion_ids)):
        for k, turn in enumerate(turns[rollout][:-1]):
            masked = masked_observations[rollout][k]
            if masked is None:
                continue
            action = [completion[i] for i in turns[rollout][k + 1].action]
            before = prompt + completion[: turn.observation.start]
            observation = [completion[i] for i in turn.observation]
            factual, counterfactual = (
                naive_logps(model, before + o + action, len(action), temperature) for o in (observation, masked)
            )
            if estimator == "kl":
                summands = (factual.exp() * (factual - counterfactual)).sum(-1)
            else:
                summands = (factual - counterfactual)[range(len(action)), action]
            gains[rollout, k] = summands.mean()
    return gains


def assert_equal(actual: torch.Tensor, expected: torch.Tensor, tolerance: float):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance, equal_nan=True)


def rollout(action: list[int], observation: list[int], masked: list[int] | None, following: list[int]) -> dict:
    """One rollout of two turns, as arguments of `score_information_gain`."""
    action_mask = [1] * len(action) + [0] * len(observation) + [1] * len(following)
    return {
        "prompt_ids": [[5, 6, 7]],
        "completion_ids": [action + observation + following],
        "turns": [segment_turns(action_mask)],
        "masked_observations": [[masked, None]],
    }


@contextmanager
def recorded_rows(module: nn.Module):
    """How many vectors each call of a module gives back."""
    calls = []
    hook = module.register_forward_hook(lambda module, args, output: calls.append(output.shape[:-1].numel()))
    yield calls
    hook.remove()


@contextmanager
def recorded_forwards(model: nn.Module):
    """One entry per call of a model."""
    calls = []
    hook = model.register_forward_pre_hook(lambda module, args: calls.append(module))
    yield calls
    hook.remove()


def see_the_whole_trunk(mask: Callable) -> Callable:
    return lambda self, trunk_length, segment, position, start, first: mask(
        self, trunk_length, segment, position, torch.full_like(start, trunk_length), first
    )


def see_the_other_branches(mask: Callable) -> Callable:
    return lambda self, trunk_length, segment, position, start, first: mask(
        self, trunk_length, segment.clamp(max=0), position, start, first
    )


@contextmanager
def branch_tokens(value: int):
    """Let the tree engine run so many tokens of branches in a forward."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(engines, "BRANCH_TOKENS", value)
        yield
