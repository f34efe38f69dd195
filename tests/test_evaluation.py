# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The episodes of an evaluation, and their statistics."""

import io
import json
import re
import time
import tracemalloc
from functools import partial

import numpy as np
import pytest
from case_names import case_name
from evaluation_helpers import booking_expert, booking_users, call, clarify_users, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from trl_infopo import _progress
from trl_infopo.environments import BookingEnv, booking_dataset, clarify_dataset
from trl_infopo.environments.clarify import clarify_oracle
from trl_infopo.evaluation import bootstrap_mean, evaluate, user_shift_table
from trl_infopo.users import UserSimulatorError


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


# Tables


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


def test_a_reward_that_is_rounded_is_a_success_and_reasons_are_no_markup():
    class Summing(Greeter):
        def get_reward(self):
            return 0.6 + 0.3 + 0.1  # a little less than 1

        def on_end(self, reason):
            return "[/gave up]"

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}], "name": "Ann"}]
    evaluation = quiet(lambda *_: {"role": "assistant", "content": "Hi."}, {"user": Summing}, dataset)
    assert evaluation.records[0]["success"]
    console = Console(file=io.StringIO(), width=200)
    console.print(evaluation.table())
    assert "[/gave up] 100%" in console.file.getvalue()


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


@pytest.mark.thorough
def test_a_user_who_blocks_the_event_loop_is_told_at_once(monkeypatch):
    monkeypatch.setattr("trl_infopo.calls.GRACE", 0.5)

    class Blocking(Greeter):
        async def reply(self, messages):
            time.sleep(10)

        def reset(self, **row):
            super().reset(**row)
            self.user = self

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}], "name": "Ann"}]
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="blocks the event loop"):
        quiet(lambda *_: {"role": "assistant", "content": "Hi."}, {"user": Blocking}, dataset, feedback_timeout=0.5)
    assert time.monotonic() - start < 9.5


def test_what_was_finished_before_a_bad_reward_is_kept(tmp_path):
    class Judge(Greeter):
        def reset(self, name, **row):
            super().reset(name=name, **row)
            self.value = 1.0 if name == "Ann" else None

        def get_reward(self):
            return self.value

    dataset = [{"prompt": [{"role": "user", "content": "Hello."}], "name": name} for name in ("Ann", "Bob")]
    with pytest.raises(ValueError, match="returned None in task 1") as caught:
        quiet(
            lambda *_: {"role": "assistant", "content": "Hi."},
            {"user": Judge},
            dataset,
            batch_size=1,
            output_dir=tmp_path,
        )
    [_, finished] = (tmp_path / "episodes.jsonl").read_text().splitlines()  # after the settings
    assert json.loads(finished)["reward"] == 1.0
    assert "goes on there" in caught.value.__notes__[0]


def test_progress_shows_in_a_pipe_while_it_plays(monkeypatch):
    monkeypatch.setattr(_progress, "PULSE", 0)
    file, seen = io.StringIO(), []

    def policy(messages, tools):
        if len(messages) == 1:
            seen.append(file.getvalue())
        return booking_expert(messages, tools)

    console = Console(file=file)
    evaluate(policy, booking_users("plain"), booking_dataset("test", 3), batch_size=1, console=console)
    assert [text.count("\n") for text in seen] == [1, 2, 3]
    assert seen[0] == "episodes 0/3 0 s\n"
    assert "episodes 1/3 0 s success 1.00\n" in seen[-1]
    assert "\x1b" not in file.getvalue()
    quiet(booking_expert, booking_users("plain"), booking_dataset("test", 3), console=console)
    assert file.getvalue().count("\n") == 4


def test_no_policy():
    with pytest.raises(TypeError, match="`policy` is a int"):
        quiet(3, booking_users("plain"), booking_dataset("test", 1))
