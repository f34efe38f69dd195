# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import math
import statistics

import pytest
import torch
from scripted_rollouts import TOKENIZER, ScriptedRollouts
from tiny_agents import make_model, make_tokenizer
from trainer_helpers import MODES, Spy, assert_equal_parameters, dataset, logged, make_trainer, train
from transformers import GPT2Config, GPT2LMHeadModel
from trl import GRPOTrainer

from trl_infopo import InfoPOTrainer, infopo_trainer
from trl_infopo.causal_lm import CausalLM


# ---- GRPO is contained


@pytest.mark.quick(1)
@pytest.mark.parametrize("mode", MODES)
def test_zero_coef_is_grpo(tmp_path, mode):
    grpo, grpo_forwards = train(make_trainer(tmp_path / "grpo", mode, GRPOTrainer))
    infopo, forwards = train(make_trainer(tmp_path / "infopo", mode, options={"info_gain_coef": 0.0}))
    assert_equal_parameters(grpo, infopo)
    assert grpo_forwards == forwards
    names = {name for log in infopo.state.log_history for name in log if "infopo" in name}
    assert all(name.startswith(("infopo/stop/", "infopo/tools/", "infopo/unscored_rollouts")) for name in names)


def test_data_without_turns_is_grpo(tmp_path):
    options = {"loss_type": "vespo", "importance_sampling_level": "token"}  # needs one advantage per rollout
    grpo, _ = train(make_trainer(tmp_path / "grpo", "plain", GRPOTrainer, options=options))
    infopo, _ = train(make_trainer(tmp_path / "infopo", "plain", options=options))
    assert_equal_parameters(grpo, infopo)


@pytest.mark.parametrize("mode", ["environment", "rollout_func"])
def test_batch_without_scored_turn_is_grpo(tmp_path, mode):
    trainers, forwards = [], []
    for trainer_class, limit in ((GRPOTrainer, "max_tool_calling_iterations"), (InfoPOTrainer, "max_turns")):
        kwargs, options = {}, {}
        if mode == "rollout_func":
            kwargs["rollout_func"] = ScriptedRollouts(lambda i: 0)
        else:
            options[limit] = 0 if trainer_class is GRPOTrainer else 1
        trainer, count = train(make_trainer(tmp_path / limit, mode, trainer_class, options=options, **kwargs))
        trainers.append(trainer)
        forwards.append(count)
    grpo, infopo = trainers
    assert_equal_parameters(grpo, infopo)
    assert forwards[0] == forwards[1]
    assert logged(infopo, "infopo/questions/silent_frac") == [1.0] * 2


# ---- what is scored


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("mode", "template"),
    [("environment", "qwen3"), ("environments", "qwen3"), ("tools", "qwen3"), ("environment", "qwen2_5")],
)
def test_masked_observation_replaces_only_the_content(tmp_path, mode, template, scores):
    trainer = make_trainer(tmp_path, mode, options={"max_completion_length": 200}, template=template)
    completions = []
    calculate_rewards = trainer._calculate_rewards

    def keep(inputs, prompts, messages, completion_ids):
        completions.append([[dict(m) for m in rollout] for rollout in messages])
        environments.append([type(e).__name__ for e in trainer.environments or []])
        return calculate_rewards(inputs, prompts, messages, completion_ids)

    environments = []
    trainer._calculate_rewards = keep
    trainer.train()

    tokenizer = trainer.processing_class
    num_parallel = num_multiline = 0
    for (args, _, gains), rollouts, names in zip(scores.calls, completions, environments, strict=False):
        _, _, completion_ids, turns, masked_observations = args
        for i, messages in enumerate(rollouts):
            placeholder = "..." if names and names[i] == "QuietEnvironment" else "No information found."
            remaining = [m for m in messages if m["role"] == "tool"]
            for turn, masked, gain in zip(turns[i], masked_observations[i], gains[i], strict=False):
                text = tokenizer.decode(completion_ids[i][turn.observation.start : turn.observation.stop])
                assert math.isnan(gain) == (masked is None)
                if masked is None:
                    continue
                expected, count = text, 0
                while remaining and f"<tool_response>\n{remaining[0]['content']}\n</tool_response>" in expected:
                    content = remaining.pop(0)["content"]
                    num_multiline += "\n" in content
                    expected = expected.replace(
                        f"<tool_response>\n{content}\n</tool_response>", "<tool_response>\0</tool_response>", 1
                    )
                    count += 1
                num_parallel += count > 1
                assert count == text.count("<tool_response>") > 0
                assert tokenizer.decode(masked) == expected.replace("\0", f"\n{placeholder}\n")
    assert num_parallel > 0
    assert num_multiline > 0 or mode != "environment"


def test_rollout_func_masks_the_content_or_everything(tmp_path, scores):
    make_trainer(tmp_path / "1", "rollout_func", options={"max_steps": 1}).train()
    rollout_func = ScriptedRollouts(lambda i: i % 4, with_content_mask=False)
    make_trainer(tmp_path / "2", "rollout_func", options={"max_steps": 1}, rollout_func=rollout_func).train()
    placeholder = TOKENIZER.encode("No information found.")
    start, end = TOKENIZER.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    with_mask, without = ([m for ms in args[4] for m in ms if m is not None] for args, _, _ in scores.calls)
    assert len(with_mask) == len(without) == 12
    assert all(masked == [start, *placeholder, end, start] for masked in with_mask)
    assert all(masked == placeholder for masked in without)


def test_what_was_sampled_is_what_is_scored(tmp_path, scores):
    trainer = make_trainer(tmp_path, options={"max_steps": 2})
    outputs = []
    prepare = trainer._generate_and_score_completions

    def keep(inputs):
        outputs.append(prepare(inputs))
        return outputs[-1]

    trainer._generate_and_score_completions = keep
    trainer.train()
    for (args, _, _), output in zip(scores.calls, outputs, strict=True):
        _, prompt_ids, completion_ids, turns, _ = args
        for i, rollout in enumerate(turns):
            n = len(completion_ids[i])
            assert output["completion_ids"][i, :n].tolist() == completion_ids[i]
            assert output["completion_mask"][i].sum() == n
            assert output["prompt_ids"][i][-len(prompt_ids[i]) :].tolist() == prompt_ids[i]
            sampled = {position for turn in rollout for position in turn.action}
            assert sampled == {p for p in range(n) if output["tool_mask"][i, p] == 1}


def test_the_same_feedback_of_a_batch_is_rendered_once(tmp_path, monkeypatch):
    rendered, render = [], GRPOTrainer._get_tool_suffix_ids

    def spy(self, tool_messages):
        rendered.append(repr(tool_messages))
        return render(self, tool_messages)

    monkeypatch.setattr(GRPOTrainer, "_get_tool_suffix_ids", spy)
    make_trainer(tmp_path, options={"max_steps": 1}).train()
    assert rendered
    assert len(rendered) == len(set(rendered))


def test_old_logps_save_the_factual_forward_where_they_are_exact(tmp_path, monkeypatch):
    scores = Spy(monkeypatch, "score_information_gain")
    options = {"num_iterations": 2, "info_gain_engine": "replay", "temperature": 0.7, "max_steps": 2}
    trainer = make_trainer(tmp_path / "1", "rollout_func", options=options)
    trainer.train()
    [(args, kwargs, gains)] = scores.calls
    assert kwargs["factual_logps"] is not None
    # The policy has moved on, so the forward is repeated with the parameters of the scoring
    trainer = make_trainer(tmp_path / "2", "rollout_func", options=options)
    expected = infopo_trainer.score_information_gain(
        make_model(make_tokenizer()), *args[1:], engine="replay", temperature=0.7
    )
    torch.testing.assert_close(gains, expected, atol=1e-5, rtol=0, equal_nan=True)

    scores.calls.clear()
    model = make_model(make_tokenizer(), attention_dropout=0.1)
    make_trainer(tmp_path / "3", "rollout_func", model=model, options=options).train()
    make_trainer(tmp_path / "4", "rollout_func", options=options | {"neftune_noise_alpha": 5.0}).train()
    assert [kwargs["factual_logps"] for _, kwargs, _ in scores.calls[:: len(scores.calls) - 1]] == [None, None]


def test_a_head_in_float32_is_one_under_mixed_precision(tmp_path):
    model = make_model(make_tokenizer(), tie_word_embeddings=False)
    trainer = make_trainer(tmp_path, model=model, options={"cast_lm_head_to_fp32": True})
    policy = CausalLM(trainer.model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        states = policy.hidden_states([[1, 2, 3]], [(0, 1), (0, 2)])
        logits = policy.logits(states)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, states.float() @ model.lm_head.weight.T)


def test_left_padding_does_not_shift_learned_positions(tmp_path, scores):
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=1,
        n_head=2,
        n_positions=1024,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    options = {"num_iterations": 2, "info_gain_engine": "replay", "max_steps": 1}
    make_trainer(tmp_path, "rollout_func", model=model, options=options).train()
    [(args, kwargs, gains)] = scores.calls
    assert len(set(map(len, args[1]))) > 1  # so that TRL pads the prompts
    assert kwargs["factual_logps"] is None
    assert gains.isfinite().any()


# ---- fused advantages


def naive_turn_advantages(rewards, outcome, gains, lengths, group_size, coef=0.5, temperature=0.5):
    """ALGORITHM in loops: normalization over the group's turns, variance gate, rescaling."""
    info = [[0.0 for _ in row] for row in gains]
    gates = []
    for g in range(0, len(rewards), group_size):
        members = [i for i in range(g, g + group_size) if not math.isnan(rewards[i])]
        pool = [x for i in members for x in gains[i] if x is not None]
        std = statistics.stdev(pool) if len(pool) > 1 else 0.0
        for i in members:
            info[i] = [0.0 if x is None else (x - statistics.mean(pool)) / (std + 1e-6) for x in gains[i]]
        reward_std = statistics.stdev([rewards[i] for i in members]) if len(members) > 1 else 0.0
        gates += [1 / (1 + math.exp(reward_std / temperature))] * group_size
    tokens = [
        (outcome[i], x)
        for i, row in enumerate(info)
        if not math.isnan(rewards[i])
        for x, n in zip(row, lengths[i], strict=True)
        for _ in range(n)
    ]
    spread = [statistics.stdev(values) + 1e-6 for values in zip(*tokens, strict=True)]
    scale = min(1.0, max(spread[0], 1.0) / spread[1])
    return [
        [0.0 if math.isnan(rewards[i]) else outcome[i] + coef * gates[i] * scale * x for x in row]
        for i, row in enumerate(info)
    ]


@pytest.mark.parametrize("with_missing_rewards", [False, True])
def test_token_advantages_are_those_of_the_algorithm(tmp_path, scores, with_missing_rewards):
    rewards = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5]  # the second group ties
    if with_missing_rewards:
        rewards = [1.0, None, 0.0, 1.0, None, None, None, None]

    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        reward_funcs=lambda completion_ids, **kwargs: rewards,
        options={"max_steps": 1, "gate": "variance"},
    )
    outputs = []
    calculate = GRPOTrainer._generate_and_score_completions.__get__(trainer)
    outcome = calculate(list(trainer.get_train_dataloader())[0])["advantages"].tolist()
    del trainer._sampled
    trainer.rollout_func.step = 0
    prepare = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: outputs.append(prepare(inputs)) or outputs[-1]
    trainer.train()

    [(args, _, gains)] = scores.calls
    [output] = outputs
    turns = args[3]
    gains = [
        [None if math.isnan(gain) else gain for gain in row[: len(rollout)]]
        for row, rollout in zip(gains.tolist(), turns, strict=True)
    ]
    expected = naive_turn_advantages(
        [math.nan if reward is None else reward for reward in rewards],
        outcome,
        gains,
        [[len(turn.action) for turn in rollout] for rollout in turns],
        group_size=4,
    )
    assert output["advantages"].shape == output["completion_ids"].shape
    by_token = torch.zeros_like(output["advantages"])
    for i, rollout in enumerate(turns):
        for k, turn in enumerate(rollout):
            for position in turn.action:
                by_token[i, position] = expected[i][k]
    torch.testing.assert_close(output["advantages"], by_token, atol=1e-5, rtol=0)
    assert all(math.isfinite(log["loss"]) for log in trainer.state.log_history if "loss" in log)


def test_truncated_rollouts_have_no_turns(tmp_path, scores, fusions):
    def rollouts(prompts, trainer):
        output = ScriptedRollouts(lambda i: 2)(prompts, trainer)
        for i in (0, 1, 5):  # no end of turn: truncated
            for key in ("completion_ids", "env_mask", "feedback_content_mask", "logprobs"):
                output[key][i] = output[key][i][:-1]
        return output

    options = {"mask_truncated_completions": True, "max_steps": 1}
    trainer = make_trainer(tmp_path, "rollout_func", rollout_func=rollouts, options=options)
    trainer.train()
    [(args, _, gains)] = scores.calls
    assert [len(rollout) for rollout in args[3]] == [0, 0, 3, 3, 3, 0, 3, 3]
    assert gains.isnan().all(1).tolist() == [True, True, False, False, False, True, False, False]
    [(arguments, _, fused)] = fusions.calls
    assert (fused.turn_advantages[[0, 1, 5]] == 0).all()
    # They are out of the gate, too, and nobody is said to be silent
    assert arguments[0].isnan().tolist() == [True, True, False, False, False, True, False, False]
    assert logged(trainer, "infopo/questions/silent_frac") == [0.0]


def test_overlong_rollouts_are_scored_as_far_as_they_go(tmp_path, scores):
    trainer = make_trainer(tmp_path, options={"max_completion_length": 40, "max_steps": 2})
    trainer.train()
    assert scores.calls
    for args, _, gains in scores.calls:
        for rollout, row in zip(args[3], gains, strict=True):
            assert all(len(turn.action) > 0 for turn in rollout)
            assert row[max(len(rollout) - 1, 0) :].isnan().all()
    assert max(logged(trainer, "completions/clipped_ratio")) > 0


def test_ties_are_those_of_trl(tmp_path):
    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        reward_funcs=lambda completion_ids, **kwargs: [0.1] * len(completion_ids),
        options={"max_steps": 1, "num_generations": 8},
    )
    trainer.train()
    assert logged(trainer, "infopo/tied_groups") == logged(trainer, "frac_reward_zero_std") == [1.0]
    assert logged(trainer, "infopo/tied_groups_with_signal") == [1.0]


def test_reward_functions_may_change_the_messages(tmp_path, scores):
    def reward(completions, **kwargs):
        for completion in completions:
            completion[:] = [message for message in completion if message["role"] != "tool"]
        return [0.0] * len(completions)

    make_trainer(tmp_path, "tools", reward_funcs=reward, options={"max_steps": 1}).train()
    assert any(masked for args, _, _ in scores.calls for rollout in args[4] for masked in rollout)


def test_reward_functions_may_change_a_message(tmp_path, scores):
    def reward(completions, **kwargs):
        for completion in completions:
            for message in completion:
                message["content"] = "seen"
        return [0.0] * len(completions)

    def keep(completions, **kwargs):
        return [0.0] * len(completions)

    for function in (reward, keep):
        make_trainer(tmp_path, "tools", reward_funcs=function, options={"max_steps": 1}).train()
    changed, kept = (args[4] for args, _, _ in scores.calls)
    assert changed == kept


def test_information_alone_trains_on_nothing_where_there_is_none(tmp_path):
    options = {"max_turns": 1, "info_gain_only": True, "max_steps": 2}
    trainer = make_trainer(tmp_path, "environment", options=options)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert all(map(torch.equal, before, trainer.model.parameters()))


def test_group_without_feedback_keeps_its_outcome_advantages(tmp_path, fusions):
    rollout_func = ScriptedRollouts(lambda i: 0 if i < 4 else 2)
    make_trainer(tmp_path, "rollout_func", rollout_func=rollout_func, options={"max_steps": 1}).train()
    [(args, _, fused)] = fusions.calls
    outcome_advantages, gains = args[1], args[2]
    assert gains[:4].isnan().all()
    torch.testing.assert_close(fused.turn_advantages[:4, 0], outcome_advantages[:4])
    assert (fused.information_advantages[4:] != 0).any()


def test_groups_in_which_information_has_no_weight_are_not_scored(tmp_path, fusions, scores):
    """Those whose rewards tie train as if all were scored, the others on their outcome."""

    def first_ties(completion_ids, **kwargs):
        return [float(i % 2) if i >= 4 else 1.0 for i in range(len(completion_ids))]

    options = {"max_steps": 1, "gate": "variance", "gate_temperature": 0.05, "info_gain_rescale": False}
    logs = []
    for weight in (0.0, 0.01):
        rollout_func = ScriptedRollouts(lambda i: 2)
        options["info_gain_min_weight"] = weight
        kwargs = {"rollout_func": rollout_func, "options": options, "reward_funcs": first_ties}
        trainer = make_trainer(tmp_path, "rollout_func", **kwargs)
        trainer.train()
        logs.append(trainer.state.log_history[0])
    (_, _, all_scored), (args, _, fused) = fusions.calls
    gains = args[2]
    assert gains[:4].isfinite().any(dim=1).all()
    assert gains[4:].isnan().all()
    torch.testing.assert_close(fused.turn_advantages[:4], all_scored.turn_advantages[:4])
    torch.testing.assert_close(fused.turn_advantages[4:, 0], args[1][4:])
    assert (all_scored.turn_advantages[4:] - fused.turn_advantages[4:]).abs().max() < 0.01  # what was left out
    assert [log.get("infopo/skipped_groups") for log in logs] == [None, 0.5]
    assert [sum(m is not None for rollout in call[0][4] for m in rollout) for call in scores.calls] == [16, 8]


def test_all_groups_decided_is_no_missing_gain(tmp_path, recwarn):
    options = {"max_steps": 12, "gate": "variance", "gate_temperature": 1e-3, "info_gain_min_weight": 0.1}
    options["learning_rate"] = 0.0
    rollout_func = ScriptedRollouts(lambda i: 2)
    reward = lambda completion_ids, **kwargs: [float(i % 2) for i in range(len(completion_ids))]  # noqa: E731
    trainer = make_trainer(tmp_path, "rollout_func", rollout_func=rollout_func, options=options, reward_funcs=reward)
    trainer.train()
    assert logged(trainer, "infopo/skipped_groups") == [1.0] * 12
    assert not [w for w in recwarn if "No turn of the last" in str(w.message)]


# ---- what is told


def test_engine_and_reason_are_logged_once(tmp_path, caplog):
    with caplog.at_level("INFO", logger="trl_infopo"):
        make_trainer(tmp_path, "rollout_func").train()
    messages = [record.message for record in caplog.records if "engine" in record.message]
    assert len(messages) == 1
    assert "tree engine: its branches see only their own past" in messages[0]


def test_slow_engine_is_a_warning(tmp_path, caplog):
    model = make_model(
        make_tokenizer(), "lfm2", layer_types=["conv", "full_attention"], block_ff_dim=48, conv_L_cache=3
    )
    make_trainer(tmp_path, "rollout_func", model=model, options={"max_steps": 1}).train()
    [record] = [record for record in caplog.records if "replay engine" in record.message]
    assert record.levelname == "WARNING"


def test_table_stays_aligned_through_evaluation(tmp_path):
    import pandas as pd

    options = {"log_completions": True, "log_information_gain": True, "num_generations_eval": 2, "max_steps": 2}
    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        options={**options, "eval_strategy": "steps", "eval_steps": 1},
        eval_dataset=dataset(),
    )
    trainer.train()
    for path in (tmp_path / "completions").glob("*.parquet"):
        for row in pd.read_parquet(path).to_dict("records"):
            assert len(row["turn_advantages"]) == len(row["information_gain"])
    assert len(logged(trainer, "eval_infopo/information_gain/mean")) == 2


def test_completions_table_has_gains_gate_and_fused_advantages(tmp_path):
    import pandas as pd

    trainer = make_trainer(tmp_path, "rollout_func", options={"log_completions": True, "max_steps": 1})
    trainer.train()
    table = pd.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    assert [len(gains) for gains in table["information_gain"]] == [1, 2, 3, 4] * 2
    assert [len(advantages) for advantages in table["turn_advantages"]] == [1, 2, 3, 4] * 2
    assert all(math.isnan(gains[-1]) for gains in table["information_gain"])
    assert table["gate"].between(0, 0.5).all()


def test_model_card_names_the_method(tmp_path):
    trainer = make_trainer(tmp_path, "plain")
    trainer.create_model_card("tiny")
    card = (tmp_path / "README.md").read_text()
    assert "InfoPO: Information-Driven Policy Optimization for User-Centric Agents" in card
    assert "2603.00656" in card
    assert "kong2026infopo" in card


def test_metrics_are_those_of_the_batch(tmp_path, scores):
    trainer = make_trainer(tmp_path, "rollout_func", options={"max_steps": 1})
    trainer.train()
    [(_, _, gains)] = scores.calls
    known = gains[~gains.isnan()]
    assert logged(trainer, "infopo/information_gain/mean") == [pytest.approx(known.mean().item(), abs=1e-6)]
    assert logged(trainer, "infopo/information_gain/turn_1") == [pytest.approx(gains[:, 0].nanmean().item(), abs=1e-6)]
    assert logged(trainer, "infopo/turns/mean") == [2.5]
    assert logged(trainer, "infopo/turns/max") == [4]
    assert logged(trainer, "infopo/questions/silent_frac") == [0.25]
    assert 0 < logged(trainer, "infopo/intrinsic_share")[0] < 1
    assert logged(trainer, "infopo/scoring_seconds")[0] > 0
