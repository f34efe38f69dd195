# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Two optimizer steps of a tiny policy in an environment of others, and what has to hold in them."""

import json

import torch
from datasets import Dataset
from scripted_agents import ScriptedTrainer
from test_conversations import blocks, scaffold
from tiny_agents import make_model, make_tokenizer
from transformers import PrinterCallback

from trl_infopo import InfoPOConfig


def train_two_steps(output_dir, factory, rows: list[dict], act, coef: float, **options):
    """
    Train two steps in which every other rollout acts as `act(messages, tools)` says and the rest only say "hm", and
    check that masks and tokens are those of the conversations, that gains are finite, and that the weights move. The
    prompts of the rows must differ.

    Returns:
        `list[dict]`: Prompt, completion and reward of every rollout.
    """
    tokenizer = make_tokenizer("qwen3")
    options = {
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 1500,
        "max_turns": 4,
        "log_information_gain": coef > 0,
        **options,
    }
    trainer = ScriptedTrainer(
        model=make_model(tokenizer, max_position_embeddings=options.pop("max_position_embeddings", 4096)),
        args=InfoPOConfig(
            output_dir=str(output_dir),
            max_steps=2,
            info_gain_coef=coef,
            learning_rate=1e-3,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **options,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory=factory,
    )
    trainer.remove_callback(PrinterCallback)

    said, rollouts = {}, []

    def script(rollout: int, action: int) -> str:
        episode = trainer._episodes[rollout % len(trainer._episodes)]
        said.setdefault(episode.name, []).append("hm")
        if rollout % 2:
            return "hm"
        message = act(episode.prompt + episode.completion + episode.feedback, list(episode.tools.values()))
        calls = [
            f"<tool_call>\n{json.dumps(call['function'])}\n</tool_call>" for call in message.get("tool_calls", [])
        ]
        said[episode.name][-1] = "\n".join([*filter(None, [message.get("content")]), *calls])
        return said[episode.name][-1]

    trainer.script = script
    play, reward = trainer._tool_call_loop, trainer._calculate_rewards

    def watch(prompts, prompt_ids, *args):
        output = play(prompts, prompt_ids, *args)
        for episode, ids, mask, sampled in zip(trainer._episodes, prompt_ids, output[0], output[2], strict=True):
            prompt = tokenizer.apply_chat_template(
                episode.prompt,
                tools=list(episode.tools.values()) or None,
                chat_template=trainer.chat_template,
                add_generation_prompt=True,
                tokenize=False,
            )
            assert tokenizer.decode(ids) == prompt
            expected_ids, expected_mask = [], []
            for text, feedback in zip(said[episode.name], blocks(episode.completion), strict=True):
                own = trainer._ids(text)
                back = tokenizer.encode(scaffold(feedback), add_special_tokens=False) if feedback else []
                expected_ids += own + back
                expected_mask += [1] * len(own) + [0] * len(back)
            assert (sampled, mask) == (expected_ids, expected_mask)
            rollouts.append({"prompt": episode.prompt, "completion": episode.completion})
        return output

    def keep(*args):
        rewards = reward(*args)
        for rollout, value in zip(rollouts[-len(rewards) :], rewards[:, 0].tolist(), strict=True):
            rollout["reward"] = value
        return rewards

    trainer._tool_call_loop, trainer._calculate_rewards = watch, keep
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 2
    assert len(rollouts) == 8
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    moved = any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    assert moved or (coef == 0 and len({rollout["reward"] for rollout in rollouts}) == 1)
    gains = [log for log in trainer.state.log_history if "infopo/information_gain/mean" in log]
    assert len(gains) == (2 if coef else 0)  # `log` leaves out what is not finite
    return rollouts
