# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/chat_model`: its reduced task is sound, and its training runs, here with a tiny model."""

import json
import sys
from pathlib import Path

import pytest


sys.path.insert(0, str(Path(__file__).parents[1]))
pytest.importorskip("peft")

from benchmarks.chat_model import gains, training_page
from benchmarks.chat_model import train as training
from benchmarks.chat_model.gains_page import markdown_page
from benchmarks.chat_model.reduced import REDUCED
from benchmarks.learning.arms import TITLES
from benchmarks.learning.results import write_atomically
from benchmarks.learning.warm_start import demonstrations
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_policy, build_tokenizer


def test_the_oracle_succeeds_without_instructions_in_the_prompt():
    tasks = REDUCED.make_dataset("test", 30)
    assert {message["role"] for row in tasks for message in row["prompt"]} == {"user"}
    evaluation = evaluate(REDUCED.oracle, {"user": REDUCED.make_environment}, tasks, max_turns=20, show_progress=False)
    assert all(record["reward"] == 1.0 for record in evaluation.records)
    kinds = {
        kind
        for row, record in zip(tasks, evaluation.records, strict=True)
        for kind in REDUCED.classify(row, record["messages"][1:])
    }
    assert kinds == {"useful", "useless", None}


def test_demonstrations_ask_and_propose():
    conversations = demonstrations(REDUCED, {}, 30, seed=0)["messages"]
    assert all(conversation[0]["role"] == "user" for conversation in conversations)
    assert any(len(conversation) > 4 for conversation in conversations)


def test_the_page_of_gains_is_made_of_the_result():
    assert gains.DOCS.read_text() == markdown_page(json.loads(gains.RESULT.read_text()))


def test_the_page_of_training_is_made_of_the_results():
    assert training.DOCS.read_text() == training_page.markdown_page(
        [training.read_runs(device) for device in training.SIZES]
    )


@pytest.mark.thorough
def test_a_run_keeps_its_log_and_dialogues_before_and_after(monkeypatch, tmp_path):
    tokenizer = build_tokenizer(REDUCED.phrases)
    policy = build_policy(tokenizer)
    monkeypatch.setattr(training, "load_warm_start", lambda sizes, device, cache: (policy, tokenizer))
    sizes = training.ChatSizes(steps=2, num_prompts=2, num_generations=2, num_held_out=4)
    result = training.train("agreement", 0, sizes, cache=tmp_path)
    assert len(result["log"]) == 2
    assert all(entry["reward"] is not None and entry["seconds"] > 0 for entry in result["log"])
    assert len(result["before"]["dialogues"]) == len(result["after"]["dialogues"]) == training.NUM_DIALOGUES
    assert any("lora_" in name for name, _ in policy.named_parameters())  # which is what was measured afterwards
    assert result["settings"] == training.run_settings("agreement", 0, sizes)
    write_atomically(training.result_path("cpu", "agreement", 0, tmp_path), json.dumps(result))
    [(arm, runs)] = training.read_runs("cpu", tmp_path).items()
    page = training_page.markdown_page([{"grpo": runs, arm: runs}, {}])
    assert f"| {TITLES[arm]} | 0 |" in page
