# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The real `verifiers`: its harness in a subprocess, its tool server, its interception, its rewards."""

import json
import math
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch


verifiers = pytest.importorskip("verifiers.v1", reason="needs the extra `verifiers`: see tests/upstream/README.md")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])  # for the tool server
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where `uv` is

from customer import serve_customer  # noqa: E402
from test_serving import make_trainer, scripted, where  # noqa: E402
from tiny_agents import make_agent, tool_call  # noqa: E402

from trl_infopo.adapters.verifiers import VerifiersSpec  # noqa: E402


@pytest.fixture(scope="module")
def spec():
    spec = VerifiersSpec("lessons", num_tasks=20, num_eval_tasks=4, max_retries=0, timeout=300)
    yield spec
    spec.close()


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    return make_trainer(tmp_path_factory.mktemp("verifiers"), lambda prompts, trainer: {})


@contextmanager
def solving(trainer):
    """A policy that asks for what it does not know, and books it."""
    tokenizer = trainer._tokenizer

    def sample(prompt_ids, *args, **kwargs):
        sampled = []
        for context in prompt_ids:
            text = tokenizer.decode(context)
            known = re.findall(r"<tool_response>\n(\w+)\n</tool_response>", text)
            actions = [tool_call("ask", slot="subject"), tool_call("ask", slot="day")]
            if "Booked" in text:
                action = "goodbye"
            elif len(known) == 2:
                action = tool_call("book", subject=known[0], day=known[1])
            else:
                action = actions[len(known)]
            sampled.append([*tokenizer.encode(action, add_special_tokens=False), tokenizer.eos_token_id])
        return sampled, None

    trainer._generate_single_turn = sample
    try:
        yield
    finally:
        del trainer._generate_single_turn


def run(spec, trainer, rows):
    """Rollouts of the rows, and the episodes as upstream recorded them, in the order of the rows."""
    recorded = {}
    play = spec.env.run_episode

    async def record(task, context, **options):
        episode = await play(task, context, **options)
        recorded[task.data.idx] = episode
        return episode

    spec.env.run_episode = record
    trainer.rollout_rows = list(rows)
    try:
        output = spec.rollout_func([row["prompt"] for row in trainer.rollout_rows], trainer)
    finally:
        del spec.env.run_episode
    return output, [recorded[row["task"]] for row in trainer.rollout_rows]


def plain(message) -> tuple:
    """A message of ours or of upstream's, in the parts that both have."""
    if isinstance(message, dict):
        calls = [call["function"] for call in message.get("tool_calls") or []]
        calls = [(call["name"], call["arguments"]) for call in calls]
        return message["role"], message["content"] or "", calls
    calls = [(call.name, json.loads(call.arguments)) for call in getattr(message, "tool_calls", None) or []]
    content = message.content or ""
    return message.role, content if isinstance(content, str) else "".join(part.text for part in content), calls


def test_the_solution_gets_the_full_reward(spec, trainer):
    rows = [*spec.train_dataset, *spec.eval_dataset]
    assert [row["task"] for row in rows] == list(range(24))
    with solving(trainer):
        output, episodes = run(spec, trainer, rows)
    assert output["harness_reward"] == [1.1] * 24
    for i, episode in enumerate(episodes):
        (trace,) = episode.traces
        assert trace.reward == 1.1
        conversation = output["conversation"][i]
        assert [plain(message) for message in conversation] == [plain(message) for message in trace.messages]
        assert len(conversation) == 9
        assert [m["content"] for m in conversation if m["role"] == "tool"][:2] == [
            trace.task.data.subject,
            trace.task.data.day,
        ]
        feedback = "".join(message["content"] for message in conversation if message["role"] == "tool")
        content = where(output["feedback_content_mask"][i], output["completion_ids"][i])
        assert trainer._tokenizer.decode(content) == feedback


def test_doing_nothing_gets_what_upstream_gives(spec, trainer):
    rows = spec.train_dataset.select(range(4))
    with scripted(trainer, "hello"):
        output, episodes = run(spec, trainer, rows)
    assert output["harness_reward"] == [episode.traces[0].reward for episode in episodes] == [0.0] * 4
    assert {episode.traces[0].stop_condition for episode in episodes} == {"agent_completed"}


USER_SIM = {
    "id": "user-sim",
    "user": {
        "model": "customer",
        "harness": {"id": "null"},
        "runtime": {"type": "subprocess"},
        "client": {"type": "eval", "api_key_var": "CUSTOMER_KEY"},
    },
}


def test_the_user_is_another_agent(trainer):
    """Upstream's simulated user, a model behind an endpoint of its own, beside the policy."""
    with serve_customer("I need a lesson please.", "Monday, music.", "###DONE###") as customer:
        USER_SIM["user"]["client"]["base_url"] = customer.url
        spec = VerifiersSpec("lessons", env=USER_SIM, policy="assistant", num_tasks=1, max_retries=0)
        try:
            book = tool_call("book", subject="music", day="monday")
            with scripted(trainer, "what, and when?", book, "goodbye"):
                output, (episode,) = run(spec, trainer, spec.train_dataset)
        finally:
            spec.close()
    assert output["harness_reward"] == [1.1]
    (trace,) = (trace for trace in episode.traces if trace.agent.name == "assistant")
    assert [plain(message) for message in output["conversation"][0]] == [plain(m) for m in trace.messages]
    said = [message["content"] for message in output["conversation"][0] if message["role"] == "user"]
    assert said == ["I need a lesson please.", "Monday, music."]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("hangs up", "ProviderError: Server disconnected"),
        ("is slow", "TimeoutError: it took longer than 30 s"),
        ("talks nonsense", "ProviderError: upstream stream ended"),
    ],
)
def test_a_user_that_fails_is_no_zero(trainer, fault, text):
    with serve_customer("I need a lesson please.", fault=fault) as customer:
        USER_SIM["user"]["client"]["base_url"] = customer.url
        spec = VerifiersSpec("lessons", env=USER_SIM, policy="assistant", num_tasks=1, max_retries=0, timeout=30)
        try:
            with (
                scripted(trainer, "what, and when?"),
                pytest.raises(RuntimeError, match=f"rollout 0 of process 0 .*{text}"),
            ):
                run(spec, trainer, spec.train_dataset)
        finally:
            spec.close()


@pytest.mark.parametrize("coef", [0.5, 0.0])
def test_training(spec, tmp_path, coef):
    trainer = make_trainer(
        tmp_path,
        spec.rollout_func,
        agent=make_agent([tool_call("ask", slot="day"), "goodbye"]),
        dataset=spec.train_dataset,
        info_gain_coef=coef,
        log_information_gain=True,
    )
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 2
    assert not all(map(torch.equal, before, trainer.model.parameters()))
    for log in trainer.state.log_history[:2]:
        gains = [value for name, value in log.items() if name.startswith("infopo/information_gain/")]
        assert all(map(math.isfinite, gains))
        assert log["infopo/nonfinite_gains"] == 0
        assert 0 <= log["infopo/harness/says_goodbye"] <= 1


@pytest.mark.parametrize(
    ("fault", "env", "text"),
    [
        ("setup fails", {}, "TaskError: task setup: OSError: no room"),
        ("setup hangs", {}, "TimeoutError: it took longer than 30 s"),
        ("scoring fails", {}, "TaskError: .*ledger"),
        ("scoring is slow", {"agent": {"timeout": {"scoring": 0.5}}}, "the scoring left the rewards .* out"),
        ("no number", {}, "`play` returned nan as the reward"),
        ("none", {"agent": {"harness": {"id": "null", "env": {"PYTHONHOME": "/nowhere"}}}}, "HarnessError"),
    ],
)
def test_what_fails_upstream_is_no_zero(trainer, fault, env, text):
    env = {**env, "taskset": {"task": {"fault": fault}}}
    spec = VerifiersSpec("lessons", env=env, num_tasks=1, max_retries=0, timeout=30)
    try:
        with scripted(trainer, "hello"), pytest.raises((RuntimeError, ValueError), match=text) as caught:
            run(spec, trainer, spec.train_dataset)
        assert "rollout 0 of process 0 at step 0" in str(caught.value)
    finally:
        spec.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_tasks": 25}, r"`num_tasks` and `num_eval_tasks` \(0\) ask for more tasks than the 24"),
        ({"policy": "agnt"}, "`policy` is 'agnt', choose one of .*Did you mean 'agent'"),
        ({"env": {"id": "user-sim"}}, "`policy` is None, but 'lessons' has several agents"),
        ({"env": {"id": "user-sim"}, "policy": "assistant"}, "the agent 'user' no `client` and `model` of its own"),
        ({"env": {"agent": {"retries": {"max_retries": 1}}}}, "lets the agent 'agent' retry"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(ValueError, match=text):
        VerifiersSpec("lessons", **options)
