# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The built-in environments. Each is imported when it is first used, and so are the packages that it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .booking import BookingEnv, booking_dataset, booking_oracle
    from .clarify import ClarifyEnv, clarify_dataset, clarify_oracle
    from .cocode import CocodeEnv, cocode_dataset, cocode_oracle
    from .explore import (
        FrozenLakeEnv,
        GymnasiumEnv,
        SokobanEnv,
        TextArenaEnv,
        frozen_lake_dataset,
        frozen_lake_oracle,
        mastermind_oracle,
        sokoban_dataset,
        sokoban_oracle,
        text_game_dataset,
    )
    from .helpdesk import HelpdeskEnv, helpdesk_dataset, helpdesk_oracle

_LAZY = {
    "BookingEnv": ".booking",
    "booking_dataset": ".booking",
    "booking_oracle": ".booking",
    "ClarifyEnv": ".clarify",
    "clarify_dataset": ".clarify",
    "clarify_oracle": ".clarify",
    "CocodeEnv": ".cocode",
    "cocode_dataset": ".cocode",
    "cocode_oracle": ".cocode",
    "FrozenLakeEnv": ".explore",
    "GymnasiumEnv": ".explore",
    "SokobanEnv": ".explore",
    "TextArenaEnv": ".explore",
    "frozen_lake_dataset": ".explore",
    "frozen_lake_oracle": ".explore",
    "mastermind_oracle": ".explore",
    "sokoban_dataset": ".explore",
    "sokoban_oracle": ".explore",
    "text_game_dataset": ".explore",
    "HelpdeskEnv": ".helpdesk",
    "helpdesk_dataset": ".helpdesk",
    "helpdesk_oracle": ".helpdesk",
}

__all__ = [
    "ENVIRONMENTS",
    "BookingEnv",
    "ClarifyEnv",
    "CocodeEnv",
    "EnvironmentFamily",
    "FrozenLakeEnv",
    "GymnasiumEnv",
    "HelpdeskEnv",
    "SokobanEnv",
    "TextArenaEnv",
    "booking_dataset",
    "booking_oracle",
    "clarify_dataset",
    "clarify_oracle",
    "cocode_dataset",
    "cocode_oracle",
    "frozen_lake_dataset",
    "frozen_lake_oracle",
    "helpdesk_dataset",
    "helpdesk_oracle",
    "mastermind_oracle",
    "sokoban_dataset",
    "sokoban_oracle",
    "text_game_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)


@dataclass(frozen=True)
class EnvironmentFamily:
    """
    An environment and its data, for command lines.

    Attributes:
        module (`str`):
            Module of the environment, relative to this package.
        environment (`str`):
            Name of the environment there.
        dataset (`str`):
            Name of its dataset function there.
        user_argument (`str`, *optional*):
            How its constructor takes a user: as `"make_user"` a `UserFactory`, as `"persona"` the name of a persona.
            `None` where there is no user to choose.
        oracle (`str`, *optional*):
            Name of a scripted policy there that solves the tasks from the messages alone.
        validation_split (`str`, *optional*, defaults to `"validation"`):
            Split of the dataset to evaluate on during training.
        summary (`str`, *optional*, defaults to `""`):
            What the agent does, in a line.
    """

    module: str
    environment: str
    dataset: str
    user_argument: str | None = None
    oracle: str | None = None
    validation_split: str = "validation"
    summary: str = ""

    @property
    def make_environment(self) -> Callable[..., Any]:
        return getattr(import_module(self.module, __name__), self.environment)

    @property
    def make_dataset(self) -> Callable[..., Any]:
        """Dataset function with the arguments `split`, `num_rows` and `seed`."""
        return getattr(import_module(self.module, __name__), self.dataset)

    @property
    def play(self) -> Callable[[list[dict], list[Callable]], dict]:
        """The oracle: makes the next assistant message from the messages so far and the tools."""
        return getattr(import_module(self.module, __name__), self.oracle)


ENVIRONMENTS = {
    "booking": EnvironmentFamily(
        ".booking",
        "BookingEnv",
        "booking_dataset",
        "persona",
        oracle="booking_oracle",
        validation_split="test",
        summary="the quick start's game: asks a user through a tool, then books",
    ),
    "clarify": EnvironmentFamily(
        ".clarify",
        "ClarifyEnv",
        "clarify_dataset",
        "make_user",
        oracle="clarify_oracle",
        summary="finds out hidden wishes in plain text, then proposes something",
    ),
    "cocode": EnvironmentFamily(
        ".cocode",
        "CocodeEnv",
        "cocode_dataset",
        "make_user",
        oracle="cocode_oracle",
        summary="asks how a function shall behave, then submits code, which hidden tests score",
    ),
    "helpdesk": EnvironmentFamily(
        ".helpdesk",
        "HelpdeskEnv",
        "helpdesk_dataset",
        "make_user",
        oracle="helpdesk_oracle",
        summary="serves the customer of a shop with tools on a database, by a policy text",
    ),
    "frozen_lake": EnvironmentFamily(
        ".explore",
        "FrozenLakeEnv",
        "frozen_lake_dataset",
        oracle="frozen_lake_oracle",
        summary="crosses a lake whose holes show only from the tile next to them",
    ),
    "sokoban": EnvironmentFamily(
        ".explore",
        "SokobanEnv",
        "sokoban_dataset",
        oracle="sokoban_oracle",
        summary="pushes boxes onto targets on a board that it sees",
    ),
    "text_game": EnvironmentFamily(
        ".explore",
        "TextArenaEnv",
        "text_game_dataset",
        oracle="mastermind_oracle",
        summary="breaks the code of Mastermind, in plain text",
    ),
}
"""The built-in environments, by their names on the command line."""
