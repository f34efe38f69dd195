# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json

from hypothesis import given
from hypothesis import strategies as st

from trl_infopo.users.base import encodable


any_text = st.text(st.characters(exclude_categories=()))  # surrogates included
plain_text = st.text(st.characters(exclude_categories=("Cs",)))


@given(any_text)
def test_any_text_becomes_encodable_and_keeps_what_was(text):
    result = encodable(text)
    result.encode()
    assert encodable(result) == result
    assert [c for c in result if c != "\ufffd" and ord(c) < 0x10000] == [
        c for c in text if c != "\ufffd" and ord(c) < 0x10000 and not "\ud800" <= c <= "\udfff"
    ]


@given(plain_text)
def test_encodable_text_stays_as_it_is(text):
    assert encodable(text) == text


@given(plain_text)
def test_halves_of_pairs_are_joined(text):
    units = text.encode("utf-16-le")
    halves = "".join(chr(int.from_bytes(units[k : k + 2], "little")) for k in range(0, len(units), 2))
    assert encodable(halves) == text


def test_lone_halves_are_replaced():
    assert encodable(json.loads(r'"a\ud83d\"\ude00b"')) == 'a\ufffd"\ufffdb'
