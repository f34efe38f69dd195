# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Policies whose samples are written down: everything but the sampling is the real trainer's."""

from collections.abc import Callable

from datasets import Dataset
from tiny_agents import make_model, make_tokenizer
from transformers import PrinterCallback

from trl_infopo import InfoPOConfig, InfoPOTrainer


Action = str | list[int]  # text, which the policy ends, or the token ids themselves


class ScriptedTrainer(InfoPOTrainer):
    """
    A trainer whose policy samples what a script says.

    Attributes:
        script (`Callable[[int, int], Action]`):
            Gives the action of a rollout, by the rollout's number in the run and the action's number in the rollout.
        started (`Callable[[int, object], None]`):
            Is told each rollout's number and its environment when it begins.
    """

    script: Callable[[int, int], Action]
    started: Callable[[int, object], None] = staticmethod(lambda rollout, environment: None)

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        if num_generations > 1:  # the first actions of a batch
            first = self.state.global_step * len(prompt_ids)
            self._playing = [(first + i, [], 0) for i in range(len(prompt_ids))]
            for (rollout, _, _), environment in zip(self._playing, self.environments, strict=True):
                self.started(rollout, environment)
        sampled, waiting = [], self._playing
        self._playing = []
        for context in prompt_ids:
            # Contexts keep the order of the rollouts, and begin with what was seen and sampled before
            while waiting[0][1] != context[: len(waiting[0][1])]:
                waiting = waiting[1:]
            (rollout, _, k), *waiting = waiting
            ids = self._ids(self.script(rollout, k))
            sampled.append(ids)
            self._playing.append((rollout, context + ids, k + 1))
        return sampled, None

    def _ids(self, action: Action) -> list[int]:
        """Token ids of an action, cut as sampling cuts them: after the first end, or at the length of a completion."""
        if isinstance(action, str):
            action = [*self._tokenizer.encode(action, add_special_tokens=False), self._tokenizer.eos_token_id]
        end = next((k + 1 for k, token_id in enumerate(action) if token_id in self.eos_token_ids), len(action))
        return action[: min(end, self.max_completion_length)]


def make_scripted_trainer(
    output_dir, environment, template="qwen3", rows=2, model=None, trainer_class=ScriptedTrainer, **options
):
    """A trainer on the processor with a model of 30 000 weights; every step generates."""
    tokenizer = make_tokenizer(template)
    options = {
        "output_dir": str(output_dir),
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 600,
        "max_turns": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **options,
    }
    trainer = trainer_class(
        model=model or make_model(tokenizer),
        args=InfoPOConfig(**options),
        train_dataset=Dataset.from_list(
            [{"prompt": [{"role": "user", "content": f"book {i} please"}]} for i in range(rows)]
        ),
        processing_class=tokenizer,
        environment_factory=environment,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
