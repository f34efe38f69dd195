# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The clarify task, reduced: two wishes about four topics, which a warm start teaches instead of the prompt."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from trl_infopo.environments import clarify_dataset
from trl_infopo.environments.clarify_domains import DOMAINS

from ..learning.families import FAMILIES, Family
from ..learning.families.clarify import classify_clarify, demonstrate_clarify


if TYPE_CHECKING:
    from datasets import Dataset

DOMAIN = "table"
TOPICS = ("cuisine", "day", "time", "guests")
NUM_WISHES = 2
CLARIFY = FAMILIES["clarify"]
INSTRUCTIONS = {
    "role": "system",
    "content": "\n".join(f"- {name}: {', '.join(DOMAINS[DOMAIN].topics[name].values)}" for name in TOPICS),
}


def reduced_dataset(split: str, num_rows: int, seed: int = 0) -> "Dataset":
    rows = clarify_dataset(split, 4 * num_rows + 20, seed, domains=(DOMAIN,))  # about 3 of 7 have two such wishes
    rows = rows.map(lambda row: {"prompt": row["prompt"][1:], "goal": reduced_goal(row["goal"])})
    rows = rows.filter(lambda row: len(json.loads(row["goal"])) == NUM_WISHES)
    return rows.select(range(num_rows))


def reduced_goal(goal: str) -> str:
    return json.dumps({topic: wish for topic, wish in json.loads(goal).items() if topic in TOPICS})


def demonstrate(messages: list[dict], rng: random.Random) -> dict:
    return demonstrate_clarify([INSTRUCTIONS, *messages], rng)


def play_well(messages: list[dict], tools: list[Callable]) -> dict:
    return CLARIFY.oracle([INSTRUCTIONS, *messages], tools)


def classify(row: dict, messages: list[dict]) -> list[str | None]:
    return classify_clarify({**row, "prompt": [INSTRUCTIONS, *row["prompt"]]}, messages)


REDUCED: Family = replace(
    CLARIFY, make_dataset=reduced_dataset, demonstrate=demonstrate, oracle=play_well, classify=classify
)
