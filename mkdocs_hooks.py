"""
Hooks of the documentation's site.

The README is its first page. Links are written as they work in the repository; those to files outside `docs/` lead to
pages of the site that show these files.
"""

import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File


ROOT = Path(__file__).parent
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
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
            elif target == ROOT / "README.md":
                page = "index.md"
            else:
                page = f"source/{target.relative_to(ROOT).as_posix()}.md"
                shown[page] = target
            return f"]({os.path.relpath(page, os.path.dirname(source) or '.')}{link[2] or ''})"

        return LINK.sub(replace, read_markdown(path))

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
    for page, content in contents.items():
        files.append(File.generated(config, page, content=content))
    return files
