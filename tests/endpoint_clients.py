# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A user and a policy behind an endpoint, and what is asked of them."""

import asyncio

import pytest

from trl_infopo.policies import ChatPolicy, PolicyError, SeededEpisode
from trl_infopo.users import ChatUser, Scenario, UserSimulatorError


KEY = "sk-very-secret-0123456789"
SCENARIO = Scenario("I need a trip.", facts=())
MESSAGES = [{"role": "user", "content": "I need a trip."}, {"role": "assistant", "content": "Where to?"}]
OPTIONS = {"model": "tiny", "api_key": KEY, "timeout": 5.0, "max_retries": 2, "backoff": 0.001}
ERRORS = (UserSimulatorError, PolicyError)


class LeavingUser:
    def reply(self, messages):
        return None


class LookEnvironment:
    """An environment with a tool and a user, who leaves at once."""

    def reset(self, **row):
        self.user = LeavingUser()

    def look(self, where: str) -> str:
        """
        Look somewhere.

        Args:
            where: Where to look.

        Returns:
            What is there.
        """
        return f"nothing in {where}"

    def get_reward(self) -> float:
        return 0.0


def make_user(**options):
    return ChatUser(SCENARIO, **{**OPTIONS, **options})


def make_policy(**options):
    return ChatPolicy(**{**OPTIONS, **options})


def ask(client):
    """What a user replies, or a policy says."""
    if isinstance(client, ChatUser):
        return asyncio.run(client.reply(MESSAGES))
    episode = SeededEpisode(MESSAGES[:1], LookEnvironment(), name="row 7", seed="0")
    return asyncio.run(client._act(episode, {"temperature": 0.0, "max_tokens": 9})).content


def fail(client):
    with pytest.raises(ERRORS) as error:
        ask(client)
    assert error.value.__context__ is None
    return error.value


both = pytest.mark.parametrize("make", [make_user, make_policy], ids=["user", "policy"])


def deep(levels):
    return "[" * levels + "]" * levels
