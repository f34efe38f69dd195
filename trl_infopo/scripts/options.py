# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Options of configuration classes, read from their source.

Importing `TrainingArguments` takes many seconds; help and the report of a misspelt option should not.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from .._options import did_you_mean
from .._show import show


SCALARS = {"int": int, "float": float}
SWITCHES = {"yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"}  # what `HfArgumentParser` takes for a boolean
EXPECTED = {
    "bool": "to true or false",
    "int": "to a whole number",
    "float": "to a number",
    "str": "to a text",
    "list": "to a list",
    "dict": "to a mapping",
}


@dataclass(frozen=True)
class Option:
    """
    A field of a configuration class.

    Attributes:
        name (`str`):
            Its name.
        kinds (`frozenset[str]`):
            Names of the types of its annotation, such as `{"int", "None"}`.
        choices (`tuple[str, ...]`):
            Its allowed values: the choices in its metadata, or the values of the enumeration that is its type. Empty
            if there is no such list.
        help (`str`):
            What it does.
        default (`Any`):
            Its default, if that is a literal, else `...`.
    """

    name: str
    kinds: frozenset[str]
    choices: tuple[str, ...]
    help: str
    default: Any

    @property
    def flags(self) -> list[str]:
        """Its names on the command line of a [`~trl.TrlParser`]."""
        names = [self.name] if not (self.default is True and "bool" in self.kinds) else [self.name, f"no_{self.name}"]
        return list(dict.fromkeys(flag for name in names for flag in (f"--{name}", f"--{name.replace('_', '-')}")))

    def check(self, value: Any) -> None:
        """
        Check the type of a value from a command line or a file. Types that the source does not tell are not checked.

        Args:
            value (`Any`):
                Text from a command line, or a value from a YAML file.

        Raises:
            `ValueError`: If it cannot be converted to one of the option's types, or is not one of its choices.
        """
        if value is None:
            fits = "None" in self.kinds or self.default is None
        elif self.choices:
            if value not in self.choices:
                near = did_you_mean(value, self.choices)
                raise ValueError(f"`{self.name}` is {show(value)}, choose one of {list(self.choices)}.{near}")
            fits = True
        elif isinstance(value, str):
            fits = bool(self.kinds & {"str", "list", "dict"}) or self._reads(value)
        elif isinstance(value, bool):
            fits = bool(self.kinds & {"bool", "str"})
        elif isinstance(value, list | dict):
            fits = type(value).__name__ in self.kinds
        else:
            fits = bool(self.kinds & ({"float", "str"} if isinstance(value, float) else {"int", "float", "str"}))
        if not fits and self.kinds <= {*EXPECTED, "None"}:
            ways = [words for kind, words in EXPECTED.items() if kind in self.kinds]
            raise ValueError(f"`{self.name}` is {show(value)}, set it {' or '.join(ways)}.")

    def _reads(self, text: str) -> bool:
        if "None" in self.kinds and text.lower() in ("none", "null"):
            return True
        if "bool" in self.kinds and text.lower() in SWITCHES:
            return True
        for kind in self.kinds & SCALARS.keys():
            try:
                SCALARS[kind](text)
            except ValueError:
                continue
            return True
        return False


@cache
def read_options(module: str, name: str) -> dict[str, Option]:
    """
    Read the options of a dataclass, those of its base classes first, without importing it.

    Args:
        module (`str`):
            Where it can be imported from, such as `"trl"`.
        name (`str`):
            Its name, such as `"GRPOConfig"`.

    Returns:
        `dict[str, Option]`: Options by name.

    Raises:
        `LookupError`: If its source, or that of a base class, is not found.
    """
    module, node = _find_class(module, name)
    options = {}
    for base in node.bases:
        options |= read_options(module, base.id)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.annotation).startswith("ClassVar"):
            options[statement.target.id] = _read_option(module, statement)
    return options


def _read_option(module: str, field: ast.AnnAssign) -> Option:
    kinds = [kind.strip().partition("[")[0] for kind in ast.unparse(field.annotation).split("|")]
    default, metadata = field.value, None
    if isinstance(default, ast.Call):  # field(...)
        keywords = {keyword.arg: keyword.value for keyword in default.keywords}
        default, metadata = keywords.get("default"), keywords.get("metadata")
    values = {}
    if isinstance(metadata, ast.Dict):
        values = {_literal(key): _literal(value) for key, value in zip(metadata.keys, metadata.values)}
    choices = values.get("choices", ...)
    if choices is ...:
        choices = next(filter(None, (_enumeration(module, kind) for kind in kinds)), ())
    help_text = values.get("help", "")
    return Option(
        name=field.target.id,
        kinds=frozenset(kinds),
        choices=tuple(choices),
        help=help_text if isinstance(help_text, str) else "",
        default=_literal(default),
    )


def _literal(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ...


def _enumeration(module: str, name: str) -> tuple[str, ...]:
    """The values of an enumeration, none if the name means something else."""
    if not name.isidentifier():
        return ()
    try:
        _, node = _find_class(module, name)
    except LookupError:
        return ()
    if not any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in node.bases):
        return ()
    return tuple(_literal(statement.value) for statement in node.body if isinstance(statement, ast.Assign))


@cache
def _find_class(module: str, name: str) -> tuple[str, ast.ClassDef]:
    """A class and the module that defines it, found through the imports that lazy packages have for type checkers."""
    path = _source(module)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    nodes = list(_nodes(path))
    for node in nodes:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
    for node in nodes:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            if name == (alias.asname or alias.name):
                origin = resolve_name("." * node.level + (node.module or ""), package)
                return _find_class(origin, alias.name)
    raise LookupError(f"there is no class {name} in {path}")


def _source(module: str) -> Path:
    # To find a submodule, `find_spec` would import its package
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"there is no package {top}")
    path = Path(spec.submodule_search_locations[0], *parts)
    for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if candidate.is_file():
            return candidate
    raise LookupError(f"there is no source of {module}")


@cache
def _nodes(path: Path) -> tuple[ast.stmt, ...]:
    """Classes and imports of a module, those in branches included."""

    def walk(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in statements:
            if isinstance(statement, ast.ClassDef | ast.ImportFrom):
                yield statement
            else:
                for block in ("body", "orelse", "handlers", "finalbody"):
                    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ExceptHandler):
                        yield from walk(getattr(statement, block, []))

    return tuple(walk(ast.parse(path.read_text(encoding="utf-8")).body))
