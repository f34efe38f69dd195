# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import random
from functools import partial

import pytest

from trl_infopo import evaluate
from trl_infopo.environments import BookingEnv, booking_dataset, booking_oracle
from trl_infopo.environments.booking import CLOSED, KINDS, NEUTRAL, SLOTS, UNKNOWN_SLOT
from trl_infopo.scripts import tiny_agent
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
    tokenizer = tiny_agent.build_tokenizer()
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


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_the_variants_of_the_game_leave_the_game_as_it_is_by_default(persona):
    """Nothing is drawn for options that are off, so that seeds mean what they meant."""
    with_options = BookingEnv(persona, min_questions=0, distraction=0.0, silence=0.0, partial_reward=False)
    for row in booking_dataset("test", 20):
        assert answers(with_options, [*SLOTS] * 3) == answers(BookingEnv(persona), [*SLOTS] * 3)
        with_options.reset(**row)
        with_options.book(**{slot: value or "" for slot, value in row["goal"].items()})
        assert with_options.get_reward() == 1.0


def test_a_booking_counts_after_enough_questions_only():
    right = {slot: value for slot, value in GOAL.items() if value}
    env = BookingEnv(min_questions=2)
    for num_questions, reward in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)]:
        answers(env, ["music"] * num_questions)
        env.book(**right)
        assert env.get_reward() == reward
    # A slot that does not exist is no question
    answers(env, ["colour", "colour"])
    env.book(**right)
    assert env.get_reward() == 0.0


def test_distracting_answers_look_like_useful_ones_and_stay_out_of_the_booking():
    env = BookingEnv(distraction=1.0)
    first = answers(env, SLOTS)
    assert all(read_value(slot, answer) for slot, answer in zip(SLOTS, first, strict=True))
    assert [env.ask(slot) for slot in SLOTS] == [NEUTRAL] * len(SLOTS)
    assert first[:3] == ["i want paris", "i want monday", "i want two"]
    assert first == answers(env, SLOTS)  # the rollouts of a group hear the same
    assert first != answers(env, SLOTS, seed=1)
    env.book(**{slot: read_value(slot, answer) for slot, answer in zip(SLOTS, first, strict=True)})
    assert env.get_reward() == 0.0

    half = BookingEnv(distraction=0.5)
    distracted = sum(answers(half, ["music"], seed=seed) != [NEUTRAL] for seed in range(400))
    assert 150 < distracted < 250


def test_a_silent_answer_can_be_asked_again():
    assert answers(BookingEnv(silence=1.0), [*SLOTS]) == [NEUTRAL] * len(SLOTS)
    env = BookingEnv(silence=0.5)
    said = answers(env, ["city"] * 20)
    assert said.count("i want paris") == 1
    first = [answers(env, ["city"], seed=seed) == [NEUTRAL] for seed in range(400)]
    assert 150 < sum(first) < 250


def test_partial_reward_is_the_share_that_is_right():
    env = BookingEnv(partial_reward=True)
    for booking, reward in [
        ({"city": "paris", "day": "monday", "size": "two"}, 1.0),
        ({"city": "paris", "day": "monday"}, 2 / 3),
        ({"city": "paris", "day": "monday", "size": "three"}, 2 / 3),
        ({"city": "paris", "day": "monday", "size": "two", "music": "jazz"}, 3 / 4),
        ({}, 0.0),
    ]:
        env.reset(goal=GOAL)
        assert env.get_reward() == 0.0
        env.book(**booking)
        assert env.get_reward() == pytest.approx(reward)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_questions": -1}, "`min_questions` is -1"),
        ({"min_questions": 1.5}, "`min_questions` is 1.5"),
        ({"distraction": 1.5}, "`distraction` is 1.5"),
        ({"silence": float("nan")}, "`silence` is nan"),
        ({"partial_reward": "false"}, "`partial_reward` is 'false'"),
    ],
)
def test_options_out_of_range_fail_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        BookingEnv(**options)


def test_four_slots_have_splits_of_their_own():
    train, test = ([row["goal"] for row in booking_dataset(split, 500, num_slots=4)] for split in ("train", "test"))
    assert all(sum(value is not None for value in goal.values()) == 4 for goal in train + test)
    assert not {str(goal) for goal in train} & {str(goal) for goal in test}
    with pytest.raises(ValueError, match="`num_slots` is 5, choose 3"):
        booking_dataset("train", 1, num_slots=5)


@pytest.mark.parametrize("num_slots", [3, 4])
def test_the_oracle_books_everything_right(num_slots):
    rows = booking_dataset("test", 100, seed=1, num_slots=num_slots)
    evaluation = evaluate(booking_oracle, {"plain": BookingEnv}, rows, show_progress=False)
    assert all(record["reward"] == 1 and record["num_turns"] == num_slots + 2 for record in evaluation.records)
