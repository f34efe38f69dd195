# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The policies that runs start from: supervised on conversations of a family's demonstrator."""

import json
import random
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from filelock import FileLock
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_policy, build_tokenizer

from .families import FAMILIES, Family
from .results import CACHE
from .settings import SHARED_OPTIONS


def demonstrations(family: Family, habits: dict, num_rows: int, seed: int) -> Dataset:
    """Conversations of the demonstrator on training tasks, with each kind of user in turn."""
    rng = random.Random(seed)

    def demonstrator(messages: list[dict], tools: list[Callable]) -> dict:
        return family.demonstrate(messages, rng, **habits)

    num_tasks = -(-num_rows // (len(family.tasks) * len(family.users)))
    tasks = [row for options in family.tasks for row in family.make_dataset("train", num_tasks, seed, **options)]
    users = {name: partial(family.make_environment, **options) for name, options in family.users.items()}
    evaluation = evaluate(demonstrator, users, tasks, max_turns=20, show_progress=False)
    rows = []
    for record in evaluation.records:
        for message in record["messages"]:
            for call in message.get("tool_calls") or []:
                # As JSON text: a dataset fills the missing keys of a dict with None
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        rows.append({"messages": record["messages"]})
    return Dataset.from_list(rows)


def load_warm_start(settings: dict, cache: Path = CACHE) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy that all arms of a seed start from, made once and kept for as long as its demonstrations last."""
    family = FAMILIES[settings["family"]]
    tokenizer = build_tokenizer(family.phrases)
    # Where the code of a family changes, so do its demonstrations. A sample of them tells, and is quick to make
    sample = demonstrations(family, settings["habits"], min(256, settings["num_demonstrations"]), settings["seed"])
    content = json.dumps([settings, family.phrases, sample["messages"][:]], sort_keys=True)
    key = sha256(content.encode()).hexdigest()[:12]
    path = cache / "warm_starts" / f"{settings['family']}-{settings['seed']}-{key}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            model = make_warm_start(family, tokenizer, settings)
            temporary = path.with_suffix(".tmp")
            torch.save(model.state_dict(), temporary)
            temporary.replace(path)
    model = build_policy(tokenizer)
    model.load_state_dict(torch.load(path))
    return model, tokenizer


def make_warm_start(family: Family, tokenizer: PreTrainedTokenizerBase, settings: dict) -> PreTrainedModel:
    set_seed(settings["seed"])
    model = build_policy(tokenizer)
    with TemporaryDirectory() as output_dir:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=output_dir,
                seed=settings["seed"],
                max_steps=settings["steps"],
                logging_steps=100,
                **SHARED_OPTIONS,
                **settings["options"],
            ),
            train_dataset=demonstrations(family, settings["habits"], settings["num_demonstrations"], settings["seed"]),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model
