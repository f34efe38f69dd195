# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Hooks of the documentation's site.

The README is its first page, and the page of options is written from the code. Links are written as they work in the
repository; those to files outside `docs/` lead to pages of the site that show these files.
"""

import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File
from options import options_page


ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+\.svg)\)")
INLINE = {"method.svg"}  # takes the colours of the page, which may not be those of the system
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
# Files outside `docs/` that have a page of their own, not one that shows them as they are
PAGES = {"README.md": "index.md", "trl_infopo/infopo_config.py": "options.md"}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml", ".toml": "toml", ".json": "json"}


def read_markdown(path: Path) -> str:
    """A file of Markdown, or a notebook as Markdown."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"``````python\n{source}\n``````")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![](data:image/png;base64,{''.join(data['image/png'].split())})")
            else:
                shown = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"``````text\n{shown}\n``````")
    return "\n\n".join(parts)


def on_files(files, config):
    docs = Path(config.docs_dir)
    shown = {}

    def to_site(path: Path, source: str) -> str:
        """The Markdown of a file, with its links as they are on the site, where its page is `source`."""

        def replace(link: re.Match) -> str:
            target = (path.parent / link[1]).resolve()
            if not target.is_file():
                return link[0]  # MkDocs warns of it
            if target.is_relative_to(docs):
                page = target.relative_to(docs).as_posix()
            elif (name := target.relative_to(ROOT).as_posix()) in PAGES:
                page = PAGES[name]
            else:
                page = f"source/{name}.md"
                shown[page] = target
            return f"]({os.path.relpath(page, os.path.dirname(source) or '.')}{link[2] or ''})"

        def inline(picture: re.Match) -> str:
            target = path.parent / picture[1]
            if target.name not in INLINE:
                return picture[0]
            return f"<div>{target.read_text(encoding='utf-8')}</div>"

        return LINK.sub(replace, PICTURE.sub(inline, read_markdown(path)))

    contents = {"index.md": to_site(ROOT / "README.md", "index.md")}
    for file in list(files.documentation_pages()):
        contents[file.src_uri] = to_site(docs / file.src_uri, file.src_uri)
        files.remove(file)
    while set(shown) - set(contents):
        for page in sorted(set(shown) - set(contents)):
            path = shown[page]
            if path.suffix in (".md", ".ipynb"):
                contents[page] = to_site(path, page)
            else:
                text = path.read_text(encoding="utf-8")
                language = LANGUAGES.get(path.suffix, "text")
                contents[page] = f"# `{path.relative_to(ROOT)}`\n\n``````{language}\n{text}\n``````\n"
    contents["options.md"] = options_page()
    for page, content in contents.items():
        files.append(File.generated(config, page, content=content))
    return files
