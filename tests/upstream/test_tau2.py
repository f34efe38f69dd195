# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The real τ²-bench, where it is installed: its gold actions through our loop, and its own harness beside it."""

from functools import partial

import pytest
from oracle_server import serve_oracle
from tau2_script import answer, compare, do_nothing, play_gold

from trl_infopo import evaluate
from trl_infopo.adapters import tau2


try:
    tau2.load_upstream()
except ImportError:
    pytest.skip("needs τ²-bench: tests/upstream/README.md", allow_module_level=True)

NUM_TASKS = 25


class Kept(tau2.Tau2Env):
    """Remembers what upstream recorded."""

    simulations = {}

    def get_reward(self):
        reward = super().get_reward()
        Kept.simulations[self.domain, self.task.id] = self.simulation
        return reward


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serve_oracle() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.answer = answer
        yield server


def make_env(domain, url, kind=Kept, **options):
    models = {"user_model": "user", "user_base_url": url, "judge_model": "judge", "judge_base_url": url}
    return partial(kind, domain, **models, **options)


@pytest.mark.parametrize("domain", tau2.DOMAINS)
def test_gold_actions_get_the_full_reward_and_the_records_are_equal(endpoint, domain):
    rows = list(tau2.tau2_dataset(domain, "base", NUM_TASKS))
    evaluation = evaluate(
        play_gold, {"user": make_env(domain, endpoint.url)}, rows, max_turns=100, show_progress=False
    )
    for row, record in zip(rows, evaluation.records, strict=True):
        compare(record, Kept.simulations[domain, row["task_id"]])
    assert {record["stop_reason"] for record in evaluation.records} == {"user_stop"}
    assert [record["reward"] for record in evaluation.records] == [1.0] * NUM_TASKS


def test_doing_nothing_gets_what_upstreams_own_harness_gives(endpoint):
    """The same policy in upstream's runner, with its own user and judge: the same reward and the same record."""
    from tau2.agent.base_agent import HalfDuplexAgent
    from tau2.data_model.message import AssistantMessage
    from tau2.orchestrator.orchestrator import Orchestrator
    from tau2.registry import registry
    from tau2.runner.build import build_user
    from tau2.runner.simulation import run_simulation

    class Silent(HalfDuplexAgent):
        def get_init_state(self, message_history=None):
            return message_history

        def generate_next_message(self, message, state):
            return AssistantMessage(role="assistant", content=do_nothing([], [])["content"], cost=0.0), state

    for domain in tau2.DOMAINS:
        rows = list(tau2.tau2_dataset(domain, "base", NUM_TASKS if domain != "airline" else 5))
        evaluation = evaluate(do_nothing, {"user": make_env(domain, endpoint.url)}, rows, show_progress=False)
        for row, record in zip(rows, evaluation.records, strict=True):
            task = tau2.load_tasks(domain)[row["task_id"]]
            environment = registry.get_env_constructor(domain)()
            user = build_user("user_simulator", environment, task, llm="openai/user", llm_args={"temperature": 0.0})
            agent = Silent(tools=environment.get_tools(), domain_policy=environment.get_policy())
            theirs = run_simulation(
                Orchestrator(domain=domain, agent=agent, user=user, environment=environment, task=task)
            )
            ours = Kept.simulations[domain, task.id]
            assert record["reward"] == theirs.reward_info.reward
            assert record["stop_reason"] == theirs.termination_reason.value
            assert [(m.role, m.content) for m in ours.messages] == [(m.role, m.content) for m in theirs.messages]
            assert ours.reward_info.reward_breakdown == theirs.reward_info.reward_breakdown


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def act(*script):
    """A policy that says what is written down, and then goodbye."""

    def play(messages, tools):
        done = sum(message["role"] == "assistant" for message in messages) - 1  # the greeting
        said = script[done] if done < len(script) else "Goodbye."
        return {"role": "assistant", **({"content": said} if isinstance(said, str) else {"content": "", **said})}

    return play


def play_one(endpoint, policy, domain="retail", num_runs=1, max_turns=30, **options):
    rows = list(tau2.tau2_dataset(domain, "test", 1))
    env = make_env(domain, endpoint.url, **options)
    return evaluate(policy, {"user": env}, rows, num_runs=num_runs, max_turns=max_turns, show_progress=False)


def test_unknown_tools_and_wrong_arguments_are_upstreams_errors(endpoint):
    wrong = {"tool_calls": [call("fly", to="rome"), call("get_order_details", order="1")]}
    (record,) = play_one(endpoint, act(wrong, "Well.")).records
    assert [m["content"] for m in record["messages"] if m["role"] == "tool"] == [
        "Error: Tool 'fly' not found.",
        "Error: RetailTools.get_order_details() got an unexpected keyword argument 'order'",
    ]
    assert record["metrics"]["errors"] == 2
    assert record["stop_reason"] == "user_stop"
    (record,) = play_one(endpoint, act(*[wrong] * 9), max_errors=4).records
    assert (record["stop_reason"], record["reward"]) == ("too_many_errors", 0.0)
    assert record["metrics"]["errors"] == 4


def test_arguments_that_are_no_object_are_errors_too(endpoint):
    broken = {"tool_calls": [{"type": "function", "function": {"name": "calculate", "arguments": "1"}}]}
    (record,) = play_one(endpoint, act(*[broken] * 9), max_errors=3).records
    assert (record["stop_reason"], record["num_turns"]) == ("too_many_errors", 3)


def test_limits_end_an_episode_without_a_reward(endpoint):
    for options, reason in (({"max_steps": 7}, "max_steps"), ({"max_turns": 3}, "max_turns")):
        (record,) = play_one(endpoint, act(*["Hm."] * 20), **options).records
        assert (record["stop_reason"], record["reward"]) == (reason, 0.0)


def test_pass_hat_k_is_upstreams(endpoint):
    from tau2.metrics.agent_metrics import pass_hat_k

    outcomes, lucky = iter([False, True, True]), {}

    def play(messages, tools):  # does it in two of three runs
        episode = tools[0]._environment.orchestrator.simulation_id
        if episode not in lucky:
            lucky[episode] = next(outcomes)
        return (play_gold if lucky[episode] else do_nothing)(messages, tools)

    summary = play_one(endpoint, play, num_runs=3).summary()["user"]
    assert summary["pass_hat_k"] == {str(k): pass_hat_k(3, 2, k) for k in (1, 2, 3)}
