# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import gc
import os
import shutil
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings


# Before torch is imported: one thread is fastest for tiny models, and repeats to the bit
os.environ.update(OMP_NUM_THREADS="1", TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")

# No deadline: a busy machine is no failure
settings.register_profile("default", deadline=None, max_examples=30)
settings.load_profile("default")

if version("trl").startswith("1.15."):
    sys.path.insert(0, str(Path(__file__).parent / "trl_compat"))
    import plain_head

    plain_head.install()


@pytest.fixture(scope="module")  # while it is open, its event loop keeps others from running
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `test`: playwright")
    with playwright.sync_playwright() as api:
        installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if installed is None and not Path(api.chromium.executable_path).exists():
            pytest.skip("no Chromium: install one, or run `playwright install chromium`")
        browser = api.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield browser
        browser.close()


def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: some tests only wait, for processes and for what takes too long."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before markers select
def pytest_collection_modifyitems(items):
    """Of a test marked `quick(n)`, the cases after the first n are `thorough`."""
    num_seen = Counter()
    for item in items:
        if marker := item.get_closest_marker("quick"):
            test = (item.path, item.cls, item.originalname)
            num_seen[test] += 1
            if num_seen[test] > marker.args[0]:
                item.add_marker(pytest.mark.thorough)


def pytest_collection_finish():
    """What imports have left is there for good: no collection needs to go through it, and each training makes some."""
    gc.freeze()


@pytest.fixture(scope="module")
def event_loop():
    """An event loop in another thread, guarded as those of trainers are."""
    from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

    from trl_infopo.calls import guard_event_loop

    thread, loop, ready = start_event_loop_in_daemon()
    ready.wait()
    guard_event_loop(loop)
    yield loop
    shutdown_event_loop_in_daemon(thread, loop)


@pytest.fixture
def scores(monkeypatch):
    """The calls in which trainers score gains."""
    from trainer_helpers import Spy

    return Spy(monkeypatch, "score_information_gain")


@pytest.fixture
def fusions(monkeypatch):
    """The calls in which they fuse them."""
    from trainer_helpers import Spy

    return Spy(monkeypatch, "fuse_advantages")


@pytest.fixture(scope="session")
def quickstart_policy(tmp_path_factory):
    """Directory of a policy that plays the booking game a little: the quick start's warm start, shortened."""
    from evaluation_helpers import save_quickstart_policy

    path = tmp_path_factory.mktemp("quickstart_policy")
    save_quickstart_policy(path)
    return path


@pytest.fixture
def no_endpoint_in_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
