# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_infopo.users import NOTHING_TO_ADD, PERSONAS, Fact, Scenario, ScriptedUser
from trl_infopo.users.scripted import CHATTER, FORGOTTEN, WHY, asks_for


CITY = Fact("city", "Paris", ("city", "where"), "I want to go to {value}.", ("Rome", "Oslo"))
DAY = Fact("day", "Monday", ("day", "when"), "It must be on {value}.", ("Friday", "Sunday"))
SIZE = Fact("size", "two", ("size", "how many"), "We are {value}.", ("three", "four"))
TRIP = Scenario("I need a trip.", (CITY, DAY, SIZE))

SEEDS = st.integers(0, 2**32 - 1)
NAMES = st.sampled_from(list(PERSONAS))


@st.composite
def scenarios(draw):
    """Topics t0, t1, ... with values v0x0, v0x1, ...: nothing that anybody says looks like one of them."""
    facts = []
    for i in range(draw(st.integers(1, 5))):
        value, *others = draw(st.permutations([f"v{i}x{j}" for j in range(draw(st.integers(1, 4)))]))
        facts.append(Fact(f"t{i}", value, (f"t{i}", "everything"), "I want {value}.", tuple(others)))
    return Scenario("I need something.", tuple(facts))


def talk(user, *questions):
    """The replies to questions, one after the other."""
    messages, replies = [{"role": "user", "content": user.scenario.request}], []
    for question in questions:
        messages.append({"role": "assistant", "content": question})
        replies.append(user.reply(messages))
        messages.append({"role": "user", "content": replies[-1]})
    return replies


def interrogate(user, order):
    """Ask about groups of topics, then again and again about all of them, until the user leaves."""
    questions = [" and ".join(group) for group in [*order, *[[fact.topic for fact in user.scenario.facts]] * 30]]
    replies = talk(user, *questions)
    assert replies[-1] is None
    return replies[: replies.index(None)]


def values_said(replies):
    """All values said, in order, by topic."""
    said = {}
    for i, j in re.findall(r"v(\d+)x(\d+)", " ".join(replies)):
        said.setdefault(f"t{i}", []).append(f"v{i}x{j}")
    return said


@st.composite
def interrogations(draw):
    scenario = draw(scenarios())
    topics = st.sampled_from([fact.topic for fact in scenario.facts] + ["nothing known", "everything"])
    user = ScriptedUser(scenario, draw(SEEDS), draw(NAMES), patience=draw(st.integers(1, 4)))
    order = draw(st.lists(st.lists(topics, min_size=1, max_size=3), max_size=6))
    if None in talk(ScriptedUser(scenario, 0, patience=user.patience), *map(" and ".join, order)):
        order = []  # so useless that even a plain user leaves before the questions that count
    return user, order


@given(interrogations())
def test_asked_persistently_every_persona_tells_everything_and_ends_with_the_truth(interrogation):
    user, order = interrogation
    said = values_said(interrogate(user, order))
    assert {topic: values[-1] for topic, values in said.items()} == {
        fact.topic: fact.value for fact in user.scenario.facts
    }


@given(interrogations())
def test_nothing_is_said_twice_but_corrections(interrogation):
    user, order = interrogation
    said = values_said(interrogate(user, order))
    corrected = [topic for topic, values in said.items() if len(values) > 1]
    if user.persona in ("mistaken", "switching") and any(fact.alternatives for fact in user.scenario.facts):
        assert len(corrected) == 1
        [wrong, right] = said[corrected[0]]
        assert wrong != right
    else:
        assert corrected == []


@given(interrogations())
def test_same_seed_same_replies(interrogation):
    user, order = interrogation
    # The seed is not an attribute, its random state is
    twins = [ScriptedUser(user.scenario, seed, user.persona, user.patience) for seed in (7, 7)]
    assert interrogate(twins[0], order) == interrogate(twins[1], order)


@pytest.mark.parametrize("persona", ["chatty", "forgetful", "mistaken", "switching"])
def test_seeds_differ(persona):
    assert len({str(interrogate(ScriptedUser(TRIP, seed, persona), [])) for seed in range(20)}) > 1


@given(interrogations())
def test_who_is_useless_for_long_is_left(interrogation):
    user, _ = interrogation
    replies = talk(user, *["Hello!"] * (user.patience + 1))
    assert replies == [NOTHING_TO_ADD] * user.patience + [None]


@pytest.mark.parametrize("persona", list(PERSONAS))
def test_a_useful_question_restores_patience(persona):
    user = ScriptedUser(TRIP, persona=persona, patience=2)
    *_, answer, first, second = talk(user, "Hello!", "Hello!", "Where to?", "Hello!", "Hello!")
    assert answer not in (NOTHING_TO_ADD, None)
    assert first is not None
    assert second is not None


def test_plain():
    replies = talk(ScriptedUser(TRIP), "Where to, and when?", "Which CITY?", "What music?", "How many?")
    assert replies == ["I want to go to Paris. It must be on Monday.", NOTHING_TO_ADD, NOTHING_TO_ADD, "We are two."]


def test_terse():
    assert talk(ScriptedUser(TRIP, persona="terse"), "Where to, and when?", "Where?") == [
        "Paris, Monday",
        NOTHING_TO_ADD,
    ]


def test_chatty():
    [reply] = talk(ScriptedUser(TRIP, persona="chatty"), "Where to?")
    assert reply in [f"{before} I want to go to Paris. {after}" for before, after in CHATTER]


@pytest.mark.parametrize("seed", range(8))
def test_forgetful_tells_one_thing_at_a_time_and_forgets_each_at_most_once(seed):
    replies = interrogate(ScriptedUser(TRIP, seed, "forgetful"), [["city", "day", "size"]] * 6)
    answers = [reply for reply in replies if reply not in (FORGOTTEN, NOTHING_TO_ADD)]
    assert answers == ["I want to go to Paris.", "It must be on Monday.", "We are two."]
    assert replies.count(FORGOTTEN) <= 3
    assert f"{FORGOTTEN} {FORGOTTEN}" not in " ".join(replies)


def test_evasive_answers_the_second_time():
    replies = talk(ScriptedUser(TRIP, persona="evasive"), "Where to?", "When?", "Why not: where, and how many?", "Hm?")
    assert replies == [WHY, WHY, "I want to go to Paris.", NOTHING_TO_ADD]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("persona", "delay", "opening"), [("mistaken", 1, "I was wrong:"), ("switching", 2, "I changed my mind:")]
)
def test_corrections_come_in_time(persona, delay, opening, seed):
    scenario = Scenario("I need a trip.", (CITY,))
    replies = talk(ScriptedUser(scenario, seed, persona, patience=1), "Where?", *["And?"] * delay)
    assert replies[0] in ("I want to go to Rome.", "I want to go to Oslo.")
    assert replies[1:] == [NOTHING_TO_ADD] * (delay - 1) + [f"{opening} I want to go to Paris."]


@given(scenarios(), SEEDS)
def test_terse_is_shorter_than_plain_and_plain_than_chatty(scenario, seed):
    lengths = [
        len(talk(ScriptedUser(scenario, seed, persona), "everything")[0]) for persona in ("terse", "plain", "chatty")
    ]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Where?", True),
        ("WHERE", True),
        ("somewhere nice?", False),
        ("Which cities?", True),
        ("your city's name", True),
        ("Do you know C++?", True),
        ("Do you know C++20?", False),
        ("two\nlines: c++", True),
    ],
)
def test_keywords_are_whole_words_in_any_case(question, asks):
    scenario = Scenario("I need a trip.", (Fact("city", "Paris", ("city", "where", "c++")),))
    assert talk(ScriptedUser(scenario), question) == ["Paris" if asks else NOTHING_TO_ADD]


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("round", "round rounds rounded rounding Rounded"),
        ("replace", "replace replaces replaced replacing"),
        ("label", "label labels labelled labeled labelling labeling"),
        ("swap", "swap swaps swapped swapping"),
        ("copy", "copy copies copied copying"),
        ("pay", "pay pays paying"),
        ("match", "match matches matched matching"),
        ("sorted", "sorted"),
        ("missing", "missing"),
    ],
)
def test_a_keyword_asks_in_all_its_regular_forms(keyword, words):
    for word in words.split():
        assert asks_for(f"Is it {word}?", Fact("topic", "x", (keyword,))), word


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("plan", "plane planed plant"),
        ("car", "care cared caring cart"),
        ("star", "stare stared staring start"),
        ("hop", "hope hoping"),
        ("os", "osed osing"),
        ("de", "ding"),
        ("day", "daily today"),
        ("city", "cit capacity"),
        ("round", "around ground rounder"),
        ("time", "timely sometimes"),
        ("number", "numb outnumbered"),
        ("c++", "c++ed"),
    ],
)
def test_a_keyword_is_not_found_in_other_words(keyword, words):
    for word in words.split():
        assert not asks_for(f"Is it {word}?", Fact("topic", "x", (keyword,))), word


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Where would you like to stay?", True),
        ("Where do we stay?", True),
        ("Where are you staying?", True),
        ("where stay", True),
        ("Stay where?", False),
        ("Where is it? Shall we stay?", False),  # another sentence
        ("Where on earth would you and your friends stay?", False),  # too far
    ],
)
def test_a_keyword_with_a_gap_spans_a_few_words_of_a_sentence(question, asks):
    assert asks_for(question, Fact("city", "Paris", ("where ... stay",))) is asks


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Where to?", True),
        ("Where do you want to sleep?", False),
        ("Where do you want to sleep, and where to?", True),
        ("Where do you want to go, and sleep?", True),
    ],
)
def test_what_a_keyword_with_a_minus_covers_does_not_ask(question, asks):
    assert asks_for(question, Fact("city", "Paris", ("where", "-where ... to sleep"))) is asks


def test_who_has_no_keywords_is_not_asked():
    assert not asks_for("Hello?", Fact("city", "Paris", ()))
    assert not asks_for("Hello?", Fact("city", "Paris", ("-hello",)))


def test_only_the_last_message_is_a_question():
    user = ScriptedUser(TRIP)
    messages = [{"role": "assistant", "content": text} for text in ("Where?", "When?")]
    assert user.reply(messages) == "It must be on Monday."


@given(scenarios(), SEEDS, NAMES)
def test_tell_is_reply_without_words(scenario, seed, persona):
    told, replied = (ScriptedUser(scenario, seed, persona) for _ in range(2))
    topics = [fact.topic for fact in scenario.facts]
    for group in [topics, topics[:1], ["no such topic"], topics, topics, topics]:
        assert told.tell(group) == replied.reply([{"role": "assistant", "content": " ".join(group)}])
        assert told.untold == replied.untold


def test_unknown_persona():
    with pytest.raises(ValueError, match=r"`persona` is 'shy', choose one of \['plain'"):
        ScriptedUser(TRIP, persona="shy")


def test_no_patience():
    with pytest.raises(ValueError, match="`patience` is 0, set it to at least 1"):
        ScriptedUser(TRIP, patience=0)
