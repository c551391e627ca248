"""Files of Weights & Biases runs: ``wandb://ENTITY/PROJECT/RUN/FILE`` as a path on this machine.

What was downloaded once is kept in a cache folder and never asked for again: the names of
checkpoints and policies carry their step, and a run does not write one twice.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from holosoma_jax import machine
from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError, nearest

log = logging.getLogger(__name__)

SCHEME = "wandb://"
FORM = "wandb://ENTITY/PROJECT/RUN/FILE"
TIMEOUT_S = 20
_LONGEST = 250
"""bytes of a part of an address; file systems take 255 in a name"""
_MOST_MEMBERS, _LONGEST_NAME, _DEEPEST = 20_000, 1000, 20
"""entries of an archive, letters of their names and folders in folders; a checkpoint has far fewer"""
_CHECKPOINT = re.compile(r"checkpoints/(0|[1-9][0-9]{0,9})(\.tar)?")


_OF_THE_CACHE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What the folder of the cache is to blame for, not an archive that is unpacked there"""


class Address(NamedTuple):
    """The parts of a URI."""

    entity: str
    project: str
    run: str
    file: str
    """may hold slashes; '' for the newest checkpoint"""

    @property
    def run_path(self) -> str:
        """As wandb's API names a run."""
        return f"{self.entity}/{self.project}/{self.run}"


def is_uri(text: str | os.PathLike[str]) -> bool:
    """Whether `text` is the address of a file at Weights & Biases."""
    return str(text).startswith(SCHEME)


def parse(uri: str) -> Address:
    """The parts of `uri`; a segment ``runs`` before the run is skipped, as in addresses of web pages.

    Raises:
      ConfigError: a part is missing.
    """
    parts = [part for part in uri.removeprefix(SCHEME).split("/") if part]
    if len(parts) > 2 and parts[2] == "runs":
        del parts[2]
    if any(len(os.fsencode(part)) > _LONGEST or "\0" in part for part in parts):
        raise ConfigError(f"{uri}: wanted {FORM}, each part at most {_LONGEST} letters.")
    if len(parts) < 3 or {".", "..", ".tar", "..tar", "...tar"} & set(parts):
        raise ConfigError(f"{uri}: wanted {FORM}; FILE is one of the run's, such as checkpoints/300.tar.")
    return Address(*parts[:3], file="/".join(parts[3:]))


def cache_folder() -> Path:
    """Where downloads are kept: HOLOSOMA_CACHE_DIR, else the user's cache folder."""
    folder = machine.cache_folder()
    if folder is None:
        raise ConfigError(f"no home folder to keep downloads in: set {machine.CACHE_VARIABLE} to a folder.")
    return folder


def fetch(uri: str, *, api: Any = None) -> Path:
    """The file that `uri` names, downloaded unless it is in the cache; a ``.tar`` as its folder.

    Args:
      uri: ``wandb://ENTITY/PROJECT/RUN/FILE``; without FILE, the run's newest checkpoint.
      api: in place of ``wandb.Api()``.

    Raises:
      ConfigError: not such an address, no such run or file, no login, no network, extra not installed.
    """
    address = parse(uri)
    place = cache_folder() / "wandb" / address.run_path
    if address.file and (local := _local(place, address.file)).exists():
        return local
    run, names = _connect(uri, address, api)
    name = address.file or _newest(uri, names)
    if name not in names and f"{name}.tar" in names:
        name += ".tar"  # checkpoints/300 is the folder's name in the run's own folder
    if name not in names:
        hint = nearest(name, names) or f" It holds: {_listed(names)}."
        raise ConfigError(f"{uri}: the run has no file '{name}'.{hint}")
    local = _local(place, name)
    if not local.exists():
        log.info("Downloading %s of %s ...", name, address.run_path)
        _download(uri, run, name, local)
    return local


def _local(place: Path, name: str) -> Path:
    return place / name.removesuffix(".tar")


def _connect(uri: str, address: Address, api: Any) -> tuple[Any, list[str]]:
    """The run, and the names of its files."""
    if api is None:
        extras.require(uri, "wandb", "Or download the file and pass its path.")
    try:
        if api is None:
            import wandb

            api = wandb.Api(timeout=TIMEOUT_S)
        run = api.run(address.run_path)
        return run, [file.name for file in run.files()]
    except Exception as error:
        raise ConfigError(f"{uri}: {_explained(error)}") from None


def first_line(error: Exception) -> str:
    """The first line of an exception's message that says something, without a full stop."""
    lines = (line.strip() for line in str(error).splitlines() if line.strip())
    return next(lines, type(error).__name__).rstrip(".")


def is_login(text: str) -> bool:
    """Whether a message of wandb's is about a login that is missing."""
    return any(words in text.lower() for words in ("api key", "api_key", "not logged in", "wandb login"))


def _explained(error: Exception) -> str:
    """What a failure of wandb's API means for the user, in one sentence."""
    text = first_line(error)
    lower = text.lower()
    if is_login(text):
        return "nobody is logged in. Log in with `wandb login`, or set WANDB_API_KEY."
    if any(word in lower for word in ("could not find run", "not found", "404")):
        return f"there is no such run, or it is private ({text}). Wanted {FORM}."
    if any(word in lower for word in ("permission", "denied", "403", "401")):
        return f"access denied ({text}). Log in with `wandb login` as a user who may read it."
    return f"no answer from Weights & Biases ({text}). Check the network, or download the file and pass its path."


def _newest(uri: str, names: list[str]) -> str:
    steps = {int(match[1]): name for name in names if (match := _CHECKPOINT.fullmatch(name))}
    if not steps:
        raise ConfigError(f"{uri}: the run has no checkpoint; add the FILE. It holds: {_listed(names)}.")
    return steps[max(steps)]


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


def _download(uri: str, run: Any, name: str, target: Path) -> None:
    """Fetch into a folder of its own, then rename: a cache entry is complete or absent."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
            try:
                file = run.file(name)
                _require_room(uri, file.size, Path(folder))
                stream = file.download(root=folder, replace=True)
            except (OSError, ConfigError):
                raise
            except Exception as error:
                raise ConfigError(f"{uri}: {_explained(error)}") from None
            stream.close()
            got = Path(folder) / name
            if name.endswith(".tar"):
                got = _unpacked(uri, got)
            os.replace(got, target)
        record = {"uri": uri, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        target.with_name(f".{target.name}.json").write_text(json.dumps(record) + "\n")
    except OSError as error:
        if not target.exists():  # somebody else may have fetched it meanwhile
            raise ConfigError(
                f"{uri}: cannot be kept in {target.parent} ({error.strerror or error}). "
                f"Set {machine.CACHE_VARIABLE} to a folder that you may write to."
            ) from None


def _require_room(uri: str, size: int, folder: Path) -> None:
    """Raise ConfigError where a file of `size` bytes, unpacked beside itself, does not fit."""
    free = shutil.disk_usage(folder).free
    if 2 * size > free:
        raise ConfigError(
            f"{uri}: the file has {size / 1e9:.2f} GB, and {folder.parent} has {free / 1e9:.2f} GB free; twice the "
            f"file is needed. Set {machine.CACHE_VARIABLE} to a folder with more room."
        )


def _unpacked(uri: str, archive: Path) -> Path:
    """The one folder that a checkpoint's archive holds."""
    folder = archive.with_name("unpacked")
    try:
        with tarfile.open(archive, "r:") as tar:  # a compressed one could grow without limit
            members = list(itertools.islice(tar, _MOST_MEMBERS + 1))
            _check_members(members, archive.stat().st_size)
            tar.extractall(folder, members, filter="data")  # nothing outside of `folder`
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_CACHE:
            raise
        raise ConfigError(f"{uri}: not a checkpoint's archive, or cut short ({error}).") from None
    finally:
        archive.unlink(missing_ok=True)
    inside = list(folder.iterdir())
    if len(inside) != 1 or not inside[0].is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(
            f"{uri}: not a checkpoint's archive; it holds {len(inside)} entries, wanted one folder."
        )
    return inside[0]


def _check_members(members: Sequence[tarfile.TarInfo], size: int) -> None:
    """Raise ValueError for what no checkpoint's archive of `size` bytes holds."""
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"more than {_MOST_MEMBERS} entries")
    for member in members:
        if len(member.name) > _LONGEST_NAME or member.name.count("/") > _DEEPEST:
            raise ValueError(f"{member.name!r:.80}... is no name of a checkpoint's file")
        if member.isreg() and not member.name.strip("./"):
            raise ValueError("a file without a name")
        if not (member.isdir() or (member.isreg() and not member.issparse())):
            raise ValueError(f"{member.name!r:.80} is neither a file nor a folder")
    total = sum(member.size for member in members)
    if not members or total > size:
        raise ValueError(f"{len(members)} entries of {total} bytes in {size}")
