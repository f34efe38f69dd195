# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tools that come with a JSON schema: read, checked, and converted to the form that chat templates know."""

import json
from collections.abc import Mapping
from typing import Any

from ._show import show


EXAMPLE = '{"type": "function", "function": {"name": "book", "description": "...", "parameters": {...}}}'


class SchemaTool(dict):
    """
    A tool of an environment's `call_tool`: its schema, in the form for chat templates, made callable.

    Args:
        schema (`dict`):
            Schema in the OpenAI function format.
        environment (`object`):
            Environment whose `call_tool(name, arguments)` runs it.
    """

    def __init__(self, schema: dict, environment: Any):
        super().__init__(schema)
        self.__name__ = schema["function"]["name"]
        self._environment = environment

    def __call__(self, /, **arguments) -> Any:
        return self._environment.call_tool(self.__name__, arguments)


def read_schemas(owner: str, schemas: Any) -> dict[str, dict]:
    """
    Check the schemas of an environment's tools, and convert them to the form that transformers writes for methods: a
    `$ref` is replaced by what it refers to, `None` among the types becomes `nullable`, and the fields of nested
    objects are also listed in the description of their argument, as some chat templates show only that.

    Args:
        owner (`str`):
            Name of the environment's class.
        schemas (`Any`):
            Its `tool_schemas`.

    Returns:
        `dict[str, dict]`: The schemas by the name of the tool.

    Raises:
        `ValueError`: If they are not a list of JSON schemas in the OpenAI function format, each with its own name.
    """
    if not isinstance(schemas, list | tuple):
        raise ValueError(f"`{owner}.tool_schemas` is {show(schemas)}, set it to a list of {EXAMPLE}.")
    read = {}
    for i, schema in enumerate(schemas):
        where = f"`{owner}.tool_schemas[{i}]`"
        function = schema.get("function") if isinstance(schema, Mapping) else None
        if not isinstance(function, Mapping) or schema.get("type") != "function":
            raise ValueError(f"{where} is {show(schema)}, write it in the OpenAI function format: {EXAMPLE}.")
        try:
            function = json.loads(json.dumps(dict(function), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{where} cannot be written as JSON: {error}. Make it of text, numbers, lists and dicts."
            ) from None
        name, parameters = function.get("name"), function.get("parameters") or {}
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{where} has the name {name!r}, set it to the text by which the agent calls the tool.")
        if name in read:
            raise ValueError(f"`{owner}.tool_schemas` has two tools named {name!r}. Rename one of them.")
        where = f"The tool {name!r} of `{owner}.tool_schemas`"
        if not isinstance(function.get("description", ""), str):
            raise ValueError(f"{where} has the description {function['description']!r}, set it to a text.")
        is_object = isinstance(parameters, dict) and parameters.get("type", "object") == "object"
        if not is_object or not isinstance(parameters.get("properties", {}), dict):
            raise ValueError(
                f"{where} has the parameters {show(parameters)}, set them to the JSON schema of an object: "
                '{"type": "object", "properties": {...}}.'
            )
        try:
            simple = {"type": "object", "properties": {}, **_simplify(parameters, parameters, where, ())}
            for argument in simple["properties"].values():
                if fields := _fields(argument):
                    argument["description"] = f"{argument.get('description', '')} Fields: {fields}.".strip()
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"{where} has parameters that are no JSON schema: {error}.") from error
        function = {"name": name, "description": "", **function, "parameters": simple}
        read[name] = {"type": "function", "function": function}
    return read


def _simplify(schema: Any, root: dict, where: str, refs: tuple[str, ...]) -> Any:
    """A schema without references and titles, and without alternatives that a type can express."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        ref = schema["$ref"]
        own = {key: value for key, value in schema.items() if key != "$ref"}
        if ref in refs:  # it contains itself: the recursion ends in words
            words = f"As `{ref.split('/')[-1]}` above."
            return _simplify({"type": "object", "description": words, **own}, root, where, refs)
        return _simplify({**_look_up(ref, root, where), **own}, root, where, (*refs, ref))

    def simplify(part: Any) -> Any:
        return _simplify(part, root, where, refs)

    simple = {}
    for key, value in schema.items():
        if key in ("title", "$defs", "definitions"):
            continue
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            value = {name: simplify(part) for name, part in value.items()}
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            value = [simplify(part) for part in value]
        elif key in ("items", "additionalProperties"):
            value = simplify(value)
        simple[key] = value
    for key in ("anyOf", "oneOf", "allOf"):
        if key in simple:
            simple = _merge_alternatives(key, simple)
    if isinstance(simple.get("type"), list) and "null" in simple["type"]:
        kinds = [kind for kind in simple["type"] if kind != "null"]
        simple |= {"type": kinds[0] if len(kinds) == 1 else kinds, "nullable": True}
    return simple


def _look_up(ref: Any, root: dict, where: str) -> dict:
    """The schema that a reference points to, within the parameters of its tool."""
    target: Any = root
    try:
        start, *path = ref.split("/")
        if start != "#":
            raise LookupError
        for part in path:
            target = target[part.replace("~1", "/").replace("~0", "~")]
        return dict(target)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(
            f"{where} has the `$ref` {ref!r}, which its `parameters` do not hold. Add it under `$defs`, or write it "
            "out where it is used."
        ) from None


def _merge_alternatives(key: str, schema: dict) -> dict:
    """Alternatives in a simpler form: `nullable` for null, a list for several types, and a single one as it is."""
    rest = {name: value for name, value in schema.items() if name != key}
    alternatives = [part for part in schema[key] if part != {"type": "null"}]
    if len(alternatives) < len(schema[key]):
        rest["nullable"] = True
    if len(alternatives) == 1 and isinstance(alternatives[0], dict):
        return _merge(alternatives[0], rest)
    if key != "allOf" and alternatives and all(_is_plain(part) for part in alternatives):
        return {"type": sorted(part["type"] for part in alternatives), **rest}
    return {key: alternatives, **rest}


def _merge(one: dict, other: dict) -> dict:
    """A schema that asks for what both ask for; where they contradict each other, the second one counts."""
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged


def _is_plain(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.keys() == {"type"} and isinstance(schema["type"], str)


def _fields(schema: Any) -> str:
    """The fields of an object, of those in an array, or of alternatives, in words; empty where there are none."""
    if not isinstance(schema, dict):
        return ""
    fields = []
    for name, field in (schema.get("properties") or {}).items():
        field = field if isinstance(field, dict) else {}
        kind = field.get("type", "any")
        kinds = [*kind] if isinstance(kind, list) else [kind]
        if field.get("nullable"):
            kinds.append("null")
        notes = [" or ".join(map(str, kinds))]
        if name in schema.get("required", ()):
            notes.append("required")
        if "enum" in field:
            notes.append(f"one of {', '.join(map(json.dumps, field['enum']))}")
        text = f"`{name}` ({', '.join(notes)})"
        if field.get("description"):
            text += f": {field['description'].rstrip('.')}"
        nested = _fields(field)
        fields.append(f"{text} {{{nested}}}" if nested else text)
    if fields:
        return "; ".join(fields)
    alternatives = [_fields(part) for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key) or []]
    return " or ".join(filter(None, alternatives)) or _fields(schema.get("items"))
