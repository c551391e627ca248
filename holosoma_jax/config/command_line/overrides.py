"""Command-line overrides: which key each one means, and the layer that they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holosoma_jax.config import holosoma, keys, values
from holosoma_jax.config.command_line.tokens import Override, unexpected
from holosoma_jax.config.errors import ConfigError, closest
from holosoma_jax.config.files import GROUPS
from holosoma_jax.config.keys import Path, Source
from holosoma_jax.config.yaml12 import show

COMMANDS = ("command", "setup_terms")
OF_TASKS: Mapping[str, str] = {
    "motion_command": "whole-body tracking, which is chosen with exp:g1-29dof-wbt",
    "locomotion_command": "locomotion, which is chosen with exp:g1-29dof",
    "locomotion_gait": "locomotion, which is chosen with exp:g1-29dof",
}
"""Command of one of our tasks -> the task, for who passes it to another one's preset."""


def layer(
    root: type,
    mapping: Mapping[str, Any],
    overrides: Sequence[Override],
    also: Mapping[Path, Any] | None = None,
) -> tuple[dict[str, Any], dict[Path, Source]]:
    """The overrides as one mapping to lay over `mapping`, and where each value came from.

    Args:
      root: the dataclass that the keys belong to.
      mapping: what is composed so far; it says which terms there are.
      overrides: parsed flags.
      also: further keys that the command knows, for suggestions.

    Raises:
      ConfigError: unknown key, missing value, a value that is not YAML.
    """
    known = {**(also or {}), **dict(keys.walk(root, mapping))}
    out: dict[str, Any] = {}
    sources: dict[Path, Source] = {}
    for override in overrides:
        value = _value(override, root, mapping, known)
        for name in reversed(override.path):
            value = {name: value}
        out = keys.overlay(out, value)
        sources[override.path] = Source(override.flag, override.typed)
    return out, sources


def _value(override: Override, root: type, mapping: Mapping[str, Any], known: Mapping[Path, Any]) -> Any:
    """The override's value, read as the key's type asks for."""
    flag, text = override.flag, override.text
    tp, current, is_term = _find(override, root, mapping, known)
    if is_term and text in ("null", "None", "~"):
        return None  # takes the term out
    if keys.section_of(tp) or keys.terms_of(tp):
        names = tuple(keys.hints(tp)) if keys.section_of(tp) else tuple(current or ())
        fix = f"set one of {keys.listed(names)}.{_choose(override)}"
        raise ConfigError(f"{flag}: holds other keys, not a value; {fix}")
    if text is not None and "${" in text:
        raise ConfigError(
            f"{flag}: got {show(text)}; wanted the value itself, nothing is put in place of ${{...}}."
        )
    if text is None and (values.is_bool(tp) or isinstance(current, bool)):
        return True
    if override.more:
        if not (values.is_list(tp) or isinstance(current, (list, tuple))):
            raise unexpected(override.more[0], flag)
        parts = (text or "", *override.more)
        text = " ".join(parts) if parts[0].startswith(("[", "(")) else f"[{', '.join(parts)}]"
    if not text:
        raise ConfigError(f"{flag}: the value is missing; wanted {values.describe(tp)}, as in {flag}=VALUE.")
    return keys.conform(tp, values.parse(text, tp, flag), flag)


def _find(
    override: Override, root: type, mapping: Mapping[str, Any], known: Mapping[Path, Any]
) -> tuple[Any, Any, bool]:
    """The type of the key, the value it has so far, and whether it is a whole term.

    New parameters of a term pass: the term's function decides about them. New terms do not: a
    term needs more than one value, and a misspelt name would make one.
    """
    tp: Any = root
    node: Any = mapping
    is_term = False
    for depth, name in enumerate(override.path):
        section, term, table = keys.section_of(tp), keys.terms_of(tp), keys.table_of(tp)
        inside: tuple[str, ...] = tuple(node) if isinstance(node, Mapping) else ()
        if section:
            fields = keys.hints_in(section, node)
            tp, inside = fields.get(name), tuple(fields)
        elif term:
            tp = term
        elif table:
            inside = (name,) if keys.is_own(tp, name) else table[0] or (name,)
            tp = table[1]
        elif not inside:
            raise ConfigError(
                f"{override.flag}: {keys.as_flag(override.path[:depth])} takes {values.describe(tp)}; "
                f"there is nothing below it called '{name}'."
            )
        if name not in inside:
            raise ConfigError(_unknown(override, depth, inside, known, term is not None))
        node = node.get(name) if isinstance(node, Mapping) else None
        is_term = term is not None
    return tp, node, is_term


def _unknown(
    override: Override, depth: int, inside: Sequence[str], known: Mapping[Path, Any], is_term: bool
) -> str:
    path = override.path
    if depth == 0:
        own = dict.fromkeys(p[0] for p in known if p[0] not in inside)  # the command's flags
        inside = (*own, *inside)
    if advice := holosoma.advice(path):
        return f"{override.flag}: holosoma's key is not here: {advice}."
    if is_term and path[:depth] == COMMANDS and path[depth] in OF_TASKS:
        return (
            f"{override.flag}: this config's task has no '{path[depth]}'; it is of {OF_TASKS[path[depth]]}. Known in "
            f"{keys.as_flag(path[:depth])}: {keys.listed(inside) or 'none'}."
        )
    match = keys.suggest(path, known)
    if is_term and not closest(path[depth], inside):
        match = None  # a name like no other is a new term, not a key of another one
    hint = f" Did you mean {keys.as_flag(match)}?" if match else ""
    where = keys.as_flag(path[:depth]) if depth else "the top level"
    what = "there is no such term" if is_term else "unknown key"
    listing = "" if match and len(inside) > 12 else f" Known in {where}: {keys.listed(inside) or 'none'}."
    fix = " New terms are written in a YAML file." if is_term and not match else ""
    return f"{override.flag}: {what} '{path[depth]}'.{hint}{listing}{fix}"


def _choose(override: Override) -> str:
    """How to choose a preset, when somebody wrote --robot g1-29dof or --exp g1-29dof."""
    if len(override.path) == 1 and override.path[0] in GROUPS and override.text:
        return f" A preset is chosen with {override.path[0]}:{override.text}."
    return ""
