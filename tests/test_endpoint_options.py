# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a user and a policy behind an endpoint are told of it: their options, and secrets in them."""

import base64
import copy
import html
import json
import logging
import pickle
import re
import time
import urllib.parse

import pytest
from endpoint_clients import KEY, ask, both, deep, fail, make_policy, make_user
from hypothesis import example, given, settings
from hypothesis import strategies as st
from misbehaving_server import MisbehavingServer, fails, says, sends

from trl_infopo._secrets import without_secrets
from trl_infopo.policies import ChatPolicy


pytest.importorskip("openai", reason="the package `openai` is not installed")
pytestmark = pytest.mark.usefixtures("no_endpoint_in_environment")

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
    @pytest.mark.quick(24)
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
    @example(key="000\\\\0", echoes=["HTML hex numbers", "all percent", "hex escapes", "JSON"], around=("", ""))
    @example(key="\\\\00\\\\00", echoes=["HTML numbers", "octal escapes", "all in escapes"], around=("", ""))
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
            without_secrets(text, [HARD_KEY, r"\\ab\cd"])
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
