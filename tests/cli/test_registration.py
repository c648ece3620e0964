"""``dm-bridge registration``."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from synapse.config.appservice import load_appservices

from dm_bridge.cli.registration import accounts_registration, main_registration
from dm_bridge.config import load_config
from dm_bridge.ids import ContactId, NetworkName

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(command: Any, made: Path) -> tuple[Path, Path]:
    result = command("registration", "-o", "out")
    assert result.exit_code == 0, result.output
    return made.parent / "out/registration.yaml", made.parent / "out/registration-accounts.yaml"


def matches(registration: dict[str, Any], user: str) -> list[bool]:
    """The ``exclusive`` flags of the namespaces that ``user`` is in."""
    return [
        space["exclusive"]
        for space in registration["namespaces"]["users"]
        if re.match(space["regex"], user)
    ]


@pytest.mark.parametrize("name", ["registration", "registration-accounts"])
def test_the_example_is_what_registration_writes_for_the_example_configuration(
    command: Any, tmp_path: Path, name: str
) -> None:
    result = command("registration", "-c", str(ROOT / "config.example.yaml"))
    assert result.exit_code == 0, result.output
    example = (ROOT / f"{name}.example.yaml").read_text()
    assert (tmp_path / f"{name}.yaml").read_text() == example


def test_the_main_file_holds_bot_ghosts_and_tokens(made: Path, written: tuple[Path, Path]) -> None:
    config = load_config(made, {})
    registration = yaml.safe_load(written[0].read_text())
    assert registration["id"] == "dm_bridge"
    assert registration["url"] == "http://127.0.0.1:29350"
    assert registration["as_token"] == config.appservice.as_token.get_secret_value()
    assert registration["hs_token"] == config.appservice.hs_token.get_secret_value()
    assert registration["sender_localpart"] == "dmbot"
    assert registration["rate_limited"] is False
    assert registration["receive_ephemeral"] is True
    assert registration["protocols"] == ["xmpp"]
    ghost = config.ghosts.user_id(NetworkName("xmpp"), ContactId("a@b.c"))
    assert matches(registration, ghost) == [True]
    assert matches(registration, "@dmbot:example.org") == [True]
    for stranger in (
        "@alice:example.org",
        "@dmbot2:example.org",
        ghost + ".evil",
        ghost.replace("example.org", "exampleXorg"),
        "@dmbot:exampleXorg",
    ):
        assert matches(registration, stranger) == []


def test_the_accounts_file_acts_for_local_users_and_receives_nothing(
    made: Path, written: tuple[Path, Path]
) -> None:
    config = load_config(made, {})
    registration = yaml.safe_load(written[1].read_text())
    assert registration["id"] == "dm_bridge-accounts"
    assert registration["url"] is None
    assert registration["as_token"] == config.appservice.accounts_token.get_secret_value()
    assert registration["sender_localpart"] == "dmbot-accounts"
    assert registration["rate_limited"] is False
    assert matches(registration, "@alice:example.org") == [False]
    assert matches(registration, "@alice:exampleXorg") == []
    assert matches(registration, "@alice:example.org.evil") == []


def test_the_second_hs_token_is_derived_and_is_none_of_the_others(
    made: Path, written: tuple[Path, Path]
) -> None:
    config = load_config(made, {})
    text = written[1].read_text()
    derived = yaml.safe_load(text)["hs_token"]
    assert len(derived) == 43
    assert derived not in made.read_text()
    assert accounts_registration(config) == text
    other = load_config(made, {"DM_BRIDGE__APPSERVICE__ACCOUNTS_TOKEN": "another-another-token"})
    assert yaml.safe_load(accounts_registration(other))["hs_token"] != derived


def test_synapse_accepts_both_files(written: tuple[Path, Path]) -> None:
    main, accounts = load_appservices("example.org", [str(path) for path in written])
    assert main.url == "http://127.0.0.1:29350"
    assert main.supports_ephemeral
    assert main.is_exclusive_user("@_dm_xmpp_a:example.org")
    assert not main.is_rate_limited()
    assert accounts.url is None
    assert accounts.is_interested_in_user("@alice:example.org")
    assert not accounts.is_exclusive_user("@alice:example.org")
    assert not accounts.is_interested_in_user("@alice:example.com")


def test_a_domain_with_a_port_and_other_names_are_carried_over(made: Path) -> None:
    config = load_config(
        made,
        {
            "DM_BRIDGE__HOMESERVER__DOMAIN": "localhost:8448",
            "DM_BRIDGE__APPSERVICE__ID": "other",
            "DM_BRIDGE__APPSERVICE__BOT": "robot.1",
            "DM_BRIDGE__APPSERVICE__GHOST_PREFIX": "gh+",
            "DM_BRIDGE__APPSERVICE__URL": "https://bridge.example.org/x/",
            "DM_BRIDGE__NETWORKS__XMPP__ENABLED": "false",
        },
    )
    registration = yaml.safe_load(main_registration(config))
    assert registration["id"] == "other"
    assert registration["url"] == "https://bridge.example.org/x"
    assert registration["protocols"] == []
    assert matches(registration, "@robot.1:localhost:8448") == [True]
    assert matches(registration, "@robotx1:localhost:8448") == []
    assert matches(registration, "@gh+xmpp_a:localhost:8448") == [True]
    assert matches(registration, "@ghxmpp_a:localhost:8448") == []


def test_the_files_are_their_owners_only(written: tuple[Path, Path]) -> None:
    assert [stat.S_IMODE(path.stat().st_mode) for path in written] == [0o600, 0o600]


def test_it_says_where_the_files_belong(command: Any, made: Path) -> None:
    result = command("registration", "-o", "out")
    assert "out/registration.yaml written." in result.stdout
    assert (
        "app_service_config_files:\n"
        f"  - {made.parent}/out/registration.yaml\n"
        f"  - {made.parent}/out/registration-accounts.yaml\n"
    ) in result.stdout
    snippet = result.stdout[result.stdout.index("app_service") :].split("\n\n")[0]
    assert len(yaml.safe_load(snippet)["app_service_config_files"]) == 2


def test_the_same_again_changes_nothing(command: Any, written: tuple[Path, Path]) -> None:
    for path in written:
        path.chmod(0o640)
    before = [(path.read_bytes(), path.stat().st_ino) for path in written]
    result = command("registration", "-o", "out")
    assert result.exit_code == 0
    assert result.stdout.count("is up to date.") == 2
    assert [(path.read_bytes(), path.stat().st_ino) for path in written] == before
    assert stat.S_IMODE(written[0].stat().st_mode) == 0o640


def test_a_different_file_needs_force(command: Any, written: tuple[Path, Path]) -> None:
    mine = "id: mine\n"
    written[1].write_text(mine)
    result = command("registration", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr == (
        "dm-bridge: out/registration-accounts.yaml would change. Run the command again with --force to "
        "replace what is there, then restart the homeserver.\n"
    )
    assert written[1].read_text() == mine
    assert command("registration", "-o", "out", "--force").exit_code == 0
    assert "dm_bridge-accounts" in written[1].read_text()
    assert sorted(path.name for path in written[0].parent.iterdir()) == [
        "registration-accounts.yaml",
        "registration.yaml",
    ]


def test_what_is_no_file_is_neither_read_nor_replaced(
    command: Any, written: tuple[Path, Path]
) -> None:
    written[0].write_text("id: mine\n")
    written[1].unlink()
    os.mkfifo(written[1])
    result = command("registration", "-o", "out", "--force")
    assert result.exit_code == 1
    assert "out/registration-accounts.yaml is there and is no ordinary file" in result.stderr
    assert written[1].is_fifo()
    assert written[0].read_text() == "id: mine\n"


def test_a_link_is_kept(command: Any, made: Path, written: tuple[Path, Path]) -> None:
    real = written[0].rename(made.parent / "real.yaml")
    real.write_text("id: mine\n")
    written[0].symlink_to(real)
    assert command("registration", "-o", "out", "--force").exit_code == 0
    assert written[0].is_symlink()
    assert "dm_bridge" in real.read_text()


def test_a_directory_that_cannot_be_used_is_named(command: Any, made: Path) -> None:
    assert made.is_file()
    result = command("registration", "-o", "config.yaml/below")
    assert result.exit_code == 1
    assert result.stderr == (
        "dm-bridge: config.yaml/below cannot be used: Not a directory. Choose another directory with -o, or "
        "check the owner and mode of this one.\n"
    )
    result = command("registration", "-o", "/proc/none")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "dm-bridge: /proc/none cannot be used: No such file or directory. "
    )
    result = command("registration", "-o", "config.yaml")
    assert result.exit_code == 2


def test_a_file_that_is_no_text_is_left_alone(command: Any, written: tuple[Path, Path]) -> None:
    written[0].write_bytes(b"\xff")
    result = command("registration", "-o", "out", "--force")
    assert result.exit_code == 1
    assert result.stderr.startswith("dm-bridge: What is in out is no registration: it is not text.")
    assert written[0].read_bytes() == b"\xff"


def test_a_wrong_configuration_is_exit_code_78_and_writes_nothing(command: Any, made: Path) -> None:
    made.write_text(made.read_text() + "x: 1\n")
    result = command("registration", "-o", "out")
    assert result.exit_code == 78
    assert not Path("out").exists()
