"""Overrides from the environment, and secrets from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dm_bridge.config import Permission, load_config
from dm_bridge.config.environment import variable_name


def secret(value: Any) -> str:
    text: str = value.get_secret_value()
    return text


def test_a_variable_overrides_the_file(loads: Any) -> None:
    config = loads(
        "direct: {auto_join: true}\n",
        DM_BRIDGE__HOMESERVER__DOMAIN="example.com",
        DM_BRIDGE__DIRECT__AUTO_JOIN="false",
        dm_bridge__logging__level="DEBUG",
        DM_BRIDGE__DATA_DIR="/srv/dm",
        DM_BRIDGE__APPSERVICE__LISTEN="[::1]:29351",
        DM_BRIDGE_CONFIG="not ours to read",
        OTHER="x",
    )
    assert config.homeserver.domain == "example.com"
    assert not config.direct.auto_join
    assert config.logging.level == "debug"
    assert config.data_dir == Path("/srv/dm")
    assert str(config.appservice.listen) == "[::1]:29351"


def test_the_process_environment_is_used_by_default(
    loads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads()
    monkeypatch.setenv("DM_BRIDGE__APPSERVICE__BOT", "robot")
    assert load_config(tmp_path / "config.yaml").appservice.bot == "robot"
    assert load_config(tmp_path / "config.yaml", {}).appservice.bot == "dmbot"


def test_maps_are_json_and_replace_the_whole_map(loads: Any) -> None:
    config = loads(
        "permissions: {example.org: admin}\nnetworks: {fake: {rooms: [a]}}\n",
        DM_BRIDGE__PERMISSIONS='{"*": "user"}',
        DM_BRIDGE__NETWORKS__FAKE__SERVERS='{"Example.org": {"host": "x"}}',
        DM_BRIDGE__NETWORKS__FAKE__ENABLED="false",
    )
    assert list(config.permissions) == ["*"]
    assert config.permission_of("@a:b.example") is Permission.USER
    options = config.networks["fake"].options
    assert options.servers["Example.org"].host == "x"
    assert options.rooms == ["a"]
    assert not config.networks["fake"].enabled


def test_an_inner_variable_wins_over_an_outer_one(loads: Any) -> None:
    config = loads(
        DM_BRIDGE__DIRECT='{"auto_join": true, "mark_ghosts": false}',
        DM_BRIDGE__DIRECT__AUTO_JOIN="false",
    )
    assert not config.direct.auto_join
    assert not config.direct.mark_ghosts


def test_text_that_looks_like_a_number_or_a_truth_value_stays_text_where_text_is_wanted(
    loads: Any,
) -> None:
    config = loads(
        DM_BRIDGE__APPSERVICE__AS_TOKEN="0123456789012345678901",
        DM_BRIDGE__APPSERVICE__BOT="yes",
        DM_BRIDGE__APPSERVICE__ID="1e3",
        DM_BRIDGE__NETWORKS__FAKE__STRICT="true",
    )
    assert secret(config.appservice.as_token) == "0123456789012345678901"
    assert config.appservice.bot == "yes"
    assert config.appservice.id == "1e3"
    assert config.networks["fake"].options.strict is True


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DM_BRIDGE__HOMSERVER__URL", "x", 'homserver: unknown key; did you mean "homeserver"?'),
        (
            "DM_BRIDGE__DIRECT__AUTOJOIN",
            "1",
            'direct.autojoin: unknown key; did you mean "auto_join"?',
        ),
        ("DM_BRIDGE__NETWORKS__FAK__X", "1", "networks.fak: there is no connector named fak"),
        ("DM_BRIDGE__NETWORKS__FAKE__RUMS", "1", "networks.fake.rums: unknown key"),
        (
            "DM_BRIDGE__APPSERVICE__LISTEN",
            "x:y",
            "appservice.listen: expected host:port, such as 127.0.0.1:29350",
        ),
        (
            "DM_BRIDGE__DIRECT__AUTO_JOIN",
            "",
            'direct.auto_join: expected true or false; found "".',
        ),
        (
            "DM_BRIDGE__DIRECT__AUTO_JOIN",
            "12",
            'direct.auto_join: expected true or false; found "12".',
        ),
        ("DM_BRIDGE__PERMISSIONS", '{"*": user}', "permissions: expected valid JSON: "),
        (
            "DM_BRIDGE__PERMISSIONS",
            '{"*": "user", "*": "none"}',
            "permissions: expected valid JSON: a key is given twice in one map.",
        ),
        (
            "DM_BRIDGE__PERMISSIONS",
            '{"*": "root"}',
            'permissions."*": expected one of none, user or admin; found "root".',
        ),
        ("DM_BRIDGE__DIRECT", "5", "direct: expected keys below it; found text."),
        (
            "DM_BRIDGE__DIRECT____AUTO_JOIN",
            "true",
            "expected DM_BRIDGE__SECTION__KEY; a part of the name is empty.",
        ),
        ("DM_BRIDGE__", "x", "expected DM_BRIDGE__SECTION__KEY; a part of the name is empty."),
        (
            "DM_BRIDGE__APPSERVICE__AS_TOKEN",
            "hunter2",
            "appservice.as_token: expected a random token of at least 16 characters; found 7 characters.",
        ),
    ],
)
def test_a_wrong_variable_is_named(complaints: Any, name: str, value: str, expected: str) -> None:
    lines = complaints(**{name: value})
    assert len(lines) == 1
    assert lines[0].startswith(f"{name}: {expected}")


def test_a_problem_in_a_replaced_map_names_the_variable_and_not_the_file(complaints: Any) -> None:
    lines = complaints(
        "permissions:\n  example.org: user\n", DM_BRIDGE__PERMISSIONS='{"example.org": "root"}'
    )
    assert lines == [
        'DM_BRIDGE__PERMISSIONS: permissions."example.org": expected one of none, user or admin; '
        'found "root".'
    ]


def test_a_variable_below_something_that_is_no_section_is_no_crash(complaints: Any) -> None:
    lines = complaints("direct: 3\n", DM_BRIDGE__DIRECT__AUTO_JOIN="true")
    assert lines == ["config.yaml:8: direct: expected keys below it; found a number."]


def test_the_same_key_twice_in_different_case_is_an_error(complaints: Any) -> None:
    lines = complaints(DM_BRIDGE__DIRECT__AUTO_JOIN="true", dm_bridge__direct__auto_join="false")
    assert lines == [
        "dm_bridge__direct__auto_join: direct.auto_join: DM_BRIDGE__DIRECT__AUTO_JOIN sets the same key. "
        "Keep one of the two."
    ]


def test_the_name_of_a_variable_follows_from_its_key() -> None:
    assert variable_name(("direct", "auto_join")) == "DM_BRIDGE__DIRECT__AUTO_JOIN"


class TestSecretFiles:
    @pytest.fixture
    def token(self, tmp_path: Path) -> Path:
        path = tmp_path / "token"
        path.write_text("from-file-from-file\n")
        return path

    def test_a_secret_file_loses_exactly_one_newline(self, loads: Any, tmp_path: Path) -> None:
        for raw, wanted in [
            (b"from-file-from-file", "from-file-from-file"),
            (b"from-file-from-file\n", "from-file-from-file"),
            (b"from-file-from-file\r\n", "from-file-from-file"),
        ]:
            (tmp_path / "token").write_bytes(raw)
            config = loads(DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE=str(tmp_path / "token"))
            assert secret(config.appservice.as_token) == wanted

    def test_a_key_may_name_a_file_relative_to_the_configuration(
        self, complaints: Any, loads: Any, token: Path
    ) -> None:
        text = (
            "homeserver: {url: http://x, domain: x}\n"
            "appservice: {as_token_file: token, hs_token: bbbbbbbbbbbbbbbb,"
            " accounts_token: cccccccccccccccc}\n"
            "database: {url_file: database}\n"
        )
        (token.parent / "database").write_text("postgresql://u:p@localhost/x\n")
        config = loads(text=text)
        assert secret(config.appservice.as_token) == "from-file-from-file"
        assert secret(config.database.url) == "postgresql://u:p@localhost/x"

    def test_the_environment_wins_over_the_file_in_both_forms(
        self, loads: Any, token: Path
    ) -> None:
        text = (
            "homeserver: {url: http://x, domain: x}\n"
            "appservice: {as_token_file: /nonexistent, hs_token: bbbbbbbbbbbbbbbb,"
            " accounts_token: cccccccccccccccc}\n"
        )
        config = loads(
            text=text,
            DM_BRIDGE__APPSERVICE__AS_TOKEN="from-environment",
            DM_BRIDGE__APPSERVICE__HS_TOKEN_FILE=str(token),
        )
        assert secret(config.appservice.as_token) == "from-environment"
        assert secret(config.appservice.hs_token) == "from-file-from-file"

    def test_a_secret_given_twice_at_one_place_is_an_error(
        self, complaints: Any, token: Path
    ) -> None:
        assert complaints("  as_token_file: token\n") == [
            "config.yaml:8: appservice.as_token_file: as_token is given too, at "
            f"{token.parent}/config.yaml:5. Keep one of the two.".replace(f"{token.parent}/", "")
        ]
        lines = complaints(
            DM_BRIDGE__APPSERVICE__AS_TOKEN="from-environment",
            DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE=str(token),
        )
        assert lines == [
            "DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE: appservice.as_token_file: as_token is given too, at "
            "DM_BRIDGE__APPSERVICE__AS_TOKEN. Keep one of the two."
        ]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, "the secret cannot be read from token: No such file or directory."),
            (b"\xff\xfe", "the secret cannot be read from token: it is not a text of one line."),
            (
                b"one\ntwo-two-two-two-two\n",
                "the secret cannot be read from token: it is not a text of one line.",
            ),
            (
                b"x" * 70_000,
                "the secret cannot be read from token: it is not a text of one line.",
            ),
        ],
    )
    def test_a_secret_file_that_cannot_be_used_is_told_once(
        self, complaints: Any, tmp_path: Path, content: bytes | None, expected: str
    ) -> None:
        if content is not None:
            (tmp_path / "token").write_bytes(content)
        lines = complaints(DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE=str(tmp_path / "token"))
        assert lines == [
            f"DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE: appservice.as_token_file: {expected}"
        ]

    def test_a_directory_is_no_secret_file(self, complaints: Any, tmp_path: Path) -> None:
        [line] = complaints(DM_BRIDGE__DATABASE__URL_FILE=str(tmp_path))
        assert "Is a directory" in line

    def test_a_bad_secret_names_its_file_and_is_not_shown(
        self, complaints: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("hunter2\n")
        [line] = complaints(DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE=str(tmp_path / "token"))
        assert line == (
            "DM_BRIDGE__APPSERVICE__AS_TOKEN_FILE: appservice.as_token: (read from token) expected a "
            "random token of at least 16 characters; found 7 characters."
        )

    def test_the_name_of_a_secret_file_is_text(self, complaints: Any) -> None:
        text = "homeserver: {url: http://x, domain: x}\nappservice:\n  as_token_file:\n  hs_token_file: [x]\n"
        lines = complaints(text=text)
        assert lines[1:] == [
            "config.yaml:3: appservice.as_token_file: expected the name of a file; found nothing.",
            "config.yaml:4: appservice.hs_token_file: expected the name of a file; found a list.",
        ]

    def test_only_secrets_have_files(self, complaints: Any) -> None:
        [line] = complaints("  bot_file: x\n")
        assert "unknown key" in line
