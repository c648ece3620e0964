"""What single values must look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.config import values
from dm_bridge.config.values import ListenAddress

Check = Callable[[str], object]

GOOD: list[tuple[Check, list[str]]] = [
    (
        values.check_server_name,
        ["example.org", "localhost", "localhost:8448", "1.2.3.4", "[::1]", "[::1]:8448", "a-b.c"],
    ),
    (values.check_user_id, ["@a:example.org", "@a.b_c=d-e/f+g:localhost:8448", "@A!:x"]),
    (values.check_permission_key, ["*", "example.org", "localhost:80", "@a:example.org"]),
    (
        values.check_homeserver_url,
        ["http://localhost", "https://example.org:8448", "http://[::1]:8"],
    ),
    (
        values.check_page_url,
        [
            "https://b.example.org/page/",
            "https://x/",
            "http://localhost:29350/page/",
            "http://[::1]:1/",
            "http://127.9.9.9/",
        ],
    ),
    (values.check_appservice_url, ["http://localhost:1", "https://example.org/bridge"]),
    (
        values.check_database_url,
        [
            "embedded",
            "postgresql://localhost/x",
            "postgres://u:p@h:1/x?sslmode=require",
            "postgresql:///x",
            "postgresql:///x?host=/run/postgresql",
            "postgresql://u:p%2Fq%23r@h:1,[::1]:2/x",
        ],
    ),
    (values.check_bot, ["dmbot", "dm.bot_1-2"]),
    (values.check_ghost_prefix, ["_dm_", "x=", "a/b+"]),
    (values.check_appservice_id, ["dm_bridge", "A.b-1"]),
    (values.check_token, ["x" * 16, "!~" * 20]),
    (ListenAddress.parse, ["127.0.0.1:1", "[::1]:65535", "localhost:80"]),
]
BAD: list[tuple[Check, list[str]]] = [
    (
        values.check_server_name,
        [
            "",
            "https://example.org",
            "example.org/",
            "a b",
            "x:0",
            "x:65536",
            "x:",
            "-x",
            "::1",
            "x\n",
            "é.org",
            "a" * 231,
        ],
    ),
    (values.check_user_id, ["", "a:b", "@:b", "@a", "@a:", "@a b:c", "@a:b c", f"@{'a' * 255}:b"]),
    (values.check_permission_key, ["", "**", "*.example.org", "@a", "@a:*", "https://x"]),
    (
        values.check_homeserver_url,
        [
            "",
            "localhost",
            "localhost:8008",
            "ftp://x",
            "http://",
            "http:///x",
            "http://x/_matrix",
            "http://x?y",
            "http://x#y",
            "http://u:p@x",
            "http://x:0",
            "http://x:99999",
            "http://a b",
            "http://[::1",
        ],
    ),
    (
        values.check_page_url,
        [
            "",
            "x:1",
            "http://b.example.org/",
            "http://10.0.0.1/",
            "https://x/#a",
            "https://u@x",
            "http://localhost.x/",
        ],
    ),
    (
        values.check_appservice_url,
        ["", "x:1", "http://x/_matrix/app/v1", "http://x/?a", "http://u@x"],
    ),
    (
        values.check_database_url,
        [
            "",
            "sqlite:///x.db",
            "mysql://x",
            "postgresql",
            "postgresql+asyncpg://x/y",
            "EMBEDDED",
            "postgresql://u:p/q@h/x",
            "postgresql://u:1/q@h/x",
            "postgresql://u:p#q@h/x",
            "postgresql://u:p?q@h/x",
            "postgresql://u:1?q@h/x",
            "postgresql://h:port/x",
            "postgresql://h:0/x",
        ],
    ),
    (values.check_bot, ["", "Bot", "@bot", "bot:x", "a=b", "a/b", "a b", "bot\n"]),
    (values.check_ghost_prefix, ["", "A", "_dm*", "a b", "é"]),
    (values.check_appservice_id, ["", "a b", "a/b", "x" * 201]),
    (values.check_token, ["", "x" * 15, "x" * 16 + " ", "é" * 20, "x" * 16 + "\n"]),
    (
        ListenAddress.parse,
        ["", "x", ":80", "x:", "x:0", "x:65536", "::1:80", "[x]:80", "a b:80", "x:８０", "x:-1"],
    ),
]


@pytest.mark.parametrize(("check", "value"), [(c, v) for c, vs in GOOD for v in vs])
def test_a_good_value_passes(check: Check, value: str) -> None:
    assert str(check(value)) == value


@pytest.mark.parametrize(("check", "value"), [(c, v) for c, vs in BAD for v in vs])
def test_a_bad_value_is_told_what_was_expected(check: Check, value: str) -> None:
    with pytest.raises(ValueError, match=r"\Aexpected "):
        check(value)


@given(st.text(), st.sampled_from([check for check, _ in BAD]))
def test_no_text_makes_a_check_fail_in_another_way(text: str, check: Check) -> None:
    complaint = "expected "
    try:
        check(text)
    except ValueError as error:
        complaint = str(error)
    assert complaint.startswith("expected ")


@given(st.integers(1, 65535), st.sampled_from(["localhost", "10.0.0.1", "[::1]", "[fe80::2]"]))
def test_a_listen_address_reads_back(port: int, host: str) -> None:
    address = ListenAddress.parse(f"{host}:{port}")
    assert str(address) == f"{host}:{port}"
    assert ListenAddress.parse(str(address)) == address
    assert ListenAddress.parse(address) is address
