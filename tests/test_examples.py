# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The examples train a tiny policy that was warm-started to speak their family's format, 20 steps each."""

import json
import math
import runpy
from functools import partial
from pathlib import Path

import pytest
from warm_start import warm_start

from trl_infopo import environments as envs


EXAMPLES = Path(__file__).parents[1] / "examples"

# Oracle, environment, dataset function, and what the example gets besides the defaults for all
FAMILIES = {
    "clarify": ("clarify_oracle", "ClarifyEnv", "clarify_dataset", []),
    "cocode": ("cocode_oracle", "CocodeEnv", "cocode_dataset", []),
    "helpdesk": ("helpdesk_oracle", "HelpdeskEnv", "helpdesk_dataset", []),
    "explore": ("frozen_lake_oracle", "FrozenLakeEnv", "frozen_lake_dataset", ["--game", "frozen_lake"]),
    "mastermind": ("mastermind_oracle", "TextArenaEnv", "text_game_dataset", ["--game", "mastermind"]),
}
OPTIONS = {
    "max_steps": 20,
    "num_tasks": 64,
    "num_eval_tasks": 8,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "num_generations": 4,
    "max_completion_length": 320,
    "generation_kwargs": '{"max_new_tokens": 64}',
    "max_turns": 6,
    "learning_rate": 1e-4,
    "use_cpu": True,
    "bf16": False,
    "dtype": "float32",
    "log_completions": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_steps": 20,
}


SCRIPTS = ["clarify.py", "cocode.py", "helpdesk.py", "explore.py"]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: --model_name_or_path/--model-name-or-path"),
        (
            ["--model_name_or_path", "m", "--num_task", "3"],
            "there is no option --num_task. Did you mean '--num_tasks'?",
        ),
        (["--model_name", "m"], "there is no option --model_name."),
        (["--model_name_or_path", "m", "--num_tasks", "0"], "`num_tasks` is 0, set it to at least 1"),
        (["--model_name_or_path", "m", "--config", "no/such.yaml"], "--config cannot be read"),
        ({"model_name_or_path": "m", "num_eval_tasks": None}, "`num_eval_tasks` is None"),
        ({"model_name_or_path": "m", "info_gain_coef": float("nan")}, "`info_gain_coef` is nan"),
        ({"model_name_or_path": "m", "num_generation": 4}, "Did you mean 'num_generations'?"),
        ({"model_name_or_path": None}, "--model_name_or_path is missing"),
    ],
    ids=str,
)
def test_mistakes_are_said_in_one_line_before_anything_loads(tmp_path, script, options, message, capsys):
    if isinstance(options, dict):
        path = tmp_path / "options.yaml"
        path.write_text(json.dumps(options).replace("NaN", ".nan"))
        options = ["--config", str(path)]
    main = runpy.run_path(str(EXAMPLES / script))["main"]
    with pytest.raises(SystemExit) as error:
        main([*options, "--use_cpu", "true", "--bf16", "false"] if options else [])
    assert error.value.code == 2
    usage, line = capsys.readouterr().err.splitlines()[-2:]
    assert usage.endswith("[options]")
    assert message in line


@pytest.mark.parametrize("script", ["clarify.py", "cocode.py", "helpdesk.py"])
@pytest.mark.parametrize("in_file", [False, True])
def test_unknown_persona(tmp_path, script, in_file, capsys):
    (tmp_path / "options.yaml").write_text("persona: chaty")
    options = ["--config", str(tmp_path / "options.yaml")] if in_file else ["--persona", "chaty"]
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLES / script))["main"](["--model_name_or_path", "m", *options])
    assert "'chatty'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_example_trains_a_warm_started_policy(tmp_path, family):
    if family in ("explore", "mastermind"):
        pytest.importorskip("textarena")
    oracle, environment, make_dataset, arguments = FAMILIES[family]
    factory = getattr(envs, environment)
    if family == "mastermind":
        factory = partial(factory, "Mastermind-v0")
    tasks = getattr(envs, make_dataset)("train", 200, seed=1)
    warm_start(tmp_path / "policy", getattr(envs, oracle), factory, tasks)

    script = runpy.run_path(str(EXAMPLES / f"{'explore' if family == 'mastermind' else family}.py"))
    options = {**OPTIONS, "model_name_or_path": tmp_path / "policy", "output_dir": tmp_path / "agent"}
    script["main"]([*arguments, *(text for name, value in options.items() for text in (f"--{name}", str(value)))])

    state = json.loads((tmp_path / "agent" / "checkpoint-20" / "trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "reward" in log]
    assert len(logs) == 20
    assert sum(log["infopo/turns/mean"] for log in logs) / 20 >= 2
    for log in logs:
        for name, value in log.items():
            assert value is None or math.isfinite(value), name
    # A rollout of two turns or more has a gain
    assert sum(1 - log["infopo/questions/silent_frac"] for log in logs) / 20 >= 0.5
    assert (tmp_path / "agent" / "model.safetensors").exists()
