"""Checkpoints that come from Weights & Biases as archives, and the addresses of such."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.loggers import wandb_files
from tests.support.fuzzing import TEXTS, damaged, fuzz, read_or_refused
from tests.support.wandb_runs import Api

pytestmark = pytest.mark.slow

ADDRESS = "wandb://me/walks/abc123"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLOSOMA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


NAMES = st.one_of(
    TEXTS.filter(lambda text: "\0" not in text).map(
        lambda text: text[:90].encode("utf-8", "replace").decode()
    ),
    st.sampled_from(
        ["7", "7/meta.json", "7/a/b", "../x", "/tmp/x", "7/../../x", ".", "7//", "a/7", "7/meta.json/x"]
    ),
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 4
    + [tarfile.DIRTYPE] * 2
    + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, b"?"]
)


@st.composite
def archive(draw: st.DrawFn) -> bytes:
    """A few members of any kind, perhaps damaged, compressed or cut."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=draw(st.sampled_from(["w:", "w:", "w:", "w:gz"]))) as tar:
        for _ in range(draw(st.integers(0, 4))):
            item = tarfile.TarInfo(draw(NAMES))
            item.type, item.linkname, item.mode = (
                draw(KINDS),
                draw(NAMES),
                draw(st.sampled_from([0o644, 0, 0o7777])),
            )
            content = draw(st.binary(max_size=20)) if item.isreg() else b""
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    made = stream.getvalue()
    return draw(damaged(made, 1500)) if draw(st.booleans()) else made


@fuzz(600)
@given(data=archive())
def test_archives(data: bytes, cache: Path) -> None:
    api = Api({"checkpoints/7.tar": data})
    kept = cache / "cache" / "wandb" / "me" / "walks" / "abc123" / "checkpoints" / "7"
    shutil.rmtree(kept, ignore_errors=True)
    found = read_or_refused(lambda: wandb_files.fetch(f"{ADDRESS}/checkpoints/7", api=api))
    assert {path.name for path in cache.iterdir()} <= {"cache"}
    if found is not None:
        assert found == kept and found.is_dir()
        inside = [path for path in found.rglob("*")]
        assert all(path.is_file() or path.is_dir() for path in inside) and not any(
            path.is_symlink() for path in inside
        )
    else:
        assert not kept.exists()


@fuzz(600)
@given(
    uri=st.one_of(
        TEXTS.map(lambda t: f"wandb://{t}"),
        st.lists(TEXTS, max_size=6).map(lambda p: "wandb://" + "/".join(p)),
    )
)
def test_addresses(uri: str, cache: Path) -> None:
    found = read_or_refused(lambda: wandb_files.parse(uri))
    if found is not None:
        place = wandb_files.cache_folder() / "wandb" / found.run_path / found.file
        assert place.resolve().is_relative_to((cache / "cache").resolve()) if "\0" not in uri else True
        read_or_refused(lambda: wandb_files.fetch(uri, api=Api({})))


@fuzz(200)
@given(names=st.lists(st.one_of(TEXTS, TEXTS.map(lambda t: f"checkpoints/{t}.tar")), max_size=4))
def test_names_of_files(names: list[str], cache: Path) -> None:
    with pytest.raises(ConfigError):
        wandb_files.fetch(ADDRESS, api=Api({name: b"" for name in names}))
