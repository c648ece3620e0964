"""``dm-bridge init``."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dm_bridge.cli.init import Answers, Tokens, render_config
from dm_bridge.config import Permission, load_config

ROOT = Path(__file__).parents[2]
OPTIONS = ("init", "--homeserver", "http://localhost:8008", "--domain", "example.org")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_writes_a_configuration_that_loads_and_may_run(made: Path) -> None:
    config = load_config(made, {}, allow_example_tokens=False)
    assert config.homeserver.url == "http://localhost:8008"
    assert config.homeserver.domain == "example.org"
    assert config.permission_of("@anyone:example.org") is Permission.USER
    assert config.permission_of("@anyone:example.com") is Permission.NONE
    assert [section.name for section in config.enabled_networks] == ["xmpp"]
    assert config.database.embedded
    assert config.data_dir == made.parent / "data"


def test_the_file_is_its_owners_only(made: Path) -> None:
    assert mode(made) == 0o600


def test_the_file_is_its_owners_only_from_its_first_byte(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fsync(_descriptor: int) -> None:
        seen.extend(mode(path) for path in tmp_path.iterdir())

    monkeypatch.setattr("os.umask", lambda mask: mask)
    monkeypatch.setattr("dm_bridge.cli.private_files.os.fsync", fsync)
    assert command(*OPTIONS, "--yes").exit_code == 0
    assert command(*OPTIONS, "--yes", "--force").exit_code == 0
    assert set(seen) == {0o600}
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_tokens_are_new_every_time() -> None:
    tokens = [Tokens.random() for _ in range(3)]
    values = {t for one in tokens for t in (one.as_token, one.hs_token, one.accounts_token)}
    assert len(values) == 9
    assert min(len(value) for value in values) >= 43


def test_it_says_what_to_do_next(command: Any) -> None:
    result = command(*OPTIONS, "--yes", "-c", "my config.yaml")
    assert "dm-bridge registration -c 'my config.yaml'" in result.stdout
    assert "dm-bridge run -c 'my config.yaml'" in result.stdout


def test_it_asks_for_what_is_not_given(command: Any, tmp_path: Path) -> None:
    answers = (
        "not a url\nhttps://matrix.example.org/\n\nalice\n@alice:example.org\n127.0.0.1:4000\n"
    )
    result = command("init", text=answers)
    assert result.exit_code == 0, result.output
    assert "expected a URL that begins with http:// or https://" in result.output
    assert "NAME)? [example.org]" in result.output
    assert "expected a user id, such as @alice:example.org" in result.output
    config = load_config(tmp_path / "config.yaml", {})
    assert config.homeserver.url == "https://matrix.example.org"
    assert config.homeserver.domain == "example.org"
    assert str(config.appservice.listen) == "127.0.0.1:4000"
    assert config.permission_of("@alice:example.org") is Permission.ADMIN


def test_empty_answers_take_the_defaults(command: Any, tmp_path: Path) -> None:
    result = command("init", text="\n\n\n\n")
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "config.yaml", {})
    assert config.homeserver.url == "http://localhost:8008"
    assert config.homeserver.domain == "localhost"
    assert list(config.permissions) == ["localhost"]


@pytest.mark.parametrize("text", ["", "http://localhost:8008\n", "\nexample.org\n", "\n\n\n"])
def test_when_there_is_no_answer_it_says_how_not_to_be_asked(
    command: Any, tmp_path: Path, text: str
) -> None:
    result = command("init", text=text)
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "\ndm-bridge: Nothing was written: there was no answer. With --homeserver URL, --domain NAME and "
        "--yes, nothing is asked.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_address_suggests_no_domain(command: Any, tmp_path: Path) -> None:
    result = command("init", "--homeserver", "http://10.0.0.1", text="example.org\n\n\n")
    assert result.exit_code == 0, result.output
    assert "NAME)?:" in result.output


def test_options_are_not_asked_for(command: Any, tmp_path: Path) -> None:
    result = command(*OPTIONS, "--admin", "@a:b.c", "--listen", "[::1]:1")
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "config.yaml", {})
    assert config.permission_of("@a:b.c") is Permission.ADMIN
    assert str(config.appservice.listen) == "[::1]:1"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--yes",), "--homeserver and --domain"),
        (("--yes", "--domain", "x"), "--homeserver must"),
        (("--yes", "--homeserver", "http://x"), "--domain must"),
        (("--homeserver", "x"), "'--homeserver': expected a URL"),
        (("--domain", "https://x"), "'--domain': expected a server name"),
        (("--admin", "x"), "'--admin': expected a user id"),
        (("--listen", "x"), "'--listen': expected host:port"),
        (("--wrong",), "--wrong"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(
    command: Any, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    result = command("init", *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_replace_a_file_unless_forced(command: Any, made: Path) -> None:
    before = made.read_bytes()
    result = command(*OPTIONS, "--yes")
    assert result.exit_code == 1
    assert result.stderr == (
        "dm-bridge: config.yaml is already there, and was left as it is. Choose another file with "
        "--config, or replace it with --force.\n"
    )
    assert made.read_bytes() == before
    made.chmod(0o644)
    result = command(*OPTIONS, "--yes", "--force")
    assert result.exit_code == 0
    assert "Its tokens are new: write the registration again" in result.stdout
    assert made.read_bytes() != before
    assert mode(made) == 0o600


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_is_no_file_is_left_alone(
    command: Any, tmp_path: Path, force: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        result = command(*OPTIONS, "--yes", *force, "--config", name)
        assert result.exit_code == 1
        assert result.stderr == (
            f"dm-bridge: {name} is there and is no ordinary file; it was left as it is. Choose another "
            "place.\n"
        )
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_kept_and_what_it_points_to_is_written(
    command: Any, tmp_path: Path, there: bool
) -> None:
    (tmp_path / "real").mkdir()
    if there:
        (tmp_path / "real/config.yaml").write_text("mine")
    (tmp_path / "config.yaml").symlink_to("real/config.yaml")
    result = command(*OPTIONS, "--yes", "--force")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "config.yaml").is_symlink()
    assert load_config(tmp_path / "real/config.yaml", {}).homeserver.domain == "example.org"
    assert mode(tmp_path / "real/config.yaml") == 0o600
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["config.yaml"]


def test_a_file_that_appears_meanwhile_is_left_alone(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    result = command(*OPTIONS, "--yes")
    assert result.exit_code == 1
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_place_that_cannot_be_written_is_named(command: Any) -> None:
    result = command(*OPTIONS, "--yes", "--config", "missing/config.yaml")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "dm-bridge: missing/config.yaml cannot be written: No such file"
    )


def test_a_failed_write_leaves_no_half_file(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dm_bridge.cli.private_files.os.fsync", fsync)
    result = command(*OPTIONS, "--yes")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_example_configuration_is_what_init_writes() -> None:
    text = render_config(
        Answers("http://localhost:8008", "example.org", "@admin:example.org"),
        Tokens(
            "example-as-token-replace-me-000001",
            "example-hs-token-replace-me-000002",
            "example-accounts-token-replace-me-000003",
        ),
    )
    assert (ROOT / "config.example.yaml").read_text() == text


def test_the_comments_of_the_example_are_keys_that_load(tmp_path: Path) -> None:
    lines = (ROOT / "config.example.yaml").read_text().splitlines()
    lines = [line for line in lines if line.strip() != "servers: {}"]
    active = [
        line.replace("#", "", 1)
        if (line.lstrip().startswith("#") and line.lstrip()[1] != " ") or line.startswith("    #  ")
        else line
        for line in lines
    ]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(active))
    config = load_config(path, {})
    assert config.appservice.url == "http://bridge.internal:29350"
    assert config.networks["xmpp"].options.model_dump()["servers"]["example.org"]["port"] == 5222
