# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Users who speak first: what the agent and they are shown, how many are awaited at once, and what ends a run."""

import asyncio
import time

import pytest
from misbehaving_server import MisbehavingServer, fails, says
from scripted_agents import ScriptedTrainer, make_scripted_trainer
from test_misbehaviour import logged, play
from test_rewards import NUM_ROLLOUTS, OPTIONS, ROWS, Count, say_hi
from trl import GRPOTrainer

from trl_infopo import evaluate
from trl_infopo.rollout import Episode, begin
from trl_infopo.users import ChatUser, Fact, Scenario, ScriptedUser, Usage, UserSimulatorError
from trl_infopo.users.prompt import swap_roles


class Caller:
    """Says first what they want, and later that they do not mind."""

    text = "I want to fly."

    def __init__(self):
        self.shown, self.heard, self.usage = None, [], Usage()

    async def opening(self, messages):
        self.shown = messages
        self.usage.tokens += 10
        return self.text

    def reply(self, messages):
        self.heard.append(messages)
        return "I do not mind." if len(self.heard) < 2 else None


class SyncCaller(Caller):
    def opening(self, messages):
        self.shown = messages
        self.usage.tokens += 10
        return self.text


class Desk:
    user: Caller
    kind = Caller
    observation = None

    def reset(self, **row):
        self.user = self.kind()
        return self.observation

    def get_reward(self) -> float:
        return float(len(self.user.heard))


GREETING = {"role": "assistant", "content": "Hello, how can I help you?"}
POLICY = {"role": "system", "content": "You sell flights."}
WANTS = {"role": "user", "content": "I want to fly."}


def user(text):
    return {"role": "user", "content": text}


# ---- what is shown to whom


@pytest.mark.parametrize(
    ("prompt", "observation", "shown", "expected"),
    [
        ([POLICY], None, [], [POLICY, WANTS]),
        ([POLICY, GREETING], None, [GREETING], [POLICY, GREETING, WANTS]),
        ([POLICY, user("")], None, [], [POLICY, WANTS]),
        ([user("Hi.")], None, [user("Hi.")], [user("Hi.\n\nI want to fly.")]),
        ([user("Hi.")], " Good day.", [user("Hi. Good day.")], [user("Hi. Good day.\n\nI want to fly.")]),
        (None, None, [], [WANTS]),
        (None, "It rains.", [user("It rains.")], [user("It rains.\n\nI want to fly.")]),
        (
            [user([{"type": "text", "text": "Hi."}])],
            None,
            [user("Hi.")],
            [user([{"type": "text", "text": "Hi."}, {"type": "text", "text": "I want to fly."}])],
        ),
    ],
)
@pytest.mark.parametrize("kind", [Caller, SyncCaller])
def test_what_the_user_says_first_is_in_the_prompt(monkeypatch, kind, prompt, observation, shown, expected):
    made = []

    class Kept(Desk):
        def reset(self, **row):
            made.append(self)
            return super().reset(**row)

    monkeypatch.setattr(Desk, "kind", kind)
    monkeypatch.setattr(Desk, "observation", observation)
    row = {} if prompt is None else {"prompt": prompt}
    before = repr(row)
    (record,) = evaluate(say_hi, {"caller": Kept}, [row], show_progress=False).records
    assert record["messages"][: len(expected)] == expected
    assert made[0].user.shown == shown
    assert record["messages"][len(expected)] == {"role": "assistant", "content": "hi"}
    assert repr(row) == before


@pytest.mark.parametrize("kind", [Caller, SyncCaller])
def test_in_training_as_in_evaluate(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Desk, "kind", kind)
    trainer, completions = play(tmp_path, Desk, ["hi", "bye"])
    for prompt, completion in completions:
        assert prompt[0]["content"] in {f"book {i} please\n\nI want to fly." for i in range(2)}
        assert completion[0]["content"] == "hi"
    decoded = trainer._tokenizer.decode(trainer._episodes[0].prompt_ids)
    assert "please\n\nI want to fly." in decoded
    assert all(
        environment.user.heard[0][0] == prompt[0]
        for environment, (prompt, _) in zip(trainer.environments, completions, strict=True)
    )
    # An opening is a reply: one more than were asked for by messages
    assert logged(trainer, "infopo/user/calls") == [3.0]
    assert logged(trainer, "infopo/user/tokens") == [10.0]


def test_rows_of_a_dataset_stay_as_they_are(tmp_path):
    trainer, _ = play(tmp_path, Desk, ["hi", "bye"], max_steps=3)
    assert [row["prompt"][0]["content"] for row in trainer.train_dataset] == ["book 0 please", "book 1 please"]


def test_prompts_of_a_group_are_generated_apart(tmp_path, monkeypatch):
    """vLLM samples several continuations of the first prompt of a group: TRL tells it how many."""
    told = []

    def generate(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        told.append(num_generations)
        return [[self.eos_token_ids[0]] for _ in prompt_ids], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generate)
    monkeypatch.delattr(ScriptedTrainer, "_generate_single_turn")
    for has_opening, expected in ((True, 1), (False, 2)):
        monkeypatch.setattr(
            Desk, "kind", Caller if has_opening else type("Quiet", (), {"heard": [], "reply": lambda *a: None})
        )
        told.clear()
        trainer = make_scripted_trainer(tmp_path, Desk, max_turns=1)
        trainer.train()
        assert told[0] == expected


# ---- together


class Waits(Caller):
    async def opening(self, messages):
        await self.count.wait()
        return "hello"


class WaitsInThread(Caller):
    def opening(self, messages):
        self.count.wait_here()
        return "hello"


class ThreadSafeDesk(Desk):
    thread_safe = True


WAITING = pytest.mark.parametrize(("desk", "kind"), [(Desk, Waits), (ThreadSafeDesk, WaitsInThread)])


@WAITING
@pytest.mark.parametrize("limit", [64, 3])
def test_openings_of_a_batch_are_awaited_together(tmp_path, monkeypatch, desk, kind, limit):
    for plays in (
        lambda: play(tmp_path, desk, ["hi", "bye"], user_concurrency=limit, **OPTIONS),
        lambda: evaluate(say_hi, {"caller": desk}, ROWS, concurrency=limit, show_progress=False),
    ):
        count = Count(min(limit, NUM_ROLLOUTS))
        monkeypatch.setattr(kind, "count", count, raising=False)
        monkeypatch.setattr(desk, "kind", kind)
        plays()
        assert count.most == min(limit, NUM_ROLLOUTS)
        assert len(count.threads) == NUM_ROLLOUTS


# ---- failures


class Fails(Caller):
    async def opening(self, messages):
        raise ConnectionError("no line")


class SyncFails(Caller):
    def opening(self, messages):
        raise ConnectionError("no line")


@pytest.mark.parametrize("kind", [Fails, SyncFails])
def test_a_user_who_cannot_begin_ends_the_run(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Desk, "kind", kind)
    with pytest.raises(UserSimulatorError, match="The user of rollout 0 of process 0 at step 0 failed: no line"):
        play(tmp_path, Desk, ["hi"])
    with pytest.raises(
        UserSimulatorError, match="The user of task 0, run 0 with the user 'caller' failed: no l"
    ) as error:
        evaluate(say_hi, {"caller": Desk}, ROWS, output_dir=tmp_path, show_progress=False)
    assert "goes on there" in error.value.__notes__[0]


def test_who_returns_none_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Caller, "text", None)
    (record,) = evaluate(say_hi, {"caller": Desk}, ROWS[:1], show_progress=False).records
    assert record["messages"][:2] == [*ROWS[0]["prompt"], {"role": "assistant", "content": "hi"}]
    trainer, completions = play(tmp_path, Desk, ["hi", "bye"])
    assert {prompt[0]["content"] for prompt, _ in completions} == {"book 0 please", "book 1 please"}
    assert logged(trainer, "infopo/user/calls") == [2.0]  # the openings are none


@pytest.mark.parametrize("text", ["", "  ", 3])
def test_an_opening_is_text(tmp_path, monkeypatch, text):
    monkeypatch.setattr(Caller, "text", text)
    with pytest.raises(
        UserSimulatorError, match="rollout 0 .*`Caller.opening` returned .* Return text, or None to say"
    ):
        play(tmp_path, Desk, ["hi"])


class Sleeps(Caller):
    async def opening(self, messages):
        await asyncio.sleep(60)


class SleepsHere(Caller):
    def opening(self, messages):
        time.sleep(60)


@pytest.mark.parametrize("kind", [Sleeps, SleepsHere])
def test_a_user_who_takes_too_long_to_begin_ends_the_run(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Desk, "kind", kind)
    with pytest.raises(UserSimulatorError, match="rollout 0 .* No result within 0.2 s. Raise `feedback_timeout`"):
        play(tmp_path, Desk, ["hi"], feedback_timeout=0.2)


def test_half_a_surrogate_pair_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(Caller, "text", "fly \ud83d")
    _, completions = play(tmp_path, Desk, ["hi", "bye"])
    assert completions[0][0][0]["content"].endswith("fly \N{REPLACEMENT CHARACTER}")


def test_every_process_hears_of_a_failure():
    told = []
    desk = Desk()
    desk.user = Fails()
    desk.user.opening = lambda messages: 1 / 0

    def synchronize(has_openings, error):
        told.append((has_openings, error))
        raise error

    with pytest.raises(UserSimulatorError, match="The user of episode failed: division by zero"):
        begin([Episode([WANTS], desk)], None, synchronize=synchronize)
    assert len(told) == 1


def test_a_missing_user_is_named_before_anybody_speaks(tmp_path, monkeypatch):
    monkeypatch.setattr(Desk, "kind", lambda self: None)
    with pytest.raises(ValueError, match="`Desk` declares a `user`, but after `reset` it is None"):
        play(tmp_path, Desk, ["hi"])


# ---- users of ours

SCENARIO = Scenario("I want to fly.", facts=(Fact("city", "Rome", keywords=("city",)),))


def test_a_scripted_user_may_begin_with_their_request(tmp_path, monkeypatch):
    class Opener(ScriptedUser):
        heard = ()

        def opening(self, messages):
            return self.scenario.request

    monkeypatch.setattr(Desk, "kind", lambda self: Opener(SCENARIO))
    (record,) = evaluate(say_hi, {"caller": Desk}, [{"prompt": [POLICY]}], show_progress=False).records
    assert record["messages"][:2] == [POLICY, WANTS]


def test_a_chat_user_may_begin_with_a_reply_to_the_greeting(monkeypatch):
    pytest.importorskip("openai")

    class ChatCaller(ChatUser):
        opening = ChatUser.reply
        heard = ()

    with MisbehavingServer(fails(500), says("I want to fly.")) as server:
        monkeypatch.setattr(
            Desk, "kind", lambda self: ChatCaller(SCENARIO, model="m", base_url=server.url, api_key="k", backoff=0.01)
        )
        row = {"prompt": [POLICY, GREETING]}
        (record,) = evaluate(say_hi, {"caller": Desk}, [row], max_turns=1, show_progress=False).records
    assert record["messages"][:3] == [POLICY, GREETING, WANTS]
    assert len(server.requests) == 2  # retried as a reply is
    assert server.requests[1]["messages"][1:] == [{"role": "user", "content": GREETING["content"]}]


def test_a_language_model_that_begins_is_greeted():
    assert swap_roles("play", []) == [
        {"role": "system", "content": "play"},
        {"role": "user", "content": "Hello! How can I help you?"},
    ]
