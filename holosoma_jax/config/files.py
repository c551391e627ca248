"""Preset files: where they lie, which there are, and reading one."""

from __future__ import annotations

import difflib
import stat
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.keys import hints
from holosoma_jax.config.schema import Config
from holosoma_jax.config.yaml12 import Loader, show, spell
from holosoma_jax.files import expanded

GROUPS = tuple(name for name in hints(Config) if name not in ("exp", "task", "training", "viewer"))
"""Sections that are chosen by name, with `group:name`; their presets are configs/<group>/<name>.yaml."""

RESOLVED = "# The resolved config of a run"
"""How a saved config begins; such a one states every key, so what is missing in it has been lost."""
END = "..."
"""Its last line: YAML's own end of a document."""
LARGEST = 10_000_000
"""Bytes of a config file at most."""


def root(package: Path | None = None) -> Path:
    """The folder of presets: inside the installed package, or beside the package in a checkout.

    Raises:
      ConfigError: neither exists.
    """
    package = package or Path(str(resources.files("holosoma_jax.config"))).parent
    places = (package / "configs", package.parent / "configs")
    for place in places:
        if (place / "exp").is_dir():
            return place
    raise ConfigError(f"no presets: neither {places[0]} nor {places[1]} holds an exp folder. Reinstall.")


def names(group: str, folder: Path | None = None) -> tuple[str, ...]:
    """The presets of a group ('exp' or one of `GROUPS`), sorted."""
    return tuple(sorted(p.stem for p in ((folder or root()) / group).glob("*.yaml")))


def locate(group: str, name: str, folder: Path | None = None, beside: Path | None = None) -> tuple[Path, str]:
    """The file that `group:name` means, and how to call it in messages.

    `name` is a preset's ('-' and '_' are the same) or, with a slash or a .yaml ending, a path
    relative to `beside` (default: the working directory).

    Raises:
      ConfigError: no preset of that name.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = expanded(name)
        return ((beside or Path()) / path), name.removeprefix("./")
    stem, colon, _ = name.partition(":")
    if colon and stem.isidentifier():
        raise ConfigError(
            f"{group}:{name}: no file '{stem}.py' was imported; add --import-file PATH/{stem}.py if it has that preset."
        )
    folder = folder or root()
    known = names(group, folder)
    for preset in known:
        if spell(preset) == spell(name):
            return folder / group / f"{preset}.yaml", f"configs/{group}/{preset}.yaml"
    hint = nearest(name, known)
    raise ConfigError(f"{group}:{name}: there is no such preset.{hint} Known: {', '.join(known) or 'none'}.")


def read(path: Path, name: str = "") -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
      path: the file.
      name: what messages call it; default: the path.

    Raises:
      ConfigError: missing, a folder, unreadable, not YAML (with the line), empty, not a mapping.
    """
    name = name or str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ConfigError(f"{name}: is no regular file; wanted YAML in one.")
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{name}: holds {path.stat().st_size / 1e6:.0f} MB; wanted a config.")
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: no such file.{_neighbour(path)}") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{name}: is a folder; wanted a YAML file in it.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start}); wanted YAML.") from error
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    try:
        data = yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: not valid YAML: {error.problem or error.context}.") from error
    except Exception as error:  # an explicit tag (!!bool maybe) may fail in any way
        problem = " ".join(str(error).split())
        raise ConfigError(f"{name}: not valid YAML: {problem}.") from error
    if text.startswith(RESOLVED) and not text.rstrip().endswith("\n" + END):
        raise ConfigError(f"{name}: is cut off; a config that a run has saved ends with a line '{END}'.")
    if data is None:
        raise ConfigError(f"{name}: is empty; wanted keys like `training:`.")
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: holds {show(data)}; wanted keys like `training:`.")
    return data


def _neighbour(path: Path) -> str:
    """A hint at the file that was meant: a similar name in the same folder, else the presets."""
    try:
        there = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml")]
    except OSError:
        there = []
    if match := difflib.get_close_matches(path.name, there, 1):
        return f" Did you mean '{path.parent / match[0]}'?"
    if any(spell(preset) == spell(path.stem) for preset in names("exp")):
        return f" The preset of that name is exp:{path.stem}."
    return ""
