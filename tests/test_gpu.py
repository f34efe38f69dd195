# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What is different on a GPU: kernels, half precision, FlashAttention, TRL's fused LM head. Skipped without one."""

import math

import pytest
import torch
from naive_scoring import assert_equal, naive_gains
from peft import LoraConfig
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from tiny_models import random_rollouts, tiny_model
from trainer_helpers import logged, make_trainer, parameters
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available
from transformers.utils.import_utils import is_flash_attn_4_available
from trl import GRPOTrainer

from trl_infopo.evaluation import evaluate
from trl_infopo.information_gain import HALF_PRECISION_PROBE_TOLERANCE, score_information_gain, select_engine


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ON_GPU = {"use_cpu": False}
ENGINES = ["tree", "replay"]
ATTENTIONS = ["sdpa", "eager", "flex_attention"]


@pytest.fixture
def flash_attention() -> str:
    """The newest FlashAttention that is installed."""
    installed = {2: is_flash_attn_2_available(), 3: is_flash_attn_3_available(), 4: is_flash_attn_4_available()}
    if not any(installed.values()):
        pytest.skip("no FlashAttention is installed")
    return f"flash_attention_{max(number for number, is_there in installed.items() if is_there)}"


# ----------------------------------------------------------------------------------------------------------- scoring


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("estimator", ["log_ratio", "kl"])
def test_agrees_with_the_definition(estimator, attention, engine):
    model, rollouts = tiny_model("qwen3", attn_implementation=attention).cuda(), random_rollouts(seed=1)
    expected = naive_gains(tiny_model("qwen3").cuda(), **rollouts, estimator=estimator)
    gains = score_information_gain(model, **rollouts, engine=engine, estimator=estimator)
    assert_equal(gains.cpu(), expected, 1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["gemma3_text", "gpt_oss", "qwen3_moe"])
def test_other_architectures_agree_with_the_definition(name, engine):
    model, rollouts = tiny_model(name).cuda(), random_rollouts(seed=2)
    gains = score_information_gain(model, **rollouts, engine=engine)
    assert_equal(gains.cpu(), naive_gains(model, **rollouts), 1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_half_precision_is_as_good_as_the_definition_in_it(attention):
    rollouts = random_rollouts(seed=3, num_rollouts=8)
    exact = naive_gains(tiny_model("qwen3").cuda(), **rollouts)
    model = tiny_model("qwen3", attn_implementation=attention).cuda().bfloat16()
    assert select_engine(model)[0] == "tree"

    def error(gains: torch.Tensor) -> float:
        return (gains.cpu() - exact).nan_to_num(0.0).square().mean().sqrt().item()

    assert error(score_information_gain(model, **rollouts, engine="tree")) < 1.5 * error(
        naive_gains(tiny_model("qwen3").cuda().bfloat16(), **rollouts)
    )


def test_flash_attention_is_scored_with_tree_and_comes_back(flash_attention):
    model = tiny_model("qwen3", attn_implementation=flash_attention, head_dim=64).cuda().bfloat16()
    rollouts = random_rollouts(seed=4)
    engine, reason = select_engine(model)
    assert engine == "tree", reason
    assert f"'sdpa' attention replaces {flash_attention!r}" in reason
    gains = score_information_gain(model, **rollouts, engine=engine)
    assert model.config._attn_implementation == flash_attention
    assert_equal(gains.cpu(), naive_gains(model, **rollouts), HALF_PRECISION_PROBE_TOLERANCE)


# ---------------------------------------------------------------------------------------------------------- training


def assert_learns_from_gains(trainer) -> None:
    before = parameters(trainer)
    trainer.train()
    assert trainer.info_gain_engine == "tree"
    assert all(value > 0 for value in logged(trainer, "infopo/information_gain/std"))
    assert all(
        math.isfinite(value) for log in trainer.state.log_history for value in log.values() if value is not None
    )
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True))


@pytest.mark.parametrize("mode", ["environment", "environments", "tools", "rollout_func"])
def test_trains_in_mixed_precision(mode, tmp_path):
    assert_learns_from_gains(make_trainer(tmp_path, mode, options={**ON_GPU, "bf16": True}))


def test_zero_coef_is_grpo(tmp_path):
    options = {**ON_GPU, "full_determinism": True}
    grpo = make_trainer(tmp_path / "grpo", trainer_class=GRPOTrainer, options=options)
    grpo.train()
    infopo = make_trainer(tmp_path / "infopo", options={**options, "info_gain_coef": 0.0})
    infopo.train()
    for one, other in zip(parameters(grpo), parameters(infopo), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_trains_an_adapter_with_checkpointed_activations(tmp_path):
    lora = LoraConfig(target_modules="all-linear")
    options = {**ON_GPU, "bf16": True, "gradient_checkpointing": True}
    assert_learns_from_gains(make_trainer(tmp_path, options=options, peft_config=lora))


def test_trains_on_with_flash_attention(flash_attention, tmp_path):
    model = make_model(make_tokenizer(), head_dim=64)
    model.set_attn_implementation(flash_attention)
    trainer = make_trainer(tmp_path, model=model.bfloat16(), options={**ON_GPU, "bf16": True, "learning_rate": 0.1})
    assert_learns_from_gains(trainer)
    assert trainer.model.config._attn_implementation == flash_attention


def test_a_policy_is_evaluated(tmp_path):
    tokenizer = make_tokenizer()
    rows = [{"prompt": [{"role": "user", "content": f"go {i}"}], "city": "paris"} for i in range(4)]
    policy = make_model(tokenizer).cuda(), tokenizer
    evaluation = evaluate(policy, {"user": AskEnvironment}, rows, max_turns=3, show_progress=False)
    assert len(evaluation.records) == 4
