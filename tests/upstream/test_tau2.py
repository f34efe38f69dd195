# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The real τ²-bench, where it is installed: its gold actions through our loop, and its own harness beside it."""

from functools import partial

import pytest
from oracle_server import serve_oracle
from tau2_script import compare, do_nothing, make_endpoint, make_gold

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
        yield server


def make_env(domain, url, kind=Kept, **options):
    models = {"user_model": "user", "user_base_url": url, "judge_model": "judge", "judge_base_url": url}
    return partial(kind, domain, **models, **options)


@pytest.mark.parametrize("domain", tau2.DOMAINS)
def test_gold_actions_get_the_full_reward_and_the_records_are_equal(endpoint, domain):
    tasks = tau2.load_tasks(domain)
    endpoint.answer = make_endpoint(tasks)
    rows = list(tau2.tau2_dataset(domain, "base", NUM_TASKS))
    evaluation = evaluate(
        make_gold(tasks), {"user": make_env(domain, endpoint.url)}, rows, max_turns=100, show_progress=False
    )
    for row, record in zip(rows, evaluation.records, strict=True):
        compare(record, Kept.simulations[domain, row["task_id"]])
    assert {record["stop_reason"] for record in evaluation.records} == {"user_stop"}
    assert [record["reward"] for record in evaluation.records] == [1.0] * NUM_TASKS
