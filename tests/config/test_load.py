"""What loads, and what is said about what does not."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dm_bridge.config import (
    Config,
    InvalidConfigError,
    ListenAddress,
    Permission,
    PermissionEntry,
    load_config,
)
from dm_bridge.errors import ConfigError


def test_a_short_configuration_gets_every_default(loads: Any, tmp_path: Path) -> None:
    config = loads()
    assert config.appservice.id == "dm_bridge"
    assert config.appservice.listen == ListenAddress("127.0.0.1", 29350)
    assert config.appservice.url == "http://127.0.0.1:29350"
    assert config.appservice.bot == "dmbot"
    assert config.appservice.ghost_prefix == "_dm_"
    assert config.database.embedded
    assert config.data_dir == tmp_path / "data"
    assert config.permissions == {}
    assert config.networks == {}
    assert (config.direct.auto_join, config.direct.mark_ghosts) == (True, True)
    assert (config.logging.level, config.logging.format) == ("info", "text")
    assert config.bot_user_id == "@dmbot:example.org"
    assert config.ghosts.owns("@_dm_fake_a:example.org")


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ('"[::]:80"', "http://[::1]:80"),
        ('"[fe80::1]:80"', "http://[fe80::1]:80"),
        ("bridge.internal:80", "http://bridge.internal:80"),
    ],
)
def test_the_url_follows_listen(loads: Any, listen: str, url: str) -> None:
    assert loads(f"  listen: {listen}\n").appservice.url == url


def test_urls_lose_their_last_slash(loads: Any) -> None:
    config = loads("  url: https://example.org/bridge/\n", DM_BRIDGE__HOMESERVER__URL="http://hs/")
    assert config.appservice.url == "https://example.org/bridge"
    assert config.homeserver.url == "http://hs"


def test_an_absolute_data_dir_stays_and_a_relative_one_is_in_the_folder_of_the_file(
    loads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert loads("data_dir: there/x\n").data_dir == tmp_path / "there/x"
    assert loads("data_dir: /srv/x\n").data_dir == Path("/srv/x")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert loads("data_dir: ~/x\n").data_dir == Path("/home/somebody/x")


def test_a_relative_configuration_path_gives_an_absolute_data_dir(
    loads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads()
    monkeypatch.chdir(tmp_path)
    assert load_config("config.yaml", {}).data_dir == tmp_path / "data"


def test_a_loaded_configuration_cannot_be_changed_and_does_not_show_secrets(loads: Any) -> None:
    config: Config = loads("database:\n  url: postgresql://u:hunter2@localhost/x\n")
    with pytest.raises(ValidationError):
        config.direct.auto_join = False  # type: ignore[misc]  # what is tested
    shown = repr(config) + str(config) + config.model_dump_json(exclude={"networks"})
    assert "hunter2" not in shown
    assert "token-1" not in shown
    assert not config.database.embedded


def test_all_problems_are_told_at_once_in_reading_order(complaints: Any) -> None:
    text = (
        "homeserver:\n"
        "  ulr: http://localhost\n"
        "appservice:\n"
        "  as_token: x\n"
        "  listen: nowhere\n"
        "direct:\n"
        "  auto_join: perhaps\n"
        "loging: {}\n"
    )
    lines = complaints(text=text, DM_BRIDGE__DIRECT__MARK_GHOSTS="perhaps")
    where = [line.split(": ")[:2] for line in lines]
    assert where == [
        ["config.yaml:1", "homeserver.url"],
        ["config.yaml:1", "homeserver.domain"],
        ["config.yaml:2", "homeserver.ulr"],
        ["config.yaml:3", "appservice.hs_token"],
        ["config.yaml:3", "appservice.accounts_token"],
        ["config.yaml:4", "appservice.as_token"],
        ["config.yaml:5", "appservice.listen"],
        ["config.yaml:7", "direct.auto_join"],
        ["config.yaml:8", "loging"],
        ["DM_BRIDGE__DIRECT__MARK_GHOSTS", "direct.mark_ghosts"],
    ]


def test_the_message_counts_the_problems(loads: Any) -> None:
    with pytest.raises(ConfigError, match="there are 2 problems in the configuration:\n  "):
        loads("x: 1\ny: 2\n")


def test_a_single_problem_is_a_single_line(loads: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        loads("x: 1\n")
    assert "\n" not in str(caught.value)
    assert str(caught.value) == caught.value.message


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("  bott: x\n", 'config.yaml:8: appservice.bott: unknown key; did you mean "bot"?'),
        ("Direct: {}\n", 'config.yaml:8: Direct: unknown key; did you mean "direct"?'),
        (
            "direct: {auto-join: true}\n",
            'config.yaml:8: direct.auto-join: unknown key; did you mean "auto_join"?',
        ),
        (
            "listen: x\n",
            "config.yaml:8: listen: unknown key here; did you mean appservice.listen?",
        ),
        (
            "logging: {zzz: 1}\n",
            "config.yaml:8: logging.zzz: unknown key; known here are: level, format.",
        ),
        (
            "database: {url_fil: x}\n",
            'config.yaml:8: database.url_fil: unknown key; did you mean "url_file"?',
        ),
        (
            "  listen: 127.0.0.1\n",
            'config.yaml:8: appservice.listen: expected host:port, such as 127.0.0.1:29350 or "[::1]:29350"; '
            'found "127.0.0.1".',
        ),
        (
            "  listen: 29350\n",
            'config.yaml:8: appservice.listen: expected host:port, such as 127.0.0.1:29350 or "[::1]:29350"; '
            "found 29350.",
        ),
        (
            "  url: ftp://x\n",
            "config.yaml:8: appservice.url: expected a URL that begins with http:// or https://, such as "
            'http://127.0.0.1:29350; found "ftp://x".',
        ),
        (
            "  bot: yes\n",
            "config.yaml:8: appservice.bot: expected text; found yes (read as true), which YAML does not "
            "read as text: put quotes around it.",
        ),
        (
            "  bot:\n",
            "config.yaml:8: appservice.bot: expected text; found nothing.",
        ),
        (
            "direct:\n  auto_join: 3\n",
            "config.yaml:9: direct.auto_join: expected true or false; found 3.",
        ),
        ("direct: [1]\n", "config.yaml:8: direct: expected keys below it; found a list."),
        ("networks: 3\n", "config.yaml:8: networks: expected networks by name; found a number."),
        ("permissions: x\n", "config.yaml:8: permissions: expected keys below it; found text."),
        (
            "permissions:\n  example.org: root\n",
            'config.yaml:9: permissions."example.org": expected one of none, user or admin; found "root".',
        ),
        (
            "permissions:\n  example.org: {max_logins: 3}\n",
            'config.yaml:9: permissions."example.org".level: this key is required: none, user or admin.',
        ),
        (
            "permissions:\n  example.org: {level: user, max_logins: many}\n",
            'config.yaml:9: permissions."example.org".max_logins: expected a whole number; found "many".',
        ),
        (
            "permissions:\n  example.org: {level: user, maxlogins: 3}\n",
            'config.yaml:9: permissions."example.org".maxlogins: unknown key; did you mean "max_logins"?',
        ),
        (
            'permissions:\n  "@bob": user\n',
            'config.yaml:9: permissions."@bob": expected *, a domain such as example.org, or a user id such '
            'as @alice:example.org, as the key; found "@bob".',
        ),
        (
            "logging:\n  level: loud\n",
            "config.yaml:9: logging.level: expected one of debug, info, warning or error; "
            'found "loud".',
        ),
        (
            "  bot: _dm_bot\n",
            'config.yaml:8: appservice.bot: the bot "_dm_bot" would be taken for a ghost, because ghosts '
            'begin with "_dm_". Change appservice.bot or appservice.ghost_prefix.',
        ),
        (
            "  ghost_prefix: dmbot-\n",
            'config.yaml:8: appservice.ghost_prefix: the bot "dmbot" would be taken for a ghost, because '
            'ghosts begin with "dmbot-". Change appservice.bot or appservice.ghost_prefix.',
        ),
        (
            f"  ghost_prefix: {'g' * 200}\n",
            "config.yaml:8: appservice.ghost_prefix: the user ids of ghosts would be longer than 255 bytes. "
            "Make appservice.ghost_prefix shorter by 41.",
        ),
        (
            f"  bot: {'b' * 240}\n",
            "config.yaml:8: appservice.bot: the bot's user id would be longer than 255 bytes. "
            "Make appservice.bot shorter by 7.",
        ),
    ],
)
def test_a_wrong_key_or_value_names_itself_its_line_and_the_remedy(
    complaints: Any, more: str, expected: str
) -> None:
    assert complaints(more) == [expected]


def test_a_missing_key_says_what_belongs_there(complaints: Any) -> None:
    text = "homeserver:\n  url: http://localhost\nappservice:\n"
    lines = complaints(text=text)
    assert lines[0] == (
        "config.yaml:1: homeserver.domain: this key is required: the homeserver's server name, such as "
        "example.org: the end of its user ids."
    )
    assert [line.split(":")[2] for line in lines[1:]] == [
        " appservice.as_token",
        " appservice.hs_token",
        " appservice.accounts_token",
    ]
    assert all("`dm-bridge init` makes one" in line for line in lines[1:])


def test_a_missing_section_is_told_by_its_keys(complaints: Any) -> None:
    lines = complaints(text="direct: {}\n")
    assert len(lines) == 5
    assert lines[0].startswith("config.yaml: homeserver.url: this key is required")


@pytest.mark.parametrize("key", ["as_token", "hs_token", "accounts_token"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("hunter2", "expected a random token of at least 16 characters; found 7 characters."),
        ('""', "expected a random token of at least 16 characters; found 0 characters."),
        ("[hunter2]", "expected text; found a list."),
        (
            "12345678901234567890",
            "expected text; found a number, which YAML does not read as text: put quotes around it.",
        ),
        (
            "yes",
            "expected text; found true or false, which YAML does not read as text: put quotes around it.",
        ),
        (
            "hunter2 hunter2 hunter2",
            "expected a token of ASCII letters, digits and signs, without spaces or line breaks; "
            "found 23 characters.",
        ),
    ],
)
def test_a_bad_token_is_told_without_showing_it(
    complaints: Any, key: str, value: str, problem: str
) -> None:
    lines = [
        f"  {name}: {value if name == key else f'long-enough-{name}'}\n"
        for name in ("as_token", "hs_token", "accounts_token")
    ]
    text = "homeserver:\n  url: http://x\n  domain: x\nappservice:\n" + "".join(lines)
    [found] = complaints(text=text)
    assert found.endswith(f": appservice.{key}: {problem}")
    assert "hunter2" not in found


def test_tokens_must_differ(complaints: Any) -> None:
    text = (
        "homeserver: {url: http://x, domain: x}\n"
        "appservice:\n"
        "  as_token: the-same-the-same-the-same\n"
        "  hs_token: the-same-the-same-the-same\n"
        "  accounts_token: the-same-the-same-the-same\n"
    )
    lines = complaints(text=text)
    assert [line.split(": expected")[0] for line in lines] == [
        "config.yaml:4: appservice.hs_token",
        "config.yaml:5: appservice.accounts_token",
    ]
    assert all("appservice.as_token is the same" in line for line in lines)
    assert all("the-same-" not in line for line in lines)


def test_a_database_url_is_a_secret(complaints: Any) -> None:
    [line] = complaints("database: {url: 'mysql://root:hunter2@localhost/x'}\n")
    assert line.startswith("config.yaml:8: database.url: expected embedded, or a URL such as")
    assert line.endswith("; found 32 characters.")


@pytest.mark.parametrize("password", ["hunter2/x", "hunter2#x", "hunter2?x", "2/hunter2"])
def test_a_database_password_that_tears_the_url_is_not_shown(
    complaints: Any, password: str
) -> None:
    [line] = complaints(f"database: {{url: 'postgresql://root:{password}@localhost/x'}}\n")
    assert "in a password, write / as %2F" in line
    assert "hunter2" not in line


def test_a_password_in_another_url_is_not_shown(complaints: Any) -> None:
    [line] = complaints("  url: http://me:hunter2@localhost\n")
    assert "without a user name or password" in line
    assert "hunter2" not in line


def test_example_tokens_are_refused_only_where_asked(tmp_path: Path, loads: Any) -> None:
    loads()
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("as-token-as-token-1", "example-replace-me-1"))
    assert load_config(path, {}).appservice.id == "dm_bridge"
    with pytest.raises(InvalidConfigError, match=r"config\.yaml:5: .* everybody knows\."):
        load_config(path, {}, allow_example_tokens=False)


def test_empty_sections_mean_defaults(loads: Any) -> None:
    config = loads("permissions:\ndirect:\nnetworks:\n  fake:\ndatabase:\n")
    assert config.permissions == {}
    assert config.direct.auto_join
    assert config.networks["fake"].enabled


class TestNetworks:
    def test_a_section_is_validated_by_its_connector(self, loads: Any) -> None:
        config = loads("networks:\n  fake:\n    servers:\n      example.org: {host: x, port: 1}\n")
        section = config.networks["fake"]
        assert section.name == "fake"
        assert section.options.servers["example.org"].port == 1
        with pytest.raises(ConfigError, match="built with"):
            section.build()

    def test_a_disabled_network_is_validated_and_not_run(self, loads: Any, complaints: Any) -> None:
        config = loads("networks:\n  fake: {enabled: false}\n")
        assert not config.networks["fake"].enabled
        assert config.enabled_networks == ()
        assert complaints("networks:\n  fake: {enabled: false, x: 1}\n")

    def test_a_model_may_decide_the_default_of_enabled(self, loads: Any) -> None:
        config = loads("networks:\n  switched:\n  fake:\n")
        assert [section.name for section in config.enabled_networks] == ["fake"]
        config = loads("networks:\n  switched: {enabled: true}\n  fake:\n")
        assert [section.name for section in config.enabled_networks] == ["fake", "switched"]

    @pytest.mark.parametrize(
        ("section", "expected"),
        [
            (
                "  fak: {}\n",
                '9: networks.fak: there is no connector named fak; did you mean "fake"? Installed are: '
                "broken, fake, switched. Install the package that brings it, or remove this section.",
            ),
            ("  broken: {}\n", "9: networks.broken: The connector 'broken' cannot be imported."),
            ("  fake: 3\n", "9: networks.fake: expected keys below it; found a number."),
            (
                "  fake:\n    enabled: 7\n",
                "10: networks.fake.enabled: expected true or false; found 7.",
            ),
            (
                "  fake:\n    enable: true\n",
                '10: networks.fake.enable: unknown key; did you mean "enabled"?',
            ),
            (
                "  fake:\n    servers:\n      example.org:\n        hots: x\n        host: x\n",
                '12: networks.fake.servers."example.org".hots: unknown key; did you mean "host"?',
            ),
            (
                "  fake:\n    servers:\n      example.org: {}\n",
                '11: networks.fake.servers."example.org".host: this key is required.',
            ),
            (
                "  fake:\n    servers:\n      a: {host: x, port: 70000}\n",
                "11: networks.fake.servers.a.port: expected less than or equal to 65535; found 70000.",
            ),
            (
                "  fake:\n    servers:\n      a: {host: x/y}\n",
                '11: networks.fake.servers.a.host: a host has no slash; found "x/y".',
            ),
            (
                "  fake:\n    servers:\n      a: {host: x, tls: off}\n",
                "11: networks.fake.servers.a.tls: expected one of starttls or none; "
                "found off (read as false).",
            ),
            (
                "  fake:\n    servers:\n      a: {host: x, password: [hunter2]}\n",
                "11: networks.fake.servers.a.password: expected text; found a list.",
            ),
            (
                "  fake:\n    rooms:\n      - a\n      - 5\n",
                "12: networks.fake.rooms[1]: expected text; found 5, which YAML does not read as text: "
                "put quotes around it.",
            ),
        ],
    )
    def test_problems_in_a_section_read_like_all_others(
        self, complaints: Any, section: str, expected: str
    ) -> None:
        assert complaints("networks:\n" + section) == [f"config.yaml:{expected}"]

    def test_file_names_are_relative_to_the_folder_of_the_configuration(
        self, loads: Any, tmp_path: Path
    ) -> None:
        config = loads("networks: {fake: {servers: {a: {host: x, ca_file: ca.pem}}}}\n")
        assert config.networks["fake"].options.servers["a"].ca_file == tmp_path / "ca.pem"

    def test_secrets_of_connectors_may_come_from_files(self, loads: Any, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2\n")
        config = loads("networks: {fake: {servers: {a: {host: x, password_file: password}}}}\n")
        server = config.networks["fake"].options.servers["a"]
        assert server.password.get_secret_value() == "hunter2"


KEYS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(section=st.sampled_from(["", "homeserver", "appservice", "direct", "logging"]), key=KEYS)
@example(section="", key="null")
@example(section="direct", key="1")
def test_no_unknown_key_is_ever_ignored(complaints: Any, section: str, key: str) -> None:
    known = {*Config.model_fields}
    if section:
        model = Config.model_fields[section].annotation
        assert model is not None
        known = {*model.model_fields, *(f"{name}_file" for name in model.model_fields)}
    if key in known:
        return
    text = (
        VALID_FLOW.replace(f"{section}: {{", f'{section}: {{"{key}": 1, ', 1)
        if section
        else (VALID_FLOW + f'"{key}": 1\n')
    )
    lines = complaints(text=text)
    path = f"{section}.{key}" if section else key
    assert lines[0].split(": ")[1] == path
    assert "unknown key" in lines[0]


VALID_FLOW = (
    "homeserver: {url: http://x, domain: x}\n"
    "appservice: {as_token: aaaaaaaaaaaaaaaa, hs_token: bbbbbbbbbbbbbbbb,"
    " accounts_token: cccccccccccccccc}\n"
    "direct: {auto_join: true}\n"
    "logging: {level: info}\n"
)


LOCAL = st.sampled_from(["alice", "bob"])
DOMAIN = st.sampled_from(["example.org", "example.com", "sub.example.org", "localhost:8448"])
LEVEL = st.sampled_from(list(Permission))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    local=LOCAL,
    domain=DOMAIN,
    permissions=st.dictionaries(
        st.one_of(st.just("*"), DOMAIN, st.builds("@{}:{}".format, LOCAL, DOMAIN)), LEVEL
    ),
)
def test_the_most_specific_permission_counts(
    loads: Any, local: str, domain: str, permissions: dict[str, Permission]
) -> None:
    entries = {key: PermissionEntry(level=level) for key, level in permissions.items()}
    config = loads().model_copy(update={"permissions": entries})
    user = f"@{local}:{domain}"
    if user in permissions:
        expected = permissions[user]
    elif domain in permissions:
        expected = permissions[domain]
    else:
        expected = permissions.get("*", Permission.NONE)
    assert config.permission_of(user) is expected


@pytest.mark.parametrize("user", ["", "*", "example.org", "@alice", "@alice:", "alice:example.org"])
def test_what_is_no_user_id_may_do_nothing(loads: Any, user: str) -> None:
    config = loads('permissions: {"*": admin, example.org: admin}\n')
    assert config.permission_of(user) is Permission.NONE


def test_an_entry_may_say_how_many_logins_there_may_be(loads: Any) -> None:
    config = loads(
        'permissions: {"*": {level: none, max_logins: 3}, example.org: user, '
        '"@alice:example.org": {level: admin, max_logins: 0}, other.example: {level: user, max_logins: 7}}\n'
        "limits: {max_logins: 100}\nprovisioning: {login_attempts: 7}\n"
    )
    assert config.permission_of("@bob:example.org") is Permission.USER
    assert config.max_logins_of("@bob:example.org") == 3  # of the next entry that names a number
    assert config.max_logins_of("@alice:example.org") == 0
    assert config.max_logins_of("@carol:other.example") == 7
    assert (config.limits.max_logins, config.login_attempts) == (100, 7)
    assert loads('permissions: {"*": user}\n').max_logins_of("@bob:example.org") is None


def test_permissions_say_what_they_allow() -> None:
    assert [(p.may_use, p.may_administer) for p in Permission] == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_a_folder_of_texts_that_is_not_there_is_told_alone(complaints: Any) -> None:
    lines = complaints(text="texts:\n  folder: nowhere\n  language: de\n")
    about = [line for line in lines if ": texts." in line]
    assert len(about) == 1
    assert "texts.folder" in about[0]
    assert "nowhere: No such file or directory" in about[0]
