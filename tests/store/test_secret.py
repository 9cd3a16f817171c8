"""A secret that outlives a restart, is nobody else's, and is never too short to be one."""

from pathlib import Path

import pytest

from gateway.store import secret


def test_it_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "state.key"
    made = secret.load(path)
    assert len(made) == secret.SECRET_BYTES
    assert secret.load(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.load(tmp_path / "other.key") != made


@pytest.mark.parametrize("content", [b"", b"short", b"x" * (secret.SECRET_BYTES - 1)])
def test_one_that_is_too_short_is_not_used_nor_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.key"
    path.write_bytes(content)
    loaded = secret.load(path)
    assert len(loaded) == secret.SECRET_BYTES
    assert path.read_bytes() == content


def test_without_a_place_for_it_one_of_this_process_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    first, second = (secret.load(tmp_path / "file" / "state.key") for _ in range(2))
    assert len(first) == len(second) == secret.SECRET_BYTES
    assert first != second


def test_a_folder_in_its_place_is_no_secret(tmp_path: Path) -> None:
    assert len(secret.load(tmp_path)) == secret.SECRET_BYTES
