# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Agents and users that the tests of evaluations share."""

import json
import re
from functools import partial
from pathlib import Path

from trl_infopo.environments import BookingEnv, ClarifyEnv
from trl_infopo.environments.booking import KINDS
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts import tiny_agent
from trl_infopo.users import ScriptedUser


quiet = partial(evaluate, show_progress=False)


def call(tool, **arguments):
    function = {"name": tool, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def booking_expert(messages, tools):
    """Asks for each slot of the kind once, books what it heard, says goodbye."""
    request = next(message["content"] for message in messages if message["role"] == "user")
    slots = next(slots for kind, slots in KINDS.items() if kind in request)
    answers = [message["content"] for message in messages if message["role"] == "tool"]
    if len(answers) < len(slots):
        return call("ask", slot=slots[len(answers)])
    if len(answers) == len(slots):
        values = [re.sub("^i want ", "", answer) for answer in answers]
        return call("book", **dict(zip(slots, values, strict=True)))
    return {"role": "assistant", "content": "goodbye"}


def booking_users(*personas):
    return {persona: partial(BookingEnv, persona=persona) for persona in personas}


def clarify_users(*personas):
    return {name: partial(ClarifyEnv, make_user=partial(ScriptedUser, persona=name)) for name in personas}


def lines(output_dir):
    return [json.loads(line) for line in (output_dir / "episodes.jsonl").read_text().splitlines()]


def make_unusable(kind, tmp_path):
    if kind == "file in its place":
        (tmp_path / "out").touch()
    elif kind == "file above it":
        (tmp_path / "above").touch()
        return tmp_path / "above" / "out"
    elif kind == "dangling link":
        (tmp_path / "out").symlink_to(tmp_path / "nowhere" / "out")
    elif kind == "no permission":
        return Path("/proc/self/out")
    return tmp_path / "out"


UNUSABLE = ["file in its place", "file above it", "dangling link", "no permission"]


def save_quickstart_policy(path):
    """Save the quick start's warm start, shortened."""
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(0)
    tokenizer = tiny_agent.build_tokenizer()
    policy = tiny_agent.build_policy(tokenizer)
    SFTTrainer(
        model=policy,
        args=SFTConfig(
            output_dir=path,
            max_steps=100,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            assistant_only_loss=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=tiny_agent.demonstrate(32 * 25),
        processing_class=tokenizer,
    ).train()
    policy.save_pretrained(path)
    tokenizer.save_pretrained(path)
