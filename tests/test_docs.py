# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation builds without a warning, and its links and commands are true."""

import html
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path

import pytest
from filelock import FileLock
from trl import GRPOConfig

from trl_infopo import InfoPOConfig


ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
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


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with warnings as errors, once for all processes of the tests."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="needs the extra `docs`")
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base / "site.lock"):
        if not (base / "site").exists():
            build_site(base / "unfinished")
            os.replace(base / "unfinished", base / "site")
    return base / "site"


def build_site(directory: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert "not included in the" not in built.stderr  # a page that is not in the navigation


def read(site: Path, page: str) -> str:
    return html.unescape((site / page / "index.html").read_text(encoding="utf-8"))


@pytest.mark.thorough
def test_files_outside_docs_have_a_page(site):
    assert "train multi-turn agents with credit for every turn" in read(site, ".")
    assert 'href="../source/trl_infopo/turns.py/"' in read(site, "algorithm")
    assert "def" in read(site, "source/trl_infopo/turns.py")


@pytest.mark.thorough
def test_the_page_of_options_has_every_option_with_its_default(site):
    page = read(site, "options")
    own = {option.name for option in fields(InfoPOConfig)} - {option.name for option in fields(GRPOConfig)}
    for option in fields(InfoPOConfig):
        default = option.default if option.default_factory is MISSING else option.default_factory()
        [start] = re.findall(rf'<h3 id="{option.name}">|<strong><code>{option.name}</code></strong>', page)
        section = page[page.index(start) :]
        assert re.search(r"by default <code>(.*?)</code>", section)[1] == repr(default), option.name
        if option.name in own:
            section = section[: section.find("<h3", 1)]
            assert all(f'"{choice}"' in section for choice in option.metadata.get("choices", ())), option.name
    assert 'id="info_gain_coef"' in page
    assert 'href="../options/"' in read(site, "distributed")  # where the repository has the file


@pytest.mark.thorough
def test_the_api_reference_has_what_the_package_exports(site):
    pages = "".join(read(site, f"api/{path.stem}") for path in (ROOT / "docs" / "api").glob("*.md"))
    modules = ("trl_infopo", "trl_infopo.users", "trl_infopo.environments", "trl_infopo.rollout", "trl_infopo.serving")
    for name in modules:
        module = import_module(name)
        for exported in module.__all__:
            assert re.search(rf'id="[\w.]*\.{exported}"', pages), f"{name}.{exported}"
    assert not re.search(r"<p>(Args|Returns|Raises|Attributes):", pages)  # sections that were not read as such
    assert not re.search(r"\[<code>~?[\w.]+</code>\]", pages)  # references that were not


DOCSTRING = """\
Score a turn.

Args:
    turn ([`Turn`], *optional*, defaults to `None`):
        The turn.

        Not the next one.
    *others (`int`):
        More.

Returns:
    `float`: Its gain.

Raises:
    `ValueError`: If there is
        none.

The end.
"""
MARKDOWN = """\
Score a turn.

**Parameters**

- **`turn`** ([`Turn`], *optional*, defaults to `None`):
    The turn.

    Not the next one.
- **`*others`** (`int`):
    More.

**Returns**

`float`: Its gain.

**Raises**

- **`ValueError`**: If there is
    none.

The end.
"""


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="needs the extra `docs`")
    to_markdown = runpy.run_path(str(ROOT / "website" / "docstrings.py"))["to_markdown"]
    assert re.sub(r"\n{3,}", "\n\n", to_markdown(DOCSTRING)) == MARKDOWN.strip()


@pytest.mark.thorough
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_their_window_and_load_nothing_from_elsewhere(site, chromium, width):
    context = chromium.new_context(viewport={"width": width, "height": 844}, offline=True)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or errors.append(request.url))
    for name in (".", "guide", "troubleshooting", "options", "api/method", "results"):
        page.goto((site / name / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()
    assert not errors


def test_the_dialogue_of_the_readme_is_the_measured_one():
    dialogue = runpy.run_path(str(ROOT / "benchmarks" / "dialogue.py"))
    measured = json.loads(dialogue["RESULTS"].read_text(encoding="utf-8"))
    text = dialogue["BEGIN"] + dialogue["markdown"](measured) + dialogue["END"]
    assert text in (ROOT / "README.md").read_text(encoding="utf-8")
    assert any(turn["information_gain"] for turn in measured["turns"])


@pytest.mark.parametrize("page", PAGES[:1] + PAGES[3:], ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_installed_from_where_it_is_not_published(page):
    """Without an extra, `pip install trl-infopo` means one from an index; with one, it may be there already."""
    assert not re.search(r"pip install [^\n`]*trl-infopo(?!\[)", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES[:1] + PAGES[3:], ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_the_text_exist(page):
    named = re.findall(r"`((?:info_gain|gate|masked)_\w+)(?:=[^`\n]*)?`", page.read_text(encoding="utf-8"))
    assert set(named) <= {option.name for option in fields(InfoPOConfig)} | {"masked_logps"}


@pytest.mark.parametrize("page", PAGES[:1] + PAGES[3:], ids=lambda page: str(page.relative_to(ROOT)))
def test_adapters_are_trained_with_a_learning_rate_of_theirs(page):
    commands = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in re.findall(r"[^\n|`]*--use_peft[^\n|`]*", commands):
        rate = re.search(r"--learning_rate (\S+)", command)
        assert rate, command
        assert float(rate[1]) >= 1e-5, command
