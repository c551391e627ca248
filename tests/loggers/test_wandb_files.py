"""``wandb://`` addresses: what they mean, what is kept, and how they fail. No network: a stand-in API."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from holosoma_jax import machine
from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.loggers.wandb_files import Address, fetch, parse
from tests.support.messages import tells
from tests.support.wandb_runs import Api

RUN = "wandb://me/walks/abc123"


def archive(step: str, **files: bytes) -> bytes:
    """A checkpoint's folder as the sink uploads it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {"meta.json": b"{}", **files}.items():
            info = tarfile.TarInfo(f"{step}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(machine.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def api() -> Api:
    names = {f"checkpoints/{step}.tar": archive(step, weights=step.encode()) for step in ("90", "100")}
    return Api({"config.yaml": b"a: 1\n", "policies/100.onnx": b"onnx", **names})


def test_the_parts_of_an_address():
    assert parse(f"{RUN}/policies/100.onnx") == Address("me", "walks", "abc123", "policies/100.onnx")
    assert parse("wandb://me/walks/runs/abc123/model.onnx") == Address("me", "walks", "abc123", "model.onnx")
    assert parse(RUN).file == ""


@pytest.mark.parametrize(
    "uri",
    [
        "wandb://",
        "wandb://me/walks",
        "wandb://me/walks/run/../../x",
        "wandb://me/./walks/run",
        f"{RUN}/./x",
        f"wandb://{'a' * 300}/walks/run",
        f"{RUN}/{'é' * 200}",
        f"{RUN}/a\0b",
    ],
)
def test_an_address_that_lacks_a_part(uri: str):
    with pytest.raises(ConfigError, match="wanted wandb://ENTITY/PROJECT/RUN/FILE"):
        parse(uri)


def test_a_file_is_downloaded_once(api: Api, cache: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    path = fetch(f"{RUN}/policies/100.onnx", api=api)
    assert path.read_bytes() == b"onnx" and path.is_relative_to(cache)
    assert fetch(f"{RUN}/policies/100.onnx", api=Api(failure=OSError("no network"))) == path
    assert api.downloads == ["policies/100.onnx"]
    assert len(caplog.messages) == 1 and tells(caplog.messages[0], "policies/100.onnx ... me/walks/abc123")
    assert [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] == ["100.onnx"]


@pytest.mark.parametrize("name", ["checkpoints/90.tar", "checkpoints/90"])
def test_a_checkpoint_is_its_folder_again(api: Api, name: str):
    path = fetch(f"{RUN}/{name}", api=api)
    assert path.name == "90" and path.parent.name == "checkpoints"
    assert (path / "weights").read_bytes() == b"90"
    assert fetch(f"{RUN}/{name}", api=Api(failure=OSError())) == path


def test_without_a_file_the_newest_checkpoint(api: Api):
    assert (fetch(RUN, api=api) / "weights").read_bytes() == b"100"  # by number, not by name


def line(uri: str, api: Api) -> str:
    with pytest.raises(ConfigError) as error:
        fetch(uri, api=api)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_misspelt_file_suggests_the_right_one(api: Api):
    assert "Did you mean 'policies/100.onnx'?" in line(f"{RUN}/policies/10.onnx", api)
    assert tells(line(f"{RUN}/zzz", api), "'zzz' ... checkpoints/100.tar, ")


def test_a_run_without_checkpoints(api: Api):
    assert "the run has no checkpoint; add the FILE" in line(RUN, Api({"config.yaml": b""}))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ValueError("No API key configured. Use `wandb login` to log in."), "Log in with `wandb login`"),
        (ValueError("Could not find run <Run me/walks/abc123 (not found)>"), "there is no such run"),
        (RuntimeError("permission denied to access abc123"), "access denied"),
        (ConnectionError("dial tcp: lookup api: no such host\nTraceback"), "Check the network"),
    ],
)
def test_failures_say_what_to_do(failure: Exception, expected: str):
    assert expected in line(f"{RUN}/policies/1.onnx", Api(failure=failure))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(ConfigError, match=r"pip install 'holosoma-jax\[wandb\]'"):
        fetch(f"{RUN}/policies/1.onnx")


def test_a_damaged_archive_leaves_nothing_behind(cache: Path):
    api = Api({"checkpoints/1.tar": b"\x00" * 700 + b"no tar"})
    assert "archive" in line(f"{RUN}/checkpoints/1.tar", api)
    assert not list((cache / "wandb/me/walks/abc123/checkpoints").iterdir())


def test_an_archive_cannot_write_elsewhere(cache: Path, tmp_path: Path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("../../../../../../escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    assert "not a checkpoint's archive" in line(
        f"{RUN}/checkpoints/1.tar", Api({"checkpoints/1.tar": out.getvalue()})
    )
    assert not list(tmp_path.rglob("escaped"))


def one(member: tarfile.TarInfo, content: bytes = b"", mode: str = "w") -> Api:
    """A run whose checkpoint is an archive of one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        tar.addfile(member, io.BytesIO(content))
    return Api({"checkpoints/1.tar": out.getvalue()})


def packed(*names: str, **settings: object) -> bytes:
    """An archive of files of these names, in the form of pax where there are `settings`."""
    out = io.BytesIO()
    form = tarfile.PAX_FORMAT if settings else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            for key, value in settings.items():
                setattr(info, key, value)
            tar.addfile(info)
    return out.getvalue()


def stating(size: bytes) -> bytes:
    """An archive whose header states this size, with a checksum that fits."""
    data = bytearray(packed("7/meta.json"))
    data[124:136] = size
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        packed("7", "7/a"),  # a file, then a folder of that name
        packed("7/a", "7"),
        packed("7/" + "a" * 300),
        packed("7/" + "d/" * 2000 + "x"),
        packed(""),
        packed(*(f"7/{i}" for i in range(20_001))),
        packed("7/a", pax_headers={"size": "99999999999999"}),
        packed("7/a", pax_headers={"size": "-1"}),
        packed("7/a", pax_headers={"path": "../../evil"}),
        packed("7/a", pax_headers={"mtime": "1e400"}),
        packed("7/a", pax_headers={"mtime": "nan"}),
        packed("7/a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        stating(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),  # 2^63 - 1
        stating(b"\x80" + b"\xff" * 11),
        stating(b"\xff" * 12),
        stating(b"77777777777\0"),
        stating(b"9999999999\0\0"),
    ],
)
def test_an_odd_archive_is_to_blame_itself(cache: Path, data: bytes):
    with pytest.raises(ConfigError, match="archive") as error:
        fetch(f"{RUN}/checkpoints/7", api=Api({"checkpoints/7.tar": data}))
    assert "\n" not in str(error.value) and machine.CACHE_VARIABLE not in str(error.value)
    assert not [path for path in cache.rglob("*") if path.is_file() or path.name in ("7", "evil")]


@pytest.mark.parametrize(
    "name", ["²", "７", "007", "-7", "9223372036854775808", "7 .tar", "+7.tar", "1_0.tar"]
)
def test_the_newest_checkpoint_is_one_of_a_plain_number(name: str):
    api = Api({f"checkpoints/{name}": b"", "checkpoints/3.tar": archive("3")})
    assert fetch(RUN, api=api).name == "3"


@pytest.mark.parametrize("name", [".tar", "..tar", "...tar", "checkpoints/..tar", "checkpoints/...tar"])
def test_a_name_that_is_only_an_ending_is_refused(cache: Path, name: str):
    (cache / "wandb" / "me" / "walks" / "abc123" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match="wanted"):
        fetch(f"{RUN}/{name}", api=Api({name: archive("3")}))


def test_a_compressed_archive_is_refused(cache: Path):
    bomb = tarfile.TarInfo("1/zeros")
    bomb.size = 10_000_000
    api = one(bomb, bytes(bomb.size), "w:gz")  # 10 kB
    assert "not a checkpoint's archive" in line(f"{RUN}/checkpoints/1.tar", api)
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_archive_of_links_or_devices_is_refused(kind: bytes):
    member = tarfile.TarInfo("1/strange")
    member.type, member.linkname = kind, "1/meta.json"
    assert "1/strange" in line(f"{RUN}/checkpoints/1.tar", one(member))


def test_a_sparse_archive_is_refused():
    """Whose holes take no room in the archive: a terabyte would fit."""
    member = tarfile.TarInfo("1/holes")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": "1000000000000",
    }
    member.pax_headers["GNU.sparse.map"] = "999999999999,1"
    member.size = 1
    assert "1/holes" in line(f"{RUN}/checkpoints/1.tar", one(member, b"x"))


def test_a_file_that_does_not_fit_is_not_downloaded(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1))
    assert "GB free" in line(f"{RUN}/checkpoints/90.tar", api)
    assert api.downloads == []


@pytest.mark.parametrize(
    "name", ["checkpoints/².tar", "checkpoints/-1.tar", "checkpoints/1.tar.tar", "checkpoints/07.tar"]
)
def test_other_files_beside_the_checkpoints_are_none(api: Api, name: str):
    assert (
        fetch(RUN, api=Api({name: b"", "checkpoints/3.tar": archive("3", weights=b"3")})) / "weights"
    ).exists()


def test_a_cache_that_cannot_be_written(api: Api, cache: Path):
    cache.write_text("a file")
    assert machine.CACHE_VARIABLE in line(f"{RUN}/policies/100.onnx", api)
