# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import copy
import gc
import importlib.util
import logging
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from types import SimpleNamespace

import pytest
from misbehaving_server import (
    MisbehavingServer,
    drops,
    drops_midway,
    fails,
    floods,
    says,
    sends,
    trickles,
)
from smollm2 import BOOKING, IN_WHICH_CITY, save_smollm2

from trl_infopo.rollout import Episode, converse
from trl_infopo.users import (
    END_MARKER,
    ChatUser,
    Fact,
    Scenario,
    UserSimulatorError,
)
from trl_infopo.users.endpoint import _connections
from trl_infopo.users.responses import MAX_RESPONSE_BYTES


pytest.importorskip("openai", reason="the package `openai` is not installed")

KEY = "sk-very-secret-0123456789"
SCENARIO = Scenario(
    "I need a trip.",
    facts=(Fact("city", "Paris", keywords=("city",), sentence="I want to go to {value}."),),
    profile="You are Ada, who wants to see {the} sea.",
    rules="- At most two sentences.",
)
MESSAGES = [{"role": "user", "content": "I need a trip."}, {"role": "assistant", "content": "Where to?"}]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def make_user(server, seed=0, **arguments):
    arguments = {"model": "tiny", "api_key": KEY, "timeout": 5.0, "max_retries": 2, "backoff": 0.001, **arguments}
    return ChatUser(SCENARIO, seed, base_url=server.url, **arguments)


def ask(user, messages=MESSAGES):
    return asyncio.run(user.reply(messages))


def fail(user):
    with pytest.raises(UserSimulatorError) as error:
        ask(user)
    return error.value


class TestRequest:
    def test_the_model_plays_the_user(self):
        with MisbehavingServer(says(" To Paris. ")) as server:
            user = make_user(server, seed=7)
            assert ask(user) == "To Paris."
            [request] = server.requests
        assert request["model"] == "tiny"
        assert (request["temperature"], request["seed"], request["max_tokens"]) == (0.0, 7, 256)
        assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "user"]
        system, _, said, asked = [message["content"] for message in request["messages"]]
        for text in (SCENARIO.profile, SCENARIO.request, SCENARIO.rules, "I want to go to Paris.", END_MARKER):
            assert text in system
        assert (said, asked) == ("I need a trip.", "Where to?")
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"

    def test_roles_alternate_also_where_the_agent_began(self):
        with MisbehavingServer(says("Paris.")) as server:
            ask(make_user(server), MESSAGES[1:])
            assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]

    def test_options_replace_and_leave_out(self):
        options = {"max_tokens": None, "max_completion_tokens": 9, "extra_body": {"enable_thinking": False}}
        with MisbehavingServer(says("Paris.")) as server:
            ask(make_user(server, temperature=0.7, request_options=options))
            [request] = server.requests
        assert "max_tokens" not in request
        assert (request["max_completion_tokens"], request["enable_thinking"]) == (9, False)
        assert request["temperature"] == 0.7

    def test_persona_prompt_of_ones_own(self):
        with MisbehavingServer(says("Paris.")) as server:
            ask(make_user(server, persona_prompt="{{Play}} {profile}"))
            assert server.requests[0]["messages"][0]["content"] == "{Play} " + SCENARIO.profile

    def test_environment_variables(self, monkeypatch):
        with MisbehavingServer(says("Paris.")) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            assert ask(ChatUser(SCENARIO, model="tiny")) == "Paris."
            assert server.headers[0]["authorization"] == f"Bearer {KEY}"


class TestReply:
    @pytest.mark.parametrize("text", [END_MARKER, f"Thank you! {END_MARKER}", f"<think>Hm.</think>{END_MARKER}"])
    def test_end_marker_ends_the_talk(self, text):
        with MisbehavingServer(says(text)) as server:
            user = make_user(server)
            assert ask(user) is None
            assert user.usage.errors == 0

    @pytest.mark.parametrize(
        "text",
        [
            f"<think>{END_MARKER}?\nNo.</think>\n\nParis.",
            "The template opened the block.</think>Paris.",
            "<think>a</think>Paris.<think>cut off",
        ],
    )
    def test_thoughts_are_not_said(self, text):
        with MisbehavingServer(says(text, reasoning_content=f"Secret. {END_MARKER}")) as server:
            assert ask(make_user(server)) == "Paris."

    def test_cut_reply_is_said_with_a_warning(self):
        with (
            MisbehavingServer(says("I want to go to", "length")) as server,
            pytest.warns(UserWarning, match="max_tok"),
        ):
            assert ask(make_user(server)) == "I want to go to"

    def test_thoughts_that_take_all_tokens_are_a_failure(self):
        with MisbehavingServer(says("<think>Let me", "length")) as server:
            error = fail(make_user(server))
            assert len(server.requests) == 3
        assert "max_tokens" in str(error)

    def test_tokens_are_counted_over_the_episode(self):
        with MisbehavingServer(says("Paris."), says(""), says("Rome.")) as server:
            user = make_user(server)
            assert [ask(user), ask(user)] == ["Paris.", "Rome."]
        assert (user.usage.tokens, user.usage.errors) == (3 * 42, 1)  # an empty answer has cost tokens too


FAILURES = {
    "slow": (says("Paris.", seconds=3), "timeout"),
    "trickle": (trickles(3), "timeout"),
    "drop": (drops, "connection"),
    "drop midway": (drops_midway, "connection"),
    "429": (fails(429, "slow down"), "status 429.*slow down"),
    "500": (fails(500, "oops"), "status 500.*oops"),
    "503 page": (sends(b"<html>try later</html>", 503), "status 503.*try later"),
    "invalid JSON": (sends(b'{"choices": ['), "not a chat completion"),
    "nothing": (sends(b""), "not a chat completion"),
    "other JSON": (sends(b'{"choices": []}'), "not a chat completion"),
    "deep JSON": (sends(b"[" * 200_000), "not a chat completion"),
    "binary": (sends(b"\xff\xfe\x00"), "not a chat completion"),
    "list as content": (says(["Paris."]), "not a chat completion"),
    "empty": (says(""), "empty answer"),
    "blank": (says(" \n"), "empty answer"),
    "null": (says(None), "empty answer"),
    "2 MB": (floods(2 * 10**6), f"more than {MAX_RESPONSE_BYTES} bytes"),
}

TIMEOUTS = {"slow": 0.2, "trickle": 0.2}


class TestFailures:
    @pytest.mark.parametrize("name", FAILURES)
    def test_bounded_retries_then_a_clear_error(self, name, caplog):
        behaviour, cause = FAILURES[name]
        with caplog.at_level(logging.DEBUG), MisbehavingServer(behaviour) as server:
            user = make_user(server, timeout=TIMEOUTS.get(name, 5.0))
            start = time.monotonic()
            error = fail(user)
            assert time.monotonic() - start < 6  # three slow attempts without a timeout take 9 s
            assert len(server.requests) == 3
            assert user.usage.errors == 3
            for text in (server.url, "'tiny'", "3 attempts"):
                assert text in str(error)
        assert re.search(cause, str(error))
        assert error.__cause__ is None
        assert error.__context__ is None
        assert KEY not in str(error) + caplog.text

    @pytest.mark.parametrize("name", FAILURES)
    def test_one_failure_is_made_good(self, name):
        with MisbehavingServer(FAILURES[name][0], says("Paris.")) as server:
            user = make_user(server, timeout=TIMEOUTS.get(name, 5.0))
            assert ask(user) == "Paris."
            assert len(server.requests) == 2
        assert user.usage.errors == 1

    def test_nobody_listens(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
            user = ChatUser(SCENARIO, model="tiny", base_url=url, api_key=KEY, max_retries=1, backoff=0)
            error = fail(user)
        assert url in str(error)
        assert "2 attempts" in str(error)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    def test_what_a_retry_cannot_mend_fails_at_once(self, status, caplog):
        echo = f"Incorrect API key provided: {KEY}."
        with caplog.at_level(logging.DEBUG), MisbehavingServer(fails(status, echo)) as server:
            user = make_user(server)
            error = fail(user)
            assert len(server.requests) == 1
        assert user.usage.errors == 1
        assert f"status {status}" in str(error)
        assert "1 attempt." in str(error)
        assert KEY not in str(error) + caplog.text
        assert "Incorrect API key provided" in str(error)

    def test_error_text_is_short(self):
        with MisbehavingServer(sends(b"x" * 10**6, 500)) as server:
            assert len(str(fail(make_user(server)))) < 1000

    def test_a_flood_is_not_read(self):
        with MisbehavingServer(floods(10**8)) as server:
            fail(make_user(server, max_retries=0))
            time.sleep(0.05)
            assert server.bytes_sent < 3 * 10**7  # what the sockets' buffers took

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_retry_after_is_honoured(self, form):
        value = "0.3" if form == "seconds" else formatdate(time.time() + 1.5, usegmt=True)
        with MisbehavingServer(fails(429, Retry_After=value), says("Paris.")) as server:
            assert ask(make_user(server)) == "Paris."
            waited = server.times[1] - server.times[0]
        assert (0.3 if form == "seconds" else 0.4) <= waited < 3

    def test_retry_after_is_bounded(self, monkeypatch):
        monkeypatch.setattr("trl_infopo.users.endpoint.MAX_WAIT", 0.1)
        with MisbehavingServer(fails(429, Retry_After="86400"), says("Paris.")) as server:
            start = time.monotonic()
            assert ask(make_user(server)) == "Paris."
        assert time.monotonic() - start < 2

    def test_delays_double(self):
        with MisbehavingServer(fails(500)) as server:
            fail(make_user(server, max_retries=3, backoff=0.1))
            delays = [after - before for before, after in zip(server.times, server.times[1:])]
        for k, delay in enumerate(delays):
            assert 0.05 * 2**k <= delay < 0.1 * 2**k + 0.3

    def test_delays_do_not_touch_the_global_generator(self):
        state = random.getstate()
        with MisbehavingServer(fails(500), says("Paris.")) as server:
            ask(make_user(server))
        assert random.getstate() == state


def converse_with(server, **arguments):
    """Three episodes through the rollout loop, each of which asks once."""
    environments = [SimpleNamespace(user=make_user(server, **arguments)) for _ in range(3)]
    episodes = [Episode(MESSAGES[:1], environment, name=f"row {k}") for k, environment in enumerate(environments)]
    for episode in episodes:
        episode.act(MESSAGES[1])

    def act(active):
        for episode in active:
            episode.act({"role": "assistant", "content": "Thanks."})

    event_loop = asyncio.new_event_loop()
    thread = threading.Thread(target=event_loop.run_forever)
    thread.start()
    try:
        converse(episodes, act, event_loop, max_turns=2)
    finally:
        event_loop.call_soon_threadsafe(event_loop.stop)
        thread.join()
        event_loop.close()
    return episodes


class TestRollout:
    def test_replies_become_feedback(self):
        with MisbehavingServer(says("Paris.", seconds=0.1)) as server:
            episodes = converse_with(server)
            assert server.peak == 3
        for episode in episodes:
            assert [message["content"] for message in episode.completion] == ["Where to?", "Paris.", "Thanks."]
            assert episode.num_replies == 1
            assert episode.reply_seconds >= 0.1
            assert episode.environment.user.usage.tokens == 42

    def test_a_failure_names_the_episode_and_the_cause(self):
        with MisbehavingServer(says("Paris."), fails(500, "oops")) as server:
            with pytest.raises(UserSimulatorError) as error:
                converse_with(server, max_concurrency=1, max_retries=1)
            assert re.search(rf"row 1 .*{server.url}.*2 attempts.*status 500.*oops", str(error.value))
        assert KEY not in "".join(traceback.format_exception(error.value))


class TestConcurrency:
    @staticmethod
    def ask_together(users):
        async def together():
            return await asyncio.gather(*(user.reply(MESSAGES) for user in users))

        return asyncio.run(together())

    def test_64_users_wait_together(self):
        with MisbehavingServer(says("Paris.", seconds=0.2)) as server:
            users = [make_user(server) for _ in range(64)]
            ask(users[0])  # openai loads
            assert self.ask_together(users) == ["Paris."] * 64
            assert server.peak > 32  # a busy machine may be slow, but they wait at the same time

    def test_limit_holds_over_all_users_of_an_endpoint(self):
        with MisbehavingServer(says("Paris.", seconds=0.02)) as server:
            self.ask_together([make_user(server, max_concurrency=3) for _ in range(12)])
            assert server.peak == 3

    def test_users_share_connections(self):
        async def one_after_another(users):
            return [await user.reply(MESSAGES) for user in users]

        with MisbehavingServer(says("Paris.")) as server:
            asyncio.run(one_after_another([make_user(server) for _ in range(5)]))
            assert (len(server.requests), server.connections) == (5, 1)

    def test_closed_event_loops_leave_nothing_behind(self, caplog):
        async def ask_and_collect(user):
            await user.reply(MESSAGES)
            gc.collect()
            await asyncio.sleep(0.01)
            return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

        # What tests before this one have left
        gc.collect()
        caplog.clear()
        others = len(_connections)
        with MisbehavingServer(says("Paris.")) as server:
            open_files = [asyncio.run(ask_and_collect(make_user(server))) for _ in range(6)]
        assert len(_connections) <= others + 1
        assert open_files[-1] <= open_files[1] + 2
        assert not [record for record in caplog.records if record.name == "asyncio"]

    def test_loops_of_several_threads(self):
        with MisbehavingServer(says("Paris.", seconds=0.05)) as server:
            replies = []
            threads = [threading.Thread(target=lambda: replies.append(ask(make_user(server)))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert replies == ["Paris."] * 8


class TestSecrets:
    def test_key_is_in_no_representation(self):
        user = ChatUser(SCENARIO, model="tiny", api_key=KEY)
        assert KEY not in repr(user) + str(user)
        assert KEY.encode() not in pickle.dumps(user)
        assert KEY not in str(vars(copy.deepcopy(user)))

    def test_a_copy_reads_the_environment(self, monkeypatch):
        with MisbehavingServer(says("Paris.")) as server:
            user = pickle.loads(pickle.dumps(make_user(server)))
            with pytest.raises(ValueError, match="OPENAI_API_KEY"):
                ask(user)
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            assert ask(user) == "Paris."

    def test_debug_logs_of_everything(self, caplog):
        with caplog.at_level(logging.DEBUG), MisbehavingServer(says("Paris.")) as server:
            ask(make_user(server))
        assert caplog.text  # something was logged
        assert KEY not in caplog.text

    @pytest.mark.parametrize("key", [f"{KEY}\nX: y", f"{KEY}é"])
    def test_key_that_no_header_carries_is_not_quoted(self, key):
        with pytest.raises(ValueError, match="API key") as error:
            ChatUser(SCENARIO, model="tiny", api_key=key)
        assert KEY not in str(error.value)

    def test_line_break_at_the_end_of_a_key(self):
        with MisbehavingServer(says("Paris.")) as server:
            assert ask(make_user(server, api_key=f"{KEY}\n")) == "Paris."
            assert server.headers[0]["authorization"] == f"Bearer {KEY}"


class TestArguments:
    def test_no_key(self):
        with pytest.raises(ValueError, match="`api_key`.*OPENAI_API_KEY"):
            ChatUser(SCENARIO, model="tiny")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("model", ""),
            ("timeout", 0),
            ("max_retries", -1),
            ("max_tokens", 0),
            ("max_concurrency", 0),
            ("backoff", -1),
            ("base_url", "localhost:8000/v1"),
            ("persona_prompt", "{unknown}"),
            ("persona_prompt", "{"),
        ],
    )
    def test_bad_values_are_named(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}`"):
            ChatUser(SCENARIO, **{"model": "tiny", "api_key": KEY, name: value})

    @pytest.mark.parametrize("url", ["http://me:hunter2@localhost/v1", "http://localhost/v1?key=hunter2"])
    def test_secrets_in_addresses_are_refused_and_not_repeated(self, url):
        with pytest.raises(ValueError, match="`base_url`") as error:
            ChatUser(SCENARIO, model="tiny", api_key=KEY, base_url=url)
        assert "hunter2" not in str(error.value)

    def test_no_openai(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "openai", None)
        with pytest.raises(ImportError, match=r'pip install "trl-infopo\[users\]"'):
            ChatUser(SCENARIO, model="tiny", api_key=KEY)

    def test_serves_as_make_user(self):
        with MisbehavingServer(says("Paris.")) as server:
            factory = partial(ChatUser, model="tiny", base_url=server.url, api_key=KEY)
            assert ask(factory(SCENARIO, 3)) == "Paris."
            assert server.requests[0]["seed"] == 3


@pytest.fixture(scope="module")
def served_smollm2(tmp_path_factory):
    """`transformers serve` with SmolLM2-135M-Instruct: its URL and the name of the model."""
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"`{name}` is not installed: pip install transformers[serving]")
    folder = save_smollm2(tmp_path_factory.mktemp("smollm2"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", "cpu"]
    log = folder / "serve.log"
    with log.open("w") as output:
        address = ["--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen([*command, *address], stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow
class TestTransformersServe:
    def make_user(self, served, **arguments):
        url, model = served
        options = {"base_url": url, "api_key": "local", "max_tokens": 32, "timeout": 120.0, **arguments}
        return ChatUser(BOOKING, model=model, **options)

    def test_the_model_answers_as_the_user(self, served_smollm2):
        users = [self.make_user(served_smollm2) for _ in range(2)]

        async def together():
            return await asyncio.gather(*(user.reply(IN_WHICH_CITY) for user in users))

        first, second = asyncio.run(together())
        assert "Paris" in first
        assert first == second
        for user in users:
            assert 200 < user.usage.tokens < 600
            assert user.usage.errors == 0

    def test_a_model_that_is_not_there(self, served_smollm2):
        url, _ = served_smollm2
        user = ChatUser(BOOKING, model="no/such-model", base_url=url, api_key="local", max_retries=0, timeout=120.0)
        assert re.search(rf"'no/such-model' at {url}.*status \d+", str(fail(user)))


def test_users_import_nothing_heavy():
    code = (
        "import sys; from trl_infopo.users import ChatUser, ScriptedUser; "
        "print([name for name in ('openai', 'httpx', 'httpx2', 'torch', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
