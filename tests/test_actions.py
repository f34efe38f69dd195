# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What an environment is told of each action of the agent, what it measures, and what is logged of that."""

import math
import re

import pytest
from rich.console import Console
from test_misbehaviour import Echo, calls, logged, play
from tiny_agents import AskEnvironment
from trainer_helpers import dataset, make_trainer

from trl_infopo import evaluate
from trl_infopo.evaluation import pass_hat_k


STEP, BROKEN = calls('"step"'), "<tool_call>\nstep\n</tool_call>"


class Listener:
    """Remembers what it hears, in the order in which it happens, and measures some of it."""

    user: Echo

    def reset(self, **row):
        self.user, self.events = Echo(), []

    def step(self) -> str:
        """Take a step."""
        self.events.append("step")
        return "taken"

    def on_action(self, message):
        self.events.append((message["content"], len(message.get("tool_calls", []))))
        message.clear()  # what it is told is its own

    def get_reward(self) -> float:
        self.metrics = {"num_steps": self.events.count("step")}
        if self.metrics["num_steps"] == 2:
            self.metrics["twice"] = True
        return 1.0


class AsyncListener(Listener):
    async def on_action(self, message):
        super().on_action(message)


@pytest.mark.quick(1)
@pytest.mark.parametrize("environment", [Listener, AsyncListener])
def test_an_environment_is_told_each_action_before_it_is_played(tmp_path, environment):
    trainer, completions = play(tmp_path, environment, [f"{STEP}\n{STEP}", BROKEN, "hello", "never played"])
    for listener, (_, completion) in zip(trainer.environments, completions, strict=True):
        assert listener.events == [("", 2), "step", "step", ("hello", 0)]
        assert [len(message.get("tool_calls", [])) for message in completion if message["role"] == "assistant"][0] == 2
    assert [tool.__name__ for tool in trainer._env_tools[None]] == ["step"]
    assert logged(trainer, "infopo/environment/num_steps") == [2.0]
    assert logged(trainer, "infopo/environment/twice") == [1.0]


def test_an_on_action_that_fails_names_the_episode(tmp_path):
    class Deaf(Listener):
        def on_action(self, message):
            raise ValueError("pardon?")

    with pytest.raises(RuntimeError, match="`Deaf.on_action` failed in rollout 0 of process 0 at step 0: pardon?"):
        play(tmp_path, Deaf, ["hello"])


def test_an_on_action_that_takes_something_else_is_refused(tmp_path):
    class Odd(Listener):
        def on_action(self):
            pass

    with pytest.raises(ValueError, match=r"`Odd.on_action` cannot be called with \(message\)"):
        play(tmp_path, Odd, ["hello"])


def test_in_trls_loop_on_action_is_a_tool_and_metrics_are_its_own(tmp_path):
    class Plain(AskEnvironment):
        metrics = "many"

        def on_action(self, message: str) -> str:
            """
            Act.

            Args:
                message: How.
            """
            return f"heard {message}"

    trainer, completions = play(tmp_path, Plain, [calls('"on_action"', '{"message": "so"}'), "done"])
    assert not trainer._converses
    assert {completion[1]["content"] for _, completion in completions} == {"heard so"}


def say_once(text="hello"):
    return lambda messages, tools: {"role": "assistant", "content": text}


class Odd(Listener):
    value = None

    def get_reward(self):
        self.metrics = self.value
        return 1.0


@pytest.mark.parametrize("value", [3, {"a": "b"}, {"a": 1.0, "b": [2.0]}, {1: 2.0}, {}])
def test_metrics_that_are_no_numbers_by_name_are_the_environments_own(value):
    kind = type("Odd", (Odd,), {"value": value})
    rows = [{"prompt": [{"role": "user", "content": "?"}]}]
    evaluation = evaluate(say_once(), {"echo": kind}, rows, max_turns=1, show_progress=False)
    assert not evaluation.records[0].get("metrics")


def test_metrics_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`Odd.metrics` has nan for 'a'. Set finite numbers"):
        play(tmp_path, type("Odd", (Odd,), {"value": {"a": math.nan}}), ["hello"])


def test_an_evaluation_has_the_metrics_of_each_episode_and_their_means():
    def step(messages, tools):  # once with the first task, twice with the second
        again = sum(message["role"] == "tool" for message in messages) < 1 + (messages[0]["content"] == "two")
        function = {"name": "step", "arguments": {}}
        return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}] * again}

    rows = [{"prompt": [{"role": "user", "content": text}]} for text in ("one", "two")]
    evaluation = evaluate(step, {"echo": Listener}, rows, max_turns=3, show_progress=False)
    assert [record["metrics"] for record in evaluation.records] == [
        {"num_steps": 1.0},
        {"num_steps": 2.0, "twice": 1.0},
    ]
    metrics = evaluation.summary()["echo"]["metrics"]
    assert metrics["num_steps"]["mean"] == 1.5
    assert metrics["twice"]["mean"] == 1.0


def test_pass_hat_k_is_the_share_of_draws_without_a_failure():
    successes = [[True, True, False, False], [True, True, True, True], [False] * 4]
    assert [pass_hat_k(successes, k) for k in (1, 2, 3, 4)] == pytest.approx([1.5 / 3, (1 / 6 + 1) / 3, 1 / 3, 1 / 3])
    with pytest.raises(ValueError, match="`k` is 5, but a task has only 4 episodes"):
        pass_hat_k(successes, 5)


def test_trials_of_the_tasks_have_their_pass_hat_k():
    rewards = iter([1.0, 1.0, 1.0, 0.0])  # one run after the other

    class Lucky(Listener):
        def get_reward(self):
            return next(rewards)

    rows = [{"prompt": [{"role": "user", "content": "?"}]}] * 2
    say_hi = lambda messages, tools: {"role": "assistant", "content": "hi"}  # noqa: E731
    evaluation = evaluate(say_hi, {"echo": Lucky}, rows, num_runs=2, max_turns=1, show_progress=False)
    assert evaluation.summary()["echo"]["pass_hat_k"] == {"1": 0.75, "2": 0.5}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(evaluation.table())
    assert re.search(r"success +pass\^2 +reward", capture.get())
    assert re.search(r"0\.75 ±0\.\d\d +0\.50 +0\.75", capture.get())


class Sometimes(Listener):
    """Measures a number in its first few episodes only, or only in later ones."""

    episodes, measured = 0, range(0)

    def get_reward(self) -> float:
        if Sometimes.episodes in Sometimes.measured:
            self.metrics = {"chance": 1.0}
        else:
            self.metrics = {}
        Sometimes.episodes += 1
        return 1.0


@pytest.mark.parametrize("measured", [range(4), range(4, 8), range(8, 10)])
def test_a_number_that_few_episodes_have_is_in_the_table_where_it_belongs(tmp_path, monkeypatch, measured):
    """Two steps of four rollouts, and an evaluation of two."""
    monkeypatch.setattr(Sometimes, "episodes", 0)
    monkeypatch.setattr(Sometimes, "measured", measured)
    options = {"log_completions": True, "max_steps": 2, "per_device_eval_batch_size": 2, "num_generations_eval": 1}
    options |= {"per_device_train_batch_size": 4, "num_generations": 2}
    trainer = make_trainer(tmp_path, "environment", environment_factory=Sometimes, options=options)
    trainer.train()
    trainer.evaluate(dataset().select(range(2)))
    assert Sometimes.episodes == 10
    column = list(trainer._logs["extra"]["chance"])
    assert len(column) == len(trainer._logs["prompt"])
    seen = range(10 - len(column), 10)
    assert [value is not None for value in column] == [episode in measured for episode in seen]


def test_a_metric_does_not_take_a_column_of_the_table(tmp_path):
    class Named(Listener):
        def get_reward(self) -> float:
            self.metrics = {"gate": 1.0}
            return 1.0

    with pytest.raises(ValueError, match="`Named.metrics` has 'gate', which is a column of the completions table"):
        play(tmp_path, Named, ["hello"])
