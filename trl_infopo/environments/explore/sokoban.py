# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""textarena's Sokoban behind a tool, with a solver."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..._options import check_number
from .common import GAME_OVER, NOTHING_HAPPENS, tool_call
from .textarena_env import TextArenaGame, draw_seeds


if TYPE_CHECKING:
    from datasets import Dataset

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
BOARD = "Current Board:"
MAX_MOVES = 30
# A level is taken when its shortest solution has this many moves: not done by chance, and with room for detours
SOLUTION_LENGTHS = range(5, 16)

PROMPT = f"""\
Solve a Sokoban puzzle: push each box onto a goal. On the board, `P` is you, `#` a wall, `X` a box, `O` a goal, `√` a \
box on a goal, `_` the floor. A goal does not show while you stand on it. You push a box by walking against it, if \
there is room behind it, and you cannot pull. You have {MAX_MOVES} moves. Two moves in a row that are not possible \
lose the game. Walk with the tool `move`."""


class SokobanEnv:
    """
    Sokoban: push boxes onto goals. The levels and the rules are those of textarena's `Sokoban-v0`, behind a tool.

    This is the control with full information among the environments. The first board shows everything and nothing is
    random, so that a plan made from it and followed blindly solves the level: nothing has to be asked or found out.
    The board after each move only saves the agent from keeping track of it.

    - **Observation**: the board after each move, the first one appended to the prompt. A move that is not possible
      says [`NOTHING_HAPPENS`], the last one [`GAME_OVER`], solved or not.
    - **Tools**: `move` takes a step and pushes.
    - **Reward**: 1 when all boxes are on goals, else 0.
    - **End**: when solved, after 30 moves, or at the second move in a row that is not possible.

    Raises:
        `ImportError`: If textarena is not installed.

    Example:

    ```python
    >>> from trl_infopo.environments.explore import SokobanEnv

    >>> env = SokobanEnv()
    >>> print(env.reset(seed=0, num_boxes=1).strip())
    Current Board:
    <BLANKLINE>
    # # # # # #
    # _ _ O _ #
    # # _ _ _ #
    # # # X _ #
    # # # P _ #
    # # # # # #
    <BLANKLINE>
    Available Moves: up, down, left, right
    ```
    """

    done: bool  # a property below; the annotation says that it ends the episode
    masked_feedback = NOTHING_HAPPENS
    # Not `thread_safe`: textarena draws from Python's global random numbers

    def __init__(self):
        self._game = _make_game(num_boxes=1)

    @property
    def done(self) -> bool:
        return self._game.done

    def reset(self, seed: int, num_boxes: int, **row) -> str:
        """
        Start a level.

        Args:
            seed (`int`):
                Seed of the level.
            num_boxes (`int`):
                Number of boxes of the level.
            **row:
                Other columns of the dataset, unused.

        Returns:
            `str`: The board, for the end of the prompt.
        """
        self._game = _make_game(num_boxes)
        return f"\n\n{self._game.start(seed)}"

    def move(self, direction: str) -> str:
        """
        Take one step, and push the box that is in the way.

        Args:
            direction: Where to go, one of `up`, `down`, `left`, `right`.

        Returns:
            The board.
        """
        return self._game.play(f"[{str(direction).strip()}]")

    def get_reward(self) -> float:
        """
        Check whether the level is solved.

        Returns:
            `float`:
                1.0 when it is, else 0.0.
        """
        return float(self._game.is_won)


def sokoban_dataset(split: str, num_rows: int, seed: int = 0, num_boxes: int = 2) -> "Dataset":
    """
    Draw levels for [`SokobanEnv`] with textarena's own generator, each checked by a solver.

    Rooms have 6 rows and 6 columns, walls included. The shortest solution has 5 to 15 moves. A hash of its board
    assigns each level to one split.

    Args:
        split (`str`):
            `"train"` (three fifths of the levels), `"validation"` or `"test"`.
        num_rows (`int`):
            Number of levels to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        num_boxes (`int`, *optional*, defaults to `2`):
            Number of boxes, 1 to 3. With three, textarena needs a tenth of a second to draw a level, and again to play
            it.

    Returns:
        [`~datasets.Dataset`]: Dataset with the columns `prompt` (conversational), `seed` and `num_boxes`.

    Raises:
        `ValueError`: If there is no such split, or a number is not a whole number or is out of range.
    """
    from datasets import Dataset

    def is_wanted(board: str) -> bool:
        return len(solve(board) or ()) in SOLUTION_LENGTHS

    check_number("num_boxes", num_boxes, integer=True, at_least=1, at_most=3)
    seeds = draw_seeds(_make_game(num_boxes), split, num_rows, seed, is_wanted)
    prompt = [{"role": "user", "content": PROMPT}]
    return Dataset.from_list([{"prompt": prompt, "seed": level, "num_boxes": num_boxes} for level in seeds])


def sokoban_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Play the first move of a shortest solution of the last board.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Tools of [`SokobanEnv`].

    Returns:
        `dict`: The next assistant message.
    """
    if messages[-1]["content"] == GAME_OVER:
        return {"role": "assistant", "content": "I have finished."}
    board = next(message["content"] for message in reversed(messages) if BOARD in message["content"])
    solution = solve(board)
    if solution is None:
        return {"role": "assistant", "content": "The boxes are stuck."}
    return tool_call("move", direction=solution[0])


def solve(text: str) -> list[str] | None:
    """
    Find a shortest solution, by a breadth-first search over the positions of the player and the boxes.

    Args:
        text (`str`):
            Text that ends with a board as [`SokobanEnv`] shows it.

    Returns:
        `list[str]` or `None`: Moves, or `None` where there is no solution.
    """
    lines = text.rpartition(BOARD)[2].split("\n")
    rows = [line.split() for line in lines if line.startswith("#")]
    places = {mark: set() for mark in "#_OX√P"}
    for row, marks in enumerate(rows):
        for column, mark in enumerate(marks):
            places[mark].add((row, column))
    walls, goals, boxes = places["#"], places["O"] | places["√"], places["X"] | places["√"]
    [player] = places["P"]
    if len(goals) < len(boxes):  # there is a goal for each box, the missing one is under the player
        goals.add(player)

    start = (player, frozenset(boxes))
    came_from = {start: None}
    queue = deque(came_from)
    while queue:
        state = queue.popleft()
        if state[1] == goals:
            moves = []
            while came_from[state]:
                state, move = came_from[state]
                moves.append(move)
            return moves[::-1]
        for move, step in MOVES.items():
            following = _walk(*state, step, walls)
            if following is not None and following not in came_from:
                came_from[following] = (state, move)
                queue.append(following)
    return None


def _walk(
    player: tuple[int, int], boxes: frozenset[tuple[int, int]], step: tuple[int, int], walls: set[tuple[int, int]]
) -> tuple[tuple[int, int], frozenset[tuple[int, int]]] | None:
    """Player and boxes after a step, `None` where it is not possible."""
    ahead = (player[0] + step[0], player[1] + step[1])
    if ahead in walls:
        return None
    if ahead in boxes:
        behind = (ahead[0] + step[0], ahead[1] + step[1])
        if behind in walls or behind in boxes:
            return None
        boxes = boxes - {ahead} | {behind}
    return ahead, boxes


def _make_game(num_boxes: int) -> TextArenaGame:
    return TextArenaGame("Sokoban-v0", num_boxes=num_boxes, max_turns=MAX_MOVES)
