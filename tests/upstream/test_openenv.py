# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of OpenEnv's repository, from a checkout at OPENENV_REPOSITORY, on their own servers over HTTP."""

import importlib
import os
import re
import sys
from pathlib import Path

import pytest


pytest.importorskip("openenv")
if "OPENENV_REPOSITORY" not in os.environ:
    pytest.skip("OPENENV_REPOSITORY is not set to a checkout of OpenEnv", allow_module_level=True)
sys.path.insert(0, str(Path(os.environ["OPENENV_REPOSITORY"]) / "envs"))
os.environ |= {"TEXTARENA_ENV_ID": "GuessTheNumber-v0", "TEXTARENA_DOWNLOAD_NLTK": "0", "MAX_CONCURRENT_ENVS": "64"}

from openenv_servers import number_prompts, serve
from two_steps import train_two_steps

from trl_infopo import evaluate
from trl_infopo.adapters.openenv import OpenEnvSpec


SERVERS = {"textarena_env": "text", "echo_env": "tools", "grid_world_env": "action"}


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    module = importlib.import_module(f"{request.param}.server.app")
    with serve(module.app) as url:
        yield request.param, url


def call(name, **arguments):
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def act(messages, tools):
    """Solves each of them by what came back."""
    names = [tool["function"]["name"] for tool in tools]
    answers = [message["content"] for message in messages if message["role"] in ("tool", "user")]
    if "echo_message" in names:
        said = call("echo_message", message="hi") if len(answers) == 1 else call("echo_with_length", message="hi")
        return said if len(answers) < 3 else {"role": "assistant", "content": "done"}
    if "act" in names:
        return call("act", action="DOWN" if len(answers) < 5 else "RIGHT")
    low, high = 1, 20
    for guess, answer in zip(
        (int(re.search(r"\[(\d+)\]", m["content"]).group(1)) for m in messages if m["role"] == "assistant"),
        answers[1:],
        strict=False,
    ):
        low, high = (guess + 1, high) if "higher" in answer else (low, guess - 1)
    return {"role": "assistant", "content": f"[{(low + high) // 2}]"}


def make_spec(server, **options):
    name, url = server
    fields = ["message", "x", "y"] if name == "grid_world_env" else None
    return OpenEnvSpec(
        url, mode=SERVERS[name], prompt="Play.", observation_fields=fields, num_eval_tasks=20, **options
    )


def run(spec, policy, **options):
    rows = spec.eval_dataset
    return evaluate(policy, {"server": spec.environment_factory}, rows, show_progress=False, **options).records


def test_a_solution_gets_the_full_reward_and_the_dialogue_is_the_servers(server, monkeypatch):
    name, _ = server
    module = importlib.import_module(
        f"{name}.server.{'environment' if name == 'textarena_env' else name.replace('_env', '_environment')}"
    )
    kind = next(
        value
        for key, value in vars(module).items()
        if key.endswith("Environment") and value.__module__ == module.__name__
    )
    seen = {}
    method = "step_async" if name == "echo_env" else "step"
    step = getattr(kind, method)

    async def step_async(self, action, **kwargs):
        observation = await step(self, action, **kwargs)
        seen.setdefault(id(self), (self, []))[1].append((action, observation))
        return observation

    def step_here(self, action, **kwargs):
        observation = step(self, action, **kwargs)
        seen.setdefault(id(self), (self, []))[1].append((action, observation))
        return observation

    monkeypatch.setattr(kind, method, step_async if name == "echo_env" else step_here)
    records = run(make_spec(server), act, batch_size=1)
    full = {"textarena_env": 1.0, "echo_env": 0.0, "grid_world_env": 1.0}[name]
    assert [record["reward"] for record in records] == [full] * 20
    theirs = list(seen.values())
    if name == "echo_env":
        theirs = [entry for entry in theirs if type(entry[1][0][0]).__name__ == "CallToolAction"]
    for record, (_, steps) in zip(records, theirs, strict=True):
        told = [message["content"] for message in record["messages"] if message["role"] == "tool"]
        if name == "echo_env":
            assert told == [observation.result.content[0].text for _, observation in steps]
        elif name == "grid_world_env":
            assert [f'{{"message": "{o.message}", "x": {o.x}, "y": {o.y}}}' for _, o in steps] == told
        else:
            prompt, *talk = [message["content"] for message in record["messages"]]
            assert talk[::2] == [action.message for action, _ in steps]
            whole = "".join(message.content for message in steps[-1][1].messages).strip("\n")
            assert "\n".join([prompt.removeprefix("Play.\n\n"), *talk[1::2]]) == whole


def test_a_policy_that_does_nothing_gets_what_the_server_gives(server):
    records = run(
        make_spec(server), lambda messages, tools: {"role": "assistant", "content": "hm"}, batch_size=1, max_turns=2
    )
    assert {record["reward"] for record in records} == {0.0}


@pytest.mark.parametrize("coef", [0.5, 0.0])
def test_two_steps(server, tmp_path, coef):
    name, url = server
    if name == "grid_world_env":
        pytest.skip("it has one session")
    spec = make_spec(server, num_tasks=4, default_reward=0.0)
    options = {"max_turns": 6, "max_position_embeddings": 6000, "max_completion_length": 3000}
    rollouts = train_two_steps(
        tmp_path, spec.environment_factory, number_prompts(spec.train_dataset), act, coef, **options
    )
    if name == "textarena_env":
        assert {rollout["reward"] for rollout in rollouts[::2]} == {1.0}
