# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Language models as policies of an evaluation: what they sample, their templates, their weights on disk."""

import json
from functools import partial

import pytest
import torch
from evaluation_helpers import booking_users, clarify_users, quiet
from tiny_agents import AskEnvironment, make_model, make_tokenizer

from trl_infopo.environments import booking_dataset, clarify_dataset
from trl_infopo.policies import ModelPolicy, SeededEpisode
from trl_infopo.policies.model import _ModelActor
from trl_infopo.scripts import tiny_agent


@pytest.fixture(scope="module")
def tiny():
    tokenizer = make_tokenizer()
    return make_model(tokenizer), tokenizer


def ask_dataset(n):
    return [{"prompt": [{"role": "user", "content": f"book {'please ' * i}paris"}]} for i in range(n)]


@pytest.mark.quick(1)
@pytest.mark.parametrize("environment", ["user and tools", "tools"])
def test_neither_batch_nor_interruption_changes_what_is_sampled(tiny, tmp_path, environment):
    if environment == "tools":
        users, dataset = {"user": AskEnvironment}, ask_dataset(5)
    else:
        users, dataset = clarify_users("plain"), list(clarify_dataset("test", 5))
    options = {"temperature": 1.0, "max_completion_length": 128, "max_turns": 4}
    whole = quiet(tiny, users, dataset, num_runs=2, **options)
    assert len({record["num_turns"] for record in whole.records}) > 1
    assert len({json.dumps(record["messages"]) for record in whole.records}) == 10
    quiet(tiny, users, dataset, batch_size=5, output_dir=tmp_path, **options)
    path = tmp_path / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    resumed = quiet(tiny, users, dataset, num_runs=2, batch_size=3, output_dir=tmp_path, **options)
    assert resumed.records == whole.records


def test_seed_changes_what_is_sampled(tiny):
    options = {"temperature": 1.0, "max_completion_length": 64, "max_turns": 3}
    records = [quiet(tiny, {"user": AskEnvironment}, ask_dataset(4), seed=seed, **options).records for seed in (0, 1)]
    assert records[0] != records[1]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_sampler_draws_from_the_distribution(tiny, temperature):
    actor = _ModelActor(*tiny, None, {}, temperature, 8)
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -1.0, -torch.inf])
    episodes = [SeededEpisode([], seed=f"{i}") for i in range(4000)]
    drawn = actor._make_sampler(episodes)(None, logits.expand(4000, -1)).argmax(dim=-1)
    frequencies = drawn.bincount(minlength=6) / 4000
    torch.testing.assert_close(frequencies, (logits / temperature).softmax(dim=0), atol=0.03, rtol=0)
    assert frequencies[1] == frequencies[5] == 0


def test_generation_config_of_the_model_does_not_interfere(tiny):
    model, tokenizer = make_model(tiny[1]), tiny[1]
    options = {"max_completion_length": 64, "max_turns": 3}
    expected = quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(3), **options).records
    own = model.generation_config
    own.update(do_sample=True, top_k=1, top_p=0.1, temperature=3.0, repetition_penalty=5.0, num_beams=2)
    own.update(min_new_tokens=9, no_repeat_ngram_size=1, suppress_tokens=[*range(len(tokenizer) - 8, len(tokenizer))])
    before = own.to_dict()
    records = quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(3), **options).records
    assert records == expected
    assert model.generation_config is own
    assert own.to_dict() == before


def test_who_speaks_otherwise_is_another_policy(tiny):
    model, tokenizer = tiny
    other = make_tokenizer()
    assert ModelPolicy(model, other).description == ModelPolicy(model, tokenizer).description
    other.chat_template = other.chat_template.replace("<|im_start|>", "<|im_start|>the ")
    assert ModelPolicy(model, other).description != ModelPolicy(model, tokenizer).description


@pytest.mark.parametrize("environment", ["tools", "user"])
def test_chat_template_kwargs_reach_every_generation_prompt(tiny, monkeypatch, environment):
    contexts, sample = [], _ModelActor._sample

    def spy(actor, batch):
        contexts.extend(map(tiny[1].decode, batch))
        return sample(actor, batch)

    monkeypatch.setattr(_ModelActor, "_sample", spy)
    users = {"user": AskEnvironment if environment == "tools" else Chatterbox}
    for chat_template_kwargs, ending in (
        (None, "<|im_start|>assistant\n"),
        ({"enable_thinking": False}, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ):
        contexts.clear()
        options = {"temperature": 1.0, "max_completion_length": 256, "max_turns": 3}
        evaluation = quiet(tiny, users, ask_dataset(4), chat_template_kwargs=chat_template_kwargs, **options)
        assert evaluation.settings["chat_template_kwargs"] == (chat_template_kwargs or {})
        assert max(record["num_turns"] for record in evaluation.records) > 1
        for context in contexts:
            assert context.endswith(ending)
            assert context.count(ending) == context.count("<|im_start|>assistant\n")


@pytest.fixture(scope="module")
def tiny_path(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    for part in tiny:
        part.save_pretrained(path)
    return path


def test_adapter_on_disk(tiny_path, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_path), AutoTokenizer.from_pretrained(tiny_path)
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5
    )
    model = peft.get_peft_model(base, config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    arguments = ({"user": AskEnvironment}, ask_dataset(4))
    play = partial(quiet, temperature=1.0, max_completion_length=64, max_turns=3)
    from_disk = play(str(tmp_path), *arguments)
    own = base.generation_config
    assert play((model, tokenizer), *arguments).records == from_disk.records
    assert base.generation_config is own
    assert play((model.merge_and_unload(), tokenizer), *arguments).records == from_disk.records
    without = play(str(tiny_path), *arguments)
    assert without.records != from_disk.records
    assert without.settings["weights"] != from_disk.settings["weights"]


def test_cut_off_conversations(tiny):
    records = quiet(tiny, {"user": AskEnvironment}, ask_dataset(6), max_completion_length=3).records
    assert "max_tokens" in {record["stop_reason"] for record in records}
    # No room for a single token
    long_prompt = [{"prompt": [{"role": "user", "content": "book " * 3000}]}]
    (record,) = quiet(tiny, {"user": AskEnvironment}, long_prompt).records
    assert (record["stop_reason"], record["num_turns"], record["num_questions"]) == ("max_tokens", 0, 0)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_mode_of_the_model(tiny, training):
    model = make_model(tiny[1]).train(training)
    quiet((model, tiny[1]), {"user": AskEnvironment}, ask_dataset(1), max_completion_length=16)
    assert all(module.training == training for module in model.modules())


def test_a_call_that_cannot_be_parsed_is_what_it_is_in_training(tiny, monkeypatch):
    """An answer in TRL's loop, which trains where nobody but tools answers; in ours, the agent is told."""
    _, tokenizer = tiny
    broken = tokenizer.encode("<tool_call>{broken</tool_call><|im_end|>", add_special_tokens=False)
    monkeypatch.setattr(_ModelActor, "_sample", lambda self, contexts: ([broken] * len(contexts), None))

    class WithUser(AskEnvironment):
        done: bool = False

    reasons = [
        quiet(tiny, {"user": environment}, ask_dataset(1), max_turns=3).records[0]["stop_reason"]
        for environment in (AskEnvironment, WithUser)
    ]
    assert reasons == ["answered", "max_turns"]


class Chatterbox:
    """A user and no tools."""

    class User:
        def reply(self, messages):
            return None if len(messages) > 5 else "please"

    user: User

    def reset(self, **row):
        self.user = self.User()

    def get_reward(self):
        return 1.0


def test_templates_without_tools_are_enough_to_talk(tiny):
    model, tokenizer = tiny[0], make_tokenizer("gemma")
    tokenizer.chat_template = tokenizer.chat_template.replace("<end_of_turn>", tokenizer.eos_token)
    options = {"max_completion_length": 64}
    evaluation = quiet((model, tokenizer), {"user": Chatterbox}, ask_dataset(2), **options)
    assert {record["stop_reason"] for record in evaluation.records} <= {"user_ended", "max_tokens"}
    with pytest.raises(ValueError, match="does not render tool calls"):
        quiet((model, tokenizer), {"user": AskEnvironment}, ask_dataset(2), **options)


def test_tokenizer_without_chat_template(tiny):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        quiet((tiny[0], tokenizer), {"user": AskEnvironment}, ask_dataset(1))


@pytest.mark.thorough
def test_greedy_evaluation_is_what_the_quick_start_plays(quickstart_policy):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(quickstart_policy)
    tokenizer = AutoTokenizer.from_pretrained(quickstart_policy)
    dataset = booking_dataset("test", 40)
    evaluation = quiet(str(quickstart_policy), booking_users("plain"), dataset)
    num_calls = 0
    for row, record in zip(dataset, evaluation.records, strict=True):
        messages, reward = tiny_agent.play(model, tokenizer, row)
        assert record["messages"][: len(messages)] == messages  # `play` stops at the booking
        assert record["reward"] == reward
        num_calls += sum(message["role"] == "tool" for message in messages)
    assert num_calls > 80


def test_batch_size_does_not_change_greedy_results():
    tokenizer = make_tokenizer()
    policy = make_model(tokenizer, seed=2, initializer_range=1.0), tokenizer  # noise that leads elsewhere by prompt
    options = {"max_completion_length": 64, "max_turns": 3}
    one, many = (
        quiet(policy, {"user": Chatterbox}, ask_dataset(12), batch_size=n, **options).records for n in (1, 12)
    )
    assert one == many
    assert len({json.dumps(record["messages"][1:]) for record in one}) > 8
    assert len({record["num_turns"] for record in one}) > 1


@pytest.mark.thorough
def test_batch_size_does_not_change_what_the_quick_start_plays(quickstart_policy):
    users, dataset = booking_users("plain", "chatty"), booking_dataset("test", 12)
    one, many = (quiet(str(quickstart_policy), users, dataset, batch_size=n).records for n in (1, 24))
    assert one == many
    assert len({json.dumps(record["messages"]) for record in one}) > 8
