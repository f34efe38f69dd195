# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Docstrings in the format of Hugging Face, as Markdown for the API reference.

A section such as `Args:` becomes a list, and references such as [`~trl_infopo.turns.Turn`] or [`InfoPOConfig`] become
links. What is not of this package is shown by its name.
"""

import re
from contextlib import suppress

import griffe


PACKAGE = "trl_infopo"
SECTION = re.compile(r"(Args|Attributes|Parameters|Raises|Returns|Yields):$")
TITLES = {"Args": "Parameters"}
ITEM = re.compile(r"(?P<names>[\w*][\w*, ]*?)(?: \((?P<type>.*)\))?:(?: (?P<text>.*))?$")
ERROR = re.compile(r"(?P<names>`\w+`):(?: (?P<text>.*))?$")
REFERENCE = re.compile(r"(?<!`)\[`(?P<short>~?)(?P<path>[\w.]+)`\](?![\[(])")


def to_markdown(docstring: str) -> str:
    """
    The sections of a docstring as lists.

    Args:
        docstring (`str`):
            A docstring without its indentation.

    Returns:
        `str`: Markdown.
    """
    lines, section = [], None
    for line in docstring.splitlines():
        if match := SECTION.match(line):
            section = match[1]
            lines += ["", f"**{TITLES.get(section, section)}**", ""]
            continue
        if line and not line.startswith(" "):
            section = None
        if section is None:
            lines.append(line)
            continue
        line = line[4:]
        item = (ERROR if section == "Raises" else ITEM).match(line)
        if item and section not in ("Returns", "Yields"):
            names = ", ".join(f"**`{name}`**" for name in item["names"].strip("`").split(", "))
            kind = item.groupdict().get("type")
            lines.append(f"- {names}" + (f" ({kind})" if kind else "") + f": {item['text'] or ''}".rstrip())
        else:
            lines.append(line)
    return "\n".join(lines)


def link(text: str, scope: griffe.Object) -> str:
    """
    The references of a docstring as links.

    Args:
        text (`str`):
            Markdown of a docstring.
        scope (`griffe.Object`):
            The object that the docstring describes.

    Returns:
        `str`: The same, with references that the renderer resolves, and warns of where it cannot.
    """

    def replace(reference: re.Match) -> str:
        path = reference["path"]
        name = path.rpartition(".")[2] if reference["short"] else path
        if "." not in path:
            path = _in_scope(path, scope)
        if path.split(".")[0] != PACKAGE:
            return f"`{name}`"
        with suppress(KeyError, griffe.AliasResolutionError):  # the renderer warns of it
            path = scope.modules_collection[path].canonical_path
        return f"[`{name}`][{path}]"

    return REFERENCE.sub(replace, text)


def _in_scope(name: str, scope: griffe.Object) -> str:
    try:
        return scope.resolve(name)
    except griffe.NameResolutionError:
        return f"{PACKAGE}.{name}"  # what the package exports needs no import to be spoken of


class HuggingFaceDocstrings(griffe.Extension):
    """Rewrites all docstrings of a package when it has been loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        self._rewrite(pkg)

    def _rewrite(self, part: griffe.Object) -> None:
        if part.docstring is not None:
            part.docstring.value = link(to_markdown(part.docstring.value), part)
        for member in part.members.values():
            if not member.is_alias:
                self._rewrite(member)
