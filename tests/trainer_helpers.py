# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Trainers of tiny agents, and what is asked of them."""

import torch
from datasets import Dataset
from scripted_rollouts import ScriptedRollouts, parity_reward
from tiny_agents import AskEnvironment, make_model, make_tokenizer
from trl import GRPOConfig

from trl_infopo import InfoPOConfig, InfoPOTrainer, infopo_trainer


MODES = ["environment", "environments", "tools", "rollout_func", "plain"]


def dataset(**columns) -> Dataset:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"go {'far ' * (i % 3)}{i}"}],
            "city": ["paris", "oslo"][i % 2],
            **{name: values[i % len(values)] for name, values in columns.items()},
        }
        for i in range(8)
    ]
    return Dataset.from_list(rows)


def ask(slot: str) -> str:
    """
    Ask the user.

    Args:
        slot: What to ask for.
    """
    return {"city": "paris", "day": "monday"}.get(slot, "i do not mind")


async def look_up(word: str) -> str:
    """
    Look a word up.

    Args:
        word: The word.
    """
    return f"{word}:\n- one\n- two"


class QuietEnvironment(AskEnvironment):
    """Has its own placeholder."""

    masked_feedback = "..."


def mode_kwargs(mode: str) -> dict:
    kwargs = {"train_dataset": dataset(), "reward_funcs": parity_reward}
    if mode == "environment":
        kwargs |= {"environment_factory": AskEnvironment, "reward_funcs": None}
    elif mode == "environments":
        kwargs |= {
            "environment_factory": {"ask": AskEnvironment, "quiet": QuietEnvironment},
            "reward_funcs": None,
            "train_dataset": dataset(environment=["ask", "quiet"]),
        }
    elif mode == "tools":
        kwargs |= {"tools": [ask, look_up]}
    elif mode == "rollout_func":
        kwargs |= {"rollout_func": ScriptedRollouts(lambda i: i % 4)}
    return kwargs


def config(output_dir, config_class=InfoPOConfig, **kwargs):
    return config_class(
        output_dir=str(output_dir),
        **{
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 90,
            "max_steps": 2,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "seed": 3,
            **kwargs,
        },
    )


def make_trainer(
    output_dir,
    mode="environment",
    trainer_class=InfoPOTrainer,
    model=None,
    options=None,
    template="qwen3",
    **kwargs,
):
    config_class = InfoPOConfig if trainer_class is InfoPOTrainer else GRPOConfig
    tokenizer = make_tokenizer(template)
    return trainer_class(
        model=model or make_model(tokenizer),
        args=config(output_dir, config_class, **(options or {})),
        processing_class=tokenizer,
        **{**mode_kwargs(mode), **kwargs},
    )


def train(trainer):
    """The trainer after its training, which must follow on its construction for the seed's sake, and its forwards."""
    forwards = []
    trainer.model.model.register_forward_hook(lambda module, args, output: forwards.append(1))
    trainer.train()
    return trainer, len(forwards)


def parameters(trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def assert_equal_parameters(one, other):
    for a, b in zip(parameters(one), parameters(other), strict=True):
        assert torch.equal(a, b)


def logged(trainer, name: str) -> list[float]:
    return [log[name] for log in trainer.state.log_history if name in log]


class Spy:
    """Calls through, and keeps what went in and came out."""

    def __init__(self, monkeypatch, name: str):
        self.calls = []
        function = getattr(infopo_trainer, name)

        def wrapper(*args, **kwargs):
            result = function(*args, **kwargs)
            self.calls.append((args, kwargs, result))
            return result

        monkeypatch.setattr(infopo_trainer, name, wrapper)
