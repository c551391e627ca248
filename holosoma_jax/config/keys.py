"""The schema as a tree of keys: what lies under each, how it is spelt, what is near a misspelt one.

Four kinds of node: a *section* (dataclass), *terms* (dict of sections, named by the preset), a
*table* (dict of values: a term's parameters, tile probabilities), a *leaf* (anything else). Which
section a field holds may depend on its sibling (`ChosenBy`): a learner's name decides its settings.
A path is a tuple of canonical names.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from holosoma_jax.config import holosoma
from holosoma_jax.config.errors import ConfigError, closest, nearest
from holosoma_jax.config.schema.types import OWN, ChosenBy
from holosoma_jax.config.values import options, wanted
from holosoma_jax.config.yaml12 import show, spell

Path = tuple[str, ...]

ELSEWHERE: Mapping[str, Path] = {
    "max_iterations": ("algo", "config", "num_learning_iterations"),
    "num_iterations": ("algo", "config", "num_learning_iterations"),
    "iterations": ("algo", "config", "num_learning_iterations"),
    "resume": ("training", "checkpoint"),
    "resume_from": ("training", "checkpoint"),
    "load_run": ("training", "checkpoint"),
    "run_name": ("training", "name"),
    "experiment_name": ("training", "project"),
    "log_dir": ("training", "output_dir"),
    "logdir": ("training", "output_dir"),
}
"""What other frameworks call some keys; for suggestions only."""


class Source(NamedTuple):
    """Where a value came from, for error messages."""

    name: str
    """a file, or the flag as typed"""
    text: str | None = None
    """the flag's value as typed"""


Sources = Mapping[Path, Source]


@functools.cache
def hints(section: type) -> Mapping[str, Any]:
    """Field name -> type, ranges included, in schema order."""
    return typing.get_type_hints(section, include_extras=True)


def hints_in(section: type, node: Any, base: Any = None) -> Mapping[str, Any]:
    """`hints`, where a field of several possible sections has the one that its sibling asks for.

    Args:
      section: the dataclass.
      node: its mapping or an instance, which may hold the sibling.
      base: what `node` will be laid over, asked where `node` has no say.
    """
    out = dict(hints(section))
    for name, choice in _choices(section).items():
        named = (_get(node, choice.field), _get(base, choice.field), choice.default)
        sections = (choice.section(n) for n in named if isinstance(n, str))
        out[name] = next(tp for tp in sections if tp)
    return out


def choosers(root: type) -> Mapping[Path, ChosenBy]:
    """The path of every field that decides which section its sibling is."""
    out: dict[Path, ChosenBy] = {(choice.field,): choice for choice in _choices(root).values()}
    for name, tp in hints(root).items():
        if section := section_of(tp):
            out |= {(name, *path): choice for path, choice in choosers(section).items()}
    return out


def at(mapping: Any, path: Path) -> Any:
    """The value at `path`, or None."""
    for name in path:
        mapping = mapping.get(name) if isinstance(mapping, Mapping) else None
    return mapping


@functools.cache
def _choices(section: type) -> Mapping[str, ChosenBy]:
    """The fields that may hold several sections."""
    notes = {name: typing.get_args(tp)[1:] for name, tp in hints(section).items()}
    return {name: note for name, found in notes.items() for note in found if isinstance(note, ChosenBy)}


def _get(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, Mapping) else getattr(node, name, None)


def section_of(tp: Any) -> type | None:
    """The dataclass, if the node is a section."""
    return tp if isinstance(tp, type) and dataclasses.is_dataclass(tp) else None


def terms_of(tp: Any) -> type | None:
    """The dataclass of one term, if the node is a dict of sections."""
    return section_of(typing.get_args(tp)[1]) if typing.get_origin(tp) is dict else None


def table_of(tp: Any) -> tuple[tuple[str, ...], Any] | None:
    """(allowed keys or (), type of the values), if the node is a dict of values."""
    if typing.get_origin(tp) is not dict or terms_of(tp):
        return None
    key, value = typing.get_args(tp)
    return options(key), value


def is_own(tp: Any, name: str) -> bool:
    """Whether `name` may be a key of the table of type `tp` as package.module:NAME, beside those that it lists."""
    key = typing.get_args(tp)[0]
    return typing.get_origin(key) is typing.Annotated and re.fullmatch(OWN, name) is not None


def canonical(path: Path) -> Path:
    """`path` with '_', in this project's words where holosoma has others."""
    return holosoma.ours(tuple(spell(part) for part in path))


def as_flag(path: Path) -> str:
    """('training', 'num_envs') -> '--training.num-envs'."""
    return "--" + ".".join(path).replace("_", "-")


def walk(tp: Any, mapping: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key that takes a value, with its type; terms and parameters are those of `mapping`."""
    mapping = mapping if isinstance(mapping, Mapping) else {}
    if section := section_of(tp):
        for name, sub in hints_in(section, mapping).items():
            yield from walk(sub, mapping.get(name), (*path, name))
    elif term := terms_of(tp):
        for name in mapping:
            yield from walk(term, mapping[name], (*path, name))
    elif table := table_of(tp):
        for name in table[0] or mapping:
            yield from walk(table[1], mapping.get(name), (*path, name))
    elif tp is Any and mapping:
        for name in mapping:
            yield from walk(Any, mapping[name], (*path, name))
    else:
        yield path, tp


def conform(tp: Any, mapping: Any, source: str, path: Path = (), base: Any = None) -> Any:
    """A file's mapping in the schema's spelling, without its empty sections.

    Args:
      tp: the node's type.
      mapping: the file's.
      source: what messages call the file.
      path: of the node.
      base: what the result will be laid over, if anything.

    Raises:
      ConfigError: an unknown key, a key given twice, a value where keys are wanted.
    """
    section, term, table = section_of(tp), terms_of(tp), table_of(tp)
    if not (section or term or table):
        return _spelt(mapping)
    here = f"{source}: {'.'.join(path)}" if path else source
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{here}: got {show(mapping)}; wanted {below(tp)}.")
    fields = hints_in(section, mapping, base) if section else {}
    known = tuple(fields) or (table[0] if table else ())
    out: dict[str, Any] = {}
    for name, choice in _choices(section).items() if section else ():
        said = mapping.get(choice.field)
        if said is None and name in mapping and _get(base, choice.field) is None:
            out[choice.field] = choice.default  # what the keys below are read as
        elif said is not None and not (isinstance(said, str) and choice.section(said)):
            where = ".".join((*path, choice.field))
            raise ConfigError(f"{source}: {where}: got {show(said)}; {wanted(said, fields[choice.field])}")
    for key, value in mapping.items():
        meant = canonical((*path, str(key)))
        name = meant[-1] if meant[:-1] == path else spell(str(key))
        if known and name not in known and not (table and is_own(tp, name)):
            full = ".".join((*path, str(key)))
            hint = nearest(name, known)
            if meant[:-1] != path:
                hint = f" Here it is {'.'.join(meant)}."
            elif advice := holosoma.advice(meant):
                hint = f" Of holosoma's keys: {advice}."
            raise ConfigError(f"{source}: unknown key '{full}'.{hint} Known: {listed(known)}.")
        if name in out:
            raise ConfigError(f"{here}: '{key}' is given twice (once as '{name}').")
        removed = term is not None and value is None  # null takes a term out of a group
        sub = fields[name] if section else term or (table[1] if table else Any)
        under = _get(base, name) if section else None
        child = None if removed else conform(sub, value, source, (*path, name), under)
        if child != {} or value is not None:
            out[name] = child
    return out


def overlay(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` over `base`: mappings merge key by key, everything else is replaced."""
    out = dict(base)
    for key, value in layer.items():
        old = out.get(key)
        merge = isinstance(value, Mapping) and isinstance(old, Mapping)
        out[key] = overlay(cast("Mapping[str, Any]", old), value) if merge else value
    return out


def suggest(path: Path, known: Iterable[Path]) -> Path | None:
    """The known path that was most likely meant.

    In this order: a name that other frameworks use, one wrong name among right ones, a path with names
    left out, the same last name in the section or in one other; where the first name is wrong already,
    the most similar path as a whole.
    """
    known = list(known)
    if (meant := ELSEWHERE.get(path[-1])) in known:
        return meant
    right = next(n for n in range(len(path) + 1) if not any(p[: n + 1] == path[: n + 1] for p in known))
    names = {p[right] for p in known if len(p) > right and p[:right] == path[:right]}
    if match := closest(path[right], names):
        return _starting((*path[:right], match), path, known)
    at_home = [p for p in known if p[0] == path[0] or len(path) == 1]
    longer = [p for p in at_home if set(path) <= set(p)] or [p for p in at_home if p[-1] == path[-1]]
    if longer:
        return min(longer, key=len)
    elsewhere = [p for p in known if p[-1] == path[-1]]  # a name of many sections hints at none
    if len(elsewhere) == 1:
        return elsewhere[0]
    whole = {".".join(p): p for p in known}
    match = closest(".".join(path), whole) if right == 0 else None
    return whole[match] if match else None


def _starting(start: Path, path: Path, known: Iterable[Path]) -> Path | None:
    """`start` followed by the rest of `path` where that is known, else as far as is known."""
    full = (*start, *path[len(start) :])
    return full if full in known or any(p[: len(full)] == full for p in known) else start


def _spelt(value: Any) -> Any:
    """Canonical keys inside a leaf (a parameter may be a mapping)."""
    if isinstance(value, Mapping):
        return {spell(str(k)): _spelt(v) for k, v in value.items()}
    return [_spelt(v) for v in value] if isinstance(value, (list, tuple)) else value


def below(tp: Any) -> str:
    """What a node that holds keys wants instead of a value."""
    section, table = section_of(tp), table_of(tp)
    names = tuple(hints(section)) if section else table[0] if table else ()
    return f"keys below it: {listed(names)}" if names else "a mapping of names to values"


def listed(names: Iterable[str]) -> str:
    """'a, b, c', cut where a line would get too long."""
    names = tuple(names)
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
