# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""gymnasium's frozen lake with a hidden map."""

import random
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..._options import check_bool, check_choice, check_draw, check_number
from .common import GAME_OVER, SPLITS, import_games, split_of, tool_call
from .gymnasium_env import GymnasiumEnv


if TYPE_CHECKING:
    from datasets import Dataset

MOVES = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}  # in the order of gymnasium's numbers
TILES = {"S": "ice", "F": "ice", "H": "hole", "G": "goal"}

PROMPT = """\
You stand on a frozen lake of {size} rows and {size} columns, in row 1, column 1. The goal is in row {size}, \
column {size}. There are holes in the ice, and you see only the four tiles next to you. Who falls into a hole has \
lost. Go to the goal with the tool `move`, one step at a time."""


class FrozenLakeEnv(GymnasiumEnv):
    """
    Cross a frozen lake whose holes show only from the tiles next to them: gymnasium's `FrozenLake-v1`, map hidden.

    - **Observation**: where the agent is and what lies on the four sides: `ice`, `hole`, `goal` or `edge`. The first
      one is appended to the prompt. A step against the edge says [`NOTHING_HAPPENS`], the last one [`GAME_OVER`],
      into the goal or into a hole.
    - **Tools**: `move` takes a step.
    - **Reward**: 1 at the goal, else 0.
    - **End**: the goal, a hole, or the last of `max_moves` steps. Steps against the edge count.

    Args:
        max_moves (`int`, *optional*, defaults to `30`):
            Number of steps after which the game ends.
        is_slippery (`bool`, *optional*, defaults to `False`):
            Whether a step goes to one side of the intended direction in two of three cases. Then no policy reaches the
            goal every time.

    Raises:
        `ImportError`: If gymnasium is not installed.

    Example:

    ```python
    >>> from trl_infopo.environments.explore import FrozenLakeEnv

    >>> env = FrozenLakeEnv()
    >>> env.reset(lake=["SFH", "HFF", "FFG"], seed=0)
    '\\n\\nYou are at row 1, column 1. Left: edge. Down: hole. Right: ice. Up: edge.'
    >>> env.move("right")
    'You are at row 1, column 2. Left: ice. Down: ice. Right: hole. Up: edge.'
    >>> env.move("up")
    'Nothing happens.'
    >>> env.move("right")
    'The game is over.'
    >>> env.get_reward()
    0.0
    ```
    """

    actions = tuple(MOVES)

    def __init__(self, max_moves: int = 30, is_slippery: bool = False):
        check_number("max_moves", max_moves, integer=True, at_least=1)
        check_bool("is_slippery", is_slippery)
        super().__init__()
        self._max_moves = max_moves
        self._is_slippery = is_slippery

    def reset(self, lake: list[str], seed: int = 0, **row) -> str:
        """
        Start an episode at the top left of a lake.

        Args:
            lake (`list[str]`):
                Rows of the map in gymnasium's letters: `S` start, `F` frozen, `H` hole, `G` goal.
            seed (`int`, *optional*, defaults to `0`):
                Seed of the slips.
            **row:
                Other columns of the dataset, unused.

        Returns:
            `str`: The first observation, for the end of the prompt.
        """
        self._lake = lake
        world = self._gymnasium.make(
            "FrozenLake-v1", desc=lake, is_slippery=self._is_slippery, max_episode_steps=self._max_moves
        )
        return self._start(world, seed)

    def move(self, direction: str) -> str:
        """
        Take one step on the ice.

        Args:
            direction: Where to go, one of `left`, `down`, `right`, `up`.

        Returns:
            Where you are and what lies next to you.
        """
        return self._act(direction)

    def _describe(self, observation: int) -> str:
        row, column = divmod(int(observation), len(self._lake[0]))
        sides = {name: self._tile(row + down, column + right) for name, (down, right) in MOVES.items()}
        seen = " ".join(f"{name.capitalize()}: {tile}." for name, tile in sides.items())
        return f"You are at row {row + 1}, column {column + 1}. {seen}"

    def _tile(self, row: int, column: int) -> str:
        is_inside = 0 <= row < len(self._lake) and 0 <= column < len(self._lake[0])
        return TILES[self._lake[row][column]] if is_inside else "edge"


def frozen_lake_dataset(split: str, num_rows: int, seed: int = 0, size: int = 5) -> "Dataset":
    """
    Draw lakes for [`FrozenLakeEnv`] with gymnasium's own generator, each with a way to the goal.

    Seven tiles of ten are frozen. A hash of its map assigns each lake to one split.

    Args:
        split (`str`):
            `"train"` (three fifths of the lakes), `"validation"` or `"test"`.
        num_rows (`int`):
            Number of lakes to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        size (`int`, *optional*, defaults to `5`):
            Number of rows and of columns of a lake, 2 to 100.

    Returns:
        [`~datasets.Dataset`]: Dataset with the columns `prompt` (conversational), `lake` and `seed`.

    Raises:
        `ValueError`: If there is no such split, or a number is not a whole number or is out of range.
    """
    from datasets import Dataset

    check_choice("split", split, SPLITS)
    check_draw(num_rows, seed)
    check_number("size", size, integer=True, at_least=2, at_most=100)
    generate = import_games("gymnasium.envs.toy_text.frozen_lake").generate_random_map
    rng = random.Random(int(seed))
    rows = []
    while len(rows) < num_rows:
        lake_seed = rng.getrandbits(31)
        lake = generate(size, p=0.7, seed=lake_seed)
        if split_of("/".join(lake)) == split:
            prompt = [{"role": "user", "content": PROMPT.format(size=size)}]
            rows.append({"prompt": prompt, "lake": lake, "seed": lake_seed})
    return Dataset.from_list(rows)


def frozen_lake_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Explore the lake: follow the shortest path to the goal, given the tiles seen so far, and assume that unseen tiles
    are ice.

    It never steps onto a tile that it has not seen, since it has seen the four next to it.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Tools of [`FrozenLakeEnv`].

    Returns:
        `dict`: The next assistant message.
    """
    if messages[-1]["content"] == GAME_OVER:
        return {"role": "assistant", "content": "I have finished."}
    text = "\n".join(message["content"] for message in messages)
    size = int(re.search(r"frozen lake of (\d+) rows", text)[1])
    holes = set()
    for row, column, *sides in re.findall(r"at row (\d+), column (\d+)\." + r" \w+: (\w+)\." * 4, text):
        here = (int(row), int(column))
        for (down, right), tile in zip(MOVES.values(), sides, strict=True):
            if tile == "hole":
                holes.add((here[0] + down, here[1] + right))

    # Search backwards from the goal, so that the first step of the way is at hand when the search arrives
    distances = {(size, size): 0}
    queue = deque(distances)
    while queue:
        tile = queue.popleft()
        for neighbour in _neighbours(tile):
            is_open = 1 <= neighbour[0] <= size and 1 <= neighbour[1] <= size and neighbour not in holes
            if is_open and neighbour not in distances:
                distances[neighbour] = distances[tile] + 1
                queue.append(neighbour)
    steps = dict(zip(MOVES, _neighbours(here), strict=True))
    direction = min(steps, key=lambda name: distances.get(steps[name], size * size))
    return tool_call("move", direction=direction)


def _neighbours(tile: tuple[int, int]) -> list[tuple[int, int]]:
    return [(tile[0] + down, tile[1] + right) for down, right in MOVES.values()]
