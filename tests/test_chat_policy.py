# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Models behind an endpoint as policies of an evaluation: what is sent, what comes back, and that no key leaks."""

import json
import pickle
import sys
import threading

import pytest
from evaluation_helpers import booking_users, clarify_users, lines, quiet
from oracle_server import KEY, completion, play_oracle, serve_oracle

from trl_infopo.environments import booking_dataset, clarify_dataset
from trl_infopo.environments.clarify import clarify_oracle
from trl_infopo.policies import ChatPolicy, PolicyError


@pytest.fixture
def server():
    pytest.importorskip("openai")
    with serve_oracle() as server:
        yield server


def test_endpoint_plays_like_the_function_behind_it(server, tmp_path):
    server.failures = [503]
    policy = ChatPolicy("oracle", server.url, KEY)
    users, dataset = clarify_users("plain", "terse"), clarify_dataset("test", 10)
    evaluation = quiet(policy, users, dataset, temperature=0.7, output_dir=tmp_path)
    assert evaluation.records == quiet(clarify_oracle, users, dataset).records
    assert server.keys == {f"Bearer {KEY}"}
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("oracle", 0.7, 2048)
    (tool,) = request["tools"]
    assert tool["function"]["name"] == "propose"
    assert tool["function"]["parameters"]["required"] == ["choices"]
    # The same episode sends the same seeds
    first = {(r["messages"][-1]["content"], r["seed"]) for r in server.requests if len(r["messages"]) == 2}
    assert len({seed for _, seed in first}) == 10


def test_batch_acts_concurrently(server):
    together = threading.Barrier(8, timeout=20)

    def answer(request):
        if len(request["messages"]) == 2:
            together.wait()
        return play_oracle(request)

    server.answer = answer
    quiet(ChatPolicy("oracle", server.url, KEY), clarify_users("plain"), clarify_dataset("test", 8))


def test_tool_results_are_tied_to_their_calls(server):
    def answer(request):
        num_results = sum(message["role"] == "tool" for message in request["messages"])
        if num_results == 4:
            return completion({"role": "assistant", "content": "goodbye"})
        calls = [
            {"id": "a", "type": "function", "function": {"name": "ask", "arguments": '{"slot": "city"}'}},
            {"id": "b", "type": "function", "function": {"name": "ask", "arguments": '{"slot": '}},  # half a JSON
        ]
        return completion({"role": "assistant", "content": None, "tool_calls": calls})

    server.answer = answer
    (record,) = quiet(ChatPolicy("m", server.url, KEY), booking_users("plain"), booking_dataset("test", 1)).records
    assert "error" in record["messages"][3]["content"]
    _, first, *results, second, _, _ = server.requests[-1]["messages"]
    call_ids = [tool_call["id"] for tool_call in first["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == call_ids
    assert len({*call_ids, *(tool_call["id"] for tool_call in second["tool_calls"])}) == 4
    # Servers refuse a history with arguments that are no object
    arguments = [json.loads(tool_call["function"]["arguments"]) for tool_call in first["tool_calls"]]
    assert arguments == [{"slot": "city"}, {"invalid": '{"slot": '}]


def test_cut_off_message_ends_the_episode(server):
    server.answer = lambda request: completion({"role": "assistant", "content": "I would"}, "length")
    policy = ChatPolicy("m", server.url, KEY)
    (record,) = quiet(policy, clarify_users("plain"), clarify_dataset("test", 1)).records
    assert (record["stop_reason"], record["num_turns"]) == ("max_tokens", 1)


def test_options_of_the_request(server):
    options = {"temperature": None, "max_tokens": None, "max_completion_tokens": 100}
    policy = ChatPolicy("m", server.url, KEY, request_options=options)
    quiet(policy, clarify_users("plain"), clarify_dataset("test", 1))
    assert {"temperature", "max_tokens"}.isdisjoint(server.requests[0])
    assert server.requests[0]["max_completion_tokens"] == 100


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        "what?",
        b"",
        b'{"choices": [{"mess',
        b"\xff\xfe",
        b"[" * 100_000,
        b"<html>Busy</html>",
        completion(None),
        completion({"role": "assistant", "content": 5}),
        completion({"role": "assistant", "content": "", "tool_calls": [{"function": None}]}),
        completion({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "propose"}}]}),
    ],
    ids=lambda answer: str(answer)[:50],
)
def test_no_completion_is_an_error(server, answer):
    server.answer = lambda request: answer
    with pytest.raises(PolicyError, match="failed in task 0, run 0.*'m' at .*is not a chat completion") as error:
        quiet(ChatPolicy("m", server.url, KEY, max_retries=0), clarify_users("plain"), clarify_dataset("test", 1))
    assert len(str(error.value)) < 900


def test_key_is_in_no_pickle(server, tmp_path, monkeypatch):
    options = {"extra_headers": {"X-Gateway": "gateway-secret"}, "extra_query": {"code": "query-secret"}, "top_p": 0.9}
    policy = ChatPolicy("m", server.url, KEY, request_options=options)
    quiet(policy, clarify_users("plain"), clarify_dataset("test", 1), output_dir=tmp_path)
    assert server.requests[0]["top_p"] == 0.9
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "'top_p': 0.9" in written
    assert not any(secret in written for secret in (KEY, "gateway-secret", "query-secret"))
    pickled = pickle.dumps(policy)
    assert not any(secret.encode() in pickled for secret in (KEY, "gateway-secret", "query-secret"))
    with pytest.raises(ValueError, match="`request_options`.*Make it anew"):
        quiet(pickle.loads(pickled), clarify_users("plain"), clarify_dataset("test", 1))
    policy = ChatPolicy("m", server.url, KEY, request_options={"top_p": 0.9})
    # A copy reads the key of its own process
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    copy = pickle.loads(pickle.dumps(policy))
    quiet(copy, clarify_users("plain"), clarify_dataset("test", 1))
    assert server.keys == {f"Bearer {KEY}", "Bearer another-key"}


def test_endpoint_without_openai(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r'ChatPolicy needs .*pip install "trl-infopo\[users\]"'):
        ChatPolicy("m", "http://localhost:1/v1", KEY)


def test_refused_key_is_not_told(server, tmp_path):
    server.failures = [401] * 9
    policy = ChatPolicy("m", server.url, KEY)
    with pytest.raises(PolicyError, match="failed in task 0, run 0.*'m' at .*status 401") as error:
        quiet(policy, clarify_users("plain"), clarify_dataset("test", 1), output_dir=tmp_path)
    assert KEY not in "".join(map(str, [error.value, error.value.__cause__, error.value.__context__, policy]))
    assert len(lines(tmp_path)) == 1
