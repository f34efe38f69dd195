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

import gc
import io
import json
import multiprocessing
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import weakref
from dataclasses import dataclass, fields
from functools import partial, wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from case_names import case_name
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tiny_agents import AskEnvironment, make_model, make_tokenizer

from trl_infopo import _progress, cli, environments, policies
from trl_infopo._describe import describe
from trl_infopo.environments import ENVIRONMENTS, BookingEnv, ClarifyEnv, booking_dataset, clarify_dataset
from trl_infopo.environments.booking import KINDS
from trl_infopo.environments.clarify import clarify_oracle
from trl_infopo.evaluation import (
    Evaluation,
    bootstrap_mean,
    evaluate,
    lock_directory,
    user_shift_table,
    write_whole,
)
from trl_infopo.policies import ChatPolicy, PolicyError, SeededEpisode
from trl_infopo.policies.model import _ModelActor
from trl_infopo.scripts import eval as eval_script
from trl_infopo.scripts import quickstart
from trl_infopo.users import ChatUser, ScriptedUser, UserSimulatorError


quiet = partial(evaluate, show_progress=False)


def call(tool, **arguments):
    function = {"name": tool, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def booking_expert(messages, tools):
    """Asks for each slot of the kind once, books what it heard, says goodbye."""
    request = next(message["content"] for message in messages if message["role"] == "user")
    slots = next(slots for kind, slots in KINDS.items() if kind in request)
    answers = [message["content"] for message in messages if message["role"] == "tool"]
    if len(answers) < len(slots):
        return call("ask", slot=slots[len(answers)])
    if len(answers) == len(slots):
        values = [re.sub("^i want ", "", answer) for answer in answers]
        return call("book", **dict(zip(slots, values, strict=True)))
    return {"role": "assistant", "content": "goodbye"}


def booking_users(*personas):
    return {persona: partial(BookingEnv, persona=persona) for persona in personas}


def clarify_users(*personas):
    return {name: partial(ClarifyEnv, make_user=partial(ScriptedUser, persona=name)) for name in personas}


# Statistics


@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=4), min_size=1, max_size=12))
@settings(max_examples=30)
def test_interval_lies_within_the_data(values):
    estimate = bootstrap_mean(values, num_resamples=50)
    flat = np.concatenate(values)
    assert estimate.mean == pytest.approx(flat.mean(), abs=1e-9)
    assert flat.min() - 1e-9 <= estimate.low <= estimate.high <= flat.max() + 1e-9
    assert estimate == bootstrap_mean(values, num_resamples=50)


def test_interval_is_as_wide_as_the_normal_approximation():
    rng = np.random.default_rng(0)
    values = rng.random(400) < 0.3
    estimate = bootstrap_mean(values[:, None])
    half_width = 1.96 * values.std() / 20
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half_width, rel=0.1)


def test_interval_covers_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(300):
        # Runs of a task share its difficulty: taken for independent samples, they would cover far less
        difficulty = rng.normal(size=(40, 1))
        estimate = bootstrap_mean(difficulty + 0.1 * rng.normal(size=(40, 5)), num_resamples=200, seed=i)
        covered += estimate.low <= 0 <= estimate.high
    assert 0.9 <= covered / 300 <= 0.98


def test_repeating_runs_adds_no_confidence():
    values = np.random.default_rng(0).random((30, 1))
    once, often = bootstrap_mean(values), bootstrap_mean(np.repeat(values, 8, axis=1))
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


# Episodes


def test_expert_books_right_with_those_who_answer_in_its_language():
    dataset = booking_dataset("test", 30)
    evaluation = quiet(booking_expert, booking_users("plain", "terse", "evasive"), dataset)
    summary = evaluation.summary()
    assert list(summary) == ["plain", "terse", "evasive"]
    assert summary["plain"]["success"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert summary["terse"]["success"]["mean"] == 1.0
    assert summary["evasive"]["success"]["mean"] == 0.0
    assert summary["plain"]["num_turns"]["mean"] == 5
    assert summary["plain"]["num_questions"]["mean"] == 4
    assert summary["plain"]["stop_reasons"] == {"answered": 1.0}
    assert summary["plain"]["num_tasks"] == summary["plain"]["num_episodes"] == 30


def test_conversations_with_a_user():
    dataset = clarify_dataset("test", 20)
    evaluation = quiet(clarify_oracle, clarify_users("plain", "evasive"), dataset, num_runs=2, batch_size=7)
    assert len(evaluation.records) == 80
    for record in evaluation.records:
        messages = record["messages"]
        assert messages[:2] == dataset[record["task"]]["prompt"]
        roles = [message["role"] for message in messages[2:]]
        assert record["num_turns"] == roles.count("assistant")
        assert record["num_questions"] == roles.count("user")
        assert record["stop_reason"] == "environment_done"
        assert messages[-1]["role"] == "tool"  # what the policy never saw
        assert record["success"] == (record["reward"] == 1.0)
    summary = evaluation.summary()
    assert summary["plain"]["reward"]["mean"] >= 0.95
    assert summary["evasive"]["num_turns"]["mean"] > summary["plain"]["num_turns"]["mean"]
    assert (summary["plain"]["num_tasks"], summary["plain"]["num_episodes"]) == (20, 40)


def test_last_action_is_not_run():
    evaluation = quiet(booking_expert, booking_users("plain"), booking_dataset("test", 3), max_turns=4)
    assert [(record["reward"], record["stop_reason"]) for record in evaluation.records] == [(0.0, "max_turns")] * 3
    assert evaluation.records[0]["messages"][-1]["tool_calls"][0]["function"]["name"] == "book"


class Greeter:
    """Says something at the start and scores in a coroutine."""

    def reset(self, name, **row):
        return f" I am {name}."

    async def get_reward(self):
        return 0.5


class Leaver(Greeter):
    def __init__(self, where):
        self.where = where

    def reset(self, **row):
        if self.where == "reset":
            raise SystemExit(0)
        return " half: \ud83d"

    async def get_reward(self):
        raise SystemExit(0)


@pytest.mark.parametrize("where", ["reset", "get_reward"])
def test_an_exit_is_no_end_of_an_evaluation(where):
    seen = []

    def policy(messages, tools):
        seen.extend(messages)
        return {"role": "assistant", "content": "Hi."}

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}]}]
    with pytest.raises(RuntimeError, match="SystemExit: 0"):
        quiet(policy, {"user": partial(Leaver, where)}, dataset)
    assert "".join(message["content"] for message in seen) == ("" if where == "reset" else "Hello. half: \ufffd")


@pytest.mark.parametrize("own", [[], [{"role": "system", "content": "Be polite."}]])
def test_prompt_of_environment_and_system_prompt(own):
    dataset = [{"prompt": [*own, {"role": "user", "content": "Hello."}], "name": "Ann"}]
    seen = []

    def policy(messages, tools):
        seen.append((messages, tools))
        return {"role": "assistant", "content": "Hi."}

    evaluation = quiet(policy, {"user": Greeter}, dataset, system_prompt="Ask first.", success_threshold=0.5)
    system = "Be polite.\n\nAsk first." if own else "Ask first."
    expected = [{"role": "system", "content": system}, {"role": "user", "content": "Hello. I am Ann."}]
    assert seen == [(expected, [])]
    assert evaluation.records[0]["success"]
    assert dataset[0]["prompt"][-1]["content"] == "Hello."


@pytest.mark.parametrize("content", ["Hello.", [{"type": "text", "text": "Hello."}]])
@pytest.mark.parametrize("observation", [" I am Ann.", [{"type": "text", "text": " I am Ann."}]])
def test_structured_content_of_prompts(content, observation):
    class Speaker(Greeter):
        def reset(self, **row):
            return observation

    seen = []

    def policy(messages, tools):
        seen.extend(messages)
        return {"role": "assistant", "content": "Hi."}

    system = [{"type": "text", "text": "Be polite."}]
    dataset = [{"prompt": [{"role": "system", "content": system}, {"role": "user", "content": content}]}]
    quiet(policy, {"user": Speaker}, dataset, system_prompt="Ask first.")
    assert seen[0]["content"] == [*system, {"type": "text", "text": "\n\nAsk first."}]
    if isinstance(content, str) and isinstance(observation, str):
        assert seen[1]["content"] == "Hello. I am Ann."
    else:
        assert seen[1]["content"] == [{"type": "text", "text": "Hello."}, {"type": "text", "text": " I am Ann."}]


def test_environments_are_reused():
    made = []

    def make():
        made.append(BookingEnv())
        return made[-1]

    quiet(booking_expert, {"plain": make}, booking_dataset("test", 10), batch_size=3)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": {}}, "`users` is empty"),
        ({"dataset": []}, "`dataset` has no rows"),
        ({"num_runs": 0}, "`num_runs` is 0"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"temperature": -1.0}, "`temperature` is -1.0"),
        ({"max_turns": 0}, "`max_turns` is 0"),
        ({"max_completion_length": 0}, "`max_completion_length` is 0"),
        ({"concurrency": 0}, "`concurrency` is 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    arguments = {"users": booking_users("plain"), "dataset": booking_dataset("test", 1), **arguments}
    with pytest.raises(ValueError, match=message):
        quiet(booking_expert, **arguments)


NAN, INF = float("nan"), float("inf")
WRONG = {
    **dict.fromkeys(
        ("num_runs", "batch_size", "max_completion_length", "concurrency"), [0, -1, 1.5, True, "2", None, NAN, [1]]
    ),
    "max_turns": [0, 1.5, True, "2", [1]],
    "temperature": [
        np.float32("inf"),
        np.float16("nan"),
        10**400,
        -1.0,
        NAN,
        INF,
        1e-40,
        1e-6,
        1e39,
        "0.5",
        None,
        True,
        False,
    ],
    "success_threshold": [NAN, INF, "1", None, True],
    "seed": [-1, 0.5, True, "0", None],
    "feedback_timeout": [0, -1, NAN, INF, 3e16, "2", True],
    "show_progress": ["false", 1, None],
    "system_prompt": ["", 3, ["Ask."]],
    "chat_template_kwargs": ["{}", [1], {"a": object()}, 3],
    "output_dir": ["", 3, "a\0b", "a" * 300],
    "users": [
        None,
        ["plain"],
        "plain",
        {"": BookingEnv},
        {3: BookingEnv},
        {"plain": BookingEnv()},
        {"plain": "plain"},
    ],
    "dataset": [None, 3, "test", {"prompt": []}, ["prompt"], [{"kind": "table"}], [{"prompt": "Hello."}]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]], ids=case_name)
def test_wrong_arguments_are_named_before_anything_plays(name, value):
    arguments = {"users": booking_users("plain"), "dataset": booking_dataset("test", 1), name: value}
    with pytest.raises(ValueError, match=f"`{name}") as error:
        evaluate(pytest.fail, **{"show_progress": False, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prompt", [[], ["Hello."], [{"content": "Hello."}], None, [{"role": "user"}]])
def test_prompt_that_is_no_conversation(prompt):
    rows = [*booking_dataset("test", 1), {"prompt": prompt}]
    with pytest.raises(ValueError, match="Row 1 of `dataset` .*list of messages"):
        quiet(booking_expert, booking_users("plain"), rows)


def test_dataset_without_a_column_of_reset():
    rows = [{"prompt": [{"role": "user", "content": "Hello."}]}]
    with pytest.raises(ValueError, match="`dataset` has the columns .'prompt'.*`BookingEnv.reset`.*'goal'"):
        quiet(booking_expert, booking_users("plain"), rows)


def test_numbers_of_numpy(tmp_path):
    options = {"num_runs": np.int64(2), "seed": np.int64(3), "temperature": np.float32(0.5), "max_turns": np.int32(9)}
    arguments = (booking_expert, booking_users("plain"), booking_dataset("test", np.int64(2), np.int64(0)))
    evaluation = quiet(*arguments, output_dir=tmp_path, **options)
    assert len(evaluation.records) == 4
    assert quiet(*arguments, output_dir=tmp_path, num_runs=2, seed=3, temperature=0.5, max_turns=9) == evaluation


@pytest.mark.parametrize("reward", [NAN, INF, None, "1.0", [1.0], "good", 10**400, pytest.param(10**5000, id="huge")])
def test_reward_that_is_no_number(reward):
    class Judge(Greeter):
        async def get_reward(self):
            return reward

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}], "name": "Ann"}]
    with pytest.raises(ValueError, match="`Judge.get_reward` returned .* in task 0, run 0.*finite number"):
        quiet(lambda messages, tools: {"role": "assistant", "content": "Hi."}, {"user": Judge}, dataset)


def test_number_of_runs_costs_no_memory():
    def policy(messages, tools):
        raise RuntimeError("played")

    arguments = (policy, booking_users("plain"), booking_dataset("test", 1))
    tracemalloc.start()
    try:
        with pytest.raises(RuntimeError, match="played"):
            quiet(*arguments, num_runs=10**6)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()


class SlowShop:
    """A tool and a user that take their time."""

    class User:
        def reply(self, messages):
            time.sleep(1)
            return "Hm."

    def __init__(self, has_user):
        if has_user:
            self.user = self.User()

    def reset(self, **row):
        pass

    def look(self) -> str:
        """
        Look.

        Returns:
            What there is.
        """
        time.sleep(1)
        return "Nothing."

    def get_reward(self):
        return 0.0


def test_limit_of_time():
    def policy(messages, tools):
        return call("look") if tools and len(messages) == 1 else {"role": "assistant", "content": "Well?"}

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}]}]
    (record,) = quiet(policy, {"user": partial(SlowShop, False)}, dataset, feedback_timeout=0.1).records
    assert "Nothing." not in str(record["messages"])
    assert "error" in record["messages"][2]["content"]
    with pytest.raises(UserSimulatorError):
        quiet(policy, {"user": partial(SlowShop, True)}, dataset, feedback_timeout=0.1)


def test_progress_shows_in_a_pipe_while_it_plays(monkeypatch):
    monkeypatch.setattr(_progress, "PULSE", 0)
    file, seen = io.StringIO(), []

    def policy(messages, tools):
        if len(messages) == 1:
            seen.append(file.getvalue())
        return booking_expert(messages, tools)

    console = Console(file=file)
    evaluate(policy, booking_users("plain"), booking_dataset("test", 3), batch_size=1, console=console)
    assert [text.count("\n") for text in seen] == [0, 1, 2]
    assert "episodes 1/3 0 s success 1.00\n" in seen[-1]
    assert "\x1b" not in file.getvalue()
    quiet(booking_expert, booking_users("plain"), booking_dataset("test", 3), console=console)
    assert file.getvalue().count("\n") == 3


def test_no_policy():
    with pytest.raises(TypeError, match="`policy` is a int"):
        quiet(3, booking_users("plain"), booking_dataset("test", 1))


# On disk


def lines(output_dir):
    return [json.loads(line) for line in (output_dir / "episodes.jsonl").read_text().splitlines()]


def test_files(tmp_path):
    users = booking_users("plain", "chatty")
    evaluation = quiet(booking_expert, users, booking_dataset("test", 5), output_dir=tmp_path)
    header, *records = lines(tmp_path)
    assert header == {"settings": evaluation.settings}
    assert records == evaluation.records
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {"settings": evaluation.settings, "users": evaluation.summary()}
    assert Evaluation.load(tmp_path) == evaluation


def test_other_settings_are_named(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    quiet(booking_expert, users, dataset, output_dir=tmp_path)
    for arguments, message in [
        ({"temperature": 0.5}, "`temperature` at 0.0, which is now 0.5"),
        ({"max_turns": 3}, "`max_turns` at 16, which is now 3"),
        ({"dataset": dataset.select(range(4))}, "`dataset`"),
        ({"system_prompt": "Ask."}, "`system_prompt` at None"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "`chat_template_kwargs` at {}"),
        ({"policy": clarify_oracle}, "`policy` at 'test_evaluation.booking_expert'"),
        ({"policy": partial(booking_expert, tools=[])}, "`policy` .* now 'test_evaluation.booking_expert.tools="),
    ]:
        arguments = {"policy": booking_expert, "users": users, "dataset": dataset, **arguments}
        with pytest.raises(ValueError, match=message):
            quiet(output_dir=tmp_path, **arguments)
    assert len(lines(tmp_path)) == 6


def test_another_user_under_the_same_name_is_named(tmp_path):
    dataset = clarify_dataset("test", 3)
    play = partial(quiet, clarify_oracle, output_dir=tmp_path)
    play({"a": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="plain"))}, dataset)
    play(clarify_users("terse"), dataset)
    before = (tmp_path / "episodes.jsonl").read_text()
    with pytest.raises(ValueError, match="the user 'a' made by .*persona='plain'.*, who is now .*persona='terse'"):
        play({"a": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="terse"))}, dataset)
    with pytest.raises(ValueError, match="the user 'terse' made by .*now made by .*patience=1"):
        play({"terse": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="terse", patience=1))}, dataset)
    assert (tmp_path / "episodes.jsonl").read_text() == before
    header, *records = lines(tmp_path)
    assert list(header["settings"]["users"]) == ["a", "terse"]
    assert len(records) == 6
    # All are known after the next, too
    play(clarify_users("plain"), dataset)
    assert list(lines(tmp_path)[0]["settings"]["users"]) == ["a", "terse", "plain"]


def test_user_of_whom_there_is_no_episode_can_be_changed(tmp_path, monkeypatch):
    dataset = clarify_dataset("test", 2)
    monkeypatch.setattr(LeavingUser, "patience", 0)
    users = {"user": partial(ClarifyEnv, make_user=LeavingUser)}
    with pytest.raises(UserSimulatorError):
        quiet(clarify_oracle, users, dataset, output_dir=tmp_path)
    quiet(clarify_oracle, {"user": ClarifyEnv}, dataset, output_dir=tmp_path)
    assert lines(tmp_path)[0]["settings"]["users"] == {"user": "trl_infopo.environments.clarify.ClarifyEnv"}


@dataclass
class Options:
    depth: int
    api_key: str = "sk-0"

    def policy(self, messages, tools):
        pass


def decorated(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (booking_expert, "test_evaluation.booking_expert"),
        (partial(booking_expert, []), "test_evaluation.booking_expert(messages=[])"),
        (
            partial(partial(booking_users, "plain"), "terse"),
            "test_evaluation.booking_users(personas=['plain', 'terse'])",
        ),
        (decorated(partial(call, "ask", n=2)), "test_evaluation.call(tool='ask', arguments={'n': 2})"),
        (partial(decorated(call), tool="ask"), "test_evaluation.call(kwargs={'tool': 'ask'})"),
        (
            partial(ChatPolicy, "m", None, "sk-0"),
            "trl_infopo.policies.chat.ChatPolicy(model='m', base_url=None, api_key=...)",
        ),
        (Options(3).policy, "test_evaluation.Options(depth=3, api_key=...).policy"),
        (object(), "<object>"),
        (
            {"top_p": {2, 1}, "seed": (None, 0.5), "max_tokens": 5},
            "{'max_tokens': 5, 'seed': [None, 0.5], 'top_p': {1, 2}}",
        ),
        (
            {"extra_headers": {"X-Key": "sk-0"}, "extra_query": {"k": "sk-0"}},
            "{'extra_headers': ..., 'extra_query': ...}",
        ),
        ({"base_url": "https://host:1/v1", "model": "a/b"}, "{'base_url': 'https://host:1/v1', 'model': 'a/b'}"),
    ],
)
def test_descriptions(value, expected):
    assert describe(value) == expected


def test_retrained_weights_are_no_resumption(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    arguments = ({"user": AskEnvironment}, [{"prompt": [{"role": "user", "content": "book please"}]}])
    options = {"output_dir": tmp_path, "max_completion_length": 32}
    quiet((model, tokenizer), *arguments, **options)
    quiet((model, tokenizer), *arguments, **options)
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 0.001
    with pytest.raises(ValueError, match="`weights`"):
        quiet((model, tokenizer), *arguments, **options)


def test_users_and_runs_can_be_added(tmp_path):
    played = []

    def policy(messages, tools):
        if len(messages) == 1:
            played.append(messages)
        return booking_expert(messages, tools)

    dataset = booking_dataset("test", 5)
    quiet(policy, booking_users("plain"), dataset, output_dir=tmp_path)
    evaluation = quiet(policy, booking_users("plain", "terse"), dataset, num_runs=2, output_dir=tmp_path)
    assert len(played) == 20
    assert evaluation.records == quiet(policy, booking_users("plain", "terse"), dataset, num_runs=2).records
    # What is on disk and was not asked for stays out of the statistics
    assert len(quiet(policy, booking_users("terse"), dataset, output_dir=tmp_path).records) == 5


def test_half_written_line_is_played_again(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    for cut in (5, len(path.read_bytes()) - 20):  # within the last episode, within the settings
        path.write_bytes(path.read_bytes()[:-cut])
        if cut == 5:
            # Whoever looks at an evaluation that is running leaves its file alone
            content = path.read_bytes()
            assert Evaluation.load(tmp_path).records == evaluation.records[:-1]
            assert path.read_bytes() == content
        assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
        assert Evaluation.load(tmp_path) == evaluation


def spoil(lines, number, line):
    return b"\n".join([*lines[: number - 1], line, *lines[number:]]) + b"\n"


def edit(lines, number, **changes):
    record = {**json.loads(lines[number - 1]), **changes}
    return json.dumps({name: value for name, value in record.items() if value != "gone"}).encode()


BROKEN = {
    "half": (3, lambda lines: lines[2][:30]),
    "blank": (3, lambda lines: b""),
    "nul": (3, lambda lines: b"\0" * 40),
    "not utf-8": (3, lambda lines: lines[2].replace(b"paris", b"\xff\xfe").replace(b"plain", b"\xff")),
    "two in one": (3, lambda lines: lines[2] + lines[1]),
    "deep": (3, lambda lines: b"[" * 100_000),
    "list": (3, lambda lines: b"[]"),
    "number": (3, lambda lines: b"3"),
    "null": (3, lambda lines: b"null"),
    "header again": (3, lambda lines: lines[0]),
    "no task": (3, lambda lines: edit(lines, 3, task="gone")),
    "no messages": (3, lambda lines: edit(lines, 3, messages="gone")),
    "no success": (3, lambda lines: edit(lines, 3, success="gone")),
    "task as text": (3, lambda lines: edit(lines, 3, task="1")),
    "negative run": (3, lambda lines: edit(lines, 3, run=-1)),
    "reward nan": (3, lambda lines: edit(lines, 3, reward=NAN)),
    "reward as text": (3, lambda lines: edit(lines, 3, reward="1.0")),
    "success as number": (3, lambda lines: edit(lines, 3, success=1)),
    "user null": (3, lambda lines: edit(lines, 3, user=None)),
    "another task": (3, lambda lines: edit(lines, 3, task=99)),
    "another user": (3, lambda lines: edit(lines, 3, user="rude")),
    "header is no JSON": (1, lambda lines: b"settings"),
    "header is an episode": (1, lambda lines: lines[1]),
    "header without users": (1, lambda lines: b'{"settings": {"seed": 0, "num_tasks": 5}}'),
    "header without settings": (1, lambda lines: b"{}"),
    "header null": (1, lambda lines: b'{"settings": null}'),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_line_is_named_and_nothing_is_lost(tmp_path, broken):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    number, make = BROKEN[broken]
    written = path.read_bytes().splitlines()
    content = spoil(written, number, make(written))
    path.write_bytes(content)
    for read in (lambda: Evaluation.load(tmp_path), lambda: quiet(pytest.fail, users, dataset, output_dir=tmp_path)):
        with pytest.raises(ValueError, match=f"{re.escape(str(path))}, line {number} .*Repair or remove") as error:
            read()
        assert "\n" not in str(error.value)
        assert path.read_bytes() == content


def test_episodes_that_are_there_twice_count_once(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    header, *records = path.read_text().splitlines(keepends=True)
    # The first counts
    others = [json.dumps({**json.loads(record), "reward": 0.0, "success": False}) + "\n" for record in records]
    path.write_text("".join([header, *records, *others, *records]))
    assert Evaluation.load(tmp_path) == evaluation
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
    assert path.read_text() == "".join([header, *records])


@pytest.mark.parametrize("end", [b"", b"\0" * 100, b'{"task": 3', b"\xff", b"{}"[:1]], ids=case_name)
def test_end_of_a_file_that_was_cut_off(tmp_path, end):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    content = path.read_bytes()
    path.write_bytes(content + end if end else content[:-1])  # without its newline the last episode is still whole
    assert Evaluation.load(tmp_path) == evaluation
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
    assert path.read_bytes() == content


def test_empty_file_is_begun_anew(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 2)
    (tmp_path / "episodes.jsonl").touch()
    with pytest.raises(ValueError, match="holds no evaluation yet"):
        Evaluation.load(tmp_path)
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == Evaluation.load(tmp_path)


def make_unusable(kind, tmp_path):
    if kind == "file in its place":
        (tmp_path / "out").touch()
    elif kind == "file above it":
        (tmp_path / "above").touch()
        return tmp_path / "above" / "out"
    elif kind == "dangling link":
        (tmp_path / "out").symlink_to(tmp_path / "nowhere" / "out")
    elif kind == "no permission":
        return Path("/proc/self/out")
    return tmp_path / "out"


UNUSABLE = ["file in its place", "file above it", "dangling link", "no permission"]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_directory_that_cannot_be_made(tmp_path, kind):
    path = make_unusable(kind, tmp_path)
    with pytest.raises(ValueError, match=f"`output_dir` is '{path}', which cannot be written to: ") as error:
        quiet(pytest.fail, booking_users("plain"), booking_dataset("test", 1), output_dir=path)
    assert "\n" not in str(error.value)


def test_directory_in_place_of_the_episodes(tmp_path):
    (tmp_path / "episodes.jsonl").mkdir()
    for read in (
        lambda: Evaluation.load(tmp_path),
        lambda: quiet(pytest.fail, booking_users("plain"), booking_dataset("test", 1), output_dir=tmp_path),
    ):
        with pytest.raises(ValueError, match="cannot be read: .*episodes.jsonl"):
            read()


@pytest.fixture
def full_disk():
    """No file can grow beyond some bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_loses_nothing(tmp_path, full_disk):
    users, dataset = booking_users("plain"), booking_dataset("test", 8)
    uninterrupted = quiet(booking_expert, users, dataset, output_dir=tmp_path / "other")
    whole = (tmp_path / "other" / "episodes.jsonl").read_bytes()
    full_disk(len(whole) // 2)
    with pytest.raises(OSError, match="episodes.jsonl") as error:
        quiet(booking_expert, users, dataset, batch_size=2, output_dir=tmp_path)
    full_disk(resource.RLIM_INFINITY)
    assert "goes on there" in error.value.__notes__[0]
    assert len(Evaluation.load(tmp_path).records) >= 2
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == uninterrupted
    assert (tmp_path / "episodes.jsonl").read_bytes() == whole


def test_file_that_cannot_be_written_whole_stays(tmp_path, full_disk):
    path = tmp_path / "summary.json"
    write_whole(path, "old")
    full_disk(10)
    with pytest.raises(OSError, match="summary.json"):
        write_whole(path, "new" * 10)
    full_disk(resource.RLIM_INFINITY)
    assert path.read_text() == "old"


def test_directory_belongs_to_one_evaluation_at_a_time(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 2)
    refused = []

    def policy(messages, tools):
        with pytest.raises(ValueError, match=f"Another evaluation is running in `output_dir` .{tmp_path}.") as error:
            quiet(booking_expert, users, dataset, output_dir=tmp_path)
        refused.append(error)
        return {"role": "assistant", "content": "goodbye"}

    quiet(policy, users, dataset, output_dir=tmp_path)
    assert len(refused) == 2
    assert len(lines(tmp_path)) == 3
    quiet(policy, users, dataset, output_dir=tmp_path)  # the lock is free again
    with pytest.raises(RuntimeError, match="stop"), lock_directory(tmp_path):
        raise RuntimeError("stop")
    with lock_directory(tmp_path):
        pass


def play_slowly(seconds, messages, tools):
    time.sleep(seconds)
    return booking_expert(messages, tools)


def test_evaluation_killed_six_times_is_the_same_to_the_byte(tmp_path):
    policy = partial(play_slowly, 0.001)
    play = partial(quiet, policy, booking_users("plain", "terse"), booking_dataset("test", 60), batch_size=2)
    start = time.monotonic()
    play(output_dir=tmp_path / "whole")
    seconds = time.monotonic() - start
    rng, num_episodes = random.Random(0), []
    for _ in range(6):
        # Forked, it starts at once
        process = multiprocessing.get_context("fork").Process(target=play, kwargs={"output_dir": tmp_path / "killed"})
        process.start()
        process.join(rng.uniform(0.05, 0.4) * seconds)
        process.kill()
        process.join()
        path = tmp_path / "killed" / "episodes.jsonl"
        num_episodes.append(path.read_bytes().count(b"\n") if path.exists() else 0)
    assert num_episodes == sorted(num_episodes)
    assert num_episodes[-1] > 1
    play(output_dir=tmp_path / "killed")
    for name in ("episodes.jsonl", "summary.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


class LeavingUser:
    """Answers a number of times, over all episodes, then fails."""

    patience = None

    def __init__(self, scenario, seed):
        self.user = ScriptedUser(scenario, seed)

    def reply(self, messages):
        if LeavingUser.patience == 0:
            raise UserSimulatorError("no connection")
        if LeavingUser.patience is not None:
            LeavingUser.patience -= 1
        return self.user.reply(messages)


def test_failing_user_stops_and_what_was_done_stays(tmp_path, monkeypatch):
    users, dataset = {"leaving": partial(ClarifyEnv, make_user=LeavingUser)}, clarify_dataset("test", 12)
    uninterrupted = quiet(clarify_oracle, users, dataset)
    monkeypatch.setattr(LeavingUser, "patience", 20)
    with pytest.raises(
        UserSimulatorError, match="The user of task .*, run 0 with the user 'leaving'.*no conn"
    ) as error:
        quiet(clarify_oracle, users, dataset, batch_size=4, output_dir=tmp_path)
    assert str(tmp_path) in error.value.__notes__[0]
    assert len(lines(tmp_path)) in (5, 9)
    monkeypatch.setattr(LeavingUser, "patience", None)
    assert quiet(clarify_oracle, users, dataset, batch_size=5, output_dir=tmp_path) == uninterrupted


def test_killed_evaluation_goes_on(tmp_path):
    script = """
        import sys, time
        from test_evaluation import booking_expert, booking_users, booking_dataset, evaluate

        def policy(messages, tools):
            time.sleep(float(sys.argv[2]))
            return booking_expert(messages, tools)

        policy.__module__, policy.__qualname__ = "test_evaluation", "booking_expert"
        evaluate(policy, booking_users("plain"), booking_dataset("test", 40), batch_size=2, output_dir=sys.argv[1])
        """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path, "0.02"]
    process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL)
    path = tmp_path / "episodes.jsonl"
    while process.poll() is None and not (path.exists() and len(lines(tmp_path)) > 4):
        time.sleep(0.05)
    with pytest.raises(ValueError, match="Another evaluation is running"):
        quiet(booking_expert, booking_users("plain"), booking_dataset("test", 40), output_dir=tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= len(lines(tmp_path)) < 41
    users, dataset = booking_users("plain"), booking_dataset("test", 40)
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == quiet(booking_expert, users, dataset)


# Models


@pytest.fixture(scope="module")
def tiny():
    tokenizer = make_tokenizer()
    return make_model(tokenizer), tokenizer


def ask_dataset(n):
    return [{"prompt": [{"role": "user", "content": f"book {'please ' * i}paris"}]} for i in range(n)]


@pytest.mark.parametrize("environment", ["tools", "user and tools"])
def test_neither_batch_nor_interruption_changes_what_is_sampled(tiny, tmp_path, environment):
    if environment == "tools":
        users, dataset = {"user": AskEnvironment}, ask_dataset(5)
    else:
        users, dataset = clarify_users("plain"), list(clarify_dataset("test", 5))
    options = {"temperature": 1.0, "max_completion_length": 128, "max_turns": 4}
    whole = quiet(tiny, users, dataset, num_runs=2, **options)
    assert len({record["num_turns"] for record in whole.records}) > 1
    assert len({json.dumps(record["messages"]) for record in whole.records}) == 10
    quiet(tiny, users, dataset, batch_size=5, output_dir=tmp_path, **options)
    path = tmp_path / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    resumed = quiet(tiny, users, dataset, num_runs=2, batch_size=3, output_dir=tmp_path, **options)
    assert resumed.records == whole.records


def test_seed_changes_what_is_sampled(tiny):
    options = {"temperature": 1.0, "max_completion_length": 64, "max_turns": 3}
    records = [quiet(tiny, {"user": AskEnvironment}, ask_dataset(4), seed=seed, **options).records for seed in (0, 1)]
    assert records[0] != records[1]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_sampler_draws_from_the_distribution(tiny, temperature):
    actor = _ModelActor(*tiny, None, {}, temperature, 8)
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -1.0, -torch.inf])
    episodes = [SeededEpisode([], seed=f"{i}") for i in range(4000)]
    drawn = actor._make_sampler(episodes)(None, logits.expand(4000, -1)).argmax(dim=-1)
    frequencies = drawn.bincount(minlength=6) / 4000
    torch.testing.assert_close(frequencies, (logits / temperature).softmax(dim=0), atol=0.03, rtol=0)
    assert frequencies[1] == frequencies[5] == 0


def test_generation_config_of_the_model_does_not_interfere(tiny):
    model, tokenizer = make_model(tiny[1]), tiny[1]
    options = {"max_completion_length": 64, "max_turns": 3}
    expected = quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(3), **options).records
    own = model.generation_config
    own.update(do_sample=True, top_k=1, top_p=0.1, temperature=3.0, repetition_penalty=5.0, num_beams=2)
    own.update(min_new_tokens=9, no_repeat_ngram_size=1, suppress_tokens=[*range(len(tokenizer) - 8, len(tokenizer))])
    before = own.to_dict()
    records = quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(3), **options).records
    assert records == expected
    assert model.generation_config is own
    assert own.to_dict() == before


@pytest.mark.parametrize("environment", ["tools", "user"])
def test_chat_template_kwargs_reach_every_generation_prompt(tiny, monkeypatch, environment):
    contexts, sample = [], _ModelActor._sample

    def spy(actor, batch):
        contexts.extend(map(tiny[1].decode, batch))
        return sample(actor, batch)

    monkeypatch.setattr(_ModelActor, "_sample", spy)
    users = {"user": AskEnvironment if environment == "tools" else Chatterbox}
    for chat_template_kwargs, ending in (
        (None, "<|im_start|>assistant\n"),
        ({"enable_thinking": False}, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ):
        contexts.clear()
        options = {"temperature": 1.0, "max_completion_length": 256, "max_turns": 3}
        evaluation = quiet(tiny, users, ask_dataset(4), chat_template_kwargs=chat_template_kwargs, **options)
        assert evaluation.settings["chat_template_kwargs"] == (chat_template_kwargs or {})
        assert max(record["num_turns"] for record in evaluation.records) > 1
        for context in contexts:
            assert context.endswith(ending)
            assert context.count(ending) == context.count("<|im_start|>assistant\n")


@pytest.fixture(scope="module")
def tiny_path(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    for part in tiny:
        part.save_pretrained(path)
    return path


def test_adapter_on_disk(tiny_path, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_path), AutoTokenizer.from_pretrained(tiny_path)
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5
    )
    model = peft.get_peft_model(base, config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    arguments = ({"user": AskEnvironment}, ask_dataset(4))
    play = partial(quiet, temperature=1.0, max_completion_length=64, max_turns=3)
    from_disk = play(str(tmp_path), *arguments)
    own = base.generation_config
    assert play((model, tokenizer), *arguments).records == from_disk.records
    assert base.generation_config is own
    assert play((model.merge_and_unload(), tokenizer), *arguments).records == from_disk.records
    without = play(str(tiny_path), *arguments)
    assert without.records != from_disk.records
    assert without.settings["weights"] != from_disk.settings["weights"]


def test_cut_off_conversations(tiny):
    records = quiet(tiny, {"user": AskEnvironment}, ask_dataset(6), max_completion_length=3).records
    assert "max_tokens" in {record["stop_reason"] for record in records}
    # No room for a single token
    long_prompt = [{"prompt": [{"role": "user", "content": "book " * 3000}]}]
    (record,) = quiet(tiny, {"user": AskEnvironment}, long_prompt).records
    assert (record["stop_reason"], record["num_turns"], record["num_questions"]) == ("max_tokens", 0, 0)


class Chatterbox:
    """A user and no tools."""

    class User:
        def reply(self, messages):
            return None if len(messages) > 5 else "please"

    user: User

    def reset(self, **row):
        self.user = self.User()

    def get_reward(self):
        return 1.0


def test_templates_without_tools_are_enough_to_talk(tiny):
    model, tokenizer = tiny[0], make_tokenizer("gemma")
    tokenizer.chat_template = tokenizer.chat_template.replace("<end_of_turn>", tokenizer.eos_token)
    options = {"max_completion_length": 64}
    evaluation = quiet((model, tokenizer), {"user": Chatterbox}, ask_dataset(2), **options)
    assert {record["stop_reason"] for record in evaluation.records} <= {"user_ended", "max_tokens"}
    with pytest.raises(ValueError, match="does not render tool calls"):
        quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(2), **options)


def test_tokenizer_without_chat_template(tiny):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        quiet((tiny[0], tokenizer), {"user": AskEnvironment}, ask_dataset(1))


@pytest.fixture(scope="module")
def quickstart_policy(tmp_path_factory):
    """The quick start's warm start, shortened, on disk."""
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(0)
    path = tmp_path_factory.mktemp("policy")
    tokenizer = quickstart.build_tokenizer()
    policy = quickstart.build_policy(tokenizer)
    SFTTrainer(
        model=policy,
        args=SFTConfig(
            output_dir=path,
            max_steps=100,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            assistant_only_loss=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=quickstart.demonstrate(32 * 100),
        processing_class=tokenizer,
    ).train()
    policy.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.thorough
def test_greedy_evaluation_is_what_the_quick_start_plays(quickstart_policy):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(quickstart_policy)
    tokenizer = AutoTokenizer.from_pretrained(quickstart_policy)
    dataset = booking_dataset("test", 40)
    evaluation = quiet(str(quickstart_policy), booking_users("plain"), dataset)
    num_calls = 0
    for row, record in zip(dataset, evaluation.records, strict=True):
        messages, reward = quickstart.play(model, tokenizer, row)
        assert record["messages"][: len(messages)] == messages  # `play` stops at the booking
        assert record["reward"] == reward
        num_calls += sum(message["role"] == "tool" for message in messages)
    assert num_calls > 80


def test_batch_size_does_not_change_greedy_results(quickstart_policy):
    users, dataset = booking_users("plain", "chatty"), booking_dataset("test", 12)
    one, many = (quiet(str(quickstart_policy), users, dataset, batch_size=n).records for n in (1, 24))
    assert one == many
    assert len({json.dumps(record["messages"]) for record in one}) > 8


# Endpoints


KEY = "sk-a-secret-that-nobody-may-read"


class Endpoint(BaseHTTPRequestHandler):
    """Plays `clarify_oracle` from what an OpenAI-compatible request holds, and from nothing else."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(request)
            server.keys.add(self.headers["Authorization"])
            failure = server.failures.pop(0) if server.failures else None
        if failure is not None:
            return self.send(failure, {"error": {"message": f"no, {self.headers['Authorization']}"}})
        return self.send(200, server.answer(request))

    def send(self, status, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def completion(message, finish_reason="stop"):
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def play_oracle(request):
    message = clarify_oracle(request["messages"], [])
    for i, tool_call in enumerate(message.get("tool_calls", [])):
        tool_call["id"] = f"server_{i}"
        tool_call["function"]["arguments"] = json.dumps(tool_call["function"]["arguments"])
    return completion(message)


@pytest.fixture
def server():
    pytest.importorskip("openai")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.lock, server.requests, server.keys, server.failures = threading.Lock(), [], set(), []
    server.answer = play_oracle
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_endpoint_plays_like_the_function_behind_it(server, tmp_path):
    server.failures = [503]
    policy = ChatPolicy("oracle", server.url, KEY)
    users, dataset = clarify_users("plain", "terse"), clarify_dataset("test", 10)
    evaluation = quiet(policy, users, dataset, temperature=0.7, output_dir=tmp_path)
    assert evaluation.records == quiet(clarify_oracle, users, dataset).records
    assert server.keys == {f"Bearer {KEY}"}
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("oracle", 0.7, 2048)
    (tool,) = request["tools"]
    assert tool["function"]["name"] == "propose"
    assert tool["function"]["parameters"]["required"] == ["choices"]
    # The same episode sends the same seeds
    first = {(r["messages"][-1]["content"], r["seed"]) for r in server.requests if len(r["messages"]) == 2}
    assert len({seed for _, seed in first}) == 10


def test_batch_acts_concurrently(server):
    together = threading.Barrier(8, timeout=20)

    def answer(request):
        if len(request["messages"]) == 2:
            together.wait()
        return play_oracle(request)

    server.answer = answer
    quiet(ChatPolicy("oracle", server.url, KEY), clarify_users("plain"), clarify_dataset("test", 8))


def test_tool_results_are_tied_to_their_calls(server):
    def answer(request):
        num_results = sum(message["role"] == "tool" for message in request["messages"])
        if num_results == 4:
            return completion({"role": "assistant", "content": "goodbye"})
        calls = [
            {"id": "a", "type": "function", "function": {"name": "ask", "arguments": '{"slot": "city"}'}},
            {"id": "b", "type": "function", "function": {"name": "ask", "arguments": '{"slot": '}},  # half a JSON
        ]
        return completion({"role": "assistant", "content": None, "tool_calls": calls})

    server.answer = answer
    (record,) = quiet(ChatPolicy("m", server.url, KEY), booking_users("plain"), booking_dataset("test", 1)).records
    assert "error" in record["messages"][3]["content"]
    _, first, *results, second, _, _ = server.requests[-1]["messages"]
    call_ids = [tool_call["id"] for tool_call in first["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == call_ids
    assert len({*call_ids, *(tool_call["id"] for tool_call in second["tool_calls"])}) == 4
    assert [tool_call["function"]["arguments"] for tool_call in first["tool_calls"]] == [
        '{"slot": "city"}',
        '{"slot": ',
    ]


def test_cut_off_message_ends_the_episode(server):
    server.answer = lambda request: completion({"role": "assistant", "content": "I would"}, "length")
    policy = ChatPolicy("m", server.url, KEY)
    (record,) = quiet(policy, clarify_users("plain"), clarify_dataset("test", 1)).records
    assert (record["stop_reason"], record["num_turns"]) == ("max_tokens", 1)


def test_options_of_the_request(server):
    options = {"temperature": None, "max_tokens": None, "max_completion_tokens": 100}
    policy = ChatPolicy("m", server.url, KEY, request_options=options)
    quiet(policy, clarify_users("plain"), clarify_dataset("test", 1))
    assert {"temperature", "max_tokens"}.isdisjoint(server.requests[0])
    assert server.requests[0]["max_completion_tokens"] == 100


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        "what?",
        b"",
        b'{"choices": [{"mess',
        b"\xff\xfe",
        b"[" * 100_000,
        b"<html>Busy</html>",
        completion(None),
        completion({"role": "assistant", "content": 5}),
        completion({"role": "assistant", "content": "", "tool_calls": [{"function": None}]}),
        completion({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "propose"}}]}),
    ],
    ids=lambda answer: str(answer)[:50],
)
def test_no_completion_is_an_error(server, answer):
    server.answer = lambda request: answer
    with pytest.raises(PolicyError, match="failed in task 0, run 0.*'m' at .*is not a chat completion") as error:
        quiet(ChatPolicy("m", server.url, KEY, max_retries=0), clarify_users("plain"), clarify_dataset("test", 1))
    assert len(str(error.value)) < 900


def test_key_is_in_no_pickle(server, tmp_path, monkeypatch):
    options = {"extra_headers": {"X-Gateway": "gateway-secret"}, "extra_query": {"code": "query-secret"}, "top_p": 0.9}
    policy = ChatPolicy("m", server.url, KEY, request_options=options)
    quiet(policy, clarify_users("plain"), clarify_dataset("test", 1), output_dir=tmp_path)
    assert server.requests[0]["top_p"] == 0.9
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "'top_p': 0.9" in written
    assert not any(secret in written for secret in (KEY, "gateway-secret", "query-secret"))
    pickled = pickle.dumps(policy)
    assert not any(secret.encode() in pickled for secret in (KEY, "gateway-secret", "query-secret"))
    with pytest.raises(ValueError, match="`request_options`.*Make it anew"):
        quiet(pickle.loads(pickled), clarify_users("plain"), clarify_dataset("test", 1))
    policy = ChatPolicy("m", server.url, KEY, request_options={"top_p": 0.9})
    # A copy reads the key of its own process
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    copy = pickle.loads(pickle.dumps(policy))
    quiet(copy, clarify_users("plain"), clarify_dataset("test", 1))
    assert server.keys == {f"Bearer {KEY}", "Bearer another-key"}


def test_endpoint_without_openai(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r'ChatPolicy needs .*pip install "trl-infopo\[users\]"'):
        ChatPolicy("m", "http://localhost:1/v1", KEY)


def test_refused_key_is_not_told(server, tmp_path):
    server.failures = [401] * 9
    policy = ChatPolicy("m", server.url, KEY)
    with pytest.raises(PolicyError, match="failed in task 0, run 0.*'m' at .*status 401") as error:
        quiet(policy, clarify_users("plain"), clarify_dataset("test", 1), output_dir=tmp_path)
    assert KEY not in "".join(map(str, [error.value, error.value.__cause__, error.value.__context__, policy]))
    assert len(lines(tmp_path)) == 1


# The user shift


def test_matrix_marks_who_was_trained_with_whom():
    dataset = booking_dataset("test", 20)
    silent = lambda messages, tools: {"role": "assistant", "content": "no"}  # noqa: E731
    evaluations = {
        "plain": quiet(booking_expert, booking_users("plain", "evasive"), dataset),
        "evasive": quiet(silent, booking_users("plain", "evasive"), dataset),
        "other": quiet(silent, booking_users("terse"), dataset),
    }
    console = Console(width=100)
    with console.capture() as capture:
        console.print(user_shift_table(evaluations))
    text = capture.get()
    assert re.search(r"policy +plain +evasive +terse", text)
    assert re.search(r"plain +1\.00 ±0\.00\* +0\.00 ±0\.00 *\n", text)
    assert re.search(r"evasive +0\.00 ±0\.00 +0\.00 ±0\.00\* *\n", text)
    assert re.search(r"other +0\.00 ±0\.00 *\n", text)


def test_names_are_no_markup():
    dataset, name = booking_dataset("test", 1), "[/bold] [red]x"
    evaluation = quiet(booking_expert, {name: BookingEnv}, dataset)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(evaluation.table(), user_shift_table({name: evaluation}))
    assert capture.get().count(name) == 3


@pytest.mark.thorough
def test_command_prints_the_matrix_of_the_quick_start(quickstart_policy, tmp_path, capsys):
    personas = ["plain", "terse", "chatty", "forgetful", "evasive"]
    command = ["eval", "--policies", f"plain={quickstart_policy}", "--users", *personas, "--num_tasks", "3"]
    command += ["--output_dir", str(tmp_path), "--baseline", "none", "ask"]
    assert cli.main(command) == 0
    output = capsys.readouterr().out
    assert re.search(" +".join(["policy", *personas]), output)
    assert re.search(r"\n *plain( +\d\.\d\d ±\d\.\d\d\*?){5} *\n", output)
    assert re.search(r"\n *plain\+ask( +\d\.\d\d ±\d\.\d\d){5} *\n", output)
    report = json.loads((tmp_path / "user_shift.json").read_text())
    assert list(report["policies"]) == ["plain", "plain+ask"]
    assert list(report["policies"]["plain"]) == personas
    assert lines(tmp_path / "plain+ask")[0]["settings"]["system_prompt"] == eval_script.ASK_PROMPT
    # Once more: nothing is played again, the report is the same
    before = (tmp_path / "plain" / "episodes.jsonl").stat().st_mtime_ns
    cli.main(command)
    assert (tmp_path / "plain" / "episodes.jsonl").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "user_shift.json").read_text()) == report


def test_command_with_an_endpoint_and_a_config(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = tmp_path / "eval.yaml"
    config.write_text(
        f"policies: [oracle]\nenvironment: clarify\nusers: [plain]\nbase_url: {server.url}\n"
        "chat_template_kwargs:\n  enable_thinking: false\n"
    )
    command = ["eval", "--config", str(config), "--num_tasks", "4", "--output_dir", str(tmp_path / "out")]
    cli.main(command)
    assert re.search(r"oracle +\d\.\d\d ±", capsys.readouterr().out)
    assert all(request["chat_template_kwargs"] == {"enable_thinking": False} for request in server.requests)
    # As JSON it is the same setting
    num_requests = len(server.requests)
    cli.main([*command, "--chat_template_kwargs", '{"enable_thinking": false}'])
    assert len(server.requests) == num_requests
    with pytest.raises(ValueError, match="`chat_template_kwargs` at {'enable_thinking': False}.*now {}"):
        cli.main([*command, "--chat_template_kwargs", "{}"])
    assert KEY not in "".join(path.read_text() for path in tmp_path.rglob("*.json*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--users", "rude"], "'rude', choose among"),
        (["--users", "chat:gpt"], "answers through a tool"),
        (["--policies", "a", "b/a"], "two policies of the name 'a'"),
        (["--policies", "a/b=c/d"], "a name without slashes"),
        (["--environment", "chess"], "`environment` is 'chess', choose one of"),
        (["--baseline", "beg"], "invalid choice: 'beg'"),
        (["--environment", "clarify", "--split", "exam"], "'exam'"),
        (["--num_runs", "0"], "`num_runs` is 0, set it to at least 1"),
        (["--num_tasks", "0"], "`num_tasks` is 0"),
        (["--num_tasks", "1000000000"], "`num_tasks` is 1000000000, set it to at least 1 and at most 1000000"),
        (["--num_tasks", "1.5"], "argument --num_tasks/--num-tasks: invalid int value: '1.5'"),
        (["--num_task", "3"], "there is no option --num_task. Did you mean '--num_tasks'?"),
        (["--polices", "a"], "there is no option --polices. Did you mean '--policies'?"),
        (["--batch-sise=3"], "there is no option --batch-sise. Did you mean '--batch-size'?"),
        (["--num_tasks", "3", "4"], "'4' belongs to no option"),
        (["--seed", "-1"], "`seed` is -1, set it to at least 0"),
        (["--temperature", "nan"], "`temperature` is nan, set it to a finite number"),
        (["--temperature", "inf"], "`temperature` is inf, set it to a finite number"),
        (["--temperature", "1e-40"], "`temperature` is 1e-40, set it to at least 1e-05 and at most 100000.0, or to 0"),
        (["--feedback_timeout", "0"], "`feedback_timeout` is 0.0"),
        (["--batch_size", "-3"], "`batch_size` is -3"),
        (["--output_dir", ""], "`output_dir` is ''"),
        (["--output_dir", "/proc/self/status"], "/proc/self/status is not a directory"),
        (["--output_dir", "x" * 300], "File name too long"),
        (["--policies", f"{'x' * 300}=a"], "File name too long"),
        (["--policies", "user_shift.json=a"], "which a file of the results has"),
        (["--policies", "a", "A=b"], "the names 'a' and 'A', which would share a directory"),
        (["--policies", "a+ask=b", "a", "--baseline", "none", "ask"], "the names 'a+ask' and 'a+ask'"),
        (["--users", "Plain"], "Did you mean 'plain'?"),
        (["--config"], "--config is missing its file"),
        (["--config=a.yaml"], "--config is missing its file"),
        (["--config", "no/such.yaml"], "--config cannot be read: [Errno 2] No such file or directory: 'no/such.yaml'"),
        (["--config", "/"], "--config cannot be read: [Errno 21] Is a directory: '/'"),
        (["--temperature", "-1"], "`temperature` is -1.0"),
        (["--chat_template_kwargs", "{"], "`chat_template_kwargs` is '{', which is not JSON"),
        (["--chat_template_kwargs", "3"], "`chat_template_kwargs` is '3', write a JSON object"),
        (["--policies", "=x"], "'=x'. Write a path"),
        (["--policies", "x="], "'x='. Write a path"),
        (["--policies", "/"], "'/'. Write a path"),
        (["--policies", "no/such/policy"], "'no/such/policy', which cannot be loaded"),
        (["--policies", "m", "--base_url", "http://localhost:1/v1"], "No API key"),
        (["--environment", "clarify", "--users", "chat:gpt"], "No API key"),
    ],
)
def test_wrong_options(options, message, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    if message == "No API key":
        pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", *([] if "--policies" in options else ["--policies", "a"]), *options])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("policies: a", "`policies` is 'a', write it as a list: [a]"),
        ("policies: [a, 3]", "`policies` is 3, set it to a text"),
        ("policies: []", "`policies` is [], set it to a list of texts"),
        ("policies: {a: b}", "`policies` is {'a': 'b'}, set it to a list"),
        ("policies:", "`policies` is None, set it to a list"),
        ("users: plain", "`users` is 'plain', write it as a list: [plain]"),
        ("users: null", "`users` is None, set it to a list"),
        ("environment: chess", "`environment` is 'chess', choose one of"),
        ("environment: bookin", "Did you mean 'booking'?"),
        ("environment: [booking]", "`environment` is ['booking'], set it to a text"),
        ("environment: null", "`environment` is None, set it to a text"),
        ("baseline: [beg]", "`baseline` is 'beg', choose one of"),
        ("split: [test]", "`split` is ['test'], set it to a text"),
        ("split: 3", "`split` is 3, set it to a text"),
        ("seed: null", "`seed` is None, set it to a whole number"),
        ("seed: 0.5", "`seed` is 0.5, set it to a whole number"),
        ("seed: true", "`seed` is True, set it to a whole number"),
        ("num_tasks: many", "invalid int value: 'many'"),
        ("temperature: .nan", "`temperature` is nan, set it to a finite number"),
        ("temperature: [1.0]", "`temperature` is [1.0], set it to a finite number"),
        ("temperature: null", "`temperature` is None, set it to a finite number"),
        ("base_url: 3", "`base_url` is 3, set it to a text"),
        ("chat_template_kwargs: [1]", "`chat_template_kwargs` is [1], write a JSON object"),
        ("output_dir: null", "`output_dir` is None"),
        ("polices: [a]", "Did you mean 'policies'?"),
        ("num_task: 3", "there is no option 'num_task', in "),
        ("3: a", "there is no option 3, in "),
        ("- policies", "must contain a YAML mapping"),
        ("", "must contain a YAML mapping"),
        ("policies: [a", "--config is not YAML: while parsing"),
        ("a: b: c", "--config is not YAML: mapping values are not allowed here"),
        ("\x00", "--config is not YAML: unacceptable character"),
    ],
)
def test_wrong_files_of_options(config, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    path = tmp_path / "eval.yaml"
    path.write_text(config)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", "--config", str(path), *([] if "polic" in config else ["--policies", "a"])])
    assert error.value.code == 2
    usage, line = capsys.readouterr().err.splitlines()
    assert message in line
    assert usage == "usage: trl-infopo eval [options]"


@pytest.mark.parametrize("kind", UNUSABLE[:3])
def test_command_without_a_directory_to_write_to(kind, tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    path = make_unusable(kind, tmp_path)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", "--policies", str(tiny_path), "--output_dir", str(path)])
    assert error.value.code == 2
    assert "cannot be written to" in capsys.readouterr().err.splitlines()[-1]


def test_command_in_a_directory_where_one_is_running(tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    with lock_directory(tmp_path), pytest.raises(SystemExit) as error:
        cli.main(["eval", "--policies", str(tiny_path), "--output_dir", str(tmp_path)])
    assert error.value.code == 2
    assert "Another evaluation is running" in capsys.readouterr().err.splitlines()[-1]


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.none()),
)


def check_valid(name, value):
    kind = eval_script.EvalArguments.__annotations__[name]
    kind = list if kind == list[str] else kind
    # A whole number is a number, too
    assert isinstance(value, kind | int if name in ("temperature", "feedback_timeout") else kind)
    assert not isinstance(value, bool)
    if isinstance(value, int | float):
        assert 0 <= value < INF


@given(st.sampled_from([field.name for field in fields(eval_script.EvalArguments)]), ANYTHING)
@settings(max_examples=300, deadline=None)
def test_any_option_is_valid_or_named(name, value):
    try:
        arguments = eval_script.EvalArguments(**{"policies": ["a"], name: value})
    except ValueError as error:
        message = str(error)
    else:
        check_valid(name, getattr(arguments, name))
        return
    assert message.startswith(f"`{name}` ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base_url", "localhost"], "write it like"),
        (["--users", "chat:gpt", "--user_base_url", "http://a:b@c/v1"], "use `api_key`"),
        (["--users", "chat:"], "`model` is ''"),
    ],
)
def test_wrong_endpoints(options, message, capsys, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(SystemExit):
        cli.main(["eval", "--policies", "m", "--environment", "clarify", *options])
    assert message in capsys.readouterr().err


def test_a_policy_without_weights_is_found_before_any_is_evaluated(tiny_path, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["eval", "--policies", str(tiny_path), "no/such", "--output_dir", str(tmp_path / "out")])
    assert "'no/such', which cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_model_at_a_time(tiny_path, tmp_path, monkeypatch):
    models, load_policy = [], policies.load_policy

    def load(path):
        if isinstance(path, str):
            assert all(model() is None for model in models)
        policy = load_policy(path)
        models.append(weakref.ref(policy.model))
        return policy

    monkeypatch.setattr(policies, "load_policy", load)
    command = ["--policies", f"a={tiny_path}", f"b={tiny_path}", "--num_tasks", "1", "--max_completion_length", "8"]
    gc.disable()  # chance must not free what the command has to
    try:
        cli.main(["eval", *command, "--output_dir", str(tmp_path)])
    finally:
        gc.enable()
    assert len(models) == 2


def test_another_endpoint_of_the_users_is_noticed(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one/v1")
    for user_base_url, expected in ((None, "http://one/v1"), ("http://two/v1", "http://two/v1")):
        users = eval_script.make_factories(ENVIRONMENTS["clarify"], ["chat:m"], user_base_url)
        user = f"trl_infopo.users.chat.ChatUser(model='m', base_url='{expected}')"
        assert describe(users["chat:m"]) == f"trl_infopo.environments.clarify.ClarifyEnv(make_user={user})"
    with_key = partial(ChatUser, model="m", api_key=KEY, request_options={"extra_headers": {"X": KEY}})
    assert KEY not in describe(partial(ClarifyEnv, make_user=with_key))


def test_names_of_policies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("out/lr=3")
    assert eval_script.name_policies(["."]) == {tmp_path.name: "."}
    assert eval_script.name_policies(["out/.."]) == {tmp_path.name: "out/.."}
    assert eval_script.name_policies(["out/"]) == {"out": "out/"}
    assert eval_script.name_policies(["plain=a/b", "Qwen/Qwen3-0.6B", "out/lr=3", "x=out/lr=3"]) == {
        "plain": "a/b",
        "Qwen3-0.6B": "Qwen/Qwen3-0.6B",
        "lr=3": "out/lr=3",
        "x": "out/lr=3",
    }


def test_language_model_users(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    factories = eval_script.make_factories(ENVIRONMENTS["clarify"], ["chat:qwen", "terse"], "http://localhost:1/v1")
    (row,) = clarify_dataset("test", 1)
    env = factories["chat:qwen"]()
    env.reset(**row)
    assert (env.user.model, env.user.base_url) == ("qwen", "http://localhost:1/v1")
    env = factories["terse"]()
    env.reset(**row)
    assert env.user.persona == "terse"


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        cli.main(["eval", "--help"])
    output = " ".join(capsys.readouterr().out.split())
    assert "example: trl-infopo eval --policies plain=infopo-quickstart" in output
    assert "evasive" in output


# The environments' names


def test_every_environment_can_be_made_and_has_tasks():
    for name, family in ENVIRONMENTS.items():
        if family.module == ".explore":
            pytest.importorskip("gymnasium")
            pytest.importorskip("textarena")
        factories = eval_script.make_factories(family, ["plain"])
        assert len(factories) == 1, name
        for row in family.make_dataset("test", 2, 0):
            for make in factories.values():
                make().reset(**row)


def test_every_export_is_there():
    for name in environments.__all__:
        assert getattr(environments, name) is not None
    with pytest.raises(AttributeError, match="NoEnv"):
        _ = environments.NoEnv


def test_environments_load_when_asked_for():
    code = "import sys, trl_infopo.environments; print([m for m in sys.modules if m.startswith('trl_infopo.env')])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['trl_infopo.environments']"
