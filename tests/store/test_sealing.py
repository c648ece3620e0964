"""Sealed credentials: who can open them, and what is said when nobody can."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.errors import StorageError
from dm_bridge.store.sealing import SealingKey

KEY = SealingKey(bytes(range(32)))
SECRET = {"jid": "romeo@example.org", "password": "wherefore art thou"}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
))  # fmt: skip
def test_what_is_sealed_is_opened_again(login: str, credentials: dict[str, str]) -> None:
    assert KEY.unseal(login, KEY.seal(login, credentials)) == credentials


def test_the_same_credentials_never_look_the_same() -> None:
    assert KEY.seal("login", SECRET) != KEY.seal("login", SECRET)


def test_nothing_of_the_secret_shows() -> None:
    sealed = KEY.seal("login", SECRET)
    assert b"wherefore" not in sealed
    assert b"romeo" not in sealed


def test_another_login_cannot_open_it() -> None:
    with pytest.raises(StorageError, match="Log in again"):
        KEY.unseal("another", KEY.seal("login", SECRET))


def test_another_key_is_recognised_as_such() -> None:
    with pytest.raises(StorageError, match="another key"):
        SealingKey(bytes(32)).unseal("login", KEY.seal("login", SECRET))


def test_no_byte_can_be_changed_unnoticed() -> None:
    sealed = KEY.seal("login", SECRET)
    for position in range(len(sealed)):
        tampered = bytearray(sealed)
        tampered[position] ^= 1
        with pytest.raises(StorageError):
            KEY.unseal("login", bytes(tampered))


def test_no_part_can_be_cut_off_unnoticed() -> None:
    sealed = KEY.seal("login", SECRET)
    for length in range(len(sealed)):
        with pytest.raises(StorageError):
            KEY.unseal("login", sealed[:length])


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "sealing.key"
    sealed = SealingKey.load(path).seal("login", SECRET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SealingKey.load(path).unseal("login", sealed) == SECRET


@pytest.mark.parametrize("content", [b"", b"00ff", b"not hexadecimal", b"\xff\xfe\x00", b"00" * 33])
def test_a_damaged_key_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealing.key"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"sealing\.key.*backup"):
        SealingKey.load(path)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=str(tmp_path)):
        SealingKey.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        SealingKey.load(tmp_path / "file" / "sealing.key")


def test_a_key_that_cannot_be_made_is_a_problem_of_data_dir(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot be used: File exists\. Set data_dir"):
        SealingKey.load(tmp_path / "file/sealing.key")
