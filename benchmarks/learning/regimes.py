# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What is trained on: each regime is one thing that tasks of users do, everything else being equal."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Regime:
    """
    A task, and what its policy can do beforehand.

    Attributes:
        reason (`str`):
            Why it is here.
        family (`str`, *optional*, defaults to `"booking"`):
            Words and demonstrations, a key of `FAMILIES`.
        environment (`dict`, *optional*):
            Options of the environment.
        dataset (`dict`, *optional*):
            Options of the dataset.
        habits (`dict`, *optional*):
            Options of the demonstrator. Regimes of the same family and habits share a warm start.
        options (`dict`, *optional*):
            Options of `InfoPOConfig` that the task needs.
        measure (`str`, *optional*, defaults to `"success"`):
            What policies are compared by: `"success"`, a reward of 1, or the mean `"reward"`, where it is graded and
            a whole one is luck.
    """

    reason: str
    family: str = "booking"
    environment: dict = field(default_factory=dict)
    dataset: dict = field(default_factory=dict)
    habits: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    measure: str = "success"


ROOM = {"max_turns": 10, "max_completion_length": 200}  # for more questions than the three of the quick start

REGIMES = {
    "booking": Regime("The quick start's game: three hidden slots, free to ask and to book, answers noted down."),
    "four_slots": Regime(
        "Four hidden slots, so that success is rare and most groups tie at the bottom.",
        dataset={"num_slots": 4},
        options=ROOM,
    ),
    "no_notes": Regime(
        "Free to act at once, and no notes: an answer shows only in a booking that follows it.",
        habits={"has_notes": False},
    ),
    "forced": Regime(
        "No booking counts before four questions, and four slots are hidden: what to ask is all there is to learn.",
        environment={"min_questions": 4},
        dataset={"num_slots": 4},
        habits={"num_questions": 4},
        options=ROOM,
    ),
    "distracting_half": Regime(
        "Half of the useless questions get answers that look like useful ones.", environment={"distraction": 0.5}
    ),
    "distracting": Regime(
        "All useless questions get answers that look like useful ones, so that gain does not tell them apart.",
        environment={"distraction": 1.0},
    ),
    "silent": Regime(
        "Half of all answers bring nothing, so that a good question often earns no gain.",
        environment={"silence": 0.5},
        options=ROOM,
    ),
    "forgetful": Regime(
        "A user who at times must be asked again, in words of their own.",
        environment={"persona": "forgetful"},
        options=ROOM,
    ),
    "mistaken": Regime(
        "A user who gets one thing wrong, and puts it right in the next answer.", environment={"persona": "mistaken"}
    ),
    "terse": Regime("A user who answers with the bare values.", environment={"persona": "terse"}),
    "mixed": Regime(
        "Users of four kinds: plain, terse, forgetful, mistaken.",
        environment={"persona": ["plain", "terse", "forgetful", "mistaken"]},
        options=ROOM,
    ),
    "dense": Regime("Partial reward, so that hardly a group ties.", environment={"partial_reward": True}),
    "clarify": Regime(
        "Plain text instead of tools, seven topics of which any may matter, a graded reward, a user who may leave.",
        family="clarify",
        options={"max_turns": 10, "max_completion_length": 200},
        measure="reward",
    ),
    "helpdesk": Regime(
        "Two questions of five, then a lookup that tells whether to act on the database or to refuse.",
        family="helpdesk",
        options={"max_turns": 9},
    ),
    "explore": Regime(
        "No user, but a lake whose holes show only to who stands next to them: each step is a question.",
        family="explore",
        environment={"max_moves": 10},
        dataset={"size": 4},
        options={"max_turns": 10},
    ),
}

# Settings are chosen on one half of the regimes and seeds, and put to the test on the other, which nobody has looked
# at until then
CHOOSING = ("booking", "no_notes", "distracting", "silent", "clarify", "helpdesk")
CHOOSING_SEEDS = (0, 1, 2)
CONFIRMING_SEEDS = (3, 4, 5)
