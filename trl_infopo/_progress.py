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
"""A line on what takes long, so that nobody wonders whether a run still lives."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tqdm.auto import tqdm


PATIENCE = 5.0  # seconds before the first line; each further one waits twice as long


class ProgressLine:
    """
    Says what a trainer is at when it takes longer than a few seconds.

    Args:
        is_main_process (`bool`):
            Whether anything is said here.
        is_shown (`bool`):
            Whether it is said what takes long.

    Attributes:
        text (`str`):
            What the trainer is at; may change while it is at it.
    """

    def __init__(self, is_main_process: bool, is_shown: bool):
        self.is_main_process = is_main_process
        self.is_shown = is_shown
        self.text = ""

    @contextmanager
    def at(self, text: str) -> Iterator[None]:
        """Be at something."""
        if not (self.is_main_process and self.is_shown):
            yield
            return
        self.text = text
        ended = Event()
        reporter = Thread(target=self._report, args=(ended,), daemon=True)
        reporter.start()
        try:
            yield
        finally:
            ended.set()
            reporter.join()

    def _report(self, ended: Event) -> None:
        waited, delay = 0.0, PATIENCE
        while not ended.wait(delay):
            waited += delay
            delay = waited
            self.say(f"{self.text}: {waited:.0f} s so far")

    def say(self, text: str) -> None:
        """Say something, beside the progress bars."""
        if self.is_main_process:
            tqdm.write(f"[InfoPO] {text}", file=sys.stderr)
