"""A command line as a list of tokens: choices of presets and overrides of keys, in any order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holosoma_jax.config import keys
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.files import GROUPS, names
from holosoma_jax.config.keys import canonical

CHOICES = ("exp", "task", *GROUPS)
_OPTIONS_HINT = "Options read --section.key=value, presets group:name."


class Choice(NamedTuple):
    """`group:name`, or `--config FILE`, which is a choice of the group 'exp'."""

    group: str
    name: str
    raw: tuple[str, ...]
    """the arguments it came from"""


class Override(NamedTuple):
    """`--a.b.c=value`, `--a.b.c value` or a bare `--a.b.c`."""

    path: keys.Path
    """canonical"""
    flag: str
    """as typed, without the value"""
    text: str | None
    """None: bare"""
    raw: tuple[str, ...]


class Tokens(NamedTuple):
    """A parsed command line."""

    choices: tuple[Choice, ...] = ()
    overrides: tuple[Override, ...] = ()

    def chosen(self, group: str) -> Choice | None:
        """The one choice of that group."""
        return next((c for c in self.choices if c.group == group), None)


def wants_help(argv: Iterable[str]) -> bool:
    """Whether --help or -h is among the arguments."""
    return any(argument in ("--help", "-h") for argument in argv)


def parse(argv: Sequence[str]) -> Tokens:
    """Tokens of a command line; `--help` is ignored.

    An argument after a flag is its value unless it is another flag or a choice; a value that looks
    like one is written --key=value.

    Raises:
      ConfigError: something that is neither; a group chosen or a key given twice.
    """
    choices: list[Choice] = []
    overrides: list[Override] = []
    rest = [a for a in argv if not wants_help([a])]
    while rest:
        first = rest.pop(0)
        if not first.startswith("--"):
            choice = _choice(first, overrides, rest)
            if choice.group == "task":  # has no preset files
                overrides.append(Override(("task",), first, choice.name, choice.raw))
            else:
                choices.append(choice)
            continue
        flag, equals, text = first.partition("=")
        raw, value = (first,), (text if equals else None)
        if not equals and rest and not rest[0].startswith("--") and not _is_choice(rest[0]):
            value = rest.pop(0)
            raw = (first, value)
        if flag == "--config":
            choices.append(Choice("exp", _path(value), raw))
        elif flag == "--exp":
            fix = f"Did you mean exp:{value or 'NAME'}?"
            raise ConfigError(f"--exp: presets are chosen without dashes. {fix}")
        else:
            overrides.append(Override(_key(flag), flag, value, raw))
    _once([((c.group,), " ".join(c.raw)) for c in choices])
    _once([(o.path, o.flag) for o in overrides])
    return Tokens(tuple(choices), tuple(overrides))


def _is_choice(argument: str) -> bool:
    group, colon, name = argument.partition(":")
    return bool(colon) and group.lower() in CHOICES and not name.startswith("//")


def _choice(argument: str, before: Sequence[Override], after: Sequence[str]) -> Choice:
    if _is_choice(argument):
        group, _, name = argument.partition(":")
        if not name:
            raise ConfigError(f"'{argument}': the name after ':' is missing; see --help for the presets.")
        return Choice(group.lower(), name, (argument,))
    group, colon, _ = argument.partition(":")
    if colon and group.replace("-", "").replace("_", "").isalpha():
        hint = nearest(group, CHOICES)
        raise ConfigError(f"'{argument}': there is no group '{group}'.{hint} Groups: {', '.join(CHOICES)}.")
    if argument.endswith((".yaml", ".yml")):
        raise ConfigError(f"'{argument}': unexpected. Did you mean --config {argument}?")
    if argument.startswith("-"):
        raise ConfigError(f"'{argument}': unexpected; options start with two dashes. {_OPTIONS_HINT}")
    group, equals, name = argument.partition("=")
    if equals and group.lower() in CHOICES:
        raise ConfigError(f"'{argument}': presets are chosen with a colon. Did you mean {group}:{name}?")
    if "/" in argument or os.path.exists(argument):
        raise ConfigError(
            f"'{argument}': unexpected; a path comes after its flag, as in --checkpoint {argument} "
            f"(in train: --training.checkpoint {argument}). {_OPTIONS_HINT}"
        )
    if before and before[-1].text is not None:
        bare = itertools.takewhile(lambda a: not a.startswith("--") and not _is_choice(a), after)
        text, more = before[-1].text, [argument, *bare]
        value = " ".join([text, *more]) if text.startswith(("[", "{")) else f"[{', '.join([text, *more])}]"
        example = f"{before[-1].flag}='{value}'"
        raise ConfigError(f"'{argument}': unexpected after {before[-1].flag}. A list is written {example}.")
    raise ConfigError(f"'{argument}': unexpected. {_OPTIONS_HINT}{_as_preset(argument)}")


def _as_preset(argument: str) -> str:
    return nearest(f"exp:{argument}", [f"exp:{name}" for name in names("exp")])


def _path(value: str | None) -> str:
    if not value:
        raise ConfigError("--config: the file is missing; wanted --config PATH.yaml.")
    return value if "/" in value or value.endswith((".yaml", ".yml")) else f"./{value}"


def _key(flag: str) -> keys.Path:
    if _is_choice(flag[2:]):
        raise ConfigError(f"'{flag}': presets are chosen without dashes. Did you mean {flag[2:]}?")
    parts = tuple(flag[2:].split("."))
    if not all(parts):
        raise ConfigError(f"'{flag}': not a key. {_OPTIONS_HINT}")
    return canonical(parts)


def _once(given: Sequence[tuple[keys.Path, str]]) -> None:
    """Raise for the first key that comes twice, quoting both spellings, or lies inside another."""
    seen: dict[keys.Path, str] = {}
    for path, text in given:
        if path in seen:
            both = f"{seen[path]} and {text}" if seen[path] != text else text
            raise ConfigError(f"{both}: given twice; keep one.")
        seen[path] = text
    for path, text in given:
        for length in range(1, len(path)):
            if outer := seen.get(path[:length]):
                raise ConfigError(f"{text}: contradicts {outer}, which sets the whole of it; keep one.")
