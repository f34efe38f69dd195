# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Games of textarena for one player, in plain text."""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..._options import check_choice, check_draw, check_text, did_you_mean
from ..._show import show
from .common import GAME_OVER, NOTHING_HAPPENS, SPLITS, import_games, split_of


if TYPE_CHECKING:
    from datasets import Dataset

# Number of levels drawn in a row outside the split, after which it counts as empty
MAX_MISSES = 1000
# Games that read the whole message: several moves in brackets, or a question besides a guess
WHOLE_MESSAGE = ("Crosswords", "GuessWho", "TowerOfHanoi", "TwentyQuestions")


class TextArenaGame:
    """
    A game of textarena for one player, as a user whose reply to each message is the game's answer.

    textarena draws from Python's global random numbers, and seeds them. A game here has random numbers of its own,
    which replace the global ones while it runs, so that game and training do not disturb each other.

    Args:
        game_id (`str`):
            Name of the game in textarena, such as `"Mastermind-v0"`.
        **options:
            Arguments of the game, such as `max_turns`.

    Attributes:
        instructions (`str`):
            What textarena tells the player before the game.
        done (`bool`):
            Whether the game has ended.
        is_won (`bool`):
            Whether it was won.

    Raises:
        `ImportError`: If textarena is not installed.
        `ValueError`: If it has no such game, or the game has no such options.
    """

    def __init__(self, game_id: str, **options):
        check_text("game_id", game_id)
        self._textarena = import_games("textarena")
        self._reads_whole_message = game_id.startswith(WHOLE_MESSAGE)
        games = self._textarena.envs.registration.ENV_REGISTRY
        if game_id not in games:
            raise ValueError(
                f"`game_id` is {show(game_id)}, which textarena does not have.{did_you_mean(game_id, games)}"
            )
        try:
            self._game = self._textarena.make(game_id, **options)
        except TypeError as error:
            raise ValueError(f"{game_id!r} cannot be made with the options {options}: {error}.") from error
        # The wrappers repeat the whole game in each observation, which the conversation holds already
        while isinstance(self._game, self._textarena.Wrapper):
            self._game = self._game.env
        self.done = self.is_won = False

    def start(self, seed: int) -> str:
        """
        Start a game.

        Args:
            seed (`int`):
                Seed of the level and of the random choices of the game.

        Returns:
            `str`: The observation before the first move, empty if the instructions contain it.
        """
        self._random_state = random.Random(seed).getstate()
        with self._own_random_numbers():
            self._game.reset(num_players=1, seed=seed)
        self.done = self.is_won = False
        self.instructions, observation = self._read()
        return observation

    def play(self, move: str) -> str:
        """
        Make a move.

        Args:
            move (`str`):
                Text that contains the move, in the notation of the game. Of several groups in brackets the last one is
                the move, so that the text before it may quote others.

        Returns:
            `str`: What the game says: one fixed wording for moves without effect, and one for the end.
        """
        if self.done:
            return NOTHING_HAPPENS
        groups = re.findall(r"\[[^\[\]]*\]", move)
        if groups and not self._reads_whole_message:
            move = groups[-1]  # most games take the first one
        with self._own_random_numbers():
            try:
                self._game.step(move)
            except (ValueError, OverflowError):  # some games convert what a move says without a look at it
                return NOTHING_HAPPENS
        state = self._game.state
        # textarena goes on for one move more than it tells the player, and some games crash when that one is illegal
        is_last = state.max_turns is not None and state.turn >= state.max_turns
        self.done = state.done or is_last
        self.is_won = state.rewards == {0: 1}
        _, observation = self._read()
        return GAME_OVER if self.done else observation or NOTHING_HAPPENS

    def reply(self, messages: list[dict]) -> str:
        """
        Make the move that the agent's last message contains.

        Args:
            messages (`list[dict]`):
                The conversation.

        Returns:
            `str`: What the game says.
        """
        return self.play(messages[-1]["content"])

    def level(self) -> str:
        """
        Everything that distinguishes this level from others, right after [`TextArenaGame.start`].

        Returns:
            `str`: The game's state as JSON.
        """
        return json.dumps(self._game.state.game_state, sort_keys=True, default=_sorted_set)

    def _read(self) -> tuple[str, str]:
        """The new instructions and the new observation."""
        kinds = self._textarena.ObservationType
        _, messages = self._game.get_observation()
        if any(kind is kinds.GAME_ADMIN for _, _, kind in messages):  # an illegal move
            return "", NOTHING_HAPPENS
        instructions = [text.strip() for _, text, kind in messages if kind is kinds.PROMPT]
        said = [text.strip() for _, text, kind in messages if kind not in (kinds.PROMPT, kinds.PLAYER_ACTION)]
        return "\n".join(instructions), "\n".join(said)

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        outside = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(outside)


def _sorted_set(value: object) -> list:
    if not isinstance(value, set):
        raise ValueError(
            f"The state of this game holds a {type(value).__name__}, which has no JSON, so that its levels cannot be "
            "told apart. Take another game, or make a dataset of your own, with the column `seed`."
        )
    return sorted(value)


class TextArenaEnv:
    """
    A game of textarena for one player in plain text: there is no human user, the game answers.

    This class takes any game of one player that runs offline. Of those in textarena 0.7, Hangman, Wordle, WordLadder
    and WordSearch need word lists of nltk, GuessWho and TwentyQuestions a model behind an API, and Countdown and
    Slitherlink mix up their own messages. Some games, LightsOut among them, tell the player how much is done: read
    what a game says before you train on it.

    - **Observation**: the instructions and the first position are appended to the prompt, then the game answers each
      message of the agent. An illegal move says [`NOTHING_HAPPENS`], the last one [`GAME_OVER`], won or lost.
    - **Tools**: none.
    - **Reward**: 1 when the game is won, else 0. The partial credit of textarena is left out: a player who does not
      read the answers gets it as well.
    - **End**: when the game ends, after the number of turns that the instructions name, or at the second illegal move
      in a row.

    Args:
        game_id (`str`, *optional*, defaults to `"Mastermind-v0"`):
            Name of the game in textarena.
        **options:
            Arguments of the game, such as `max_turns`.

    Raises:
        `ImportError`: If textarena is not installed.
        `ValueError`: If it has no such game, or the game has no such options.

    Example:

    ```python
    >>> from functools import partial

    >>> from trl_infopo.environments.explore import TextArenaEnv

    >>> make_env = partial(TextArenaEnv, "GuessTheNumber-v0", max_number=1000)  # an environment factory
    >>> env = make_env()
    >>> instructions = env.reset(seed=0)
    >>> env.user.reply([{"role": "assistant", "content": "Is it [500]?"}])
    'The target number is higher.'
    ```
    """

    masked_feedback = NOTHING_HAPPENS
    # Not `thread_safe`: textarena draws from Python's global random numbers

    user: TextArenaGame

    def __init__(self, game_id: str = "Mastermind-v0", **options):
        self.user = TextArenaGame(game_id, **options)

    @property
    def done(self) -> bool:
        return self.user.done

    def reset(self, seed: int, **row) -> str:
        """
        Start a game.

        Args:
            seed (`int`):
                Seed of the game.
            **row:
                Other columns of the dataset, unused.

        Returns:
            `str`: The instructions and the first position, for the end of the prompt.
        """
        position = self.user.start(seed)
        return f"\n\n{self.user.instructions}\n\n{position}".rstrip()

    def get_reward(self) -> float:
        """
        Check whether the game is won.

        Returns:
            `float`:
                1.0 when it is, else 0.0.
        """
        return float(self.user.is_won)


def draw_seeds(
    game: TextArenaGame, split: str, num_rows: int, seed: int, is_wanted: Callable[[str], bool] = lambda position: True
) -> list[int]:
    """
    Draw seeds of a game whose levels belong to a split.

    Args:
        game ([`TextArenaGame`]):
            Game to draw for.
        split (`str`):
            `"train"`, `"validation"` or `"test"`.
        num_rows (`int`):
            Number of seeds.
        seed (`int`):
            Seed of the draw.
        is_wanted (`Callable[[str], bool]`, *optional*):
            Decides from the first position whether to take a level.

    Returns:
        `list[int]`: The seeds.

    Raises:
        `ValueError`: If there is no such split, or no level of the game in it.
    """
    check_choice("split", split, SPLITS)
    check_draw(num_rows, seed)
    rng = random.Random(int(seed))
    seeds, misses = [], 0
    while len(seeds) < num_rows:
        game_seed = rng.getrandbits(31)
        position = game.start(game_seed)
        if split_of(game.level()) == split and is_wanted(position):
            seeds.append(game_seed)
            misses = 0
        elif (misses := misses + 1) == MAX_MISSES:
            raise ValueError(
                f"{MAX_MISSES} seeds in a row gave no level of the split {split!r}: the game has too few levels, or "
                "does not draw them when it starts. Take another game, or other options."
            )
    return seeds


def text_game_dataset(
    split: str, num_rows: int, seed: int = 0, game_id: str = "Mastermind-v0", **options
) -> "Dataset":
    """
    Draw games for [`TextArenaEnv`] of the same `game_id` and options.

    A hash of the game's state at the start assigns each level, such as the code to find, to one split.

    Args:
        split (`str`):
            `"train"` (three fifths of the levels), `"validation"` or `"test"`.
        num_rows (`int`):
            Number of games to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        game_id (`str`, *optional*, defaults to `"Mastermind-v0"`):
            Name of the game in textarena.
        **options:
            Arguments of the game.

    Returns:
        [`~datasets.Dataset`]: Dataset with the columns `prompt` (conversational) and `seed`.

    Raises:
        `ValueError`: If there is no such split, or no level of the game in it.
    """
    from datasets import Dataset

    prompt = [{"role": "user", "content": "Play this game. Make one move in each message."}]
    seeds = draw_seeds(TextArenaGame(game_id, **options), split, num_rows, seed)
    return Dataset.from_list([{"prompt": prompt, "seed": game_seed} for game_seed in seeds])
