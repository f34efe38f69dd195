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
"""Families of tasks for a tiny policy: words, demonstrations for its warm start, an oracle, and what a question was.

A demonstrator masters the form of a game, but neither what to ask nor when to stop asking.
"""

from .booking import BOOKING
from .clarify import CLARIFY
from .common import QUESTIONS, Family
from .explore import EXPLORE
from .helpdesk import HELPDESK


__all__ = ["FAMILIES", "QUESTIONS", "Family"]

FAMILIES = {"booking": BOOKING, "clarify": CLARIFY, "helpdesk": HELPDESK, "explore": EXPLORE}
