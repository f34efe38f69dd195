# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import math
import sys
from copy import copy
from types import SimpleNamespace

import pyarrow.parquet
import pytest
from scripted_rollouts import parity_reward
from tiny_agents import make_tokenizer
from trainer_helpers import Spy, dataset, make_trainer
from transformers import TrainerState

from trl_infopo import InfoPOConfig, load_traces
from trl_infopo._show import as_json_text
from trl_infopo.traces import TokenTexts, TraceWriter
from trl_infopo.turns import content_text


def train(output_dir, mode="rollout_func", **options):
    trainer = make_trainer(output_dir, mode, options={"log_traces": True, **options})
    trainer.train()
    return trainer


def files(output_dir) -> list[str]:
    return sorted(path.name for path in (output_dir / "traces").iterdir())


# ---- what is written


@pytest.mark.parametrize(
    "options",
    [
        {"info_gain_engine": "tree"},
        {"info_gain_engine": "replay"},
        {"info_gain_engine": "replay", "num_iterations": 2},  # TRL's log-probabilities are the factual side
    ],
)
def test_a_gain_is_the_mean_move_of_the_next_action(tmp_path, options):
    train(tmp_path, temperature=0.7, **options)
    num_scored = 0
    for row in load_traces(tmp_path):
        for turn, following in zip(row["turns"], row["turns"][1:], strict=False):
            assert len(following["tokens"]) == len(following["logps"]) == len(following["masked_logps"])
            moves = [a - b for a, b in zip(following["logps"], following["masked_logps"], strict=True)]
            assert sum(moves) / len(moves) == pytest.approx(turn["information_gain"], abs=1e-5)
            assert turn["masked_feedback"] == "No information found."
            num_scored += 1
        assert row["turns"][0]["logps"] is row["turns"][-1]["information_gain"] is None
    assert num_scored > 10


def test_tokens_are_recorded_with_the_kl_estimator_too(tmp_path):
    trainers = [train(tmp_path / name, info_gain_estimator=name, max_steps=1) for name in ("log_ratio", "kl")]
    ratio, kl = (load_traces(trainer.args.output_dir)["turns"] for trainer in trainers)
    for one, other in zip(ratio, kl, strict=True):
        for turn, same in zip(one, other, strict=True):
            assert turn["logps"] == pytest.approx(same["logps"], abs=1e-5)
            assert turn["masked_logps"] == pytest.approx(same["masked_logps"], abs=1e-5)
    assert ratio != kl  # the gains differ


def test_advantages_are_those_that_train(tmp_path, monkeypatch):
    fusions = Spy(monkeypatch, "fuse_advantages")
    train(tmp_path)
    traces = load_traces(tmp_path)
    assert traces["step"] == [1] * 8 + [2] * 8
    for step, ((rewards, outcome, gains, _, _), _, fused) in enumerate(fusions.calls):
        for i in range(8):
            row = traces[8 * step + i]
            assert (row["group"], row["rollout"], row["split"]) == (i // 4, i % 4, "train")
            assert row["reward"] == row["rewards"]["parity_reward"] == rewards[i]
            assert row["outcome_advantage"] == outcome[i]
            assert row["gate"] == fused.gate[i]
            assert row["scale"] == fused.scale
            for k, turn in enumerate(row["turns"]):
                assert turn["advantage"] == fused.turn_advantages[i, k]
                if math.isnan(gains[i, k]):
                    assert turn["information_gain"] is turn["information_advantage"] is None
                else:
                    assert turn["information_gain"] == gains[i, k]
                    assert turn["information_advantage"] == fused.information_advantages[i, k]


@pytest.mark.quick(2)
@pytest.mark.parametrize("mode", ["environment", "tools", "plain"])
@pytest.mark.parametrize("coef", [0.0, 0.5])
def test_rollouts_without_gains_are_traced_too(tmp_path, mode, coef):
    train(tmp_path, mode, info_gain_coef=coef, max_steps=1)
    traces = load_traces(tmp_path)
    assert len(traces) == 8
    for row in traces:
        assert row["turns"]
        assert all(turn["tokens"] for turn in row["turns"])
        scored = mode != "plain" and coef
        assert (row["gate"] is None) == (not scored)
        if not scored:
            assert all(turn["advantage"] == row["outcome_advantage"] for turn in row["turns"])
        if mode != "plain":
            assert row["stop_reason"] in ("answered", "max_turns", "max_tokens")
            results = [m["content"] for m in json.loads(row["completion"]) if m["role"] == "tool"]
            shown = [turn["feedback"] for turn in row["turns"] if turn["feedback"] is not None]
            assert "\n".join(shown) == "\n".join(results)


def test_whole_groups_and_no_more_rollouts_than_allowed(tmp_path):
    train(tmp_path, max_traces_per_step=7)
    traces = load_traces(tmp_path)
    assert traces["rollout"] == [0, 1, 2, 3] * 2
    assert set(traces["group"]) == {0}


def test_a_batch_is_written_once_at_the_next_log(tmp_path):
    train(tmp_path, max_steps=5, logging_steps=2, num_iterations=2)
    assert files(tmp_path) == ["train-0000002-0.parquet", "train-0000004-0.parquet", "train-0000005-0.parquet"]
    assert len(load_traces(tmp_path)) == 24


def test_evaluation_is_traced_beside_training(tmp_path):
    trainer = make_trainer(tmp_path, "rollout_func", options={"log_traces": True}, eval_dataset=dataset())
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    assert [name for name in files(tmp_path) if "eval" in name] == ["eval-0000000-0.parquet", "eval-0000002-0.parquet"]


def test_datasets_that_are_evaluated_at_one_step_are_all_traced(tmp_path):
    data = dataset()
    evaluated = {"few": data.select(range(4)), "others": data.select(range(4, 8))}
    trainer = make_trainer(tmp_path, "rollout_func", options={"log_traces": True}, eval_dataset=evaluated)
    trainer.evaluate()
    traces = load_traces(tmp_path)
    prompts = {json.loads(prompt)[0]["content"] for prompt in traces["prompt"]}  # of the last batches
    assert all(prompts & {row["prompt"][0]["content"] for row in rows} for rows in evaluated.values())
    # A group is one task
    keys = list(zip(traces["group"], traces["rollout"], strict=True))
    assert sorted(set(keys)) == keys
    assert len(set(zip(traces["group"], traces["prompt"], strict=True))) == len(set(traces["group"]))


def test_off_by_default_and_without_a_trace(tmp_path):
    trainer = make_trainer(tmp_path, "rollout_func")
    trainer.train()
    assert not any(isinstance(callback, TraceWriter) for callback in trainer.callback_handler.callbacks)
    assert not (tmp_path / "traces").exists()
    with pytest.raises(FileNotFoundError, match="holds no traces"):
        load_traces(tmp_path)


def test_nothing_but_the_rollouts_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hidden-in-the-environment")
    trainer = make_trainer(
        tmp_path,
        "plain",
        options={"log_traces": True, "max_steps": 1},
        train_dataset=dataset(goal=["hidden-in-a-column"]),
    )
    trainer.train()
    [path] = (tmp_path / "traces").iterdir()
    assert "hidden" not in str(pyarrow.parquet.read_table(path).to_pylist())


def test_a_cap_below_the_size_of_a_group_is_an_error(tmp_path):
    options = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "max_traces_per_step": 4}
    InfoPOConfig(**options)
    with pytest.raises(ValueError, match="`max_traces_per_step` is 4 and `num_generations` is 8"):
        InfoPOConfig(**options, log_traces=True)

    with pytest.raises(ValueError, match="`max_traces_per_step` is 8 and `num_generations_eval` is 16"):
        InfoPOConfig(**options | {"max_traces_per_step": 8}, num_generations_eval=16, log_traces=True)


def test_columns_of_text_have_room(tmp_path):
    """For more than 2 GiB."""
    train(tmp_path)
    features = load_traces(tmp_path).features
    assert features["completion"].dtype == "large_string"
    assert features["turns"].feature["tokens"].feature.dtype == "large_string"


# ---- resuming


def test_a_resumed_run_has_every_rollout_once(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 5}
    train(tmp_path, **options)
    whole = load_traces(tmp_path).to_list()
    (tmp_path / "traces" / "train-0000005-0.tmp").write_bytes(b"PAR1")
    (tmp_path / "traces" / "train-0000009-0.parquet").write_bytes(b"")  # of a run that had come further
    resumed = make_trainer(tmp_path, "rollout_func", options={"log_traces": True, **options})
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert files(tmp_path) == [f"train-000000{step}-0.parquet" for step in range(1, 6)]
    traces = load_traces(tmp_path)
    assert traces["step"] == [row["step"] for row in whole]
    assert traces.to_list()[:16] == whole[:16]


def test_unfinished_files_are_not_read(tmp_path):
    train(tmp_path, max_steps=1)
    (tmp_path / "traces" / "train-0000002-0.tmp").write_bytes(b"PAR1")
    assert len(load_traces(tmp_path)) == len(load_traces(tmp_path / "traces")) == 8


def test_a_run_resumed_with_another_reward_function_can_be_read(tmp_path):
    def length(completion_ids, **kwargs):
        return [float(len(ids)) for ids in completion_ids]

    train(tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    trainer = make_trainer(
        tmp_path,
        "rollout_func",
        options={"log_traces": True, "max_steps": 2},
        reward_funcs=[parity_reward, length],
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    rewards = load_traces(tmp_path)["rewards"]
    assert [row["length"] is None for row in rewards] == [True] * 8 + [False] * 8


# ---- trackers


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_trackers_get_a_table_of_the_turns(tmp_path, monkeypatch, tracker):
    sent = []
    fake = SimpleNamespace(Table=lambda dataframe: dataframe, log=sent.append, run=object())
    monkeypatch.setitem(sys.modules, tracker, fake)
    on_log = TraceWriter.on_log

    def tracked(writer, args, *rest, **kwargs):
        args = copy(args)
        args.report_to = [tracker]  # here alone: TRL would look for a real one
        on_log(writer, args, *rest, **kwargs)

    monkeypatch.setattr(TraceWriter, "on_log", tracked)
    train(tmp_path, max_steps=1)
    [table] = [log["traces"] for log in sent]
    turns = [turn for row in load_traces(tmp_path) for turn in row["turns"]]
    assert len(table) == len(turns) == 20
    assert table["action"].tolist() == ["".join(turn["tokens"]) for turn in turns]
    assert table["turn"].tolist() == [1, 1, 2, 1, 2, 3, 1, 2, 3, 4] * 2


# ---- texts


def test_texts_of_tokens_make_up_the_whole():
    tokenizer = make_tokenizer()
    texts = TokenTexts(tokenizer)
    for text in ("paris please", "schön ☂ 日本語 \N{GRINNING FACE} ok", "<|im_end|>", ""):
        ids = tokenizer.encode(text)
        assert "".join(texts(ids)) == text
        assert len(texts(ids)) == len(ids)


def test_messages_with_arguments_of_any_type_are_text():
    call = {"function": {"name": "book", "arguments": {"n": 1, "at": [None, "x", {"y": 0.5}]}}}
    messages = [{"role": "assistant", "content": "é", "tool_calls": [call]}]
    assert json.loads(as_json_text(messages)) == messages
    image = [{"role": "user", "content": [{"type": "image", "image": object}]}]
    assert json.loads(as_json_text(image)) == [
        {"role": "user", "content": [{"type": "image", "image": "<class 'object'>"}]}
    ]
    nested = []
    for _ in range(100_000):
        nested = [nested]
    call["function"]["arguments"] = nested
    [message] = json.loads(as_json_text(messages))
    assert message["content"] == "é"


def test_text_of_feedback():
    assert content_text("one") == "one"
    assert content_text([{"type": "text", "text": "two"}, {"type": "image"}]) == "two<image>"


def test_only_traces_of_later_steps_are_removed(tmp_path):
    directory = tmp_path / "traces"
    directory.mkdir()
    for name in (
        "eval-0000000-0.parquet",
        "train-0000004-0.parquet",
        "train-0000004-1.parquet",
        "train-0000006-1.tmp",
        "best.parquet",  # somebody else's
    ):
        (directory / name).touch()
    writer = TraceWriter(8, make_tokenizer(), ["reward"])
    state = TrainerState(global_step=3, is_local_process_zero=False)
    args = SimpleNamespace(output_dir=str(tmp_path))
    writer.on_train_begin(args, state, None)
    assert len(files(tmp_path)) == 5
    state.is_local_process_zero = True
    writer.on_train_begin(args, state, None)
    assert files(tmp_path) == ["best.parquet", "eval-0000000-0.parquet"]
