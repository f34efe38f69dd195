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

import random
from functools import partial

import pytest

from trl_infopo.environments import BookingEnv, booking_dataset
from trl_infopo.environments.booking import CLOSED, KINDS, NEUTRAL, SLOTS, UNKNOWN_SLOT
from trl_infopo.scripts import quickstart
from trl_infopo.users import PERSONAS
from trl_infopo.users.scripted import CHATTER, FORGOTTEN, WHY


GOAL = {"city": "paris", "day": "monday", "size": "two", "time": None, "music": None, "food": None}


def answers(env, slots, **row):
    env.reset(goal=GOAL, **row)
    return [env.ask(slot) for slot in slots]


def all_answers(persona, seed):
    return answers(BookingEnv(persona), [*SLOTS] * 3, seed=seed)


def read_value(slot, answer):
    """The value that an answer names last, or `None`."""
    named = [word for word in answer.split() if word in SLOTS[slot]]
    return named[-1] if named else None


def test_a_plain_user_says_what_it_always_said():
    def expected(slots):
        """The game without personas."""
        untold = {slot: value for slot, value in GOAL.items() if value}
        for slot in slots:
            value = untold.pop(slot, None)
            yield UNKNOWN_SLOT if slot not in SLOTS else f"i want {value}" if value else NEUTRAL

    rng = random.Random(0)
    env = BookingEnv()
    for _ in range(50):
        slots = rng.choices([*SLOTS, "colour"], k=12)
        assert answers(env, slots) == list(expected(slots))
    env.book(city="paris")
    assert env.ask("city") == CLOSED


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_asked_often_enough_every_persona_tells_the_truth_in_the_end(persona):
    env = BookingEnv(persona)
    for row in booking_dataset("test", 50):
        env.reset(**row)
        said = " ".join(env.ask(slot) for slot in [*SLOTS] * 3)
        env.book(**{slot: read_value(slot, said) or "" for slot in SLOTS})
        assert env.untold == {}
        assert env.get_reward() == 1.0


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_the_user_never_leaves(persona):
    assert all(isinstance(answer, str) for answer in answers(BookingEnv(persona), ["music"] * 200))


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_nothing_new_has_the_games_own_wording(persona):
    assert answers(BookingEnv(persona), ["music", "food", "colour"]) == [NEUTRAL, NEUTRAL, UNKNOWN_SLOT]


def test_manners():
    assert answers(BookingEnv("terse"), ["city", "city"]) == ["paris", NEUTRAL]
    assert answers(BookingEnv("evasive"), ["city", "city", "city"]) == [WHY, "i want paris", NEUTRAL]
    assert answers(BookingEnv("chatty"), ["city"])[0] in [
        f"{before} i want paris {after}" for before, after in CHATTER
    ]
    forgetful = {tuple(answers(BookingEnv("forgetful"), ["city", "city"], seed=seed)) for seed in range(20)}
    assert forgetful == {(FORGOTTEN, "i want paris"), ("i want paris", NEUTRAL)}
    mistaken = answers(BookingEnv("mistaken"), [*SLOTS])
    assert sum(answer.startswith("I was wrong: i want ") for answer in mistaken) == 1


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_the_seed_is_the_rows_or_follows_from_the_goal(persona):
    assert all_answers(persona, 3) == all_answers(persona, 3)
    if persona not in ("plain", "terse", "evasive"):  # who leave nothing to chance
        assert len({str(all_answers(persona, seed)) for seed in range(10)}) > 1

    def ask_everything(goal):
        env = BookingEnv(persona)
        env.reset(goal=goal)
        return [env.ask(slot) for slot in [*SLOTS] * 3]

    assert ask_everything(GOAL) == ask_everything(GOAL) == ask_everything(dict(reversed(GOAL.items())))


def test_unknown_persona_fails_at_construction():
    with pytest.raises(ValueError, match=r"`persona` is 'shy', choose one of \['plain'"):
        BookingEnv(persona="shy")


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_a_factory_can_name_the_persona(persona):
    """How a trainer is given it."""
    [row] = booking_dataset("test", 1)
    env = partial(BookingEnv, persona=persona)()
    env.reset(**row)
    assert env.ask("food") == NEUTRAL
    env.book(**{slot: row["goal"][slot] for slot in KINDS[row["kind"]]})
    assert env.get_reward() == 1.0


def test_the_tokenizer_reads_every_persona():
    """Small talk becomes unknown tokens, but what the user wants never does."""
    tokenizer = quickstart.build_tokenizer()
    for persona in PERSONAS:
        for seed in range(10):
            for answer in all_answers(persona, seed):
                ids = tokenizer.encode(answer)
                for slot in SLOTS:
                    value = read_value(slot, answer)
                    assert value is None or tokenizer.convert_tokens_to_ids(value) in ids
                if persona in ("plain", "terse"):
                    assert tokenizer.unk_token_id not in ids


def test_there_are_two_splits():
    with pytest.raises(ValueError, match="`split` is 'validation', choose 'train' or 'test'"):
        booking_dataset("validation", 1)
