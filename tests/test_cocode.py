# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import itertools
import json
import math
import random
import re
import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from cocode_task import ROW, needs_sandbox
from hypothesis import given, settings
from hypothesis import strategies as st
from natural_questions import COCODE, COCODE_USELESS, read_questions
from transformers.utils import get_json_schema

from trl_infopo.environments.cocode import (
    CocodeEnv,
    SandboxError,
    cocode_dataset,
    cocode_oracle,
)
from trl_infopo.environments.cocode.env import _scenario, is_equal
from trl_infopo.environments.cocode.tasks import catalogue, hidden_tests, split_of
from trl_infopo.users import NOTHING_TO_ADD, Scenario, ScriptedUser
from trl_infopo.users.scripted import CHATTER, FORGOTTEN, WHY, asks_for


CATALOGUE = catalogue()


def play(policy, row, env=None):
    """Play an episode and return its reward and its messages."""
    env = env or CocodeEnv()
    assert env.reset(**row) is None
    messages = list(row["prompt"])
    for _ in range(20):
        message = policy(messages, [env.submit])
        messages.append(message)
        for called in message.get("tool_calls", []):
            arguments = called["function"]["arguments"]
            messages.append({"role": "tool", "name": "submit", "content": asyncio.run(env.submit(**arguments))})
        if env.done:
            break
        messages.append({"role": "user", "content": env.user.reply([{**message}])})
    return env.get_reward(), messages


def mean_reward(policy, rows):
    with ThreadPoolExecutor(4) as pool:
        return statistics.mean(pool.map(lambda row: play(policy, row)[0], rows))


def submission(code):
    call = {"type": "function", "function": {"name": "submit", "arguments": {"code": code}}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def requested(messages):
    """The function that the first user message asks for."""
    [request, *_] = [message["content"] for message in messages if message["role"] == "user"]
    return CATALOGUE[re.search(r"`(\w+)\(", request)[1]]


def never_asking_policy(messages, tools):
    """Submits the variant that it takes for the most natural: every detail as the catalogue has it first."""
    function = requested(messages)
    return submission(function.source(function.variants()[0]))


class RandomPolicy:
    """Asks about random details, and submits a random variant at a random time."""

    def __init__(self, seed=0):
        self.rng = random.Random(seed)

    def __call__(self, messages, tools):
        function = requested(messages)
        if self.rng.random() < 0.5:
            return {"role": "assistant", "content": f"And the {self.rng.choice(function.details).keywords[0]}?"}
        return submission(function.source(self.rng.choice(function.variants())))


class TestCatalogue:
    def test_size(self):
        assert len(CATALOGUE) >= 40
        assert sum(len(function.variants()) for function in CATALOGUE.values()) >= 1000

    def test_every_function_hides_details_of_several_kinds(self):
        for function in CATALOGUE.values():
            topics = [detail.topic for detail in function.details]
            assert len(set(topics)) == len(topics) >= 2
            assert all(2 <= len(detail.choices) <= 4 for detail in function.details)
        assert sum(len(function.details) > 2 for function in CATALOGUE.values()) >= 45
        assert len({detail.topic for function in CATALOGUE.values() for detail in function.details}) > 40

    def test_every_detail_matters(self):
        # Whoever gets any detail wrong fails every hidden test, whatever the others are
        for name, function in CATALOGUE.items():
            runs = {variant: function.load(variant) for variant in function.variants()}
            for variant in runs:
                tests = hidden_tests(name, variant)
                assert len(tests) == 10
                before = json.dumps(tests)
                passed = {
                    other: sum(is_equal(run(*arguments), expected) for arguments, expected in tests)
                    for other, run in runs.items()
                }
                assert json.dumps(tests) == before  # the arguments are not worked on in place
                assert passed.pop(variant) == 10
                assert max(passed.values()) == 0, (name, variant, passed)

    def test_calls_and_values_survive_json(self):
        for name, function in CATALOGUE.items():
            for arguments, expected in hidden_tests(name, function.variants()[-1]):
                assert json.loads(json.dumps(arguments)) == arguments
                assert is_equal(json.loads(json.dumps(expected)), expected)

    def test_hidden_tests_are_different_calls(self):
        for name, function in CATALOGUE.items():
            for variant in function.variants()[:3]:
                assert len({json.dumps(arguments) for arguments, _ in hidden_tests(name, variant)}) == 10, name

    def test_choices_can_be_told_apart(self):
        for function in CATALOGUE.values():
            choices = [(detail, choice) for detail in function.details for choice in detail.choices]
            for (_, choice), (detail, other) in itertools.permutations(choices, 2):
                assert choice not in detail.sentence.format(value=other)
            small_talk = [NOTHING_TO_ADD, FORGOTTEN, WHY, *itertools.chain(*CHATTER)]
            assert not [choice for _, choice in choices if choice in " ".join(small_talk)]

    def test_a_request_gives_nothing_away(self):
        for function in CATALOGUE.values():
            assert not [
                choice for detail in function.details for choice in detail.choices if choice in function.request
            ]
            assert function.request.endswith(".")

    def test_sentences_are_single(self):
        for function in CATALOGUE.values():
            for detail in function.details:
                for choice in detail.choices:
                    sentence = detail.sentence.format(value=choice)
                    assert sentence.endswith(".")
                    assert not re.search(r"[.?!] [A-Z]", sentence)

    # Worked out by hand
    @pytest.mark.parametrize(
        ("name", "variant", "arguments", "expected"),
        [
            (
                "split_bill",
                (
                    "add a tip of 10%, cut to whole cents",
                    "the last people on the list pay a cent more",
                    "text with two decimals, like 12.05",
                ),
                [1001, 3],
                ["3.67", "3.67", "3.67"],
            ),
            (
                "split_bill",
                ("do not add any tip", "the first person pays all that is left over", "a whole number of cents"),
                [11, 3],
                [5, 3, 3],
            ),
            (
                "rank_scores",
                ("the most points", "people share the worse rank, as in 1 3 3 4", "rank number 1"),
                [{"a": 5, "b": 9, "c": 5, "d": 1}],
                {"a": 3, "b": 1, "c": 3, "d": 4},
            ),
            (
                "histogram",
                ("belongs to the lower bin", "are left out", "text with both ends, like 10-20"),
                [[10, 11, 40], 10],
                [["0-10", 1], ["10-20", 1], ["30-40", 1]],
            ),
            (
                "make_change",
                (
                    "coins of 20, 8 and 1",
                    "round the amount up to a multiple of 5",
                    "a list of all coins, smallest first",
                ),
                [33],
                [1, 1, 1, 1, 1, 1, 1, 8, 20],
            ),
            ("slugify", ("an underscore", "keep their case", "are left out"), ["Top 10, of  2024!"], "Top_of"),
            (
                "initials",
                ("take every word", "give a small letter", "with a dot after each and no spaces"),
                ["Ludwig van Beethoven"],
                "L.v.B.",
            ),
            (
                "title_case",
                ("stay small unless they come first", "get dots, like U.N.", "only the first part gets a capital"),
                ["the end of BBC mid-day"],
                "The End of B.B.C. Mid-day",
            ),
            (
                "mask_number",
                ("the first two and the last two digits", "a capital X", "stay where they are"),
                ["1234 5678"],
                "12XX XX78",
            ),
            (
                "compress",
                ("the count unless it is 1, then the letter", "are the same, and all are written small", "a hyphen"),
                ["aAb"],
                "2a-b",
            ),
            (
                "merge_intervals",
                ("are kept apart", "has its ends swapped", "as [start, length], by rising start"),
                [[[5, 9], [3, 1], [8, 10], [3, 5]]],
                [[1, 2], [3, 2], [5, 5]],
            ),
            (
                "top_scores",
                ("leave out all who share it", "the best comes first", "nothing but the names"),
                [[["a", 1], ["b", 3], ["c", 1]], 2],
                ["b"],
            ),
            (
                "interleave",
                ("the second list", "go on with what the other has left", "a flat list"),
                [[1, 2, 3], [7]],
                [7, 1, 2, 3],
            ),
            (
                "turn_grid",
                ("a quarter to the right", "do not mirror it", "one text with a slash between rows"),
                [["ab", "cd"]],
                "ca/db",
            ),
            (
                "working_days",
                ("only the start may be listed", "Friday and Saturday", "the latest day first"),
                ["2024-05-30", "2024-06-03"],
                ["2024-06-02", "2024-05-30"],
            ),
            (
                "expand_ranges",
                ("is not included", "has its two numbers swapped", "are listed once, all in falling order"),
                ["1-3,5-2,9"],
                [9, 4, 3, 2, 1],
            ),
            (
                "format_durations",
                ("h, m or s", "a colon without spaces", "are left out", "rounded up"),
                [[3600.2, 59]],
                ["1h:1s", "59s"],
            ),
            (
                "time_spans",
                (
                    "counts as a whole minute",
                    "text like 2:05 for 2 hours and 5 minutes",
                    "the plain number of minutes",
                ),
                [[["08:00", "09:04"], ["23:00", "00:30"]]],
                ["1:05", 91],
            ),
        ],
    )
    def test_known_values(self, name, variant, arguments, expected):
        assert CATALOGUE[name].load(variant)(*arguments) == expected


def answer_key(value):
    """The same text for whatever one answer can pass for: numbers that are close, a tuple and a list."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(round(float(value), 6))
    if isinstance(value, list | tuple):
        return json.dumps([answer_key(item) for item in value])
    if isinstance(value, dict):
        return json.dumps({key: answer_key(item) for key, item in sorted(value.items())})
    return json.dumps(value)


def inputs(name, variant):
    return json.dumps([arguments for arguments, _ in hidden_tests(name, variant)])


def best_answers(name, variants):
    """
    What the best submission that asks nothing returns: for each set of inputs that it may meet, and each of them, the
    answer that is right for most of the variants. The mean share of calls that it passes comes with it.
    """
    answers, passed = {}, 0
    for met, group in itertools.groupby(sorted(variants, key=partial(inputs, name)), partial(inputs, name)):
        tests = [hidden_tests(name, variant) for variant in group]
        answers[met] = []
        for expected in zip(*[[value for _, value in test] for test in tests]):
            counts = Counter(map(answer_key, expected))
            [(best, count)] = counts.most_common(1)
            answers[met].append(next(value for value in expected if answer_key(value) == best))
            passed += count
    return answers, passed / 10 / len(variants)


class TestBlindSubmissions:
    """Nobody scores without asking, whatever they know of the tests. They may know all inputs beforehand."""

    def test_the_inputs_do_not_depend_on_the_details(self):
        for name, function in CATALOGUE.items():
            assert len({inputs(name, variant) for variant in function.variants()}) == 1, name

    @pytest.mark.parametrize("split", ["all", "train"])
    def test_the_best_of_them_scores_next_to_nothing(self, split):
        scores = {}
        for name, function in CATALOGUE.items():
            variants = [v for v in function.variants() if split == "all" or split_of(name, v) == split]
            _, scores[name] = best_answers(name, variants)
        assert max(scores.values()) <= 0.2, max(scores, key=scores.get)
        assert statistics.mean(scores.values()) <= 0.1
        weights = [len(CATALOGUE[name].variants()) for name in scores]
        assert statistics.fmean(scores.values(), weights) <= 0.1

    def test_what_is_learnt_by_heart_from_the_training_split_scores_nothing_on_the_others(self):
        for name, function in CATALOGUE.items():
            variants = {split: [] for split in ("train", "validation", "test")}
            for variant in function.variants():
                variants[split_of(name, variant)].append(variant)
            answers, _ = best_answers(name, variants["train"])
            for variant in variants["validation"] + variants["test"]:
                told = answers.get(inputs(name, variant), [])
                assert not any(
                    answer_key(answer) == answer_key(value)
                    for answer, (_, value) in zip(told, hidden_tests(name, variant))
                )

    @pytest.mark.thorough
    @needs_sandbox
    def test_through_the_sandbox_with_a_look_at_the_inputs(self):
        # Looks for its inputs, wherever they may be, and answers what is right for most of the details that fit them
        name = "average_score"
        variants = CATALOGUE[name].variants()
        answers, best = best_answers(name, variants)
        code = f"""
import gc, json, sys
ANSWERS = {answers!r}
def average_score(scores):
    seen, frame = [], sys._getframe()
    while frame:
        seen += frame.f_locals.values()
        frame = frame.f_back
    for item in [*seen, *gc.get_objects()]:
        try:
            met = json.dumps(item)
            if met in ANSWERS:
                return ANSWERS[met][item.index([scores])]
        except Exception:
            pass
    for met, answers in ANSWERS.items():
        if [scores] in json.loads(met):
            return answers[json.loads(met).index([scores])]
"""
        prompt = [{"role": "user", "content": "I need a Python function `average_score(scores)`."}]
        rows = [
            {"prompt": prompt, "function": name, "choices": json.dumps(variant), "seed": 0} for variant in variants
        ]
        score = mean_reward(lambda messages, tools: submission(code), rows)
        assert 0 < score <= 0.2
        assert score == pytest.approx(best)


def told(name, question):
    """The details of a function that a question reveals."""
    function = CATALOGUE[name]
    facts = _scenario(function, function.variants()[0], "").facts
    return [fact.topic for fact in facts if asks_for(question, fact)]


class TestQuestions:
    def test_a_natural_question_gets_its_answer_alone(self):
        questions = read_questions(COCODE)
        wrong = [(name, topic, question) for (name, topic), question in questions if told(name, question) != [topic]]
        assert not wrong

    def test_there_are_at_least_three_questions_for_each_detail(self):
        counts = Counter((name, topic) for (name, topic), _ in read_questions(COCODE))
        details = {(name, detail.topic) for name, function in CATALOGUE.items() for detail in function.details}
        assert set(counts) == details
        assert min(counts.values()) >= 3

    def test_what_asks_for_nothing_reveals_nothing(self):
        for name in CATALOGUE:
            assert not [question for question in COCODE_USELESS.strip().splitlines() if told(name, question)], name


class TestConversation:
    def scenario(self, function, variant):
        captured = []

        def make_user(scenario, seed):
            captured.append(scenario)
            return ScriptedUser(scenario, seed)

        env = CocodeEnv(make_user=make_user)
        request = f"I need a Python function `{function.signature}` that {function.request}"
        prompt = [{"role": "user", "content": request}]
        env.reset(prompt=prompt, function=function.name, choices=json.dumps(variant), seed=1)
        return env, captured[0]

    @needs_sandbox
    def test_a_question_gets_its_answer_alone(self):
        for function in CATALOGUE.values():
            variant = function.variants()[-1]
            for detail, choice in zip(function.details, variant):
                env, _ = self.scenario(function, variant)
                reply = env.user.reply([{"role": "assistant", "content": f"What about the {detail.keywords[0]}?"}])
                assert reply == detail.sentence.format(value=choice)

    @needs_sandbox
    def test_replies_have_at_most_two_sentences_and_no_code(self):
        for function in CATALOGUE.values():
            env, _ = self.scenario(function, function.variants()[0])
            everything = ". ".join(keyword for detail in function.details for keyword in detail.keywords)
            replies = [env.user.reply([{"role": "assistant", "content": everything}]) for _ in range(3)]
            told = [sum(choice in reply for choice in function.variants()[0]) for reply in replies]
            assert sum(told) == len(function.details)
            assert max(told) <= 2
            assert replies[-1] == NOTHING_TO_ADD
            assert "def " not in " ".join(replies)

    @needs_sandbox
    def test_a_model_that_plays_the_user_knows_everything(self):
        for function in CATALOGUE.values():
            variant = function.variants()[-1]
            _, scenario = self.scenario(function, variant)
            assert isinstance(scenario, Scenario)
            assert all(choice in scenario.profile for choice in variant)
            assert function.signature in scenario.profile
            assert "two sentences" in scenario.rules
            for fact, detail in zip(scenario.facts, function.details):
                assert {fact.value, *fact.alternatives} == set(detail.choices)


@needs_sandbox
class TestCocodeEnv:
    def started(self):
        env = CocodeEnv()
        env.reset(**ROW)
        return env

    def test_only_submit_is_a_tool(self):
        names = [name for name in dir(CocodeEnv) if not name.startswith("_")]
        tools = {name for name in names if callable(getattr(CocodeEnv, name))} - {"reset", "get_reward"}
        assert tools == {"submit"}
        schema = get_json_schema(CocodeEnv.submit)["function"]
        assert schema["parameters"]["required"] == ["code"]

    def test_reward_is_the_share_of_hidden_tests(self):
        env = self.started()
        known = {json.dumps(arguments): expected for arguments, expected in env.tests[:3]}
        code = f"import json\ndef unique(names): return {known!r}.get(json.dumps([names]))"
        assert asyncio.run(env.submit(code)) == NOTHING_TO_ADD
        assert env.get_reward() == 0.3

    def test_the_answer_does_not_depend_on_the_score(self):
        right, wrong = self.started(), self.started()
        function = CATALOGUE["unique"]
        answers = [
            asyncio.run(right.submit(function.source(tuple(json.loads(ROW["choices"]))))),
            asyncio.run(wrong.submit(function.source(function.variants()[0]))),
        ]
        assert (right.get_reward(), wrong.get_reward()) == (1.0, 0.0)
        assert answers == [NOTHING_TO_ADD, NOTHING_TO_ADD]

    def test_first_submission_counts(self):
        env = self.started()
        assert env.get_reward() == 0.0
        assert not env.done
        asyncio.run(env.submit("def unique(names): return 0"))
        assert env.done
        code = CATALOGUE["unique"].source(tuple(json.loads(ROW["choices"])))
        assert asyncio.run(env.submit(code)) == NOTHING_TO_ADD
        assert env.get_reward() == 0.0

    def test_reset_makes_an_instance_new(self):
        env = CocodeEnv()
        for _ in range(2):
            reward, messages = play(cocode_oracle, ROW, env)
            assert reward == 1.0
            assert len(messages) == 9  # request, three questions and answers, submission, acknowledgement

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("def unique(names)", "The code failed: did not load: SyntaxError"),
            ("def Unique(names): pass", "The code failed: did not load: there is no function `unique`."),
            ("def unique(): pass", "The code raised TypeError: unique() takes 0 positional arguments"),
            ("def unique(names): return names[99]", "The code raised IndexError: list index out of range."),
        ],
    )
    def test_honest_mistakes_are_told(self, code, told):
        env = self.started()
        assert asyncio.run(env.submit(code)).startswith(told)
        assert env.get_reward() == 0.0


class TestEqual:
    @pytest.mark.parametrize(
        ("value", "expected", "equal"),
        [
            (1, 1.0, True),
            (0.1 + 0.2, 0.3, True),
            (0.31, 0.3, False),
            (True, 1, False),
            (1, True, False),
            (None, 0, False),
            ("1", 1, False),
            ([1, 2], (1, 2), True),
            ([1, 2], [1, 2, 3], False),
            ({"a": [1]}, {"a": [1.0]}, True),
            ({"a": 1, "b": 2}, {"a": 1}, False),
            (10**400, 0.5, False),
            (10**400, 10**400, True),
            (10**15 + 1, 10**15, False),
            (1e8 + 1e-7, 1e8, True),
            (math.inf, math.inf, True),
            (math.inf, 1e300, False),
            (float("nan"), 0.5, False),
            ([[]] * 3, "text", False),
        ],
    )
    def test_examples(self, value, expected, equal):
        assert is_equal(value, expected) is equal

    @settings(max_examples=30)
    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
    def test_a_value_equals_itself(self, value):
        assert is_equal(json.loads(json.dumps(value)), value)


class TestDataset:
    def goals(self, split, seed):
        return {(row["function"], row["choices"]) for row in cocode_dataset(split, 1500, seed)}

    def test_splits_are_disjoint_whatever_the_seed(self):
        splits = ("train", "validation", "test")
        train, validation, test = (self.goals(split, 0) | self.goals(split, 1) for split in splits)
        assert not train & validation
        assert not train & test
        assert not validation & test
        total = len(train | validation | test)
        assert len(test) / total == pytest.approx(0.2, abs=0.05)
        assert len(validation) / total == pytest.approx(0.1, abs=0.05)

    def test_every_task_has_a_split(self):
        splits = [split_of(name, variant) for name, function in CATALOGUE.items() for variant in function.variants()]
        assert set(splits) == {"train", "validation", "test"}

    def test_the_prompt_does_not_depend_on_the_choices(self):
        for row in cocode_dataset("test", 50):
            function = CATALOGUE[row["function"]]
            system, user = row["prompt"]
            assert user["content"] == f"I need a Python function `{function.signature}` that {function.request}"
            assert "`submit`" in system["content"]

    def test_seed(self):
        assert cocode_dataset("train", 20, 0).to_list() == cocode_dataset("train", 20, 0).to_list()
        assert cocode_dataset("train", 20, 0).to_list() != cocode_dataset("train", 20, 1).to_list()

    def test_unknown_split(self):
        with pytest.raises(ValueError, match="`split` is 'dev'"):
            cocode_dataset("dev", 1)


@needs_sandbox
class TestPolicies:
    @pytest.mark.quick(1)
    @pytest.mark.parametrize("num_tasks", [25, 100])
    def test_oracle_always_succeeds(self, num_tasks):
        assert mean_reward(cocode_oracle, cocode_dataset("test", num_tasks)) == 1.0

    @pytest.mark.thorough
    def test_never_asking_fails(self):
        assert mean_reward(never_asking_policy, cocode_dataset("test", 100)) <= 0.2

    @pytest.mark.thorough
    def test_random_fails(self):
        assert mean_reward(RandomPolicy(), cocode_dataset("test", 100)) <= 0.2

    @pytest.mark.quick(1)
    @pytest.mark.parametrize("persona", ["terse", "chatty", "forgetful", "evasive"])
    def test_oracle_copes_with_users(self, persona):
        env = CocodeEnv(make_user=partial(ScriptedUser, persona=persona))
        assert statistics.mean(play(cocode_oracle, row, env)[0] for row in cocode_dataset("test", 10)) == 1.0

    @pytest.mark.slow
    def test_every_task_can_be_solved(self):
        rows = [
            {
                "prompt": [{"role": "user", "content": f"I need `{function.signature}`."}],
                "function": name,
                "choices": json.dumps(variant),
                "seed": 0,
            }
            for name, function in CATALOGUE.items()
            for variant in function.variants()
        ]
        assert mean_reward(cocode_oracle, rows) == 1.0


@needs_sandbox
def test_a_sandbox_that_fails_ends_the_run_and_scores_nothing(monkeypatch):
    row = cocode_dataset("test", 1)[0]
    env = CocodeEnv()
    env.reset(**row)
    monkeypatch.setattr("trl_infopo.environments.cocode.sandbox.sys", SimpleNamespace(executable="/bin/false"))
    asyncio.run(env.submit("def f(): pass"))
    with pytest.raises((SandboxError, OSError)):
        env.get_reward()
    monkeypatch.undo()
    env.reset(**row)
    assert env.get_reward() == 0.0


@needs_sandbox
def test_a_user_tells_two_details_in_a_reply():
    function = next(function for function in CATALOGUE.values() if len(function.details) >= 3)
    env = CocodeEnv()
    env.reset(**next(row for row in cocode_dataset("train", 500) if row["function"] == function.name))
    question = " ".join(detail.keywords[0] for detail in function.details)
    env.user.reply([{"role": "assistant", "content": question}])
    assert len(env.user.untold) == len(function.details) - 2


@pytest.mark.parametrize("code", [123, None, ["def"]])
def test_what_is_no_text_is_no_submission(code):
    env = CocodeEnv(allow_unsafe_execution=True)
    [row] = cocode_dataset("train", 1)
    env.reset(**row)
    with pytest.raises(ValueError, match="`code` is no text"):
        asyncio.run(env.submit(code))
    assert not env.done
