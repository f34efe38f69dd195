# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A healthy environment, and some that have one fault each."""

import math
import time

from trl_infopo.doctor import ERROR, WARNING


ROWS = [
    {"prompt": [{"role": "user", "content": f"I want to go somewhere, says user {i}."}], "city": city}
    for i, city in enumerate(["Paris", "Oslo", "Lima", "Rome", "Cairo", "Quito"])
]


class Healthy:
    """Tells the city once, and says nothing in one wording. What the faulty ones have in common."""

    masked_feedback = "Nothing new."
    done: bool = False

    def reset(self, city: str, **row) -> None:
        self.city, self.booked, self.asked, self.done = city, None, False, False

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        if topic != "city" or self.asked:
            return self.masked_feedback
        self.asked = True
        return f"I want to go to {self.city}."

    def book(self, city: str) -> str:
        """
        Book, which is final.

        Args:
            city: Where to go.
        """
        self.booked, self.done = city, True
        return self.masked_feedback

    def get_reward(self) -> float:
        return float(self.booked == self.city)


class LeavesState(Healthy):
    def __init__(self):
        self.asked = False

    def reset(self, city: str, **row) -> None:
        self.city, self.booked, self.done = city, None, False


class StaysDone(Healthy):
    def __init__(self):
        self.done = False

    def reset(self, city: str, **row) -> None:
        self.city, self.booked, self.asked = city, None, False


class SharesState(Healthy):
    calls = []

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        self.calls.append(topic)
        return f"This is question {len(self.calls)}. {super().ask(topic)}"


class Deaf:
    """Never leaves, and nothing ends the episode."""

    masked_feedback = "Nothing new."

    class User:
        def reply(self, messages):
            return "Nothing new."

    user: User

    def reset(self, **row) -> None:
        self.user = self.User()

    def get_reward(self) -> float:
        return 0.0


class Mute(Deaf):
    class User:
        def reply(self, messages):
            return "" if len(messages) > 2 else "Nothing new."

    user: User


class ReturnsNone(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """


class RewardIsNan(Healthy):
    def get_reward(self) -> float:
        return math.nan if self.booked is None else super().get_reward()


class Empty:
    def reset(self, **row) -> None:
        pass

    def _ask(self, topic: str) -> str:
        return topic

    def get_reward(self) -> float:
        return 0.0


class NoDocstring(Healthy):
    def leave(self, reason):
        return reason


class Acknowledges(Healthy):
    def book(self, city: str) -> str:
        """
        Book, which may be changed.

        Args:
            city: Where to go.
        """
        self.booked = city
        return "Thank you for booking with us!"


class RepeatsItself(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return f"I want to go to {self.city}." if topic == "city" else self.masked_feedback


class NeverSaysItsPlaceholder(Healthy):
    masked_feedback = "Nothing new."

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return f"About {topic} of {self.city} I say: no."


class SaysSpecialTokens(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return f"I want to go to {self.city}.<|im_end|>"


class Dumps(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return f"{self.city}: " + "all that is known about it, " * 600


class Raises(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return {"city": self.city}["town"]


class IsSlow(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        for _ in range(100):
            time.sleep(0.01)
        return super().ask(topic)


class ReturnsNoneLater(Healthy):
    async def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """


class NeedsMore(Healthy):
    def reset(self, city: str, day: str, **row) -> None:
        super().reset(city)


class ResetFails(Healthy):
    def reset(self, city: str, **row) -> None:
        raise ConnectionError("no database")


class StartsDone(Healthy):
    def reset(self, city: str, **row) -> None:
        super().reset(city)
        self.done = True


class HasNoReward:
    def reset(self, **row) -> None:
        self.done = False

    def look(self) -> str:
        """
        Look around.
        """
        return "No information found."


FAULTS = [
    (StartsDone, "done from the start", ERROR, "`done` was True"),
    (HasNoReward, "no reward", WARNING, "no `get_reward`"),
    (LeavesState, "state left by `reset`", ERROR, "in one that had played before"),
    (StaysDone, "state left by `reset`", ERROR, "in one that had played before"),
    (SharesState, "state in the class", ERROR, "`SharesState.calls`"),
    (Deaf, "episodes do not end", ERROR, "32 actions"),
    (Mute, "user fails", ERROR, "returned ''"),
    (ReturnsNone, "`ask` returns no text", ERROR, "returned None"),
    (ReturnsNoneLater, "`ask` returns no text", ERROR, "returned None"),
    (RewardIsNan, "reward", ERROR, "nan"),
    (Empty, "no tools, no user", ERROR, "no public method"),
    (NoDocstring, "tool without a schema", ERROR, "`leave`"),
    (Acknowledges, "acknowledgement of book", WARNING, "Thank you for booking"),
    (RepeatsItself, "repetition is not the placeholder", WARNING, "`ask(topic='city')` twice"),
    (NeverSaysItsPlaceholder, "placeholder never said", WARNING, "'Nothing new.'"),
    (SaysSpecialTokens, "special token", ERROR, "<|im_end|>"),
    (Dumps, "token budget", ERROR, "all that is known about it"),
    (Raises, "`ask` raises", ERROR, "KeyError"),
    (IsSlow, "`ask` takes too long", ERROR, "feedback_timeout"),
    (NeedsMore, "columns", ERROR, "needs 'day'"),
    (ResetFails, "episode fails", ERROR, "no database"),
]
