# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What any endpoint can do to a user and to a policy behind it, over real HTTP."""

import asyncio
import base64
import copy
import html
import json
import logging
import pickle
import re
import socket
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from misbehaving_server import (
    MisbehavingServer,
    bombs,
    completion,
    drops,
    drops_midway,
    fails,
    floods,
    redirects,
    says,
    sends,
    streams,
    trickles,
)

from trl_infopo._secrets import without_secrets
from trl_infopo.evaluation import Evaluation, evaluate
from trl_infopo.policies import ChatPolicy, PolicyError, SeededEpisode
from trl_infopo.users import ChatUser, Scenario, UserSimulatorError
from trl_infopo.users.prompt import END_MARKER, read_reply
from trl_infopo.users.responses import MAX_RESPONSE_BYTES, _retry_after, read_arguments, read_completion


pytest.importorskip("openai", reason="the package `openai` is not installed")

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


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


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

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEADERS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
HANGS = {
    "silence": says("Paris.", seconds=4),
    "body": trickles(4),
    "body of an error": trickles(4, status=500),
    "body of a refusal": trickles(4, status=401),
    "body of a redirect": trickles(4, status=302),
    "status line": streams(b"HTTP/1.1 200 O", b"K", 4, 0.02),
    "headers": streams(HEADERS, b"X: y\r\n", 4, 0.02),
    "trailers": streams(CHUNKED, b"X: y\r\n", 4, 0.02),
    "interim responses": streams(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 4, 0.02),
    "chunk sizes": streams(HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"0", 4, 0.02),
}
FLOODS = {
    "body": floods(2 * 10**6),
    "body of an error": floods(2 * 10**6, 500),
    "body of a redirect": floods(2 * 10**6, 302),
    "headers": streams(HEADERS, b"X-Header: y\r\n" * 10**4, 4),
    "one header": streams(HEADERS + b"X: ", b"y" * 10**5, 4),
    "trailers": streams(CHUNKED, b"X-Header: y\r\n" * 10**4, 4),
    "interim responses": streams(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10**4, 4),
    "gzip": bombs(64 * 2**20),
    "gzip of an error": bombs(64 * 2**20, 500),
    "gzip of a refusal": bombs(64 * 2**20, 401),
    "deflate": bombs(64 * 2**20, encoding="deflate"),
}


MEMORY = """
import resource, sys
sys.path.insert(0, {tests!r})
from test_endpoint import ask, fail, {make}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

client = {make}(base_url=sys.argv[1], max_retries=0)
ask(client)
before = peak()
for _ in range(3):
    fail(client)
print(peak() - before)
"""


class TestBounds:
    @both
    def test_an_attempt_ends_at_its_deadline(self, make):
        def hang(name):
            with MisbehavingServer(HANGS[name]) as server:
                client = make(base_url=server.url, timeout=0.3, max_retries=1)
                start = time.monotonic()
                error = fail(client)
                seconds = time.monotonic() - start
            assert seconds < 3, name
            assert "`timeout` of 0.3 s" in str(error), name
            assert client.usage.errors == 2, name

        with ThreadPoolExecutor(len(HANGS)) as pool:  # they wait, and nothing else
            assert len(list(pool.map(hang, HANGS))) == len(HANGS)

    @both
    @pytest.mark.parametrize("name", FLOODS)
    def test_what_has_no_end_is_dropped_before_the_deadline_or_at_it(self, make, name):
        with MisbehavingServer(FLOODS[name]) as server:
            start = time.monotonic()
            error = fail(make(base_url=server.url, timeout=1.5, max_retries=0))
            assert time.monotonic() - start < 3.5
        assert re.search(rf"more than {MAX_RESPONSE_BYTES} bytes|failed connection|`timeout`", str(error))
        assert len(str(error)) < 1000

    @both
    @pytest.mark.parametrize("name", ["gzip", "gzip of an error", "body of an error", "deflate"])
    def test_bound_is_named_with_the_status(self, make, name):
        with MisbehavingServer(FLOODS[name]) as server:
            error = str(fail(make(base_url=server.url)))
        assert f"more than {MAX_RESPONSE_BYTES} bytes" in error
        assert ("status 500" in error) == ("error" in name)

    @pytest.mark.thorough
    @pytest.mark.parametrize("make", ["make_user", "make_policy"])
    def test_memory_does_not_grow_with_what_is_sent(self, make):
        script = MEMORY.format(tests=str(Path(__file__).parent), make=make)
        size = 200 * 2**20
        script_of_server = [says("Paris."), bombs(size), bombs(size, 500), floods(size, 500)]
        with MisbehavingServer(*script_of_server) as server:
            result = subprocess.run([sys.executable, "-c", script, server.url], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) < 30 * 1024  # KiB

    @both
    def test_packed_responses_are_read(self, make):
        with MisbehavingServer(sends(gzip(completion("Paris.")), Content_Encoding="gzip")) as server:
            assert ask(make(base_url=server.url)) == "Paris."
            assert server.headers[0]["accept-encoding"] == "identity"

    @both
    @pytest.mark.parametrize(
        ("body", "encoding", "cause"),
        [
            (b"no gzip", "gzip", "not in the encoding 'gzip'"),
            (b"\x0b\x02\x80{}\x03", "br", "in the encoding 'br'"),
            (b"{}", "gzip, gzip", "in the encoding 'gzip, gzip'"),
        ],
    )
    def test_other_encodings_are_a_failure(self, make, body, encoding, cause):
        with MisbehavingServer(sends(body, Content_Encoding=encoding), says("Paris.")) as server:
            assert ask(make(base_url=server.url)) == "Paris."
        with MisbehavingServer(sends(body, Content_Encoding=encoding)) as server:
            assert cause in str(fail(make(base_url=server.url)))

    @both
    @pytest.mark.parametrize(
        "behaviour",
        [drops, drops_midway, streams(b"garbage\r\n\r\n", b"", 0), streams(b"HTTP/1.1 200 OK\r\nX\r\n\r\n", b"", 0)],
        ids=["drop", "drop midway", "no HTTP", "no header"],
    )
    def test_broken_connections_are_retried(self, make, behaviour):
        with MisbehavingServer(behaviour, says("Paris.")) as server:
            assert ask(make(base_url=server.url)) == "Paris."
        with MisbehavingServer(behaviour) as server:
            assert "3 attempts" in str(error := fail(make(base_url=server.url)))
            assert "failed connection" in str(error)

    @both
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, make, status):
        with MisbehavingServer(says("Paris.")) as other:
            for address in (other.url + "/chat/completions", "/v1/chat/completions", "http://[", ""):
                with MisbehavingServer(redirects(address, status)) as server:
                    error = fail(make(base_url=server.url))
                    assert len(server.headers) == 1
                assert re.search(rf"1 attempt\. It was: status {status}\. It redirects.*set `base_url`", str(error))
            assert other.headers == []

    @pytest.mark.quick(1)
    @both
    def test_many_retries_with_small_delays(self, make):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            client = make(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}/v1", max_retries=1100, backoff=1e-300)
            assert "1101 attempts" in str(fail(client))

    def test_the_policy_waits_as_it_is_told(self):
        with MisbehavingServer(fails(429, Retry_After="0.3"), says("Paris.")) as server:
            assert ask(make_policy(base_url=server.url)) == "Paris."
            assert server.times[1] - server.times[0] >= 0.3

    @given(st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ GMT")))
    @example("9" * 5000)
    @example("Fri, 31 Dec 99999999 23:59:59 GMT")
    @example("Fri, 31 Dec 0000 23:59:59 GMT")
    def test_any_retry_after_is_a_time(self, value):
        assert _retry_after({"retry-after": value}) >= 0


def gzip(body):
    import gzip

    return gzip.compress(body)


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


def deep(levels):
    return "[" * levels + "]" * levels


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


HARD_KEY = "sk-\"quoted\"-\\back\\-'a'-<b>&%+/=~ c"
ECHOES = {
    "raw": str,
    "repr": repr,
    "JSON": json.dumps,
    "JSON in JSON": lambda key: json.dumps(json.dumps(json.dumps(key))),
    "JSON for HTML": lambda key: json.dumps(key).replace("<", "\\u003c").replace("&", "\\u0026").replace("/", "\\/"),
    "all in escapes": lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
    "hex escapes": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "octal escapes": lambda key: "".join(f"\\{ord(c):03o}" for c in key),
    "address": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "address in an address": lambda key: urllib.parse.quote(urllib.parse.quote(key, safe=""), safe=""),
    "all percent": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "HTML": html.escape,
    "HTML of HTML": lambda key: html.escape(html.escape(key)),
    "HTML numbers": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "HTML hex numbers": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "Basic": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
    "Bearer": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "Base64": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "JSON of an address": lambda key: json.dumps(urllib.parse.quote(key)),
    "repr of JSON": lambda key: repr(json.dumps(key)),
    "upper case": str.upper,
}


class TestSecrets:
    @pytest.mark.quick(40)
    @both
    @pytest.mark.parametrize("where", ["error", "refusal", "body", "redirect"])
    @pytest.mark.parametrize("echo", ECHOES)
    def test_no_form_of_a_key_is_repeated(self, make, echo, where, caplog):
        text = f"Incorrect API key: {ECHOES[echo](HARD_KEY)} (as sent)."
        behaviour = {
            "error": fails(500, text),
            "refusal": sends(text.encode(), 401),
            "body": sends(text.encode()),
            "redirect": sends(text.encode(), 302, Location=f"http://h/{urllib.parse.quote(HARD_KEY)}"),
        }[where]
        with caplog.at_level(logging.INFO), MisbehavingServer(behaviour) as server:
            error = str(fail(make(base_url=server.url, api_key=HARD_KEY)))
        shown = error + caplog.text
        assert "[hidden]" in error
        assert "as sent" in error
        for form in (HARD_KEY, ECHOES[echo](HARD_KEY), repr(HARD_KEY)[1:-1], json.dumps(HARD_KEY)[1:-1]):
            assert form not in shown
        assert "quoted" not in shown

    @given(
        key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6),
        echoes=st.lists(st.sampled_from(sorted(set(ECHOES) - {"upper case"})), min_size=1, max_size=3),
        around=st.tuples(st.text(), st.text()),
    )
    @settings(deadline=None)
    def test_any_key_is_cut_out_in_any_form(self, key, echoes, around):
        for echo in echoes:
            text = around[0] + ECHOES[echo](key) + around[1]
            clean = without_secrets(text, [key])
            assert "[hidden]" in clean
            assert len(clean) <= len(text) - len(key) + len("[hidden]") * (1 + text.count(key)) + 9

    @given(st.text(), st.text(min_size=6))
    def test_other_text_stays(self, text, key):
        if not set(key.lower()) & set(text.lower()):
            assert without_secrets(text, [key]) == text

    def test_cutting_is_fast(self):
        for text in ("s" * 2**20, "\\" * 2**20, "%25" * 300_000, "&amp;" * 200_000, HARD_KEY[:-1] * 30_000):
            start = time.monotonic()
            without_secrets(text, [HARD_KEY])
            assert time.monotonic() - start < 5

    @both
    def test_error_page_in_utf_16(self, make):
        with MisbehavingServer(sends(f"No, {KEY}!".encode("utf-16"), 401)) as server:
            error = str(fail(make(base_url=server.url)))
        assert "No, [hidden]!" in error

    @both
    def test_secrets_in_options_are_not_repeated(self, make):
        options = {
            "extra_headers": {"X-Gateway": "gateway-secret"},
            "extra_query": {"code": "query-secret", "n": ["other-secret"]},
            "extra_body": {"nested": [{"deep": "body-secret"}], "top_k": 3},
        }
        secrets = ["gateway-secret", "query-secret", "other-secret", "body-secret"]
        with MisbehavingServer(fails(400, f"Bad: {secrets}, {json.dumps(json.dumps(options))}")) as server:
            client = make(base_url=server.url, request_options=options)
            error = str(fail(client))
            assert server.headers[0]["x-gateway"] == "gateway-secret"
            assert (server.requests[0]["top_k"], server.requests[0]["nested"]) == (3, [{"deep": "body-secret"}])
        written = error + repr(client) + repr(pickle.dumps(client)) + str(vars(copy.deepcopy(client)))
        if isinstance(client, ChatPolicy):
            written += str(client.description)
        assert not [secret for secret in secrets if secret in written]
        with pytest.raises(ValueError, match="`request_options`.*Make it anew"):
            ask(copy.deepcopy(client))

    @both
    def test_a_copy_of_harmless_options_works(self, make, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        options = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}, "reasoning_effort": "low"}
        with MisbehavingServer(says("Paris.")) as server:
            client = make(base_url=server.url, request_options=options)
            assert ask(pickle.loads(pickle.dumps(client))) == "Paris."
            assert server.requests[0]["reasoning_effort"] == "low"

    @both
    def test_secrets_in_the_path_of_an_address_are_not_shown(self, make):
        with MisbehavingServer(fails(500)) as server:
            address = server.url.replace("/v1", "/services/T0AbCd/tokenvalue/v1")
            client = make(base_url=address)
            error = str(fail(client))
        written = error + repr(client)
        if isinstance(client, ChatPolicy):
            written += str(client.description)
            assert client.description != make(base_url=server.url).description
        assert "tokenvalue" not in written
        assert server.url.removesuffix("/v1") in error


class TestArguments:
    @both
    @pytest.mark.parametrize("name", ["timeout", "backoff", "max_retries", "max_concurrency"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1, 3e16, "1", None, True, [1], 1j])
    def test_numbers_are_numbers(self, make, name, value):
        with pytest.raises(ValueError, match=rf"`{name}` is {re.escape(repr(value))}, set it (to a|above)"):
            make(**{name: value})

    @both
    @pytest.mark.parametrize("name", ["max_retries", "max_concurrency"])
    def test_counts_are_whole(self, make, name):
        with pytest.raises(ValueError, match=rf"`{name}` is 1.5, set it to a whole number"):
            make(**{name: 1.5})

    @pytest.mark.parametrize("name", ["temperature", "max_tokens", "seed"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True])
    def test_numbers_of_the_user(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}` is {value!r}, set it to a"):
            make_user(**{name: value})

    def test_numbers_of_numpy_are_sent(self):
        import numpy as np

        with MisbehavingServer(says("Paris.")) as server:
            options = {"seed": np.int64(3), "temperature": np.float32(0.5), "max_tokens": np.int32(9)}
            user = make_user(base_url=server.url, **options)
            assert ask(user) == "Paris."
            request = server.requests[0]
        assert (request["seed"], request["temperature"], request["max_tokens"]) == (3, 0.5, 9)

    @both
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([("top_p", 1)], "is of type list, pass a dict"),
            ("top_p", "is of type str, pass a dict"),
            ({"temprature": 1}, "'temprature'.*Did you mean 'temperature'.*`extra_body`"),
            ({"messages": []}, "'messages'"),
            ({"model": "other"}, "'model'"),
            ({"stream": True}, "'stream'"),
            ({3: 4}, "has 3"),
            ({"top_p": float("nan")}, "cannot be sent as JSON"),
            ({"extra_body": {"x": float("inf")}}, "cannot be sent as JSON"),
            ({"extra_body": {"x": object()}}, "cannot be sent as JSON"),
            ({"extra_body": {"x": json.loads(deep(65))}}, "cannot be sent as JSON"),
            ({"extra_body": {"x": json.loads(deep(900))}}, "cannot be sent as JSON"),
            ({"extra_body": [1]}, "'extra_body' of type list"),
            ({"extra_query": "hunter2"}, "'extra_query' of type str"),
            ({"extra_headers": {"X": 1}}, "`extra_headers`"),
            ({"extra_headers": {"X": "hunter2\r\nY: z"}}, "`extra_headers`"),
            ({"extra_headers": {"hunter2 x": "y"}}, "`extra_headers`"),
            ({"extra_headers": {"X": "hunter2é"}}, "`extra_headers`"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_options_that_cannot_be_sent(self, make, options, message):
        with pytest.raises(ValueError, match=f"`request_options`.*{message}|{message}.*`request_options`") as error:
            make(request_options=options)
        assert "hunter2" not in str(error.value)

    def test_circular_options(self):
        options = {}
        options["extra_body"] = options
        with pytest.raises(ValueError, match="`request_options` cannot be sent"):
            make_policy(request_options=options)

    @both
    @pytest.mark.parametrize("model", ["", None, 3, ["m"]])
    def test_models_have_names(self, make, model):
        with pytest.raises(ValueError, match="`model`"):
            make(model=model)

    @both
    @pytest.mark.parametrize("key", [3, b"sk-hunter2", ["sk-hunter2"], "sk-\ud83d", " "])
    def test_keys_are_text(self, make, key):
        with pytest.raises(ValueError, match="key") as error:
            make(api_key=key)
        assert "hunter2" not in str(error.value)

    @both
    @pytest.mark.parametrize(
        "address",
        [
            3, b"http://h/v1", "sk-hunter2", "me:hunter2@h/v1", "postgresql://me:hunter2@h", "HTTP://me:hunter2@h/v1",
            "http://h/v1#hunter2", "http://h/v1?k=hunter2", "http://@hunter2/v1/", "http://[hunter2/v1", "http://h:hunter2/v1",
            "http://h:99999/v1", "http://h\n/hunter2", "http://h /hunter2", "http://hunter2é/v1", "//h/hunter2", "http://",
        ],
    )  # fmt: skip
    def test_addresses_are_checked_and_not_repeated(self, make, address):
        with pytest.raises(ValueError, match="`base_url`") as error:
            make(base_url=address)
        assert "hunter2" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__context__ is None
