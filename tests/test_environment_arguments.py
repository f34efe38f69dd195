# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the constructors and dataset functions of the built-in environments take, and what they refuse."""

import numpy as np
import pytest

from trl_infopo import environments
from trl_infopo.users import Scenario, ScriptedUser


GAMES = ("frozen_lake", "sokoban", "text_game")
FAMILIES = ("booking", "clarify", "cocode", "helpdesk", *GAMES)
NAN = float("nan")


def find(name):
    if name.startswith(("frozen_lake", "sokoban", "text_game", "FrozenLake", "TextArena")):
        pytest.importorskip("gymnasium")
        pytest.importorskip("textarena")
    return getattr(environments, name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split", [None, "", "dev", 3, True, ["train"]]),
        ("num_rows", [None, 0, -1, 1.5, 2.0, True, "3", NAN, [3]]),
        ("seed", [None, -1, 0.5, True, "0", NAN, [3]]),
    ],
)
def test_wrong_arguments_of_datasets_are_named(family, name, values):
    make_dataset = find(f"{family}_dataset")
    for value in values:
        with pytest.raises(ValueError, match=f"^`{name}` is ") as error:
            make_dataset(**{"split": "train", "num_rows": 1, "seed": 0, name: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_of_numpy_are_numbers(family):
    make_dataset = find(f"{family}_dataset")
    rows = make_dataset("train", np.int64(2), np.int32(5))
    assert rows.to_list() == make_dataset("train", 2, 5).to_list()


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        ("BookingEnv", "persona", [None, 3, True, ["plain"], {}, "Plain"]),
        ("ClarifyEnv", "make_user", [None, 3, "plain", ScriptedUser(Scenario("", ()), 0)]),
        ("HelpdeskEnv", "make_user", [None, 3, "plain", ScriptedUser(Scenario("", ()), 0)]),
        ("FrozenLakeEnv", "max_moves", [None, 0, -1, 1.5, True, "3"]),
        ("FrozenLakeEnv", "is_slippery", [None, 0, "false"]),
        ("TextArenaEnv", "game_id", [None, 3, "", ["Mastermind-v0"], "Mastermind"]),
    ],
)
def test_wrong_arguments_of_environments_are_named(make, name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^`{name}` is ") as error:
            find(make)(**{name: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [None, 0, 1, -5, 4.0, True, 10**9])
def test_size_of_lakes(size):
    with pytest.raises(ValueError, match="^`size` is "):
        find("frozen_lake_dataset")("train", 1, size=size)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_smallest_lakes_are_in_every_split(split):
    assert len(find("frozen_lake_dataset")(split, 3, size=2)) == 3


@pytest.mark.parametrize("num_boxes", [None, 0, 4, 1.0, True, "2"])
def test_number_of_boxes(num_boxes):
    with pytest.raises(ValueError, match="^`num_boxes` is "):
        find("sokoban_dataset")("train", 1, num_boxes=num_boxes)


def test_games_of_textarena():
    make = find("TextArenaEnv")
    with pytest.raises(ValueError, match="Did you mean 'Mastermind-v0'"):
        make("Mastermnd-v0")
    with pytest.raises(ValueError, match="'Mastermind-v0' cannot be made with the options .*'code_len'"):
        make(code_len=3)
