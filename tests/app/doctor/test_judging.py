"""What the doctor makes of facts: each judgement, on either side of its line."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from dm_bridge.app.doctor import (
    database,
    doorway,
    files,
    homeserver,
    media,
    networks,
    page,
    pushing,
)
from dm_bridge.app.doctor import registrations as reg
from dm_bridge.app.doctor.findings import Finding, Verdict, mend, note, ok, overall, unknown
from dm_bridge.errors import HomeserverError, RegistrationError, StorageError
from dm_bridge.ids import ContactId, LoginId, NetworkName, UserId
from dm_bridge.matrix.greeting import Greeting
from dm_bridge.network.reaching import Reached
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.looking import DatabaseFacts
from dm_bridge.store.sealing import SealingKey

BOT, GHOST = UserId("@dmbot:x.org"), UserId("@_dm_doctor_check:x.org")
OTHER = UserId("@dmbot-accounts:x.org")
URL = "http://hs.test"


def says(finding: Finding, verdict: str, *words: str) -> None:
    assert finding.verdict == verdict, finding
    for each in words:
        assert each in finding.sentence
    assert verdict == "ok" or finding.sentence.count(". ") + finding.sentence.count(": ") >= 1


def test_where_the_page_is_not_is_told() -> None:
    url, policy = (
        "https://b.example.org/page/",
        "default-src 'none'; script-src 'self'; style-src 'self'",
    )
    says(page.judge(url, 200, policy), "ok", url)
    says(page.judge(url, 200, ""), "mend", "Something else", "/page/")
    says(page.judge(url, 502, ""), "mend", "(502)")
    says(page.judge(url, 301, ""), "mend", "page.public_url")


def test_what_is_to_be_mended_counts_more_than_what_is_unknown() -> None:
    assert overall([ok("a", "."), note("b", ".")]) is Verdict.OK
    assert overall([ok("a", "."), unknown("b", ".")]) is Verdict.UNKNOWN
    assert overall([unknown("b", "."), mend("c", "."), ok("a", ".")]) is Verdict.MEND


# -- the homeserver


def greeting(*versions: str, software: str = "Synapse 1.163.2", **unstable: bool) -> Greeting:
    features = {key.replace("__", "."): value for key, value in unstable.items()}
    return Greeting(software, versions, features, None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("hello", "verdict", "words"),
    [
        (
            greeting("r0.6.1", "v1.1", "v1.15"),
            "ok",
            "Synapse 1.163.2 at http://hs.test (Matrix v1.15)",
        ),
        (greeting("v2.0", software=""), "ok", "A homeserver at"),
        (greeting("v1.11"), "ok", "offers all"),
        (greeting("v1.11", software="Conduit 1"), "note", "may push no typing"),
        (greeting("v1.8"), "note", "serves no files"),
        (greeting("v1.8", org__matrix__msc3916__stable=True), "ok", "offers all"),
        (greeting("v1.6"), "note", "MSC2659"),
        (greeting("r0.6.1", "nonsense"), "mend", "too old"),
        (greeting(), "mend", "too old"),
    ],
)
def test_a_homeserver_is_judged_by_what_the_bridge_uses(
    hello: Greeting, verdict: str, words: str
) -> None:
    (finding,) = homeserver.judge(hello, URL)
    says(finding, verdict, words)


@pytest.mark.parametrize(
    ("default", "verdict"), [("10", "ok"), ("12", "ok"), ("13", "note"), ("org.x.1", "note")]
)
def test_new_rooms_of_an_untested_version_are_worth_a_word(default: str, verdict: str) -> None:
    (finding,) = homeserver.judge_rooms({"capabilities": {"m.room_versions": {"default": default}}})
    says(finding, verdict, default)


def test_a_homeserver_that_says_nothing_of_rooms_is_no_fault() -> None:
    (finding,) = homeserver.judge_rooms({"capabilities": []})
    assert finding.verdict == "note"


@pytest.mark.parametrize(
    ("theirs", "verdict", "words"),
    [
        (1000.0, "ok", "agree"),
        (1000.0 + 3 + 30, "ok", "agree"),
        (1000.0 + 3 + 31, "mend", "31 seconds ahead of"),
        (1000.0 - 1 - 30, "ok", "agree"),
        (1000.0 - 1 - 31, "mend", "31 seconds behind"),
        (1000.0 - 1 - 7200, "mend", "7,200 seconds behind"),
        (None, "note", "does not say"),
    ],
)
def test_clocks_are_compared_over_the_time_that_asking_took(
    theirs: float | None, verdict: str, words: str
) -> None:
    finding = homeserver.judge_clock("homeserver", theirs, 1000.0, 1003.0)
    assert (finding.verdict, words in finding.sentence) == (verdict, True), finding


# -- the registrations


def unknown_token() -> RegistrationError:
    error = RegistrationError("The homeserver does not know our appservice.as_token. Run it.")
    error.__cause__ = HomeserverError("no", status=401, errcode="M_UNKNOWN_TOKEN")
    return error


def test_tokens_are_judged_together() -> None:
    main, accounts = reg.judge_tokens(BOT, None, None)
    says(main, "ok", BOT)
    says(accounts, "ok")
    main, accounts = reg.judge_tokens(BOT, unknown_token(), None)
    says(main, "mend", "It does know registration-accounts.yaml", "as_token")
    says(accounts, "ok")
    main, accounts = reg.judge_tokens(BOT, unknown_token(), "It is not there.")
    says(main, "mend", "It knows neither of the two files")
    says(accounts, "mend", "It is not there. Do with it as with the first.")
    main, accounts = reg.judge_tokens(BOT, None, "It is not there.")
    says(accounts, "mend", "It is not there. Run `dm-bridge registration`")
    main, _ = reg.judge_tokens(BOT, RegistrationError("Wrong bot. Run it again."), "No.")
    assert main.sentence == "Wrong bot. Run it again."


@pytest.mark.parametrize(
    ("seen", "refusal", "verdict", "words"),
    [
        (GHOST, None, "ok", "whom nobody else has"),
        (BOT, None, "mend", "does not let application services act for others"),
        (
            None,
            HomeserverError("This user ID is reserved by …", status=400, errcode="M_EXCLUSIVE"),
            "mend",
            "the namespaces overlap",
        ),
        (
            None,
            HomeserverError("Invalid", status=400, errcode="M_EXCLUSIVE"),
            "mend",
            "ghost_prefix",
        ),
        (None, HomeserverError("cannot", status=403, errcode="M_FORBIDDEN"), "mend", "M_FORBIDDEN"),
    ],
)
def test_ghosts(
    seen: UserId | None, refusal: HomeserverError | None, verdict: str, words: str
) -> None:
    says(reg.judge_ghosts(GHOST, seen, refusal), verdict, words)


def test_strangers() -> None:
    (refused,) = reg.judge_strangers(OTHER, refused=True, local=True)
    says(refused, "ok", "is refused users that are not its own")
    (wide,) = reg.judge_strangers(OTHER, refused=False, local=True)
    says(wide, "mend", OTHER, "too wide", "`dm-bridge registration --force`")
    (narrow,) = reg.judge_strangers(OTHER, refused=None, local=False)
    says(narrow, "mend", "may not act for local users", "homeserver.domain")


# -- what is pushed


def test_a_ping_that_fails_is_judged_by_what_else_is_known() -> None:
    problem = "The homeserver cannot reach us at U. Check it."
    says(pushing.judge_ping("U", None, refused=False, leads_here=False), "ok", "at U")
    plain = pushing.judge_ping("U", problem, refused=False, leads_here=False)
    assert plain == mend("ping", problem)
    elsewhere = pushing.judge_ping("U", problem, refused=False, leads_here=True)
    says(elsewhere, "mend", problem, "From this machine, U does lead to the bridge", "--force")
    refused = pushing.judge_ping("U", problem, refused=True, leads_here=True)
    says(refused, "mend", "another hs_token", "--force")


def test_typing_that_does_not_come_is_a_fault_only_where_nothing_else_explains_it() -> None:
    def judged(came: bool = False, *, events: bool = True, **more: bool) -> Finding:
        return pushing.judge_ephemeral(
            came, events=events, **{"held_back": False, "several": False, **more}
        )

    assert judged(True, held_back=True, several=True).verdict == "ok"
    says(judged(held_back=True), "unknown", "Start it")
    says(judged(several=True), "unknown", "Run the doctor again")
    says(judged(events=False), "unknown", "in a minute")
    says(judged(), "mend", "receive_ephemeral")


def test_a_bridge_that_is_not_ready_says_why() -> None:
    assert [f.verdict for f in doorway.judge(doorway.Running("U", ()))] == ["ok"]
    findings = doorway.judge(doorway.Running("U", ("The database is away.", "It stops.")))
    says(findings[0], "mend", "The database is away.", "log")
    says(findings[1], "mend", "It stops.")


# -- the database

FACTS = DatabaseFacts(
    version="16.4", number=160004, pooled=False, may_create=True, foreign=0, readable=True,
    read_only=False, encoding="UTF8", free=90, bridged=False, clock=0.0, asked=0.0, answered=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "ok", "PostgreSQL 16.4 answers."),
        ({"number": 130020, "version": "13.20"}, "mend", "needs 14"),
        ({"number": 140000}, "ok", "answers"),
        ({"encoding": "SQL_ASCII"}, "mend", "ENCODING 'UTF8'"),
        ({"free": 3}, "mend", "max_connections"),
        ({"free": 3, "bridged": True}, "ok", "answers"),
        ({"free": 3, "pooled": True}, "ok", "through a pooler"),
    ],
)
def test_a_database_server(change: dict[str, object], verdict: str, words: str) -> None:
    finding = database.judge(dataclasses.replace(FACTS, **change), embedded=False)[0]  # type: ignore[arg-type]
    says(finding, verdict, words)


def test_a_pooler_is_worth_a_word() -> None:
    findings = database.judge(dataclasses.replace(FACTS, pooled=True), embedded=False)
    assert [f.verdict for f in findings] == ["ok", "note", "ok"]
    assert "PgBouncer" in findings[1].sentence


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "ok", "create tables"),
        ({"may_create": False}, "mend", "ALTER SCHEMA public OWNER TO"),
        ({"foreign": 2}, "mend", "REASSIGN OWNED"),
        ({"read_only": True, "may_create": False}, "mend", "read-only"),
    ],
)
def test_rights_in_a_database(change: dict[str, object], verdict: str, words: str) -> None:
    finding = database.judge(dataclasses.replace(FACTS, **change), embedded=True)[-1]  # type: ignore[arg-type]
    says(finding, verdict, words)


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (None, "ok", "first start makes"),
        ("0002", "ok", "up to date (0002)"),
        ("0001", "mend", "`dm-bridge migrate`"),
        ("0003", "mend", "Upgrade dm_bridge"),
    ],
)
def test_schemas(found: str | None, verdict: str, words: str) -> None:
    says(database.judge_schema(found, ("0001", "0002"), running=False), verdict, words)


def test_a_database_that_cannot_be_looked_at() -> None:
    assert database.away(StorageError("Away. Start it."), 5).sentence == "Away. Start it."
    says(database.away(TimeoutError(), 5), "mend", "within 5 seconds", "database.url")


# -- files


def test_disks() -> None:
    facts = files.DiskFacts(Path("/data"), True, 999_000_000)
    says(files.judge_disk(facts, embedded=True), "mend", "Only 999 MB", "make room")
    says(files.judge_disk(facts, embedded=False), "ok", "999 MB are free in /data")
    says(
        files.judge_disk(dataclasses.replace(facts, free=10), embedded=False),
        "mend",
        "The bridge stops",
    )
    says(
        files.judge_disk(dataclasses.replace(facts, writable=False), embedded=False),
        "mend",
        "owner",
    )


def test_a_directory_that_is_not_made_yet_is_judged_by_the_one_it_will_be_in(
    tmp_path: Path,
) -> None:
    facts = files.disk_facts(tmp_path / "not" / "yet")
    assert (facts.place, facts.writable) == (tmp_path, True)
    assert facts.free > 0


def test_the_log_counts_from_the_last_start_on() -> None:
    start = "LOG:  database system is ready to accept connections\n"
    full = "2026 [1] ERROR:  could not extend file: No space left on device\nHINT: x\n"
    assert files.judge_log(full + start) is None
    assert files.judge_log(start + "ERROR:  duplicate key\nFATAL:  no such database\n") is None
    said = files.judge_log(start + full + "LOG: y\n")
    assert said == "ERROR: could not extend file: No space left on device."
    assert files.judge_log("PANIC:  stop\n") == "PANIC: stop."


def login(key: SealingKey | None) -> LoginRow:
    sealed = None if key is None else key.seal("1", {"password": "p"})
    return LoginRow(
        LoginId("1"), UserId("@a:x"), NetworkName("xmpp"), ContactId("a@x"), "a", LoginState.ACTIVE, "", sealed
    )  # fmt: skip


def test_the_key_is_there_fits_and_is_private_or_it_is_said(tmp_path: Path) -> None:
    def check(*logins: LoginRow) -> Finding:
        (finding,) = files.check_key(tmp_path, logins)
        return finding

    says(check(), "ok", "first start makes it")
    assert not (tmp_path / "sealing.key").exists()
    says(files.check_key(tmp_path, None)[0], "unknown", "no database to tell")
    says(check(login(SealingKey(b"k" * 32))), "mend", "missing", "backup")
    key = SealingKey.load(tmp_path / "sealing.key")
    says(check(login(None), login(key)), "ok", "opens what is stored")
    says(check(login(SealingKey(b"k" * 32))), "mend", "another key")
    os.chmod(tmp_path / "sealing.key", 0o640)
    says(check(login(key)), "mend", "chmod 600")
    (tmp_path / "sealing.key").write_text("nonsense")
    says(check(), "mend", "backup")


def test_a_configuration_that_everybody_may_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.touch(mode=0o640)
    assert files.check_secrets(path) == []
    path.chmod(0o644)
    says(files.check_secrets(path)[0], "note", "chmod o-rwx")


# -- media and networks


def test_media() -> None:
    assert "up to 50 MB are carried, which" in media.judge_limit(50_000_000, 100_000_000).sentence
    assert media.judge_limit(None, 100_000_000).sentence.endswith("up to 100 MB are carried.")
    assert media.judge_limit(200_000_000, 100_000_000).sentence.endswith("100 MB are carried.")
    gone = HomeserverError("No.", status=404)
    says(media.judge_failure("download", gone), "mend", "could not be downloaded", "v1.11")
    says(media.judge_failure("upload", gone), "mend", "could not be uploaded", "enable_media_repo")
    says(media.judge_failure("upload", HomeserverError("No.", status=500)), "mend", "log")


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (15, "ok", "good for 15 days"),
        (13, "note", "expires in 13 days"),
        (-1, "mend", "has expired"),
    ],
)
def test_certificates(days: int, verdict: str, words: str) -> None:
    now = time.time()
    finding = networks.judge("XMPP", "x.org", Reached("h:5222", now + days * 86400), now)
    assert (finding.verdict, words in finding.sentence) == (verdict, True), finding
    says(networks.judge("XMPP", "x.org", Reached("h:5222"), now), "ok", "without encryption")
