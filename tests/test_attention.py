# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

from itertools import groupby

import maskless_attention  # noqa: F401
import pytest
import torch
from datasets import Dataset
from naive_scoring import assert_equal, branch_tokens, naive_gains, see_the_other_branches, see_the_whole_trunk
from peft import LoraConfig, get_peft_model
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from tiny_models import random_rollouts, tiny_model
from torch.nn.attention.flex_attention import BlockMask
from transformers.integrations import flex_attention

from trl_infopo import InfoPOConfig, InfoPOTrainer, engines, information_gain
from trl_infopo.causal_lm import CausalLM
from trl_infopo.information_gain import score_information_gain, select_engine


ENGINES = ["tree", "replay"]


# ------------------------------------------------------------------- attention that accepts no custom mask


def maskless_model(name: str):
    model = tiny_model(name)
    model.set_attn_implementation("maskless")
    return model


@pytest.mark.parametrize("estimator", ["log_ratio", "kl"])
@pytest.mark.parametrize("name", ["qwen3", "llama", "qwen3_moe"])
def test_tree_serves_attention_without_masks_of_our_own(name, estimator):
    model, rollouts = maskless_model(name), random_rollouts(seed=2)
    expected = naive_gains(model, **rollouts, estimator=estimator)
    engine, reason = select_engine(model)
    assert (engine, model.config._attn_implementation) == ("tree", "maskless")
    assert "'sdpa' attention replaces 'maskless'" in reason
    gains = score_information_gain(model, **rollouts, engine=engine, estimator=estimator)
    assert_equal(gains, expected, information_gain.PROBE_TOLERANCE)
    assert model.config._attn_implementation == "maskless"


def test_tree_serves_an_adapter_on_attention_without_masks_of_our_own():
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model, rollouts = get_peft_model(maskless_model("qwen3"), lora), random_rollouts(seed=2)
    expected = naive_gains(model, **rollouts)
    assert select_engine(model)[0] == "tree"
    assert_equal(score_information_gain(model, **rollouts, engine="tree"), expected, information_gain.PROBE_TOLERANCE)
    assert model.get_base_model().config._attn_implementation == "maskless"


def test_attention_comes_back_where_scoring_fails():
    model = maskless_model("qwen3")
    ids = [[10**6]]  # outside the vocabulary
    with pytest.raises(IndexError):
        score_information_gain(model, **(random_rollouts(seed=2, num_rollouts=1) | {"prompt_ids": ids}), engine="tree")
    assert model.config._attn_implementation == "maskless"


def test_a_model_trains_on_with_the_attention_it_had(tmp_path):
    """The forwards of generation and of the loss are the configured attention's, those of branches are not."""
    attentions = []
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    model.set_attn_implementation("maskless")
    model.register_forward_pre_hook(lambda module, args: attentions.append(module.config._attn_implementation))
    args = InfoPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=150,
        max_steps=1,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        use_cpu=True,
    )
    rows = [{"prompt": [{"role": "user", "content": f"go {i}"}], "city": "paris"} for i in range(4)]
    trainer = InfoPOTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        environment_factory=AskEnvironment,
        processing_class=tokenizer,
    )
    trainer.train()
    assert trainer.info_gain_engine == "tree"
    assert trainer.state.log_history[0]["infopo/information_gain/std"] > 0
    assert [name for name, _ in groupby(attentions)] == ["maskless", "sdpa", "maskless"]


def test_a_model_with_one_attention_is_scored_with_replay(monkeypatch):
    model = maskless_model("qwen3")
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda cls: False))
    engine, reason = select_engine(model)
    assert engine == "replay"
    assert "'maskless' does not accept a custom mask" in reason


# ------------------------------------------------------------------------------------------------- flex attention


@pytest.mark.parametrize(
    ("name", "value"),
    [("qwen3", engines.BRANCH_TOKENS), ("qwen3", 24), ("gemma2", 24), ("llama4_text", 24), ("cohere2", 24)],
)
def test_flex_attention_agrees_with_the_definition(name, value):
    model, rollouts = tiny_model(name, attn_implementation="flex_attention"), random_rollouts(seed=3, num_rollouts=2)
    expected = naive_gains(tiny_model(name, attn_implementation="eager"), **rollouts)
    with branch_tokens(value), torch.compiler.set_stance("force_eager"):
        for engine in ENGINES:
            assert_equal(score_information_gain(model, **rollouts, engine=engine), expected, 1e-4)


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3_text", "qwen3_moe"])
def test_flex_attention_on_a_gpu_is_asked_for_a_kernel_that_compiles(name, monkeypatch):
    attention, options = flex_attention.compile_friendly_flex_attention, []

    def recorded(*args, **kwargs):
        options.append(kwargs["kernel_options"])
        return attention(*args, **kwargs)

    monkeypatch.setattr(flex_attention, "compile_friendly_flex_attention", recorded)
    monkeypatch.setattr(CausalLM, "on_gpu", True)
    model, rollouts = tiny_model(name, attn_implementation="flex_attention"), random_rollouts(seed=3, num_rollouts=2)
    with torch.compiler.set_stance("force_eager"):
        score_information_gain(model, **rollouts, engine="tree")
    assert options
    assert all(option == {"FORCE_USE_FLEX_ATTENTION": True} for option in options)


def test_auto_chooses_tree_in_flex_attention():
    with torch.compiler.set_stance("force_eager"):
        engine, reason = select_engine(tiny_model("qwen3", attn_implementation="flex_attention"))
    assert engine == "tree", reason


def test_flex_attention_gets_block_masks(monkeypatch):
    masks, hidden_states = [], CausalLM.hidden_states

    def recorded(self, rows, at, attention_mask=None, **inputs):
        masks.append(attention_mask)
        return hidden_states(self, rows, at, attention_mask=attention_mask, **inputs)

    monkeypatch.setattr(CausalLM, "hidden_states", recorded)
    model = tiny_model("gemma3_text", attn_implementation="flex_attention")
    with torch.compiler.set_stance("force_eager"):
        score_information_gain(model, **random_rollouts(seed=1), engine="tree")
    trunk, branches = masks
    assert trunk is None
    assert set(branches) == {"full_attention", "sliding_attention"}
    assert all(isinstance(mask, BlockMask) for mask in branches.values())


@pytest.mark.parametrize("leaky", [see_the_whole_trunk, see_the_other_branches])
def test_auto_notices_leaks_in_flex_attention(leaky, monkeypatch):
    monkeypatch.setattr(CausalLM, "attention_mask", leaky(CausalLM.attention_mask))
    with torch.compiler.set_stance("force_eager"):
        engine, reason = select_engine(tiny_model("qwen3", attn_implementation="flex_attention"))
    assert engine == "replay"
    assert "branches see what they must not" in reason


@pytest.mark.slow
def test_compiled_flex_attention_agrees_with_the_definition():
    # Full attention only: with sliding windows, compilation for a CPU failed with torch 2.13
    model, rollouts = tiny_model("qwen3", attn_implementation="flex_attention"), random_rollouts(seed=1)
    gains = score_information_gain(model, **rollouts, engine="tree")
    assert_equal(gains, naive_gains(tiny_model("qwen3", attn_implementation="eager"), **rollouts), 1e-4)
