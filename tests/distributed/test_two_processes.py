# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Real processes, through `accelerate launch`: two of them compute what one does, and none waits for ever."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from launch import CONFIGS, HERE, launch, train
from tiny_agents import make_model, make_tokenizer


pytestmark = pytest.mark.distributed

STEPS = {
    "max_steps": 3,
    "gradient_accumulation_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "log_information_gain": True,  # in the evaluation too
    "save_strategy": "steps",
    "save_steps": 2,
}
RUNS = {
    "full": {
        "questions": [12, 0],
        "resume": True,
        "options": {**STEPS, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    },
    "lora": {
        "questions": [0, 12],
        "resume": True,
        "lora": True,
        "options": {
            **STEPS,
            "gradient_checkpointing_kwargs": {"use_reentrant": True},
            "ddp_find_unused_parameters": False,  # DDP's search for them fails with reentrant checkpointing
        },
    },
    "replay": {"questions": [1, 9], "options": {"info_gain_engine": "replay", "info_gain_estimator": "kl"}},
    "tree": {"questions": [2, 2], "options": {"info_gain_engine": "tree", "gradient_checkpointing": False}},
    "maskless": {  # as FlashAttention
        "questions": [2, 2],
        "options": {"model_init_kwargs": {"attn_implementation": "maskless"}, "gradient_checkpointing": False},
    },
    "silent": {"questions": [0, 0]},
}


@dataclass(frozen=True)
class Layout:
    """What a configuration must come out as: each has a way to exit with 0 without doing what it says."""

    distributed_type: str
    wrapper: str
    lora_wrapper: str
    optimizer: str = "NoneType"
    is_sharded: bool = False


LAYOUTS = {
    "cpu_multi_process": Layout("MULTI_CPU", "DistributedDataParallel", "DistributedDataParallel"),
    "cpu_zero1": Layout("DEEPSPEED", "DeepSpeedEngine", "DeepSpeedEngine", "DeepSpeedZeroOptimizer"),
    "cpu_zero2": Layout("DEEPSPEED", "DeepSpeedEngine", "DeepSpeedEngine", "DeepSpeedZeroOptimizer"),
    "cpu_zero3": Layout("DEEPSPEED", "DeepSpeedEngine", "DeepSpeedEngine", "DeepSpeedZeroOptimizer_Stage3", True),
    "cpu_fsdp2": Layout("FSDP", "FSDPQwen3ForCausalLM", "FSDPPeftModelForCausalLM", is_sharded=True),
}


def fsdp_flag(config: str) -> list[str]:
    return ["--fsdp_on_cpu"] if "fsdp" in config else []


@pytest.fixture(scope="session")
def policy(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("policy")
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="session")
def deepspeed() -> None:
    """DeepSpeed compiles an extension at its first run on a machine, which must not run against the clock."""
    pytest.importorskip("deepspeed")
    build = "from importlib import import_module; import_module('deepspeed.comm.torch').build_shm_op()"
    subprocess.run([sys.executable, "-c", build], check=True, timeout=600, env={**os.environ, "DS_ACCELERATOR": "cpu"})


@pytest.fixture(scope="session")
def one_process(policy, tmp_path_factory) -> dict[str, dict]:
    [results] = train(tmp_path_factory.mktemp("one"), 1, list(RUNS.values()), None, "--model", policy)
    return dict(zip(RUNS, results, strict=True))


@pytest.fixture(scope="session", params=LAYOUTS)
def two_processes(request, policy, tmp_path_factory) -> tuple[Layout, dict[str, list[dict]]]:
    """The layout and, for each run, what its two processes saw: all runs after one start."""
    config = request.param
    if "zero" in config:
        request.getfixturevalue("deepspeed")
    arguments = ["--model", policy, *fsdp_flag(config)]
    results = train(tmp_path_factory.mktemp(config), 2, list(RUNS.values()), config, *arguments)
    return LAYOUTS[config], {run: [process[i] for process in results] for i, run in enumerate(RUNS)}


def assert_close(parameters: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert parameters.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parameters[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_compute_what_one_does(two_processes, one_process, run):
    layout, runs = two_processes
    one, two = one_process[run], runs[run]

    for process in two:
        assert process["distributed_type"] == layout.distributed_type
        assert process["wrapper"] == (layout.lora_wrapper if RUNS[run].get("lora") else layout.wrapper)
        assert process["optimizer"] == layout.optimizer
        assert (process["shard_size"] < 0.6 * one["shard_size"]) == layout.is_sharded
        assert process["engine"] == one["engine"]
        assert_close(process["parameters"], one["parameters"])
    # Both sides step by step: one more forward on a process, and a sharded model would wait for ever
    assert two[0]["forwards"] == two[1]["forwards"]
    assert (one["forwards"] > 0) == any(RUNS[run]["questions"])
    for step, expected in enumerate(one["advantages"]):
        split = two[0]["advantages"][step] + two[1]["advantages"][step]
        for a, b in zip(split, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)  # rounding of gains, over their spread
    logs = [[log for log in seen["logs"] if "infopo/scale" in log] for seen in (one, *two)]
    for expected, log in zip(logs[0], logs[1], strict=True):
        for name, value in expected.items():
            if name.startswith("infopo/") and name != "infopo/scoring_seconds" and value is not None:
                assert log[name] == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("run", ["full", "lora"])
def test_a_resumed_training_ends_where_the_other_did(two_processes, run):
    _, runs = two_processes
    for process in runs[run]:
        assert process["steps"] == [0, 1, 2]
        assert process["resumed"]["steps"] == [2]
        for name, value in process["parameters"].items():
            torch.testing.assert_close(process["resumed"]["parameters"][name], value, atol=1e-7, rtol=0)


@pytest.mark.parametrize("run", ["full", "lora"])
def test_an_evaluation_during_training_is_scored(two_processes, run):
    _, runs = two_processes
    for process in runs[run]:
        [log] = [log for log in process["logs"] if "eval_loss" in log and "eval_reward" in log][:1]
        assert log["step"] == 2
        assert log["eval_infopo/turns/max"] == 13


def test_runs_are_told_apart(one_process):
    """The tests above would pass on runs that do nothing."""
    full, lora, silent = (one_process[name]["parameters"] for name in ("full", "lora", "silent"))
    assert [one_process[name]["engine"] for name in ("replay", "tree", "maskless")] == ["replay", "tree", "tree"]
    moved = [name for name in full if not torch.allclose(full[name], silent[name], atol=1e-3)]
    assert len(moved) > 10
    assert max(value.abs().max() for name, value in lora.items() if "lora_B" in name) > 1e-3


# ---------------------------------------------------------------------------------------------------- conversations


def talk(output_dir: Path, config: str, *num_replies: int, flags: tuple[str, ...] = ()) -> list[dict]:
    arguments = ["--output_dir", str(output_dir), "--processes", "2", "--num_replies", *map(str, num_replies), *flags]
    launch(HERE / "talk.py", [*arguments, *fsdp_flag(config)], config)
    return [json.loads((output_dir / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize(
    ("config", "fraction"), [("cpu_multi_process", "1"), ("cpu_zero3", "0.25"), ("cpu_zero3", "1"), ("cpu_fsdp2", "1")]
)
def test_processes_talk_until_the_last_one_is_done(tmp_path, request, config, fraction):
    if "zero" in config:
        request.getfixturevalue("deepspeed")
    short, long = talk(tmp_path, config, 0, 6, flags=("--min_ready_fraction", fraction))
    assert [process["wrapper"] for process in (short, long)] == [LAYOUTS[config].wrapper] * 2
    assert short["error"] is long["error"] is None
    assert short["rounds"] == long["rounds"] > 6
    assert len(long["logs"]) == 2
    assert all(log["infopo/turns/max"] > 2 for log in long["logs"])
    assert all(log["infopo/stop/own"] == 0.5 for log in [*short["logs"], *long["logs"]])


@pytest.mark.parametrize("flags", [(), ("--in_tool",), ("--failing", "opening")])
def test_a_user_who_dies_stops_all_processes(tmp_path, flags):
    alive, bereaved = talk(tmp_path, "cpu_multi_process", 2, -2, flags=flags)
    assert alive["error"] == bereaved["error"]
    assert "of process 1 at step 1 failed: no line after 3 attempts" in alive["error"]
    assert len(alive["logs"]) == 1


@pytest.mark.parametrize(("method", "cause"), [("on_end", "no end"), ("get_reward", "no judge")])
def test_an_environment_that_fails_stops_all_processes(tmp_path, method, cause):
    alive, bereaved = talk(tmp_path, "cpu_multi_process", 2, -2, flags=("--failing", method))
    where = rf"`UnequalEnvironment.{method}` failed in rollout \d of process 1 at step 1: '{cause}'"
    assert re.fullmatch(where, bereaved["error"])
    assert alive["error"] == f"Another process failed: {bereaved['error']}"
    assert len(alive["logs"]) == 1


@pytest.mark.parametrize("flags", [(), ("--in_tool",)], ids=["our loop", "TRL's loop"])
def test_a_reset_that_fails_stops_all_processes(tmp_path, flags):
    alive, bereaved = talk(tmp_path, "cpu_multi_process", 2, -2, flags=("--failing", "reset", *flags))
    assert (alive["error"], bereaved["error"]) == ("Another process failed: 'no task'", "'no task'")
    assert len(alive["logs"]) == 1


# -------------------------------------------------------------------------------------------------- training script

SCRIPT_OPTIONS = {
    "environment": "clarify",
    "num_tasks": 8,
    "num_eval_tasks": 2,
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "per_device_eval_batch_size": 2,
    "num_generations": 2,
    "max_completion_length": 150,
    "generation_kwargs": '{"max_new_tokens": 12}',
    "max_turns": 3,
    "eval_steps": 2,
    "save_steps": 2,
    "use_cpu": True,
    "disable_tqdm": True,
    "report_to": "none",
    "log_completions": False,
}


@pytest.mark.parametrize(
    ("config", "distributed_type", "zero_stage", "adapter"),
    [
        ("single_process", "NO", None, []),
        ("multi_gpu", "MULTI_CPU", None, ["--use_peft"]),
        ("zero1", "DEEPSPEED", 1, []),
        ("zero2", "DEEPSPEED", 2, ["--use_peft"]),
        ("zero3", "DEEPSPEED", 3, ["--use_peft"]),
        ("fsdp2", "FSDP", None, ["--use_peft"]),
    ],
)
def test_the_script_runs_under_each_configuration(
    tmp_path, request, policy, config, distributed_type, zero_stage, adapter
):
    """The files that users launch with, but for the number of processes."""
    if zero_stage is not None:
        request.getfixturevalue("deepspeed")
    processes = 1 if config == "single_process" else 2
    options = {**SCRIPT_OPTIONS, "model_name_or_path": policy, "output_dir": tmp_path / "agent"}
    # transformers takes bfloat16 on a CPU only with `use_cpu`, with which accelerate does not shard
    mixed_precision = "no" if config == "fsdp2" else "bf16"
    if config == "fsdp2":
        options |= {"use_cpu": False, "bf16": False}
    recipe = HERE.parents[1] / "examples" / "recipes" / "clarify.yaml"
    arguments = [str(tmp_path), *fsdp_flag(config), "--config", str(recipe), *adapter]
    arguments += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    launch(
        HERE / "script.py",
        arguments,
        config,
        ("--num_processes", str(processes), "--mixed_precision", mixed_precision),
    )

    for rank in range(processes):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == {
            "distributed_type": distributed_type,
            "num_processes": processes,
            "mixed_precision": mixed_precision,
            "zero_stage": zero_stage,
        }
    state = json.loads((tmp_path / "agent" / "checkpoint-2" / "trainer_state.json").read_text())
    logs = state["log_history"]
    assert [log["step"] for log in logs if "loss" in log] == [1, 2]
    assert [log["step"] for log in logs if "eval_reward" in log] == [2]
    assert all(log["infopo/information_gain/std"] > 0 for log in logs if "loss" in log)
    weights = "adapter_model.safetensors" if adapter else "model.safetensors"
    assert (tmp_path / "agent" / weights).stat().st_size > 1000


def test_cpu_configurations_are_the_others_in_small():
    """What the tests run with says what users run with."""
    sizes = {"num_processes", "mixed_precision"}
    for path in CONFIGS.glob("cpu_*.yaml"):
        name = path.stem.removeprefix("cpu_").replace("multi_process", "multi_gpu")
        small, large = (yaml.safe_load(p.read_text()) for p in (path, CONFIGS / f"{name}.yaml"))
        assert small.keys() == large.keys()
        assert {key for key in small if small[key] != large[key]} <= sizes, name
    assert len(list(CONFIGS.glob("*.yaml"))) == 12


# ------------------------------------------------------------------------------------------------------------ hangs


def test_a_hang_ends_at_the_time_limit(tmp_path):
    script = tmp_path / "hang.py"
    script.write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).write_text(str(os.getpid()))\n"
        "time.sleep(600 if os.environ['RANK'] == '1' else 0)\n"
    )
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="still running after 15 s"):
        launch(script, [], "cpu_multi_process", time_limit=15)
    assert time.monotonic() - start < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "1").read_text()), 0)
