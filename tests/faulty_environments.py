# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A healthy environment, and some that have one fault each."""

import asyncio
import math
import random
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


class Game:
    """What an environment may keep its state in."""

    booked = None

    def start(self, city):
        self.city, self.asked, self.done, self.booked = city, False, False, None

    def ask(self, topic):
        if topic != "city" or self.asked:
            return "Nothing new."
        self.asked = True
        return f"I want to go to {self.city}."

    def reply(self, messages):
        return self.ask("city") if len(messages) < 8 else None


GAME, GAMES, CLIENT, RANKING, CONNECTED = Game(), {}, {}, [], []


class SharesGlobal(Healthy):
    def _game(self):
        return GAME

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        self._game().start(city)

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return self._game().ask(topic)


class SharesInClass(SharesGlobal):
    game = Game()

    def _game(self):
        return self.game


class SharesDefault(SharesInClass):
    def __init__(self, game=Game()):  # noqa: B008
        self.game = game


class SharesByTask(SharesGlobal):
    """Two rollouts of a group have the same task."""

    def reset(self, city: str, **row) -> None:
        GAMES[city] = Game()
        super().reset(city)

    def _game(self):
        return GAMES[self.city]


class SharesAndDraws(SharesGlobal):
    def reset(self, city: str, **row) -> None:
        super().reset(f"{city} {random.randint(1, 9)}")

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        return random.choice(["Well", "Hm"]) if topic != "city" else super().ask(topic)


class SharesWhileItWaits(Healthy):
    async def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        CLIENT["city"] = self.city
        await asyncio.sleep(0.05)
        return f"I want to go to {CLIENT['city']}." if topic == "city" else self.masked_feedback


class SharesUser(Healthy):
    user: Game

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        self.user = GAME
        GAME.start(city)


class AsyncGame(Game):
    async def reply(self, messages):
        await asyncio.sleep(0)
        return super().reply(messages)


class SharesAsyncUser(Healthy):
    user: AsyncGame = AsyncGame()

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        self.user.start(city)


class SharesDone(Healthy):
    done: bool

    @property
    def done(self):
        return GAME.done

    @done.setter
    def done(self, value):
        GAME.done = value


class SharesTools:
    masked_feedback = "Nothing new."
    tool_schemas = [
        {
            "type": "function",
            "function": {
                "name": "ask",
                "parameters": {"properties": {"topic": {"enum": ["city", "day"]}}, "required": ["topic"]},
            },
        }
    ]

    def reset(self, city: str, **row) -> None:
        GAME.start(city)

    def call_tool(self, name, arguments):
        return GAME.ask(arguments["topic"])

    def get_reward(self) -> float:
        return float(GAME.asked)


class RewardsTheFirst(Healthy):
    def reset(self, city: str, **row) -> None:
        super().reset(city)
        RANKING.clear()

    def get_reward(self) -> float:
        RANKING.append(self)
        return 1 / len(RANKING)


class ComesTooLate(Healthy):
    """Whoever is reset first has the only connection."""

    def reset(self, city: str, **row) -> str:
        super().reset(city)
        is_free = not CONNECTED or CONNECTED[0] is self
        CONNECTED[:] = [self] if is_free else CONNECTED
        return "You are in." if is_free else "You have to wait."

    def get_reward(self) -> float:
        CONNECTED[:] = []
        return super().get_reward()


class GoesOnChangingItsClass(Healthy):
    last = None

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        type(self).last = city


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
    (GoesOnChangingItsClass, "state in the class", ERROR, "`GoesOnChangingItsClass.last`"),
    *(
        (kind, "state shared by environments", ERROR, " alone, ")
        for kind in (
            *(
                SharesGlobal,
                SharesInClass,
                SharesDefault,
                SharesByTask,
                SharesAndDraws,
                SharesUser,
            ),
            *(SharesAsyncUser, SharesDone, SharesTools, RewardsTheFirst, ComesTooLate),
        )
    ),
]


class LoadsOnce(Healthy):
    _countries = None
    _letters: dict = {}

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        if self._countries is None:
            type(self)._countries = {"Paris": "France"}
        self._letters.setdefault(city, len(city))


class LoadsWhatIsAskedFor(Healthy):
    _topics: dict = {}

    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        self._topics.setdefault(topic, len(topic))
        return super().ask(topic)


class DrawsInTools(Healthy):
    def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        text = super().ask(topic)
        return text if text == self.masked_feedback else f"{text} {random.choice(['Well', 'Hm'])}"


class DrawsInThreads(DrawsInTools):
    thread_safe = True


class DrawsLater(Healthy):
    async def ask(self, topic: str) -> str:
        """
        Ask for a topic.

        Args:
            topic: What to ask for, `city` or `day`.
        """
        await asyncio.sleep(random.random() / 1000)
        text = super().ask(topic)
        return text if text == self.masked_feedback else f"{text} {random.choice(['Well', 'Hm'])}"


class DrawsAtTheEnd(Healthy):
    def on_end(self, reason):
        self.luck = random.random()

    def get_reward(self) -> float:
        return self.luck + random.random()


class DrawsInReplies(Healthy):
    class User:
        def reply(self, messages):
            return f"{messages[-1]['content']} {random.random()}" if random.random() < 0.8 else None

    user: User

    def reset(self, city: str, **row) -> None:
        super().reset(city)
        self.user = self.User()


class Structured:
    """Takes what its schema says, and raises whatever else it gets."""

    masked_feedback = "Nothing new."
    tool_schemas = [
        {
            "type": "function",
            "function": {
                "name": "plan",
                "description": "Plan a trip.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "trip": {"$ref": "#/$defs/trip"},
                        "guests": {"type": "integer", "minimum": 20, "exclusiveMaximum": 40, "multipleOf": 4},
                        "code": {"type": "string", "minLength": 12, "maxLength": 15},
                        "version": {"const": 2},
                        "budget": {"anyOf": [{"type": "number", "minimum": 100}, {"type": "null"}]},
                    },
                    "required": ["trip", "guests", "code", "version", "budget"],
                    "$defs": {
                        "trip": {
                            "type": "object",
                            "properties": {
                                "stops": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 4},
                                "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                            },
                            "required": ["stops", "share"],
                        }
                    },
                },
            },
        }
    ]

    def reset(self, **row) -> None:
        pass

    def call_tool(self, name, arguments):
        stops, share = arguments["trip"]["stops"], arguments["trip"]["share"]
        if not (3 <= len(stops) <= 4 and all(isinstance(stop, str) for stop in stops) and 0 < share < 1):
            raise ValueError(f"no trip: {arguments['trip']}")
        if arguments["guests"] not in (20, 24, 28, 32, 36) or not 12 <= len(arguments["code"]) <= 15:
            raise ValueError(f"no booking: {arguments}")
        if arguments["version"] != 2 or not (arguments["budget"] is None or arguments["budget"] >= 100):
            raise ValueError(f"no budget: {arguments}")
        return self.masked_feedback

    def get_reward(self) -> float:
        return 0.0


class Talks:
    """Answers at length, but not for ever."""

    masked_feedback = "Nothing new."

    class User:
        def reply(self, messages):
            length = sum(message["role"] == "assistant" for message in messages)
            return f"{length} {'and so on' * 36}" if length < 30 else None

    user: User

    def reset(self, **row) -> None:
        self.user = self.User()

    def get_reward(self) -> float:
        return 0.0


HEALTHY = [
    *(LoadsOnce, LoadsWhatIsAskedFor, DrawsInTools, DrawsInThreads, DrawsLater, DrawsAtTheEnd, DrawsInReplies),
    Structured,
]
