# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The documentation builds without a warning, and its links and commands are true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s#:]*)(?:#([^)\s]*))?\)")


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    pytest.importorskip("material", reason="needs the extra `docs`")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert "not included in the" not in built.stderr  # a page that is not in the navigation
    assert "train multi-turn agents with credit for every turn" in (tmp_path / "index.html").read_text(
        encoding="utf-8"
    )
    algorithm = (tmp_path / "algorithm" / "index.html").read_text(encoding="utf-8")
    assert 'href="../source/trl_infopo/turns.py/"' in algorithm
    assert "def" in (tmp_path / "source/trl_infopo/turns.py/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES[:1] + PAGES[3:], ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_installed_from_where_it_is_not_published(page):
    """Without an extra, `pip install trl-infopo` means one from an index; with one, it may be there already."""
    assert not re.search(r"pip install [^\n`]*trl-infopo(?!\[)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES[:1] + PAGES[3:], ids=lambda page: str(page.relative_to(ROOT)))
def test_adapters_are_trained_with_a_learning_rate_of_theirs(page):
    commands = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in re.findall(r"[^\n|`]*--use_peft[^\n|`]*", commands):
        rate = re.search(r"--learning_rate (\S+)", command)
        assert rate, command
        assert float(rate[1]) >= 1e-5, command
