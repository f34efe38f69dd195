# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations with users through real trainers: what the policy sampled, what came back, and what is trained on."""

import math
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from misbehaving_server import MisbehavingServer, fails, says
from tiny_agents import CALLS, WORDS, AskEnvironment, make_model, make_tokenizer
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter
from trl import GRPOTrainer

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.rollout import StopReason
from trl_infopo.users import ChatUser, Fact, Scenario, Usage, UserSimulatorError


# Qwen's pre-tokenization and special tokens, which its vocabulary file does not tell
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@cache
def make_qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen's real vocabulary with the Qwen3 template, and our calls as tokens, which a tiny model can then emit."""
    try:
        package = distribution("dashscope")
    except PackageNotFoundError:
        pytest.skip("the package dashscope==1.24.0, which ships Qwen's vocabulary, is not installed")
    (vocabulary,) = [package.locate_file(path) for path in package.files if path.name == "qwen.tiktoken"]
    tokenizer = TikTokenConverter(str(vocabulary), pattern=QWEN_PATTERN, extra_special_tokens=None).converted()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_SPECIAL])
    tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=False) for token in [*CALLS, *WORDS[:3], WORDS[4]]]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.padding_side = "left"
    fast.chat_template = make_tokenizer("qwen3").chat_template
    assert fast("Hello world").input_ids == [9707, 1879]
    return fast


def make_plain_tokenizer() -> PreTrainedTokenizerFast:
    """A template that knows neither tools nor anything but roles and contents."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    return tokenizer


TOKENIZERS = {
    "qwen3": make_tokenizer,
    "qwen2_5": lambda: make_tokenizer("qwen2_5"),
    "plain": make_plain_tokenizer,
    "real_qwen": make_qwen_tokenizer,
}


class Replies:
    """Gives the same replies in every episode, then ends it."""

    def __init__(self, replies):
        self.replies = list(replies)
        self.heard = []
        self.usage = Usage()

    async def reply(self, messages):
        self.heard.append(messages)
        self.usage.tokens += 10
        return self.replies.pop(0) if self.replies else None


REPLIES = ("to rome please", "on monday,\nin the morning", "yes")


class TalkEnvironment:
    """A user and no tools."""

    user: Replies
    replies = REPLIES

    def reset(self, **row):
        self.user = Replies(self.replies)

    def get_reward(self):
        return 0.5 * len(self.user.heard) + 0.1 * sum(len(m[-1]["content"]) % 7 for m in self.user.heard)


class TalkAndToolsEnvironment(AskEnvironment):
    """A user and two tools."""

    user: Replies
    replies = REPLIES

    def reset(self, city="paris", **row):
        super().reset(city)
        self.user = Replies(self.replies)


class DoneEnvironment(AskEnvironment):
    """Two tools, no user, and an end."""

    done: bool = False

    def reset(self, **row):
        super().reset(**row)
        self.done = False

    def ask(self, slot: str) -> str:
        """
        Ask, once and for all.

        Args:
            slot: What to ask for.
        """
        self.done = slot == "day"
        return super().ask(slot)


class ToolsOnlyEnvironment(AskEnvironment):
    """Tools alone, but played by our loop: it may be done, and never is."""

    done: bool = False


DATASET = Dataset.from_list(
    [
        {"prompt": [{"role": "user", "content": "book please"}], "city": city}
        for city in ("paris", "rome", "oslo", "lima")
    ]
)


def make_trainer(
    output_dir,
    environment,
    tokenizer="qwen3",
    trainer_class=InfoPOTrainer,
    options=None,
    short_actions=False,
    **kwargs,
):
    tokenizer = TOKENIZERS[tokenizer]()
    is_large = len(tokenizer) > 100000  # so many unlikely tokens are likely together, unless there is little noise
    noise = 0.05 if is_large else 0.1 if short_actions else 0.2
    model = make_model(tokenizer, initializer_range=noise)
    options = {
        "output_dir": str(output_dir),
        "max_steps": 1 if is_large else 2,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 90,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **(options or {}),
    }
    if trainer_class is InfoPOTrainer:
        options = {"max_turns": 5, **options}
    if short_actions:  # one token and the end, so that templates render them as they were sampled
        limits = {"max_new_tokens": 2, "forced_eos_token_id": tokenizer.eos_token_id}
        options |= {"generation_kwargs": limits, "max_turns": 8, "max_completion_length": 300}
    return trainer_class(
        model=model,
        args=(InfoPOConfig if trainer_class is InfoPOTrainer else trainer_class.args_class)(**options),
        train_dataset=DATASET,
        processing_class=tokenizer,
        environment_factory=environment,
        **kwargs,
    )


class Recorder:
    """What a trainer generated: contexts, samples, and what it made of them."""

    def __init__(self, trainer, monkeypatch):
        self.samples, self.batches, self.outputs = [], [], []
        single_turn, generate = trainer._generate_single_turn, trainer._generate

        def spy_single_turn(prompt_ids, *args, **kwargs):
            ids, logprobs = single_turn(prompt_ids, *args, **kwargs)
            self.samples += zip(prompt_ids, [list(row) for row in ids], strict=True)
            return ids, logprobs

        def spy_generate(prompts):
            output = generate(prompts)
            prompt_ids, completion_ids, tool_mask, completions, *_ = output
            self.batches += zip(prompts, prompt_ids, completion_ids, tool_mask, completions, strict=True)
            return output

        monkeypatch.setattr(trainer, "_generate_single_turn", spy_single_turn)
        monkeypatch.setattr(trainer, "_generate", spy_generate)


def scaffold(feedback: list[dict], think: bool = False) -> str:
    """ChatML around what came back after an action's `<|im_end|>`, written by hand."""
    if feedback[0]["role"] == "user":
        body = f"<|im_start|>user\n{feedback[0]['content']}<|im_end|>\n"
    else:
        results = "".join(f"\n<tool_response>\n{m['content']}\n</tool_response>" for m in feedback)
        body = f"<|im_start|>user{results}<|im_end|>\n"
    return f"\n{body}<|im_start|>assistant\n"


def blocks(completion):
    found = []
    for message in completion:
        if message["role"] == "assistant":
            found.append([])
        else:
            found[-1].append(message)
    return found


MODES = {
    "user only": (TalkEnvironment, ["qwen3", "qwen2_5", "plain", "real_qwen"]),
    "tools only": (ToolsOnlyEnvironment, ["qwen3"]),
    "both": (TalkAndToolsEnvironment, ["qwen3", "qwen2_5", "real_qwen"]),
}
CASES = [
    pytest.param(mode, tokenizer, marks=[pytest.mark.thorough] if tokenizer in ("qwen2_5", "real_qwen") else [])
    for mode, (_, tokenizers) in MODES.items()
    for tokenizer in tokenizers
]


@pytest.mark.parametrize(("mode", "tokenizer"), CASES)
def test_tokens_are_what_was_sampled_and_what_came_back(tmp_path, monkeypatch, mode, tokenizer):
    trainer = make_trainer(tmp_path, MODES[mode][0], tokenizer, short_actions=mode == "both")
    recorder = Recorder(trainer, monkeypatch)
    trainer.train()

    kinds = set()
    for _, prompt_ids, completion_ids, mask, completion in recorder.batches:
        expected_ids, expected_mask = [], []
        for feedback in blocks(completion):
            context, rest = prompt_ids + expected_ids, completion_ids[len(expected_ids) :]
            room = trainer.max_completion_length - len(expected_ids)
            # The rollouts of a group share contexts, so one of their samples it must be
            candidates = [ids[:room] for seen, ids in recorder.samples if seen == context]
            sampled = next(ids for ids in candidates if ids == rest[: len(ids)])
            expected_ids += sampled
            expected_mask += [1] * len(sampled)
            if feedback:
                external = trainer._tokenizer.encode(scaffold(feedback), add_special_tokens=False)
                expected_ids += external
                expected_mask += [0] * len(external)
        assert completion_ids == expected_ids
        assert mask == expected_mask
        kinds.add("".join(message["role"][0] for message in completion))
    assert any(len(kind) > 1 for kind in kinds)
    if mode != "tools only":
        assert any("aua" in kind for kind in kinds)
    if mode != "user only":
        assert any("ata" in kind for kind in kinds)
    if mode == "both":  # two tool calls between two user turns
        assert any("uatatau" in kind for kind in kinds)


def test_tokens_render_as_the_conversation(tmp_path, monkeypatch):
    """Where the template renders the sampled messages as they were sampled, all of it is the template's text."""
    trainer = make_trainer(tmp_path, TalkAndToolsEnvironment, "qwen2_5", short_actions=True)
    recorder = Recorder(trainer, monkeypatch)
    trainer.train()
    compared = 0
    for prompt, prompt_ids, completion_ids, _, completion in recorder.batches:
        said = {message["content"] for message in completion if message["role"] == "assistant"}
        if not said <= {"", *WORDS[:3], WORDS[4]}:
            continue  # fragments of words, which a tokenizer would tokenize otherwise
        rendered = trainer._tokenizer.apply_chat_template(
            prompt + completion, tools=trainer._env_tools[None], chat_template=trainer.chat_template, tokenize=False
        )
        ids = trainer._tokenizer.encode(rendered.removesuffix("\n"), add_special_tokens=False)
        assert ids == prompt_ids + completion_ids
        compared += 1
    assert compared >= 8


class SyncEnvironment(AskEnvironment):
    """Without the async tool, whose results TRL puts last."""

    def look_up(self, word: str) -> str:
        """
        Look a word up.

        Args:
            word: The word.
        """
        return f"{word}:\n- one\n- two"


class SyncDoneEnvironment(SyncEnvironment):
    done: bool = False


class BlocksEnvironment(SyncEnvironment):
    """Results that are lists of text blocks, a dictionary, or nothing."""

    def look_up(self, word: str) -> list:
        """
        Look a word up.

        Args:
            word: The word.
        """
        return [{"type": "text", "text": word}, {"type": "text", "text": "- one"}]

    def ask(self, slot: str) -> dict | None:
        """
        Ask the user.

        Args:
            slot: What to ask for.
        """
        super().ask(slot)
        return {"city": "paris"} if slot == "city" else None


class BlocksDoneEnvironment(BlocksEnvironment):
    done: bool = False


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "environments", [(SyncEnvironment, SyncDoneEnvironment), (BlocksEnvironment, BlocksDoneEnvironment)]
)
def test_our_loop_plays_tools_as_trls_does(tmp_path, monkeypatch, environments):
    trainers, batches = [], []
    for environment in environments:
        trainer = make_trainer(tmp_path, environment, short_actions=True)
        recorder = Recorder(trainer, monkeypatch)
        trainer.train()
        trainers.append(trainer)
        batches.append([batch[1:] for batch in recorder.batches])
    assert not trainers[0]._converses
    assert trainers[1]._converses
    assert batches[0] == batches[1]
    assert any(isinstance(message["content"], list) for *_, c in batches[0] for message in c) == (
        environments[0] is BlocksEnvironment
    )
    for one, other in zip(trainers[0].state.log_history, trainers[1].state.log_history, strict=True):
        assert all("rewards/" in name for name in set(one) - set(other))
        for name in set(one) & set(other):
            if "time" not in name and "second" not in name:
                assert one[name] == other[name], name


def stops(trainer) -> list[dict]:
    return [
        {reason: log[f"infopo/stop/{reason}"] for reason in StopReason if log[f"infopo/stop/{reason}"]}
        for log in trainer.state.log_history
        if "infopo/stop/answered" in log
    ]


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("environment", "options", "possible"),
    [
        (TalkEnvironment, {"max_turns": 9, "max_completion_length": 200}, {"user_ended", "max_tokens"}),
        (DoneEnvironment, {"max_turns": 9}, {"environment_done", "answered", "max_tokens"}),
        (TalkEnvironment, {"max_turns": 2}, {"max_turns", "max_tokens"}),
        (TalkEnvironment, {"max_turns": 9, "max_completion_length": 24}, {"max_tokens"}),
        (AskEnvironment, {"max_turns": 2}, {"answered", "max_turns", "max_tokens"}),
    ],
)
def test_every_episode_has_a_stop_reason(tmp_path, environment, options, possible):
    trainer = make_trainer(tmp_path, environment, options=options)
    trainer.train()
    for shares in stops(trainer):
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= possible
    seen = {name for shares in stops(trainer) for name in shares}
    assert possible - {"max_tokens", "answered"} <= seen


def test_user_tokens_never_enter_the_loss(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, TalkEnvironment)
    outputs = []
    generate_and_score = trainer._generate_and_score_completions
    monkeypatch.setattr(
        trainer,
        "_generate_and_score_completions",
        lambda inputs: outputs.append(generate_and_score(inputs)) or outputs[-1],
    )
    trainer.train()
    for output in outputs:
        external = (output["tool_mask"] == 0) & (output["completion_mask"] == 1)
        assert external.any()
        assert (output["advantages"][external] == 0).all()
        assert (output["advantages"][output["tool_mask"] * output["completion_mask"] == 1] != 0).any()


def test_gains_of_replies_are_scored_against_the_masked_reply(tmp_path, monkeypatch):
    """The counterfactual is the same user message with the placeholder as content."""
    from trl_infopo import infopo_trainer

    calls = []
    score = infopo_trainer.score_information_gain

    def spy(model, prompt_ids, completion_ids, turns, masked_observations, **kwargs):
        gains = score(model, prompt_ids, completion_ids, turns, masked_observations, **kwargs)
        calls.append((completion_ids, turns, masked_observations, gains))
        return gains

    monkeypatch.setattr(infopo_trainer, "score_information_gain", spy)
    trainer = make_trainer(tmp_path, TalkEnvironment)
    trainer.train()
    expected, told = (
        trainer._tokenizer.encode(scaffold([{"role": "user", "content": text}]), add_special_tokens=False)
        for text in ("No information found.", "Your message was empty.")
    )
    scored = [ids for _, _, masked, _ in calls for rollout in masked for ids in rollout if ids is not None]
    assert expected in scored
    assert all(ids in (expected, told) for ids in scored)
    gains = torch.cat([gains.flatten() for *_, gains in calls])
    assert (~gains.isnan()).sum() == len(scored)
    assert (gains[~gains.isnan()] != 0).any()


@pytest.mark.slow
def test_continuous_batching_generates_conversations(tmp_path):
    options = {"max_steps": 1, "use_transformers_continuous_batching": True}
    trainer = make_trainer(tmp_path, TalkEnvironment, options=options)
    trainer.train()
    assert trainer.state.log_history[0]["infopo/turns/mean"] > 2


class SilentEnvironment(TalkEnvironment):
    """A user who says what the placeholder says."""

    masked_feedback = "nothing"
    replies = ("nothing", "nothing", "nothing")


def test_a_reply_that_is_the_placeholder_has_zero_gain(tmp_path):
    trainer = make_trainer(tmp_path, SilentEnvironment)
    trainer.train()
    for log in trainer.state.log_history:
        if "infopo/information_gain/mean" in log:
            assert log["infopo/information_gain/max"] == log["infopo/information_gain/min"] == 0


def test_users_are_counted(tmp_path):
    trainer = make_trainer(tmp_path, TalkEnvironment)
    trainer.train()
    for log in trainer.state.log_history:
        if "infopo/user/calls" in log:
            assert 0 < log["infopo/user/calls"] <= 4
            assert log["infopo/user/tokens"] == pytest.approx(10 * log["infopo/user/calls"])
            assert log["infopo/user/seconds"] >= 0
            assert log["infopo/user/errors"] == 0


def test_no_user_no_user_metrics(tmp_path):
    trainer = make_trainer(tmp_path, AskEnvironment)
    trainer.train()
    assert not any("infopo/user" in name for log in trainer.state.log_history for name in log)


def test_several_environments_in_one_run(tmp_path, monkeypatch):
    rows = [{"environment": name, **row} for row, name in zip(DATASET, ["talk", "both", "ask", "talk"], strict=True)]
    monkeypatch.setattr("test_conversations.DATASET", Dataset.from_list(rows))
    factories = {"talk": TalkEnvironment, "both": TalkAndToolsEnvironment, "ask": AskEnvironment}
    trainer = make_trainer(tmp_path, factories)
    recorder = Recorder(trainer, monkeypatch)
    trainer.train()
    for row_prompt, _, _, _, completion in recorder.batches:
        assert row_prompt[-1]["content"] == "book please"
        assert completion[0]["role"] == "assistant"
    kinds = {"".join(message["role"][0] for message in batch[-1]) for batch in recorder.batches}
    assert any("u" in kind for kind in kinds)
    assert any("t" in kind for kind in kinds)
    assert all(
        math.isfinite(log["infopo/turns/mean"]) for log in trainer.state.log_history if "infopo/turns/mean" in log
    )


def test_zero_coef_with_a_user_gives_each_rollout_one_advantage(tmp_path):
    trainer = make_trainer(tmp_path, TalkEnvironment, options={"info_gain_coef": 0.0})
    trainer.train()
    assert stops(trainer)
    assert not any("infopo/gate/mean" in log for log in trainer.state.log_history)


# ---- bad input


class UndeclaredEnvironment(AskEnvironment):
    def reset(self, **row):
        super().reset(**row)
        self.user = Replies(REPLIES)


class UndeclaredWithoutTools:
    def reset(self, **row):
        self.user = Replies(REPLIES)

    def get_reward(self):
        return 0.0


def test_a_user_who_was_not_declared_is_no_silent_mistake(tmp_path):
    """TRL's loop plays the environment, in which nobody talks to the user: with tools, the user may be its own."""
    trainer = make_trainer(tmp_path, UndeclaredEnvironment)
    with pytest.warns(UserWarning, match="`UndeclaredEnvironment.reset` set a `user`.*declare it in the class body"):
        trainer.train()
    assert not trainer._converses
    with pytest.warns(UserWarning, match="`UndeclaredWithoutTools` has neither tools nor a `user`"):
        trainer = make_trainer(tmp_path, UndeclaredWithoutTools)
    with pytest.raises(ValueError, match="`UndeclaredWithoutTools.reset` set a `user`.*declare it in the class body"):
        trainer.train()


def test_a_user_who_was_not_made_shows_no_secret(tmp_path):
    class Forgetful(AskEnvironment):
        user: Replies

        def reset(self, **row):
            super().reset(**row)
            self.user = partial(Replies, api_key="sk-very-secret")  # made, but not called

    with pytest.raises(ValueError, match="after `reset` it is functools.partial.*which cannot reply") as error:
        make_trainer(tmp_path, Forgetful).train()
    assert "secret" not in str(error.value)


def test_tools_still_need_a_template_that_renders_them(tmp_path):
    with pytest.raises(ValueError, match="does not support tool calling"):
        make_trainer(tmp_path, TalkAndToolsEnvironment, "plain")
    with pytest.raises(ValueError, match="does not support tool calling"):
        make_trainer(tmp_path, {"talk": TalkEnvironment, "ask": AskEnvironment}, "plain")


def test_trls_check_is_back_after_construction(tmp_path):
    from trl.trainer import grpo_trainer

    check = grpo_trainer.supports_tool_calling
    make_trainer(tmp_path, TalkEnvironment, "plain")
    assert grpo_trainer.supports_tool_calling is check


def test_a_template_that_is_not_prefix_preserving_is_replaced_or_refused(tmp_path):
    trainer = make_trainer(tmp_path, TalkEnvironment, "qwen3")
    assert "generation" in trainer.chat_template
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + ('!' if loop.last else '') + m.content + '<|im_end|>' }}"
        "{% endfor %}"
    )
    with pytest.raises(ValueError, match="template"):
        InfoPOTrainer(
            model=make_model(tokenizer),
            args=InfoPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
            train_dataset=DATASET,
            processing_class=tokenizer,
            environment_factory=TalkEnvironment,
        )


@pytest.mark.parametrize(
    ("options", "is_sharded", "together"),
    [
        ({"use_vllm": False}, True, True),
        ({"use_vllm": False}, False, False),
        ({"vllm_mode": "server"}, False, True),
        ({"vllm_mode": "colocate"}, True, False),
        ({"vllm_mode": "colocate", "vllm_tensor_parallel_size": 2}, False, True),
        ({"vllm_mode": "colocate", "vllm_enable_sleep_mode": True}, True, True),  # which gathers the weights again
        ({"vllm_mode": "colocate", "vllm_enable_sleep_mode": True}, False, False),
    ],
)
def test_no_process_waits_for_one_that_has_no_more_to_say(tmp_path, monkeypatch, options, is_sharded, together):
    trainer = make_trainer(tmp_path, TalkEnvironment)
    assert not trainer._generates_together()
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    monkeypatch.setattr(trainer, "_dist", SimpleNamespace(is_zero3=is_sharded, is_fsdp=False))
    for name, value in {"use_vllm": True, "vllm_tensor_parallel_size": 1, **options}.items():
        setattr(trainer, name, value)
        setattr(trainer.args, name, value)
    assert trainer._generates_together() == together


def test_user_concurrency_is_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="`user_concurrency` is 0, set it to at least 1"):
        InfoPOConfig(str(tmp_path), user_concurrency=0, use_cpu=True, bf16=False)


class ChatEnvironment(TalkEnvironment):
    """Its user is a language model behind an endpoint."""

    base_url = ""

    def reset(self, **row):
        scenario = Scenario("book please", facts=(Fact("city", row["city"], keywords=("city",)),))
        self.user = ChatUser(
            scenario, model="m", base_url=self.base_url, api_key=SECRET, max_retries=2, backoff=0.01, timeout=10
        )

    def get_reward(self):
        return self.user.usage.tokens / 100


SECRET = "sk-very-secret"


def test_a_run_whose_user_dies_stops_and_resumes(tmp_path, monkeypatch):
    pytest.importorskip("openai")
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 4}
    trainer = make_trainer(tmp_path, ChatEnvironment, options=options)
    with MisbehavingServer(*[says("to rome please")] * 30, fails(500)) as server:
        monkeypatch.setattr(ChatEnvironment, "base_url", server.url)
        with pytest.raises(
            UserSimulatorError, match=r"The user of rollout \d of process 0 at step [1-3] failed: .*3 att"
        ):
            trainer.train()
        attempts = len(server.requests)
    died_at = trainer.state.global_step
    assert (tmp_path / f"checkpoint-{died_at}").is_dir()
    assert not (tmp_path / f"checkpoint-{died_at + 1}").exists()
    assert attempts <= 30 + 3 * 8

    with MisbehavingServer(says("to rome please")) as server:
        monkeypatch.setattr(ChatEnvironment, "base_url", server.url)
        resumed = make_trainer(tmp_path, ChatEnvironment, options=options)
        resumed.train(resume_from_checkpoint=True)
        assert server.requests
    assert resumed.state.global_step == 4
    assert len(stops(resumed)) == 4
    for log in resumed.state.log_history[died_at:]:
        if log.get("infopo/user/calls"):
            assert log["infopo/user/tokens"] == pytest.approx(42 * log["infopo/user/calls"])
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file


def test_grpo_knows_no_user(tmp_path):
    """What we add: TRL's own trainer asks an environment with a user for tools."""
    with pytest.raises(ValueError, match="does not support tool calling"):
        GRPOTrainer(
            model=make_model(make_plain_tokenizer()),
            args=InfoPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
            train_dataset=DATASET,
            processing_class=make_plain_tokenizer(),
            environment_factory=TalkEnvironment,
        )
