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

"""`cocode`: collaborative coding with a user who knows the details, and a sandbox for the code."""

from .env import CocodeEnv, cocode_dataset, cocode_oracle
from .sandbox import Limits, Outcome, SandboxError, SandboxResult, run_code, sandbox_limitation


__all__ = [
    "CocodeEnv",
    "Limits",
    "Outcome",
    "SandboxError",
    "SandboxResult",
    "cocode_dataset",
    "cocode_oracle",
    "run_code",
    "sandbox_limitation",
]
