# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor finds planted faults, one in each environment, and nothing wrong with the built-in ones."""

import inspect
import io
import itertools
import json
import random
import sqlite3
import sys

import pytest
from faulty_environments import (
    FAULTS,
    HEALTHY,
    ROWS,
    Acknowledges,
    HasNoReward,
    Healthy,
    IsSlow,
    LoadsOnce,
    SaysSpecialTokens,
    SharesGlobal,
    SharesWhileItWaits,
    Talks,
)
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from tiny_agents import make_agent, make_model, make_tokenizer, tool_call

from trl_infopo import check_environment, cli
from trl_infopo.doctor import ERROR, WARNING
from trl_infopo.doctor.player import draw_arguments
from trl_infopo.environments import ENVIRONMENTS
from trl_infopo.environments.booking import NEUTRAL
from trl_infopo.scripts.check import CheckArguments
from trl_infopo.scripts.train import DEFAULTS


@pytest.mark.parametrize(
    ("environment", "name", "level", "seen"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_planted_fault_is_found(environment, name, level, seen):
    options = {"feedback_timeout": 0.1, "num_episodes": 3} if environment is IsSlow else {"num_episodes": 48}
    options = {} if name == "state shared by environments" else options
    checkup = check_environment(environment, ROWS, **options)
    [finding] = [finding for finding in checkup.findings if finding.name == name]
    assert finding.level == level
    assert seen in finding.seen
    assert finding.way_out
    assert checkup.is_healthy == (level == WARNING)


def test_healthy_environment_has_no_findings():
    checkup = check_environment(Healthy, ROWS)
    assert checkup.findings == []
    assert checkup.num_episodes == 16
    assert sum(checkup.stop_reasons.values()) == 16


@pytest.mark.parametrize("environment", HEALTHY)
@pytest.mark.parametrize("seed", range(2))
def test_healthy_environment_has_no_error(environment, seed):
    checkup = check_environment(environment, ROWS, seed=seed)
    assert checkup.is_healthy, checkup.findings
    assert "state in the class" not in [finding.name for finding in checkup.findings]


def test_shared_state_is_told_with_what_was_seen():
    checkup = check_environment(SharesGlobal, ROWS)
    [finding] = [finding for finding in checkup.findings if finding.level == ERROR]
    alone, together = finding.seen.split(" alone, ")
    assert "I want to go to" in alone
    assert "at the same time" in together
    assert alone.rpartition("content")[2] not in together


def test_shared_state_is_found_with_one_row_and_with_one_episode():
    for rows, num_episodes in ((ROWS[:1], 16), (ROWS, 8)):
        checkup = check_environment(SharesGlobal, rows, num_episodes=num_episodes)
        assert "state shared by environments" in [finding.name for finding in checkup.findings]
    assert check_environment(Healthy, ROWS[:1], num_episodes=1).findings == []


def test_state_that_is_shared_while_tools_wait_is_found():
    checkup = check_environment(SharesWhileItWaits, ROWS, num_episodes=8, max_turns=6)
    assert "state shared by environments" in [finding.name for finding in checkup.findings]


def test_state_in_the_class_is_found_again_in_the_same_process():
    class Overwrites(Healthy):
        last = None

        def reset(self, city, **row):
            super().reset(city)
            type(self).last = city

    for seed in range(4):
        assert "state in the class" in [f.name for f in check_environment(Overwrites, ROWS, seed=seed).findings]


def test_a_cache_of_what_cannot_be_reproduced_is_a_warning():
    unseeded = random.SystemRandom()

    class Loads(LoadsOnce):
        _countries, _letters = None, {}

        def ask(self, topic: str) -> str:
            """
            Ask for a topic.

            Args:
                topic: What to ask for, `city` or `day`.
            """
            return f"{super().ask(topic)} {unseeded.random()}"

    levels = {finding.name: finding.level for finding in check_environment(Loads, ROWS).findings}
    assert levels["not reproducible"] == levels["state in the class"] == WARNING


@pytest.mark.parametrize("seed", range(10))
def test_chance_that_is_equal_at_times_is_no_state(seed):
    unseeded = random.Random(seed)  # nobody seeds it again

    class Coin(Healthy):
        def ask(self, topic: str) -> str:
            """
            Ask for a topic.

            Args:
                topic: What to ask for, `city` or `day`.
            """
            text = super().ask(topic)
            return text if text == self.masked_feedback else f"{text} {unseeded.choice(['Well', 'Hm'])}"

    assert check_environment(Coin, ROWS, seed=seed).is_healthy


def test_what_all_say_at_length_fits_in_the_turns_of_a_training():
    checkup = check_environment(Talks, ROWS, num_episodes=2)
    [finding] = checkup.findings[:1]
    assert (finding.name, finding.level) == ("episodes do not end", WARNING)
    assert "one ended after 30" in finding.seen
    assert checkup.is_healthy
    many_turns = check_environment(Talks, ROWS, num_episodes=2, max_turns=32)
    assert [finding.name for finding in many_turns.findings if finding.level == ERROR] == ["token budget"]


def test_limits_are_those_of_the_training():
    options = inspect.signature(check_environment).parameters
    for name in ("max_turns", "max_completion_length"):
        assert options[name].default == getattr(CheckArguments("clarify"), name) == DEFAULTS[name]


@pytest.mark.parametrize("family", list(ENVIRONMENTS))
def test_built_in_environments_are_healthy(family):
    if family in ("frozen_lake", "sokoban", "text_game"):
        pytest.importorskip("gymnasium")
        pytest.importorskip("textarena")
    found = ENVIRONMENTS[family]
    masked_feedback = NEUTRAL if family == "booking" else "never"
    checkup = check_environment(
        found.make_environment, found.make_dataset("test", 20, 0), num_episodes=8, masked_feedback=masked_feedback
    )
    assert checkup.is_healthy, checkup.findings
    # In the booking game, what has no slot of that name is told so each time
    assert {finding.name for finding in checkup.findings} <= {"repetition is not the placeholder"}
    assert family == "booking" or not checkup.findings


def test_a_done_that_is_not_declared_is_a_warning():
    class Undeclared(HasNoReward):
        def __init__(self):
            self.done = False

    checkup = check_environment(Undeclared)
    assert "undeclared `done`" in [finding.name for finding in checkup.findings]
    assert checkup.is_healthy


def test_an_object_is_no_factory():
    checkup = check_environment(Healthy(), ROWS)
    assert [finding.name for finding in checkup.findings] == ["no environment"]
    assert "pass what makes them" in checkup.findings[0].seen.lower()


def test_one_environment_for_all():
    shared = Healthy()
    checkup = check_environment(lambda: shared, ROWS)
    assert [finding.name for finding in checkup.findings] == ["one environment for all"]


def test_same_seed_same_findings():
    one, other = (check_environment(Acknowledges, ROWS, seed=3) for _ in range(2))
    assert one == other


def test_chance_of_an_environment_is_no_state():
    class Dice(Healthy):
        def ask(self, topic: str) -> str:
            """
            Ask for a topic.

            Args:
                topic: What to ask for, `city` or `day`.
            """
            return super().ask(topic) if random.random() < 0.5 else self.masked_feedback

    before = random.getstate()
    assert check_environment(Dice, ROWS).findings == []
    assert random.getstate() == before


def test_an_environment_that_fails_at_times_is_told():
    resets = itertools.count()

    class Flaky(Healthy):
        def reset(self, **row):
            self.number = next(resets)
            if self.number % 3 == 2:  # the third time that an episode is played
                raise RuntimeError("flaky network")
            super().reset(**row)

        def ask(self, topic: str) -> str:
            """
            Ask for a topic.

            Args:
                topic: What to ask for, `city` or `day`.
            """
            return f"{super().ask(topic)} {self.number}"

    findings = check_environment(Flaky, ROWS).findings
    assert "not reproducible" in {finding.name for finding in findings}


def test_other_chance_is_a_warning():
    unseeded = random.SystemRandom()

    class Noise(Healthy):
        def ask(self, topic: str) -> str:
            """
            Ask for a topic.

            Args:
                topic: What to ask for, `city` or `day`.
            """
            return f"{super().ask(topic)} {unseeded.random()}"

    checkup = check_environment(Noise, ROWS)
    assert checkup.is_healthy
    assert "not reproducible" in [finding.name for finding in checkup.findings]


class TestPolicy:
    def test_gains_are_told_largest_first(self):
        model, tokenizer = make_agent([tool_call("ask", topic="city"), tool_call("ask", topic="day")])
        checkup = check_environment(
            Acknowledges, ROWS, policy=(model, tokenizer), max_turns=3, num_episodes=6, max_completion_length=200
        )
        gains = [gain.gain for gain in checkup.gains]
        assert gains == sorted(gains, reverse=True)
        by_text = {gain.text: gain for gain in checkup.gains}
        assert {gain.source for gain in checkup.gains} == {"ask"}
        assert by_text["Nothing new."].gain == 0
        assert any(gain.gain != 0 for text, gain in by_text.items() if text.startswith("I want to go to"))

    def test_a_silent_policy_is_a_warning(self):
        tokenizer = make_tokenizer()
        checkup = check_environment(
            Healthy, ROWS, policy=(make_model(tokenizer), tokenizer), num_episodes=2, max_turns=1
        )
        assert checkup.gains == []
        assert "policy gets no feedback" in [finding.name for finding in checkup.findings]

    def test_a_policy_without_weights_is_an_error(self):
        with pytest.raises(ValueError, match="`policy` is a ScriptedPolicy"):
            check_environment(Healthy, ROWS, policy=lambda messages, tools: {"role": "assistant", "content": ""})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_episodes": 0}, "`num_episodes` is 0"),
        ({"max_turns": 1.5}, "`max_turns` is 1.5"),
        ({"max_completion_length": True}, "`max_completion_length` is True"),
        ({"feedback_timeout": 0}, "`feedback_timeout` is 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"masked_feedback": " "}, "`masked_feedback` is ' '"),
        ({"dataset": []}, "`dataset` has no rows"),
        ({"dataset": [{"prompt": "hi"}]}, "Row 0 of `dataset`"),
    ],
)
def test_bad_argument_is_a_clear_error(options, message):
    with pytest.raises(ValueError, match=message):
        check_environment(Healthy, **{"dataset": ROWS, **options})


def test_what_belongs_to_its_thread_is_healthy_without_a_limit():
    """A training without `feedback_timeout` runs tools on the thread that has made the environment."""

    class Database(Healthy):
        def reset(self, *args, **kwargs):
            self.connection = sqlite3.connect(":memory:")
            return super().reset(*args, **kwargs)

        def count(self, word: str) -> str:
            """
            Count.

            Args:
                word: A word.
            """
            return f"{len(word)} letters, {self.connection.execute('select 1').fetchone()[0]} row"

    assert check_environment(Database, ROWS, feedback_timeout=None).is_healthy
    checkup = check_environment(Database, ROWS)
    [finding] = [finding for finding in checkup.findings if finding.name == "`count` raises"]
    assert "`feedback_timeout=None`" in finding.way_out


def test_a_prompt_may_show_calls():
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    shown = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    shown += [{"role": "tool", "name": "look", "content": "nothing"}, {"role": "user", "content": "Hello."}]
    checkup = check_environment(Healthy, [{**row, "prompt": shown} for row in ROWS])
    assert checkup.num_episodes == 16
    assert checkup.is_healthy, checkup.findings


def test_report_says_what_was_seen_and_the_way_out():
    checkup = check_environment(SaysSpecialTokens, ROWS)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(checkup.report())
    text = console.export_text()
    assert text.startswith("SaysSpecialTokens: 16 episodes played")
    assert "error: special token" in text
    assert "<|im_end|>" in text
    assert "way out: Remove it from the text" in text


MODULE = '''
class Library:
    masked_feedback = "no hits"

    def reset(self, title: str, **row) -> None:
        self.title, self.found = title, False

    def search(self, query: str) -> str:
        """
        Search the catalogue.

        Args:
            query: Words of the title.
        """
        is_new = query.lower() in self.title.lower() and not self.found
        self.found = self.found or is_new
        return f"1 hit: {self.title}" if is_new else "no hits"

    def get_reward(self) -> float:
        return float(self.found)


class Broken(Library):
    def get_reward(self) -> float:
        return float("nan")


titles = ["Moby-Dick", "Emma", "Walden", "Dracula"]
rows = [{"prompt": [{"role": "user", "content": "Find a book."}], "title": title} for title in titles]


def make_rows():
    return rows
'''


class TestCLI:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        (tmp_path / "planted_library.py").write_text(MODULE)
        lines = [{"prompt": [{"role": "user", "content": "Find."}], "title": title} for title in ("Emma", "Walden")]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "broken.jsonl").write_text("{}\n{\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "planted_library", raising=False)

    @pytest.mark.parametrize("rows", ["planted_library:rows", "planted_library:make_rows", "rows.jsonl"])
    def test_healthy_environment(self, rows, capsys):
        assert cli.main(["check", "planted_library:Library", "--dataset", rows]) == 0
        assert "nothing found" in capsys.readouterr().out

    def test_error_is_the_exit_status(self, capsys):
        with pytest.raises(SystemExit) as error:
            cli.main(["check", "planted_library:Broken", "--dataset", "planted_library:rows"])
        assert error.value.code == 1
        output = capsys.readouterr().out
        assert "error: reward" in output
        assert "way out" in output

    def test_built_in_environment(self, capsys):
        assert cli.main(["check", "clarify", "--num_episodes", "4"]) == 0
        assert "ClarifyEnv: 4 episodes" in capsys.readouterr().out

    def test_gains_of_a_policy(self, capsys, tmp_path):
        model, tokenizer = make_agent([tool_call("search", query="emma"), tool_call("search", query="walden")])
        model.save_pretrained(tmp_path / "policy")
        tokenizer.save_pretrained(tmp_path / "policy")
        options = ["--policy", "policy", "--max_turns", "3", "--num_episodes", "4", "--max_completion_length", "300"]
        assert cli.main(["check", "planted_library:Library", "--dataset", "planted_library:rows", *options]) == 0
        output = capsys.readouterr().out
        assert "what feedback earns" in output
        assert "no hits" in output

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "--environment"),
            (["planted_library:Libary"], "'planted_library' has no 'Libary'. Did you mean 'Library'?"),
            (["planted_libary:Library"], "cannot be imported: ModuleNotFoundError"),
            (["bookin"], "Did you mean 'booking'?"),
            (["booking", "--dataset", "none.jsonl"], "`dataset` is 'none.jsonl', which cannot be read"),
            (["booking", "--dataset", "broken.jsonl"], "whose line 2 is not JSON"),
            (["booking", "--dataset", "planted_library:titles"], "Row 0 of `dataset`"),
            (["booking", "--policy", "./none"], "`policy` is './none', which cannot be loaded"),
            (["booking", "--num_episodes", "0"], "`num_episodes` is 0"),
            (["booking", "--episodes", "3"], "there is no option --episodes"),
        ],
    )
    def test_wrong_options(self, options, message, capsys):
        with pytest.raises(SystemExit) as error:
            cli.main(["check", *options])
        assert error.value.code == 2
        assert message in capsys.readouterr().err


class Desk:
    """Tools that come with schemas, one with a hidden answer."""

    masked_feedback = "Nothing new."
    tool_schemas = [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Look something up.",
                "parameters": {
                    "type": "object",
                    "properties": {"topic": {"type": "string", "enum": ["city", "day"]}},
                    "required": ["topic"],
                },
            },
        }
    ]

    def reset(self, **row) -> None:
        self.looked = []

    def call_tool(self, name, arguments):
        self.looked.append(arguments.get("topic"))
        return "Paris." if arguments.get("topic") == "city" else self.masked_feedback

    def get_reward(self) -> float:
        return float("city" in self.looked)


def test_tools_that_come_with_schemas_are_played():
    heard = []

    class Heard(Desk):
        def call_tool(self, name, arguments):
            heard.append((name, arguments))
            return super().call_tool(name, arguments)

    checkup = check_environment(Heard)
    assert checkup.is_healthy, checkup.findings
    assert {name for name, _ in heard} == {"look"}
    assert {arguments["topic"] for _, arguments in heard} == {"city", "day"}


TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        "others": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    },
    "required": ["name", "left", "others"],
    "additionalProperties": False,
}
SMALL = st.integers(-20, 20)
KINDS = [{}, {"type": ["integer", "null"]}, {"type": "boolean"}, {"type": "null"}, {"$ref": "#/$defs/tree"}]
KINDS += [
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"const": [1, {"a": None}]},
    {"minimum": 30},
]
KINDS += [{"type": "string", "enum": ["a", "b"]}, {"type": "string", "pattern": "^he"}]


def numbers(low, width, is_exclusive, step):
    names = ("exclusiveMinimum", "exclusiveMaximum") if is_exclusive else ("minimum", "maximum")
    return {names[0]: low, names[1]: low + width, **({"multipleOf": step} if step else {})}


def nested(parts):
    properties = st.dictionaries(st.sampled_from(["a", "b", "c/d"]), parts, max_size=3)
    arrays = {"items": parts, "minItems": st.integers(0, 2), "maxItems": st.integers(2, 4)}
    objects = {"properties": properties, "required": st.lists(st.sampled_from(["a", "e"]), unique=True)}
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), **arrays}, optional={"prefixItems": st.lists(parts)}),
        st.fixed_dictionaries(
            {"type": st.just("object"), **objects},
            optional={"additionalProperties": parts, "minProperties": st.integers(0, 4)},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(parts, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(parts, min_size=1, max_size=1)}),
    )


LEAVES = st.one_of(
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 6),
            "maxLength": st.integers(6, 9),
            "description": st.just("`me` or `you`"),
        },
    ),
    st.builds(
        lambda kind, limits: {"type": kind, **limits},
        st.sampled_from(["integer", "number"]),
        st.builds(numbers, SMALL, st.integers(8, 12), st.booleans(), st.sampled_from([None, 2, 3, 0.5, 1.5]))
        | st.dictionaries(st.sampled_from(["minimum", "maximum"]), SMALL | st.floats(-5, 5), max_size=1),
    ),
)


@example({"x": {"type": "string", "minLength": 6, "maxLength": 6}}, 0)  # no word has that length
@given(st.dictionaries(st.sampled_from("xyz"), st.recursive(LEAVES, nested, max_leaves=6)), st.integers(0, 9))
def test_drawn_arguments_fit_their_schema(properties, seed):
    jsonschema = pytest.importorskip("jsonschema")
    parameters = {"type": "object", "properties": properties, "required": [*properties][:2], "$defs": {"tree": TREE}}
    schema = {"type": "function", "function": {"name": "f", "description": "See `here`.", "parameters": parameters}}
    arguments = draw_arguments(schema, ["hello", "Paris"], random.Random(seed))
    assert arguments.keys() <= properties.keys()
    jsonschema.Draft202012Validator(parameters).validate(arguments)


def test_alternatives_and_all_types_are_drawn():
    parts = [{"type": "integer", "minimum": 3}, {"type": "array", "items": {"type": "boolean"}}, {"type": "null"}]
    parameters = {"type": "object", "properties": {"x": {"anyOf": parts}}, "required": ["x"]}
    schema = {"type": "function", "function": {"name": "f", "description": "", "parameters": parameters}}
    drawn = [draw_arguments(schema, ["it"], random.Random(seed))["x"] for seed in range(30)]
    assert {type(value) for value in drawn} == {int, list, type(None)}
