# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What rollouts of a batch share: state in the class, and what shows when they are played at the same time."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations, islice, product

from .._environment import hears_end
from .._show import safe_repr
from .findings import ERROR, WARNING, Checkup, say
from .playing import Play, Table, add_chance, first_difference, play_new


BATCH = 8  # episodes that are played at the same time
NUM_REPLAYS = 16  # episodes that are played once more where data of the class has changed


def class_state(kind: type) -> dict[str, str]:
    """The data of a class, as text."""
    attributes = {name: value for cls in reversed(kind.__mro__[:-1]) for name, value in vars(cls).items()}
    return {
        name: safe_repr(value)
        for name, value in attributes.items()
        if not name.startswith("__") and isinstance(value, bool | int | float | str | list | dict | set | tuple | None)
    }


def check_class(checkup: Checkup, table: Table, plays: dict[int, Play], before: dict[str, str]) -> None:
    """Whether episodes change data of the class, and not only load it: then known episodes would change nothing."""
    kind = table.factory.kind
    after = class_state(kind)
    changed = [name for name, value in after.items() if before.get(name) != value]
    going_on = []
    for i in islice(plays, NUM_REPLAYS if changed else 2):  # the last one before may have left what had been there
        with suppress(Exception):  # there is a finding for it
            table.play(table.factory.factory(), i)
        now = class_state(kind)
        going_on += [name for name, value in now.items() if after.get(name) != value]
    if going_on:
        checkup.add(
            "state in the class",
            ERROR,
            f"`{kind.__name__}.{going_on[0]}` of the class changed while episodes were played",
            "Set it on `self` in `reset`: what is in the class is shared by all rollouts of a batch.",
        )
    elif changed and not _is_reproducible(checkup):
        checkup.add(
            "state in the class",
            WARNING,
            f"`{kind.__name__}.{changed[0]}` of the class changed in the first episodes, which cannot be reproduced",
            "If it is data that is only read, load it in `__init__` or at import; else set it on `self` in `reset`.",
        )


def check_sharing(checkup: Checkup, table: Table, plays: dict[int, Play]) -> None:
    """Play episodes at the same time, each of which has been played alone, and compare."""
    if not plays or not _is_reproducible(checkup):
        return
    num_rows = len(table.rows)
    # Different tasks as far as there are, and long episodes, which have the most to do with each other
    batch = sorted(plays, key=lambda i: (i // num_rows, -plays[i].episode.num_actions))[:BATCH]
    same_task = [j for i in batch[:3] for j in (i, i, i + num_rows)]  # with the same actions, and with others
    alone = dict(plays)
    for i in sorted({*same_task} - plays.keys()):
        if (play := play_new(checkup, table, i)) is not None:
            alone[i] = play
    for episodes in (batch, [i for i in same_task if i in alone]):
        if (seen := _find_sharing(checkup, table, episodes, alone)) is not None:
            checkup.add(
                "state shared by environments",
                ERROR,
                seen,
                "Make what an episode changes in `reset`, and keep it on `self`: the rollouts of a batch are played "
                "at the same time, and share what is in a global, in the class, in a default argument or in a file.",
            )
            return


def _is_reproducible(checkup: Checkup) -> bool:
    return all(finding.name != "not reproducible" for finding in checkup.findings)


def _find_sharing(checkup: Checkup, table: Table, batch: list[int], alone: dict[int, Play]) -> str | None:
    """How an episode went differently because of another one at the same time; `None` where none did."""
    if not _differences(table, batch, alone):
        return None
    try:  # alone once more, as chance may be the reason
        for i in dict.fromkeys(batch):
            now = table.play(table.factory.factory(), i)
            if now.transcript() != alone[i].transcript():
                lone, seen = first_difference(alone[i], now)
                add_chance(checkup, f"{table.name(i)}: {lone} at first, {seen} after others at the same time")
                return None
    except Exception:  # which it did not raise before
        return None
    suspects = [*combinations(batch, 2), batch]
    draws = any(play.draws for play in alone.values())
    if draws:  # of those that are played in order, only the first gets the same random numbers as alone
        suspects = [] if hears_end(table.factory.first) else product(list(dict.fromkeys(batch))[:3], repeat=2)
    for episodes in suspects:
        if found := _differences(table, episodes, alone, in_order=draws):
            again = _differences(table, episodes, alone, in_order=draws)
            if places := found.keys() & again.keys():
                return found[min(places)]
    return None


def _differences(table: Table, batch: Sequence[int], alone: dict[int, Play], in_order: bool = False) -> dict[int, str]:
    """
    How episodes that are played at the same time differ from what they are alone, by their place in the batch. If they
    are played in order, only the first is compared.
    """
    try:
        together = table.play_together([(table.factory.factory(), i) for i in batch], 1 if in_order else len(batch))
    except Exception as error:
        names = ", ".join(table.name(i) for i in dict.fromkeys(batch))
        return {-1: f"{names} went well alone, and failed at the same time in other environments: {say(error)}"}
    found = {}
    for place, play in enumerate(together[:1] if in_order else together):
        i = batch[place]
        if play.transcript() != alone[i].transcript():
            lone, seen = first_difference(alone[i], play)
            others = ", ".join(table.name(j) for j in [*batch[:place], *batch[place + 1 :]])
            found[place] = (
                f"{table.name(i)}: {lone} alone, {seen} with {others} at the same time in other environments"
            )
    return found
