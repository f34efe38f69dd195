# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Worlds to explore: frozen lakes, Sokoban, and games of textarena."""

from .common import GAME_OVER, NOTHING_HAPPENS
from .frozen_lake import FrozenLakeEnv, frozen_lake_dataset, frozen_lake_oracle
from .gymnasium_env import GymnasiumEnv
from .mastermind import mastermind_oracle
from .sokoban import SokobanEnv, sokoban_dataset, sokoban_oracle
from .textarena_env import TextArenaEnv, TextArenaGame, text_game_dataset


__all__ = [
    "GAME_OVER",
    "NOTHING_HAPPENS",
    "FrozenLakeEnv",
    "GymnasiumEnv",
    "SokobanEnv",
    "TextArenaEnv",
    "TextArenaGame",
    "frozen_lake_dataset",
    "frozen_lake_oracle",
    "mastermind_oracle",
    "sokoban_dataset",
    "sokoban_oracle",
    "text_game_dataset",
]
