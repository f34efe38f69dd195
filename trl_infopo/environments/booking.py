# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The game of the quick start: a user wants something booked, and answers when asked."""

import random
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._options import check_bool, check_choice, check_draw, check_number
from .._show import show
from ..users import NOTHING_TO_ADD, PERSONAS, Fact, Scenario, ScriptedUser


if TYPE_CHECKING:
    from datasets import Dataset

SLOTS = {
    "city": ["paris", "rome", "oslo", "lima", "cairo", "delhi", "tokyo", "quito"],
    "day": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "holiday"],
    "size": ["one", "two", "three", "four", "five", "six", "seven", "eight"],
    "time": ["dawn", "morning", "noon", "lunch", "teatime", "evening", "night", "midnight"],
    "music": ["jazz", "rock", "folk", "opera", "techno", "blues", "soul", "punk"],
    "food": ["pizza", "sushi", "curry", "tacos", "ramen", "salad", "steak", "vegan"],
}
KINDS = {"table": ["city", "day", "size"], "lesson": ["day", "time", "music"]}
LARGE_KINDS = {"party": ["city", "day", "size", "food"], "show": ["city", "size", "time", "music"]}

# Feedback that says nothing new has one wording: no wish, said before, booked. An acknowledgement of its own would be
# surprising after a booking, and information gain would teach the agent to book at once.
NEUTRAL = "i have nothing to add"
UNKNOWN_SLOT = "there is no such slot"
CLOSED = "the booking is closed"


class BookingEnv:
    """
    A user wants something booked, says only what kind of thing it is, and answers when asked.

    The user is scripted and has a hidden goal: which slots of the booking matter to them, and which value each must
    have. A request for a table depends on the city, the day and the size, one for a lesson on the day, the time and
    the music. The user tells each wish once. The agent may book at any time, but only an agent that first asks the
    right questions can book correctly.

    - **Observation**: the request (`"i need a table please"`) comes with the prompt; the user's answers and
      the acknowledgement of a booking come as tool results. No observation depends on the reward.
    - **Tools**: `ask` questions the user about one slot, `book` makes the booking.
    - **Reward**: 1 when the booking is exactly what the user wants, nothing missing and nothing added, else 0.
    - **End**: the agent's first message without a call. The first booking counts; later ones are told that it is
      made.

    The options other than `persona` make variants of the game that test a method of credit assignment.

    Args:
        persona (`str`, *optional*, defaults to `"plain"`):
            Manner of speaking of the user, a persona of [`~trl_infopo.users.ScriptedUser`]. With another one, a policy
            can be tested with users that it was not trained with. The quick start's tokenizer lacks words that only
            other personas use.
        min_questions (`int`, *optional*, defaults to `0`):
            Number of questions that the agent must ask before it books: an earlier booking counts as well, with a
            reward of 0.
        distraction (`float`, *optional*, defaults to `0.0`):
            Probability that a question about a slot that does not matter is answered as if it did. Drawn once for each
            of these slots. The answer must stay out of the booking.
        silence (`float`, *optional*, defaults to `0.0`):
            Probability that a question gets no information, whatever it asks; it can be asked again. Drawn for each
            question.
        partial_reward (`bool`, *optional*, defaults to `False`):
            Whether a booking that is not exactly right gets a share of the reward: the number of correct slots divided
            by those that matter plus those that were added.

    Raises:
        `ValueError`: If the persona is unknown, or an option is out of its range.

    Example:

    ```python
    >>> from trl_infopo.environments import BookingEnv

    >>> env = BookingEnv()
    >>> env.reset(goal={"city": "paris", "day": "monday", "size": "two", "time": None, "music": None, "food": None})
    >>> env.ask("city")
    'i want paris'
    >>> env.ask("music")
    'i have nothing to add'
    >>> env.book(city="paris", day="monday", size="two")
    'i have nothing to add'
    >>> env.get_reward()
    1.0
    ```
    """

    def __init__(
        self,
        persona: str = "plain",
        min_questions: int = 0,
        distraction: float = 0.0,
        silence: float = 0.0,
        partial_reward: bool = False,
    ):
        check_choice("persona", persona, list(PERSONAS))
        check_number("min_questions", min_questions, integer=True, at_least=0, hint="0 to leave the agent free")
        check_number("distraction", distraction, at_least=0, at_most=1, hint="it is a probability")
        check_number("silence", silence, at_least=0, at_most=1, hint="it is a probability")
        check_bool("partial_reward", partial_reward)
        self.persona = persona
        self.min_questions = min_questions
        self.distraction = distraction
        self.silence = silence
        self.partial_reward = partial_reward

    def reset(self, goal: dict[str, str | None], seed: int | None = None, **row) -> None:
        """
        Start an episode with a new user.

        Args:
            goal (`dict[str, str | None]`):
                Value that the user wants for each slot, `None` for slots that do not matter to them.
            seed (`int`, *optional*):
                Seed of the random choices of the persona and of the options. If not given, it is derived from the
                goal.
            **row:
                Other columns of the dataset, unused.
        """
        self.goal = goal
        if seed is None:
            seed = zlib.crc32(f"{sorted(goal.items())}".encode())
        self._rng = random.Random(f"{seed} options")
        said = {
            slot: goal[slot] or (self._rng.choice(values) if self._rng.random() < self.distraction else None)
            for slot, values in SLOTS.items()
        }
        facts = tuple(
            Fact(slot, said[slot], (slot,), "i want {value}", tuple(value for value in values if value != said[slot]))
            for slot, values in SLOTS.items()
            if said[slot]
        )
        # Asked through a tool, the user cannot leave: the patience never ends
        self._user = ScriptedUser(Scenario("", facts), seed, self.persona, patience=sys.maxsize)
        self.untold = self._user.untold
        self.num_questions = 0
        self.booking = None

    def ask(self, slot: str) -> str:
        """
        Ask the user about one slot of the booking.

        Args:
            slot: Slot to ask about, one of `city`, `day`, `size`, `time`, `music`, `food`.

        Returns:
            The user's answer, the same to a question that does not matter and to one answered before.
        """
        if self.booking is not None:
            return CLOSED
        if slot not in SLOTS:
            return UNKNOWN_SLOT
        self.num_questions += 1
        answer = self._user.tell([] if self._rng.random() < self.silence else [slot])
        return NEUTRAL if answer == NOTHING_TO_ADD else answer

    def book(
        self, city: str = "", day: str = "", size: str = "", time: str = "", music: str = "", food: str = ""
    ) -> str:
        """
        Make the booking, which is final. Leave out the slots that do not matter to the user.

        Args:
            city: City of the booking.
            day: Day of the booking.
            size: Number of people.
            time: Time of the day.
            music: Kind of music.
            food: Kind of food.

        Returns:
            The acknowledgement, whatever was booked.
        """
        if self.booking is not None:
            return CLOSED
        booking = {"city": city, "day": day, "size": size, "time": time, "music": music, "food": food}
        self.booking = {slot: value or "" for slot, value in booking.items()}  # a model may send null
        return NEUTRAL

    def get_reward(self) -> float:
        """
        Compare the booking with what the user wants.

        Returns:
            `float`:
                1.0 for exactly the booking that the user wants, else 0.0, also when nothing was booked. With
                `partial_reward`, the share of the booking that is right.
        """
        if self.booking is None or self.num_questions < self.min_questions:
            return 0.0
        if not self.partial_reward:
            return float(self.booking == {slot: value or "" for slot, value in self.goal.items()})
        wanted = {slot: value for slot, value in self.goal.items() if value}
        right = sum(self.booking[slot] == value for slot, value in wanted.items())
        added = sum(bool(value) for slot, value in self.booking.items() if slot not in wanted)
        return right / (len(wanted) + added)


def booking_dataset(split: str, num_rows: int, seed: int = 0, num_slots: int = 3) -> "Dataset":
    """
    Draw requests for [`BookingEnv`], each with the hidden goal of its user.

    A hash of its values assigns each goal to one split, so that no seed puts a held-out goal into training.

    Args:
        split (`str`):
            `"train"` (four fifths of the goals) or `"test"`.
        num_rows (`int`):
            Number of requests to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        num_slots (`int`, *optional*, defaults to `3`):
            Number of slots that matter to the user: 3 for tables and lessons, 4 for parties and shows.

    Returns:
        [`~datasets.Dataset`]:
            Dataset with the columns `prompt` (conversational), `kind` and `goal`.

    Raises:
        `ValueError`: If there is no such split, nothing with that many slots, or the number of rows or the seed is not
            a whole number or is too small.
    """
    from datasets import Dataset

    if split not in ("train", "test"):
        raise ValueError(f"`split` is {show(split)}, choose 'train' or 'test': the booking game has no other.")
    check_draw(num_rows, seed)
    if num_slots not in (3, 4):
        raise ValueError(f"`num_slots` is {show(num_slots)}, choose 3 (tables and lessons) or 4 (parties and shows).")
    kinds = KINDS if num_slots == 3 else LARGE_KINDS
    rng = random.Random(int(seed))
    rows = []
    while len(rows) < num_rows:
        kind = rng.choice(list(kinds))
        goal = {slot: rng.choice(values) if slot in kinds[kind] else None for slot, values in SLOTS.items()}
        held_out = zlib.crc32(f"{kind} {goal}".encode()) % 5 == 0
        if held_out == (split == "test"):
            prompt = [{"role": "user", "content": f"i need a {kind} please"}]
            rows.append({"prompt": prompt, "kind": kind, "goal": goal})
    return Dataset.from_list(rows)


def booking_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Ask for every slot of the kind that the request names, then book the answers.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Tools of [`BookingEnv`].

    Returns:
        `dict`: The next assistant message.
    """
    request = next(message["content"] for message in messages if message["role"] == "user").split()
    slots = next(slots for kind, slots in (KINDS | LARGE_KINDS).items() if kind in request)
    answers = [message["content"] for message in messages if message["role"] == "tool"]
    if len(answers) > len(slots):
        return {"role": "assistant", "content": "goodbye"}
    if len(answers) < len(slots):
        name, arguments = "ask", {"slot": slots[len(answers)]}
    else:
        name, arguments = "book", {slot: answer.split()[-1] for slot, answer in zip(slots, answers)}
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}
