# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Two steps of a tiny policy in the real τ²-bench: what it saw and sampled, what is trained on, and the gains."""

import json
import math
from functools import cache, partial

import pytest
import torch
from misbehaving_server import MisbehavingServer, fails, says
from oracle_server import serve_oracle
from test_tau2 import tau2
from tiny_agents import CALLS, make_model, make_tokenizer, tool_call
from tokenizers import AddedToken

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo._schemas import read_schemas
from trl_infopo.users import UserSimulatorError


# What the tiny policy is likely to say, and what the user answers: all of it differs, for gains that do
SAID = {
    "retail": [
        tool_call("find_user_id_by_name_zip", first_name="Yusuf", last_name="Rossi", zip="19122"),
        tool_call("get_order_details", order_id="#W2378156"),
        tool_call("fly", to="rome"),
        "Who are you?",
    ],
    "telecom": [
        tool_call("get_customer_by_phone", phone_number="555-123-2002"),
        tool_call("get_customer_by_id", customer_id="C1001"),
        "Please: check_status_bar",
        "Goodbye.",
    ],
}
REPLIES = ["Yusuf Rossi, 19122.", "I said so.", "No."]


@cache
def make_policy(domain):
    """As `make_agent`, with a token for each line of the prompt, which would be twenty thousand otherwise."""
    tokenizer = make_tokenizer("qwen2_5")
    prompt, schemas = tau2.describe_domain(domain)
    lines = {line.strip() for line in prompt.splitlines()} | set(map(json.dumps, read_schemas("", schemas).values()))
    tokens = [*SAID[domain], *(line for line in lines if len(line) > 8)]
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in tokens])
    model = make_model(tokenizer, initializer_range=0.08, max_position_embeddings=32768, num_hidden_layers=1)
    with torch.no_grad():
        bias = model.get_output_embeddings().weight[:, 0]
        bias[tokenizer.convert_tokens_to_ids(CALLS)] = -4.0
        bias[tokenizer.eos_token_id] = 1.6  # short actions
        bias[tokenizer.convert_tokens_to_ids(SAID[domain])] = 2.0 - math.log(len(SAID[domain]))
    return model, tokenizer


def answer(request):
    from tau2_script import completion

    messages = request["messages"]
    text = messages[-1]["content"] or ""
    if messages[-1]["role"] == "user" and text.startswith("Please: "):
        function = {"name": text.removeprefix("Please: ").strip(), "arguments": "{}"}
        call = {"id": f"u{len(messages)}", "type": "function", "function": function}
        return completion({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")
    said = "###STOP###" if "Goodbye" in text else REPLIES[len(messages) % 3]
    return completion({"role": "assistant", "content": said})


def train(tmp_path, domain, url, **options):
    model, tokenizer = make_policy(domain)
    options = {
        "output_dir": str(tmp_path),
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "num_generations": 2,
        "max_turns": 4,
        "max_completion_length": 6000,
        "generation_kwargs": {"max_new_tokens": 24},
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **options,
    }
    models = {"user_model": "u", "user_base_url": url, "judge_model": "j", "judge_base_url": url}
    trainer = InfoPOTrainer(
        model=model,
        args=InfoPOConfig(**options),
        train_dataset=tau2.tau2_dataset(domain, "train", 8),
        processing_class=tokenizer,
        environment_factory=partial(tau2.Tau2Env, domain, **models, max_retries=0),
    )
    batches = []
    score = trainer._generate_and_score_completions

    def spy(inputs):
        output = score(inputs)
        batches.append((output, list(trainer._episodes)))
        return output

    trainer._generate_and_score_completions = spy
    trainer.train()
    return trainer, batches


@pytest.mark.parametrize("coef", [0.5, 0.0])
@pytest.mark.parametrize("domain", SAID)
def test_two_steps_train_on_what_the_policy_sampled(tmp_path, monkeypatch, domain, coef):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serve_oracle() as server:
        server.answer = answer
        trainer, batches = train(tmp_path, domain, server.url, info_gain_coef=coef)
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert [log["step"] for log in logs] == [1, 2]
    assert all(math.isfinite(log["loss"]) and math.isfinite(log["grad_norm"]) for log in logs)
    assert {"infopo/environment/steps", "infopo/environment/errors", "rewards/Tau2Env/mean"} <= logs[0].keys()
    if coef:
        gains = [log["infopo/information_gain/mean"] for log in logs]
        assert all(map(math.isfinite, gains))
        assert any(log["infopo/information_gain/std"] > 0 for log in logs)
    tokenizer, kinds, num_compared = trainer._tokenizer, set(), 0
    for output, episodes in batches:
        for i, episode in enumerate(episodes):
            ids = episode.completion_ids
            mask = output["tool_mask"][i][output["completion_mask"][i].bool()].tolist()
            assert output["completion_ids"][i][: len(ids)].tolist() == ids
            assert mask == episode.action_mask
            kinds |= {message["role"] for message in episode.completion}
            # What is masked is what the template writes of the feedback, what is not are the policy's own messages
            external = tokenizer.decode([token for token, own in zip(ids, mask, strict=True) if not own])
            for message in episode.completion:
                if message["role"] != "assistant":
                    assert message["content"] in external
            own = [message for message in episode.completion if message["role"] == "assistant"]
            if any(bool(message["content"]) + len(message.get("tool_calls") or []) > 1 for message in own):
                continue  # words and calls without the line breaks that the template would write between them
            rendered = tokenizer.apply_chat_template(
                episode.prompt + episode.completion,
                tools=trainer._env_tools[None],
                chat_template=trainer.chat_template,
                tokenize=False,
            )
            assert rendered.removesuffix("\n") == tokenizer.decode(episode.prompt_ids + ids).removesuffix("\n")
            num_compared += 1
    assert kinds == {"assistant", "user", "tool"}
    assert num_compared >= 2


def test_a_user_who_fails_stops_the_training_with_the_name_of_the_rollout(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with (
        MisbehavingServer(*[says("Hello.")] * 8, fails(500)) as server,
        pytest.raises(UserSimulatorError, match=r"The user of rollout \d of process 0 at step 0 failed: The user mod"),
    ):
        train(tmp_path, "telecom", server.url)
