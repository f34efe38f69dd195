# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the learning benchmark trains on is sound: its tasks, demonstrations and kinds of questions."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning.families import FAMILIES
from benchmarks.learning.families.booking import classify_booking
from benchmarks.learning.families.clarify import classify_clarify
from benchmarks.learning.families.common import first_call, tool_call
from benchmarks.learning.families.explore import classify_explore
from benchmarks.learning.families.helpdesk import classify_helpdesk
from benchmarks.learning.regimes import CHOOSING, CHOOSING_SEEDS, CONFIRMING_SEEDS, REGIMES
from benchmarks.learning.warm_start import demonstrations
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_tokenizer


HARD = {"silent": 0.8, "explore": 0.9}  # where patience is not always enough, and where ten steps are not


@pytest.mark.parametrize("regime_name", list(REGIMES))
class TestRegimes:
    def test_the_oracle_succeeds(self, regime_name):
        regime = REGIMES[regime_name]
        family = FAMILIES[regime.family]
        tasks = family.make_dataset("test", 40, **regime.dataset)
        make_environment = partial(family.make_environment, **regime.environment)
        evaluation = evaluate(family.oracle, {"user": make_environment}, tasks, max_turns=20, show_progress=False)
        successes = [record["reward"] == 1.0 for record in evaluation.records]
        assert sum(successes) / len(successes) >= HARD.get(regime_name, 1.0)

    def test_its_words_are_known(self, regime_name):
        """Of the demonstrations, and of its own user."""
        regime = REGIMES[regime_name]
        family = FAMILIES[regime.family]
        tokenizer = build_tokenizer(family.phrases)
        tasks = family.make_dataset("test", 10, **regime.dataset)
        make_environment = partial(family.make_environment, **regime.environment)
        own = evaluate(family.oracle, {"user": make_environment}, tasks, max_turns=20, show_progress=False)
        talks = [record["messages"] for record in own.records]
        talks += demonstrations(family, regime.habits, 30, seed=0)["messages"]
        for messages in talks:
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            ids = tokenizer.encode(text, add_special_tokens=False)
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_demonstrations_follow_from_the_seed(family):
    one, same, other = (demonstrations(FAMILIES[family], {}, 20, seed)["messages"][:] for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_settings_are_confirmed_where_they_were_not_chosen():
    assert set(CHOOSING) < set(REGIMES)
    assert not set(CHOOSING_SEEDS) & set(CONFIRMING_SEEDS)


def test_kinds_of_questions_about_a_booking():
    goal = {"city": "paris", "day": "monday", "size": "two", "time": None, "music": None, "food": None}
    talk = [
        ("city", "i have nothing to add", "useful"),
        ("city", "i want paris", "useful"),
        ("city", "i have nothing to add", "repeated"),
        ("music", "i want jazz", "useless"),
        ("music", "i have nothing to add", "repeated"),
        ("colour", "there is no such slot", "useless"),
    ]
    messages, kinds = [], []
    for slot, answer, kind in talk:
        messages += [tool_call("", "ask", slot=slot), {"role": "tool", "name": "ask", "content": answer}]
        kinds.append(kind)
    messages += [tool_call("", "book", city="paris"), {"role": "tool", "name": "book", "content": ""}]
    messages.append({"role": "assistant", "content": "goodbye"})
    assert classify_booking({"goal": goal}, messages) == [*kinds, None, None]


def test_kinds_of_questions_in_plain_text():
    [row] = FAMILIES["clarify"].make_dataset("test", 1)
    wanted = json.loads(row["goal"])
    topics = FAMILIES["clarify"].make_environment()
    topics.reset(**row)
    useful, useless = next(iter(wanted)), next(name for name in topics.domain.topics if name not in wanted)
    messages = []
    for topic in (useful, useful, useless):
        messages += [
            {"role": "assistant", "content": f"Any wishes for {topic}?"},
            {"role": "user", "content": "whatever"},
        ]
    messages.append(tool_call("", "propose", choices=""))
    assert classify_clarify(row, messages) == ["useful", "repeated", "useless", None]


def test_kinds_of_questions_and_lookups_at_the_help_desk():
    row = FAMILIES["helpdesk"].make_dataset("test", 1)[0]
    environment = FAMILIES["helpdesk"].make_environment()
    environment.reset(**row)
    order = row["goal"]["order_id"]
    talk = [
        ("What is the new address?", "useless"),
        ("Which order is it?", "useful"),
        ("Noted. Which order is it?", "repeated"),
        (tool_call("", "get_order", order_id="W0"), "useless"),
        (tool_call("", "get_order", order_id=order), "useful"),
        (tool_call("", "get_order", order_id=order), "repeated"),
        ("What is the reason?", "useful"),
        ("What is the new address?", "repeated"),
        (tool_call("", "cancel_order", order_id=order, reason="mistake"), None),
        ("Done, you are refunded $1.00.", None),
        (tool_call("", "close_ticket"), None),
    ]
    messages = []
    for action, _ in talk:
        message = {"role": "assistant", "content": action} if isinstance(action, str) else action
        messages.append(message)
        name, arguments = first_call(message)
        if name:
            messages.append({"role": "tool", "name": name, "content": getattr(environment, name)(**arguments)})
        else:
            messages.append({"role": "user", "content": environment.user.reply(messages)})
    assert classify_helpdesk(row, messages) == [kind for _, kind in talk]


def test_kinds_of_steps_on_the_ice():
    environment = FAMILIES["explore"].make_environment()
    environment.reset(lake=["SFF", "FHF", "FFG"], seed=0)
    steps = [
        ("left", "useless"),
        ("right", "useful"),
        ("left", "repeated"),
        ("down", "useful"),
        ("north", "useless"),
        ("right", None),
        ("right", "useless"),
    ]
    messages = []
    for direction, _ in steps:
        messages.append(tool_call("", "move", direction=direction))
        messages.append({"role": "tool", "name": "move", "content": environment.move(direction)})
    messages.append({"role": "assistant", "content": "I have finished."})
    assert classify_explore({}, messages) == [*(kind for _, kind in steps), None]
