# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/contributing.md, followed on a copy of the package: each edits the files that it names."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "contributing.md").read_text()

POSTCARD = '''
"""Whom a postcard goes to, which only a question tells."""

from datasets import Dataset


class PostcardEnv:
    masked_feedback = "nothing"

    def reset(self, city: str, **row) -> None:
        self.city, self.sent = city, None

    def ask(self, slot: str) -> str:
        """
        Ask where it goes.

        Args:
            slot: What to ask for.
        """
        return self.city if slot == "city" else "nothing"

    def send(self, city: str) -> str:
        """
        Send it.

        Args:
            city: Where it goes.
        """
        self.sent = city
        return "nothing"

    def get_reward(self) -> float:
        return float(self.sent == self.city)


def postcard_dataset(split: str, num_rows: int, seed: int = 0) -> Dataset:
    cities = {"train": ["paris", "rome"], "validation": ["oslo"], "test": ["bern"]}[split]
    prompt = [{"role": "user", "content": "send it please"}]
    return Dataset.from_list([{"prompt": prompt, "city": cities[i % len(cities)]} for i in range(num_rows)])


def postcard_oracle(messages, tools):
    told = [message["content"] for message in messages if message["role"] == "tool"]
    if len(told) == 2:
        return {"role": "assistant", "content": "sent"}
    name, arguments = ("send", {"city": told[0]}) if told else ("ask", {"slot": "city"})
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
'''

PARROT = '''
"""A user who says everything at once."""


class Parrot:
    def __init__(self, scenario, seed=0):
        self.scenario = scenario

    def reply(self, messages):
        return " ".join(fact.value for fact in self.scenario.facts)
'''

# Recipe: files, each with what is put into it: a whole new file, or text in place of other text
RECIPES = {
    "An environment": {
        "environments/postcard.py": POSTCARD,
        "environments/__init__.py": [
            ("_LAZY = {\n", '_LAZY = {\n    "PostcardEnv": ".postcard",\n    "postcard_dataset": ".postcard",\n'),
            ("__all__ = [\n", '__all__ = [\n    "PostcardEnv",\n    "postcard_dataset",\n'),
            (
                "ENVIRONMENTS = {\n",
                'ENVIRONMENTS = {\n    "postcard": EnvironmentFamily(\n        ".postcard", "PostcardEnv", '
                '"postcard_dataset", oracle="postcard_oracle", summary="sends a postcard"\n    ),\n',
            ),
        ],
    },
    "A user": {
        "users/parrot.py": PARROT,
        "users/scripted.py": [
            ("PERSONAS = {\n", 'PERSONAS = {\n    "loud": "shouts",\n'),
            (
                'return " ".join(filter(None, [correction, answer])) or NOTHING_TO_ADD',
                'told = " ".join(filter(None, [correction, answer]))\n'
                '        return (told.upper() if self.persona == "loud" else told) or NOTHING_TO_ADD',
            ),
        ],
    },
    "An estimator of the gain": {
        "information_gain.py": [
            ('ESTIMATORS = ("log_ratio",', 'ESTIMATORS = ("probability", "log_ratio",'),
            (
                "        gains.append(-logps[0] if factual is None else logps[0] - logps[1])\n",
                '        if estimator == "probability":\n'
                "            gains.append(logps[0].exp() - logps[1].exp())\n"
                "        else:\n"
                "            gains.append(-logps[0] if factual is None else logps[0] - logps[1])\n",
            ),
        ],
        "infopo_config.py": [('"choices": ["log_ratio",', '"choices": ["probability", "log_ratio",')],
    },
    "A normalization or a gate": {
        "fusion.py": [
            ('NORMALIZATIONS = ("group",', 'NORMALIZATIONS = ("sign", "group",'),
            (
                '    if normalization == "none":\n',
                '    if normalization == "sign":\n        return values.sign()\n    if normalization == "none":\n',
            ),
        ],
        "infopo_config.py": [('"choices": ["group",', '"choices": ["sign", "group",')],
    },
}

USE = """
import json, sys
from importlib import import_module
from trl_infopo import InfoPOConfig, InfoPOTrainer, check_environment, evaluate
from trl_infopo.environments import ENVIRONMENTS, ClarifyEnv, PostcardEnv, clarify_dataset, postcard_dataset
from trl_infopo.users import PERSONAS, Fact, Scenario, ScriptedUser
from trl_infopo.users.parrot import Parrot

sys.path.insert(0, {tests!r})
from tiny_agents import make_model, make_tokenizer

assert "postcard" in ENVIRONMENTS and "loud" in PERSONAS
family = ENVIRONMENTS["postcard"]
solved = evaluate(family.play, {{"none": family.make_environment}}, postcard_dataset("test", 4), show_progress=False)
idle = evaluate(
    lambda messages, tools: {{"role": "assistant", "content": "sent"}}, {{"none": PostcardEnv}},
    postcard_dataset("test", 4), show_progress=False,
)
city = Fact("city", "paris", keywords=("city",), sentence="to {{value}}")
ask = [{{"role": "user", "content": "hi"}}, {{"role": "assistant", "content": "which city?"}}]

tokenizer = make_tokenizer()
options = dict(
    info_gain_estimator="probability", info_gain_normalization="sign", max_steps=2, per_device_train_batch_size=8,
    num_generations=4, max_completion_length=90, max_turns=3, use_cpu=True, bf16=False, gradient_checkpointing=False,
    report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, masked_feedback="nothing",
)
trainer = InfoPOTrainer(
    model=make_model(tokenizer), args=InfoPOConfig("run", **options), train_dataset=postcard_dataset("train", 8),
    processing_class=tokenizer, environment_factory=PostcardEnv,
)
trainer.train()
logs = [log for log in trainer.state.log_history if "infopo/information_gain/max" in log]
print(json.dumps({{
    "solved": [record["success"] for record in solved.records],
    "idle": [record["success"] for record in idle.records],
    "is_healthy": check_environment(PostcardEnv, postcard_dataset("train", 4)).is_healthy,
    "loud": ScriptedUser(Scenario("hi", (city,)), persona="loud").reply(ask),
    "parrot": Parrot(Scenario("hi", (city,))).reply(ask),
    "gains": [log["infopo/information_gain/max"] for log in logs],
}}))
"""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_its_files(recipe):
    assert len(RECIPES[recipe]) <= 2
    for name, edits in RECIPES[recipe].items():
        place = name if isinstance(edits, list) else f"{Path(name).parent}/"  # a new file is of a folder
        assert place in section(recipe)
    for target in re.findall(r"\]\(\.\./(trl_infopo/[^)]*)\)", section(recipe)):
        assert (ROOT / target).exists()


@pytest.mark.thorough
def test_recipes_lead_to_a_training(tmp_path):
    package = tmp_path / "trl_infopo"
    shutil.copytree(ROOT / "trl_infopo", package, ignore=shutil.ignore_patterns("__pycache__"))
    for edits in RECIPES.values():
        for name, change in edits.items():
            if isinstance(change, str):
                (package / name).write_text(change)
                continue
            for before, after in change:
                text = (package / name).read_text()
                assert text.count(before) == 1, (name, before)
                (package / name).write_text(text.replace(before, after))
    code = USE.format(tests=str(ROOT / "tests"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout.splitlines()[-1])
    assert all(seen["solved"])
    assert not any(seen["idle"])
    assert seen["is_healthy"]
    assert (seen["loud"], seen["parrot"]) == ("TO PARIS", "paris")
    assert seen["gains"]
    assert all(0 < abs(gain) <= 1 for gain in seen["gains"])  # differences of probabilities
