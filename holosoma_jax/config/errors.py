"""The one exception that a command turns into a single line and exit code 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST_WORD = 160
"""Characters of one word of a message; a longer one is cut in its middle."""
LONGEST = 1000
"""Characters of a message."""


class ConfigError(ValueError):
    """Bad input from the user: names the key, what was given, what is allowed, and the fix.

    The message is one short line of printable characters, whatever was quoted in it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """`text` on one line: line breaks as spaces, control characters escaped, long words and texts cut."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.splitlines()))
    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0], LONGEST_WORD), text)
    return _cut(text, LONGEST)


def _cut(text: str, length: int) -> str:
    """`text`, with its middle left out where it is longer than `length`."""
    end = length // 4
    return text if len(text) <= length else f"{text[: length - end - 3]}...{text[-end:]}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None; '-', '_' and capitals do not count as differences."""
    plain = {k.replace("-", "_").lower(): k for k in known}
    match = difflib.get_close_matches(name[:LONGEST_WORD].replace("-", "_").lower(), plain, 1)
    return plain[match[0]] if match else None


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean 'X'?' for the known name closest to `name`, or ''."""
    match = closest(name, known)
    return f" Did you mean '{match}'?" if match else ""
