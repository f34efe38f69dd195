# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What any endpoint can do to the connection of a user and of a policy, over real HTTP."""

import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from endpoint_clients import ask, both, fail, make_policy
from hypothesis import example, given
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

from trl_infopo.users.responses import MAX_RESPONSE_BYTES, _retry_after


pytest.importorskip("openai", reason="the package `openai` is not installed")
pytestmark = pytest.mark.usefixtures("no_endpoint_in_environment")

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
from endpoint_clients import ask, fail, {make}

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

    @pytest.mark.quick(11)
    @pytest.mark.parametrize("name", FLOODS)
    @both
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

    @pytest.mark.quick(5)
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @both
    def test_redirects_are_not_followed(self, make, status):
        with MisbehavingServer(says("Paris.")) as other:
            for address in (other.url + "/chat/completions", "/v1/chat/completions", "http://[", ""):
                with MisbehavingServer(redirects(address, status)) as server:
                    error = fail(make(base_url=server.url))
                    assert len(server.headers) == 1
                assert re.search(rf"1 attempt\. It was: status {status}\. It redirects.*set `base_url`", str(error))
            assert other.headers == []

    @pytest.mark.thorough
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
