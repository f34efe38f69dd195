# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Removal of secrets from texts that others wrote, such as errors of a server."""

import base64
import re
from collections.abc import Iterable
from html.entities import codepoint2name
from itertools import pairwise


FIRST_BACKSLASHES = r"(?<!\\)\\++"
MIN_SECRET = 6  # characters; what is shorter is no secret but a common word


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """
    Remove secrets from a text in which a server may have repeated them: as they are, with any of their characters
    escaped (also repeatedly) as in JSON, Python, addresses or HTML, or in Base64, also as a part of another text.

    Args:
        text (`str`):
            Any text.
        secrets (`Iterable[str]`):
            Secrets. Those of fewer than six characters are ignored: they are common words.

    Returns:
        `str`: The text without them.
    """
    secrets = sorted({secret for secret in secrets if len(secret) >= MIN_SECRET}, key=len, reverse=True)
    for secret in secrets:
        # A run of backslashes grows where it is escaped, so it counts as one, or as one escape after the other
        compressed = re.sub(r"\\+", r"\\", secret)
        # Possessive quantifiers, and at the beginning only where a run begins: so matching takes linear time
        pattern = _escapes(compressed[0], FIRST_BACKSLASHES)
        for before, character in pairwise(compressed):
            # A run takes the backslash of the next character's escape as well
            pattern += _escapes(character, r"\\*+" if before == "\\" else r"\\++")
        text = re.sub("|".join([pattern, *_base64_parts(secret)]), "[hidden]", text, flags=re.IGNORECASE)
    return text


def _escapes(character: str, backslashes: str) -> str:
    """Pattern of a character and its escapes."""
    point = ord(character)
    utf8 = character.encode(errors="surrogatepass")
    utf16 = character.encode("utf-16-be", "surrogatepass")
    percent, ampersand = "%(?:25)*+", "&(?:amp;)*+"
    escapes = [
        "".join(f"{percent}{byte:02x}" for byte in utf8) if character != "%" else "%(?:25)++",
        "".join(rf"\\++u{utf16[k : k + 2].hex()}" for k in range(0, len(utf16), 2)).replace(r"\\++", backslashes, 1),
        "".join(rf"\\++x{byte:02x}" for byte in utf8).replace(r"\\++", backslashes, 1),
        rf"{backslashes}(?:u{point:08x}|u\{{0{{0,6}}{point:x}\}}|x{point:02x}|{point:03o})",
        f"{ampersand}#(?:x0{{0,6}}{point:x}|0{{0,6}}{point});",
    ]
    if character == "&":
        escapes.append("&(?:amp;)++")
    elif point in codepoint2name or character == "'":
        escapes.append(f"{ampersand}{codepoint2name.get(point, 'apos')};")
    elif character == " ":
        escapes.append(r"\+")
    if character == "\\":
        repeated = "" if backslashes == FIRST_BACKSLASHES else "+"
        return f"(?:(?:{'|'.join(escapes)}){repeated}|{backslashes})"
    escapes.append(f"(?:{backslashes})?{re.escape(character)}")
    return f"(?:{'|'.join(escapes)})"


def _base64_parts(secret: str) -> list[str]:
    """Patterns of a text within something in Base64, with one for each of the three ways in which it may lie there."""
    parts = []
    for shift in range(3):
        data = bytes(shift) + secret.encode(errors="surrogatepass")
        encoded = base64.b64encode(data).decode()
        # The first and the last character may also hold bits of what is around it
        part = encoded[(0, 2, 3)[shift] : len(data) * 8 // 6]
        parts.append(re.escape(part).replace(r"\+", "[+-]").replace("/", "[/_]"))
    return parts
