# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy, a user, a tool or an environment does wrong is told to the agent, or is a clear error."""

import asyncio
import math
import sys
import time

import pytest
import torch
from scripted_agents import make_scripted_trainer
from tiny_agents import make_tokenizer

from trl_infopo import _progress, infopo_trainer
from trl_infopo._compat import is_malformed_call, parse_action
from trl_infopo.rollout import MALFORMED_CALL
from trl_infopo.users import Fact, Scenario, ScriptedUser, UserSimulatorError


HALF = "\ud83d"


def calls(name: str, arguments: str = "{}") -> str:
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


class Tools:
    """Tools that echo, fail and are slow."""

    def reset(self, **row):
        pass

    def echo(self, text: str) -> str:
        """
        Echo.

        Args:
            text: What.
        """
        return text

    async def echo_later(self, text: str) -> str:
        """
        Echo, later.

        Args:
            text: What.
        """
        return text

    def fail(self, how: str) -> str:
        """
        Fail.

        Args:
            how: In which way.
        """
        return failures[how]()

    async def fail_later(self, how: str) -> str:
        """
        Fail, later.

        Args:
            how: In which way.
        """
        return failures[how]()

    async def sleep(self) -> str:
        """Sleep."""
        await asyncio.sleep(60)
        return "slept"

    def nap(self) -> str:
        """Sleep on the thread of the caller."""
        time.sleep(60)
        return "slept"

    def get_reward(self) -> float:
        return 0.0


def raise_(error: BaseException):
    raise error


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("cannot say")


class UnspeakableResult:
    def __str__(self):
        raise RuntimeError("cannot say")


failures = {
    "half": lambda: raise_(ValueError(HALF)),
    "exit": lambda: sys.exit(0),
    "unspeakable": lambda: raise_(Unspeakable()),
    "unspeakable_result": UnspeakableResult,
    "user": lambda: raise_(UserSimulatorError("no line")),
}


class Echo:
    """A user who says the same to everything."""

    def __init__(self, text="fine"):
        self.text, self.heard = text, []

    def reply(self, messages):
        self.heard.append(messages)
        return self.text


class ToolsAndUser(Tools):
    user: Echo
    text = "fine"

    def reset(self, **row):
        self.user = Echo(self.text)


def play(tmp_path, environment, script, **options):
    """Train a step in which every rollout takes the actions of the script; the trainer and its conversations."""
    trainer = make_scripted_trainer(tmp_path, environment, **options)
    trainer.script = lambda rollout, action: script[min(action, len(script) - 1)]
    completions = []
    calculate_rewards = trainer._calculate_rewards

    def spy(inputs, prompts, conversations, *args):
        completions.extend(zip(prompts, conversations, strict=True))
        return calculate_rewards(inputs, prompts, conversations, *args)

    trainer._calculate_rewards = spy
    trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    return trainer, completions


def logged(trainer, name):
    return [log[name] for log in trainer.state.log_history if name in log]


LOOPS = pytest.mark.parametrize("environment", [Tools, ToolsAndUser])


# ---- text that no tokenizer takes


@pytest.mark.quick(2)
@LOOPS
@pytest.mark.parametrize(
    "call",
    [
        calls(r'"\ud83d"'),
        calls('"echo"', r'{"text": "\ud83d"}'),
        calls('"echo"', r'{"\ud83d": "text"}'),
        calls('"echo_later"', r'{"text": "\ud83d \ude00"}'),
        calls('"fail"', '{"how": "half"}'),
        calls('"fail_later"', '{"how": "half"}'),
    ],
)
def test_half_a_surrogate_pair_in_a_call_is_told_to_the_agent(tmp_path, environment, call):
    _, completions = play(tmp_path, environment, [call, "thanks"])
    for _, completion in completions:
        assert [message["role"] for message in completion[:3]] == ["assistant", "tool", "assistant"]
        str(completion).encode()


def test_a_whole_surrogate_pair_is_a_character(tmp_path):
    _, completions = play(tmp_path, Tools, [calls('"echo"', r'{"text": "\ud83d\ude00"}'), "thanks"])
    assert completions[0][1][1]["content"] == "😀"


class HalfUser(ToolsAndUser):
    text = f"fine {HALF}"


class HalfReset(Tools):
    def reset(self, **row):
        return f" {HALF}"


@pytest.mark.parametrize("environment", [HalfUser, HalfReset])
def test_half_a_surrogate_pair_in_what_an_environment_says_is_replaced(tmp_path, environment):
    _, completions = play(tmp_path, environment, ["hello", "thanks"])
    for conversation in completions:
        assert "\N{REPLACEMENT CHARACTER}" in str(conversation)
        str(conversation).encode()


# ---- calls that cannot be parsed


BROKEN = [
    '<tool_call>{"name": "echo", ...{}}</tool_call>',
    calls("null"),
    calls("[1, 2]"),
    calls('"echo"', "[" * 1100),
    calls('"echo"', "[" * 500 + "]" * 500),
    "<tool_call>",
    'the text <tool_call>{"name": "echo"',
]


@pytest.mark.quick(2)
@pytest.mark.parametrize("call", BROKEN)
def test_a_malformed_call_goes_back_to_the_agent(tmp_path, monkeypatch, call):
    gains = []
    score = infopo_trainer.score_information_gain
    monkeypatch.setattr(
        infopo_trainer, "score_information_gain", lambda *a, **k: gains.append(score(*a, **k)) or gains[-1]
    )
    options = {"max_completion_length": 12000, "info_gain_coef": 0.5}
    trainer, completions = play(tmp_path, ToolsAndUser, [call, "the text is fine", "bye"], **options)
    for (_, completion), environment in zip(completions, trainer.environments, strict=True):
        assert completion[1] == {"role": "tool", "name": "unknown", "content": MALFORMED_CALL}
        assert completion[3] == {"role": "user", "content": "fine"}
        assert "tool_call" not in str(environment.user.heard)
        assert environment.user.heard[0] == [
            *environment.user.heard[0][:1],
            {"role": "assistant", "content": "the text is fine"},
        ]
    assert (torch.cat(gains)[:, 0] == 0).all()
    assert (torch.cat(gains)[:, 1] != 0).all()
    assert logged(trainer, "infopo/malformed_calls") == [len(completions)]
    assert logged(trainer, "infopo/tools/failures") == [len(completions)]
    assert logged(trainer, "tools/failure_frequency") == [1.0]


@pytest.mark.parametrize(
    ("template", "call", "speech"),
    [
        ("qwen3", '<tool_call>\n{"name": "echo"', "<think>\na <tool_call>?\n</think>\n\nno"),
        ("qwen2_5", "<tool_call>{}</tool_call>", "a tool call"),
        ("glm4moe", "<tool_call>", "no"),
        ("llama3_1", '{"name": "echo", "parameters": {', '{"city": "Paris"}'),
        ("gptoss", "<|channel|>commentary to=functions.echo <|channel|>commentary json<|message|>{", "no"),
    ],
)
def test_malformed_calls_are_told_from_speech(template, call, speech):
    from trl.chat_template_utils import add_response_schema

    tokenizer = add_response_schema(make_tokenizer(template))
    for text, expected in ((call, True), (speech, False)):
        ids = tokenizer.encode(text, add_special_tokens=False)
        message = parse_action(tokenizer, ids, tokenizer.encode("<|im_start|>assistant\n"), [])
        assert is_malformed_call(tokenizer, ids, message) == expected, message


# ---- failures


@pytest.mark.quick(3)
@LOOPS
@pytest.mark.parametrize("tool", ["fail", "fail_later"])
@pytest.mark.parametrize("how", ["exit", "unspeakable", "unspeakable_result"])
def test_what_a_tool_raises_is_told_to_the_agent(tmp_path, environment, tool, how):
    trainer, completions = play(tmp_path, environment, [calls(f'"{tool}"', f'{{"how": "{how}"}}'), "oh"])
    for _, completion in completions:
        assert completion[1]["content"].startswith("{'error': ")
    assert logged(trainer, "infopo/tools/failures") == [len(completions)]


@pytest.mark.quick(2)
@LOOPS
@pytest.mark.parametrize("tool", ["fail", "fail_later"])
def test_a_user_who_fails_inside_a_tool_ends_the_run(tmp_path, environment, tool):
    with pytest.raises(UserSimulatorError, match="The user of rollout 0 of process 0 at step 0 failed: no line"):
        play(tmp_path, environment, [calls(f'"{tool}"', '{"how": "user"}'), "oh"])


@pytest.mark.quick(1)
@LOOPS
@pytest.mark.parametrize("tool", ["nap", "sleep"])
def test_a_tool_that_takes_too_long_is_told_to_the_agent(tmp_path, environment, tool):
    trainer, completions = play(tmp_path, environment, [calls(f'"{tool}"'), "oh"], feedback_timeout=0.2)
    for _, completion in completions:
        assert completion[1]["content"] == "{'error': 'No result within 0.2 s.'}"
    assert logged(trainer, "infopo/tools/timeouts") == [len(completions)]
    assert logged(trainer, "infopo/tools/failures") == [len(completions)]


class SlowUser(ToolsAndUser):
    def reset(self, **row):
        self.user = Echo()
        self.user.reply = lambda messages: time.sleep(60)


def test_a_user_who_takes_too_long_ends_the_run(tmp_path):
    with pytest.raises(UserSimulatorError, match="rollout 0 .* No result within 0.2 s. Raise `feedback_timeout`"):
        play(tmp_path, SlowUser, ["hello"], feedback_timeout=0.2)


class ExitInReset(Tools):
    def reset(self, **row):
        sys.exit(0)


class ExitInReward(Tools):
    def get_reward(self):
        sys.exit(0)


class ExitInAsyncReward(Tools):
    async def get_reward(self):
        sys.exit(0)


@pytest.mark.quick(1)
@pytest.mark.parametrize("environment", [ExitInReset, ExitInReward, ExitInAsyncReward])
def test_an_exit_is_no_end_of_the_training(tmp_path, environment):
    with pytest.raises(RuntimeError, match="exit|Exit"):
        play(tmp_path, environment, ["hello"])


class InfiniteReward(Tools):
    def get_reward(self):
        return math.inf


def test_an_infinite_reward_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="reward `InfiniteReward` is infinite.*Return a finite number, or None"):
        play(tmp_path, InfiniteReward, ["hello"])


class NoReward(Tools):
    def get_reward(self):
        return None


def test_rollouts_without_a_reward_are_counted(tmp_path):
    trainer, completions = play(tmp_path, NoReward, [calls('"echo"', '{"text": "hm"}'), "hello"])
    assert logged(trainer, "infopo/unscored_rollouts") == [len(completions)]


# ---- gains


def test_a_gain_that_is_not_finite_reaches_no_advantage(tmp_path, monkeypatch):
    score = infopo_trainer.score_information_gain

    def score_badly(*args, **kwargs):
        gains = score(*args, **kwargs)
        gains[1, 0] = math.inf
        return gains

    monkeypatch.setattr(infopo_trainer, "score_information_gain", score_badly)
    script = [calls('"echo"', '{"text": "hm"}'), "hello"]
    with pytest.warns(UserWarning, match="gain that is not finite.*`infopo/nonfinite_gains`"):
        trainer, _ = play(tmp_path, Tools, script)
    assert logged(trainer, "infopo/nonfinite_gains") == [1]
    assert math.isfinite(logged(trainer, "infopo/information_gain/mean")[0])


def test_a_run_without_gains_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(infopo_trainer, "MANY_BATCHES", 3)
    with pytest.warns(UserWarning, match="No turn of the last 3 generation batches has a gain"):
        play(tmp_path, Tools, ["hello"], max_steps=3)


def test_undefined_metrics_are_left_out(tmp_path):
    trainer, _ = play(tmp_path, Tools, ["hello"], max_steps=2)
    ours = {name: value for log in trainer.state.log_history for name, value in log.items() if "infopo" in name}
    assert "infopo/turns/mean" in ours
    assert "infopo/information_gain/mean" not in ours
    assert all(math.isfinite(value) for value in ours.values())


def test_what_takes_long_is_said(tmp_path, monkeypatch, capsys):
    class Slow(Tools):
        async def sleep(self) -> str:
            """Sleep a little."""
            await asyncio.sleep(0.2)
            return "slept"

    monkeypatch.setattr(_progress, "PATIENCE", 0.05)
    play(tmp_path, Slow, [calls('"sleep"'), "thanks"], disable_tqdm=False)
    said = capsys.readouterr().err
    assert "[InfoPO] step 1: sampling 4 rollouts: 0 s so far" in said
    assert "[InfoPO] Information gain is scored with the tree engine" in said
    play(tmp_path, Slow, [calls('"sleep"'), "thanks"])
    assert "so far" not in capsys.readouterr().err


# ---- mistakes of those who write environments


def user() -> ScriptedUser:
    return ScriptedUser(Scenario("hello", facts=(Fact("city", "Paris", keywords=("city",)),)))


class NoUser(ToolsAndUser):
    def reset(self, **row):
        pass


class WrongUser(ToolsAndUser):
    def reset(self, **row):
        self.user = "alice"


class SharedUser(ToolsAndUser):
    shared = user()

    def reset(self, **row):
        self.user = self.shared


class TextDone(ToolsAndUser):
    def reset(self, **row):
        super().reset()
        self.done = "false"


class HugeDone(ToolsAndUser):
    def reset(self, **row):
        super().reset()
        self.done = 10**5000


class EmptyPlaceholder(ToolsAndUser):
    def reset(self, **row):
        super().reset()
        self.masked_feedback = ""


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (NoUser, "`NoUser` declares a `user`, but after `reset` it is 'not set', which cannot reply. Set `self.user`"),
        (WrongUser, "`WrongUser` declares a `user`, but after `reset` it is 'alice', which cannot reply"),
        (SharedUser, "`SharedUser.user` is a ScriptedUser that has another conversation.*Make a new one in `SharedU"),
        (TextDone, "`TextDone.done` is 'false', set it to True or False"),
        (HugeDone, "`HugeDone.done` is <int>, set it to True or False"),
        (EmptyPlaceholder, "`EmptyPlaceholder.masked_feedback` is '', .* Set it to a text"),
    ],
)
def test_mistakes_in_reset_are_clear_errors(tmp_path, environment, message):
    with pytest.raises(ValueError, match=message):
        play(tmp_path, environment, ["hello"])


class OldUser(ToolsAndUser):
    def __init__(self):
        self.user = user()

    def reset(self, **row):
        pass


def test_a_scripted_user_of_an_earlier_episode_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="Make a new one in `OldUser.reset`"):
        play(tmp_path, OldUser, ["hello", "bye"], max_steps=2)


class Speechless(ToolsAndUser):
    text = None


def test_users_who_never_speak_are_said(tmp_path):
    with pytest.warns(UserWarning, match="Every user of a batch ended the conversation on the first message"):
        play(tmp_path, Speechless, ["hello"])


class NeedsCity(Tools):
    def reset(self, city, **row):
        pass


class TakesNothing(Tools):
    def reset(self):
        pass


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (NeedsCity, "`NeedsCity.reset` needs 'city', but `train_dataset` has only the columns \\['prompt'\\]. Add"),
        (
            TakesNothing,
            "`train_dataset` has the column 'prompt', which `TakesNothing.reset` does not take.*`\\*\\*row`",
        ),
        (Tools(), "`environment_factory` is a Tools object, .* Pass what makes them: the class `Tools`"),
    ],
)
def test_mistakes_in_an_environment_are_errors_at_construction(tmp_path, environment, message):
    with pytest.raises(ValueError, match=message):
        make_scripted_trainer(tmp_path, environment)


def test_one_action_is_too_few_for_a_gain(tmp_path):
    with pytest.warns(UserWarning, match="`max_turns` is 1, so that no action follows feedback"):
        make_scripted_trainer(tmp_path, Tools, max_turns=1)
