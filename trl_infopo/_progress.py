# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Lines about steps that take long, so that users see that a run is alive."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tqdm.auto import tqdm


PATIENCE = 5.0  # seconds before the first line; each further one waits twice as long
PULSE = 5.0  # seconds between two lines of a `ProgressBar` that is not drawn as a bar


class ProgressLine:
    """
    Says what a trainer is doing if it takes longer than a few seconds.

    Args:
        is_main_process (`bool`):
            Whether this process says anything.
        is_shown (`bool`):
            Whether long steps are reported.

    Attributes:
        text (`str`):
            What the trainer is doing; may change meanwhile.
    """

    def __init__(self, is_main_process: bool, is_shown: bool):
        self.is_main_process = is_main_process
        self.is_shown = is_shown
        self.text = ""

    @contextmanager
    def at(self, text: str) -> Iterator[None]:
        """Run the body of a `with` statement, which may take long, and say so."""
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
        """Print a line without disturbing progress bars."""
        if self.is_main_process:
            tqdm.write(f"[InfoPO] {text}", file=sys.stderr)


class ProgressBar:
    """
    A bar on a terminal or in a notebook. Elsewhere, such as in a pipe or a log, a line at the beginning, one every few
    seconds and one at the end.

    Args:
        title (`str`):
            What makes progress.
        total (`int`):
            Number of steps.
        completed (`int`, *optional*, defaults to `0`):
            Number of steps done before.
        console ([`~rich.console.Console`], *optional*):
            Where it is shown.
        is_shown (`bool`, *optional*, defaults to `True`):
            Whether it is shown.
    """

    def __init__(
        self, title: str, total: int, completed: int = 0, console: Console | None = None, is_shown: bool = True
    ):
        self.title = title
        self.total = total
        self.completed = completed
        self.text = ""
        self.console = console or Console()
        self.is_shown = is_shown
        columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
        columns += [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}", markup=False)]
        self._bar = Progress(*columns, console=self.console, disable=not (is_shown and self._is_live))
        self._task = self._bar.add_task(title, total=total, completed=completed, text="")

    @property
    def _is_live(self) -> bool:
        return self.console.is_terminal or self.console.is_jupyter

    def __enter__(self) -> "ProgressBar":
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def start(self) -> None:
        """Show it."""
        self._start = self._last = time.monotonic()
        self._said = -1
        self._bar.start()
        self._say()

    def stop(self) -> None:
        """Show it for the last time."""
        self._bar.stop()
        self._say()

    def update(self, completed: int | None = None, text: str | None = None) -> None:
        """Report how many steps are done, with a text about them."""
        self.completed = self.completed if completed is None else completed
        self.text = self.text if text is None else text
        self._bar.update(self._task, completed=self.completed, text=self.text)
        if time.monotonic() - self._last >= PULSE:
            self._say()

    def _say(self) -> None:
        if self.is_shown and not self._is_live and self.completed != self._said:
            now = time.monotonic()
            self._last, self._said = now, self.completed
            line = f"{self.title} {self.completed}/{self.total} {now - self._start:.0f} s {self.text}"
            self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)
