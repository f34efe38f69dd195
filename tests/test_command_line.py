# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the command line says: its help, its list of environments, and what it says of mistakes, and how fast."""

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from trl import GRPOConfig, ModelConfig, TrlParser

from trl_infopo import InfoPOConfig, cli
from trl_infopo.environments import ENVIRONMENTS
from trl_infopo.scripts.eval import EvalArguments
from trl_infopo.scripts.loading import find_user_argument
from trl_infopo.scripts.options import read_options
from trl_infopo.scripts.train import OFTEN_SET, RARELY_SET, TrainArguments


SCREEN = 55  # lines of 80 characters


def run(capsys, *argv: str) -> str:
    """The output of a command."""
    with contextlib.suppress(SystemExit):
        cli.main(list(argv))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "config"), [("trl_infopo.infopo_config", InfoPOConfig), ("trl", GRPOConfig), ("trl", ModelConfig)]
)
def test_options_read_from_the_source_are_those_of_the_class(module, config):
    options = read_options(module, config.__name__)
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    assert options.keys() == fields.keys()
    for name, option in options.items():
        assert option.default in (fields[name].default, ...), name
        assert option.help in (fields[name].metadata["help"], ""), name
    # Few are not literals
    assert sum(option.default is ... for option in options.values()) <= 0.05 * len(options)
    assert sum(not option.help for option in options.values()) <= 0.05 * len(options)
    flags = {flag for option in options.values() for flag in option.flags}
    parser = TrlParser(config)
    assert flags == set(parser._option_string_actions) - {"-h", "--help"}
    for action in parser._actions:
        if action.choices and (read := options[action.dest].choices):
            assert list(read) == list(action.choices), action.dest


MISTAKES = {
    "--enviroment clarify": "there is no option --enviroment. Did you mean '--environment'?",
    "--environment clarfy": "Did you mean 'clarify'?",
    "--user tersee": "Did you mean 'terse'?",
    "--learning_rate fast": "`learning_rate` is 'fast', set it to a number",
    "--num_generations 4.5": "`num_generations` is '4.5', set it to a whole number",
    "--bf16=maybe": "`bf16` is 'maybe', set it to true or false",
    "--gate varience": "'agreement', 'variance', 'none']. Did you mean 'variance'?",
    "--optim adamw_torc": "Did you mean 'adamw_torch'?",
    "--config wrong_name.yaml": "'info_gain_coeff', in wrong_name.yaml. Did you mean 'info_gain_coef'?",
    "--config wrong_type.yaml": "`max_turns` is [3], set it to a whole number",
    "--config wrong_switch.yaml": "`log_traces` is 3, set it to true or false",
    "--reward_funcs acuracy_reward": "Did you mean 'accuracy_reward'?",
    "--model_name_or_path ./nowhere": "`model_name_or_path` is './nowhere', but there is no such directory",
}
TRAIN = "train --environment clarify --model_name_or_path m"
OTHER_MISTAKES = {
    "report nowhere": "'nowhere' holds no traces: there is no such directory.",
    "inspect nowhere": "'nowhere' holds no traces: there is no such directory.",
    "check nowhere:Env": "`environment` is 'nowhere:Env', whose module cannot be imported",
    "env clarfy": "Did you mean 'clarify'?",
}
FILES = {"wrong_name": "info_gain_coeff: 0.3", "wrong_type": "max_turns: [3]", "wrong_switch": "log_traces: 3"}


def test_mistakes_are_told_within_two_seconds_and_without_torch(tmp_path):
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    code = """
import contextlib, io, json, sys, time
from trl_infopo import cli
told, seconds = [], []
for command in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.suppress(SystemExit):
        cli.main(command.split())
    told.append(output.getvalue().splitlines()[-1])
    seconds.append(time.process_time())  # of the whole process, so that the first is what a user waits for
print(json.dumps([told, seconds, "torch" in sys.modules]))
"""
    mistakes = {f"{TRAIN} {options}": expected for options, expected in MISTAKES.items()} | OTHER_MISTAKES
    command = [sys.executable, "-c", code, json.dumps(list(mistakes))]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    told, seconds, has_torch = json.loads(process.stdout)
    for line, expected in zip(told, mistakes.values(), strict=True):
        assert expected in line
    assert seconds[0] < 2
    assert not has_torch


def test_right_types_pass():
    options = read_options("trl_infopo.infopo_config", "InfoPOConfig")
    values = {
        "learning_rate": ["1e-6", 1e-6, 1],
        "max_turns": ["3", 3, None, "none"],
        "bf16": ["true", "0", True, None],
        "report_to": ["none", ["wandb"]],
        "model_init_kwargs": ['{"dtype": "float32"}', {"dtype": "float32"}, None],
        "optim": ["adafactor"],
        "resume_from_checkpoint": ["True", True, "out/checkpoint-3"],
        "output_dir": [3],
    }
    for name, good in values.items():
        for value in good:
            options[name].check(value)


class TestHelp:
    @pytest.fixture(autouse=True)
    def width(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")

    def test_commands_are_listed(self, capsys):
        output = run(capsys, "--help")
        assert len(output.splitlines()) < SCREEN
        for command in cli.COMMANDS:
            assert f"    {command}" in output
            assert (Path(cli.__file__).parent / "scripts" / f"{command}.py").exists()

    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_help_fits_a_screen_or_two(self, command, capsys):
        assert 5 < len(run(capsys, command, "--help").splitlines()) <= 2 * SCREEN

    def test_help_of_the_training_shows_our_options_and_few_of_the_others(self, capsys):
        output = run(capsys, "train", "--help").split()
        own = InfoPOConfig.__annotations__.keys() | {field.name for field in dataclasses.fields(TrainArguments)}
        for name in (own | set(OFTEN_SET)) - set(RARELY_SET):
            assert f"--{name}" in output
        assert "--adam_beta1" not in output
        assert "--help-all" in " ".join(output)

    def test_all_options_are_in_the_long_help(self, capsys):
        output = run(capsys, "train", "--help-all").split()
        for config in (TrainArguments, InfoPOConfig, ModelConfig):
            for field in dataclasses.fields(config):
                assert f"--{field.name}" in output


class TestEnv:
    @pytest.fixture(autouse=True)
    def width(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "100")

    def test_every_environment_is_listed_with_a_dialogue_that_succeeds(self, capsys):
        pytest.importorskip("gymnasium")
        pytest.importorskip("textarena")
        output = run(capsys, "env")
        for name, family in ENVIRONMENTS.items():
            assert f"{name}  {family.environment}: " in output
        assert output.count("reward 1, ended by") == len(ENVIRONMENTS)
        assert output.count(" agent ") >= 3 * len(ENVIRONMENTS)

    def test_one_is_shown_in_full(self, capsys):
        output = run(capsys, "env", "booking", "--seed", "1")
        assert "hidden goal" in output
        assert "ask(slot=" in output
        assert "book(" in output
        assert "reward 1" in output
        assert run(capsys, "env", "booking", "--seed", "1") == output != run(capsys, "env", "booking", "--seed", "2")

    def test_misspelt_name(self, capsys):
        with pytest.raises(SystemExit):
            cli.main(["env", "bookin"])
        assert "Did you mean 'booking'?" in capsys.readouterr().err

    def test_missing_package_is_no_end_of_the_list(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "gymnasium", None)
        monkeypatch.setitem(sys.modules, "textarena", None)
        output = run(capsys, "env")
        assert "pip install" in output
        assert output.count("reward 1, ended by") >= 4
        with pytest.raises(SystemExit):
            cli.main(["env", "text_game"])
        assert "pip install" in capsys.readouterr().err


def test_users_of_built_in_environments_are_found_as_those_of_others():
    for name, family in ENVIRONMENTS.items():
        if family.module != ".explore":
            assert find_user_argument(family.make_environment) == family.user_argument, name


def test_evaluation_of_an_own_environment_needs_its_tasks():
    with pytest.raises(ValueError, match="`dataset` is missing: my_module:MyEnv is not built in"):
        EvalArguments(policies=["a"], environment="my_module:MyEnv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`environment` is missing"),
        ({"dataset": "a.jsonl"}, "`reward_funcs` is missing"),
        ({"dataset": "a.jsonl", "reward_funcs": ["m:f"], "user": "terse"}, "there is no `environment` to talk in"),
        ({"environment": "my_module:MyEnv"}, "`dataset` is missing"),
    ],
)
def test_nothing_to_train_on(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainArguments(**arguments)


def test_the_environment_of_the_documentation_is_healthy_and_can_be_trained_in(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()
    [code] = re.findall(r"(?ms)^```python\n(.*?)^```", page)
    (tmp_path / "my_module.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    assert cli.main(["check", "my_module:Travel", "--dataset", "my_module:rows"]) == 0
    options = ["--environment", "my_module:Travel", "--dataset", "my_module:rows", "--model_name_or_path", "m"]
    assert cli.main(["train", *options, "--user", "terse", "--dry_run"]) == 0
    output = capsys.readouterr().out
    assert "error" not in output
    assert "150, columns prompt, city, seed" in output
