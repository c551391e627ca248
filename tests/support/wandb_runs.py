"""What an offline run wrote, read back; and a stand-in for wandb's download API."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BLOCK = 32768
HEADER = 7
"""bytes before the first record of a file, and before each piece of one: CRC, length, kind"""


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a ``.wandb`` file: LevelDB's log format behind a file header."""
    from wandb.proto import wandb_internal_pb2 as pb

    data, at, whole = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block too short for a header is padding
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if kind == 0:
            return
        whole = (b"" if kind in (1, 2) else whole) + data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # full, or the last piece
            record = pb.Record()
            record.ParseFromString(whole)
            yield record


def finished(path: Path, patience_s: float = 30.0) -> list[Any]:
    """The records of a closed run: wandb's service writes the last of them after `finish` has returned."""
    waited = 0.0
    while True:
        found = list(records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        if waited > patience_s:
            raise TimeoutError(f"{path} has no end after {waited:.0f} s, but {len(found)} records")
        time.sleep(0.1)
        waited += 0.1


class Read:
    """An offline run that is closed: its header, config, curves and files."""

    def __init__(self, folder: Path):
        (self.path,) = folder.glob("**/offline-run-*/run-*.wandb")
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.files: set[str] = set()
        self.run: Any = None
        for record in finished(self.path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self.config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                row = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
                self.history.append({key: json.loads(value) for key, value in row.items()})
            elif kind == "files":
                self.files |= {file.path for file in record.files.files}


class Api:
    """`wandb.Api` with one run's files; `failure` is raised instead."""

    def __init__(self, files: Mapping[str, bytes] | None = None, failure: Exception | None = None):
        self._files, self._failure = dict(files or {}), failure
        self.downloads: list[str] = []

    def run(self, path: str) -> Api:
        if self._failure is not None:
            raise self._failure
        if path != "me/walks/abc123":
            raise ValueError(f"Could not find run <Run {path} (not found)>")
        return self

    def files(self) -> list[Any]:
        return [self.file(name) for name in self._files]

    def file(self, name: str) -> Any:
        api, content = self, self._files[name]

        class File:
            def __init__(self) -> None:
                self.name, self.size = name, len(content)

            def download(self, root: str, replace: bool) -> io.IOBase:
                api.downloads.append(name)
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                return open(path)

        return File()
