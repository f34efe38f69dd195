# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What any endpoint can say to a user and to a policy, and what a function can that stands in for one."""

import copy
import json
import re
import time

import pytest
from endpoint_clients import MESSAGES, LookEnvironment, ask, both, deep, make_policy
from hypothesis import given, settings
from hypothesis import strategies as st
from misbehaving_server import MisbehavingServer, completion, says, sends

from trl_infopo.evaluation import Evaluation, evaluate
from trl_infopo.policies import PolicyError
from trl_infopo.policies.chat import _with_text_arguments
from trl_infopo.users.prompt import END_MARKER, read_reply
from trl_infopo.users.responses import read_arguments, read_completion


pytest.importorskip("openai", reason="the package `openai` is not installed")
pytestmark = pytest.mark.usefixtures("no_endpoint_in_environment")


class TestUsage:
    @both
    @pytest.mark.parametrize(
        ("usage", "tokens"),
        [
            ('{"total_tokens": 42}', 42),
            ('{"total_tokens": 42.0}', 42),
            ('{"total_tokens": 1e999}', 0),
            ('{"total_tokens": NaN}', 0),
            ('{"total_tokens": -5}', 0),
            ('{"total_tokens": true}', 0),
            ('{"total_tokens": "7"}', 0),
            ('{"total_tokens": 1%s}' % ("0" * 30), 0),
            ('{"total_tokens": 1%s}' % ("0" * 9000), 0),
            ('{"total_tokens": null}', 0),
            ('{"total_tokens": [1]}', 0),
            ('{"prompt_tokens": 1}', 0),
            ("[]", 0),
            ("1", 0),
            ('"many"', 0),
            ("null", 0),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_an_answer_counts_whatever_it_is_said_to_have_cost(self, make, usage, tokens):
        body = completion("Paris.", usage=None).replace(b'"usage": null', f'"usage": {usage}'.encode())
        with MisbehavingServer(sends(body)) as server:
            client = make(base_url=server.url)
            assert ask(client) == "Paris."
        assert (client.usage.tokens, client.usage.errors) == (tokens, 0)


any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates included
any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text),
    lambda children: st.one_of(st.lists(children), st.dictionaries(any_text, children)),
    max_leaves=8,
)


class TestToolCalls:
    """A name or arguments of the wrong type are the model's mistake, and the loop can play them."""

    @staticmethod
    def play(*functions, tmp_path):
        calls = [{"id": "1", "type": "function", "function": function} for function in functions]
        with MisbehavingServer(says(None, tool_calls=calls), says("Goodbye.")) as server:
            policy = make_policy(base_url=server.url)
            dataset = [{"prompt": MESSAGES[:1]}]
            evaluation = evaluate(policy, {"ask": LookEnvironment}, dataset, output_dir=tmp_path, show_progress=False)
            sent = server.requests[-1]["messages"]
        (record,) = evaluation.records
        (tmp_path / "episodes.jsonl").read_text()
        return [m for m in record["messages"] if m["role"] == "tool"], [m for m in sent if m["role"] == "tool"]

    @pytest.mark.parametrize("name", [None, ["look"], {"a": 1}, 7, True, "", "no such", "l\ud83dook", "\udc00" * 3])
    def test_any_name(self, name, tmp_path):
        results, sent = self.play({"name": name, "arguments": "{}"}, tmp_path=tmp_path)
        assert "not found" in results[0]["content"]
        assert len(sent) == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            None, 7, [1], "", "null", "[]", "{", '"text"', "NaN", '{"where": NaN}', '{"where": 1e999}',
            '{"x": [-Infinity]}',
            f'{{"where": {deep(70)}}}', f'{{"where": {deep(900)}}}', deep(10**5), '{"where": %s}' % ("1" * 5000),
        ],
        ids=lambda value: str(value)[:30],
    )  # fmt: skip
    def test_any_arguments(self, arguments, tmp_path):
        results, sent = self.play({"name": "look", "arguments": arguments}, tmp_path=tmp_path)
        assert len(results) == len(sent) == 1
        assert "error" in results[0]["content"] or "1" * 300 in results[0]["content"]

    def test_arguments_with_halves_of_characters(self, tmp_path):
        arguments = '{"where": "\\ud83d \\ud83d\\ude00 \\udc00"}'
        results, _ = self.play({"name": "look", "arguments": arguments}, tmp_path=tmp_path)
        assert results[0]["content"] == "nothing in \ufffd 😀 \ufffd"

    def test_arguments_that_are_no_text_but_what_it_would_say(self, tmp_path):
        results, _ = self.play({"name": "look", "arguments": {"where": "the box"}}, tmp_path=tmp_path)
        assert results[0]["content"] == "nothing in the box"

    @given(content=any_text, name=any_json, arguments=st.one_of(any_json, any_json.map(json.dumps), any_text))
    @settings(deadline=None)
    def test_any_call_can_be_written_and_copied(self, content, name, arguments):
        from trl_infopo.policies.chat import _to_message, _to_openai

        call = {"function": {"name": name, "arguments": arguments}}
        message = _to_message(read_completion(completion(content, tool_calls=[call]))[0])
        json.dumps(message, allow_nan=False)
        json.dumps(message, ensure_ascii=False).encode()
        json.dumps(_to_openai([copy.deepcopy(message)]), ensure_ascii=False).encode()
        assert isinstance(message["tool_calls"][0]["function"]["name"], str)

    @given(any_json.map(lambda value: json.loads(json.dumps(value).replace("NaN", "0").replace("Infinity", "1"))))
    def test_proper_arguments_are_read(self, arguments):
        text = json.dumps(arguments)
        if "\\ud" not in text:
            assert read_arguments(text) == arguments


@pytest.mark.parametrize("arguments", ["{broken", [], 42, None, {"where": 1}])
def test_servers_get_the_text_of_an_object_whatever_the_arguments_were(arguments):
    function = _with_text_arguments({"name": "look", "arguments": arguments})
    assert isinstance(json.loads(function["arguments"]), dict)


class TestScriptedPolicies:
    """What a function returns that is no message is its author's mistake, and is said to be."""

    @staticmethod
    def play(message):
        rows = [{"prompt": MESSAGES[:1]}]
        return evaluate(lambda messages, tools: message, {"look": LookEnvironment}, rows, show_progress=False)

    @pytest.mark.parametrize(
        "message",
        [
            None, "Paris.", ["Paris."], {}, {"role": "user", "content": "Paris."}, {"role": "assistant"},
            {"role": "assistant", "content": None}, {"role": "assistant", "content": ["Paris."]},
            {"role": "assistant", "content": "", "tool_calls": {"function": {}}},
            *(
                {"role": "assistant", "content": "", "tool_calls": [call]}
                for call in (
                    None, {}, {"function": None}, {"function": {"name": "look"}},
                    {"function": {"name": None, "arguments": {}}}, {"function": {"name": ["look"], "arguments": {}}},
                )
            ),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_is_no_message_is_named(self, message):
        with pytest.raises(PolicyError, match=r"policy .*lambda.* returned .* in task 0, run 0.*Return a `dict`"):
            self.play(message)

    @pytest.mark.parametrize("arguments", [None, [1], "look", {"which": 1}, {}, 7])
    def test_wrong_arguments_are_told_to_the_policy(self, arguments):
        call = {"function": {"name": "look", "arguments": arguments}}
        (record,) = self.play({"role": "assistant", "content": "", "tool_calls": [call]}).records
        assert "error" in record["messages"][2]["content"]

    @pytest.mark.parametrize("what", [{1}, 10**5000, float("nan"), object()], ids=type)
    def test_arguments_that_json_does_not_have_are_written_as_text(self, tmp_path, what):
        calls = [{"function": {"name": "look", "arguments": {("which",): what}}}]
        rows = [{"prompt": MESSAGES[:1]}]
        policy = lambda messages, tools: {"role": "assistant", "content": "", "tool_calls": calls}  # noqa: E731
        evaluation = evaluate(policy, {"look": LookEnvironment}, rows, output_dir=tmp_path, show_progress=False)
        assert json.dumps(Evaluation.load(tmp_path).records) == json.dumps(evaluation.records)


class TestText:
    @both
    def test_halves_of_characters_are_joined_or_replaced(self, make):
        with MisbehavingServer(says("a \ud83d\ude00 b \ud83d c")) as server:
            assert ask(make(base_url=server.url)) == "a 😀 b \ufffd c"

    @both
    def test_halves_of_characters_can_be_asked(self, make, monkeypatch):
        monkeypatch.setitem(MESSAGES[0], "content", "I \ud83d need")
        with MisbehavingServer(says("Paris.")) as server:
            assert ask(make(base_url=server.url)) == "Paris."
            assert "I \ufffd need" in [message["content"] for message in server.requests[0]["messages"]]

    def test_thoughts_without_end_are_read_fast(self):
        for text in ("<think>" * 150_000, "</think>" * 130_000, "<think>a</think>" * 60_000):
            start = time.monotonic()
            read_reply(text)
            assert time.monotonic() - start < 1

    @given(st.lists(st.sampled_from(["<think>", "</think>", "a", "<", "\n", END_MARKER])).map("".join))
    def test_thoughts_are_cut_out_as_a_pattern_would(self, text):
        rest = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
        rest = rest.rpartition("</think>")[2].partition("<think>")[0].strip()
        assert read_reply(text) == (None if END_MARKER in rest else rest)
