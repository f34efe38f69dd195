# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
