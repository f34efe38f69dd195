# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Users who take long: who waits for them, what becomes of their conversations, and of those who never answer."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_conversations import Replies, TalkEnvironment, make_trainer

from trl_infopo.rollout import Episode, StopReason, converse
from trl_infopo.users import UserSimulatorError


class Desk:
    def __init__(self, user):
        self.user = user


class Numbered:
    """Says which reply it is, each after a delay of its own, and then hangs up."""

    def __init__(self, delays):
        self.delays, self.num_replies = delays, 0

    async def reply(self, messages):
        if self.num_replies == len(self.delays):
            return None
        await asyncio.sleep(self.delays[self.num_replies])
        self.num_replies += 1
        return f"{self.num_replies} of {len(self.delays)}"


class ThreadedNumbered(Numbered):
    def reply(self, messages):
        return asyncio.run(super().reply(messages))


def play(users, event_loop, fraction, **desk):
    """Episodes with a policy that repeats what it hears, and the sizes of its batches."""
    kind = type("Desk", (Desk,), desk)
    episodes = [Episode([{"role": "user", "content": str(i)}], kind(user)) for i, user in enumerate(users)]
    sizes = []

    def act(batch):
        positions = [episodes.index(episode) for episode in batch]
        assert positions == sorted(positions)
        sizes.append(len(batch))
        for episode in batch:
            [heard] = episode.feedback or episode.prompt
            episode.act({"role": "assistant", "content": f"{heard['content']}?"})

    act(episodes)
    converse(episodes, act, event_loop, concurrency=64, min_ready_fraction=fraction, feedback_timeout=20)
    return episodes, sizes


@settings(max_examples=25, deadline=None)
@given(
    delays=st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.002, 0.02]), max_size=4), min_size=1, max_size=6),
    fraction=st.floats(0.01, 1.0),
    is_threaded=st.booleans(),
)
def test_conversations_do_not_depend_on_who_answers_first(event_loop, delays, fraction, is_threaded):
    kind = ThreadedNumbered if is_threaded else Numbered
    episodes, sizes = play([kind(own) for own in delays], event_loop, fraction, thread_safe=is_threaded)
    for i, (episode, own) in enumerate(zip(episodes, delays, strict=True)):
        heard = [str(i), *(f"{n} of {len(own)}" for n in range(1, len(own) + 1))]
        assert [m["content"] for m in episode.completion if m["role"] == "user"] == heard[1:]
        assert [m["content"] for m in episode.completion if m["role"] == "assistant"] == [f"{h}?" for h in heard]
        assert episode.stop_reason == StopReason.USER_ENDED
    assert sum(sizes) == sum(len(own) + 1 for own in delays)
    if fraction == 1:
        assert len(sizes) == max(map(len, delays)) + 1


def test_others_finish_while_one_still_waits(event_loop):
    """In rounds, this would never end: the last user answers only when the others have hung up."""
    others = [Numbered([0.0] * 3) for _ in range(3)]

    class Patient(Numbered):
        async def reply(self, messages):
            while self.num_replies == 0 and any(user.num_replies < 3 for user in others):
                await asyncio.sleep(0.001)
            return await super().reply(messages)

    episodes, _ = play([Patient([0.0]), *others], event_loop, 0.5)
    assert [episode.num_replies for episode in episodes] == [2, 4, 4, 4]  # whoever hangs up was asked once more


def test_a_user_who_fails_ends_the_run_while_others_still_wait(event_loop):
    given_up = []

    class Silent:
        async def reply(self, messages):
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                given_up.append(True)
                raise

    class Dead:
        async def reply(self, messages):
            raise UserSimulatorError("no line")

    with pytest.raises(UserSimulatorError, match="The user of episode failed: no line"):
        play([Silent(), Dead()], event_loop, 0.5)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), event_loop).result()
    assert given_up == [True]


def test_greedy_rollouts_do_not_depend_on_the_fraction(tmp_path):
    def rollouts(fraction):
        told, sizes, users = [], [], []

        class LateReplies(Replies):
            async def reply(self, messages):
                if fraction < 1 and users.index(self) % 2:  # every other one waits for a second question to the others
                    while max(len(user.heard) for user in users[::2]) < 2:
                        await asyncio.sleep(0.001)
                return await super().reply(messages)

        class LateEnvironment(TalkEnvironment):
            def reset(self, **row):
                self.user = LateReplies(self.replies)
                users.append(self.user)

            def get_reward(self):
                told.append(self.user.heard)
                return super().get_reward()

        options = {"min_ready_fraction": fraction, "max_turns": 3, "max_steps": 1}
        options["generation_kwargs"] = {"do_sample": False, "max_new_tokens": 12}
        trainer = make_trainer(tmp_path / str(fraction), LateEnvironment, options=options)
        sample = trainer._sample
        trainer._sample = lambda contexts, **kwargs: sizes.append(len(contexts)) or sample(contexts, **kwargs)
        trainer.train()
        return told, sizes

    (together, rounds), (apart, batches) = rollouts(1.0), rollouts(0.1)
    assert apart == together
    assert len(batches) > len(rounds)
