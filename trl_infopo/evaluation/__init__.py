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

"""How well a policy does with whom: success, reward, turns and questions per user, and the shift between users."""

from .episodes import NO_PROMPT, check_rows, running_event_loop, start_episode, to_number
from .playing import evaluate
from .statistics import (
    COMPACT,
    CONFIDENCE,
    NUM_RESAMPLES,
    Estimate,
    Evaluation,
    bootstrap_mean,
    user_shift_table,
)
from .store import RECORD, lock_directory, write_whole


__all__ = [
    "COMPACT",
    "CONFIDENCE",
    "NO_PROMPT",
    "NUM_RESAMPLES",
    "RECORD",
    "Estimate",
    "Evaluation",
    "bootstrap_mean",
    "check_rows",
    "evaluate",
    "lock_directory",
    "running_event_loop",
    "start_episode",
    "to_number",
    "user_shift_table",
    "write_whole",
]
