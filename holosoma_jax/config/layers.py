"""Composition: group files, then the experiment's overrides, then the command line; later wins.

One level: no file includes another. The result is a plain mapping in the schema's spelling, with
the origin of every value, for `validate`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from holosoma_jax.config import files, holosoma, keys, own_files, trust
from holosoma_jax.config.command_line import overrides
from holosoma_jax.config.command_line.tokens import Choice, Tokens
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.keys import Source
from holosoma_jax.config.schema import Config
from holosoma_jax.config.trust import Saved
from holosoma_jax.config.validation import validate
from holosoma_jax.config.yaml12 import show

MUJOCO_SECTIONS = {"mujoco": "mujoco", "mjwarp": "mujoco_warp"}
"""Simulators that are one engine, each with the section of its settings."""
NUMERICS = ("integrator", "iterations", "ls_iterations")
"""Settings that both sections have, and that a trained policy relies on."""

_LOG = logging.getLogger(__name__)

Base: TypeAlias = Mapping[str, Any] | Saved | None
"""A saved config, or None where an experiment has to be chosen. A bare mapping came with an artifact."""
Layer: TypeAlias = tuple[dict[str, Any], dict[keys.Path, Source]]
SAVED = "saved config"
"""What messages call a base config."""


def compose(tokens: Tokens, base: Base, also: Mapping[keys.Path, Any] | None = None) -> Layer:
    """The mapping that a command line asks for, and where each of its values came from.

    Args:
      tokens: the parsed command line.
      base: a saved config, instead of an experiment.
      also: further keys that the command knows, for suggestions.

    Raises:
      ConfigError: no experiment or two, unknown preset or key, unreadable file.
    """
    tokens, allowed = tokens.without_allowed()
    exp = tokens.chosen("exp")
    if base is not None and exp:
        raise ConfigError(f"{' '.join(exp.raw)}: the config comes from the checkpoint; leave it out.")
    if base is None and exp is None:
        for flag in tokens.overrides:
            if flag.path[0] not in keys.hints(Config):  # what is wrong even with a preset comes first
                overrides.layer(Config, {}, [flag], also)
        known = ", ".join(files.names("exp"))
        raise ConfigError(f"no preset chosen: give exp:NAME or --config FILE. Presets: {known}.")
    groups = {c.group: c for c in tokens.choices if c.group != "exp"}
    if exp:
        data, sources = _experiment(exp, groups)
    else:
        saved = base if isinstance(base, Saved) else Saved(base or {})
        trust.require(saved, allowed, SAVED)
        data, sources = _resolved(saved.config, SAVED, groups)
    _keep_choices(data, {o.path: o.text for o in tokens.overrides}.get, "--")
    layer, flags = overrides.layer(Config, data, tokens.overrides, also)
    data = keys.overlay(data, layer)
    if isinstance(asset := keys.at(data, ("robot", "asset")), str):
        data["robot"] = {**data["robot"], "asset": own_files.robot(asset)}
    return data, sources | flags


def _experiment(exp: Choice, groups: Mapping[str, Choice]) -> Layer:
    """An experiment file, or a resolved config that `--config` names."""
    own = own_files.preset("exp", exp.name)
    if own is None:
        path, name = files.locate("exp", exp.name)
        data, beside = files.read(path, name), path.parent
        preset = files.root() / "exp" / path.name
        called = path.stem if path.resolve() == preset.resolve() else name
    else:
        (data, beside), name = own, f"exp:{exp.name}"
        called = exp.name
    if holosoma.is_saved_config(data):
        return _of_holosoma(data, name, groups)
    if "groups" not in data and "overrides" not in data:
        return _resolved(data, name, groups)
    for key in data:
        if key not in ("groups", "overrides"):
            known = ("groups", "overrides", *keys.hints(Config))
            raise ConfigError(
                f"{name}: unknown key '{key}'; an experiment has 'groups' and 'overrides'"
                f"{'; put it under overrides' if key in known else ''}."
            )
    named = _named_groups(data.get("groups") or {}, name)
    layers = [
        (_group(choice or named[group], None if choice else beside), group)
        for group in files.GROUPS
        if (choice := groups.get(group)) or group in named
    ]
    out: dict[str, Any] = {"exp": called}
    sources = {(): Source(name)}
    for (section, source), group in layers:
        out[group] = section
        sources = validate.overlaid(sources, {group: section}, source)
    layer = keys.conform(Config, data.get("overrides"), f"{name}: overrides", base=out)
    _keep_choices(out, partial(keys.at, layer), f"{name}: overrides: ")
    return keys.overlay(out, layer), validate.overlaid(sources, layer, name)


def _of_holosoma(mapping: Mapping[str, Any], name: str, groups: Mapping[str, Choice]) -> Layer:
    """The preset of a `holosoma_config.yaml` with the file's values; what has no place here is listed."""
    preset = holosoma.preset(mapping, name)
    data, sources = _experiment(Choice("exp", preset, (f"exp:{preset}",)), {})
    layer, left = holosoma.translate(mapping, data, dict(keys.walk(Config, data)), name)
    if left:
        _LOG.warning(
            "%s: %d of holosoma's keys have no place here: %s", name, len(left), holosoma.listed(left)
        )
    return _with_groups(keys.overlay(data, layer), validate.overlaid(sources, layer, name), groups)


def _keep_choices(base: Mapping[str, Any], asked: Callable[[keys.Path], Any], source: str) -> None:
    """Raise ConfigError if `asked` names another section, a learner's say, than `base` holds.

    The old section's values would stay behind, or be taken for the new one's.
    """
    for path, choice in keys.choosers(Config).items():
        held, named = keys.at(base, path) or choice.default, asked(path)
        if named and named != held and choice.section(named):
            presets = " or ".join(f"{path[0]}:{name}" for name in files.names(path[0]))
            raise ConfigError(
                f"{source}{'.'.join(path)}: got '{named}', but the settings beside it are those of "
                f"'{held}'; choose a preset of the group instead: {presets}."
            )


def _named_groups(mapping: Any, source: str) -> dict[str, Choice]:
    """The `groups` of an experiment file."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{source}: groups: got {show(mapping)}; wanted lines like `robot: g1-29dof`.")
    for key, name in mapping.items():
        if key not in files.GROUPS:
            hint = nearest(key, files.GROUPS)
            raise ConfigError(f"{source}: unknown group '{key}'.{hint} Groups: {', '.join(files.GROUPS)}.")
        if not isinstance(name, str):
            raise ConfigError(f"{source}: groups.{key}: got {show(name)}; wanted the name of a preset.")
    return {key: Choice(key, name, (f"{key}:{name}",)) for key, name in mapping.items()}


def _group(choice: Choice, beside: Path | None) -> tuple[dict[str, Any], str]:
    if own := own_files.preset(choice.group, choice.name):
        name = f"{choice.group}:{choice.name}"
        return keys.conform(keys.hints(Config)[choice.group], own[0], name), name
    if choice.group in own_files.OPEN and ":" in choice.name:
        return {"name": choice.name}, f"{choice.group}:{choice.name}"
    path, name = files.locate(choice.group, choice.name, beside=beside)
    return keys.conform(keys.hints(Config)[choice.group], files.read(path, name), name), name


def _resolved(mapping: Mapping[str, Any], source: str, groups: Mapping[str, Choice]) -> Layer:
    """A whole config, with chosen groups laid over it."""
    data = keys.conform(Config, mapping, source)
    return _with_groups(data, {(): Source(source), **validate.labels(data, source)}, groups)


def _with_groups(
    data: dict[str, Any], sources: Mapping[keys.Path, Source], groups: Mapping[str, Choice]
) -> Layer:
    """`data` with chosen groups laid over it."""
    sources = dict(sources)
    for group, choice in groups.items():
        section, name = _group(choice, None)
        before = data.get(group, {})
        data[group] = _lay(keys.hints(Config)[group], before, section)
        if group == "simulator":
            data[group] = _with_numerics_of(before, data[group])
        sources = validate.overlaid(sources, {group: section}, name)
    return data, sources


def _with_numerics_of(before: Mapping[str, Any], simulator: Mapping[str, Any]) -> dict[str, Any]:
    """`simulator` with the integrator and iterations of the run's own, where both are MuJoCo.

    A policy that walks at 100 Hz under one integrator may fall under another, so they go with the rate.
    """
    source, target = (MUJOCO_SECTIONS.get(str(x.get("name"))) for x in (before, simulator))
    if source is None or target is None:
        return dict(simulator)
    config = dict(simulator.get("config", {}))
    saved = before.get("config", {}).get(source, {})
    config[target] = config.get(target, {}) | {name: saved[name] for name in NUMERICS if name in saved}
    return dict(simulator) | {"config": config}


def _lay(section: type, base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """A group's file over a saved section: what it does not mention stays, terms and tables go.

    So `simulator:mujoco` on a checkpoint keeps the episode length, and `reward:OTHER` does not mix
    the terms of two presets.
    """
    out, before, after = dict(base), keys.hints_in(section, base), keys.hints_in(section, layer)
    for name, value in layer.items():
        sub = keys.section_of(after[name])
        stays = sub is not None and before[name] is sub  # another learner's settings go
        out[name] = _lay(sub, base.get(name, {}), value) if sub and stays else value
    return out
