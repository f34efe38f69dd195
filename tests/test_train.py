# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""`trl-infopo train` and `trl-infopo eval` with an environment, a user, tools and rewards of one's own."""

import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from safetensors.torch import load_file
from tiny_agents import make_agent, tool_call

from trl_infopo import cli
from trl_infopo.scripts.env import print_messages
from trl_infopo.scripts.loading import load_rows


ROOT = Path(__file__).parents[1]
MODULE = '''
from trl_infopo.users import Fact, Scenario, ScriptedUser, UserSimulator


class Travel:
    """Asks where to go, in words or with a tool."""

    user: UserSimulator
    masked_feedback = "I have nothing to add."

    def __init__(self, make_user=ScriptedUser):
        self.make_user = make_user

    def reset(self, city, **row):
        self.city, self.asked = city, 0
        self.user = self.make_user(Scenario("", (Fact("city", city, ("city",), "I want to go to {value}."),)), 0)

    def ask(self, slot: str) -> str:
        """
        Ask the user.

        Args:
            slot: What to ask for, one of `city`.
        """
        self.asked += 1
        return self.city if slot == "city" else "I have nothing to add."

    def get_reward(self) -> float:
        return 0.25 * self.asked


class Paid(Travel):
    def __init__(self, bonus=0.0):
        super().__init__()
        self.bonus = bonus

    def get_reward(self) -> float:
        return self.bonus


class Broken(Travel):
    def __init__(self):
        raise ValueError("there is no key")


def make_user(scenario, seed):
    return ScriptedUser(scenario, seed, "terse")


def look_up(word: str) -> str:
    """
    Look a word up.

    Args:
        word: The word.
    """
    return f"{word} is a word"


def brevity(completion_ids, **kwargs):
    return [-0.01 * len(ids) for ids in completion_ids]


def rows():
    cities = ["Paris", "Oslo", "Lima", "Rome"]
    return [{"prompt": [{"role": "user", "content": "I want a trip."}], "city": city} for city in cities]


def rows_in(country, split):
    return [{"prompt": [{"role": "user", "content": f"I want a {split} trip."}], "city": country}] * 4
'''
RECIPE = {
    "environment": "own_travel:Travel",
    "dataset": "own_travel:rows",
    "model_name_or_path": "policy",
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "num_generations": 2,
    "max_completion_length": 300,
    "max_turns": 3,
    "generation_kwargs": {"max_new_tokens": 16},
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "save_steps": 1,
}


@pytest.fixture(autouse=True)
def own_directory(tmp_path_factory, tmp_path, monkeypatch):
    """Where the module, the tiny model and the recipe lie; `tmp_path` is where runs go."""
    folder = tmp_path_factory.getbasetemp() / "own"
    if not folder.exists():
        folder.mkdir()
        (folder / "own_travel.py").write_text(MODULE)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
        model, tokenizer = make_agent(
            [tool_call("ask", slot="city"), tool_call("ask", slot="day"), tool_call("look_up", word="city")]
        )
        model.save_pretrained(folder / "policy")
        tokenizer.save_pretrained(folder / "policy")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_travel", raising=False)
    return folder


def train(output_dir, *arguments: str) -> list[dict]:
    """Train by the recipe, and give what was logged at each step."""
    assert cli.main(["train", "--config", "recipe.yaml", "--output_dir", str(output_dir), *arguments]) == 0
    state = json.loads((Path(output_dir) / "trainer_state.json").read_text())
    return [log for log in state["log_history"] if "reward" in log]


def weights(folder) -> dict:
    return load_file(Path(folder) / "model.safetensors")


@pytest.mark.thorough
@pytest.mark.skipif(
    version("trl").startswith("1.15."),
    reason="on a CPU, TRL 1.15 trains in the process of the tests alone: plain_head.py",
)
def test_own_environment_is_trained_launched_resumed_and_evaluated(own_directory, tmp_path, capsys):
    logs = train(tmp_path / "agent")
    assert [log["step"] for log in logs] == [1, 2]
    assert any(log["infopo/information_gain/std"] > 0 for log in logs)
    trained = weights(tmp_path / "agent")
    assert any((trained[name] != before).any() for name, before in weights("policy").items())

    # `accelerate launch` of the module is the same run
    config = ROOT / "examples" / "accelerate_configs" / "cpu_single_process.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command += [
        "-m",
        "trl_infopo.scripts.train",
        "--config",
        "recipe.yaml",
        "--output_dir",
        str(tmp_path / "launched"),
    ]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=own_directory, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    launched = weights(tmp_path / "launched")
    assert all((trained[name] == launched[name]).all() for name in trained)

    # A run that was ended after one step goes on to the same weights
    train(tmp_path / "resumed", "--max_steps", "1")
    train(tmp_path / "resumed", "--resume_from_checkpoint", "True")
    resumed = weights(tmp_path / "resumed")
    assert all((trained[name] == resumed[name]).all() for name in trained)

    capsys.readouterr()
    options = ["--environment", "own_travel:Travel", "--dataset", "own_travel:rows", "--users", "plain"]
    options += ["own_travel:make_user", "--max_turns", "3", "--max_completion_length", "300", "--num_tasks", "3"]
    assert (
        cli.main(["eval", "--policies", str(tmp_path / "agent"), *options, "--output_dir", str(tmp_path / "e")]) == 0
    )
    output = capsys.readouterr().out
    assert "agent in own_travel:Travel, 3 tasks of own_travel:rows" in output
    assert "own_travel:make_user" in output
    assert len((tmp_path / "e" / "agent" / "episodes.jsonl").read_text().splitlines()) == 1 + 2 * 3


def test_own_user_tools_and_rewards_beside_those_of_the_environment(tmp_path):
    options = [
        "--user",
        "own_travel:make_user",
        "--tools",
        "own_travel:look_up",
        "--reward_funcs",
        "own_travel:brevity",
    ]
    log = train(tmp_path / "agent", *options, "--max_steps", "1")[0]
    assert {"rewards/brevity/mean", "infopo/user/calls"} <= log.keys()
    assert log["rewards/brevity/mean"] < 0


def test_arguments_of_the_environment_reach_it_and_its_tasks(tmp_path, capsys):
    options = ["--environment", "own_travel:Paid", "--dataset", "own_travel:rows_in", "--dataset_kwargs"]
    assert cli.main(["train", "--config", "recipe.yaml", *options, '{"country": "Peru"}', "--dry_run"]) == 0
    assert "I want a train trip." in " ".join(capsys.readouterr().out.split())
    (tmp_path / "eval.yaml").write_text(
        "policies: [policy]\nenvironment: own_travel:Paid\ndataset: own_travel:rows_in\n"
        "environment_kwargs:\n  bonus: 0.5\ndataset_kwargs:\n  country: Peru\n"
    )
    options = ["--max_turns", "1", "--max_completion_length", "300", "--output_dir", str(tmp_path / "e")]
    assert cli.main(["eval", "--config", str(tmp_path / "eval.yaml"), *options]) == 0
    _, *records = map(json.loads, (tmp_path / "e" / "policy" / "episodes.jsonl").read_text().splitlines())
    assert {record["reward"] for record in records} == {0.5}
    assert {record["messages"][0]["content"] for record in records} == {"I want a test trip."}


def test_arguments_that_nothing_takes_are_refused(capsys):
    for option, value, said in (
        (
            "environment_kwargs",
            '{"bonsu": 1}',
            "which `Paid` does not take:|It takes ['bonus']. Did you mean 'bonus'?",
        ),
        ("environment_kwargs", "[1]", "write a JSON object"),
        ("dataset_kwargs", "{", "is not JSON"),
        ("dataset_kwargs", '{"city": 1}', "which `rows` does not take"),
    ):
        for command in (["train", "--config", "recipe.yaml"], ["eval", "--policies", "policy"]):
            options = ["--environment", "own_travel:Paid", "--dataset", "own_travel:rows"]
            with pytest.raises(SystemExit):
                cli.main([*command, *options, f"--{option}", value])
            error = " ".join(capsys.readouterr().err.split())
            assert all(part in error for part in (f"`{option}` ", *said.split("|"))), error


def test_tools_and_a_reward_are_enough(tmp_path):
    recipe = {name: value for name, value in RECIPE.items() if name not in ("environment", "dataset", "max_turns")}
    path = tmp_path / "tools.yaml"
    path.write_text(yaml.safe_dump(recipe | {"tools": ["own_travel:look_up"], "reward_funcs": ["own_travel:brevity"]}))
    rows = [{"prompt": [{"role": "user", "content": f"Look {word} up."}]} for word in ("city", "day")]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    options = ["--dataset", str(tmp_path / "rows.json"), "--output_dir", str(tmp_path / "agent"), "--max_steps", "1"]
    assert cli.main(["train", "--config", str(path), *options]) == 0
    assert (tmp_path / "agent" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--environment", "own_travel:Travle"], "'own_travel' has no 'Travle'. Did you mean 'Travel'?"),
        (["--environment", "own_travl:Travel"], "cannot be imported: ModuleNotFoundError"),
        (["--environment", "own_travel:rows", "--user", "plain"], "rows has no user to choose"),
        (["--user", "own_travel:make_uer"], "Did you mean 'make_user'?"),
        (["--reward_funcs", "own_travel:brevty"], "Did you mean 'brevity'?"),
        (["--reward_funcs", "acuracy_reward"], "Did you mean 'accuracy_reward'?"),
        (["--tools", "own_travel:look_pu"], "Did you mean 'look_up'?"),
        (["--dataset", "own_travel:row"], "Did you mean 'rows'?"),
        (["--environment", "own_travel.py:Travel"], "Write it without '.py': own_travel:Travel."),
        (["--dataset", "none.jsonl"], "`dataset` is 'none.jsonl', which cannot be read: there is no such file"),
        (["--dataset", "no/such-dataset"], "`dataset` is 'no/such-dataset', which cannot be read"),
        (["--dataset", "own_travel:MODULE"], "'own_travel' has no 'MODULE'"),
        (["--eval_strategy", "steps"], "`eval_dataset` is missing"),
        (["--eval_dataset", "own_travel:rows"], "`eval_dataset` is set, and does nothing without `eval_strategy`"),
        (["--dataset_config", "main"], "`dataset_config` is set, and does nothing without a `dataset` of the hub"),
        (["--user_base_url", "http://a:b@c/v1"], "`user_base_url` is set, and does nothing without a `user` chat:"),
        (["--info_gain_coef", "-1"], "`info_gain_coef` is -1.0, set it to at least 0"),
        (["--output_dir", "recipe.yaml"], "`output_dir` is 'recipe.yaml', which cannot be written to"),
        (["--eval_strategy", "steps", "--dataset", "recipe.yaml"], "`dataset` is 'recipe.yaml', which cannot be read"),
        (["--dry_run", "--environment", "own_travel:make_user"], "cannot"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["train", "--config", "recipe.yaml", *options])
    assert error.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_lines_of_json_are_read_as_others_write_them(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text('\ufeff{"city": "Par\u2028is"}\n\n{"city": "Oslo"}\n', encoding="utf-8")
    assert load_rows(str(path)) == [{"city": "Par\u2028is"}, {"city": "Oslo"}]


def test_an_empty_file_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(SystemExit) as error:
        cli.main(["train", "--config", "recipe.yaml", "--dry_run", "--dataset", str(tmp_path / "empty.jsonl")])
    assert error.value.code == 2
    assert "which has no rows" in capsys.readouterr().err.splitlines()[-1]


def test_arguments_of_an_environment_are_in_no_error(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--config", "recipe.yaml", "--environment_kwargs", '{"api_key": "sk-secret"}'])
    assert "sk-secret" not in capsys.readouterr().err


def test_arguments_of_a_dataset_are_in_no_error(capsys):
    options = ["--dataset", "recipe.yaml", "--dataset_kwargs", '{"token": "hf_secret"}']
    with pytest.raises(SystemExit):
        cli.main(["train", "--config", "recipe.yaml", *options])
    error = capsys.readouterr().err
    assert "`dataset_kwargs` has ['token']" in error
    assert "hf_secret" not in error


def test_calls_in_a_prompt_are_shown_whatever_their_form():
    console = Console(width=80, record=True, file=io.StringIO())
    calls = [{"function": {"name": "look", "arguments": arguments}} for arguments in ({"a": 1}, '{"a": 1}')]
    print_messages([{"role": "assistant", "content": None, "tool_calls": calls}], console)
    text = console.export_text()
    assert "look(a=1)" in text
    assert 'look({"a": 1})' in text


def test_what_an_environment_of_ones_own_raises_keeps_its_traceback():
    with pytest.raises(ValueError, match="there is no key"):
        cli.main(["train", "--config", "recipe.yaml", "--environment", "own_travel:Broken"])


def test_a_file_without_its_option_is_told(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "recipe.yaml"])
    assert "'recipe.yaml' belongs to no option. Write --config recipe.yaml." in capsys.readouterr().err
