"""From a composed mapping to the schema's dataclasses: types and ranges, key by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from holosoma_jax.config import keys, values
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.keys import Path, Source, Sources
from holosoma_jax.config.yaml12 import show

T = TypeVar("T")


def build(section: type[T], mapping: Mapping[str, Any], sources: Sources) -> T:
    """An instance of a schema dataclass from a mapping that `keys.conform` has seen.

    Raises:
      ConfigError: the first wrong type, value out of range or missing key.
    """
    return _build(section, mapping, sources, ())


def label(path: Path, sources: Sources) -> str:
    """How the user knows a key: the flag as typed, or the file and the dotted key.

    A mapping goes by the flag that changed something in it, or the file that did so last; a key that nobody
    gave, by the file of its neighbours.
    """
    dotted = ".".join(path)
    inside = [s.name for p, s in sources.items() if p != path and p[: len(path)] == path]
    if flag := next((name for name in inside if name.startswith("--")), None):
        return flag
    for length in range(len(path), -1, -1):
        start, rest = path[:length], "".join(f".{part}" for part in path[length:])
        if source := sources.get(start):
            is_flag = source.name.startswith("--")
            return f"{source.name}{rest if start else dotted}" if is_flag else f"{source.name}: {dotted}"
        neighbours = [s.name for p, s in sources.items() if start and p[:length] == start]
        if files := [name for name in neighbours if not name.startswith("--")]:
            return f"{files[-1] if start == path else files[0]}: {dotted}"
    return dotted


def labels(mapping: Any, source: str, path: Path = ()) -> dict[Path, Source]:
    """Every leaf of `mapping` -> that source."""
    if not isinstance(mapping, Mapping) or not mapping:
        return {path: Source(source)}
    out: dict[Path, Source] = {}
    for key, value in mapping.items():
        out.update(labels(value, source, (*path, key)))
    return out


def overlaid(sources: Sources, layer: Mapping[str, Any], source: str) -> dict[Path, Source]:
    """`sources` after `keys.overlay` has laid `layer` of that source over what they are of."""
    new = labels(layer, source)
    replaced = {path for path in new if not isinstance(keys.at(layer, path), Mapping)}
    kept = {
        path: old
        for path, old in sources.items()
        if path not in new and not any(path[:n] in replaced for n in range(1, len(path)))
    }
    return kept | new


def _build(tp: Any, mapping: Any, sources: Sources, path: Path) -> Any:
    if section := keys.section_of(tp):
        given, hints = {}, keys.hints_in(section, mapping)
        for field in dataclasses.fields(section):
            here, sub = (*path, field.name), hints[field.name]
            if field.name in mapping or sub is not keys.hints(section)[field.name]:  # the latter: chosen
                given[field.name] = _build(sub, mapping.get(field.name, {}), sources, here)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{label(here, sources)}: missing; wanted {values.describe(sub)}.")
        return section(**given)
    if term := keys.terms_of(tp):
        kept = {name: value for name, value in mapping.items() if value is not None}
        return {name: _build(term, value, sources, (*path, name)) for name, value in kept.items()}
    if table := keys.table_of(tp):
        return {name: _build(table[1], value, sources, (*path, name)) for name, value in mapping.items()}
    try:
        return values.check(mapping, tp)
    except ValidationError as error:
        raise refused(path, mapping, values.wanted(mapping, tp), sources) from error


def refused(path: Path, value: Any, wanted: str, sources: Sources) -> ConfigError:
    """The error for one value: its key, what was given, what is wanted."""
    source = sources.get(path)
    given = f"'{source.text}'" if source and source.text is not None else show(value)
    return ConfigError(f"{label(path, sources)}: got {given}; {wanted}")
