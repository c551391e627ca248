"""A command line as a list of tokens: choices of presets and overrides of keys, in any order."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from holosoma_jax.config import keys
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.files import GROUPS, names
from holosoma_jax.config.keys import canonical
from holosoma_jax.config.yaml12 import spell

CHOICES = ("exp", "task", *GROUPS)
ALLOW_CODE = ("allow_code",)
"""The path of the flag that names a package whose functions a saved config may name."""
IMPORT_FILE = ("import_file",)
"""The path of the flag that names Python files to import (`own_files`)."""
_OPTIONS_HINT = "Options read --section.key=value, presets group:name."
_HYDRA = {
    "multirun": "A command makes one run; start it once for each value",
    "m": "A command makes one run; start it once for each value",
    "cfg": "With exp:NAME, --help shows the values; a run's folder holds them as config.yaml",
    "config_name": "Presets are chosen with exp:NAME, files with --config FILE.yaml",
    "config_path": "Presets are chosen with exp:NAME, files with --config FILE.yaml",
    "config_dir": "Presets are chosen with exp:NAME, files with --config FILE.yaml",
}
"""Hydra's flags -> what to do instead."""


class Choice(NamedTuple):
    """`group:name`, or `--config FILE`, which is a choice of the group 'exp'."""

    group: str
    name: str
    raw: tuple[str, ...]
    """the arguments it came from"""


class Override(NamedTuple):
    """`--a.b.c=value`, `--a.b.c value`, `--a.b.c 1 2 3` for a list, or a bare `--a.b.c`."""

    path: keys.Path
    """canonical"""
    flag: str
    """as typed, without the value"""
    text: str | None
    """None: bare"""
    raw: tuple[str, ...]
    more: tuple[str, ...] = ()
    """further values, of a list"""

    @property
    def typed(self) -> str | None:
        """All of the values, as typed."""
        return self.text if self.text is None else " ".join((self.text, *self.more))


class Tokens(NamedTuple):
    """A parsed command line."""

    choices: tuple[Choice, ...] = ()
    overrides: tuple[Override, ...] = ()

    def chosen(self, group: str) -> Choice | None:
        """The one choice of that group."""
        return next((c for c in self.choices if c.group == group), None)

    @property
    def own_files(self) -> tuple[str, ...]:
        """The files of `--import-file FILE.py ...`.

        Raises:
          ConfigError: the flag names none.
        """
        options = [o for o in self.overrides if o.path == IMPORT_FILE]
        if any(not o.text for o in options):
            raise ConfigError(f"{options[0].flag}: the file is missing; wanted {options[0].flag} FILE.py.")
        return tuple(text for o in options for text in (o.text or "", *o.more))

    def without_allowed(self) -> tuple[Tokens, tuple[str, ...]]:
        """The tokens without `--allow-code PACKAGE ...` and `--import-file`, and what these allow.

        Raises:
          ConfigError: no names of packages.
        """
        options = [o for o in self.overrides if o.path == ALLOW_CODE]
        packages = tuple(
            name for o in options for text in (o.text or "", *o.more) for name in text.split(",")
        )
        if not all(part.isidentifier() for name in packages for part in name.split(".")):
            raise ConfigError(
                f"{options[0].flag}: got '{options[0].text or ''}'; wanted the name of a package."
            )
        rest = tuple(o for o in self.overrides if o.path not in (ALLOW_CODE, IMPORT_FILE))
        return self._replace(overrides=rest), (*packages, *(Path(file).stem for file in self.own_files))


def wants_help(argv: Iterable[str]) -> bool:
    """Whether --help or -h is among the arguments."""
    return any(argument in ("--help", "-h") for argument in argv)


def parse(argv: Sequence[str]) -> Tokens:
    """Tokens of a command line; `--help` is ignored.

    Arguments after a flag are its values up to the next flag or choice; a value that looks like one
    is written --key=value.

    Raises:
      ConfigError: something that is neither; a group chosen or a key given twice.
    """
    choices: list[Choice] = []
    overrides: list[Override] = []
    rest = [a for a in argv if not wants_help([a])]
    while rest:
        first = rest.pop(0)
        if not first.startswith("--"):
            choice = _choice(first)
            if choice.group == "task":  # has no preset files
                overrides.append(Override(("task",), first, choice.name, choice.raw))
            else:
                choices.append(choice)
            continue
        flag, equals, text = first.partition("=")
        following = tuple(itertools.takewhile(lambda a: not a.startswith("--") and not _is_choice(a), rest))
        if equals:
            following = following if text.startswith(("[", "{", "(")) else ()  # a list with spaces in it
        del rest[: len(following)]
        raw = (first, *following)
        value = text if equals else following[0] if following else None
        more = following if equals else following[1:]
        if flag == "--config":
            if more:
                raise unexpected(more[0], flag)
            choices.append(Choice("exp", _path(value), raw))
        elif flag == "--exp":
            fix = f"Did you mean exp:{value or 'NAME'}?"
            raise ConfigError(f"--exp: presets are chosen without dashes. {fix}")
        else:
            overrides.append(Override(_key(flag), flag, value, raw, more))
    _once([((c.group,), " ".join(c.raw)) for c in choices])
    _once([(o.path, o.flag) for o in overrides])
    return Tokens(tuple(choices), tuple(overrides))


def unexpected(argument: str, flag: str = "") -> ConfigError:
    """The error for an argument that is neither a choice, nor a flag, nor the value of `flag` before it."""
    after = f" after {flag}" if flag else ""
    name, equals, value = argument.partition("=")
    group, colon, _ = argument.partition(":")
    if argument.endswith((".yaml", ".yml")):
        hint = f"Did you mean --config {argument}?"
    elif argument.startswith("~"):
        hint = f"A term is taken out with --{argument.lstrip('~')}=null."
    elif spell(name.lstrip("-")) in _HYDRA:
        hint = _HYDRA[spell(name.lstrip("-"))] + "."
    elif name.startswith("hydra."):
        hint = "Logs go to --training.output-dir."
    elif equals and name.lstrip("+").lower() in CHOICES:
        hint = f"Presets are chosen with a colon. Did you mean {name.lstrip('+')}:{value}?"
    elif equals and re.fullmatch(r"\+{0,2}[\w.-]+", name):
        hint = f"Options start with two dashes. Did you mean --{name.lstrip('+-')}={value}?"
    elif colon and group.replace("-", "").replace("_", "").isalpha():
        hint = f"There is no group '{group}'.{nearest(group, CHOICES)} Groups: {', '.join(CHOICES)}."
    elif argument.startswith("-"):
        hint = f"Options start with two dashes. {_OPTIONS_HINT}"
    elif "/" in argument or _exists(argument):
        hint = f"A path comes after its flag, as in --checkpoint {argument} (train: --training.checkpoint)."
    elif flag:
        hint = "It takes one value; one with spaces is written in quotes."
    else:
        hint = f"{_OPTIONS_HINT}{nearest(f'exp:{argument}', [f'exp:{preset}' for preset in names('exp')])}"
    return ConfigError(f"'{argument}': unexpected{after}. {hint}")


def _is_choice(argument: str) -> bool:
    group, colon, name = argument.partition(":")
    return bool(colon) and group.lower() in CHOICES and not name.startswith("//")


def _choice(argument: str) -> Choice:
    if not _is_choice(argument):
        raise unexpected(argument)
    group, _, name = argument.partition(":")
    if not name:
        raise ConfigError(f"'{argument}': the name after ':' is missing; see --help for the presets.")
    return Choice(group.lower(), name, (argument,))


def _exists(argument: str) -> bool:
    try:
        return os.path.exists(argument)
    except ValueError:  # a NUL in it
        return False


def _path(value: str | None) -> str:
    if not value:
        raise ConfigError("--config: the file is missing; wanted --config PATH.yaml.")
    return value if "/" in value or value.endswith((".yaml", ".yml")) else f"./{value}"


def _key(flag: str) -> keys.Path:
    if _is_choice(flag[2:]):
        raise ConfigError(f"'{flag}': presets are chosen without dashes. Did you mean {flag[2:]}?")
    parts = tuple(flag[2:].split("."))
    if spell(flag[2:]) in _HYDRA:
        raise unexpected(flag[2:])
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
