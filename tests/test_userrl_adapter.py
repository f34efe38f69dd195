# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The adapter of UserRL, on a miniature with its interface and scripted endpoints."""

import sys
import threading
import time

import pytest
from miniature_userrl import TARGETS, answer, write_checkout
from misbehaving_server import MisbehavingServer, completion, drops, fails, says
from two_steps import train_two_steps
from userrl_endpoint import act_by

from trl_infopo import evaluate
from trl_infopo.adapters import userrl
from trl_infopo.adapters.userrl import UserRLSpec, userrl_dataset, userrl_environment
from trl_infopo.users import UserSimulatorError


SOLUTIONS = {target: [("action", "Is it odd?"), ("answer", "x"), ("answer", target)] for target in TARGETS}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    before = list(sys.path)
    yield str(write_checkout(tmp_path_factory.mktemp("UserRL")))
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] in ("telepathygym", "functiongym")]:
        del sys.modules[name]


def plays(handler):
    handler.respond(200, completion(answer(handler.body["messages"][0]["content"])))


def make_spec(checkout, server, gym="telepathy", **options):
    options = {"max_retries": 1, "backoff": 0.01, **options}
    return UserRLSpec(gym, checkout, model="m", base_url=server.url, api_key="none", **options)


def run(spec, policy=None, rows=None, **options):
    rows = spec.eval_dataset if rows is None else rows
    return evaluate(
        policy or act_by(SOLUTIONS), {"gym": spec.environment_factory}, rows, show_progress=False, **options
    )


def told(record):
    return [message["content"] for message in record["messages"] if message["role"] == "tool"]


def test_a_solution_is_played(checkout):
    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server)
        records = run(spec).records
    assert [(record["reward"], record["stop_reason"]) for record in records] == [(1.0, "environment_done")] * 2
    assert [told(record) for record in records] == [["maybe", "no", "yes!"]] * 2
    assert all(request["model"] == "m" for request in server.requests)
    assert "keys" not in server.requests[0]


def test_rewards_are_summed_and_never_shown(checkout):
    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server, "function")
        script = {target: [("search", "it"), ("search", "it"), ("answer", target)] for target in TARGETS}
        (record, *_) = run(spec, act_by(script)).records
    assert record["reward"] == 2.0
    assert told(record) == ["no", "no", "right"]
    assert not server.requests


@pytest.mark.parametrize("action", [("fly", "away"), ("action", "[action] Is it odd?")])
def test_actions_are_written_as_upstream_writes_them(checkout, action):
    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server)
        run(spec, act_by({target: [action] for target in TARGETS}), max_turns=2)
    said = server.requests[0]["messages"][0]["content"].rpartition("said: ")[2]
    assert said == {"fly": "away", "action": "[action] Is it odd?"}[action[0]]


def test_the_same_answer_twice_in_a_message_is_paid_once(checkout):
    """The calls of a message are steps one after the other, and the first right answer ends the episode."""
    target = TARGETS[4]  # of the first task to evaluate on
    call = {"type": "function", "function": {"name": "interact_with_env", "arguments": {}}}
    call["function"]["arguments"] = {"choice": "answer", "content": target}

    def policy(messages, tools):
        return {"role": "assistant", "content": "", "tool_calls": [call] * 4}

    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server, "function")
        rewards = [record["reward"] for record in run(spec, policy).records]
        assert "none" not in repr(spec)  # the key
    assert max(rewards) == 1.0


def test_a_policy_that_does_nothing_gets_nothing(checkout):
    with MisbehavingServer(plays) as server:
        records = run(make_spec(checkout, server), lambda *_: {"role": "assistant", "content": "hm"}).records
    assert {(record["reward"], record["stop_reason"]) for record in records} == {(0.0, "answered")}


def test_the_gym_ends_the_episode_after_its_steps(checkout):
    with MisbehavingServer(plays) as server:
        (record, *_) = run(make_spec(checkout, server, max_steps=2)).records
    assert (record["reward"], record["stop_reason"], len(told(record))) == (0.0, "environment_done", 2)


@pytest.mark.parametrize("coef", [0.5, 0.0])
def test_two_steps(checkout, tmp_path, coef):
    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server)
        rollouts = train_two_steps(
            tmp_path, spec.environment_factory, spec.train_dataset.to_list(), act_by(SOLUTIONS), coef
        )
    assert {rollout["reward"] for rollout in rollouts} == {0.0, 1.0}


@pytest.mark.parametrize(
    ("misdeed", "cause"),
    [
        (fails(500), "status 500"),
        (drops, "a failed connection"),
        (says('{"response": "late"}', seconds=2.0), "within the `timeout` of 0.3 s"),
        (says("banana"), "an answer without .*, which TelepathyGym cannot read: 'banana'"),
        (says("{'mood': 'good'}"), "an answer without 'feedback' and 'judgment' or 'response'|cannot read"),
        (says(""), "an empty answer"),
    ],
)
def test_what_the_gym_would_answer_for_a_simulator_that_fails_ends_the_run(checkout, misdeed, cause):
    with MisbehavingServer(misdeed) as server:
        spec = make_spec(checkout, server, timeout=0.3)
        with pytest.raises(UserSimulatorError, match=f"The user of task 0, run 0 .* failed: .*{cause}"):
            run(spec)
    assert len(server.requests) >= 2  # tried again


def test_an_answer_that_the_gym_makes_nothing_of_ends_the_run(checkout):
    with MisbehavingServer(says("{'response': 'what?'}")) as server:  # fits a question, not a guess
        spec = make_spec(checkout, server)
        with pytest.raises(UserSimulatorError, match="task 0, run 0 .*TelepathyGym had no answer .* 'I cannot say.'"):
            run(spec)


@pytest.mark.parametrize("error", [KeyError("state"), SystemExit(1)])
def test_an_exception_in_a_gym_ends_the_run(checkout, monkeypatch, error):
    spec = UserRLSpec("function", checkout)
    spec()  # imports the gym

    async def fail(self, action):
        raise error

    monkeypatch.setattr(sys.modules["functiongym"].FunctionEnv, "step_async", fail)
    with pytest.raises(UserSimulatorError, match=rf"task 0, run 0 .*FunctionGym failed: {type(error).__name__}\("):
        run(spec)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_step_that_a_limit_of_ours_cuts_off_ends_the_run(checkout, goes_on):
    """The agent goes on with its next action, or ends the episode."""

    def policy(messages, tools):
        if len(messages) > 2 and not goes_on:
            return {"role": "assistant", "content": "hm"}
        return act_by({target: [("action", "Is it odd?")] * 2 for target in TARGETS})(messages, tools)

    def is_slow(handler):
        handler.server.closing.wait(5)
        plays(handler)

    with MisbehavingServer(is_slow) as server:
        spec = make_spec(checkout, server)
        with pytest.raises(
            RuntimeError, match="task 0, run 0 .*A step of TelepathyGym was cut off.*`feedback_timeout`"
        ):
            run(spec, policy, feedback_timeout=1.0)
        assert len(server.requests) <= 2  # for two tasks: a gym whose step was cut off is not asked again


def test_a_step_that_goes_on_in_its_thread_is_not_joined_by_another(checkout, monkeypatch):
    """Gyms that wait on a thread cannot be stopped there."""
    spec = UserRLSpec("function", checkout)
    spec()
    started, ends = [], threading.Event()

    def step(self, action):
        started.append(action)
        ends.wait(5)

    async def wait(self, action):
        return await userrl._in_thread(step, self, action)

    monkeypatch.setattr(sys.modules["functiongym"].FunctionEnv, "step_async", wait)
    call = act_by({target: [("action", "a")] for target in TARGETS})

    def policy(messages, tools):
        message = call(messages[:2], tools)
        return {**message, "tool_calls": message["tool_calls"] * 3}

    rows = spec.eval_dataset.to_list()[:1]
    with pytest.raises(UserSimulatorError, match="was cut off"):
        run(spec, policy, rows, feedback_timeout=1.0)
    ends.set()
    assert started == ["[action] a"]


def test_a_simulator_that_fails_once_is_asked_again(checkout):
    with MisbehavingServer(fails(500), plays) as server:
        records = run(make_spec(checkout, server)).records
    assert {record["reward"] for record in records} == {1.0}


def test_episodes_are_played_together(checkout):
    def slowly(handler):
        time.sleep(0.3)
        plays(handler)

    with MisbehavingServer(slowly) as server:
        spec = make_spec(checkout, server)
        run(spec, rows=[*spec.train_dataset, *spec.eval_dataset], max_turns=3)
    assert server.peak >= 4


def test_without_our_environment_a_gym_asks_whom_it_would_ask(checkout):
    with MisbehavingServer(plays) as server:
        spec = make_spec(checkout, server)
        spec()
        from openai import AsyncOpenAI
        from telepathygym.env import prompts

        assert isinstance(prompts.AsyncOpenAI(api_key="none"), AsyncOpenAI)


def test_train_and_test_share_no_task(checkout):
    options = {"gym": "telepathy", "repository": checkout, "api_key": "none"}
    train, test = (userrl_dataset(split, **options)["task"] for split in ("train", "test"))
    assert sorted([*train, *test]) == sorted(TARGETS)
    assert type(userrl_environment(**options)).__name__ == "UserRLEnv"


def test_what_is_missing_is_said_at_once(checkout, tmp_path, monkeypatch):
    with pytest.raises(ImportError, match="not on PyPI, and there is no checkout of it at .*git clone"):
        UserRLSpec("telepathy", str(tmp_path), api_key="none")
    with pytest.raises(ValueError, match="`gym` is 'telepaty', choose one of .* Did you mean"):
        UserRLSpec("telepaty", checkout)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="No API key"):
        UserRLSpec("telepathy", checkout)
    with pytest.raises(ValueError, match="`max_steps` is 0"):
        UserRLSpec("function", checkout, max_steps=0)
    with pytest.raises(ValueError, match="has no data to test on"):
        _ = UserRLSpec("function", checkout, data="nowhere").eval_dataset
    with pytest.raises(ValueError, match="holds tasks of TelepathyGym. Set `data`"):
        _ = UserRLSpec("function", checkout, data="telepathy_multiturn").eval_dataset
