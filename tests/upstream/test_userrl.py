# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The gyms of UserRL, from a checkout at USERRL_REPOSITORY, beside what they do without us."""

import importlib
import json
import os
from functools import cache

import pytest
from misbehaving_server import MisbehavingServer, drops, fails, says
from two_steps import train_two_steps
from userrl_endpoint import act_by, name_tasks, plays

from trl_infopo import evaluate
from trl_infopo.adapters.userrl import GYMS, UserRLSpec
from trl_infopo.users import UserSimulatorError


if "USERRL_REPOSITORY" not in os.environ:
    pytest.skip("USERRL_REPOSITORY is not set to a checkout of UserRL", allow_module_level=True)

NUM_TASKS = 20
WITH_SIMULATOR = [name for name, gym in GYMS.items() if gym.asks is not None]
NEEDS = {"tau": "tau_bench", "search": None, "persuade": "data", "travel": "data"}


@pytest.fixture(autouse=True)
def environment_variables(monkeypatch):
    monkeypatch.setenv("SERPER_API_KEY", "mock_api_key_for_testing")  # UserRL's own stand-in for the network
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def make_spec(gym: str, server: MisbehavingServer, **options) -> UserRLSpec:
    spec = UserRLSpec(
        gym, base_url=server.url, api_key="none", model="m", **{"max_retries": 1, "backoff": 0.01, **options}
    )
    if NEEDS.get(gym) == "data" and not list((spec._root / "gyms" / GYMS[gym].folder).rglob("data/*.json")):
        pytest.skip(f"the checkout has no data of {GYMS[gym].folder}")
    if NEEDS.get(gym) == "tau_bench":
        pytest.importorskip("tau_bench")
    return spec


@cache
def load(gym: str, split: str = "test") -> tuple[list[dict], dict[str, list[tuple[str, str]]]]:
    """Rows of a gym, and for each task the actions that solve it."""
    spec = UserRLSpec(gym, base_url="http://127.0.0.1:9", api_key="none")
    rows = (spec.eval_dataset if split == "test" else spec.train_dataset).to_list()[:NUM_TASKS]
    package = spec._package

    def module(name):
        return importlib.import_module(f"{package.__name__}.{name}")

    solutions = {}
    for task in [row["task"] for row in rows]:
        if gym == "function":
            solutions[task] = [
                ("search", "test"),
                ("answer", module("data_loader").get_function_by_id(task)["expected_result"]),
            ]
        elif gym == "search":
            question = module("data_loader").get_question_by_id(task)
            solutions[task] = [("search", "who"), ("answer", "nobody"), ("answer", question["answer"])]
        elif gym == "telepathy":
            entity = module("env.entity_data").get_entity_by_title(task)
            solutions[task] = [("action", "Is it alive?"), ("answer", "a dog"), ("answer", entity["target_entity"])]
        elif gym == "turtle":
            story = module("env.story_data").get_story_by_title(task)
            solutions[task] = [
                ("action", "Is it a crime?"),
                ("answer", "x"),
                ("answer", story["ground_truth"]),
            ]
        elif gym == "persuade":
            solutions[task] = [("action", "No, level 2"), ("action", "No, level 6")]
        elif gym == "intention":
            details = module("env.task_data").get_task_by_id(task)["missing_details"]
            solutions[task] = [("action", detail["inquiry"]) for detail in details]
        elif gym == "tau":
            name = f"tau_{'train' if 'train' in task else 'test'}.json"
            known = json.loads((spec._root / "gyms/TauGym/taugym/data" / name).read_text())
            gold = next(entry for entry in known if entry["id"] == task)["info"]["task"]
            calls = [("answer", json.dumps({"name": a["name"], "arguments": a["kwargs"]})) for a in gold["actions"]]
            solutions[task] = [("search", "tools"), *calls, ("action", " ".join(["done", *gold["outputs"]]))]
    solutions = {task: [(choice, str(content)) for choice, content in steps] for task, steps in solutions.items()}
    return name_tasks(rows), solutions


def play_alone(
    spec: UserRLSpec, task: str, actions: list[tuple[str, str]], url: str, monkeypatch
) -> tuple[list, list]:
    """What a gym says to actions, and the rewards, without us."""
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    gym = spec._make(task)
    gym.config.base_url = url
    gym.reset()
    said, rewards = [], []
    for choice, content in actions:
        observation, reward, terminated, truncated, _ = gym.step(f"[{choice}] {content}")
        said.append(observation["feedback"])
        rewards.append(reward)
        if terminated or truncated:
            break
    return said, rewards


def run(spec, policy, rows, **options):
    made = []

    def make():
        made.append(spec())
        return made[-1]

    options = {"max_turns": 20, "show_progress": False, **options}
    return evaluate(policy, {"gym": make}, rows, **options).records, made


@pytest.mark.parametrize("gym", GYMS)
def test_a_solution_gets_the_reward_and_the_dialogue_that_the_gym_gives_without_us(gym, monkeypatch):
    with MisbehavingServer(plays(gym)) as server:
        spec = make_spec(gym, server, max_steps=20)
        rows, solutions = load(gym)
        records, environments = run(spec, act_by(solutions), rows)
        assert len(records) == NUM_TASKS
        for row, record, environment in zip(rows, records, environments, strict=True):
            said, rewards = play_alone(spec, row["task"], solutions[row["task"]], server.url, monkeypatch)
            told = [message["content"] for message in record["messages"] if message["role"] == "tool"]
            assert told == said
            assert environment.rewards == rewards
            assert record["reward"] == sum(rewards)
            # The weights of some of Turtle's stories add up to 1 - 1e-16, which it does not take for solved
            assert record["stop_reason"] == ("environment_done" if environment.gym.episode_complete else "answered")
            taken = [f"[{choice}] {content}" for choice, content in solutions[row["task"]]]
            assert (
                [action.strip() for action in environment.gym.action_history[: len(taken)]] == taken[: len(told)]
                if gym != "intention"
                else environment.gym.question_history == taken[: len(told)]
            )
            assert not any("Reward:" in text for text in told)
            if gym in ("intention",):
                assert not environment.gym.remaining_missing_details
            else:
                assert record["reward"] == pytest.approx(1.0)


@pytest.mark.parametrize("gym", GYMS)
def test_a_policy_that_does_nothing_gets_nothing(gym):
    with MisbehavingServer(plays(gym)) as server:
        spec = make_spec(gym, server)
        (record,), _ = run(spec, lambda messages, tools: {"role": "assistant", "content": "hm"}, load(gym)[0][:1])
    assert (record["reward"], record["stop_reason"]) == (0.0, "answered")


@pytest.mark.parametrize("gym", GYMS)
def test_train_and_test_share_no_task(gym):
    with MisbehavingServer(plays(gym)) as server:
        spec = make_spec(gym, server)
    if gym == "search":
        with pytest.raises(ValueError, match="SearchGym has no data to train on"):
            _ = spec.train_dataset
        return
    assert not set(spec.train_dataset["task"]) & set(spec.eval_dataset["task"])


@pytest.mark.parametrize("coef", [0.5, 0.0])
@pytest.mark.parametrize("gym", GYMS)
def test_two_steps(gym, coef, tmp_path):
    with MisbehavingServer(plays(gym)) as server:
        spec = make_spec(gym, server, max_steps=20)
        rows, solutions = load(gym)
        short = {task: steps[:1] + steps[-2:] for task, steps in solutions.items()} if gym != "persuade" else solutions
        options = {"max_completion_length": 6000, "max_position_embeddings": 12000, "max_turns": 5}
        rollouts = train_two_steps(tmp_path, spec.environment_factory, rows[:4], act_by(short), coef, **options)
    assert {rollout["reward"] for rollout in rollouts[1::2]} == {0.0}
    if gym != "tau":  # needs all of its calls
        assert max(rollout["reward"] for rollout in rollouts) > 0


MISDEEDS = {
    "fails": (fails(500), "500"),
    "hangs up": (drops, "connection"),
    "is slow": (says("hi", seconds=2.0), "within the `timeout`"),
    "talks nonsense": (says("banana"), "cannot read"),
    "says nothing": (says(""), "empty answer|cannot read"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
@pytest.mark.parametrize("gym", WITH_SIMULATOR)
def test_a_simulator_that_fails_ends_the_run_with_the_name_of_the_episode(gym, misdeed):
    behaviour, cause = MISDEEDS[misdeed]
    if gym == "tau" and misdeed == "talks nonsense":
        pytest.skip("its user speaks in plain text")
    with MisbehavingServer(behaviour) as server:
        spec = make_spec(gym, server, timeout=0.3 if misdeed == "is slow" else 20.0)
        rows, solutions = load(gym)
        ask = {task: [("answer" if gym == "search" else "action", "What?")] for task in solutions}
        with pytest.raises(UserSimulatorError, match=f"(?s)task 0, run 0 .*({cause})"):
            run(spec, act_by(ask), rows[:2])
        assert len(server.requests) >= 2  # tried again


@pytest.mark.parametrize("gym", WITH_SIMULATOR)
def test_a_simulator_that_fails_once_is_asked_again(gym):
    with MisbehavingServer(fails(500), plays(gym)) as server:
        spec = make_spec(gym, server, max_steps=20)
        rows, solutions = load(gym)
        (record,), _ = run(spec, act_by(solutions), rows[:1])
    assert record["stop_reason"] == "environment_done"
