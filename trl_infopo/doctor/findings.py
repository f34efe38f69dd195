# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Findings of the doctor, gains of a policy, and their report."""

from dataclasses import dataclass, field

from rich.console import Group
from rich.markup import escape
from rich.text import Text

from ..calls import error_text
from ..evaluation import COMPACT


ERROR, WARNING = "error", "warning"
SHOWN_GAINS = 10


@dataclass(frozen=True)
class Finding:
    """
    A fault of an environment, or a possible one.

    Attributes:
        name (`str`):
            What it is about.
        level (`str`):
            `"error"` if it breaks or misleads training, `"warning"` if it may be intended.
        seen (`str`):
            What was seen: in which episode, and the text.
        way_out (`str`):
            What to do.
    """

    name: str
    level: str
    seen: str
    way_out: str


@dataclass(frozen=True)
class FeedbackGain:
    """
    What a policy gained from a feedback text.

    Attributes:
        source (`str`):
            The tools that it came from, or `"user"`.
        text (`str`):
            The text.
        gain (`float`):
            Mean gain of the turns that got it, in nats per token.
        num_turns (`int`):
            Number of these turns.
        num_rows (`int`):
            Number of rows of the dataset in which it was feedback.
    """

    source: str
    text: str
    gain: float
    num_turns: int
    num_rows: int


@dataclass
class Checkup:
    """
    What [`check_environment`] found.

    Attributes:
        environment (`str`):
            Name of the environment.
        findings (`list[Finding]`):
            What is wrong, errors first.
        num_episodes (`int`):
            Number of episodes that were played to their end.
        stop_reasons (`dict[str, int]`):
            How they ended.
        gains (`list[FeedbackGain]`):
            With a policy, the gains of its feedback, the largest first.
    """

    environment: str
    findings: list[Finding] = field(default_factory=list)
    num_episodes: int = 0
    stop_reasons: dict[str, int] = field(default_factory=dict)
    gains: list[FeedbackGain] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """Whether there is no error. There may be warnings."""
        return not any(finding.level == ERROR for finding in self.findings)

    def add(self, name: str, level: str, seen: str, way_out: str) -> None:
        """Add a finding, unless there is one of that name: the first example is enough."""
        if all(finding.name != name for finding in self.findings):
            self.findings.append(Finding(name, level, seen, way_out))
            self.findings.sort(key=lambda finding: finding.level != ERROR)

    def report(self) -> Group:
        """
        The findings for the screen.

        Returns:
            [`~rich.console.Group`]: The findings, and the gains if there are any.
        """
        from rich.table import Table

        ends = ", ".join(f"{reason} {count}" for reason, count in self.stop_reasons.items())
        parts = [Text(f"{self.environment}: {self.num_episodes} episodes played{ends and f' ({ends})'}")]
        for finding in self.findings:
            colour = "red" if finding.level == ERROR else "yellow"
            parts.append(Text.assemble("\n", (finding.level, f"bold {colour}"), f": {finding.name}"))
            parts += [Text(f"  seen: {finding.seen}"), Text(f"  way out: {finding.way_out}")]
        if not self.findings:
            parts.append(Text("\nnothing found that a training would stumble over", style="green"))
        if self.gains:
            title = "\nwhat feedback earns, in nats per token"
            table = Table("gain ", "turns ", "from ", "feedback", title=title, title_justify="left", **COMPACT)
            for gain in self.gains[:SHOWN_GAINS]:
                table.add_row(
                    f"{gain.gain:.3f} ", f"{gain.num_turns} ", escape(f"{gain.source} "), escape(shorten(gain.text))
                )
            parts.append(table)
        return Group(*parts)


def say(error: BaseException) -> str:
    return " ".join(error_text(error).split()) or type(error).__name__


def shorten(text: str, width: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
