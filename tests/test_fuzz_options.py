# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Options of any number and type: refused by name, or harmless."""

import math
import re
from dataclasses import fields
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from fuzzing import any_text, bounded, ends_within
from hypothesis import example, given
from hypothesis import strategies as st
from scripted_agents import make_scripted_trainer
from tiny_agents import CALLS, AskEnvironment, make_model, make_tokenizer
from tiny_models import random_rollouts, tiny_model
from trl import GRPOConfig

from trl_infopo import InfoPOConfig
from trl_infopo.fusion import fuse_advantages
from trl_infopo.information_gain import score_information_gain


OWN = list(InfoPOConfig.__annotations__)
INHERITED = [f.name for f in fields(GRPOConfig) if "float" in str(f.type)]
FLOATS = [math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 5e-324, 1e-320, 1e-40, 1e-30, 3e16, 1e30, 1e39, 1.7e308]
OTHERS = ["0.5", "false", "", "auto", "nan", None, True, False, 0, 1, -1, 1.5, 10**400, [], [0.5], {}, (1,), b"1", 1j]
OTHERS += [np.float64("nan"), np.float32(0.5), np.int64(2), np.bool_(True), np.array([1, 2]), torch.tensor(0.5)]
values = st.one_of(st.sampled_from(FLOATS), st.sampled_from(OTHERS), st.floats(), st.integers(), any_text)
quiet = {"use_cpu": True, "bf16": False, "report_to": "none"}


class TalkUser:
    def reply(self, messages):
        return "paris"


class TalkEnvironment(AskEnvironment):
    user: TalkUser

    def reset(self, **row):
        super().reset(**row)
        self.user = TalkUser()


def assert_names(error: BaseException, name: str, value) -> None:
    """It is a refusal that names the option and its value, and says more than that."""
    message = str(error)
    if not isinstance(error, ValueError) or not re.search(rf"`{name}`", message) or len(message) > 5000:
        raise AssertionError(f"{name} = {value!r}: {type(error).__name__}: {message[:500]}") from error
    assert repr(value)[:20] in message
    assert re.search(r"[Ss]et |choose|[Pp]ass|[Tt]ake|leave", message), message


def assert_trains(**options) -> None:
    """Two tool calls or messages with feedback, one step, finite weights."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    trainer = make_scripted_trainer(mkdtemp(), TalkEnvironment, model=model, **options)
    trainer.script = lambda rollout, k: ["hm", CALLS[rollout % 3], "please"][k % 3]
    with ends_within(60):
        trainer.train()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name


@bounded(40)
@given(name=st.sampled_from(OWN), value=values)
@example("info_gain_min_weight", np.float32(0.5))  # more than any weight
@example("info_gain_min_weight", np.float32(0.1))  # not with the default gate
def test_every_option_is_refused_by_name_or_harmless(name, value):
    try:
        InfoPOConfig(mkdtemp(), **{name: value}, **quiet)
    except Exception as error:
        assert_names(error, name, value)
        return
    # Without turns or with one, nothing is scored
    assert_trains(**{"info_gain_engine": "replay", name: value})


@pytest.mark.parametrize("name", INHERITED)
@pytest.mark.parametrize("value", [math.nan, np.float64("nan")])
def test_nan_is_no_option(name, value):
    value = [value] if name == "reward_weights" else value
    with pytest.raises(ValueError, match=rf"`{name}`|{name}") as error:
        InfoPOConfig(mkdtemp(), **{name: value}, **quiet)
    assert "nan" in str(error.value)


SCORING = {"engine": "auto", "estimator": "log_ratio", "temperature": 1.0, "batch_size": None}


@bounded(40)
@given(name=st.sampled_from(list(SCORING)), value=values)
def test_arguments_of_scoring_are_refused_by_name_or_harmless(name, value):
    arguments = {**SCORING, "engine": "replay", name: value}
    try:
        gains = score_information_gain(tiny_model("qwen3"), **random_rollouts(0), **arguments)
    except Exception as error:
        assert_names(error, name, value)
        return
    assert gains.shape == (3, 4)
    assert not gains.isnan().all()


FUSION = {
    "coef": 0.5,
    "temperature": 0.5,
    "gate": "variance",
    "normalization": "group",
    "granularity": "turn",
    "rescale": True,
    "only": False,
}
numbers = st.sampled_from([0.0, 1.0, -1.0, 0.1, 1e-30, 1e10, math.nan, math.inf, -math.inf])


def lists_of(values, rows: int, columns: int | None = None):
    row = values if columns is None else st.lists(values, min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows)


@bounded(40)
@given(
    name=st.sampled_from(list(FUSION)),
    value=values,
    gains=lists_of(numbers, 4, 3),
    lengths=lists_of(st.integers(0, 5), 4, 3),
    rewards=lists_of(st.sampled_from([0.0, 1.0, -5.0, 1e-8, math.nan]), 4),
)
def test_arguments_of_fusion_are_refused_by_name_or_harmless(name, value, gains, lengths, rewards):
    rewards = torch.tensor(rewards)
    outcome_advantages = (rewards - rewards.nanmean()).nan_to_num(0.0)
    try:
        fused = fuse_advantages(
            rewards,
            outcome_advantages,
            torch.tensor(gains),
            torch.tensor(lengths),
            2,
            **{**FUSION, name: value},
        )
    except Exception as error:
        assert_names(error, name, value)
        return
    for tensor in fused:
        assert tensor.isfinite().all(), fused


@pytest.mark.quick(2)
@pytest.mark.parametrize("estimator", ["log_ratio", "kl"])
@pytest.mark.parametrize("engine", ["replay", "tree"])
@bounded(10)
@given(
    masked=st.sets(st.integers(0, 127), max_size=128),
    logit=st.sampled_from([-math.inf, -1e38, 1e38, math.inf, math.nan]),
    temperature=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_gains_of_odd_logits_are_numbers_or_marked_as_infinite(engine, estimator, masked, logit, temperature):
    model = tiny_model("qwen3")
    masked = torch.tensor(sorted(masked), dtype=torch.long)

    def mask(module, inputs, logits):
        return logits.index_fill(-1, masked, logit)

    model.lm_head.register_forward_hook(mask)
    rollouts = random_rollouts(0)
    options = {"engine": engine, "estimator": estimator, "temperature": temperature}
    gains = score_information_gain(model, **rollouts, **options)
    scored = ~score_information_gain(tiny_model("qwen3"), **rollouts, **options).isnan()
    assert (~gains.isnan() == scored).all()  # NaN where a turn has no gain, and only there
    if estimator == "kl" and len(masked) < 128 and logit < 0:
        assert gains[scored].isfinite().all()
        assert (gains[scored] > -1e-4).all()
