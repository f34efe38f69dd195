# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import ctypes
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_scoring import (
    assert_equal,
    branch_tokens,
    naive_gains,
    naive_logps,
    recorded_forwards,
    recorded_rows,
    rollout,
)
from tiny_models import TREE_MODELS, VOCAB_SIZE, random_rollouts, tiny_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from trl.trainer.utils import add_fused_lm_head

from trl_infopo import engines, information_gain
from trl_infopo.causal_lm import CausalLM
from trl_infopo.information_gain import score_information_gain
from trl_infopo.turns import segment_turns


ENGINES = ["tree", "replay"]
ESTIMATORS = ["log_ratio", "kl"]


# ----------------------------------------------------------------------------------- long trajectories, in pieces


@pytest.mark.quick(8)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", TREE_MODELS)
def test_gains_do_not_depend_on_how_branches_are_packed(name, estimator):
    model, rollouts = tiny_model(name), random_rollouts(seed=4, num_rollouts=4, max_turns=8)
    arguments = {**rollouts, "engine": "tree", "estimator": estimator, "batch_size": 3}
    expected = score_information_gain(model, **arguments)
    for value in (10, 40):
        with branch_tokens(value):
            assert_equal(score_information_gain(model, **arguments), expected, 1e-5)


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([None, 1, 2]), st.integers(1, 100))
@settings(max_examples=25, deadline=None)
def test_any_packing_agrees_with_the_definition(seed, num_rollouts, batch_size, value):
    model, rollouts = tiny_model("qwen2_mixed_sliding"), random_rollouts(seed, num_rollouts, max_turns=6)
    with branch_tokens(value):
        gains = score_information_gain(model, **rollouts, engine="tree", batch_size=batch_size)
    assert_equal(gains, naive_gains(model, **rollouts), 1e-4)


@pytest.mark.parametrize("value", [1, 7, 30])
@pytest.mark.parametrize("name", ["qwen3", "mistral_sliding", "gpt_oss"])
def test_packing_changes_nothing_in_eager_attention(name, value):
    model, rollouts = tiny_model(name, attn_implementation="eager"), random_rollouts(seed=2)
    with branch_tokens(value):
        gains = score_information_gain(model, **rollouts, engine="tree")
    assert_equal(gains, naive_gains(model, **rollouts), 1e-4)


def long_rollout(num_turns: int, prompt: int = 64, action: int = 24, observation: int = 40) -> dict[str, list]:
    """One trajectory of many turns, as arguments of `score_information_gain`."""
    generator = torch.Generator().manual_seed(0)
    action_mask = [1] * action + ([0] * observation + [1] * action) * (num_turns - 1)
    ids = torch.randint(3, VOCAB_SIZE, (prompt + len(action_mask) + 12,), generator=generator).tolist()
    return {
        "prompt_ids": [ids[:prompt]],
        "completion_ids": [ids[prompt:-12]],
        "turns": [segment_turns(action_mask)],
        "masked_observations": [[ids[-12:]] * num_turns],
    }


class LargestTensor(TorchDispatchMode):
    """The largest number of elements that an operation made, views apart."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and output.untyped_storage().nbytes() >= output.numel():
            self.numel = max(self.numel, output.numel())
        return output


@pytest.mark.quick(2)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("engine", ENGINES)
def test_no_tensor_grows_with_the_square_of_the_length(engine, estimator, monkeypatch):
    monkeypatch.setattr(information_gain, "LOGITS_IN_MEMORY", 2**13)
    monkeypatch.setattr(engines, "BRANCH_TOKENS", 64)
    model, largest = tiny_model("qwen3", max_position_embeddings=8192), {}
    for num_turns in (16, 32):
        rollout = long_rollout(num_turns)
        with LargestTensor() as mode:
            score_information_gain(model, **rollout, engine=engine, estimator=estimator, batch_size=1)
        largest[num_turns] = mode.numel
        num_tokens = len(rollout["prompt_ids"][0]) + len(rollout["completion_ids"][0])
        # Masks have 64 rows, the MLP 96 values a token; S x S would be more than 1000 values a token, all logits 128
        assert mode.numel <= 100 * (num_tokens + 64)
    assert largest[32] <= 2.1 * largest[16]


def test_a_branch_longer_than_a_forward_goes_in_pieces():
    model, rollout = tiny_model("qwen3"), long_rollout(3, action=90)
    with branch_tokens(32), recorded_rows(model.get_input_embeddings()) as forwards:
        gains = score_information_gain(model, **rollout, engine="tree")
    assert_equal(gains, naive_gains(model, **rollout), 1e-4)
    assert len(forwards) > 3
    assert max(forwards[1:]) <= 32


def test_a_gpu_gets_the_same_gains_in_fewer_passes(monkeypatch):
    model, rollout = tiny_model("qwen3", max_position_embeddings=2048), long_rollout(16, action=40)
    forwards = {}
    for on_gpu in (False, True):
        monkeypatch.setattr(CausalLM, "on_gpu", on_gpu)
        with recorded_forwards(model) as forwards[on_gpu]:
            gains = score_information_gain(model, **rollout, engine="tree")
        assert_equal(gains, naive_gains(model, **rollout), 1e-4)
    assert len(forwards[True]) < len(forwards[False])


def test_branches_need_no_more_of_the_trunk_than_what_they_see(monkeypatch):
    widths, mask = [], CausalLM.attention_mask

    def recorded(self, trunk_length, *args, **kwargs):
        widths.append(trunk_length)
        return mask(self, trunk_length, *args, **kwargs)

    monkeypatch.setattr(CausalLM, "attention_mask", recorded)
    model, rollout = tiny_model("qwen3", max_position_embeddings=4096), long_rollout(12)
    with branch_tokens(40):  # one branch in a forward
        score_information_gain(model, **rollout, engine="tree")
    assert widths == [64 + turn.observation.start for turn in reversed(rollout["turns"][0][:-1])]


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, rollout: dict[str, list]):
    """An update as TRL does it: fused LM head, gradient checkpointing."""
    input_ids = torch.tensor([rollout["prompt_ids"][0] + rollout["completion_ids"][0]])
    model.train()
    model(input_ids=input_ids, labels=input_ids, fused_lm_head=True, use_cache=False).log_probs.sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Resident memory is read from Linux's /proc.")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_long_trajectory_scores_within_the_memory_of_its_training_step(estimator):
    def peak_mib(function: Callable) -> float:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_peak()
        function()
        return (resident_peak() - before) / 2**10

    def resident_peak() -> int:
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

    rollout = long_rollout(50, prompt=1152, action=100, observation=208)
    num_tokens = len(rollout["prompt_ids"][0]) + len(rollout["completion_ids"][0])
    assert num_tokens > 16_000
    size = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "vocab_size": 8192}
    model = tiny_model("llama", max_position_embeddings=32768, initializer_range=0.02, **size)
    scoring = peak_mib(lambda: score_information_gain(model, **rollout, engine="tree", estimator=estimator))
    add_fused_lm_head(model)
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters())
    training = peak_mib(lambda: train_step(model, optimizer, rollout))
    assert scoring <= training


# ------------------------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_logits_stay_within_their_budget(estimator, engine, monkeypatch):
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1, num_rollouts=4)
    arguments = {**rollouts, "engine": engine, "estimator": estimator, "batch_size": 4}
    expected = score_information_gain(model, **arguments)
    monkeypatch.setattr(information_gain, "LOGITS_IN_MEMORY", 6 * VOCAB_SIZE)
    with recorded_rows(model.lm_head) as calls:
        gains = score_information_gain(model, **arguments)
    assert_equal(gains, expected, 1e-5)
    assert max(calls) <= 6
    assert len(calls) > 5


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_known_log_probabilities_save_the_factual_forward(temperature):
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1, num_rollouts=4)
    lengths = [len(completion) for completion in rollouts["completion_ids"]]
    factual_logps = torch.full((4, max(lengths)), math.nan)
    for row, (prompt, completion) in enumerate(zip(rollouts["prompt_ids"], rollouts["completion_ids"])):
        logps = naive_logps(model, prompt + completion, len(completion), temperature)
        factual_logps[row, : len(completion)] = logps[range(len(completion)), completion]

    arguments = {**rollouts, "engine": "replay", "temperature": temperature}
    with recorded_rows(model.get_input_embeddings()) as forwards:
        expected = score_information_gain(model, **arguments)
    with recorded_rows(model.get_input_embeddings()) as fewer_forwards:
        gains = score_information_gain(model, **arguments, factual_logps=factual_logps)
    assert_equal(gains, expected, 1e-4)
    assert len(fewer_forwards) == len(forwards) - 1

    # They are of no use to the others
    for options in ({"engine": "tree"}, {"engine": "replay", "estimator": "kl"}):
        arguments = {**rollouts, "temperature": temperature, **options}
        gains = score_information_gain(model, **arguments, factual_logps=factual_logps * math.nan)
        assert_equal(gains, score_information_gain(model, **arguments), 0)


def test_tree_runs_two_forwards_a_batch():
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1, num_rollouts=4)
    with recorded_rows(model.get_input_embeddings()) as forwards:
        score_information_gain(model, **rollouts, engine="tree")
    assert len(forwards) == 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_more_work_on_another_process_leaves_the_gains_alone(engine, estimator):
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1)
    arguments = {**rollouts, "engine": engine, "estimator": estimator, "batch_size": 2}
    with recorded_forwards(model) as forwards:
        expected = score_information_gain(model, **arguments)
    with recorded_forwards(model) as more_forwards:
        gains = score_information_gain(model, **arguments, max_over_processes=lambda counts: [n + 2 for n in counts])
    assert_equal(gains, expected, 0)
    assert len(more_forwards) > len(forwards)


@pytest.mark.quick(4)
@pytest.mark.parametrize("branch_tokens", [engines.BRANCH_TOKENS, 12])
@pytest.mark.parametrize("with_factual_logps", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_process_runs_the_same_number_of_forwards(engine, with_factual_logps, branch_tokens, monkeypatch):
    monkeypatch.setattr(information_gain, "LOGITS_IN_MEMORY", 6 * VOCAB_SIZE)
    monkeypatch.setattr(engines, "BRANCH_TOKENS", branch_tokens)
    model = tiny_model("qwen3")
    empty = {
        "prompt_ids": [[5]],
        "completion_ids": [[6]],
        "turns": [segment_turns([1])],
        "masked_observations": [[None]],
    }
    processes = [random_rollouts(1, num_rollouts=5), random_rollouts(2, num_rollouts=2), empty]
    options = {"engine": engine, "batch_size": 2}
    if with_factual_logps:
        options["factual_logps"] = torch.zeros(5, 200)

    counts_of_processes = []
    for rollouts in processes:
        score_information_gain(
            model,
            **rollouts,
            **options,
            max_over_processes=lambda counts: counts_of_processes.append(counts) or counts,
        )
    most = [max(counts) for counts in zip(*counts_of_processes)]
    assert most != counts_of_processes[1]

    num_forwards = []
    for rollouts in processes:
        with recorded_forwards(model) as forwards:
            gains = score_information_gain(model, **rollouts, **options, max_over_processes=lambda counts: most)
        num_forwards.append(len(forwards))
        assert_equal(gains, score_information_gain(model, **rollouts, **options), 1e-5)
    assert len(set(num_forwards)) == 1
    assert num_forwards[0] > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_no_work_on_any_process_costs_no_forward(engine):
    model, arguments = tiny_model("qwen3"), rollout([10], [20], None, [50])
    with recorded_forwards(model) as forwards:
        gains = score_information_gain(model, **arguments, engine=engine, max_over_processes=lambda counts: counts)
    assert gains.isnan().all()
    assert forwards == []
