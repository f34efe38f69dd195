# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of environments whose world is a gymnasium environment."""

from typing import TYPE_CHECKING, Any

from .common import GAME_OVER, NOTHING_HAPPENS, import_games


if TYPE_CHECKING:
    from gymnasium import Env


class GymnasiumEnv:
    """
    Base class of environments whose world is a gymnasium environment with discrete actions.

    A subclass names the actions, puts observations into words, makes the world in `reset`, and gives the agent a tool.

    - **Observation**: what `_describe` returns. The agent reads [`NOTHING_HAPPENS`] after an action that changes
      nothing that it sees, one that does not exist and one after the end, and [`GAME_OVER`] after the action that ends
      the game.
    - **Tools**: none, the subclass adds its own.
    - **Reward**: the return, the sum of gymnasium's rewards. A subclass whose game has rewards outside of [0, 1] has
      its own `get_reward`.
    - **End**: where gymnasium terminates or truncates.

    Example:

    ```python
    class CliffEnv(GymnasiumEnv):
        actions = ("up", "right", "down", "left")

        def reset(self, seed: int, **row) -> str:
            world = self._gymnasium.make("CliffWalking-v1", max_episode_steps=50)
            return self._start(world, seed)

        def move(self, direction: str) -> str:
            \"\"\"
            Take a step.

            Args:
                direction: One of `up`, `right`, `down`, `left`.
            \"\"\"
            return self._act(direction)

        def _describe(self, observation: int) -> str:
            return f"You are at row {observation // 12}, column {observation % 12}."

        def get_reward(self) -> float:
            return float(self._observation == 47)
    ```
    """

    # Names of the actions, in the order of gymnasium's numbers
    actions: tuple[str, ...]

    done: bool = False
    masked_feedback = NOTHING_HAPPENS
    thread_safe = True

    def __init__(self):
        self._gymnasium = import_games("gymnasium")
        self.done = False

    def get_reward(self) -> float:
        """
        Sum gymnasium's rewards.

        Returns:
            `float`:
                The return of the episode so far.
        """
        return self._return

    def _start(self, world: "Env", seed: int) -> str:
        """
        Start an episode.

        Args:
            world ([`gymnasium.Env`]):
                World to play in.
            seed (`int`):
                Seed of its randomness.

        Returns:
            `str`: The first observation, as a separate paragraph, because TRL appends it to the prompt.
        """
        self._world = world
        self._observation, _ = world.reset(seed=seed)
        self._return = 0.0
        self.done = False
        return f"\n\n{self._describe(self._observation)}"

    def _act(self, action: str) -> str:
        """
        Take an action.

        Args:
            action (`str`):
                Its name, in any case and with spaces around.

        Returns:
            `str`: What the agent reads.
        """
        names = [name.casefold() for name in self.actions]
        name = str(action).strip().casefold()  # a model may send no text
        if self.done or name not in names:
            return NOTHING_HAPPENS
        before = self._describe(self._observation)
        self._observation, reward, terminated, truncated, _ = self._world.step(names.index(name))
        self._return += float(reward)
        self.done = bool(terminated or truncated)
        if self.done:
            return GAME_OVER
        now = self._describe(self._observation)
        return NOTHING_HAPPENS if now == before else now

    def _describe(self, observation: Any) -> str:
        """
        Put an observation into words. Never the reward.

        Args:
            observation (`Any`):
                What gymnasium returned.

        Returns:
            `str`: A short text.
        """
        raise NotImplementedError
