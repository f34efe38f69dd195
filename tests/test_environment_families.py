# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The names under which environments are known, and that each is imported when it is asked for."""

import subprocess
import sys

import pytest

from trl_infopo import environments
from trl_infopo.environments import ENVIRONMENTS
from trl_infopo.scripts import eval as eval_script


def test_every_environment_can_be_made_and_has_tasks():
    for name, family in ENVIRONMENTS.items():
        if family.module == ".explore":
            pytest.importorskip("gymnasium")
            pytest.importorskip("textarena")
        factories = eval_script.make_factories(family, ["plain"])
        assert len(factories) == 1, name
        for row in family.make_dataset("test", 2, 0):
            for make in factories.values():
                make().reset(**row)


def test_every_export_is_there():
    for name in environments.__all__:
        assert getattr(environments, name) is not None
    with pytest.raises(AttributeError, match="NoEnv"):
        _ = environments.NoEnv


def test_environments_load_when_asked_for():
    code = "import sys, trl_infopo.environments; print([m for m in sys.modules if m.startswith('trl_infopo.env')])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['trl_infopo.environments']"
