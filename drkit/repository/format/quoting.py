"""File names in restic's trees: Go's strconv.Quote without the quotes, over raw bytes."""

from __future__ import annotations

import re

_SHORT = {7: "a", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t", 11: "v", 34: '"', 92: "\\"}
_LETTERS = {letter: code for code, letter in _SHORT.items()} | {"'": 39}
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(rf"\\(x{_HEX}{{2}}|u{_HEX}{{4}}|U{_HEX}{{8}}|[0-7]{{3}}|.)", re.DOTALL)


def quote(raw: bytes) -> str:
    """`raw` as text: printable characters as they are, everything else escaped."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_quote_character, text))


def unquote(text: str) -> bytes:
    """The bytes that `text` stands for. ValueError for an escape that Go does not know."""
    if "\\" not in text:
        return text.encode()
    out, at = bytearray(), 0
    for match in _ESCAPE.finditer(text):
        out += text[at : match.start()].encode()
        at = match.end()
        escape = match[1]
        if escape[0] == "x":
            out.append(int(escape[1:], 16))
        elif escape[0] in "uU" and len(escape) > 1:
            out += chr(int(escape[1:], 16)).encode()
        elif len(escape) == 3:
            out.append(int(escape, 8) & 0xFF)
        elif escape in _LETTERS:
            out.append(_LETTERS[escape])
        else:
            raise ValueError(f"unknown escape \\{escape} in {text!r}")
    return bytes(out + text[at:].encode())


def _quote_character(character: str) -> str:
    code = ord(character)
    if code in _SHORT:
        return "\\" + _SHORT[code]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
