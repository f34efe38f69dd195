# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""How episodes end, what environments are told of it and say to it, and messages that say nothing."""

import sys

import pytest
import torch
from scripted_agents import make_scripted_trainer
from test_misbehaviour import Echo, calls, logged, play

from trl_infopo import evaluate, infopo_trainer
from trl_infopo.evaluation import Evaluation
from trl_infopo.rollout import EMPTY_MESSAGE, Episode, StopReason, converse, visible_messages
from trl_infopo.users import UserSimulatorError


class Counted:
    """Says how it ended, in its own words where it has been called too often."""

    user: Echo
    done: bool = False
    reason = None

    def reset(self, **row):
        self.user, self.done, self.heard, self.num_calls = Echo(), False, [], 0

    def step(self) -> str:
        """Take a step."""
        self.num_calls += 1
        self.done = self.num_calls == 2
        return "taken"

    def on_end(self, reason):
        self.heard.append(reason)
        return self.reason

    def get_reward(self) -> float:
        return float(len(self.heard))


class AsyncCounted(Counted):
    async def on_end(self, reason):
        return super().on_end(reason)


class Named(Counted):
    reason = "too_many_errors"


ENDS = {
    "user_ended": (["bye"], {}),
    "environment_done": ([calls('"step"'), calls('"step"'), "never"], {}),
    "max_turns": (["hello"] * 9, {}),
    "max_tokens": (["hello"] * 9, {"max_completion_length": 40}),
}


@pytest.mark.quick(4)
@pytest.mark.parametrize("environment", [Counted, AsyncCounted, Named])
@pytest.mark.parametrize("reason", ENDS)
def test_an_environment_is_told_once_how_its_episode_ended(tmp_path, monkeypatch, environment, reason):
    script, options = ENDS[reason]
    if reason == "user_ended":
        monkeypatch.setattr(Echo, "reply", lambda self, messages: None)
    trainer, _ = play(tmp_path, environment, script, **options)
    assert [env.heard for env in trainer.environments] == [[reason]] * 4
    assert all(isinstance(heard, StopReason) for env in trainer.environments for heard in env.heard)
    assert logged(trainer, f"rewards/{environment.__name__}/mean") == [1.0]  # told before the reward
    assert logged(trainer, f"infopo/stop/{environment.reason or reason}") == [1.0]
    assert sum(value for name, value in trainer.state.log_history[0].items() if "infopo/stop/" in name) == 1


class NamedOnce(Counted):
    """One reason in one of the four rollouts of one step."""

    step_of_reason = 2
    num_ends = 0

    def on_end(self, reason):
        NamedOnce.num_ends += 1
        return "odd" if NamedOnce.num_ends == 4 * self.step_of_reason else None


def test_a_reason_of_its_own_counts_in_every_step_of_a_log(tmp_path, monkeypatch):
    monkeypatch.setattr(NamedOnce, "num_ends", 0)
    trainer, _ = play(tmp_path, NamedOnce, ["hello"] * 9, max_steps=4, logging_steps=4)
    assert logged(trainer, "infopo/stop/odd") == [1 / 16]
    assert logged(trainer, "infopo/stop/max_turns") == [15 / 16]


class Hook:
    """Tools alone, and an `on_end` that TRL cannot describe to an agent."""

    def reset(self, **row):
        self.heard = []

    def step(self) -> str:
        """Take a step."""
        return "taken"

    def on_end(self, reason):
        self.heard.append(reason)

    def get_reward(self) -> float:
        return float(len(self.heard))


class Tool(Hook):
    def on_end(self, reason: str) -> str:
        """
        End it.

        Args:
            reason: Why.
        """
        self.heard.append(reason)
        return "ended"


def test_an_undescribed_on_end_asks_for_our_loop(tmp_path):
    trainer, _ = play(tmp_path, Hook, [calls('"step"'), "done"])
    assert [env.heard for env in trainer.environments] == [["answered"]] * 4
    assert [tool.__name__ for tool in trainer._env_tools[None]] == ["step"]


def test_an_on_end_with_the_docstring_of_a_tool_is_a_tool(tmp_path):
    with pytest.warns(
        UserWarning, match="`Tool.on_end` is a tool of the agent.*write `done: bool = False` in the cla"
    ):
        trainer, _ = play(tmp_path, Tool, [calls('"on_end"', '{"reason": "bored"}'), "done"])
    assert [env.heard for env in trainer.environments] == [["bored"]] * 4
    assert not trainer._converses


class OnlyTalks(Counted):
    """No tools at all but the methods that we call, which TRL would take for some."""

    step = None


def test_a_method_that_we_call_is_no_tool(tmp_path):
    trainer, _ = play(tmp_path, OnlyTalks, ["hello"] * 9)
    assert not list(trainer.tools)
    assert trainer._tokenizer.response_template is None


# ---- failures


class Fails(Counted):
    def on_end(self, reason):
        raise KeyError("lost")


class FailsLater(Counted):
    async def on_end(self, reason):
        raise KeyError("lost")


class Exits(Counted):
    def on_end(self, reason):
        sys.exit(0)


class ExitsLater(Counted):
    async def on_end(self, reason):
        sys.exit(0)


@pytest.mark.parametrize("environment", [Fails, FailsLater, Exits, ExitsLater])
def test_a_failure_ends_the_run_and_names_the_episode(tmp_path, environment):
    name = environment.__name__
    with pytest.raises(
        RuntimeError, match=f"`{name}.on_end` failed in rollout 0 of process 0 at step 0: .*(lost|Exit)"
    ):
        play(tmp_path, environment, ["hello"])


def test_a_user_who_fails_in_it_has_failed(tmp_path, monkeypatch):
    def fail(self, reason):
        raise UserSimulatorError("no line")

    monkeypatch.setattr(Counted, "on_end", fail)
    with pytest.raises(UserSimulatorError, match="`Counted.on_end` failed in rollout 0 .*: no line"):
        play(tmp_path, Counted, ["hello"])


@pytest.mark.quick(2)
@pytest.mark.parametrize("reason", [3, "", " ", False, ["late"]])
def test_a_reason_is_text_or_none(tmp_path, monkeypatch, reason):
    monkeypatch.setattr(Counted, "reason", reason)
    with pytest.raises(ValueError, match=r"`Counted.on_end` returned .* in rollout 0 of process 0.*Return None, or"):
        play(tmp_path, Counted, ["hello"])


def test_an_on_end_that_takes_no_reason_is_an_error_at_construction(tmp_path):
    class Deaf(Counted):
        def on_end(self):
            pass

    with pytest.raises(
        ValueError, match=r"`Deaf.on_end` cannot be called with \(reason\).*Write it as `on_end\(self, r"
    ):
        make_scripted_trainer(tmp_path, Deaf)


# ---- in `evaluate`


def say(text):
    return lambda messages, tools: {"role": "assistant", "content": text}


ROW = {"prompt": [{"role": "user", "content": "tea?"}]}


def test_evaluations_hold_the_reasons(tmp_path):
    users = {"plain": Counted, "named": Named}
    evaluation = evaluate(say("hi"), users, [ROW], max_turns=2, output_dir=tmp_path, show_progress=False)
    assert [record["stop_reason"] for record in evaluation.records] == ["max_turns", "too_many_errors"]
    assert [record["reward"] for record in evaluation.records] == [1, 1]
    assert Evaluation.load(tmp_path).summary()["named"]["stop_reasons"] == {"too_many_errors": 1.0}


def test_a_failure_ends_the_evaluation_and_says_where_it_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="`Fails.on_end` failed in task 0, run 0 with the user 'plain'") as error:
        evaluate(say("hi"), {"plain": Fails}, [ROW], max_turns=2, output_dir=tmp_path, show_progress=False)
    assert "goes on there" in error.value.__notes__[0]


class Brings:
    observation = "Where to?"

    def reset(self, city, **row):
        assert "prompt" not in row
        return self.observation

    def get_reward(self) -> float:
        return 1.0


def test_a_prompt_may_come_from_reset():
    (record,) = evaluate(say("rome"), {"plain": Brings}, [{"city": "rome"}], show_progress=False).records
    assert record["messages"] == [
        {"role": "user", "content": "Where to?"},
        {"role": "assistant", "content": "rome"},
    ]


@pytest.mark.parametrize("observation", [None, ""])
def test_no_prompt_at_all_is_a_clear_error(monkeypatch, observation):
    monkeypatch.setattr(Brings, "observation", observation)
    with pytest.raises(
        ValueError, match="no prompt in task 0, run 0.*`Brings.reset` returned .* Give the row a `prom"
    ):
        evaluate(say("rome"), {"plain": Brings}, [{"city": "rome"}], show_progress=False)


# ---- messages that say nothing

NOTHING = ["", "  \n", "<think>\nhm\n</think>\n\n"]


@pytest.mark.parametrize("nothing", NOTHING)
def test_an_empty_message_goes_back_to_the_agent(tmp_path, monkeypatch, nothing):
    gains = []
    score = infopo_trainer.score_information_gain
    monkeypatch.setattr(
        infopo_trainer, "score_information_gain", lambda *a, **k: gains.append(score(*a, **k)) or gains[-1]
    )
    trainer, completions = play(tmp_path, Counted, [nothing, "hello", "bye", "bye"])
    for (prompt, completion), environment in zip(completions, trainer.environments, strict=True):
        assert [message["content"] for message in completion[1:4]] == [EMPTY_MESSAGE, "hello", "fine"]
        assert environment.user.heard[0] == [prompt[-1], {"role": "assistant", "content": "hello"}]
        assert EMPTY_MESSAGE not in str(environment.user.heard)
    assert (torch.cat(gains)[:, 0] == 0).all()
    assert (torch.cat(gains)[:, 1] != 0).all()
    assert logged(trainer, "infopo/empty_messages") == [len(completions)]
    assert logged(trainer, "infopo/tools/failures") == [0]


def test_without_a_user_an_empty_message_is_an_answer(event_loop):
    episode = Episode([{"role": "user", "content": "hi"}], Hook())
    episode.environment.reset()
    episode.act({"role": "assistant", "content": ""})
    converse([episode], lambda active: None, event_loop)
    assert (episode.stop_reason, episode.num_empty_messages) == (StopReason.ANSWERED, 0)


def test_only_the_loops_own_words_are_hidden_from_users():
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": EMPTY_MESSAGE},
        {"role": "user", "content": "was it?"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": EMPTY_MESSAGE},
        {"role": "assistant", "content": "no"},
    ]
    assert visible_messages(messages) == [*messages[:3], messages[5]]
