# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What is written about settings: equal for equal ones, and never a secret."""

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import field, make_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePosixPath

import numpy as np
import pytest
from case_names import case_name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trl_infopo._describe import describe, hidden_texts, public_url
from trl_infopo.evaluation import evaluate
from trl_infopo.policies import ScriptedPolicy


class Vault:
    """An object whose `repr` tells what it holds."""

    def __init__(self, secret):
        self.secret = secret

    def __repr__(self):
        return f"Vault({self.secret!r})"

    def __eq__(self, other):
        return self.secret == other.secret

    __hash__ = object.__hash__

    def open(self, messages=None, tools=None, **options):
        return {"role": "assistant", "content": "no"}


class Color(Enum):
    RED = "sk-red"
    BLUE = "sk-blue"


def act(messages=None, tools=None, *more, **options):
    return {"role": "assistant", "content": "no"}


class Environment:
    def __init__(self, *options, **more):
        pass

    def reset(self, **row):
        pass

    def get_reward(self):
        return 0.0


Settings = make_dataclass("Settings", ["first", ("second", object, field(default=None, repr=False))])

secrets = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_+/=%&'\"\\ é😀", min_size=4).map("Zq9".__add__)
NAMES = [
    "passwd",
    "credentials",
    "bearer",
    "dsn",
    "url",
    "uri",
    "note",
    "env",
    "connection",
    "x",
    "token_file",
    "persona_of",
]
names = st.one_of(st.sampled_from(NAMES), st.from_regex(r"[a-z_]{1,12}", fullmatch=True).map("o_".__add__))
SCHEMES = ["postgresql", "wss", "HTTPS", "https", "http", "redis", "s3", "mongodb+srv", "ssh", "git+https", "amqp"]


@st.composite
def addresses(draw, secret):
    scheme, host = draw(st.sampled_from(SCHEMES)), draw(st.sampled_from(["h", "h.io:1", "[::1]", ""]))
    template = draw(
        st.sampled_from(
            [
                "{0}://bob:{1}@{2}/db",
                "{0}://{1}@{2}",
                "{0}://{2}?token={1}",
                "{0}://{2}/v1#{1}",
                "{0}://{2}/hook/{1}/v1",
            ]
            + ["see {0}://a:{1}@{2}, please", "//u:{1}@{2}", "bob:{1}@{2}/db", "{1}"]
        )
    )
    return template.format(scheme, secret, host)


def plant(secret):
    """Values that hold a secret anywhere."""
    addressed = addresses(secret)
    leaves = st.one_of(
        st.just(secret),
        addressed,
        st.just(secret.encode()),
        st.builds(ValueError, st.just(secret)),
        st.builds(Vault, st.just(secret)),
        st.builds(Vault, st.just(secret)).map(lambda vault: vault.open),
        st.just(PurePosixPath("/x") / secret.replace("\0", "")),
        st.just({secret: 1}),
        st.just({secret}),
        st.builds(dict, base_url=addressed),
        st.builds(dict, model=addresses(secret).filter(lambda text: "//" in text or "@" in text)),
        st.just(np.array([secret])),
        st.just(int.from_bytes(secret.encode().ljust(9, b"!"))),
    )
    harmless = st.one_of(st.none(), st.booleans(), st.integers(), st.floats())
    inner = st.recursive(
        leaves,
        lambda children: st.one_of(
            st.lists(st.one_of(children, harmless)).flatmap(lambda some: children.map(lambda one: [*some, one])),
            children.map(lambda one: (one,)),
            st.tuples(names, children).map(lambda pair: {pair[0]: pair[1]}),
            st.tuples(names, children).map(lambda pair: partial(act, **{pair[0]: pair[1]})),
            children.map(lambda one: partial(act, one, 1, one)),
            children.map(lambda one: functools.wraps(act)(partial(act, one))),
            st.builds(Settings, children, children),
            children.map(lambda one: Settings(one).__eq__.__self__),
        ),
        max_leaves=4,
    )
    return inner


def shown_forms(secret):
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield secret.encode().hex()
    yield str(int.from_bytes(secret.encode().ljust(9, b"!")))


@pytest.mark.thorough
@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_planted_secrets_are_never_written(data):
    secret = data.draw(secrets)
    planted = data.draw(plant(secret))
    texts = [describe(planted), describe(partial(Environment, **{data.draw(names): planted}))]
    texts += [repr(ScriptedPolicy(partial(act, planted))), str(ScriptedPolicy(partial(act, planted)).description)]
    for text in texts:
        assert not any(form in text for form in shown_forms(secret))
        assert "Zq9" not in text


def test_planted_secrets_are_in_no_file(tmp_path):
    secret = "Zq9-a-secret"
    planted = {
        "passwd": secret, "credentials": [secret], "bearer": Vault(secret), "dsn": f"postgresql://bob:{secret}@h/db",
        "socket": f"wss://h/x?token={secret}", "address": f"HTTPS://bob:{secret}@h", "base_url": f"https://h/{secret}",
        "nested": {"a": {secret: [Settings({"b": secret})]}}, "error": ValueError(secret), "raw": secret.encode(),
    }  # fmt: skip
    rows = [{"prompt": [{"role": "user", "content": "hi"}]}]
    users = {"u": partial(Environment, **planted)}
    evaluate(partial(act, **planted), users, rows, output_dir=tmp_path, show_progress=False)
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "test_describe.Environment" in written
    assert secret not in written
    # The error of other settings shows both
    planted["passwd_of"] = planted["dsn"] = secret
    with pytest.raises(ValueError, match="`output_dir`") as error:
        evaluate(partial(act, **planted), users, rows, output_dir=tmp_path, show_progress=False)
    assert secret not in str(error.value)


harmless = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), st.floats(allow_nan=False)),
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(st.sampled_from(["seed", "top_p", "max_tokens", "model"]), children, max_size=4),
        children.map(lambda one: partial(act, one, option=2)),
        st.builds(Settings, children),
    ),
    max_leaves=6,
)


def key(value):
    """What makes a harmless value equal to another."""
    if isinstance(value, partial):
        return ("partial", [key(argument) for argument in value.args], value.keywords)
    if isinstance(value, Settings):
        return ("Settings", key(value.first))
    if isinstance(value, dict):
        return ("dict", sorted((name, repr(key(item))) for name, item in value.items()))
    return [key(item) for item in value] if isinstance(value, list) else repr(value)


@given(harmless, harmless)
@settings(deadline=None, max_examples=50)
def test_descriptions_are_equal_where_settings_are(one, other):
    assert (describe(one) == describe(other)) == (key(one) == key(other))


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True), names)
@settings(deadline=None, max_examples=20)
def test_hidden_settings_are_told_apart_unless_they_are_named_like_secrets(texts, name):
    one, other = ({name: text, "seed": 1} for text in texts)
    is_secret = describe({name: 1}) == describe({name: 2})
    assert (describe(one) == describe(other)) == is_secret


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "API_KEY", "x-api-key", "key", "token", "hf_token", "accessToken", "secret", "client_secret"]
    + ["password", "passwd", "credentials", "bearer", "Authorization", "cookie", "extra_headers", "extra_query"],
)
def test_a_changed_secret_is_the_same_setting(name):
    function = partial(act, **{name: "sk-1"}, seed=1)
    assert describe(function) == describe(partial(act, **{name: "sk-2"}, seed=1))
    assert describe(partial(sorted, key=len)) != describe(partial(sorted, key=abs))


@pytest.mark.parametrize(
    "name", ["monkey", "max_tokens", "num_tokens", "spin", "author", "passes", "keyboard", "hockey"]
)
def test_names_that_only_end_like_those_of_secrets_count(name):
    assert describe({name: 1}) != describe({name: 2})
    assert describe({name: "one"}) != describe({name: "two"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "<str> #"),
        (b"text", "<bytes> #"),
        (2**63, "<int> #"),
        (Vault(1), "<test_describe.Vault> #"),
        (Vault(1).open, "<test_describe.Vault>.open #"),
        (ValueError("x"), "<ValueError> #"),
        ({"o": "x", "model": "a/b"}, "{'model': 'a/b', <str>: <str>} #"),
        ({"model": "a b"}, "{'model': <str>} #"),
        ({"base_url": "https://h:1/hooks/v1"}, "{'base_url': 'https://h:1/.../v1'} #"),
        ({"base_url": "https://me@h:1/v1"}, "{'base_url': '...'} #"),
        (Color.RED, "test_describe.Color.RED"),
        (np.float32(0.5), "0.5"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (True, "True"),
        (1.0, "1.0"),
        (functools.lru_cache(act), "test_describe.act"),
        (partial(int, base=2), "int(base=2)"),
        (functools.partial, "functools.partial"),
        (object(), "<object>"),
        (print, "print"),
        ({3: {2, 1}}, "{3: {1, 2}}"),
    ],
    ids=case_name,
)
def test_descriptions(value, shown):
    description = describe(value)
    if shown.endswith("#"):
        assert description[: len(shown)] == shown
        assert len(description) == len(shown) + 8
    else:
        assert description == shown


def test_the_same_in_every_process():
    code = (
        "from functools import partial; from trl_infopo._describe import describe; "
        "print(describe({'note': {'b', 'a'}, 'x': {'y': 1, 'z': b'q'}, 'o': partial(int, 'k'), 3: ValueError('x')}))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert "#" in texts.pop()


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/"),
        ("HTTPS://h/openai/deployments/gpt", "HTTPS://h/openai/deployments/..."),
        ("https://h/services/T0/B0/xyz", "https://h/.../.../.../..."),
        ("http://[::1]:80/v1?k=v#f", "http://[::1]:80/v1"),
        ("https://u:p@h/v1", "..."),
        ("postgresql://u:p@h/v1", "..."),
        ("", "..."),
    ],
)
def test_public_part_of_an_address(url, public):
    assert public_url(url) == public


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("value", [Unspeakable(), 10**5000], ids=["Unspeakable", "int"])
def test_what_cannot_be_shown_is_described_by_its_type(value):
    assert re.fullmatch(rf"max\(0=<(\w+\.)?{type(value).__name__}>\) #\w+", describe(partial(max, value)))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_hidden_texts_are_those_that_are_not_written(data):
    secret = data.draw(st.text("abcXYZ019-_", min_size=4).map("Zq9".__add__))
    inner = st.recursive(
        st.just(secret),
        lambda children: st.one_of(
            children.map(lambda one: [1, one]), st.tuples(names, children).map(lambda pair: {pair[0]: pair[1]})
        ),
    )
    options = {data.draw(st.sampled_from(["extra_body", "extra_headers", "stop"])): data.draw(inner), "top_p": 0.5}
    assert secret in list(hidden_texts(options))
    assert list(hidden_texts({"top_p": 0.5, "reasoning_effort": "low", "extra_body": {"top_k": 3}})) == []
