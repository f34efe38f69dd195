# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts without a policy: the same tokens in every run, whatever the weights and the number of processes."""

import random

from tiny_agents import make_tokenizer


TOKENIZER = make_tokenizer()


def make_rollout(seed, num_questions: int) -> dict[str, list[int]]:
    """Actions of random length with questions between them; scaffolding around the content of each answer."""
    rng = random.Random(str(seed))
    start, end = TOKENIZER.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])

    def words(low: int, high: int) -> list[int]:
        return [rng.randrange(5, 500) for _ in range(rng.randint(low, high))]

    ids, env_mask, content_mask = [], [], []
    for k in range(num_questions + 1):
        action = [*words(2, 6), end]
        ids += action
        env_mask += [1] * len(action)
        content_mask += [0] * len(action)
        if k < num_questions:
            content = words(3, 9)
            ids += [start, *content, end, start]
            env_mask += [0] * (len(content) + 3)
            content_mask += [0, *[1] * len(content), 0, 0]
    return {"completion_ids": ids, "env_mask": env_mask, "feedback_content_mask": content_mask}


class ScriptedRollouts:
    """A `rollout_func`. `num_questions` gives the number of questions of the rollout with a global index."""

    def __init__(self, num_questions, with_content_mask: bool = True):
        self.num_questions = num_questions
        self.with_content_mask = with_content_mask
        self.step = 0

    def __call__(self, prompts, trainer):
        self.step += 1
        first = trainer.accelerator.process_index * len(prompts)
        rollouts = [make_rollout((self.step, first + i), self.num_questions(first + i)) for i in range(len(prompts))]
        output = {key: [rollout[key] for rollout in rollouts] for key in rollouts[0]}
        if not self.with_content_mask:
            del output["feedback_content_mask"]
        output["prompt_ids"] = TOKENIZER.apply_chat_template(prompts, add_generation_prompt=True)["input_ids"]
        output["logprobs"] = [[0.0] * len(ids) for ids in output["completion_ids"]]
        return output


def parity_reward(completion_ids, **kwargs) -> list[float]:
    """0 or 1, from the tokens alone."""
    return [float(sum(ids) % 2) for ids in completion_ids]
