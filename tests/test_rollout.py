# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The conversation loop with scripted policies: who is asked what, in which order, and why it ends."""

import asyncio
import random
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from trl_infopo.rollout import Episode, StopReason, TokenPolicy, converse, infer_stop_reason, visible_messages
from trl_infopo.users import UserSimulatorError


def say(content: str) -> dict:
    return {"role": "assistant", "content": content}


def call(*names: str, **arguments) -> dict:
    calls = [{"type": "function", "function": {"name": name, "arguments": arguments}} for name in names]
    return {"role": "assistant", "content": "", "tool_calls": calls}


PROMPT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]


def play(plans, environments, event_loop, tools=None, **options) -> list[Episode]:
    """Play episodes whose policy says what its plan holds, whatever comes back, and then repeats its last line."""
    episodes = []
    for i, environment in enumerate(environments):
        named = tools if tools is not None else {name: getattr(environment, name) for name in ("look", "order")}
        episodes.append(Episode(PROMPT, environment, tools=named, name=f"episode {i}"))

    def act(active):
        for episode in active:
            plan = plans[episodes.index(episode)]
            episode.act(plan[min(episode.num_actions, len(plan) - 1)])

    act(episodes)
    converse(episodes, act, event_loop, **options)
    return episodes


class EchoUser:
    """Repeats what it hears, a limited number of times, and remembers it."""

    def __init__(self, patience=3):
        self.heard, self.patience = [], patience

    def reply(self, messages):
        self.heard.append(messages)
        return f"you said {messages[-1]['content']}" if len(self.heard) <= self.patience else None


class Shop:
    """A user and two tools, one of them asynchronous; an order closes it."""

    def __init__(self, user=None):
        self.user = user
        self.done = False
        self.trace = []

    def order(self, item="tea"):
        self.trace.append(f"order {item}")
        self.done = True
        return f"ordered {item}"

    async def look(self, item="tea"):
        self.trace.append(f"look {item}")
        return f"{item} is in stock"


def roles(episode: Episode) -> str:
    return "".join(message["role"][0] for message in episode.completion)


def test_talk_goes_to_the_user_until_they_end_it(event_loop):
    user = EchoUser(patience=2)
    (episode,) = play([[say("a"), say("b"), say("c")]], [Shop(user)], event_loop)
    assert episode.stop_reason == StopReason.USER_ENDED
    assert [message["content"] for message in episode.completion] == ["a", "you said a", "b", "you said b", "c"]
    assert episode.feedback == []
    assert episode.num_replies == 3


def test_tool_calls_and_talk_alternate_in_any_order(event_loop):
    plan = [call("look"), call("look"), say("it is there"), call("look"), say("order?"), call("order")]
    shop = Shop(EchoUser())
    (episode,) = play([plan], [shop], event_loop)
    assert roles(episode) == "atatauatau" + "a"
    assert episode.stop_reason == StopReason.ENVIRONMENT_DONE
    assert shop.trace == ["look tea"] * 3 + ["order tea"]
    assert episode.feedback == [{"role": "tool", "name": "order", "content": "ordered tea"}]  # unseen by the policy


def test_users_see_neither_tools_nor_reasoning_nor_system_prompts(event_loop):
    user = EchoUser()
    plan = [call("look"), say("<think>they want tea</think>\n\ntea?"), call("look"), say("sugar?"), call("order")]
    play([plan], [Shop(user)], event_loop)
    assert user.heard[-1] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "tea?"},
        {"role": "user", "content": "you said tea?"},
        {"role": "assistant", "content": "sugar?"},
    ]


def test_visible_messages_hold_role_and_content_alone():
    messages = [{"role": "assistant", "content": "hi", "reasoning_content": "hm"}, {"role": "user", "content": "ho"}]
    assert visible_messages(messages) == [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "ho"}]


def test_an_episode_without_user_ends_with_an_answer(event_loop):
    (episode,) = play([[call("look"), say("it is there")]], [Shop()], event_loop)
    assert (roles(episode), episode.stop_reason) == ("ata", StopReason.ANSWERED)


@pytest.mark.parametrize("action", [say("and?"), call("order")])
def test_what_the_last_allowed_action_calls_is_not_run(event_loop, action):
    shop = Shop(EchoUser(patience=9))
    (episode,) = play([[say("a"), action]], [shop], event_loop, max_turns=2)
    assert (roles(episode), episode.stop_reason) == ("aua", StopReason.MAX_TURNS)
    assert len(shop.user.heard) == 1
    assert shop.trace == []


def test_an_answer_at_the_turn_cap_is_an_answer(event_loop):
    (episode,) = play([[call("look"), say("yes")]], [Shop()], event_loop, max_turns=2)
    assert episode.stop_reason == StopReason.ANSWERED


def test_results_keep_the_order_of_the_calls(event_loop):
    async def slow():
        await asyncio.sleep(0.05)
        return "slow"

    tools = {"slow": slow, "fast": lambda: "fast"}
    (episode,) = play([[call("slow", "fast", "slow"), say("done")]], [Shop()], event_loop, tools=tools)
    assert [m["content"] for m in episode.completion if m["role"] == "tool"] == ["slow", "fast", "slow"]


def test_failed_tools_are_told_to_the_agent(event_loop):
    async def late():
        raise OSError("too late")

    tools = {"late": late, "look": Shop().look}
    (episode,) = play(
        [[call("late", "nothing"), call("look", where="x"), say("oh")]], [Shop()], event_loop, tools=tools
    )
    answers = [m["content"] for m in episode.completion if m["role"] == "tool"]
    assert answers[:2] == ["{'error': 'too late'}", "{'error': 'Tool nothing not found.'}"]
    assert "unexpected keyword argument 'where'" in answers[2]
    assert (episode.num_tool_calls, episode.num_tool_failures) == (3, 3)


TEXTS = [{"type": "text", "text": "tea"}, {"type": "text", "text": "milk"}]


@pytest.mark.parametrize("result", [["tea", "milk"], [], [[]], [None], [{"type": "video"}], [{1: "tea"}], [*TEXTS, 1]])
def test_a_list_that_is_no_text_is_shown_as_text(event_loop, result):
    """Templates fail at such lists, or show nothing of them."""
    (episode,) = play([[call("look"), say("oh")]], [Shop(EchoUser())], event_loop, tools={"look": lambda: result})
    assert episode.completion[1]["content"] == str(result)


def test_a_list_of_texts_stays_a_list(event_loop):
    (episode,) = play([[call("look"), say("oh")]], [Shop(EchoUser())], event_loop, tools={"look": lambda: TEXTS})
    assert episode.completion[1]["content"] == TEXTS


def test_a_list_is_what_it_is_in_the_loop_of_trl_where_that_would_train(event_loop):
    (episode,) = play([[call("look"), say("oh")]], [Shop()], event_loop, tools={"look": lambda: ["tea"]})
    assert episode.completion[1]["content"] == ["tea"]


def test_an_image_is_a_clear_error(event_loop):
    tools = {"look": lambda: [{"type": "image", "image": None}]}
    with pytest.raises(ValueError, match="`look` returned an image.*Return text"):
        play([[call("look")]], [Shop()], event_loop, tools=tools)


def test_reasoning_without_beginning_or_end_is_not_shown():
    thoughts = ["hm</think>yes", "<think>hm</think>yes", "yes<think>hm", "<think>hm"]
    messages = [{"role": "assistant", "content": text} for text in thoughts]
    assert [message["content"] for message in visible_messages(messages)] == ["yes", "yes", "yes", ""]


def test_what_users_wrote_is_shown_as_it_is():
    blocks = [{"type": "text", "text": "what does "}, {"type": "text", "text": "</think> do?"}]
    for content in ("what does </think> do?", blocks):
        assert visible_messages([{"role": "user", "content": content}])[0]["content"] == "what does </think> do?"


class SleepyUser:
    def __init__(self, seconds, name=""):
        self.seconds, self.name = seconds, name

    async def reply(self, messages):
        await asyncio.sleep(self.seconds)
        return f"{self.name} woke up"


class SyncSleepyUser(SleepyUser):
    def reply(self, messages):
        time.sleep(self.seconds)
        return f"{self.name} woke up"


class ThreadSafeShop(Shop):
    thread_safe = True


@pytest.mark.parametrize(("shop", "user"), [(Shop, SleepyUser), (ThreadSafeShop, SyncSleepyUser)])
def test_64_users_who_need_a_fifth_of_a_second_are_awaited_together(event_loop, shop, user):
    start = time.perf_counter()
    episodes = play([[say("hello?")]] * 64, [shop(user(0.2)) for _ in range(64)], event_loop, max_turns=2)
    assert time.perf_counter() - start < 2
    assert all(episode.num_replies == 1 for episode in episodes)


def test_async_tools_of_a_batch_are_awaited_together(event_loop):
    async def slow():
        await asyncio.sleep(0.2)
        return "slow"

    start = time.perf_counter()
    play([[call("slow"), say("ok")]] * 64, [Shop() for _ in range(64)], event_loop, tools={"slow": slow})
    assert time.perf_counter() - start < 2


def test_no_more_users_are_asked_at_once_than_allowed(event_loop):
    awake = most = 0

    class CountingUser:
        async def reply(self, messages):
            nonlocal awake, most
            awake += 1
            most = max(most, awake)
            await asyncio.sleep(0.01)
            awake -= 1

    play([[say("hello?")]] * 20, [Shop(CountingUser()) for _ in range(20)], event_loop, concurrency=4)
    assert most == 4


def test_sync_users_run_in_order_on_the_calling_thread(event_loop):
    order = []

    class OrderedUser:
        def __init__(self, i):
            self.i = i

        def reply(self, messages):
            order.append((self.i, threading.current_thread()))

    play([[say("hello?")]] * 5, [Shop(OrderedUser(i)) for i in range(5)], event_loop)
    assert order == [(i, threading.current_thread()) for i in range(5)]


def test_who_answers_first_changes_nothing(event_loop):
    outcomes = []
    for seed in range(3):
        delays = random.Random(seed).sample(range(8), 8)
        shops = [Shop(SleepyUser(delay / 200, name=str(i))) for i, delay in enumerate(delays)]
        plans = [[say("hello?"), call("look", "look"), say("bye")] for _ in shops]
        episodes = play(plans, shops, event_loop, max_turns=4)
        outcomes.append([(episode.completion, episode.stop_reason) for episode in episodes])
    assert outcomes[0] == outcomes[1] == outcomes[2]


class BrokenUser:
    def reply(self, messages):
        raise ConnectionError("no line")


class BrokenAsyncUser:
    async def reply(self, messages):
        raise UserSimulatorError("no line after 3 attempts")


@pytest.mark.parametrize("user", [BrokenUser(), BrokenAsyncUser()])
def test_a_failing_user_ends_the_run_and_names_the_episode(event_loop, user):
    with pytest.raises(UserSimulatorError, match="The user of episode 1 failed: no line") as error:
        play([[say("hello?")]] * 3, [Shop(EchoUser()), Shop(user), Shop(EchoUser())], event_loop)
    assert error.value.__cause__ is not None


class QuittingUser:
    def reply(self, messages):
        raise SystemExit(3)


class QuittingAsyncUser:
    async def reply(self, messages):
        raise KeyboardInterrupt


class ClosingUser:
    def reply(self, messages):
        raise GeneratorExit("bye")


class ClosingAsyncUser:
    async def reply(self, messages):
        raise GeneratorExit("bye")


class QuittingTaskUser:
    """The exit is raised in a task of the user's own."""

    async def reply(self, messages):
        return await asyncio.gather(QuittingAsyncUser().reply(messages))


@pytest.mark.parametrize("shop", [Shop, ThreadSafeShop])
@pytest.mark.parametrize(
    "user", [QuittingUser(), QuittingAsyncUser(), QuittingTaskUser(), ClosingUser(), ClosingAsyncUser()]
)
def test_an_exit_in_a_user_is_a_failure_of_the_user(event_loop, shop, user):
    with pytest.raises(
        UserSimulatorError, match="of episode 0 failed: (SystemExit: 3|KeyboardInter|GeneratorExit: bye)"
    ):
        play([[say("hello?")]], [shop(user)], event_loop)
    assert event_loop.is_running()


def test_an_exit_in_a_tool_is_told_to_the_agent(event_loop):
    def leave():
        sys.exit(0)

    async def leave_later():
        sys.exit("no such flag")

    tools = {"leave": leave, "leave_later": leave_later}
    (episode,) = play([[call("leave", "leave_later"), say("oh")]], [Shop()], event_loop, tools=tools)
    answers = [m["content"] for m in episode.completion if m["role"] == "tool"]
    assert answers == ["{'error': 'SystemExit: 0'}", "{'error': 'SystemExit: no such flag'}"]
    assert episode.stop_reason == StopReason.ANSWERED


def test_tools_that_take_too_long_are_told_to_the_agent(event_loop):
    ended = []

    def sleep():
        time.sleep(60)

    def spin():
        try:
            while True:
                pass
        finally:
            ended.append("spin")

    async def sleep_later():
        await asyncio.sleep(60)

    async def stubborn():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("stubborn")
                await asyncio.sleep(60)

    def quick():
        return "quick"

    tools = {function.__name__: function for function in (sleep, spin, sleep_later, stubborn, quick)}
    start = time.perf_counter()
    (episode,) = play([[call(*tools), say("oh")]], [Shop()], event_loop, tools=tools, feedback_timeout=0.3)
    assert time.perf_counter() - start < 30
    answers = [m["content"] for m in episode.completion if m["role"] == "tool"]
    assert answers == ["{'error': 'No result within 0.3 s.'}"] * 4 + ["quick"]
    assert (episode.num_tool_failures, episode.num_tool_timeouts) == (4, 4)
    deadline = time.perf_counter() + 30
    while len(ended) < 2 and time.perf_counter() < deadline:
        time.sleep(0.05)
    assert sorted(ended) == ["spin", "stubborn"]  # nobody is left at work


class SleepingUser:
    def reply(self, messages):
        time.sleep(60)


@pytest.mark.parametrize("shop", [Shop, ThreadSafeShop])
def test_users_who_take_too_long_end_the_run(event_loop, shop):
    for user in (SleepingUser(), SleepyUser(60)):
        with pytest.raises(UserSimulatorError, match="episode 0 failed: No result within 0.2 s. Raise `feedback_tim"):
            play([[say("hello?")]], [shop(user)], event_loop, feedback_timeout=0.2)


def test_a_user_who_blocks_the_event_loop_is_a_clear_error(monkeypatch):
    class BlockingUser:
        async def reply(self, messages):
            time.sleep(2.5)

    monkeypatch.setattr("trl_infopo.calls.GRACE", 0.5)
    thread, loop, ready = start_event_loop_in_daemon()
    ready.wait()
    with pytest.raises(RuntimeError, match="blocks the event loop for longer than `feedback_timeout`. Let it await"):
        play([[say("hello?")]], [Shop(BlockingUser())], loop, feedback_timeout=0.5)
    shutdown_event_loop_in_daemon(thread, loop)


def test_slow_calls_of_one_message_do_not_block_the_event_loop(event_loop, monkeypatch):
    """They run one after the other, and each may take as long as the limit says."""
    monkeypatch.setattr("trl_infopo.calls.GRACE", 0.1)

    def slow():
        time.sleep(0.6)
        return "done"

    names = [f"slow_{i}" for i in range(5)]
    tools = dict.fromkeys(names, slow)
    (episode,) = play([[call(*names), say("oh")]], [ThreadSafeShop()], event_loop, tools=tools, feedback_timeout=1.0)
    assert [m["content"] for m in episode.completion if m["role"] == "tool"] == ["done"] * 5


def test_calls_that_are_abandoned_do_not_keep_the_process_alive(event_loop):
    """Python waits for all threads at its end, but for daemons."""
    left = threading.Event()
    threads = []

    def endless():
        threads.append(threading.current_thread())
        left.wait(60)

    shops = [ThreadSafeShop(), ThreadSafeShop(BrokenUser())]
    with pytest.raises(UserSimulatorError):
        play(
            [[call("endless")], [say("hello?")]],
            shops,
            event_loop,
            tools={"endless": endless},
            min_ready_fraction=0.5,
        )
    assert [thread.daemon for thread in threads] == [True]
    left.set()


def test_a_result_with_the_address_of_an_image_is_no_image(event_loop):
    shoes = [{"name": "shoe", "image": "http://shop/1.png"}]
    (episode,) = play([[call("find"), say("oh")]], [Shop()], event_loop, tools={"find": lambda: shoes})
    assert [m["content"] for m in episode.completion if m["role"] == "tool"] == [shoes]


class CancelledUser:
    async def reply(self, messages):
        raise asyncio.CancelledError


def test_a_cancelled_user_has_failed(event_loop):
    with pytest.raises(UserSimulatorError, match="The user of episode 0 failed: CancelledError"):
        play([[say("hello?")]], [Shop(CancelledUser())], event_loop)


def test_every_error_reaches_the_other_processes(event_loop):
    told = []

    def synchronize(is_active, error):
        told.append(error)
        raise error

    with pytest.raises(ValueError, match="image"):
        play(
            [[call("look")]],
            [Shop()],
            event_loop,
            tools={"look": lambda: [{"type": "image", "image": None}]},
            synchronize=synchronize,
        )
    assert len(told) == 1


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


def nested(depth):
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    "reply",
    ["", "  \n", 3, 10**5000, Unspeakable(), [Unspeakable()], nested(500), ["x"] * 10**6],
    ids=lambda reply: type(reply),
)
def test_a_reply_is_text_or_none(event_loop, reply):
    user = EchoUser()
    user.reply = lambda messages: reply
    with pytest.raises(UserSimulatorError, match=r"episode 0.*`EchoUser.reply` returned .*Return text, or None"):
        play([[say("hello?")]], [Shop(user)], event_loop)


def test_a_user_who_fails_inside_a_tool_is_no_feedback(event_loop):
    def ask():
        raise UserSimulatorError("no line")

    with pytest.raises(UserSimulatorError, match="The user of episode 0 failed: no line"):
        play([[call("ask")]], [Shop()], event_loop, tools={"ask": ask})


def test_every_process_goes_on_as_long_as_any_does(event_loop):
    acted, states = [], []

    def synchronize(is_active, error):
        states.append((is_active, error))
        return len(states) < 4  # another process needs three more rounds

    converse([], acted.append, event_loop, synchronize=synchronize)
    assert acted == [[], [], []]
    assert states == [(False, None)] * 4


# ---- tokens


def token_policy(sampled, max_completion_length=100, max_model_length=1000) -> TokenPolicy:
    queue = list(sampled)

    def generate(contexts):
        ids = [queue.pop(0) for _ in contexts]
        return ids, [[-1.0] * len(row) for row in ids]

    return TokenPolicy(
        generate,
        parse=lambda episode, ids, context: say(f"{context}>{ids}"),
        render=lambda feedback: [7] * len(feedback[0]["content"]),
        eos_token_ids=[0],
        max_completion_length=max_completion_length,
        max_model_length=max_model_length,
    )


def start(policy, ids, prompt_ids=(1, 2)) -> Episode:
    episode = Episode(PROMPT, prompt_ids=list(prompt_ids))
    policy.record(episode, say("hi"), list(ids), [-1.0] * len(ids))
    return episode


def test_what_was_sampled_and_what_came_back_are_told_apart():
    policy = token_policy([[4, 5, 0]])
    episode = start(policy, [3, 0])
    episode.feedback = [{"role": "user", "content": "abc"}]
    policy([episode])
    assert episode.completion_ids == [3, 0, 7, 7, 7, 4, 5, 0]
    assert episode.action_mask == [1, 1, 0, 0, 0, 1, 1, 1]
    assert episode.logprobs == [-1, -1, 0, 0, 0, -1, -1, -1]
    assert episode.completion[-1]["content"] == "[1, 2, 3, 0, 7, 7, 7]>[4, 5, 0]"
    assert episode.stop_reason is None


@given(
    budget=st.integers(2, 12),
    room=st.integers(4, 14),
    first=st.integers(1, 6),
    reply=st.integers(1, 6),
    second=st.integers(1, 6),
)
def test_no_budget_is_ever_exceeded(budget, room, first, reply, second):
    limit = min(budget, room - 2)
    policy = token_policy([[4] * (second - 1) + [0]], budget, room)
    episode = start(policy, ([3] * (first - 1) + [0])[:limit])
    if episode.stop_reason is None:
        episode.feedback = [{"role": "user", "content": "x" * reply}]
        policy([episode])
    assert len(episode.completion_ids) == len(episode.action_mask) == len(episode.logprobs) <= limit
    fits = min(first, limit) + reply < limit and first <= limit
    assert fits == (len(episode.completion) == 3)
    assert (episode.stop_reason == StopReason.MAX_TOKENS) == (
        first > limit or not fits or first + reply + second > limit
    )


def test_a_finished_action_that_fills_the_budget_is_no_cut():
    assert start(token_policy([], max_completion_length=3), [3, 3, 0]).stop_reason is None
    assert start(token_policy([], max_completion_length=3), [3, 3, 3]).stop_reason == StopReason.MAX_TOKENS


def test_an_empty_action_is_a_cut():
    policy = token_policy([[]])
    episode = start(policy, [3, 0])
    episode.feedback = [{"role": "user", "content": "abc"}]
    policy([episode])
    assert episode.stop_reason == StopReason.MAX_TOKENS
    assert episode.completion_ids == [3, 0]


@pytest.mark.parametrize(
    ("completion", "ids", "reason"),
    [
        ([say("hi")], [3, 0], StopReason.ANSWERED),
        ([say("hi")], [3, 3, 3, 3], StopReason.MAX_TOKENS),
        ([call("look")], [3, 0], StopReason.MAX_TOKENS),  # what came back did not fit
        ([call("look"), {"role": "tool", "content": "x"}, call("look")], [3, 0], StopReason.MAX_TURNS),
        ([call("look"), {"role": "tool", "content": "x"}], [3, 0, 7, 0], StopReason.MAX_TOKENS),
    ],
)
def test_stop_reasons_of_trls_own_loop(completion, ids, reason):
    assert infer_stop_reason(completion, ids, [0], max_turns=2, max_completion_length=4) == reason
