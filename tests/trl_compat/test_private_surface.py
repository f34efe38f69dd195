# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What we lean on in the installed TRL, beyond what it documents."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from trl import GRPOTrainer

from trl_infopo import InfoPOTrainer
from trl_infopo._compat import (
    ATTRIBUTES,
    ATTRIBUTES_OF_ENVIRONMENTS,
    OVERRIDDEN,
    SUPPORTED_TRL,
    check_trl_version,
)


ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from trainer_helpers import make_trainer  # noqa: E402


@pytest.mark.parametrize(("name", "parameters"), OVERRIDDEN.items())
def test_methods_have_the_parameters_we_rely_on(name, parameters):
    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[: len(parameters)] == list(parameters)


def test_trainer_has_the_attributes_we_rely_on(tmp_path):
    trainer = make_trainer(tmp_path, "plain", GRPOTrainer)
    assert [name for name in ATTRIBUTES if not hasattr(trainer, name)] == []
    assert "extra" in trainer._logs


def test_trainer_has_the_attributes_of_environments_we_rely_on(tmp_path):
    trainer = make_trainer(tmp_path, "environment", GRPOTrainer, options={"max_steps": 1})
    trainer.train()
    assert [name for name in ATTRIBUTES_OF_ENVIRONMENTS if not hasattr(trainer, name)] == []


def test_only_listed_methods_are_overridden():
    classes = InfoPOTrainer.__mro__[: InfoPOTrainer.__mro__.index(GRPOTrainer)]
    ours = {name for cls in classes for name, member in vars(cls).items() if inspect.isfunction(member)}
    assert {name for name in ours if hasattr(GRPOTrainer, name)} == set(OVERRIDDEN)


@pytest.mark.parametrize("version", ["1.14.2", "0.29.0", "1.17.0.dev0", "1.17.0", "2.0.0"])
def test_unsupported_trl_is_a_clear_error(version):
    with pytest.raises(ImportError, match=f"trl=={version} is installed. Install .*pip install 'trl{SUPPORTED_TRL}"):
        check_trl_version(version)


@pytest.mark.parametrize("version", ["1.15.0", "1.15.3", "1.16.0", "1.16.9"])
def test_supported_trl_is_accepted(version):
    check_trl_version(version)


def test_metadata_has_the_same_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"trl{SUPPORTED_TRL}" in project["dependencies"]


def test_import_is_light():
    code = "import sys, trl_infopo; print([m for m in ('torch', 'trl', 'transformers', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_trainer_without_init_generates_as_trls_does():
    """TRL's own tests make one, and replace what its generation needs."""

    def generate(kind):
        trainer = object.__new__(kind)
        trainer.state = SimpleNamespace(global_step=2)
        trainer.model = SimpleNamespace(training=True)
        trainer.accelerator = SimpleNamespace(device=torch.device("cpu"), is_main_process=True)
        trainer.use_vllm, trainer.tools = False, None
        trainer.rollout_func = lambda prompts, trainer: {"prompt_ids": [[1]], "completion_ids": [[2]]}
        with pytest.raises(ValueError, match="rollout_func must return keys") as raised:
            trainer._generate(["prompt"])
        return str(raised.value)

    assert generate(InfoPOTrainer) == generate(GRPOTrainer)
