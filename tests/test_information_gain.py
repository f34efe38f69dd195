# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import math
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_scoring import (
    assert_equal,
    naive_gains,
    naive_logps,
    recorded_forwards,
    rollout,
    see_the_other_branches,
    see_the_whole_trunk,
)
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tiny_models import REPLAY_MODELS, TREE_MODELS, random_rollouts, tiny_model
from torch import nn
from trl.trainer.utils import add_fused_lm_head

from trl_infopo.causal_lm import CausalLM
from trl_infopo.information_gain import score_information_gain, select_engine
from trl_infopo.turns import segment_turns


ENGINES = ["tree", "replay"]
ESTIMATORS = ["log_ratio", "kl"]


# ------------------------------------------------------------------------------------- agreement with the definition


@pytest.mark.parametrize(
    ("temperature", "estimator"),
    [
        (0.6, "log_ratio"),
        (1.0, "kl"),
        pytest.param(1.0, "log_ratio", marks=pytest.mark.thorough),
        pytest.param(0.6, "kl", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, engine) for name in TREE_MODELS for engine in ENGINES]
    + [(name, "replay") for name in REPLAY_MODELS if name != "llama_dynamic_rope"],
)
def test_agrees_with_the_definition(name, engine, temperature, estimator):
    model, rollouts = tiny_model(name), random_rollouts(seed=1, num_rollouts=4)
    expected = naive_gains(model, **rollouts, temperature=temperature, estimator=estimator)
    gains = score_information_gain(
        model, **rollouts, engine=engine, temperature=temperature, estimator=estimator, batch_size=3
    )
    assert_equal(gains, expected, 1e-4)
    assert expected.nan_to_num(0.0).abs().max() > 0.01  # enough for a mistake to show


def test_a_dynamic_rope_agrees_within_its_original_length():
    # Beyond it, what transformers computes depends on the longest row so far
    model, rollouts = tiny_model("llama_dynamic_rope", max_position_embeddings=512), random_rollouts(seed=1)
    assert_equal(score_information_gain(model, **rollouts, engine="replay"), naive_gains(model, **rollouts), 1e-4)


@pytest.mark.parametrize("name", ["qwen3", "mistral_sliding", "gemma3_text"])
def test_tree_agrees_with_the_definition_in_eager_attention(name):
    model, rollouts = tiny_model(name, attn_implementation="eager"), random_rollouts(seed=2)
    assert_equal(score_information_gain(model, **rollouts, engine="tree"), naive_gains(model, **rollouts), 1e-4)


@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([None, 1, 2, 7]), st.sampled_from(ENGINES))
@settings(max_examples=25, deadline=None)
def test_agrees_with_the_definition_for_any_rollouts(seed, num_rollouts, batch_size, engine):
    model, rollouts = tiny_model("qwen2_mixed_sliding"), random_rollouts(seed, num_rollouts, max_turns=6)
    gains = score_information_gain(model, **rollouts, engine=engine, batch_size=batch_size)
    assert_equal(gains, naive_gains(model, **rollouts), 1e-4)


@given(st.integers(0, 10_000), st.sampled_from([None, 2, 3]), st.sampled_from(ENGINES))
@settings(max_examples=25, deadline=None)
def test_gains_do_not_depend_on_the_rest_of_the_batch(seed, batch_size, engine):
    model, rollouts = tiny_model("llama"), random_rollouts(seed, num_rollouts=4)
    together = score_information_gain(model, **rollouts, engine=engine, batch_size=batch_size)
    for i in range(4):
        alone = score_information_gain(model, **{name: [v[i]] for name, v in rollouts.items()}, engine=engine)
        assert_equal(together[i : i + 1, : alone.size(1)], alone, 1e-5)
        assert together[i, alone.size(1) :].isnan().all()


FEEDBACK = {
    "nothing in common": ([20, 21, 22], [30, 31]),
    "shared leading scaffold": ([1, 2, 20, 21, 3], [1, 2, 30, 3]),
    "only the last token differs": ([1, 2, 3, 20], [1, 2, 3, 30]),
    "masked is a strict prefix": ([1, 2, 20, 21], [1, 2]),
    "masked is the first token": ([1, 2, 20], [1]),
    "feedback is a strict prefix": ([1, 2], [1, 2, 30, 31]),
    "masked is longer": ([20], [30, 31, 32, 33, 34, 35]),
    "a token each": ([20], [30]),
}


@pytest.mark.parametrize(("observation", "masked"), FEEDBACK.values(), ids=FEEDBACK)
@pytest.mark.parametrize("following", [[50], [50, 51, 52]], ids=["one token follows", "three tokens follow"])
@pytest.mark.parametrize("engine", ENGINES)
def test_any_feedback_and_any_placeholder_fit_together(observation, masked, following, engine):
    model, arguments = tiny_model("qwen3"), rollout([10, 11], observation, masked, following)
    for estimator in ESTIMATORS:
        gains = score_information_gain(model, **arguments, engine=engine, estimator=estimator)
        assert_equal(gains, naive_gains(model, **arguments, estimator=estimator), 1e-4)


@given(st.integers(0, 10_000), st.sampled_from(ENGINES), st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=20, deadline=None)
def test_the_divergence_is_never_negative(seed, engine, temperature):
    model, rollouts = tiny_model("llama"), random_rollouts(seed)
    gains = score_information_gain(model, **rollouts, engine=engine, estimator="kl", temperature=temperature)
    assert (gains[~gains.isnan()] >= 0).all()


@contextmanager
def masked_vocabulary(model: nn.Module, first: int):
    """A model that gives no probability to the tokens from `first` on, as padded vocabularies have it."""

    def mask(module, args, logits):
        return logits.index_fill(-1, torch.arange(first, logits.size(-1)), -torch.inf)

    hook = model.get_output_embeddings().register_forward_hook(mask)
    yield model
    hook.remove()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("engine", ENGINES)
def test_tokens_without_probability_add_nothing(engine, estimator):
    """The gains are those of the model whose vocabulary ends where the mask begins."""
    arguments = rollout([10, 11], [20, 21], [30], [50, 51])
    with masked_vocabulary(tiny_model("qwen3"), 100) as model:
        gains = score_information_gain(model, **arguments, engine=engine, estimator=estimator)
    with torch.no_grad():
        small = tiny_model("qwen3")
        small.lm_head.weight = nn.Parameter(small.lm_head.weight[:100])
    assert gains[0, 0].isfinite()
    assert_equal(gains, naive_gains(small, **arguments, estimator=estimator), 1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gain_that_is_not_finite_is_infinite_and_not_missing(engine):
    arguments = rollout([10, 11], [20, 21], [30], [50, 120])
    with masked_vocabulary(tiny_model("qwen3"), 100) as model:
        gains = score_information_gain(model, **arguments, engine=engine)
    assert gains.tolist()[0][0] == math.inf
    assert gains.isnan().tolist() == [[False, True]]


def test_a_masked_vocabulary_does_not_cost_the_faster_engine():
    with masked_vocabulary(tiny_model("qwen3"), 100) as model:
        engine, _ = select_engine(model)
    assert engine == "tree"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["qwen3", "gemma2"])
def test_half_precision_is_close(name, engine):
    model, rollouts = tiny_model(name).bfloat16(), random_rollouts(seed=3)
    gains = score_information_gain(model, **rollouts, engine=engine)
    assert_equal(gains, naive_gains(model.float(), **rollouts), 0.1)


# ---------------------------------------------------------------------------------------- which turns have which gain


@pytest.mark.parametrize("engine", ENGINES)
def test_masked_feedback_has_zero_gain(engine):
    model, arguments = tiny_model("qwen3"), rollout([10, 11], [20, 21], [20, 21], [50])
    with recorded_forwards(model) as forwards:
        gains = score_information_gain(model, **arguments, engine=engine)
    assert gains[0, 0] == 0.0
    assert forwards == []


@pytest.mark.parametrize("engine", ENGINES)
def test_masked_feedback_has_zero_gain_next_to_other_feedback(engine):
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1)
    expected = naive_gains(model, **rollouts)
    row, k = (~expected.isnan()).nonzero()[0].tolist()
    observation = rollouts["turns"][row][k].observation
    rollouts["masked_observations"][row][k] = [rollouts["completion_ids"][row][i] for i in observation]
    gains = score_information_gain(model, **rollouts, engine=engine)
    assert gains[row, k] == 0.0
    expected[row, k] = 0.0
    assert_equal(gains, expected, 1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("action_mask", "masked_observations"),
    [
        pytest.param([1, 1, 0, 0], [[30]], id="no action follows"),
        pytest.param([1, 1], [[30]], id="no observation"),
        pytest.param([1, 1, 0, 0, 1], [None, [30]], id="no masked observation"),
        pytest.param([], [], id="no turns"),
    ],
)
def test_without_feedback_its_masked_form_and_a_following_action_there_is_no_gain(
    action_mask, masked_observations, engine
):
    model = tiny_model("qwen3")
    turns = segment_turns(action_mask) if action_mask else []
    completion = list(range(10, 10 + len(action_mask)))
    with recorded_forwards(model) as forwards:
        gains = score_information_gain(model, [[5, 6]], [completion], [turns], [masked_observations], engine=engine)
    assert gains.shape == (1, max(len(turns), 1))
    assert gains.isnan().all()
    assert forwards == []


def test_gains_are_float32_on_the_cpu_without_gradient():
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=1, num_rollouts=4)
    gains = score_information_gain(model, **rollouts)
    assert gains.shape == (4, max(len(turns) for turns in rollouts["turns"]))
    assert (gains.dtype, gains.device.type, gains.requires_grad) == (torch.float32, "cpu", False)


def test_no_rollouts_have_no_gains():
    assert score_information_gain(tiny_model("qwen3"), [], [], [], []).shape == (0, 1)


def test_an_action_that_the_feedback_made_likelier_has_a_positive_gain():
    model, context, (observation, masked) = tiny_model("qwen3"), [5, 6, 7, 10, 11], ([20, 21, 22], [30, 31])
    factual, counterfactual = (naive_logps(model, context + o + [0], 1, 1.0)[0] for o in (observation, masked))
    change = factual - counterfactual
    for following, sign in ((change.argmax().item(), 1), (change.argmin().item(), -1)):
        gain = score_information_gain(model, **rollout([10, 11], observation, masked, [following]))[0, 0]
        assert gain.sign() == sign
        torch.testing.assert_close(gain, change[following], rtol=0, atol=1e-4)


# --------------------------------------------------------------------------------------------- choice of the engine


@pytest.mark.parametrize("name", TREE_MODELS)
def test_auto_chooses_tree(name):
    engine, reason = select_engine(tiny_model(name))
    assert engine == "tree", reason


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_auto_chooses_tree_in_half_precision(attn_implementation):
    engine, reason = select_engine(tiny_model("qwen3", attn_implementation=attn_implementation).bfloat16())
    assert engine == "tree", reason


@pytest.mark.parametrize("name", REPLAY_MODELS)
def test_auto_falls_back_to_replay_and_tree_is_an_error(name):
    model, rollouts = tiny_model(name), random_rollouts(seed=1)
    assert select_engine(model)[0] == "replay"
    gains = score_information_gain(model, **rollouts, engine="auto")
    assert_equal(gains, score_information_gain(model, **rollouts, engine="replay"), 0)
    with pytest.raises(ValueError, match=r"`engine` is 'tree', but .*Set it to 'replay', or to 'auto'"):
        score_information_gain(model, **rollouts, engine="tree")


@pytest.mark.parametrize("leaky", [see_the_whole_trunk, see_the_other_branches])
@pytest.mark.parametrize("name", ["qwen3", "gemma2", "gpt_oss"])
def test_auto_notices_branches_that_see_what_they_must_not(name, leaky, monkeypatch):
    monkeypatch.setattr(CausalLM, "attention_mask", leaky(CausalLM.attention_mask))
    engine, reason = select_engine(tiny_model(name))
    assert engine == "replay"
    assert "branches see what they must not" in reason


@pytest.mark.parametrize("engine", ENGINES)
def test_a_counterfactual_beyond_the_last_position_is_not_scored(engine):
    model, generator = tiny_model("gpt2"), torch.Generator().manual_seed(0)
    ids = torch.randint(3, model.config.vocab_size, (model.config.n_positions,), generator=generator).tolist()
    turns = segment_turns([1] * 400 + [0] * 20 + [1] * 60 + [0] + [1] * 21)
    gains = {
        length: score_information_gain(
            model, [ids[:10]], [ids[10:]], [turns], [[[3] * 4, [4] * length, None]], engine=engine
        )
        for length in (1, 2, 5)
    }
    # The last label needs no position of its own
    assert [gains[length].isfinite()[0].tolist() for length in (1, 2, 5)] == [
        [True, True, False],
        [True, True, False],
        [True, False, False],
    ]
    torch.testing.assert_close(gains[5][0, 0], gains[1][0, 0])


def test_a_compiled_model_is_scored_as_it_is_without():
    model, rollouts = tiny_model("qwen3"), random_rollouts(seed=3)
    compiled = torch.compile(model, backend="eager")
    compiled(input_ids=torch.tensor([[3, 4]]))
    for engine in ENGINES:
        expected = score_information_gain(model, **rollouts, engine=engine)
        assert_equal(score_information_gain(compiled, **rollouts, engine=engine), expected, 1e-6)


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_auto_notices_wrong_positions(name, monkeypatch):
    hidden_states = CausalLM.hidden_states

    def without_positions(self, rows, at, position_ids=None, **inputs):
        return hidden_states(self, rows, at, **inputs)

    monkeypatch.setattr(CausalLM, "hidden_states", without_positions)
    engine, reason = select_engine(tiny_model(name))
    assert engine == "replay"
    assert "nats per token off the replay engine" in reason


def test_auto_notices_a_sliding_window_over_columns_instead_of_positions(monkeypatch):
    mask = CausalLM.attention_mask

    def by_column(self, trunk_length, segment, position, start, first):
        columns = (trunk_length + torch.arange(position.size(1))).expand_as(position)
        return mask(self, trunk_length, segment, columns, start, first)

    monkeypatch.setattr(CausalLM, "attention_mask", by_column)
    engine, reason = select_engine(tiny_model("mistral_sliding"))
    assert engine == "replay"
    assert "nats per token off the replay engine" in reason


@pytest.mark.parametrize("failed", [[1, 0], [0, 1]])
def test_tree_must_pass_on_every_process(failed):
    assert select_engine(tiny_model("qwen3"), lambda counts: failed)[0] == "replay"
    assert select_engine(tiny_model("qwen3"), lambda counts: counts)[0] == "tree"


# ------------------------------------------------------------------------------------- models as trainers hold them


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "dropout"),
    [("gpt2", {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}), ("llama", {"attention_dropout": 0.5})],
)
def test_train_mode_changes_nothing_and_is_restored(name, dropout, engine):
    model, rollouts = tiny_model(name, **dropout), random_rollouts(seed=1)
    expected = naive_gains(model, **rollouts)
    model.gradient_checkpointing_enable()
    model.train()
    assert_equal(score_information_gain(model, **rollouts, engine=engine), expected, 1e-4)
    assert select_engine(model)[0] == "tree"
    assert all(module.training for module in model.modules())
    assert model.is_gradient_checkpointing
    assert all(parameter.grad is None for parameter in model.parameters())


def test_eval_mode_stays():
    model = tiny_model("qwen3")
    score_information_gain(model, **random_rollouts(seed=1))
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("train", [False, True])
def test_router_logits_may_be_on(engine, train):
    model, rollouts = tiny_model("qwen3_moe", output_router_logits=True), random_rollouts(seed=1)
    expected = naive_gains(model, **rollouts)
    model.train(train)
    assert_equal(score_information_gain(model, **rollouts, engine=engine), expected, 1e-4)
    assert model.config.output_router_logits


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_a_lora_adapter_takes_part(engine):
    base, rollouts = tiny_model("qwen3"), random_rollouts(seed=1)
    without_adapter = naive_gains(base, **rollouts)
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()
    expected = naive_gains(model, **rollouts)
    assert (expected - without_adapter).nan_to_num(0.0).abs().max() > 0.1
    assert_equal(score_information_gain(model, **rollouts, engine=engine), expected, 1e-4)
    assert select_engine(model)[0] == "tree"


@pytest.mark.parametrize("peft_config", [PromptTuningConfig, PrefixTuningConfig])
def test_prompt_learning_falls_back_to_replay(peft_config):
    torch.manual_seed(0)
    config = peft_config(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model, rollouts = get_peft_model(tiny_model("qwen3"), config).eval(), random_rollouts(seed=1)
    assert select_engine(model)[0] == "replay"
    for estimator in ESTIMATORS:
        gains = score_information_gain(model, **rollouts, estimator=estimator)
        assert_equal(gains, naive_gains(model, **rollouts, estimator=estimator), 1e-4)
    with pytest.raises(ValueError, match=r"`engine` is 'tree', but .*virtual tokens"):
        score_information_gain(model, **rollouts, engine="tree")


# ---------------------------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "fast"}, r"`engine` is 'fast', choose one of \['auto', 'tree', 'replay'\]"),
        ({"estimator": "entropy"}, r"`estimator` is 'entropy', choose one of \['log_ratio', 'kl'\]"),
        ({"temperature": 0.0}, r"`temperature` is 0.0, .*set it above 0"),
        ({"temperature": -1.0}, r"`temperature` is -1.0, .*set it above 0"),
        ({"batch_size": 0}, r"`batch_size` is 0, set it to at least 1, or to None"),
        ({"masked_observations": [[[], None]]}, r"`masked_observations\[0\]\[0\]` is empty\. Give .*, or None"),
        ({"masked_observations": [[[30]]]}, r"one entry per rollout, and the last two one per turn"),
        ({"masked_observations": []}, r"one entry per rollout"),
        ({"prompt_ids": [[5], [6]]}, r"one entry per rollout"),
        ({"completion_ids": []}, r"one entry per rollout"),
        ({"turns": [[], []]}, r"one entry per rollout"),
    ],
)
def test_wrong_arguments_are_errors_that_name_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        score_information_gain(tiny_model("qwen3"), **(rollout([10], [20], [30], [50]) | options))


def test_deep_copy_of_a_patched_model_is_a_clear_error():
    model = tiny_model("qwen3")
    add_fused_lm_head(model)
    with pytest.raises(RuntimeError, match="did not run its own decoder.* copy the state dict"):
        score_information_gain(deepcopy(model), **random_rollouts(seed=1), engine="replay")
