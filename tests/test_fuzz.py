# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Whatever is sampled, said, returned or raised, a training step ends in finite weights or in an error that says why.

The inputs are the same in every run. `HYPOTHESIS_PROFILE=thorough pytest tests/test_fuzz*.py` tries ten times as many,
`HYPOTHESIS_PROFILE=explore` ten times as many and others in every run.
"""

import gc
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from fuzzing import CALLS, Hangs, Outcome, actions, bounded, ends_within, in_tags, odd_calls, odd_text, outcomes
from hypothesis import example, given
from hypothesis import strategies as st
from scripted_agents import ScriptedTrainer, make_scripted_trainer
from tiny_agents import make_model, make_tokenizer

from trl_infopo import rollout


@dataclass(frozen=True)
class Play:
    """What happens in one rollout."""

    actions: list
    outcomes: list[Outcome]
    reward: float | None = 0.0


plays = st.lists(
    st.builds(
        Play,
        st.lists(actions, min_size=1, max_size=3),
        st.lists(outcomes, min_size=1, max_size=4),
        st.sampled_from([0.0, 1.0, 1.0, None, float("nan")]),
    ),
    min_size=4,
    max_size=4,
)


class OddTools:
    """Two tools that do what the play says, one of them asynchronous."""

    def reset(self, **row) -> None:
        self.play, self.done_so_far = None, 0

    def _do(self, heard):
        outcome = self.play.outcomes[self.done_so_far % len(self.play.outcomes)]
        self.done_so_far += 1
        return outcome(heard)

    def ask(self, slot: str) -> str:
        """
        Ask.

        Args:
            slot: What.
        """
        return self._do(slot)

    async def look_up(self, word: str) -> str:
        """
        Look up.

        Args:
            word: What.
        """
        return self._do(word)

    def get_reward(self) -> float | None:
        return self.play.reward


class OddUser:
    def __init__(self, environment):
        self.environment, self.heard = environment, []

    def reply(self, messages):
        self.heard.append(messages[-1]["content"])
        return self.environment._do(self.heard[-1])


class OddAsyncUser(OddUser):
    async def reply(self, messages):
        return super().reply(messages)


class Talk(OddTools):
    """The tools, and a user."""

    user: OddUser
    make_user = OddUser

    def reset(self, **row) -> None:
        super().reset()
        self.user = self.make_user(self)


class AsyncTalk(Talk):
    make_user = OddAsyncUser


LOOPS = {"TRL's loop": OddTools, "our loop": Talk, "our loop, asynchronous": AsyncTalk}
trainers: dict[tuple, ScriptedTrainer] = {}


def find_trainer(loop: str, template: str = "qwen3", **options) -> ScriptedTrainer:
    """The same trainer for all examples, as long as none of them leaves it in an unknown state."""
    name = (loop, template, *options.items())
    if name not in trainers:
        tokenizer = make_tokenizer(template)
        trainers[name] = make_scripted_trainer(
            mkdtemp(),
            LOOPS[loop],
            template,
            model=make_model(tokenizer, num_hidden_layers=1, hidden_size=16, num_attention_heads=2),
            **{"max_completion_length": 1200, **options},
        )
        gc.collect()
        gc.freeze()  # every `train` collects garbage, in all that was imported
    return trainers[name]


def run_step(trainer: ScriptedTrainer, plays: list[Play]) -> BaseException | None:
    """One training step, and the error that ended it."""

    def script(rollout: int, k: int):
        actions = plays[rollout].actions
        return (actions[k] if k < len(actions) else "bye") or ([] if k else "")

    def started(rollout: int, environment) -> None:
        environment.play = plays[rollout]

    trainer.script, trainer.started = script, started
    try:
        with ends_within(60):
            trainer.train()
    except Hangs:
        raise
    except BaseException as error:
        return error
    return None


def assert_step_is_sound(loop: str, plays: list[Play], **options) -> None:
    trainer = find_trainer(loop, **options)
    try:
        error = run_step(trainer, plays)
        if error is None:
            assert_finite(trainer)
            assert_accounted_for(trainer, plays)
        else:
            assert_clear(error, plays)
            forget(trainer)
    except BaseException:
        forget(trainer)
        raise


def forget(trainer: ScriptedTrainer) -> None:
    for name in [name for name, known in trainers.items() if known is trainer]:
        del trainers[name]


def assert_finite(trainer: ScriptedTrainer) -> None:
    for name, parameter in trainer.model.named_parameters():
        assert parameter.isfinite().all(), name


def assert_accounted_for(trainer: ScriptedTrainer, plays: list[Play]) -> None:
    """Every rollout ended for one reason, and every unreadable call came back to the agent alone, without a gain."""
    log = trainer.state.log_history[0]
    assert sum(share for name, share in log.items() if "infopo/stop/" in name) == pytest.approx(1)
    completions, gains = trainer._logs["completion"], trainer._logs["extra"]["information_gain"]
    assert len(completions) == len(gains) == len(plays)
    assert log["infopo/unscored_rollouts"] == sum(play.reward not in (0.0, 1.0) for play in plays)
    for completion, rollout_gains in zip(completions, gains, strict=True):
        assert completion[0]["role"] == "assistant"
        for k, gain in enumerate(rollout_gains):
            assert gain is None or abs(gain) < float("inf")
            feedback = feedback_on(completion, k)
            if feedback and all(message["content"] == rollout.MALFORMED_CALL for message in feedback):
                assert gain in (0, None)
    for environment in trainer.environments:
        if isinstance(environment, Talk):
            assert not any("<tool_call>" in heard for heard in environment.user.heard)


def feedback_on(completion: list[dict], k: int) -> list[dict]:
    """Messages between action number `k` and the next."""
    positions = [i for i, message in enumerate(completion) if message["role"] == "assistant"] + [len(completion)]
    return completion[positions[k] + 1 : positions[k + 1]]


def assert_clear(error: BaseException, plays: list[Play]) -> None:
    """It was a user, an interruption, or what no message can hold; it says where in one short message."""
    raised = {outcome.what for play in plays for outcome in play.outcomes if outcome.kind == "raises"}
    if isinstance(error, KeyboardInterrupt):
        assert "KeyboardInterrupt" in raised
        return
    if not isinstance(error, Exception):
        raise AssertionError(f"{type(error).__name__} ends the training") from error
    message = str(error)
    if not re.search(r"rollout \d+ of process 0 at step 0", message) or len(message) > 5000:
        raise AssertionError(f"{type(error).__name__} without a place: {message[:5000]}") from error


@pytest.mark.parametrize("loop", LOOPS)
@bounded(25)
@given(plays=plays)
def test_no_play_ruins_a_step(loop, plays):
    assert_step_is_sound(loop, plays)


POLITE = [Outcome("says", "paris")]


@pytest.mark.parametrize("loop", LOOPS)
@bounded(15)
@given(odd=st.lists(st.lists(actions, min_size=1, max_size=4), min_size=4, max_size=4))
def test_no_policy_ends_a_run(loop, odd):
    """Where users and tools are in order, nothing that is sampled may even end in an error."""
    trainer = find_trainer(loop)
    plays = [Play(actions, POLITE, reward) for actions, reward in zip(odd, (0.0, 1.0, 0.0, 1.0), strict=True)]
    error = run_step(trainer, plays)
    if error is not None:
        forget(trainer)
        raise AssertionError("A policy ended the run") from error
    assert_finite(trainer)
    assert_accounted_for(trainer, plays)
