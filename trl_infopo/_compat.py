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

from packaging.version import Version


MIN_TRL, MAX_TRL = "1.15", "1.17"  # from the first, below the second; the bounds in pyproject.toml are the same

# Overridden in `InfoPOTrainer`, with the parameters that each must have
OVERRIDDEN = {
    "__init__": ("self", "model", "reward_funcs", "args"),
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("self", "inputs"),
}
# Called by `InfoPOTrainer`
CALLED = {"_get_tool_suffix_ids": ("self", "tool_messages")}


def check_trl_version(installed: str | None = None) -> None:
    """
    Raises:
        `ImportError`: If the installed TRL is not one that this package was tested with.
    """
    installed = installed or version("trl")
    if not Version(MIN_TRL) <= Version(installed) < Version(MAX_TRL):
        raise ImportError(
            f"trl-infopo supports trl>={MIN_TRL},<{MAX_TRL}, but trl=={installed} is installed. Install a supported "
            f"version with `pip install 'trl>={MIN_TRL},<{MAX_TRL}'`, or look for a newer trl-infopo."
        )
