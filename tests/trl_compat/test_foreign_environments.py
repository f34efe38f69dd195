# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments that were written for `GRPOTrainer` and know nothing of us, whatever they call their attributes."""

import gc
import math
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer


sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_agents import make_agent, tool_call
from trainer_helpers import assert_equal_parameters, config, parameters

from trl_infopo import InfoPOConfig, InfoPOTrainer, conversation_trainer
from trl_infopo.users import UserSimulator


@pytest.fixture(autouse=True, scope="module")
def _quick_garbage_collection():
    """Training collects garbage at its end, most of the time among what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


CALLS = [
    tool_call("ask", slot="city"),
    tool_call("look_up", word="price"),
    tool_call("look_up"),  # fails: an argument is missing
    tool_call("user", question="which city?"),
    tool_call("done"),
]


class Game:
    """The least that TRL asks for. After two questions the game is over."""

    def reset(self, city: str = "paris", **row) -> str | None:
        self.city, self.asked = city, []

    def ask(self, slot: str) -> str:
        """
        Ask for a slot.

        Args:
            slot: What to ask for.
        """
        if len(self.asked) == 2:
            raise ValueError("Game over.")
        self.asked.append(slot)
        return self.city

    def get_reward(self) -> float:
        return len(self.asked) - 0.5 * len(set(self.asked))


class DoneInInit(Game):
    def __init__(self):
        self.done = False

    def ask(self, slot: str) -> str:
        """
        Ask for a slot.

        Args:
            slot: What to ask for.
        """
        if self.done:
            raise ValueError("Episode is done.")
        self.asked.append(slot)
        self.done = True
        return f"{self.city} done={self.done}"


class DoneInReset(DoneInInit):
    def __init__(self):
        pass

    def reset(self, **row) -> str:
        super().reset(**row)
        self.done = False
        return f"done={self.done}"


class DoneFromTheFirst(DoneInReset):
    def reset(self, **row) -> str:
        super().reset(**row)
        self.done = True
        return "It is over before it began."

    def get_reward(self) -> float:
        return random.random()


class DoneTasks(Game):
    """What has been done, not whether it is over."""

    done: list[str]

    def reset(self, **row) -> None:
        super().reset(**row)
        self.done = []


@dataclass
class DoneCount(Game):
    user: str = "alice"
    done: "int" = 0


class DoneProperty(Game):
    """Cannot be read before `reset`."""

    @property
    def done(self) -> bool:
        return len(self.asked) == 2


class RaisingDoneProperty(Game):
    @property
    def done(self) -> bool:
        if not hasattr(self, "asked"):
            raise RuntimeError("`reset` has to run first.")
        return len(self.asked) == 2


class UnreadableProperties(Game):
    """Nobody has a reason to read them."""

    @property
    def done(self) -> bool:
        raise RuntimeError("Do not look at me.")

    @property
    def user(self) -> str:
        raise RuntimeError("Do not look at me.")


class DoneTool(Game):
    def done(self) -> str:
        """Say that you are done."""
        self.asked = []
        return "Well done."


class UserTool(Game):
    async def user(self, question: str) -> str:
        """
        Ask the user.

        Args:
            question: What to ask.
        """
        self.asked.append(question)
        return self.city


class CallTool(Game):
    """Without schemas, it is a tool as any other."""

    def call_tool(self, name: str, arguments: dict) -> str:
        """
        Call a tool.

        Args:
            name: Which one.
            arguments: What with.
        """
        return self.ask(name)


class EndTool(Game):
    def on_end(self, reason: str) -> str:
        """
        End the game.

        Args:
            reason: Why.
        """
        self.asked = []
        return reason


class ThreadSafeOfItsOwn(Game):
    """Not what we call so."""

    def __init__(self):
        self.thread_safe = "no"

    def get_reward(self) -> float:
        return random.random()


class OwnSchemas(Game):
    """Nobody can call them."""

    def __init__(self):
        self.tool_schemas = {"ask": "Ask for a slot."}


class UserNameInInit(Game):
    def __init__(self):
        self.user = "alice"


class UserNameInReset(Game):
    def reset(self, **row) -> None:
        super().reset(**row)
        self.user = "alice"


class UserNameDeclared(UserNameInReset):
    user: str


class UserNameAlways(Game):
    user = "alice"


class UserOfAnyType(UserNameInReset):
    user: Any


class UserOfUnknownType(UserNameInReset):
    user: "NameThatIsNowhere"  # noqa: F821


@dataclass
class Account:
    name: str = "alice"


class UserAccount(Game):
    user: Account

    def __init__(self):
        self.user = Account()


class UserNone(Game):
    user: str | None = None


class UserMade(Game):
    """Reads like a user simulator, but is neither declared nor there when the environment is made."""

    def reset(self, **row) -> None:
        super().reset(**row)
        self.user = SimpleNamespace(reply=None)


class UserProperty(Game):
    @property
    def user(self) -> str:
        return self.city


class Observes(Game):
    def reset(self, **row) -> str:
        super().reset(**row)
        return " Go on."


class ObservesBlocks(Game):
    def reset(self, **row) -> list:
        super().reset(**row)
        return [{"type": "text", "text": " Go on."}]


class OwnsItsData(Game):
    """Without a dataset: `reset` makes the task."""

    def __init__(self):
        self.done = False

    def reset(self, **row) -> str:
        super().reset(city=random.choice(["paris", "oslo", "rome"]))
        self.done = False
        return f"find {self.city}"


class AsyncReward(Game):
    async def get_reward(self) -> float:
        return super().get_reward()


class NoTools:
    def reset(self, city: str, **row) -> None:
        self.city, self.done, self.user = city, False, "alice"

    def get_reward(self) -> float:
        return random.random()


def returning(result: Any) -> type:
    """An environment whose tools return this, and who has a `done` besides."""

    class Returns(Game):
        def __init__(self):
            self.done = False

        def ask(self, slot: str) -> Any:
            """
            Ask for a slot.

            Args:
                slot: What to ask for.
            """
            self.asked.append(slot)
            return result

        async def look_up(self, word: str) -> Any:
            """
            Look a word up.

            Args:
                word: The word.
            """
            self.asked.append(word)
            return result

    return Returns


class AnswersEverything(Game):
    """Any attribute can be read and called, `user.reply` and `masked_feedback` too."""

    def __getattr__(self, name: str) -> Any:
        if name in ("city", "asked"):
            raise AttributeError(name)
        return SimpleNamespace(reply=lambda messages: "No.", name=name)


class Wrapper:
    """Hands everything on to a game that is `done` and has a `user`."""

    def __init__(self):
        self.game = UserNameInInit()
        self.game.done = False

    def __getattr__(self, name: str) -> Any:
        if name == "game":
            raise AttributeError(name)
        return getattr(self.game, name)

    def reset(self, **row) -> None:
        self.game.reset(**row)

    def ask(self, slot: str) -> str:
        """
        Ask for a slot.

        Args:
            slot: What to ask for.
        """
        return self.game.ask(slot)

    def get_reward(self) -> float:
        return self.game.get_reward()


class Slots:
    __slots__ = ("asked", "city", "done", "user")

    reset, ask, get_reward = Game.reset, Game.ask, Game.get_reward


class Workshop:
    def make(self) -> Game:
        return DoneInInit()

    def __call__(self) -> Game:
        return UserNameInInit()


TEXT_BLOCKS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

FOREIGN = {
    "done in __init__": DoneInInit,
    "done in reset": DoneInReset,
    "done from the first": DoneFromTheFirst,
    "done is a list by annotation": DoneTasks,
    "done is a number of a dataclass": DoneCount,
    "done property that needs reset": DoneProperty,
    "done property that raises": RaisingDoneProperty,
    "properties that nobody may read": UnreadableProperties,
    "tool named done": DoneTool,
    "tool named user": UserTool,
    "tool named call_tool": CallTool,
    "tool_schemas of its own": OwnSchemas,
    "tool named on_end": EndTool,
    "thread_safe of its own": ThreadSafeOfItsOwn,
    "user is text in __init__": UserNameInInit,
    "user is text in reset": UserNameInReset,
    "user is text by annotation": UserNameDeclared,
    "user is text in the class": UserNameAlways,
    "user is Any": UserOfAnyType,
    "user of a type that cannot be found": UserOfUnknownType,
    "user is an account": UserAccount,
    "user is None": UserNone,
    "user without a reply": UserMade,
    "user property": UserProperty,
    "reset returns text": Observes,
    "reset returns blocks": ObservesBlocks,
    "environment owns its data": OwnsItsData,
    "async reward": AsyncReward,
    "no tools": NoTools,
    "tools return text blocks": returning(TEXT_BLOCKS),
    "tools return a list": returning([1, "two", None]),
    "tools return a dictionary": returning({"user": "alice", "done": True}),
    "tools return None": returning(None),
    "tools return a number": returning(0.5),
    "tools return bytes": returning(b"\xff"),
    "answers everything": AnswersEverything,
    "wrapper": Wrapper,
    "slots": Slots,
    "partial": partial(DoneInInit),
    "lambda": lambda: UserNameInInit(),
    "bound method": Workshop().make,
    "callable object": Workshop(),
    "several": {"done": DoneInInit, "user": UserNameInReset, "plain": Game, "tool": DoneTool},
}


def run(output_dir, factory, trainer_class=InfoPOTrainer, **options):
    """Two steps of training, in which the policy calls tools that the environment has and tools that it has not."""
    rows = [
        {"prompt": [{"role": "user", "content": f"go {'far ' * (i % 3)}{i}"}], "city": ["paris", "oslo"][i % 2]}
        for i in range(8)
    ]
    if isinstance(factory, dict):
        rows = [{**row, "environment": name} for row, name in zip(rows, [*factory, *factory], strict=True)]
    model, tokenizer = make_agent(CALLS, num_hidden_layers=1)
    config_class = InfoPOConfig if trainer_class is InfoPOTrainer else GRPOConfig
    trainer = trainer_class(
        model=model,
        args=config(output_dir, config_class, **{"max_steps": 2, "max_completion_length": 64, **options}),
        processing_class=tokenizer,
        environment_factory=factory,
        train_dataset=None if factory is OwnsItsData else Dataset.from_list(rows),
    )
    before = parameters(trainer)
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True))
    return trainer


@pytest.mark.quick(3)
@pytest.mark.parametrize("factory", FOREIGN.values(), ids=FOREIGN)
def test_zero_coef_is_grpo(factory, tmp_path):
    theirs = run(tmp_path / "grpo", factory, GRPOTrainer)
    ours = run(tmp_path / "infopo", factory, info_gain_coef=0.0)
    assert_equal_parameters(theirs, ours)


@pytest.mark.quick(2)
@pytest.mark.parametrize("factory", FOREIGN.values(), ids=FOREIGN)
def test_information_gain_trains_in_the_loop_of_trl(factory, tmp_path, monkeypatch):
    monkeypatch.setattr(conversation_trainer, "converse", None)
    trainer = run(tmp_path, factory, info_gain_coef=0.5)
    assert all(parameter.isfinite().all() for parameter in parameters(trainer))
    if factory is not NoTools:
        assert any(math.isfinite(row["infopo/information_gain/mean"]) for row in trainer.state.log_history[:-1])


class Answers:
    def reply(self, messages: list[dict]) -> str | None:
        return "paris" if len(messages) < 4 else None


class DeclaresUser(UserNameInReset):
    user: UserSimulator

    def reset(self, **row) -> None:
        super().reset(**row)
        self.user = Answers()


class DeclaresOptionalUser(DeclaresUser):
    user: "Answers | None" = None


class MakesUser(Game):
    def __init__(self):
        self.user = Answers()


class HasUser(Game):
    user = Answers()


class DeclaresDone(Game):
    done: bool


class DeclaresDoneInWords(Game):
    done: "bool | None" = None

    def reset(self, **row) -> None:
        super().reset(**row)
        self.done = False


class StartsUndone(Game):
    done = False


class StartsUndoneSomewhere(StartsUndone, DoneInReset):
    pass


class HasSchemas(CallTool):
    tool_schemas = []


class HearsEnd(Game):
    def on_end(self, reason):
        assert reason in ("answered", "max_turns", "max_tokens")


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    "factory",
    [
        DeclaresUser,
        DeclaresOptionalUser,
        MakesUser,
        HasUser,
        DeclaresDone,
        DeclaresDoneInWords,
        StartsUndone,
        StartsUndoneSomewhere,
        HasSchemas,
        HearsEnd,
        {"done": DoneInInit, "user": DeclaresUser, "plain": Game, "tool": DoneTool},
    ],
    ids=str,
)
def test_our_loop_runs_where_it_is_asked_for(factory, tmp_path, monkeypatch):
    calls = []
    converse = conversation_trainer.converse
    monkeypatch.setattr(
        conversation_trainer, "converse", lambda *args, **kwargs: (calls.append(1), converse(*args, **kwargs))
    )
    run(tmp_path, factory, info_gain_coef=0.5)
    assert len(calls) == 2
