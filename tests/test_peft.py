# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters: which are trained, that gains are scored with them on, and what the reference is."""

import math

import pytest
import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tiny_agents import make_model, make_tokenizer
from trainer_helpers import make_trainer

from trl_infopo import infopo_trainer
from trl_infopo.information_gain import score_information_gain


TARGETS = {"r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
NEW_ADAPTERS = {
    "lora": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "dropout": {"lora_dropout": 0.2},
    "with embeddings": {"modules_to_save": ["lm_head"]},
    "all linear": {"target_modules": "all-linear"},
}
PROMPT_LEARNING = {
    "prompt tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prefix tuning": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}


class Scoring:
    """What a trainer scored, and what the base model alone would have."""

    def __init__(self, monkeypatch):
        self.gains, self.base_gains, self.active = [], [], []
        monkeypatch.setattr(infopo_trainer, "score_information_gain", self)

    def __call__(self, model, *args, **kwargs):
        gains = score_information_gain(model, *args, **kwargs)
        self.active.append(model.active_adapter)
        self.gains.append(gains)
        with model.disable_adapter():
            base = model.get_base_model()
            self.base_gains.append(score_information_gain(base, *args, **{**kwargs, "factual_logps": None}))
        return gains


def train(trainer) -> list[str]:
    """The names of the parameters that training changed."""
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    return [name for name, parameter in trainer.model.named_parameters() if not torch.equal(parameter, before[name])]


def assert_finite(trainer) -> None:
    for log in trainer.state.log_history:
        for name, value in log.items():
            assert value is None or math.isfinite(value), name


def pretrained(tmp_path, **kwargs) -> PeftModel:
    """A policy with an adapter that does something, from a directory."""
    torch.manual_seed(1)
    model = get_peft_model(make_model(make_tokenizer()), LoraConfig(**TARGETS, init_lora_weights=False))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.mul_(0.3)
    model.save_pretrained(tmp_path / "adapter")
    return PeftModel.from_pretrained(make_model(make_tokenizer()), tmp_path / "adapter", is_trainable=True, **kwargs)


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", NEW_ADAPTERS)
def test_only_the_adapter_is_trained(tmp_path, monkeypatch, name):
    scoring = Scoring(monkeypatch)
    config = LoraConfig(**{**TARGETS, **NEW_ADAPTERS[name]})
    trainer = make_trainer(tmp_path, "rollout_func", options={"learning_rate": 1e-2}, peft_config=config)
    changed = train(trainer)
    assert changed
    assert all("lora_" in parameter or "modules_to_save" in parameter for parameter in changed)
    assert any("lora_magnitude_vector" in parameter for parameter in changed) == (name == "dora")
    assert trainer.info_gain_engine == "tree"
    assert_finite(trainer)
    # A new adapter does nothing yet; afterwards the gains are those of the policy, not of its base
    torch.testing.assert_close(scoring.gains[0], scoring.base_gains[0], equal_nan=True, atol=1e-5, rtol=0)
    assert (scoring.gains[-1] - scoring.base_gains[-1]).nan_to_num().abs().max() > 1e-4


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_pretrained_adapter_is_scored_switched_on(tmp_path, monkeypatch, beta):
    scoring = Scoring(monkeypatch)
    trainer = make_trainer(
        tmp_path, "rollout_func", model=pretrained(tmp_path), options={"beta": beta, "learning_rate": 1e-2}
    )
    has_reference = "ref" in trainer.model.peft_config
    assert has_reference == (beta > 0)
    reference = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if ".ref." in n}
    changed = train(trainer)
    assert changed
    assert all(".default." in parameter for parameter in changed)
    assert set(scoring.active) == {"default"}
    assert (scoring.gains[0] - scoring.base_gains[0]).nan_to_num().abs().max() > 1e-3
    if beta > 0:
        after = dict(trainer.model.named_parameters())
        assert all(torch.equal(after[name], value) for name, value in reference.items())
        kl = [log["kl"] for log in trainer.state.log_history if "kl" in log]
        assert kl[0] == pytest.approx(0, abs=1e-6)  # the reference is the adapter as it was, not the base model
        assert kl[-1] > 1e-6
    assert_finite(trainer)


def test_a_new_adapter_has_its_base_model_as_reference(tmp_path, monkeypatch):
    scoring = Scoring(monkeypatch)
    config = LoraConfig(**TARGETS)
    trainer = make_trainer(tmp_path, "rollout_func", options={"beta": 0.1, "learning_rate": 1e-2}, peft_config=config)
    assert train(trainer)
    assert set(trainer.model.peft_config) == set(scoring.active) == {"default"}
    kl = [log["kl"] for log in trainer.state.log_history if "kl" in log]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[-1] > 1e-6


def test_an_adapter_on_top_of_the_policy_gains_as_the_merged_model(tmp_path, monkeypatch):
    """The same policy in two forms: with its adapter, and with the adapter merged into the weights."""
    gains = []
    for form in ("adapter", "merged"):
        scored = []

        def score(*args, scored=scored, **kwargs):
            scored.append(score_information_gain(*args, **kwargs))
            return scored[-1]

        monkeypatch.setattr(infopo_trainer, "score_information_gain", score)
        model = pretrained(tmp_path)
        model = model.merge_and_unload() if form == "merged" else model
        make_trainer(tmp_path / form, "rollout_func", model=model, options={"max_steps": 1}).train()
        gains.append(scored[0])
    torch.testing.assert_close(*gains, equal_nan=True, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PROMPT_LEARNING)
def test_prompt_learning_is_scored_by_replay(tmp_path, name):
    options = {"learning_rate": 1e-2, "gradient_checkpointing": False}
    trainer = make_trainer(tmp_path, "rollout_func", options=options, peft_config=PROMPT_LEARNING[name])
    changed = train(trainer)
    assert changed
    assert all("prompt_encoder" in parameter for parameter in changed)
    assert trainer.info_gain_engine == "replay"
    assert_finite(trainer)


@pytest.mark.parametrize("name", PROMPT_LEARNING)
def test_the_tree_engine_refuses_prompt_learning(tmp_path, name):
    with pytest.raises(ValueError, match="`info_gain_engine` is 'tree', but .* virtual tokens .* 'replay'"):
        make_trainer(tmp_path, "rollout_func", options={"info_gain_engine": "tree"}, peft_config=PROMPT_LEARNING[name])


@pytest.mark.quick(1)
@pytest.mark.parametrize("engine", ["tree", "replay"])
def test_qlora(tmp_path, engine):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    # Rows of whole blocks of 64 weights
    make_model(make_tokenizer(), hidden_size=64, intermediate_size=128).save_pretrained(tmp_path / "policy")
    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        model=str(tmp_path / "policy"),
        options={"learning_rate": 1e-2, "info_gain_engine": engine},
        peft_config=LoraConfig(**TARGETS),
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    )
    layers = [module for module in trainer.model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    for layer in layers:
        # On some CPUs, bitsandbytes 0.50 packs the weights of a model in eval mode, and gives no gradients ever after
        layer.support_avx512bf16_for_cpu = False
    changed = train(trainer)
    assert changed
    assert all("lora_" in parameter for parameter in changed)
    assert_finite(trainer)
    logs = [log for log in trainer.state.log_history if "infopo/information_gain/std" in log]
    assert all(log["infopo/information_gain/std"] > 0 for log in logs)
