# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Every recipe is read and dry-run as it is; those for a CPU train a tiny model."""

import json
import math
from pathlib import Path

import pytest
import yaml
from tiny_agents import make_agent, tool_call

from trl_infopo import cli, load_traces
from trl_infopo.adapters.tau2_models import load_upstream
from trl_infopo.environments import ENVIRONMENTS


RECIPES = sorted((Path(__file__).parents[1] / "examples" / "recipes").glob("*.yaml"))
GAMES = {"frozen_lake", "sokoban", "text_game"}

# What the tiny model is likely to say, by environment
ACTIONS = {
    "booking": [tool_call("ask", slot="city"), tool_call("ask", slot="day"), tool_call("ask", slot="size")],
    "clarify": ["Any wishes for price, colour, screen, city?", "What about the district, rooms, rent, month?"],
    "cocode": ["What about the empty list?", "How shall it be sorted?", "And the zero amounts?"],
    "helpdesk": ["What is your email address?", tool_call("get_order", order_id="A1"), "Which order?"],
    "frozen_lake": [tool_call("move", direction="right"), tool_call("move", direction="down")],
    "sokoban": [tool_call("move", direction="right"), tool_call("move", direction="down")],
    "text_game": ["[1 2 3 4]", "[2 3 4 5]", "[4 3 2 1]"],
}


def need_packages(environment: str) -> None:
    if "adapters.tau2" in environment:
        try:
            load_upstream()
        except ImportError:
            pytest.skip("needs τ²-bench: tests/upstream/README.md")
    if environment in GAMES:
        pytest.importorskip("gymnasium")
        pytest.importorskip("textarena")


@pytest.mark.quick(7)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_dry_run(recipe, tmp_path, monkeypatch, capsys):
    options = yaml.safe_load(recipe.read_text())
    need_packages(options["environment"])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--config", str(recipe), "--dry_run"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    for shown in (options["environment"], options["model_name_or_path"], "the first task", "Nothing was loaded"):
        assert shown in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_head_tells_how_to_start_and_what_was_not_run(recipe):
    head = "\n".join(line for line in recipe.read_text().splitlines() if line.startswith("#"))
    assert f"examples/recipes/{recipe.name}" in head
    assert "Not run" in head


def test_published_settings_name_their_sources():
    papers = [path for path in RECIPES if path.name.startswith("paper_")]
    assert len(papers) == 4
    for path in papers:
        body = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        settings = yaml.safe_load(path.read_text())
        ours = ("bf16", "vllm_mode", "save_strategy", "save_steps", "logging_steps", "output_dir", "max_tokens")
        for line in body:
            name = line.split(":")[0].strip()
            assert name in ours or "[" in line or name in settings.get("chat_template_kwargs", {}), line
        # On the four GPUs of the authors' scripts: whole groups, and updates that divide what was sampled
        rollouts = 4 * settings["per_device_train_batch_size"] * settings["steps_per_generation"]
        assert rollouts % settings["num_generations"] == 0
        assert settings["steps_per_generation"] % settings["gradient_accumulation_steps"] == 0


def test_every_environment_has_a_recipe_for_a_cpu():
    assert {path.stem for path in RECIPES if path.stem.startswith("cpu_")} == {f"cpu_{name}" for name in ENVIRONMENTS}


@pytest.mark.quick(1)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_recipe_for_a_cpu_trains(environment, tmp_path, monkeypatch):
    need_packages(environment)
    monkeypatch.chdir(tmp_path)
    model, tokenizer = make_agent(ACTIONS[environment], max_position_embeddings=16384, num_hidden_layers=1)
    model.save_pretrained("policy")
    tokenizer.save_pretrained("policy")
    [recipe] = [path for path in RECIPES if path.stem == f"cpu_{environment}"]
    options = {"model_name_or_path": "policy", "max_steps": 2, "output_dir": "agent", "disable_tqdm": True}
    options |= {"generation_kwargs": '{"max_new_tokens": 24}', "max_turns": 3}
    assert cli.main(["train", "--config", str(recipe), *(f"--{name}={value}" for name, value in options.items())]) == 0

    state = json.loads((tmp_path / "agent" / "trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "reward" in log]
    assert [log["step"] for log in logs] == [1, 2]
    assert all(math.isfinite(log["loss"]) for log in logs)
    assert any(log.get("infopo/information_gain/std", 0) > 0 for log in logs)
    assert (tmp_path / "agent" / "adapter_model.safetensors").exists()
    assert len(load_traces(tmp_path / "agent")) == 8
