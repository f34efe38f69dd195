# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The quick start's game: what a request needs depends on its kind."""

import random
from collections.abc import Callable

from trl_infopo.environments import BookingEnv, booking_dataset
from trl_infopo.environments.booking import KINDS, LARGE_KINDS, NEUTRAL, SLOTS
from trl_infopo.scripts import tiny_agent
from trl_infopo.users.scripted import FORGOTTEN

from .common import REPEATED, USEFUL, USELESS, Family, exchanges, first_call, tool_call


SLOT_OF = {value: slot for slot, values in SLOTS.items() for value in values}


class MixedUsersEnv(BookingEnv):
    """
    Each goal has a user of one of several personas.

    Args:
        personas (`list[str]`):
            The personas.
        **options:
            Options of [`~trl_infopo.environments.BookingEnv`].
    """

    def __init__(self, personas: list[str], **options):
        super().__init__(**options)
        self.personas = personas

    def reset(self, goal: dict[str, str | None], **row) -> None:
        self.persona = random.Random(f"{sorted(goal.items())}").choice(self.personas)
        super().reset(goal, **row)


def make_booking(persona: str | list[str] = "plain", **options) -> BookingEnv:
    return MixedUsersEnv(persona, **options) if isinstance(persona, list) else BookingEnv(persona, **options)


def booked_slots(messages: list[dict]) -> list[str]:
    kind = messages[0]["content"].removeprefix("i need a ").removesuffix(" please")
    return (KINDS | LARGE_KINDS)[kind]


def read_values(answer: str) -> dict[str, str]:
    """Values that an answer names, by slot; of two for a slot, the last."""
    return {SLOT_OF[word]: word for word in answer.split() if word in SLOT_OF}


def demonstrate_booking(
    messages: list[dict], rng: random.Random, has_notes: bool = True, num_questions: int | None = None
) -> dict:
    """
    Ask at random, and book what is known, guessing the rest.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        rng (`random.Random`):
            What the demonstrator leaves to chance.
        has_notes (`bool`, *optional*, defaults to `True`):
            Whether the demonstrator repeats what an answer said before going on.
        num_questions (`int`, *optional*):
            Number of questions. If `None`, any number up to that of the slots that matter.
    """
    slots, known, asked, answer = booked_slots(messages), {}, [], ""
    for message, answer in exchanges(messages):
        name, arguments = first_call(message)
        if name == "book":
            return {"role": "assistant", "content": tiny_agent.GOODBYE}
        asked.append(arguments["slot"])
        known |= read_values(answer)
    note = " ".join(f"got {value}" for value in read_values(answer).values()) if has_notes else ""
    if answer == FORGOTTEN:
        return tool_call(note, "ask", slot=asked[-1])
    most = len(slots) if num_questions is None else num_questions
    stops = len(asked) >= most or (num_questions is None and rng.random() < 1 / (most - len(asked) + 1))
    if stops:
        return tool_call(note, "book", **{slot: known.get(slot) or rng.choice(SLOTS[slot]) for slot in slots})
    repeats = asked and rng.random() < 0.1
    slot = rng.choice(asked if repeats else [slot for slot in SLOTS if slot not in asked])
    return tool_call(note, "ask", slot=slot)


def book_well(messages: list[dict], tools: list[Callable], patience: int = 12, num_questions: int = 0) -> dict:
    """
    Ask for each slot that matters until it is told, and once more for what may be put right, then book.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Tools of the environment, unused.
        patience (`int`, *optional*, defaults to `12`):
            Number of questions after which the rest is guessed.
        num_questions (`int`, *optional*, defaults to `0`):
            Number of questions to ask at least.
    """
    slots, known, num_asked = booked_slots(messages), {}, 0
    for message, answer in exchanges(messages):
        name, _ = first_call(message)
        if name == "book":
            return {"role": "assistant", "content": tiny_agent.GOODBYE}
        num_asked += 1
        known |= read_values(answer)
    unknown = [slot for slot in slots if slot not in known]
    if num_asked < patience and (unknown or num_asked < max(num_questions, len(slots) + 1)):
        return tool_call("", "ask", slot=(unknown or slots)[0])
    return tool_call("", "book", **{slot: known.get(slot, SLOTS[slot][0]) for slot in slots})


def classify_booking(row: dict, messages: list[dict]) -> list[str | None]:
    """A question is useful about a slot that matters and is not told yet, repeated about one that was dealt with."""
    kinds, settled = [], set()
    for message, answer in exchanges(messages):
        name, arguments = first_call(message)
        if name != "ask":
            kinds.append(None)
            continue
        slot = str(arguments.get("slot"))
        matters = bool(row["goal"].get(slot))
        kinds.append(REPEATED if slot in settled else USEFUL if matters else USELESS)
        if not matters or slot in read_values(answer):
            settled.add(slot)
    return kinds


BOOKING = Family(
    make_environment=make_booking,
    make_dataset=booking_dataset,
    phrases=(*tiny_agent.PHRASES, *LARGE_KINDS, FORGOTTEN, "I was wrong: ", " "),
    demonstrate=demonstrate_booking,
    oracle=book_well,
    classify=classify_booking,
    placeholder=NEUTRAL,
    users={
        "plain": {},
        "forgetful": {"persona": "forgetful"},
        "mistaken": {"persona": "mistaken"},
        "distracting": {"distraction": 1.0},
        "silent": {"silence": 0.3},
    },
    tasks=({"num_slots": 3}, {"num_slots": 4}),
)
