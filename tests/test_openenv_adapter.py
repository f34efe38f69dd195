# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""OpenEnv's own server on loopback, and servers that misbehave: what is played, trained on, and what ends a run."""

import json
import threading
import time
from contextlib import contextmanager
from datetime import date
from functools import partial
from types import SimpleNamespace

import pytest


pytest.importorskip("openenv")

from lazy import lazily
from two_steps import train_two_steps

from trl_infopo import evaluate
from trl_infopo.adapters import openenv_session
from trl_infopo.adapters.openenv import OpenEnvGame, OpenEnvSpec, OpenEnvTools
from trl_infopo.adapters.openenv_session import RefusedAction
from trl_infopo.scripts.loading import check_factory, load_environment
from trl_infopo.users import UserSimulatorError


servers = lazily("openenv_servers")  # OpenEnv's server brings Gradio

MODES = pytest.mark.parametrize("mode", ["tools", "action", "text"])


@pytest.fixture(scope="module")
def urls():
    with (
        servers.serve(servers.make_app("tools")) as tools,
        servers.serve(servers.make_app("action")) as action,
        servers.serve(servers.make_app("text")) as text,
    ):
        yield {"tools": tools, "action": action, "text": text}


@pytest.fixture(autouse=True)
def no_records():
    servers.records.clear()


def run(spec, policy=None, rows=None, **options):
    policy = policy or servers.solve
    rows = spec.eval_dataset if rows is None else rows
    return evaluate(policy, {"server": spec.environment_factory}, rows, show_progress=False, **options)


def say(text):
    return lambda messages, tools: {"role": "assistant", "content": text}


def messages(*contents):
    return {"messages": [{"content": content} for content in contents]}


def told(record) -> list[str]:
    return [message["content"] for message in record["messages"][1:] if message["role"] != "assistant"]


# ---- what is played


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"text": "You are at square 1"}, {"text": "You are at square 12"}, "You are at square 12"),
        ({"text": "Correct"}, {"text": "Correct answer: no"}, "Correct answer: no"),
        (messages("GUESS"), messages("GUESSED already"), "GUESSED already"),
        (messages("one", "two"), messages("one", "two", "three"), "three"),
        (messages("one"), messages("one"), "one"),
        (messages(""), messages("", ""), "{}"),
        (messages(" \n"), messages("\n"), "{}"),
    ],
)
def test_only_whole_messages_are_left_out_where_they_are_repeated(before, after, shown):
    game = object.__new__(OpenEnvGame)
    game.spec, game._reward, game._shown, game._session = OpenEnvSpec("http://localhost", mode="text"), None, [], None
    for observation in (before, after):
        text = game._take({"observation": observation, "reward": None, "done": False})
    assert text == shown


@pytest.mark.parametrize("mode", ["tools", "action"])
def test_calls_after_the_end_of_an_episode_earn_nothing(mode):
    class EndsAtOnce:
        requests = 0

        def request(self, kind, data):
            self.requests += 1
            return {"observation": {"result": "won"}, "reward": 1.0, "done": True}

    game = object.__new__(OpenEnvTools)
    game.spec = OpenEnvSpec("http://localhost", mode=mode, reward="sum")
    game._reward, game._shown, game.done, game._session = None, [], False, EndsAtOnce()
    name = "guess" if mode == "tools" else "act"
    game.call_tool(name, {})
    for _ in range(2):
        with pytest.raises(RefusedAction, match="The episode is over"):
            game.call_tool(name, {})
    assert (game.get_reward(), game._session.requests) == (1.0, 1)
    game._session = None


@pytest.mark.parametrize("url", ["http://user:hunter2@host:8000", "http://host:8000?token=hunter2"])
def test_secrets_do_not_show(url):
    with pytest.raises(ValueError, match="`base_url` has a user name, a query or a fragment") as error:
        OpenEnvSpec(url)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(OpenEnvSpec("http://host", headers={"Authorization": "Bearer hunter2"}))


@MODES
def test_a_solution_gets_the_full_reward_and_the_dialogue_is_the_servers_record(urls, mode):
    spec = OpenEnvSpec(urls[mode], mode=mode, num_eval_tasks=20, prompt="Find the word.")
    evaluation = run(spec)
    assert [record["reward"] for record in evaluation.records] == [1.0] * 20
    assert {record["stop_reason"] for record in evaluation.records} == {"environment_done"}
    theirs = {json.dumps(steps): steps for steps in servers.records if steps}
    assert len(theirs) == 20
    for record in evaluation.records:
        calls = [call["function"] for message in record["messages"] for call in message.get("tool_calls") or []]
        says = [message.get("content") for message in record["messages"] if message["role"] == "assistant"]
        if mode == "tools":
            ours = [
                [call["name"], call["arguments"], text, 1.0 if call["name"] == "unlock" else None]
                for call, text in zip(calls, told(record), strict=True)
            ]
        elif mode == "action":
            texts = told(record)
            ours = [[c["arguments"]["word"], t, float(t == "right")] for c, t in zip(calls, texts, strict=True)]
        else:
            ours = [list(pair) for pair in zip(says, told(record), strict=True)]
        assert json.dumps(ours) in theirs
        del theirs[json.dumps(ours)]
    assert wait_for(lambda: not servers.alive)


def wait_for(condition) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize(("mode", "reward", "reason"), [("action", 0.0, "answered"), ("text", 0.0, "max_turns")])
def test_a_policy_that_does_nothing_gets_what_the_server_gave_at_the_reset(urls, mode, reward, reason):
    (record,) = run(OpenEnvSpec(urls[mode], mode=mode, num_eval_tasks=1), say("hm"), max_turns=3).records
    assert (record["reward"], record["stop_reason"]) == (reward, reason)


def test_an_episode_without_a_reward_has_none_unless_one_is_set(urls):
    spec = OpenEnvSpec(urls["tools"], num_eval_tasks=1)
    with pytest.raises(ValueError, match="get_reward` returned None in task 0, run 0"):
        run(spec, say("hm"))
    (record,) = run(OpenEnvSpec(urls["tools"], num_eval_tasks=1, default_reward=0.0), say("hm")).records
    assert (record["reward"], record["stop_reason"]) == (0.0, "answered")
    assert len(record["messages"]) == 2  # the reset shows nothing, and nothing is added to the prompt


def test_rewards_are_summed_if_asked_and_never_shown(urls):
    def twice(messages, tools):
        first = len(messages) < 3
        function = {"name": "act", "arguments": {"word": "???" if first else "redbox"}}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}

    (record,) = run(OpenEnvSpec(urls["action"], mode="action", num_eval_tasks=1, reward="sum"), twice).records
    assert record["reward"] == 1.0
    assert told(record) == ["box it ends", "right"]


def test_what_the_agent_does_wrong_is_told_to_it(urls):
    script = iter([("ask", {"part": "middle"}), ("ask", {}), ("fly", {}), ("unlock", {"word": "redbox"})])

    def fumble(messages, tools):
        name, arguments = next(script)
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "tool_calls": [call]}

    (record,) = run(OpenEnvSpec(urls["tools"], num_eval_tasks=1), fumble).records
    part, missing, unknown, opened = told(record)
    assert "There is no part middle." in part
    assert "part" in missing
    assert "fly" in unknown
    assert "open" in opened
    assert record["reward"] == 1.0

    script = iter([("act", {"word": "x", "tries": 0}), ("act", {}), ("act", {"word": "redbox"})])
    (record,) = run(OpenEnvSpec(urls["action"], mode="action", num_eval_tasks=1), fumble).records
    assert told(record)[0] == "{'error': 'tries: Input should be greater than or equal to 1'}"
    assert told(record)[1] == "{'error': 'word: Field required'}"


def test_the_command_line_takes_a_spec_by_its_import_path(urls, tmp_path, monkeypatch):
    (tmp_path / "safes.py").write_text(
        f"from trl_infopo.adapters.openenv import OpenEnvSpec\n\nsafe = OpenEnvSpec({urls['tools']!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    factory = load_environment("safes:safe")
    check_factory("safes:safe", factory)
    assert [schema["function"]["name"] for schema in factory().tool_schemas] == ["ask", "unlock"]


def test_seeds_to_train_on_are_not_those_to_evaluate_on(urls):
    spec = OpenEnvSpec(urls["tools"], num_tasks=30, num_eval_tasks=5)
    assert not set(spec.train_dataset["seed"]) & set(spec.eval_dataset["seed"])


# ---- training


@pytest.mark.quick(2)
@pytest.mark.parametrize(("mode", "coef"), [("tools", 0.5), ("action", 0.5), ("text", 0.5), ("text", 0.0)])
def test_two_steps(urls, tmp_path, mode, coef):
    spec = OpenEnvSpec(urls[mode], mode=mode, num_tasks=4, default_reward=0.0, prompt="Find the word. ")
    rollouts = train_two_steps(
        tmp_path, spec.environment_factory, servers.number_prompts(spec.train_dataset), servers.solve, coef
    )
    assert {rollout["reward"] for rollout in rollouts} == {0.0, 1.0}
    assert wait_for(lambda: not servers.alive)


# ---- servers that misbehave


@contextmanager
def scripted_server(*answers):
    """A server of OpenEnv's protocol that answers each connection by a script, whose last entry goes on for good."""
    from websockets.sync.server import serve as serve_sockets

    asked, stopped = [], threading.Event()

    def handle(connection):
        for number, text in enumerate(connection):
            asked.append(json.loads(text)["type"])
            if asked[-1] == "close":
                return
            answer = answers[min(number, len(answers) - 1)]
            if answer == "hang up":
                connection.close_socket()
                return
            if answer == "sleep":
                stopped.wait(5)
                return
            connection.send(answer)

    def describe(connection, request):
        if request.path == "/schema":
            body = json.dumps({"action": {"properties": {"message": {"type": "string"}}}})
            return connection.respond(200, body)
        return None

    with serve_sockets(handle, "127.0.0.1", 0, process_request=describe) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", asked
        finally:
            stopped.set()
            server.shutdown()


def observation(**data):
    return json.dumps(
        {"type": "observation", "data": {"observation": {"text": "go"}, "reward": 0.0, "done": False, **data}}
    )


def failure(code):
    return json.dumps({"type": "error", "data": {"message": "no luck", "code": code}})


GOOD = observation()
MISDEEDS = [
    ("hang up", "hung up"),
    ("sleep", r"did not answer within 0.3 s"),
    ("<html>", "answered what is no answer to a step: '<html>'"),
    ("[]", "answered what is no answer to a step"),
    (json.dumps({"type": "state", "data": {}}), "answered what is no answer to a step"),
    (observation(reward=float("nan")), "gave the reward nan"),
    (observation(reward="1"), "gave the reward '1'"),
    (observation(done=None), "says None for whether"),
    (
        failure("EXECUTION_ERROR"),
        "failed at a step: EXECUTION_ERROR: 'no luck'. If it is the agent's mistake, set `tell_",
    ),
    (failure("SESSION_ERROR"), "failed at a step: SESSION_ERROR"),
]


@pytest.mark.parametrize(("misdeed", "said"), MISDEEDS)
def test_a_server_that_fails_in_an_episode_ends_the_run_with_its_name(misdeed, said):
    with scripted_server(GOOD, misdeed) as (url, asked):
        spec = OpenEnvSpec(url, mode="text", timeout=0.3)
        with pytest.raises(UserSimulatorError, match=rf"The user of task 0, run 0 .* failed: .* {said}"):
            run(spec, say("left"), [{"prompt": [{"role": "user", "content": "play"}]}])
    assert asked[:2] == ["reset", "step"]
    assert asked.count("step") == 1  # a step is never tried again


def test_the_same_in_training(tmp_path):
    with scripted_server(GOOD, "hang up") as (url, _):
        spec = OpenEnvSpec(url, mode="text", num_tasks=2)
        with pytest.raises(
            UserSimulatorError, match="The user of rollout 0 of process 0 at step 0 failed: .* hung up"
        ):
            train_two_steps(
                tmp_path, spec.environment_factory, servers.number_prompts(spec.train_dataset), say("left"), 0.5
            )


def test_a_reset_is_tried_again(monkeypatch):
    pauses = []
    # The module's clock alone: threads that other tests have left behind sleep as well
    monkeypatch.setattr("trl_infopo.adapters.openenv.time", SimpleNamespace(sleep=pauses.append))
    rows = [{"prompt": [{"role": "user", "content": "play"}]}]
    with scripted_server(failure("CAPACITY_REACHED")) as (url, asked):
        spec = OpenEnvSpec(url, mode="text", attempts=3)
        with pytest.raises(UserSimulatorError, match="task 0, run 0 .* CAPACITY_REACHED.*raise `max_concurrent_envs`"):
            run(spec, say("left"), rows)
    assert asked.count("reset") == 3
    assert pauses == [0.5, 1.0]


def test_a_mistake_in_our_options_is_said_at_once_and_takes_one_session():
    with servers.serve(servers.make_app("text", max_concurrent_envs=1)) as url:
        spec = OpenEnvSpec(url, mode="text", observation_fields=["board"], num_eval_tasks=1)
        with pytest.raises(UserSimulatorError, match=r"task 0, run 0 .*`observation_fields` has \['board'\], but"):
            run(spec)
        assert len(servers.records) == 1  # nothing was tried again
        assert wait_for(lambda: not servers.alive)


def test_a_column_that_cannot_be_sent_is_named_at_once():
    rows = [{"prompt": [{"role": "user", "content": "play"}], "seed": 0, "day": date(2026, 1, 1)}]
    with scripted_server(GOOD) as (url, asked):
        spec = OpenEnvSpec(url, mode="text")
        with pytest.raises(ValueError, match=r"The column 'day' holds datetime.date\(2026, 1, 1\), which .* JSON"):
            run(spec, say("left"), rows)
        assert not asked


def test_a_server_that_is_full_is_waited_for():
    with servers.serve(servers.make_app("text", max_concurrent_envs=1)) as url:
        spec = OpenEnvSpec(url, mode="text", num_eval_tasks=3)
        evaluation = run(spec, batch_size=1)
    assert [record["reward"] for record in evaluation.records] == [1.0] * 3


def test_a_step_that_a_limit_of_ours_cuts_off_ends_the_run(urls):
    rows = [{"prompt": [{"role": "user", "content": "play"}], "seed": 0}]

    def crash(messages, tools):
        return {"role": "assistant", "content": "sleep"}

    with pytest.raises(UserSimulatorError, match="task 0, run 0 .*0.3 s"):
        run(OpenEnvSpec(urls["text"], mode="text"), crash, rows, feedback_timeout=0.3)


def test_a_tool_that_a_limit_of_ours_cuts_off_ends_the_run_too():
    def wait(messages, tools):
        return {
            "role": "assistant",
            "tool_calls": [{"type": "function", "function": {"name": "wait", "arguments": {}}}],
        }

    with scripted_server(GOOD, "sleep") as (url, _):
        spec = OpenEnvSpec(url)
        spec.__dict__["tool_schemas"] = [{"type": "function", "function": {"name": "wait", "parameters": {}}}]
        with pytest.raises(RuntimeError, match="task 0, run 0 .*a step before was cut off. Raise `feedback_timeout`"):
            run(spec, wait, [{"prompt": [{"role": "user", "content": "play"}]}], feedback_timeout=0.3, max_turns=2)


def test_a_server_that_is_busy_for_longer_than_pings_wait_is_waited_for(monkeypatch):
    """A step that blocks the server's event loop keeps it from answering pings."""
    from openenv.core.env_server import create_app

    class Busy(servers.GuessEnvironment):
        async def step_async(self, action, **kwargs):
            time.sleep(1)
            return self.step(action)

    pings = {"ping_interval": 0.1, "ping_timeout": 0.1}  # unless the session has other ones
    connect = partial(openenv_session.import_websockets(), **pings)
    monkeypatch.setattr(openenv_session, "import_websockets", lambda: connect)
    app = create_app(Busy, servers.Guess, servers.Seen, env_name="busy", max_concurrent_envs=2)
    with servers.serve(app) as url:
        (record,) = run(OpenEnvSpec(url, mode="action", num_eval_tasks=1)).records
    assert record["reward"] == 1.0


def test_what_a_policy_calls_with_that_is_no_json_is_told_to_it(urls):
    script = iter([{date(2026, 1, 1)}, "redbox"])

    def act(messages, tools):
        function = {"name": "act", "arguments": {"word": next(script)}}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}

    (record,) = run(OpenEnvSpec(urls["action"], mode="action", num_eval_tasks=1), act).records
    assert told(record) == ["{'error': 'Object of type set is not JSON serializable'}", "right"]


def test_blank_messages_show_nothing():
    blank = observation(observation=messages(""))
    with scripted_server(blank, blank, observation(observation=messages("", "over"), done=True)) as (url, _):
        rows = [{"prompt": [{"role": "user", "content": "play"}]}]
        (record,) = run(OpenEnvSpec(url, mode="text"), say("left"), rows).records
    assert [message["content"] for message in record["messages"]] == ["play", "left", "{}", "left", "over"]


def test_exceptions_of_a_server_are_told_to_the_agent_if_asked(urls):
    script = iter(["crash", "redbox"])

    def act(messages, tools):
        function = {"name": "act", "arguments": {"word": next(script)}}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}

    (record,) = run(OpenEnvSpec(urls["action"], mode="action", num_eval_tasks=1, tell_errors=True), act).records
    assert told(record) == ["{'error': 'The board is broken.'}", "right"]


def test_sessions_are_closed_when_a_run_fails(urls):
    def act(messages, tools):
        function = {"name": "act", "arguments": {"word": "crash"}}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}

    with pytest.raises(UserSimulatorError, match="The board is broken"):
        run(OpenEnvSpec(urls["action"], mode="action", num_eval_tasks=8), act)
    assert wait_for(lambda: not servers.alive)


# ---- headers and proxies


@contextmanager
def redirecting_server(address):
    """Answers every request with a redirect, and keeps the headers of all."""
    from websockets.sync.server import serve as serve_sockets

    requests = []

    def redirect(connection, request):
        requests.append(request)
        response = connection.respond(302, "elsewhere")
        response.headers["Location"] = f"{address}{request.path}?token=hunter3"
        return response

    with serve_sockets(lambda connection: None, "127.0.0.1", 0, process_request=redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", requests
        finally:
            server.shutdown()


@MODES
def test_headers_are_not_sent_where_a_redirect_leads(mode):
    headers = {"Authorization": "Bearer hunter2", "X-Api-Key": "hunter2"}
    with redirecting_server("") as (elsewhere, others), redirecting_server(elsewhere) as (url, requests):
        with pytest.raises(RuntimeError, match=f"{url} .* redirects to '{elsewhere}/[a-z]*', where") as error:
            OpenEnvSpec(url, mode=mode, headers=headers, timeout=5)()
        assert [request.headers["X-Api-Key"] for request in requests] == ["hunter2"]
        assert not others
    assert "hunter" not in str(error.value)


@MODES
def test_no_proxy_leads_to_a_server_on_this_machine(urls, monkeypatch, mode):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (record,) = run(OpenEnvSpec(urls[mode], mode=mode, num_eval_tasks=1)).records
    assert record["reward"] == 1.0


def test_a_proxy_leads_to_other_machines(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with scripted_server(GOOD) as (url, _):  # its answer to any path is that of a proxy
        monkeypatch.setenv("http_proxy", url)
        with pytest.raises(RuntimeError, match="server at http://far.invalid does not say .*426"):
            OpenEnvSpec("http://far.invalid", mode="text", timeout=5)()


# ---- what is refused before anything is played


def test_a_server_that_is_not_there_is_said_at_once():
    with pytest.raises(
        RuntimeError, match=r"server at http://127.0.0.1:9 cannot be reached: .* Start it, or set `base_url`"
    ):
        OpenEnvSpec("http://127.0.0.1:9", timeout=1)()
    with pytest.raises(RuntimeError, match="http://127.0.0.1:9 does not say what its actions are"):
        OpenEnvSpec("http://127.0.0.1:9", mode="text", timeout=1)()


@pytest.mark.parametrize(
    ("mode", "options", "error"),
    [
        ("text", {"mode": "tools"}, "Has it tools"),
        ("tools", {"mode": "text", "text_field": "word"}, r"`text_field` is 'word', choose one of \["),
        ("action", {"mode": "text", "text_field": "words"}, "`text_field` is 'words', choose one of"),
    ],
)
def test_the_wrong_mode_is_said_at_once(urls, mode, options, error):
    with pytest.raises((RuntimeError, ValueError), match=error):
        OpenEnvSpec(urls[mode], **options)()


def test_unknown_fields_are_named(urls):
    spec = OpenEnvSpec(urls["action"], mode="action", observation_fields=["board"], num_eval_tasks=1, attempts=1)
    with pytest.raises(
        UserSimulatorError, match=r"`observation_fields` has \['board'\], but .* \['metadata', 'hint', 'score'\]"
    ):
        run(spec)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"base_url": "localhost:8000"}, "`base_url` is 'localhost:8000'"),
        ({"mode": "mcp"}, "`mode` is 'mcp', choose one of"),
        ({"reward": "mean"}, "`reward` is 'mean', choose one of"),
        ({"timeout": 0}, "`timeout` is 0"),
        ({"attempts": 0}, "`attempts` is 0"),
        ({"num_tasks": 1.5}, "`num_tasks` is 1.5"),
        ({"tell_errors": "no"}, "`tell_errors` is 'no'"),
        ({"observation_fields": "board"}, "`observation_fields` is 'board', set it to a list"),
        ({"default_reward": "0"}, "`default_reward` is '0'"),
    ],
)
def test_wrong_options_are_named(options, error):
    with pytest.raises(ValueError, match=error):
        OpenEnvSpec(**{"base_url": "http://localhost:8000", **options})
