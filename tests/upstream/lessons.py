# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A taskset of `verifiers`, offline: book the lesson that a customer wants, who tells what is asked for."""

import asyncio
from collections.abc import Iterable
from typing import Literal

import verifiers.v1 as vf


SUBJECTS = ("music", "maths", "chess", "french")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "sunday")


class LessonData(vf.TaskData):
    subject: str
    day: str


class LessonState(vf.State):
    wishes: dict[str, str] = {}
    booked: list[str] = []


class LessonTools(vf.Toolset[vf.SharedToolsetConfig, LessonState]):
    TOOL_PREFIX = None

    @vf.tool
    async def ask(self, slot: str) -> str:
        """Ask the customer for the `subject` or the `day`."""
        return self.state.wishes.get(slot, "I do not mind.")

    @vf.tool
    async def book(self, subject: str, day: str) -> str:
        """Book a lesson."""
        self.state.booked = [subject, day]
        return f"Booked: {subject} on {day}."


class LessonTaskConfig(vf.TaskConfig):
    fault: Literal["none", "setup fails", "setup hangs", "scoring fails", "scoring is slow", "no number"] = "none"
    """What is wrong with the first task."""


class LessonTask(vf.Task[LessonData, LessonState, LessonTaskConfig]):
    async def setup(self, trace, runtime) -> None:
        if self.fault == "setup fails":
            raise OSError("no room")
        if self.fault == "setup hangs":
            await asyncio.sleep(600)
        trace.state.wishes = {"subject": self.data.subject, "day": self.data.day}

    @property
    def fault(self) -> str:
        return self.config.fault if self.data.idx == 0 else "none"

    @vf.reward
    async def is_booked(self, trace) -> float:
        if self.fault == "scoring fails":
            raise KeyError("ledger")
        if self.fault == "scoring is slow":
            await asyncio.sleep(60)
        if self.fault == "no number":
            return float("nan")
        return float(trace.state.booked == [self.data.subject, self.data.day])

    @vf.reward(weight=0.1)
    async def says_goodbye(self, trace) -> float:
        return float("goodbye" in trace.last_reply)


class LessonTasksetConfig(vf.TasksetConfig):
    task: LessonTaskConfig = LessonTaskConfig()


class LessonTaskset(vf.Taskset[LessonTask, LessonTasksetConfig]):
    @classmethod
    def toolsets(cls, config):
        return [LessonTools(vf.SharedToolsetConfig())]

    def load(self) -> Iterable[LessonTask]:
        for subject in SUBJECTS:
            for day in DAYS:
                data = LessonData(
                    prompt="I need a lesson please.", system_prompt="Book lessons.", subject=subject, day=day
                )
                yield LessonTask(data, self.config.task)


__all__ = ["LessonTaskset"]

if __name__ == "__main__":  # how upstream starts the server of the tools
    LessonTools.run()
