# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""τ²-bench's user and judge are slow, fail, hang up or answer nonsense: asked again, or loud. Never a reward."""

import json
from functools import partial

import pytest
from misbehaving_server import MisbehavingServer, completion, drops, drops_midway, fails, says, sends, trickles
from oracle_server import KEY
from tau2_script import BYE, do_nothing, play_gold
from test_tau2 import tau2

from trl_infopo import evaluate
from trl_infopo.users import UserSimulatorError


BAD_CALL = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{oh"}}]}
NO_OBJECT = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}]}
FAULTS = {
    "fails": fails(500),
    "is_busy": fails(429),
    "hangs_up": drops,
    "hangs_up_midway": drops_midway,
    "is_no_json": sends(b"<html>nonsense</html>"),
    "is_no_completion": sends(json.dumps({"choices": []}).encode()),
    "says_nothing": says(""),
    "says_null": says(None),
    "breaks_its_call": sends(completion(None, "tool_calls", **BAD_CALL)),
    "calls_with_a_list": sends(completion(None, "tool_calls", **NO_OBJECT)),
    "is_slow": says("Hello.", seconds=30),
    "trickles": trickles(30),
}
QUICK = {"timeout": 2.0, "backoff": 0.0}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def play(user, judge=None, policy=do_nothing, num_tasks=1, domain="telecom", **options):
    rows = list(tau2.tau2_dataset(domain, "base"))
    if domain == "retail":  # with something to judge
        rows = [r for r in rows if tau2.load_tasks(domain)[r["task_id"]].evaluation_criteria.nl_assertions]
    models = {"user_model": "u", "user_base_url": user.url, "judge_model": "j", "judge_base_url": (judge or user).url}
    env = partial(tau2.Tau2Env, domain, **models, **(QUICK | options))
    return evaluate(policy, {"u": env}, rows[:num_tasks], batch_size=64, show_progress=False).records


@pytest.mark.parametrize("fault", FAULTS)
def test_a_user_who_fails_once_is_asked_again(fault):
    with MisbehavingServer(FAULTS[fault], says("Hello."), FAULTS[fault], says(BYE)) as server:
        (record,) = play(server, max_retries=1)
    assert [m["content"] for m in record["messages"] if m["role"] == "user"] == ["Hello.", BYE]
    assert record["stop_reason"] == "user_stop"
    # What it is asked again is the same
    assert server.requests[0] == server.requests[1]
    assert server.requests[2] == server.requests[3]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_user_who_goes_on_failing_stops_the_run_with_the_name_of_the_episode(fault):
    with (
        MisbehavingServer(says("Hello."), FAULTS[fault]) as server,
        pytest.raises(
            UserSimulatorError, match="user of task 0, run 0 with the user 'u' failed: .*in 2 attempts"
        ) as e,
    ):
        play(server, max_retries=1, timeout=0.5)
    assert KEY not in str(e.value)


def test_what_would_fail_again_is_not_repeated():
    with (
        MisbehavingServer(fails(401, f"wrong key {KEY}")) as server,
        pytest.raises(UserSimulatorError, match="in 1 attempts") as error,
    ):
        play(server)
    assert len(server.requests) == 1
    assert KEY not in str(error.value)


def verdict(*results):
    named = [{"expectedOutcome": "so", "reasoning": "seen", "metExpectation": met} for met in results]
    return says(f"```json\n{json.dumps({'results': named})}\n```")


JUDGE_FAULTS = {
    **{name: FAULTS[name] for name in ("fails", "hangs_up", "is_no_json", "says_nothing", "is_slow", "trickles")},
    "is_prose": says("All is well."),
    "judges_nothing": verdict(),  # which upstream takes for success
    "judges_too_little": says(json.dumps({"results": [{"expectedOutcome": "so"}]})),
    "is_a_list": says("[]"),
}


@pytest.mark.parametrize("fault", JUDGE_FAULTS)
def test_a_judge_who_fails_is_asked_again_and_then_stops_the_run(fault):
    with MisbehavingServer(says("Hello."), says(BYE)) as user:
        for is_met in (True, False):
            user.requests.clear()
            with MisbehavingServer(JUDGE_FAULTS[fault], verdict(is_met)) as judge:
                (record,) = play(user, judge, play_gold, domain="retail", max_retries=1)
            assert record["metrics"]["reward_nl_assertion"] == float(is_met)
        user.requests.clear()
        with (
            MisbehavingServer(JUDGE_FAULTS[fault]) as judge,
            pytest.raises(UserSimulatorError, match="get_reward` failed in task 0, run 0 .*: The judge model 'j'"),
        ):
            play(user, judge, play_gold, domain="retail", max_retries=1, timeout=0.5)


def test_the_users_of_a_batch_are_asked_at_the_same_time():
    with MisbehavingServer(says("Hello.", seconds=1.0)) as server:
        server.script = (says("Hello.", seconds=1.0),) * 24 + (says(BYE),)
        play(server, num_tasks=24, timeout=30.0)
    assert server.peak >= 20
