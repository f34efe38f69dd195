# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A frozen lake: its holes show only to who stands next to them."""

import random
import re

from trl_infopo.environments import FrozenLakeEnv, frozen_lake_dataset, frozen_lake_oracle
from trl_infopo.environments.explore import GAME_OVER, NOTHING_HAPPENS
from trl_infopo.environments.explore.frozen_lake import MOVES, PROMPT

from .common import REPEATED, USEFUL, USELESS, Family, exchanges, first_call, tool_call


SIZE = 4


def read_place(text: str) -> tuple[int, int] | None:
    """Row and column that an observation names, `None` where it names none."""
    places = re.findall(r"You are at row (\d+), column (\d+)\.", text)
    return (int(places[-1][0]), int(places[-1][1])) if places else None


def demonstrate_explore(messages: list[dict], rng: random.Random) -> dict:
    """Step at random, and mind holes and edges three times out of four."""
    view = next(message["content"] for message in reversed(messages) if read_place(message["content"]))
    tiles = {name.lower(): tile for name, tile in re.findall(r"(\w+): (ice|hole|goal|edge)\.", view)}
    is_careful = rng.random() < 0.75
    moves = [name for name, tile in tiles.items() if tile in ("ice", "goal") or not is_careful]
    return tool_call("", "move", direction=rng.choice(moves))


def classify_explore(row: dict, messages: list[dict]) -> list[str | None]:
    """
    A step is useful onto a tile where the agent was not before, since it shows what lies around it, repeated back onto
    one where it was, and useless where nothing happens. The last one shows only that the game is over, and is none.
    """
    kinds, visited = [], {(1, 1)}
    for message, answer in exchanges(messages):
        place = read_place(answer)
        if not first_call(message)[0] or answer == GAME_OVER:
            kinds.append(None)
        elif place is None:
            kinds.append(USELESS)
        else:
            kinds.append(REPEATED if place in visited else USEFUL)
            visited.add(place)
    return kinds


def explore_phrases() -> tuple[str, ...]:
    phrases = [f"<|im_start|>{role}\n" for role in ("user", "assistant", "tool")]
    phrases += ["dummy", "other"]  # what the trainer learns from how the template renders a reply
    phrases += [NOTHING_HAPPENS, GAME_OVER, "\n\n"]
    phrases += ['<tool_call>\n{"name": "move", "arguments": {"direction": "', '"}}\n</tool_call>', *MOVES]
    phrases += [PROMPT.format(size=SIZE)]
    numbers = range(1, SIZE + 1)
    phrases += [f"You are at row {row}, column {column}." for row in numbers for column in numbers]
    phrases += [f" {name.capitalize()}: {tile}." for name in MOVES for tile in ("ice", "hole", "goal", "edge")]
    return tuple(phrases)


EXPLORE = Family(
    make_environment=FrozenLakeEnv,
    make_dataset=frozen_lake_dataset,
    phrases=explore_phrases(),
    demonstrate=demonstrate_explore,
    oracle=frozen_lake_oracle,
    classify=classify_explore,
    placeholder=NOTHING_HAPPENS,
    users={"plain": {"max_moves": 10}},
    tasks=({"size": SIZE},),
)
