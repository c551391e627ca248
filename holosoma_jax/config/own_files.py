"""Python files of the user's own, imported before a config is read: `--import-file FILE.py`.

What is in such a file is called FILE:NAME, FILE being its name without `.py`: functions and records as in any
module (`func: FILE:NAME`), and what two dict literals in it list:

- ``PRESETS``: group -> name -> mapping, as in `configs/<group>/<name>.yaml`; chosen by `group:FILE:NAME`;
- ``ROBOTS``: name -> folder of a robot, relative to the file; chosen by `--robot.asset FILE:NAME`.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.yaml12 import show, spell
from holosoma_jax.files import expanded

FLAG = "--import-file"
OPEN = ("algo", "simulator")
"""Groups whose preset may be package.module:NAME: that one, with its defaults."""
FILES: dict[str, Path] = {}
"""Name -> file of what this process has imported so; as `sys.modules`, which holds the modules."""


def load(paths: Iterable[str]) -> None:
    """Import files, each once.

    Raises:
      ConfigError: no such file, one that Python cannot import, or whose name another module has.
    """
    for text in paths:
        path = expanded(text).resolve()
        if FILES.get(path.stem) != path:
            _require_importable(text, path)
            _import(text, path)
            FILES[path.stem] = path


def preset(group: str, name: str) -> tuple[Mapping[str, Any], Path] | None:
    """The mapping that `group:FILE:NAME` means, and the file's folder.

    None if no imported file has that name, or if it means the file's own learner or simulator.

    Raises:
      ConfigError: the file has no such preset.
    """
    stem, colon, key = name.partition(":")
    if not colon or stem not in FILES:
        return None
    known = _presets(stem).get(group, {})
    meant = {spell(k): k for k in known}.get(spell(key))
    if meant is None:
        if group in OPEN and hasattr(sys.modules[stem], key):
            return None
        raise ConfigError(
            f"{group}:{name}: PRESETS of {FILES[stem].name} has no '{key}' under '{group}'.{nearest(key, known)} "
            f"Known: {', '.join(known) or 'none'}."
        )
    return _plain(known[meant], f"{FILES[stem].name}: PRESETS: {group}: {meant}"), FILES[stem].parent


def robot(asset: str) -> str:
    """The folder that `FILE:NAME` means; any other asset as it is.

    Raises:
      ConfigError: the file has no such robot.
    """
    stem, colon, key = asset.partition(":")
    if not colon or stem not in FILES:
        return asset
    known = getattr(sys.modules[stem], "ROBOTS", {})
    if not isinstance(known, Mapping) or not isinstance(known.get(key), (str, Path)):
        names = [str(name) for name in known] if isinstance(known, Mapping) else []
        raise ConfigError(
            f"robot.asset: ROBOTS of {FILES[stem].name} has no folder under '{key}'.{nearest(key, names)} "
            f"Known: {', '.join(names) or 'none'}."
        )
    return str(FILES[stem].parent / expanded(known[key]))


def _require_importable(text: str, path: Path) -> None:
    """Raise ConfigError unless `path` is a Python file with a name of its own."""
    here = f"{FLAG} {text}"
    if path.suffix != ".py":
        raise ConfigError(f"{here}: wanted a file that ends in .py.")
    if not path.is_file():
        raise ConfigError(
            f"{here}: {'is a folder' if path.is_dir() else 'no such file'}; wanted a Python file."
        )
    if not path.stem.isidentifier():
        raise ConfigError(f"{here}: wanted a name of letters, digits and '_', as Python modules have.")
    if path.stem in FILES:
        raise ConfigError(
            f"{here}: {FILES[path.stem]} has the same name and is imported already; rename one."
        )
    found = importlib.util.find_spec(path.stem)
    origin = found.origin if found is not None else None
    if found is not None and (origin is None or Path(origin).resolve() != path):
        raise ConfigError(f"{here}: Python has another module '{path.stem}' ({origin}); rename the file.")


def _import(text: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # a file of the user's own may fail in any way
        sys.modules.pop(path.stem)
        if before is not None:
            sys.modules[path.stem] = before
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ConfigError(f"{FLAG} {text}{_line(error, path)}: {type(error).__name__}: {error}.") from error


def _line(error: BaseException, path: Path) -> str:
    """', line N' of the file, where the error came up."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return f", line {lines[-1]}" if lines else ""


def _presets(stem: str) -> Mapping[str, Mapping[str, Any]]:
    """The file's `PRESETS`; raises ConfigError unless it is group -> name -> mapping."""
    module: ModuleType = sys.modules[stem]
    found = getattr(module, "PRESETS", {})

    def require(fits: bool, where: str, value: Any) -> None:
        if not fits:
            raise ConfigError(
                f'{FILES[stem].name}: PRESETS{where}: got {show(value)}; wanted {{"group": {{"name": {{...}}}}}}.'
            )

    require(isinstance(found, Mapping), "", found)
    for group, presets in found.items():
        require(isinstance(presets, Mapping), f": {group}", presets)
        for name, preset in presets.items():
            require(isinstance(name, str), f": {group}: names", name)
            require(isinstance(preset, Mapping), f": {group}: {name}", preset)
    return found


def _plain(value: Any, where: str) -> Any:
    """`value` as YAML would give it; raises ConfigError for what YAML cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v, f"{where}: {key}") for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, where) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(
        f"{where}: got a {type(value).__name__}; wanted what YAML holds, functions as FILE:NAME."
    )
