# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The one place that knows which TRL we stand on, and what of its private surface."""

from importlib.metadata import version

from packaging.specifiers import SpecifierSet


SUPPORTED_TRL = ">=1.15,<1.17"  # as in pyproject.toml

# Overridden in `InfoPOTrainer`, with the parameters that each must have
OVERRIDDEN = {
    "__init__": ("self", "model", "reward_funcs", "args"),
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("self", "inputs"),
}
# Called by `InfoPOTrainer`
CALLED = {"_get_tool_suffix_ids": ("self", "tool_messages")}
# Read, written or appended to by `InfoPOTrainer`
ATTRIBUTES = (
    "_logs",
    "_metrics",
    "_tokenizer",
    "environments",
    "max_tool_calling_iterations",
    "num_generations",
    "num_generations_eval",
    "reward_weights",
    "rollout_func",
    "temperature",
    "tools",
)


def check_trl_version(installed: str | None = None) -> None:
    """
    Raises:
        `ImportError`: If the installed TRL is not one that this package was tested with.
    """
    installed = installed or version("trl")
    if not SpecifierSet(SUPPORTED_TRL).contains(installed):
        raise ImportError(
            f"trl-infopo supports trl{SUPPORTED_TRL}, but trl=={installed} is installed. Install a supported version "
            f"with `pip install 'trl{SUPPORTED_TRL}'`, or look for a newer trl-infopo."
        )
