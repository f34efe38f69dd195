# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Rewards of environments: how many are awaited at once, in which order the others run, and what ends a run."""

import asyncio
import threading

import pytest
from scripted_agents import make_scripted_trainer
from test_misbehaviour import calls, logged, play
from tiny_agents import AskEnvironment

from trl_infopo import evaluate


NUM_ROLLOUTS = 8
OPTIONS = {"per_device_train_batch_size": NUM_ROLLOUTS, "num_generations": 4}
ROWS = [{"prompt": [{"role": "user", "content": f"book {i}"}]} for i in range(NUM_ROLLOUTS)]


class Count:
    """How many are at it at the same time. Whoever comes waits for as many as there are to be."""

    def __init__(self, expected):
        self.expected, self.now, self.most, self.threads = expected, 0, 0, []
        self.lock = threading.Lock()

    def enter(self):
        with self.lock:
            self.threads.append(threading.current_thread())
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self):
        with self.lock:
            self.now -= 1

    async def wait(self):
        self.enter()
        for _ in range(2000):
            if self.most >= self.expected:
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)  # for any who should not be there
        self.leave()

    def wait_here(self):
        self.enter()
        for _ in range(2000):
            if self.most >= self.expected:
                break
            threading.Event().wait(0.005)
        threading.Event().wait(0.01)
        self.leave()


class Judged(AskEnvironment):
    """TRL's loop plays it."""

    count: Count

    async def get_reward(self):
        await self.count.wait()
        return 1.0


class JudgedInThread(AskEnvironment):
    thread_safe = True

    def get_reward(self):
        self.count.wait_here()
        return 1.0


class JudgedAndDone(Judged):
    """Our loop plays it."""

    done: bool = False


def say_hi(messages, tools):
    return {"role": "assistant", "content": "hi"}


JUDGED = pytest.mark.parametrize("environment", [Judged, JudgedInThread, JudgedAndDone])


@pytest.mark.quick(3)
@JUDGED
@pytest.mark.parametrize("limit", [64, 3])
def test_rewards_of_a_batch_are_awaited_together(tmp_path, monkeypatch, environment, limit):
    count = Count(min(limit, NUM_ROLLOUTS))
    monkeypatch.setattr(environment, "count", count, raising=False)
    trainer, _ = play(
        tmp_path, environment, [calls('"ask"', '{"slot": "city"}'), "hi"], user_concurrency=limit, **OPTIONS
    )
    assert count.most == min(limit, NUM_ROLLOUTS)
    assert len(count.threads) == NUM_ROLLOUTS
    assert logged(trainer, f"rewards/{environment.__name__}/mean") == [1.0]


@JUDGED
@pytest.mark.parametrize("limit", [64, 3])
def test_rewards_of_a_batch_are_awaited_together_in_evaluate(monkeypatch, environment, limit):
    count = Count(min(limit, NUM_ROLLOUTS))
    monkeypatch.setattr(environment, "count", count, raising=False)
    evaluation = evaluate(say_hi, {"nobody": environment}, ROWS, concurrency=limit, show_progress=False)
    assert count.most == min(limit, NUM_ROLLOUTS)
    assert [record["reward"] for record in evaluation.records] == [1.0] * NUM_ROLLOUTS


def test_rewards_of_several_classes_are_awaited_together(tmp_path, monkeypatch):
    from datasets import Dataset

    class Other(Judged):
        pass

    count = Count(4)
    monkeypatch.setattr(Judged, "count", count, raising=False)
    rows = [{"prompt": ROWS[0]["prompt"], "environment": name} for name in ("one", "other")]
    dataset = Dataset.from_list(rows)
    monkeypatch.setattr("scripted_agents.Dataset.from_list", lambda _: dataset)
    trainer, _ = play(tmp_path, {"one": Judged, "other": Other}, ["hi"])
    assert count.most == 4
    assert logged(trainer, "rewards/Judged/mean") == logged(trainer, "rewards/Other/mean") == [1.0]


class InOrder(AskEnvironment):
    order = []

    def get_reward(self):
        self.order.append((id(self), threading.current_thread()))
        return float(len(self.order))


def test_sync_rewards_run_in_order_on_the_calling_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(InOrder, "order", [])
    trainer, _ = play(tmp_path, InOrder, ["hi"])
    assert InOrder.order == [(id(env), threading.current_thread()) for env in trainer.environments]
    assert logged(trainer, "rewards/InOrder/mean") == [2.5]


# ---- failures


class Fails(AskEnvironment):
    def get_reward(self):
        raise KeyError("no judge")


class FailsLater(AskEnvironment):
    async def get_reward(self):
        raise KeyError("no judge")


@pytest.mark.parametrize("column", ["kind", "name", "episodes", "kwargs"])
def test_columns_may_have_any_name(tmp_path, column):
    """TRL gives the columns of the dataset to rewards, by their names."""
    trainer = make_scripted_trainer(tmp_path, AskEnvironment)
    trainer.train_dataset = trainer.train_dataset.add_column(column, ["table"] * len(trainer.train_dataset))
    trainer.script = lambda rollout, action: "hi"
    trainer.train()
    assert logged(trainer, "rewards/AskEnvironment/mean")


class FailsInThread(Fails):
    thread_safe = True


@pytest.mark.parametrize("environment", [Fails, FailsLater, FailsInThread])
def test_a_failure_ends_the_run_and_names_the_episode(tmp_path, environment):
    text = f"`{environment.__name__}.get_reward` failed in rollout 0 of process 0 at step 0: 'no judge'"
    with pytest.raises(RuntimeError, match=text) as error:
        play(tmp_path, environment, ["hi"])
    assert isinstance(error.value.__cause__, KeyError)


@pytest.mark.parametrize("environment", [Fails, FailsLater, FailsInThread])
def test_a_failure_ends_the_evaluation_and_names_the_episode(tmp_path, environment):
    with pytest.raises(RuntimeError, match="get_reward` failed in task 0, run 0 with the user 'nobody'") as error:
        evaluate(say_hi, {"nobody": environment}, ROWS, output_dir=tmp_path, show_progress=False)
    assert "goes on there" in error.value.__notes__[0]
