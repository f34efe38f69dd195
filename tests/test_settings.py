# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The settings that are shipped move the weights, and those that do not are told."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from tiny_agents import make_model, make_tokenizer
from trainer_helpers import make_trainer
from trl import ModelConfig, TrlParser, get_peft_config

from trl_infopo import InfoPOConfig
from trl_infopo.scripts.train import TrainArguments


ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "examples" / "recipes"
# One of each way to train: all weights, an adapter, the smallest learning rate, on a CPU
CONFIGS = ["clarify.yaml", "clarify_lora.yaml", "paper_user_games.yaml", "cpu_clarify.yaml"]
LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """A tiny model with weights as large as those of real ones."""
    path = tmp_path_factory.mktemp("policy")
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, initializer_range=0.02)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def rank_reward(completions, **kwargs) -> list[float]:
    """No two rollouts of a group tie."""
    return [float(i % 4) for i in range(len(completions))]


def share_of_moved_weights(policy: Path, output_dir: Path, config: str, *arguments: str) -> float:
    """Of the matrices that one step with an example's settings trains, the share of weights that it changes."""
    parser = TrlParser((TrainArguments, InfoPOConfig, ModelConfig))
    path = str(RECIPES / config)
    _, shipped, model_args = parser.parse_args_and_config(["--config", path, "--use_cpu", "True", *arguments])
    options = {name: getattr(shipped, name) for name in ("learning_rate", "bf16", "optim", "lr_scheduler_type")}
    trainer = make_trainer(
        output_dir,
        "plain",
        model=str(policy),
        reward_funcs=rank_reward,
        peft_config=get_peft_config(model_args),
        options=options | {"max_steps": 1, "temperature": 3.0, "model_init_kwargs": {"dtype": model_args.dtype}},
    )
    trained = {
        name: (weight, weight.detach().clone())
        for name, weight in trainer.model.named_parameters()
        if weight.requires_grad and weight.dim() > 1
    }
    trainer.train()
    # What has no gradient does not move: embeddings of tokens that did not occur, A of an adapter whose B is zero
    moved = [
        changed[changed.any(dim=1)] if "embed" in name else changed
        for name, changed in ((name, after != before) for name, (after, before) in trained.items())
        if "lora_A" not in name
    ]
    return torch.cat([changed.flatten().float() for changed in moved]).mean().item()


@pytest.mark.parametrize("config", CONFIGS)
def test_shipped_settings_move_the_weights(policy, tmp_path, config):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*learning_rate.*")
        assert share_of_moved_weights(policy, tmp_path, config) > 0.99


def test_pure_bfloat16_does_not_move_the_weights_and_is_told(policy, tmp_path):
    with pytest.warns(
        UserWarning, match=r"(?s)`learning_rate` is 1e-06 and the weights are bfloat16: .* only \d\.\d%"
    ):
        share = share_of_moved_weights(policy, tmp_path, "clarify.yaml", "--dtype", "bfloat16")
    assert share < 0.1


def told(caught) -> list[str]:
    return [str(warning.message) for warning in caught if "`learning_rate` is" in str(warning.message)]


@pytest.mark.parametrize(
    ("dtype", "learning_rate", "peft_config", "expected"),
    [
        (torch.bfloat16, 3e-7, None, "weights are bfloat16"),
        (torch.float16, 1e-7, None, "weights are float16"),
        (torch.bfloat16, 1e-2, None, None),
        (torch.float32, 1e-7, None, None),
        (torch.float32, 1e-12, None, "weights are float32"),
        (torch.bfloat16, 0.0, None, None),
        (torch.float32, 1e-6, LORA, "an adapter is trained.* set `learning_rate=1e-05` or more"),
        (torch.float32, 3e-7, LORA, "an adapter is trained"),
        (torch.bfloat16, 1e-5, LORA, None),
        (torch.float32, 2e-4, LORA, None),
    ],
)
def test_learning_rate_that_is_too_small_is_told(tmp_path, dtype, learning_rate, peft_config, expected):
    model = make_model(make_tokenizer()).to(dtype)
    options = {"learning_rate": learning_rate}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_trainer(tmp_path, model=model, peft_config=peft_config, options=options)
    messages = told(caught)
    assert len(messages) == (expected is not None)
    assert expected is None or re.search(expected, messages[0])
