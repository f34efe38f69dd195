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

"""What a training would stumble over, found by playing an environment before it."""

from .checks import CHARACTERS_PER_TOKEN, SPECIAL, USUAL
from .examination import check_environment
from .findings import ERROR, SHOWN_GAINS, WARNING, Checkup, FeedbackGain, Finding
from .gains import PAYS
from .player import GOODBYE, QUESTIONS


__all__ = [
    "CHARACTERS_PER_TOKEN",
    "ERROR",
    "GOODBYE",
    "PAYS",
    "QUESTIONS",
    "SHOWN_GAINS",
    "SPECIAL",
    "USUAL",
    "WARNING",
    "Checkup",
    "FeedbackGain",
    "Finding",
    "check_environment",
]
