# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The adapter of τ²-bench, on a miniature: `tests/upstream` has the real one."""

import json
import math
import sys
from functools import partial

import pytest
from datasets import Dataset
from miniature_tau2 import GREETING, miniature
from misbehaving_server import MisbehavingServer, drops, fails, says, sends
from oracle_server import KEY, serve_oracle
from test_misbehaviour import calls, logged, play
from upstream.tau2_script import answer, compare, do_nothing, play_gold

from trl_infopo import InfoPOTrainer, evaluate
from trl_infopo.adapters import tau2, tau2_models
from trl_infopo.users import UserSimulatorError


CACHES = (tau2_models.load_upstream, tau2.load_tasks, tau2.describe_domain)


@pytest.fixture(autouse=True)
def upstream(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for cached in CACHES:
        cached.cache_clear()
    with miniature():
        yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def endpoint():
    with serve_oracle() as server:
        server.answer = answer
        yield server


class Kept(tau2.Tau2Env):
    simulations = {}

    def get_reward(self):
        reward = super().get_reward()
        Kept.simulations[self.task.id] = self.simulation
        return reward


def play_domain(policy, url, domain="retail", split="base", max_turns=20, **options):
    models = {"user_model": "u", "user_base_url": url, "judge_model": "j", "judge_base_url": url}
    env = partial(Kept, domain, **models, **({"backoff": 0.0} | options))
    rows = tau2.tau2_dataset(domain, split)
    return evaluate(policy, {"u": env}, rows, max_turns=max_turns, show_progress=False).records


@pytest.mark.parametrize("domain", ["retail", "telecom"])
def test_gold_actions_get_the_full_reward_and_the_records_are_equal(endpoint, domain):
    records = play_domain(play_gold, endpoint.url, domain)
    assert [record["reward"] for record in records] == [1.0] * 6
    assert {record["stop_reason"] for record in records} == {"user_stop"}
    for i, record in enumerate(records):
        compare(record, Kept.simulations[f"{domain} {i}"])
        assert [m["content"] for m in record["messages"][:2]] == [
            "You serve customers. Cancel what the customer has confirmed.",
            GREETING,
        ]
        assert set(record["metrics"]) >= {"reward_db", "reward_communicate", "steps", "errors"}
    assert ("reward_nl_assertion" in records[0]["metrics"]) == (domain == "retail")
    assert {request["model"] for request in endpoint.requests} == ({"u", "j"} if domain == "retail" else {"u"})


def test_doing_nothing_gets_nothing(endpoint):
    assert {record["reward"] for record in play_domain(do_nothing, endpoint.url)} == {0.0}


def act(*script):
    def play(messages, tools):
        done = sum(message["role"] == "assistant" for message in messages) - 1  # the greeting
        return {"role": "assistant", "content": "", **script[min(done, len(script) - 1)]}

    return play


def call(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


WRONG = {"tool_calls": [call("fly", {}), call("find", {"no": "1"}), call("find", "A1"), call("find", {"order": "A1"})]}


def test_unknown_tools_and_wrong_arguments_reach_upstream_and_count(endpoint):
    record, *_ = play_domain(act(WRONG, {"content": "Goodbye."}), endpoint.url)
    results = [message["content"] for message in record["messages"] if message["role"] == "tool"]
    assert [result.startswith("Error: ") for result in results] == [True, True, False, False]
    assert results[2].startswith("{'error'")
    assert json.loads(results[3]) == {"order": "A1", "state": "open"}
    assert record["metrics"]["errors"] == 3
    record, *_ = play_domain(act(WRONG), endpoint.url, max_errors=7)
    assert (record["stop_reason"], record["num_turns"], record["reward"]) == ("too_many_errors", 3, 0.0)


def test_limits_end_an_episode_without_a_reward(endpoint):
    for options, reason in (({"max_steps": 6}, "max_steps"), ({"max_turns": 2}, "max_turns")):
        record, *_ = play_domain(act({"content": "Hm."}), endpoint.url, **options)
        assert (record["stop_reason"], record["reward"]) == (reason, 0.0)


def test_who_says_goodbye_at_once_ends_the_episode():
    with MisbehavingServer(says("###STOP###")) as server:
        for action in ({"content": "Wait!"}, WRONG):
            record, *_ = play_domain(act(action), server.url, "telecom")
            assert (record["stop_reason"], record["num_turns"]) == ("user_stop", 1)


BAD_CALL = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{oh"}}]}
FAULTS = {
    "fails": fails(500),
    "hangs_up": drops,
    "no_json": sends(b"nonsense"),
    "says_nothing": says(""),
    "bad_call": says(None, "tool_calls", **BAD_CALL),
    "is_slow": says("Hello.", seconds=20),
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_user_who_fails_is_asked_again_and_then_stops_the_run(fault):
    options = {"domain": "telecom", "split": "test", "max_retries": 1, "timeout": 2.0}
    with MisbehavingServer(FAULTS[fault], says("Hello."), says("Hello."), says("###STOP###")) as server:
        records = play_domain(do_nothing, server.url, **options)
    assert [record["stop_reason"] for record in records] == ["user_stop"] * 2
    options["timeout"] = 0.5
    with (
        MisbehavingServer(FAULTS[fault]) as server,
        pytest.raises(UserSimulatorError, match="user of task 0, run 0 .*: The user model 'u' .* in 2 attempts") as e,
    ):
        play_domain(do_nothing, server.url, **options)
    assert KEY not in str(e.value)


@pytest.mark.quick(1)
@pytest.mark.parametrize("text", ["{}", '{"results": []}', "All is well.", '{"results": [{"metExpectation": true}]}'])
def test_a_judge_who_does_not_judge_stops_the_run(endpoint, text):
    endpoint.answer = lambda request: (
        {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]}
        if request["model"] == "j"
        else answer(request)
    )
    with pytest.raises(UserSimulatorError, match="get_reward` failed in task 0, run 0 .*: The judge model 'j'"):
        play_domain(play_gold, endpoint.url, max_retries=1)


@pytest.mark.quick(1)
@pytest.mark.parametrize("coef", [0.5, 0.0])
def test_two_steps_of_training(tmp_path, monkeypatch, endpoint, coef):
    rows = {name: list(tau2.tau2_dataset("retail")[name]) for name in ("prompt", "domain", "task_id")}
    monkeypatch.setattr("scripted_agents.Dataset.from_list", lambda _: Dataset.from_dict(rows))
    models = {"user_model": "u", "user_base_url": endpoint.url, "judge_base_url": endpoint.url}
    ask = json.dumps({"name": "confirm", "arguments": '{"order": "A1"}'})
    script = [
        calls('"find"', '{"order": "A1"}'),
        f"Please: {ask}",
        calls('"cancel"', '{"order": "A1"}'),
        "A1: Goodbye.",
    ]
    options = {"max_steps": 2, "max_completion_length": 3000, "info_gain_coef": coef, "log_information_gain": True}
    options["max_turns"] = 6
    trainer, completions = play(tmp_path, partial(tau2.Tau2Env, "retail", **models), script, **options)
    assert logged(trainer, "rewards/Tau2Env/mean") == [1.0, 1.0]
    assert logged(trainer, "infopo/stop/user_stop") == [1.0, 1.0]
    assert logged(trainer, "infopo/environment/reward_nl_assertion") == [1.0, 1.0]
    assert logged(trainer, "infopo/user/tokens") == [7 * 4] * 2
    gains = logged(trainer, "infopo/information_gain/mean")
    assert len(gains) == 2
    assert all(map(math.isfinite, [*gains, *logged(trainer, "loss")]))
    assert [message["role"][0] for message in completions[0][1]] == [*"atauata"]
    for episode in trainer._episodes:
        own = [token for token, is_own in zip(episode.completion_ids, episode.action_mask) if is_own]
        assert trainer._tokenizer.decode(own) == "<|im_end|>".join([*script, ""])


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="No API key"):
        tau2.Tau2Env("retail", user_base_url="http://localhost:1/v1")
    with pytest.raises(ValueError, match="`domain` is 'retial', choose one of .*Did you mean 'retail'"):
        tau2.Tau2Env("retial")
    with pytest.raises(ValueError, match="`split` is 'tset', choose one of"):
        tau2.tau2_dataset("retail", "tset")
    with pytest.raises(ValueError, match="`user_args` is 3, set it to a dict"):
        tau2.Tau2Env("retail", user_args=3)
    with pytest.raises(ValueError, match="`task_id` is 'none', which is no task of 'retail'"):
        tau2.Tau2Env("retail").reset("none")
    with pytest.raises(ValueError, match="a task of the `domain` 'telecom', and the environment is one of 'retail'"):
        tau2.Tau2Env("retail").reset("retail 1", domain="telecom")
    tau2_models.load_upstream.cache_clear()
    monkeypatch.setitem(sys.modules, "tau2.registry", None)
    with pytest.raises(ImportError, match="needs τ²-bench, tested with 1.0.1. It is not on PyPI"):
        tau2.Tau2Env("retail")


def test_tools_of_the_trainer_work_beside_those_of_upstream(tmp_path, monkeypatch, endpoint):
    def note(order: str) -> str:
        """
        Note an order down.

        Args:
            order: Its number.
        """
        return f"noted {order}"

    rows = {name: list(tau2.tau2_dataset("retail")[name]) for name in ("prompt", "domain", "task_id")}
    monkeypatch.setattr("scripted_agents.Dataset.from_list", lambda _: Dataset.from_dict(rows))
    make = InfoPOTrainer.__init__
    monkeypatch.setattr(InfoPOTrainer, "__init__", lambda self, *a, **kwargs: make(self, *a, tools=[note], **kwargs))
    models = {"user_model": "u", "user_base_url": endpoint.url, "judge_base_url": endpoint.url}
    both = calls('"note"', '{"order": "A1"}') + "\n" + calls('"find"', '{"order": "A1"}')
    trainer, completions = play(
        tmp_path, partial(tau2.Tau2Env, "retail", **models), [both, "Goodbye."], max_completion_length=3000
    )
    assert [m["content"] for m in completions[0][1] if m["role"] == "tool"] == [
        "noted A1",
        '{"order": "A1", "state": "open"}',
    ]
    assert logged(trainer, "infopo/environment/errors") == [1.0]
