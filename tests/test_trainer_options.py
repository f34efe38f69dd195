# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import math
import random

import pytest
import torch
from datasets import Dataset
from scripted_rollouts import ScriptedRollouts, parity_reward
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from trainer_helpers import (
    ask,
    assert_equal_parameters,
    config,
    dataset,
    logged,
    make_trainer,
    mode_kwargs,
    parameters,
    train,
)
from trl import GRPOConfig, GRPOTrainer

from trl_infopo import InfoPOTrainer, infopo_trainer
from trl_infopo._checks import CheckedFactory
from trl_infopo.calls import ToolGuard


# ---- TRL's options


@pytest.mark.quick(8)
@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "grpo"},
        {"loss_type": "bnpo"},
        {"loss_type": "dr_grpo"},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"loss_type": "sapo"},
        {"loss_type": "luspo"},
        {"scale_rewards": "batch"},
        {"scale_rewards": "none"},
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
        {"steps_per_generation": 2, "per_device_train_batch_size": 4},
        {"num_iterations": 2},
        {"top_entropy_quantile": 0.5},
        {"entropy_coef": 0.01},
        {"beta": 0.1},
        {"info_gain_estimator": "kl"},
        {"info_gain_engine": "replay", "info_gain_batch_size": 2},
        {"info_gain_normalization": "group_scale", "info_gain_granularity": "token"},
        {"info_gain_only": True},
        {"gate": "none", "info_gain_rescale": False},
        {"gate": "variance"},
        {"pad_to_multiple_of": 16},
    ],
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()),
)
def test_options_train(tmp_path, options):
    model = make_model(make_tokenizer())
    if "beta" in options:
        model.save_pretrained(tmp_path / "model")
        model = str(tmp_path / "model")
    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        model=model,
        options={"reward_weights": [1.0, 0.5], **options},
        reward_funcs=[
            parity_reward,
            lambda completion_ids, **kwargs: [float(len(ids)) / 50 for ids in completion_ids],
        ],
    )
    before = parameters(trainer)
    trainer.train()
    assert any((a != b).any() for a, b in zip(before, parameters(trainer), strict=True))
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    assert all(math.isfinite(value) for value in logged(trainer, "infopo/information_gain/mean"))
    assert len(logged(trainer, "infopo/intrinsic_share")) > 0


def test_mixed_precision_is_scored_by_the_tree(tmp_path, scores):
    trainer = make_trainer(tmp_path / "bf16", "rollout_func", options={"bf16": True, "max_steps": 1})
    trainer.train()
    assert trainer.info_gain_engine == "tree"
    make_trainer(tmp_path / "fp32", "rollout_func", options={"max_steps": 1}).train()
    (_, _, gains), (_, _, expected) = scores.calls
    torch.testing.assert_close(gains, expected, atol=0.1, rtol=0, equal_nan=True)


def test_max_turns_limits_the_actions(tmp_path):
    trainer = make_trainer(tmp_path, options={"max_turns": 2, "max_completion_length": 200, "max_steps": 1})
    trainer.train()
    assert max(logged(trainer, "infopo/turns/max")) == 2


def test_lora_is_scored_with_the_adapter_on(tmp_path, scores):
    from peft import LoraConfig

    peft_config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    trainer = make_trainer(tmp_path, "rollout_func", peft_config=peft_config, options={"learning_rate": 0.0})
    trainer.train()
    args, _, gains = scores.calls[-1]
    again = infopo_trainer.score_information_gain(*args)
    torch.testing.assert_close(gains, again, equal_nan=True, atol=1e-5, rtol=0)
    with trainer.model.disable_adapter():
        without = infopo_trainer.score_information_gain(*args)
    assert (gains - without).abs().nan_to_num().max() > 1e-4


def test_evaluation_scores_only_on_demand(tmp_path, scores):
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1, "log_completions": True}
    eval_dataset = dataset().select(range(2))
    trainer = make_trainer(tmp_path / "1", options=options, eval_dataset=eval_dataset)
    trainer.train()
    assert len(scores.calls) == 1
    assert not logged(trainer, "eval_infopo/information_gain/mean")
    scores.calls.clear()
    options["log_information_gain"] = True
    trainer = make_trainer(tmp_path / "2", options=options, eval_dataset=eval_dataset)
    trainer.train()
    assert len(scores.calls) > 1
    assert logged(trainer, "eval_infopo/turns/mean")


def test_an_evaluation_stays_one_where_sampling_ends_in_training_mode(tmp_path, monkeypatch):
    """As TRL's does with `use_transformers_continuous_batching`."""
    sample = GRPOTrainer._generate_single_turn

    def sampled(self, *args, **kwargs):
        output = sample(self, *args, **kwargs)
        self.model.train()
        return output

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", sampled)
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1, "num_generations_eval": 2}
    options |= {"per_device_eval_batch_size": 2, "log_information_gain": True}
    trainer = make_trainer(tmp_path, options=options, eval_dataset=dataset().select(range(2)))
    trainer.train()
    assert logged(trainer, "eval_infopo/turns/mean")
    assert len(logged(trainer, "infopo/turns/mean")) == 1


@pytest.mark.thorough
def test_continuous_batching_evaluates(tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1, "num_generations_eval": 2}
    options |= {"per_device_eval_batch_size": 2, "use_transformers_continuous_batching": True}
    trainer = make_trainer(tmp_path, options=options, eval_dataset=dataset().select(range(4)))
    trainer.train()
    assert logged(trainer, "eval_infopo/stop/answered")


def test_what_environments_measure_is_logged_without_their_rewards(tmp_path):
    class Counter(AskEnvironment):
        get_reward = None
        done: bool = False

        def reset(self, **row):
            super().reset(**row)
            self.metrics = {"asked": 2}

    trainer = make_trainer(
        tmp_path, environment_factory=Counter, reward_funcs=parity_reward, options={"log_completions": True}
    )
    trainer.train()
    assert logged(trainer, "infopo/environment/asked") == [2.0, 2.0]
    assert len(trainer._logs["extra"]["asked"]) == len(trainer._logs["prompt"])


def test_arguments_that_are_no_object_are_told_in_the_words_of_the_tool():
    tools, guard = AskEnvironment(), ToolGuard(None)
    for tool, wrapped in ((tools.ask, guard.wrap(tools.ask)), (tools.look_up, guard.wrap_async(tools.look_up))):
        said = []
        for function in (tool, wrapped):
            with pytest.raises(TypeError, match="must be a mapping") as error:
                function(**["city"])
            said.append(str(error.value))
        assert said[0] == said[1]


# ---- datasets


class Puzzle(AskEnvironment):
    def reset(self, puzzle: str, **row) -> None:
        super().reset()


def test_a_dataset_needs_what_its_own_environments_take(tmp_path):
    evaluated = {
        "ask": dataset(environment=["ask"]).select(range(2)),
        "puzzle": dataset(environment=["puzzle"], puzzle=["4 x 4"]).select(range(2)),
    }
    kwargs = {"environment_factory": {"ask": AskEnvironment, "puzzle": Puzzle}, "eval_dataset": evaluated}
    make_trainer(tmp_path, "environments", **kwargs | {"train_dataset": dataset(environment=["ask"])})
    with pytest.raises(ValueError, match="`Puzzle.reset` needs 'puzzle', but `train_dataset` has only the columns"):
        make_trainer(tmp_path, "environments", **kwargs | {"train_dataset": dataset(environment=["ask", "puzzle"])})


def test_a_dataset_may_make_its_rows_when_they_are_read(tmp_path):
    rows = dataset()

    def transform(batch):
        return {"prompt": [rows[i]["prompt"] for i in batch["row"]], "city": ["oslo"] * len(batch["row"])}

    class NeedsCity(AskEnvironment):
        def reset(self, prompt, city: str) -> None:
            super().reset(city)

    lazy = Dataset.from_dict({"row": list(range(8))}).with_transform(transform)
    make_trainer(tmp_path, environment_factory=NeedsCity, train_dataset=lazy).train()

    def transform_for_two(batch):
        return transform(batch) | {"environment": ["ask"] * len(batch["row"])}

    lazy = lazy.with_transform(transform_for_two)
    factories = {"ask": NeedsCity, "puzzle": Puzzle}
    make_trainer(tmp_path, environment_factory=factories, train_dataset=lazy, reward_funcs=None).train()


def test_the_first_environment_depends_on_the_seed_alone(tmp_path):
    drawn = []

    class Drawing(AskEnvironment):
        def __init__(self):
            drawn.append((random.random(), torch.rand(1).item()))

    for state in (1, 2):
        random.seed(state)
        torch.manual_seed(state)
        before = random.getstate(), torch.get_rng_state()
        factory = CheckedFactory(Drawing, seed=3)
        assert random.getstate() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])
        assert factory.kind is Drawing
    assert drawn[0] == drawn[1]
    CheckedFactory(Drawing, seed=4)
    assert drawn[2] != drawn[0]


def test_gains_can_be_logged_without_training_on_them(tmp_path):
    grpo, _ = train(make_trainer(tmp_path / "grpo", "environment", GRPOTrainer))
    options = {"info_gain_coef": 0.0, "log_information_gain": True}
    infopo, _ = train(make_trainer(tmp_path / "infopo", "environment", options=options))
    assert_equal_parameters(grpo, infopo)
    assert len(logged(infopo, "infopo/information_gain/mean")) == 2


@pytest.mark.quick(1)
@pytest.mark.parametrize("gate", ["agreement", "variance"])
def test_resumed_run_ends_where_the_whole_run_ends(tmp_path, gate):
    options = {"save_strategy": "steps", "save_steps": 1, "gate": gate}
    whole, _ = train(make_trainer(tmp_path / "whole", options=options))
    resumed = make_trainer(tmp_path / "resumed", options=options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    assert_equal_parameters(whole, resumed)


# ---- errors


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"info_gain_coef": -0.1}, ["info_gain_coef", "-0.1"]),
        ({"temperature": -1.0}, ["temperature", "-1.0"]),
        ({"gate_temperature": 0.0}, ["gate_temperature", "0.0"]),
        ({"masked_feedback": " "}, ["masked_feedback", "' '"]),
        ({"info_gain_estimator": "js"}, ["info_gain_estimator", "js", "kl"]),
        ({"info_gain_engine": "vine"}, ["info_gain_engine", "vine", "replay"]),
        ({"info_gain_normalization": "turn"}, ["info_gain_normalization", "turn", "group_scale"]),
        ({"info_gain_granularity": "word"}, ["info_gain_granularity", "word", "token"]),
        ({"gate": "open"}, ["gate", "open", "variance"]),
        ({"info_gain_batch_size": 0}, ["info_gain_batch_size", "0"]),
        ({"info_gain_coef": 0.0, "info_gain_only": True}, ["info_gain_only", "info_gain_coef"]),
        ({"info_gain_min_weight": -1.0}, ["info_gain_min_weight", "-1.0"]),
        ({"info_gain_min_weight": 0.3}, ["info_gain_min_weight", "0.3", "0.25"]),
        ({"info_gain_min_weight": 0.1}, ["info_gain_min_weight", "`gate`", "variance"]),
        ({"max_turns": 0}, ["max_turns", "0"]),
        ({"max_turns": 3, "max_tool_calling_iterations": 2}, ["max_turns", "max_tool_calling_iterations"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_option_is_a_clear_error(tmp_path, options, names):
    with pytest.raises(ValueError, match="[Ss]et|choose") as error:
        config(tmp_path, **options)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"loss_type": "vespo"}, "loss_type"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"off_policy_mask_threshold": 0.5}, "off_policy_mask_threshold"),
    ],
)
def test_per_sequence_options_need_zero_coef(tmp_path, options, name):
    with pytest.raises(ValueError, match=f"`{name}` is .* Set `{name}="):
        make_trainer(tmp_path, "rollout_func", options=options)
    make_trainer(tmp_path, "rollout_func", options={**options, "info_gain_coef": 0.0})


def test_tokenizer_without_chat_template_is_a_clear_error(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(
        ValueError, match="`processing_class`.* no chat template.* Set `processing_class.chat_template`"
    ):
        InfoPOTrainer(model, args=config(tmp_path), processing_class=tokenizer, **mode_kwargs("environment"))


def test_environment_without_reset_is_a_clear_error(tmp_path):
    class Unfinished:
        def get_reward(self) -> float:
            return 0.0

    with pytest.raises(ValueError, match="`environment_factory` made a Unfinished, which has no `reset`"):
        make_trainer(tmp_path, environment_factory=Unfinished)
    with pytest.raises(ValueError, match="Unfinished, which has no `reset`"):
        make_trainer(tmp_path, "environments", environment_factory={"ask": AskEnvironment, "quiet": Unfinished})


@pytest.mark.parametrize("placeholder", ["", None])
def test_empty_placeholder_of_an_environment_is_a_clear_error(tmp_path, placeholder):
    class Empty(AskEnvironment):
        masked_feedback = placeholder

    with pytest.raises(ValueError, match=f"`Empty.masked_feedback` is {placeholder!r}.* Set it to"):
        make_trainer(tmp_path, environment_factory=Empty)


def test_rollout_func_with_tools_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="`rollout_func` is given together with tools"):
        make_trainer(tmp_path, "rollout_func", tools=[ask])


def test_content_mask_without_env_mask_is_a_clear_error(tmp_path):
    def rollouts(prompts, trainer):
        output = ScriptedRollouts(lambda i: 2)(prompts, trainer)
        del output["env_mask"]
        return output

    with pytest.raises(ValueError, match="`feedback_content_mask` without `env_mask`"):
        make_trainer(tmp_path, "rollout_func", rollout_func=rollouts).train()


def test_tree_engine_on_a_recurrent_model_is_a_clear_error(tmp_path):
    model = make_model(
        make_tokenizer(), "lfm2", layer_types=["conv", "full_attention"], block_ff_dim=48, conv_L_cache=3
    )
    with pytest.raises(ValueError, match="`info_gain_engine` is 'tree', but .* Set it to 'replay'"):
        make_trainer(tmp_path, "rollout_func", model=model, options={"info_gain_engine": "tree"})
    trainer = make_trainer(tmp_path, "rollout_func", model=model, options={"max_steps": 1})
    trainer.train()
    assert trainer.info_gain_engine == "replay"


def test_rollout_func_owns_its_loop(tmp_path):
    with pytest.raises(ValueError, match="`max_turns` is 3, but `rollout_func`"):
        make_trainer(tmp_path, "rollout_func", options={"max_turns": 3})


def test_content_mask_of_wrong_length_is_a_clear_error(tmp_path):
    def rollouts(prompts, trainer):
        output = ScriptedRollouts(lambda i: 2)(prompts, trainer)
        output["feedback_content_mask"][0] = output["feedback_content_mask"][0][1:]
        return output

    with pytest.raises(ValueError, match="`feedback_content_mask` has .* one per completion token"):
        make_trainer(tmp_path, "rollout_func", rollout_func=rollouts).train()


def test_grpo_config_is_a_clear_error(tmp_path):
    with pytest.raises(TypeError, match="`args` is a GRPOConfig, pass an InfoPOConfig"):
        InfoPOTrainer(
            make_model(make_tokenizer()), parity_reward, config(tmp_path, GRPOConfig), train_dataset=dataset()
        )


def test_images_are_a_clear_error(tmp_path):
    for options in ({}, {"info_gain_coef": 0.0, "log_information_gain": True}):
        with pytest.raises(ValueError, match="`train_dataset` has the column 'image'.* `log_information_gain=False`"):
            make_trainer(tmp_path, train_dataset=dataset(image=["x"]), options=options)
