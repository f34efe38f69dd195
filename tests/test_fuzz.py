# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is sampled, said, returned or raised, a training step ends in finite weights or in an error that says why.

The inputs are the same in every run. `HYPOTHESIS_PROFILE=thorough pytest tests/test_fuzz*.py` tries ten times as
many, `HYPOTHESIS_PROFILE=explore` ten times as many and others in every run.
"""

import gc
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pyarrow.parquet as pq
import pytest
from fuzzing import (
    CALLS,
    RESULTS,
    Hangs,
    Outcome,
    actions,
    bounded,
    ends_within,
    in_tags,
    odd_calls,
    odd_text,
    outcomes,
)
from hypothesis import example, given
from hypothesis import strategies as st
from scripted_agents import ScriptedTrainer, make_scripted_trainer
from tiny_agents import make_model, make_tokenizer

from trl_infopo import rollout
from trl_infopo.evaluation import Evaluation, evaluate
from trl_infopo.policies import ModelPolicy
from trl_infopo.users import UserSimulatorError


@dataclass(frozen=True)
class Play:
    """What happens in one rollout: what is sampled, what the tools do one after the other, and what the user does."""

    actions: list
    results: list[Outcome]
    replies: list[Outcome]
    reward: float | None = 0.0


# An image, where a conversation is text, is an error
any_result = st.sampled_from([name for name in RESULTS if name != "an image"]).map(partial(Outcome, "gives"))
rewards = st.sampled_from([0.0, 1.0, 1.0, None, float("nan")])
action_lists = st.lists(actions, min_size=1, max_size=4)
PARIS = [Outcome("says", "paris")]


def batches(replies) -> st.SearchStrategy[list[Play]]:
    """Four rollouts of odd policies and tools, with these replies."""
    results = st.lists(outcomes, min_size=1, max_size=4)
    return st.lists(st.builds(Play, action_lists, results, replies, rewards), min_size=4, max_size=4)


class OddTools:
    """Two tools that do what the play says, one of them asynchronous."""

    def reset(self, **row) -> None:
        self.play, self.num_results, self.num_replies = None, 0, 0

    def ask(self, slot: str) -> str:
        """
        Ask.

        Args:
            slot: What.
        """
        self.num_results += 1
        return self.play.results[(self.num_results - 1) % len(self.play.results)](slot)

    async def look_up(self, word: str) -> str:
        """
        Look up.

        Args:
            word: What.
        """
        return self.ask(word)

    def get_reward(self) -> float | None:
        return self.play.reward


class OddUser:
    def __init__(self, environment):
        self.environment, self.heard = environment, []

    def reply(self, messages):
        self.heard.append(messages[-1]["content"])
        replies = self.environment.play.replies
        return replies[(len(self.heard) - 1) % len(replies)](self.heard[-1])


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


def assert_clear(error: BaseException, plays: list[Play], place: str = r"rollout \d of process 0 at step 0") -> None:
    """It was a user, an interruption, or what no message can hold; it says where in one short message."""
    outcomes = [outcome for play in plays for outcome in play.results + play.replies]
    raised = {outcome.what for outcome in outcomes if outcome.kind == "raises"}
    if isinstance(error, KeyboardInterrupt):
        assert "KeyboardInterrupt" in raised
        return
    if not isinstance(error, Exception):
        raise AssertionError(f"{type(error).__name__} ends the training") from error
    message = str(error)
    if not re.search(place, message) or len(message) > 5000:
        raise AssertionError(f"{type(error).__name__} without a place: {message[:5000]}") from error


def assert_sound(loop: str, plays: list[Play], may_end: bool = True, **options) -> None:
    """A step with these rollouts leaves finite weights and accounts for all rollouts, or, if it may, a clear error."""
    trainer = find_trainer(loop, **options)
    error = None
    try:
        error = run_step(trainer, plays)
        if error is None:
            assert_finite(trainer)
            assert_accounted_for(trainer, plays)
        elif may_end:
            assert_clear(error, plays)
        else:
            raise AssertionError("The run ended") from error
    finally:
        if error is not None or sys.exc_info()[0] is not None:
            forget(trainer)


@pytest.mark.quick(1)
@pytest.mark.parametrize("loop", LOOPS)
@bounded(8)
@given(actions=st.lists(action_lists, min_size=4, max_size=4))
def test_no_policy_ends_a_run(loop, actions):
    """Where users and tools are in order, nothing that is sampled may even end in an error."""
    plays = [Play(a, PARIS, PARIS, reward) for a, reward in zip(actions, (0.0, 1.0, 0.0, 1.0), strict=True)]
    assert_sound(loop, plays, may_end=False)


@pytest.mark.quick(1)
@pytest.mark.parametrize("loop", ["TRL's loop", "our loop"])
@bounded(8)
@given(plays=batches(replies=st.just(PARIS)))
def test_no_tool_ruins_a_run(loop, plays):
    assert_sound(loop, plays)


@pytest.mark.quick(1)
@pytest.mark.parametrize("loop", ["our loop", "our loop, asynchronous"])
@bounded(8)
@given(plays=batches(replies=st.just(PARIS)), odd=st.integers(0, 3), outcome=outcomes)
def test_no_user_ruins_a_run(loop, plays, odd, outcome):
    """One of the four users does anything, after one good reply or at once."""
    plays[odd] = replace(plays[odd], replies=[*PARIS, outcome][odd % 2 :])
    assert_sound(loop, plays)


@pytest.mark.quick(1)
@pytest.mark.parametrize("loop", ["our loop", "our loop, asynchronous"])
@bounded(8)
@given(texts=st.lists(odd_text.filter(str.strip), min_size=4, max_size=4))
def test_no_text_of_a_user_ends_a_run(loop, texts):
    plays = [Play(["hm", "ok"], PARIS, [Outcome("says", text)], i % 2) for i, text in enumerate(texts)]
    assert_sound(loop, plays, may_end=False)


NO_REPLIES = [what for what in RESULTS if what not in ("None", "odd text", "huge text", "a coroutine")]


@pytest.mark.parametrize("what", NO_REPLIES)
def test_no_reply_ends_a_run_without_its_place(what):
    loop, outcome = "our loop", Outcome("gives", what)
    plays = [Play(["hm"], PARIS, PARIS, 0.0), *[Play(["hm"], PARIS, [outcome], 1.0)] * 3]
    error = run_step(find_trainer(loop), plays)
    forget(find_trainer(loop))
    assert isinstance(error, UserSimulatorError)
    assert re.search("user of rollout 1 of process 0 at step 0 failed: .*Return text, or None", str(error))
    assert len(str(error)) < 1000


@pytest.mark.quick(1)
@pytest.mark.parametrize("template", ["qwen2_5", "qwen3_5_nothink", "qwen3_5_think"])
@pytest.mark.parametrize("loop", ["TRL's loop", "our loop"])
@bounded(3)
@given(plays=batches(replies=st.just(PARIS)))
def test_no_template_makes_a_difference(loop, template, plays):
    assert_sound(loop, plays, template=template)


def assert_logged(loop: str, plays: list[Play]) -> None:
    """A step whose rollouts may hold anything is in the completions table, with all that was said and called."""
    assert_sound(loop, plays, may_end=False, log_completions=True, num_completions_to_print=1)
    trainer = find_trainer(loop, log_completions=True, num_completions_to_print=1)
    [file] = Path(trainer.args.output_dir, "completions").glob("*.parquet")
    table = pq.read_table(file).to_pylist()
    for logged, completion in zip((row["completion"] for row in table), trainer._logs["completion"], strict=True):
        assert [message["role"] for message in logged] == [message["role"] for message in completion]
        for row, message in zip(logged, completion, strict=True):
            assert isinstance(row["content"], str)
            assert row["content"] == message["content"] or not isinstance(message["content"], str)
            for call, sampled in zip(row.get("tool_calls") or [], message.get("tool_calls") or [], strict=True):
                arguments = json.loads(call["function"]["arguments"])
                sampled = sampled["function"]["arguments"]
                sampled = sampled if isinstance(sampled, dict) else {"arguments": sampled}
                assert repr(arguments) == repr(sampled)  # NaN as well


@pytest.mark.quick(1)
@pytest.mark.parametrize("loop", ["TRL's loop", "our loop"])
@bounded(6)
@given(calls=st.lists(odd_calls, min_size=4, max_size=4), results=st.lists(any_result, min_size=4, max_size=4))
@example(
    calls=[json.dumps({"name": "ask", "arguments": {"slot": slot}}) for slot in (1, ["b"], "c", {})],
    results=[Outcome("says", "a"), Outcome("gives", "blocks of text")] * 2,
)
@example(
    calls=[f'{{"name": "ask", "arguments": {arguments}}}' for arguments in ('"word"', "[1]", "{}", "null")],
    results=PARIS * 4,
)
@example(
    calls=[f'{{"name": "ask", "arguments": {{}}, "x": {value}}}' for value in ("1", '"a"', "[1]", "{}")],
    results=PARIS * 4,
)
def test_arguments_and_results_of_several_types_can_be_logged(loop, calls, results):
    assert_logged(
        loop,
        [
            Play([in_tags(call), CALLS[0]], [result], PARIS, i % 2)
            for i, (call, result) in enumerate(zip(calls, results, strict=True))
        ],
    )


@pytest.mark.parametrize("loop", ["TRL's loop", "our loop"])
def test_lists_that_are_no_blocks_can_be_logged(loop):
    lists = ["a list of texts", "blocks without text", "blocks of numbers", "odd keys", "a list of objects", "bytes"]
    plays = [Play([CALLS[0], CALLS[2]], [Outcome("gives", what)], PARIS, i % 2) for i, what in enumerate(lists)]
    assert_logged(loop, plays[:4])
    assert_logged(loop, [*plays[4:], *plays[:2]])


def test_prompts_of_several_types_can_be_logged():
    """Text and blocks side by side, after a call of the dataset that no loop has to be able to run."""
    call = {"name": "ask", "arguments": '{"slot": "city"}'}
    example = [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "user", "content": "book"}]
    observations = iter([[{"type": "text", "text": "now"}], "now"] * 8)

    class Observing(OddTools):
        def reset(self, **row):
            super().reset()
            return next(observations)

    trainer = make_scripted_trainer(mkdtemp(), Observing, log_completions=True, num_completions_to_print=1)
    trainer.train_dataset = trainer.train_dataset.map(lambda row: {"prompt": example})
    assert run_step(trainer, [Play(["hm"], PARIS, PARIS, i % 2) for i in range(4)]) is None
    [file] = Path(trainer.args.output_dir, "completions").glob("*.parquet")
    prompts = pq.read_table(file).to_pylist()
    assert {row["prompt"][0]["tool_calls"][0]["arguments"] for row in prompts} == {'{"slot": "city"}'}
    assert len({row["prompt"][1]["content"] for row in prompts}) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_no_nesting_and_no_number_of_calls_ends_a_run(loop):
    deep = ["[" * 1100, '{"a":' * 300, in_tags('{"name": "ask", "arguments": ' + '{"slot":' * 350 + "1" + "}" * 351)]
    many = CALLS[0] * 1100
    assert_sound(loop, [Play([action], PARIS, PARIS, 0.0) for action in [*deep, many]], may_end=False)


@pytest.mark.parametrize("loop", ["TRL's loop", "our loop"])
@pytest.mark.parametrize("reward", [float("inf"), -float("inf")])
def test_an_infinite_reward_is_named(loop, reward):
    plays = [Play(["hm"], PARIS, PARIS, value) for value in (0.0, reward, 1.0, 0.0)]
    trainer = find_trainer(loop)
    error = run_step(trainer, plays)
    forget(trainer)
    assert isinstance(error, ValueError)
    assert LOOPS[loop].__name__ in str(error)


# ---- evaluation


class ScriptedPolicy(ModelPolicy):
    """A model that samples what the plays of its environments say."""

    def make_actor(self, **settings):
        actor = super().make_actor(**settings)

        def sample(contexts):
            acting = [episode for episode in actor._episodes if episode.stop_reason is None]
            return [self._ids(episode) for episode in acting], None

        actor.generate = sample
        return actor

    def _ids(self, episode) -> list[int]:
        actions = episode.environment.play.actions
        action = actions[episode.num_actions] if episode.num_actions < len(actions) else "bye"
        if isinstance(action, str):
            return self.tokenizer.encode(action, add_special_tokens=False) + [self.tokenizer.eos_token_id]
        return action


def played(environment: type, plays: list[Play]) -> tuple[dict[str, type], list[dict]]:
    """An environment for `evaluate` whose tasks are the plays, by the name of its user, and the rows of the tasks."""

    class Played(environment):
        def reset(self, task, **row):
            super().reset()
            self.play = plays[task]

    rows = [{"prompt": [{"role": "user", "content": "book"}], "task": task} for task in range(len(plays))]
    return {"odd": Played}, rows


@pytest.mark.parametrize("environment", [OddTools, Talk, AsyncTalk])
@bounded(6)
@given(plays=batches(replies=st.just(PARIS)), odd=st.integers(0, 3), outcome=outcomes)
def test_no_play_ruins_an_evaluation(environment, plays, odd, outcome):
    """Each episode is written, or the error says which one it was."""
    plays[odd] = replace(plays[odd], replies=[*PARIS, outcome], reward=0.5)

    environments, rows = played(environment, plays)
    output_dir = Path(mkdtemp())
    tokenizer = make_tokenizer()
    policy = ScriptedPolicy(make_model(tokenizer, num_hidden_layers=1), tokenizer)
    options = {"max_turns": 4, "max_completion_length": 1200, "output_dir": output_dir, "show_progress": False}
    try:
        with ends_within(60):
            evaluation = evaluate(policy, environments, rows, **options)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, Hangs):
            raise
        assert_clear(error, plays, r"task \d, run 0 with the user 'odd'")
    else:
        assert len(evaluation.records) == len(plays)
        assert Evaluation.load(output_dir).records == json.loads(json.dumps(evaluation.records))


@pytest.mark.parametrize("environment", [OddTools, Talk])
@bounded(8)
@given(results=st.lists(any_result, min_size=2, max_size=2))
@example(results=[Outcome("gives", what) for what in ("a list of texts", "odd keys")])
@example(results=[Outcome("gives", what) for what in ("a list of objects", "blocks of objects")])
def test_an_episode_with_any_result_is_written(environment, results):
    plays = [Play([CALLS[0], CALLS[2]], [result], PARIS, 1.0) for result in results]

    environments, rows = played(environment, plays)
    output_dir = Path(mkdtemp())
    tokenizer = make_tokenizer()
    policy = ScriptedPolicy(make_model(tokenizer, num_hidden_layers=1), tokenizer)
    evaluation = evaluate(policy, environments, rows, output_dir=output_dir, max_turns=4, show_progress=False)
    assert [record["task"] for record in evaluation.records] == [0, 1]
    assert Evaluation.load(output_dir).records == json.loads(json.dumps(evaluation.records))


@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_fuzz.py", "test_fuzz_options.py"])
def test_ten_times_as_many_inputs_hold(file):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", Path(__file__).parent / file]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "thorough"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]
