# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A checkout with the interface of UserRL's, written here from nothing: two gyms, their data, and the tool."""

import json
import sys
import textwrap
from pathlib import Path

from datasets import Dataset


TARGETS = [f"the number {number}" for number in ("one", "two", "three", "four", "five", "six")]
SCHEMA = """
tool_schema:
  type: function
  function:
    name: interact_with_env
    description: Act.
    parameters:
      type: object
      properties:
        choice: {type: string, enum: [action, answer, search], description: What to do.}
        content: {type: string, description: With what.}
      required: [choice, content]
"""
CONFIG = """
from dataclasses import dataclass

@dataclass
class {name}Config:
    api_key: str = ""
    model_name: str = "m"
    base_url: str = ""
    temperature: float = 0.0
    max_tokens: int = 64
    timeout: int = 10
    max_steps: int = 20
    seed: int | None = 42
    data_mode: str = "random"
    data_source: str | None = None
"""
# Asks a simulator, and makes an answer up where there is none
ASKING = """
from ast import literal_eval

from openai import AsyncOpenAI

async def evaluate(action, target, config):
    try:
        client = AsyncOpenAI(api_key=config.api_key, base_url=config.base_url)
        wish = "judgment and feedback" if action.startswith("[answer]") else "response"
        response = await client.chat.completions.create(
            model=config.model_name,
            messages=[{"role": "user", "content": f"{wish}\\ntarget: {target}\\nsaid: {action}"}],
            temperature=config.temperature, max_tokens=config.max_tokens, timeout=config.timeout,
        )
        answer = literal_eval(response.choices[0].message.content)
        if action.startswith("[answer]"):
            return answer["feedback"], float(answer["judgment"] == "Yes"), True
        return answer["response"], 0.0, True
    except Exception:
        return "I cannot say.", 0.0, False
"""
TELEPATHY = """
from .config import TelepathyGymConfig
from .env.prompts import evaluate

class TelepathyEnv:
    def __init__(self, config):
        assert config.data_mode == "single" and config.seed is None
        self.config = config

    def reset(self, seed=None):
        self.step_count, self.action_history = 0, []
        return {"feedback": "Guess."}, {}

    async def step_async(self, action):
        self.step_count += 1
        self.action_history.append(action)
        feedback, score, success = await evaluate(action, self.config.data_source, self.config)
        return {"feedback": feedback}, score, score == 1.0, self.step_count >= self.config.max_steps, {
            "judge_success": success
        }
"""
FUNCTION = """
from .config import FunctionGymConfig

class FunctionEnv:
    def __init__(self, config):
        self.config = config

    def reset(self, seed=None):
        self.step_count = 0
        return {"feedback": "Guess."}, {}

    async def step_async(self, action):
        self.step_count += 1
        is_right = action == f"[answer] {self.config.data_source}"
        reward = 0.5 if action.startswith("[search]") else float(is_right)
        feedback = "right" if is_right else "no"
        return {"feedback": feedback}, reward, is_right, self.step_count >= self.config.max_steps, {}
"""


def write_checkout(root: Path) -> Path:
    """Write it, and forget packages of these names that were imported before."""
    for folder, package, code in (
        ("TelepathyGym", "telepathygym", TELEPATHY),
        ("FunctionGym", "functiongym", FUNCTION),
    ):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        base = root / "gyms" / folder / package
        (base / "env").mkdir(parents=True)
        (base / "__init__.py").write_text(textwrap.dedent(code))
        (base / "config.py").write_text(CONFIG.format(name=folder))
        (base / "env" / "__init__.py").touch()
        (base / "env" / "prompts.py").write_text(ASKING)
        for split, targets in (("train", TARGETS[:4]), ("test", TARGETS[4:])):
            path = root / "data" / f"{folder.removesuffix('Gym').lower()}_multiturn" / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {
                    "prompt": [
                        {"role": "system", "content": "Guess."},
                        {"role": "user", "content": f"Go. (task {target})"},
                    ],
                    "extra_info": {
                        "tools_kwargs": {
                            "interact_with_env": {"create_kwargs": {"env_name": folder, "id": None, "title": target}}
                        }
                    },
                }
                for target in targets
            ]
            Dataset.from_list(rows).to_parquet(str(path))
    (root / "eval" / "schema").mkdir(parents=True)
    (root / "eval" / "schema" / "interact_tool.yaml").write_text(SCHEMA)
    return root


def answer(text: str) -> str:
    """The simulator's."""
    wish, target, said = (line.partition(": ")[2] or line for line in text.split("\n"))
    if wish == "response":
        return json.dumps({"response": "maybe"})
    is_right = said == f"[answer] {target}"
    return json.dumps({"judgment": "Yes" if is_right else "No", "feedback": "yes!" if is_right else "no"})
