"""The data folder: private to its owner, whatever the umask and whatever an earlier version left, and locked by one gateway."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import MapSeekError
from infra.nats.server import hold_lock
from pipeline import settings as settings_module
from pipeline.cli.paths import write_report
from pipeline.process import hold_gateway_lock
from pipeline.settings import Settings, ensure_data_folder
from tests.support.files import list_open_paths

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """Let every file be open to everybody, unless the code under test says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """A data folder that an earlier version made."""
    folder = tmp_path / "data"
    for name in ("blobs/ab/cd", "blobs/tmp", "nats/store/jetstream/$G/streams/IMAGES/msgs", "vectors", "questions"):
        (folder / name).mkdir(parents=True)
    for name in ("catalogue.sqlite", "catalogue.sqlite-wal", "blobs/ab/cd/0", "nats/server.conf", "vectors/manifest.json"):
        (folder / name).write_text("secret")
    (folder / "nats/store/jetstream/$G/streams/IMAGES/msgs/1.blk").write_text("secret")
    assert len(list_open_paths(folder)) == 1 + sum(1 for _ in folder.rglob("*"))
    return folder


def test_a_new_folder_and_all_that_is_made_from_then_on_are_private(settings: MakeSettings, tmp_path: Path) -> None:
    folder = ensure_data_folder(settings(data_dir=tmp_path / "new" / "data"))
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("")
    subprocess.run(["touch", folder / "sub" / "file of a child"], check=True)
    assert list_open_paths(tmp_path / "new") == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "sub").iterdir()} == {0o600}


def test_reports_outside_the_folder_are_private_too(settings: MakeSettings, tmp_path: Path) -> None:
    ensure_data_folder(settings())
    assert list_open_paths(write_report(tmp_path / "report", "<html>").parent) == []


@pytest.mark.parametrize("top", [0o777, 0o755, 0o750, 0o701, 0o700])
def test_a_folder_of_an_earlier_version_is_made_private(settings: MakeSettings, old_folder: Path, top: int) -> None:
    old_folder.chmod(top)
    ensure_data_folder(settings())
    assert list_open_paths(old_folder) == []
    files = [path for path in old_folder.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {path.read_text() for path in files} == {"secret"}


def test_an_interrupted_walk_is_made_again(settings: MakeSettings, old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, taken = settings_module._take_rights_of_others, 0

    def take_some(path: Path) -> None:
        nonlocal taken
        taken += 1
        if taken > 9:
            raise KeyboardInterrupt
        take(path)

    monkeypatch.setattr(settings_module, "_take_rights_of_others", take_some)
    with pytest.raises(KeyboardInterrupt):
        ensure_data_folder(settings())
    monkeypatch.undo()
    assert list_open_paths(old_folder) != []
    ensure_data_folder(settings(data_dir=old_folder))
    assert list_open_paths(old_folder) == []


def test_a_private_folder_is_not_walked_again(settings: MakeSettings, old_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_data_folder(settings())
    monkeypatch.setattr(os, "walk", None)
    assert ensure_data_folder(settings()) == old_folder


def test_what_symlinks_lead_to_is_left_alone(settings: MakeSettings, old_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "file").write_text("")
    before = list_open_paths(elsewhere)
    (old_folder / "models").symlink_to(elsewhere)
    (old_folder / "blobs" / "link").symlink_to(elsewhere / "file")
    (old_folder / "broken").symlink_to(tmp_path / "nowhere")
    ensure_data_folder(settings())
    assert list_open_paths(elsewhere) == before
    assert list_open_paths(old_folder) == []
    (tmp_path / "link").symlink_to(old_folder)
    old_folder.chmod(0o755)
    ensure_data_folder(settings(data_dir=tmp_path / "link"))
    assert list_open_paths(old_folder) == []


def test_files_that_vanish_meanwhile_are_no_error(
    settings: MakeSettings, old_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = os.walk

    def walk_and_delete(top: Path, **options: bool) -> Iterator[tuple[str, list[str], list[str]]]:
        found = list(walk(top, **options))
        (old_folder / "blobs/ab/cd/0").unlink()
        (old_folder / "blobs/tmp").rmdir()
        return iter(found)

    monkeypatch.setattr(os, "walk", walk_and_delete)
    ensure_data_folder(settings())
    assert list_open_paths(old_folder) == []


def test_a_folder_that_cannot_be_made_private_is_refused_in_one_sentence(
    settings: MakeSettings, old_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    file = old_folder / "catalogue.sqlite"
    for path in (old_folder, *old_folder.rglob("*")):
        if path != file:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    sentence = f"{file} cannot be made private (%s): give it to the user that runs MapSeek, or set MAPSEEK_DATA_DIR."
    for chmod, reason in ((refuse, "Operation not permitted"), (lambda *_: None, "its file system keeps no permissions")):
        monkeypatch.setattr(Path, "chmod", chmod)
        with pytest.raises(MapSeekError) as refused:
            ensure_data_folder(settings())
        assert str(refused.value) == sentence % reason


def test_a_folder_that_all_users_share_is_refused_and_left_as_it_is(settings: MakeSettings, tmp_path: Path) -> None:
    shared = tmp_path / "data"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "of somebody else").write_text("")
    with pytest.raises(MapSeekError) as refused:
        ensure_data_folder(settings())
    assert (
        str(refused.value) == f"The data folder {shared} is shared by all users: set MAPSEEK_DATA_DIR to a folder of MapSeek's own."
    )
    assert len(list_open_paths(shared)) == 2


def test_a_second_gateway_on_a_folder_is_refused_until_the_first_ends(settings: MakeSettings, tmp_path: Path) -> None:
    with hold_gateway_lock(settings()):
        for nats_url in (None, "nats://elsewhere:4222"):
            with pytest.raises(MapSeekError) as refused, hold_gateway_lock(settings(nats_url=nats_url)):
                pass
            assert str(refused.value) == (
                f"Another `mapseek up` or `mapseek gateway` already runs on {tmp_path / 'data'}: stop it, or set MAPSEEK_DATA_DIR."
            )
        with hold_gateway_lock(settings(data_dir=tmp_path / "other")):
            pass
    with hold_gateway_lock(settings()):
        assert list_open_paths(tmp_path / "data") == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from infra.nats.server import hold_lock
with hold_lock(Path({str(tmp_path / "lock")!r}), ""):
    print("held", flush=True)
    input()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(MapSeekError, match="taken"), hold_lock(tmp_path / "lock", "taken"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with hold_lock(tmp_path / "lock", "taken"):
        pass


def test_a_lock_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(MapSeekError, match=r"lock cannot be locked \(.*\): correct its permissions\.$"),
        hold_lock(tmp_path / "lock", "taken"),
    ):
        pass
