# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The clarify task with one domain, whose topics stay out of the prompt: the warm start teaches them."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from trl_infopo.environments import clarify_dataset

from ..learning.families import FAMILIES, Family
from ..learning.families.clarify import classify_clarify, demonstrate_clarify


if TYPE_CHECKING:
    from datasets import Dataset

DOMAIN = "table"
CLARIFY = FAMILIES["clarify"]
[ROW] = clarify_dataset("train", 1, domains=(DOMAIN,))
INSTRUCTIONS = ROW["prompt"][0]


def reduced_dataset(split: str, num_rows: int, seed: int = 0) -> "Dataset":
    rows = clarify_dataset(split, num_rows, seed, domains=(DOMAIN,))
    return rows.map(lambda row: {"prompt": row["prompt"][1:]})


def demonstrate(messages: list[dict], rng: random.Random) -> dict:
    return demonstrate_clarify([INSTRUCTIONS, *messages], rng)


def play_well(messages: list[dict], tools: list[Callable]) -> dict:
    return CLARIFY.oracle([INSTRUCTIONS, *messages], tools)


def classify(row: dict, messages: list[dict]) -> list[str | None]:
    return classify_clarify({**row, "prompt": [INSTRUCTIONS, *row["prompt"]]}, messages)


REDUCED: Family = replace(
    CLARIFY, make_dataset=reduced_dataset, demonstrate=demonstrate, oracle=play_well, classify=classify
)
