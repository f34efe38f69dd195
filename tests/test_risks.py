# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Each known risk is warned of when a training shows it, once, and a healthy training is left alone."""

import json
import math
import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset
from scripted_rollouts import TOKENIZER, ScriptedRollouts, parity_reward
from tiny_agents import make_model, make_tokenizer

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.risks import RISKS, WINDOW, Means, RiskCallback


LOGS = json.loads((Path(__file__).parent / "golden" / "quickstart_logs.json").read_text())
HEALTHY = LOGS["healthy"]  # of the quick start, by seed
NAMES = [risk.name for risk in RISKS]


class Talker:
    """A user who never tells anything and never leaves."""

    def reply(self, messages):
        return "no."


class TalkEnvironment:
    user: Talker
    masked_feedback = "no."

    def reset(self, **row) -> None:
        self.user = Talker()

    def get_reward(self) -> float:
        return 0.0


def train(tmp_path, **options):
    """The names of the risks that a real training was warned of, which is just long enough, and its logs."""
    arguments = {name: options.pop(name) for name in ("environment_factory", "rollout_func") if name in options}
    rewards = options.pop("reward_funcs", None)
    tokenizer = make_tokenizer()
    trainer = InfoPOTrainer(
        make_model(tokenizer),
        rewards,
        InfoPOConfig(
            str(tmp_path),
            **{
                "per_device_train_batch_size": 4,
                "num_generations": 2,
                "max_completion_length": 40,
                "max_steps": 2 * WINDOW,
                "learning_rate": 1e-6,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": [],
                "bf16": False,
                "use_cpu": True,
                "disable_tqdm": True,
                **options,
            },
        ),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": f"go {i}"}]} for i in range(8)]),
        processing_class=tokenizer,
        **arguments,
    )
    [watcher] = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, RiskCallback)]
    trainer.train()
    return watcher.seen, [log for log in trainer.state.log_history if "reward" in log]


def watch(logs):
    """The names of the risks that a callback warns of which is fed with the logs of a training, one by one."""
    watcher = RiskCallback()
    for i in range(1, len(logs) + 1):
        state = SimpleNamespace(log_history=logs[:i], is_world_process_zero=True, global_step=i)
        watcher.on_log(None, state, None)
    return watcher.seen


# ---- real trainings that go wrong


@pytest.mark.thorough
def test_endless_talk(tmp_path):
    with pytest.warns(UserWarning, match="Raise it, or see whether the environment ever ends") as warned:
        seen, logs = train(tmp_path, environment_factory=TalkEnvironment, max_turns=2)
    assert {"asking never ends", "all groups tie", "cut by max_turns"} <= set(seen)
    assert "placeholder never seen" not in seen
    assert all(
        log["infopo/questions/placeholder_frac"] == 1 for log in logs if "infopo/questions/placeholder_frac" in log
    )
    assert sum("`max_turns`" in str(warning.message) for warning in warned) == 1


def test_too_little_room(tmp_path):
    seen, _ = train(tmp_path, environment_factory=TalkEnvironment, max_completion_length=12)
    assert "cut by max_tokens" in seen
    assert "cut by max_turns" not in seen


def test_the_same_question_again_and_again(tmp_path):
    def ask_again(prompts, trainer):
        """Three times the same question and the same answer, each of its own rollout."""
        output = {"prompt_ids": TOKENIZER.apply_chat_template(prompts, add_generation_prompt=True)["input_ids"]}
        output["completion_ids"] = [[20 + i, 2, 30, 31] * 3 + [40 + i, 41 + i] for i in range(len(prompts))]
        output["env_mask"] = [[1, 1, 0, 0] * 3 + [1, 1] for _ in prompts]
        output["logprobs"] = [[0.0] * len(ids) for ids in output["completion_ids"]]
        return output

    seen, logs = train(tmp_path, rollout_func=ask_again, reward_funcs=parity_reward)
    assert {"repeated questions", "placeholder never seen"} <= set(seen)
    assert logs[0]["infopo/questions/repeated_frac"] == pytest.approx(2 / 3)


def test_asking_that_dies_out(tmp_path):
    rollouts = ScriptedRollouts(lambda i: 3 if rollouts.step <= WINDOW else 1)
    seen, _ = train(tmp_path, rollout_func=rollouts, reward_funcs=parity_reward)
    assert "asking dies out" in seen


def test_rewards_that_are_small_beside_the_temperature_of_the_gate(tmp_path):
    def small(completion_ids, **kwargs):
        return [(sum(ids) % 97) / 1e4 for ids in completion_ids]

    rollouts = ScriptedRollouts(lambda i: 2)
    seen, _ = train(tmp_path, rollout_func=rollouts, reward_funcs=small)
    assert "gate too warm" in seen
    assert "all groups tie" not in seen


def test_information_alone(tmp_path):
    rollouts = ScriptedRollouts(lambda i: 2)
    seen, _ = train(tmp_path, rollout_func=rollouts, reward_funcs=parity_reward, info_gain_only=True)
    assert "mostly intrinsic" in seen


def test_callback_can_be_removed(tmp_path):
    tokenizer = make_tokenizer()
    trainer = InfoPOTrainer(
        make_model(tokenizer),
        parity_reward,
        InfoPOConfig(str(tmp_path), report_to=[], bf16=False, use_cpu=True),
        train_dataset=Dataset.from_list([{"prompt": "go"}]),
        processing_class=tokenizer,
    )
    trainer.remove_callback(RiskCallback)
    assert not any(isinstance(callback, RiskCallback) for callback in trainer.callback_handler.callbacks)


# ---- logs of a real training, made worse


@pytest.mark.parametrize("seed", range(len(HEALTHY)))
def test_healthy_run_is_left_alone(seed):
    assert len(HEALTHY[seed]) >= 2 * WINDOW
    assert watch(HEALTHY[seed]) == []


def test_a_run_that_unlearns_to_ask():
    """The quick start with `info_gain_normalization="group"` and a placeholder that its user never says."""
    assert watch(LOGS["unlearnt"]) == [
        "asking dies out",
        "placeholder never seen",
        "all groups tie",
        "mostly intrinsic",
    ]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("asking dies out", {"reward": [0.03, 0.03], "infopo/turns/mean": [3.8, 2.1]}),
        (
            "asking never ends",
            {"reward": [0.0, 0.0], "reward_std": [0, 0], "infopo/tied_groups": [0.8, 1], "infopo/stop/max_turns": 0.9},
        ),
        ("gain without outcome", {"infopo/gain_outcome_corr": -0.1, "infopo/intrinsic_share": 0.5}),
        ("repeated questions", {"infopo/questions/repeated_frac": [0.1, 0.6]}),
        ("placeholder never seen", {"infopo/questions/placeholder_frac": 0.0}),
        ("all groups tie", {"infopo/tied_groups": 0.95, "reward": 0.0, "infopo/gate/mean": 0.5}),
        ("gate too warm", {"infopo/gate/mean": 0.48}),
        ("gate too warm", {"infopo/gate/mean": 0.24, "infopo/gate/agreement": 0.5}),
        ("gains not used", {"infopo/gate/agreement": [0.6, 0.05], "infopo/tied_groups": 0.3}),
        ("mostly intrinsic", {"infopo/intrinsic_share": 0.9}),
        ("cut by max_turns", {"infopo/stop/max_turns": 0.7}),
        ("cut by max_tokens", {"infopo/stop/max_tokens": 0.7}),
    ],
)
def test_each_risk_shows_in_the_logs(name, changes):
    """A change is a value, or one for the first half and one for the second."""
    logs = [dict(log) for log in HEALTHY[0]]
    for i, log in enumerate(logs):
        for metric, values in changes.items():
            log[metric] = values[2 * i // len(logs)] if isinstance(values, list) else values
    assert name in watch(logs)


def test_the_end_of_a_solved_task_is_no_risk():
    """Rewards tie at the top, and fewer turns are needed than in the beginning."""
    logs = [
        {"reward": i / 40, "reward_std": 0.2 if i < 30 else 0.0, "infopo/turns/mean": 6 - i / 10}
        | {"infopo/tied_groups": 0.95, "infopo/gate/mean": 0.5, "infopo/intrinsic_share": 0.5}
        for i in range(40)
    ]
    assert watch(logs) == []


def test_too_few_logs_say_nothing():
    assert watch([{"reward": 0.0, "infopo/stop/max_turns": 1.0}] * (2 * WINDOW - 1)) == []


def test_logs_of_evaluations_do_not_count():
    logs = [log for _ in range(2 * WINDOW) for log in ({"eval_reward": 0.0, "eval_infopo/stop/max_turns": 1.0}, {})]
    assert watch(logs) == []


def test_means_leave_out_what_is_not_logged():
    means = Means([{"infopo/a": 1.0, "b": None}, {"infopo/a": 2.0, "b": 3.0}, {}])
    assert means["a"] == 1.5
    assert means["b"] == 3.0
    assert math.isnan(means["c"])


def test_each_sentence_names_a_real_option_and_real_metrics():
    options = {field.name for field in fields(InfoPOConfig)}
    assert len(set(NAMES)) == len(NAMES)
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for risk in RISKS:
        named = set(re.findall(r"`(\w+)", risk.sentence))
        assert named & options, risk.name
        assert named <= options, risk.name
        for metric in re.findall(r"\[([^\]]+)\]", risk.sentence):
            assert metric.startswith("reward") or re.search(rf"infopo/{metric.partition('/')[0]}", page), metric
