"""Every command in the pages is run, or says here why it is not; then what of it can be checked is checked.

The pages are gone through on one `Machine`, in this order: install.md, admin.md (which makes a service of
the bridge), provisioning.md and the short ones. Each block must end well, and show what the page says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import yaml

from dm_bridge.cli.main import cli
from dm_bridge.config import load_config
from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_client import XmppUser
from tests.docs.machine import Machine
from tests.docs.pages import PAGES, ROOT, Block, blocks, missing, name_of

PAGE = {name_of(page): list(blocks(page)) for page in PAGES}


def of(page: str, words: str) -> Block:
    """The one block of a page that has ``words``."""
    (found,) = (block for block in PAGE[page] if words in block.text)
    return found


def targets_exist(block: Block) -> None:
    """``make`` knows the targets, and what they run knows the options."""
    makefile = (ROOT / "Makefile").read_text()
    known = "".join(
        path.read_text()
        for place in ("dm_bridge/testing/simulator", "dm_bridge/cli", "benchmarks", "tests/faults")
        for path in (ROOT / place).rglob("*.py")
    )
    known += (ROOT / "tests/conftest.py").read_text()  # --hypothesis-profile=explore
    for line in block.text.splitlines():
        command = line.split(" #")[0]
        for target in re.findall(r"make ([a-z-]+)", command):
            assert re.search(rf"^{target}:", makefile, re.M), line
        for option in re.findall(r"(--[a-z-]+)", command):
            assert option in known or option in ("--hypothesis-profile", "--ignore"), line
        for path in re.findall(r"(?:^|[ \"])((?:\.ci|tests|examples)/\S*?)(?=[ \"]|$)", command):
            assert (ROOT / path).exists(), line


def commands_exist(block: Block) -> None:
    """``dm-bridge`` knows each command with its options, and the files that are named exist."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for file in re.findall(r"ops/[\w.]+|requirements/[\w.]+", line):
            assert (ROOT / file).exists(), line
        match = re.search(r"dm-bridge ((?:init|registration|run|doctor|migrate)\b[^#|]*)", line)
        if match is None:
            continue
        name, *words = match[1].split()
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def commands_are_run(block: Block) -> None:
    """Each is in another page, or the beginning of one that is, where it is run."""
    done = "\n".join(b.text for page in ("install.md", "admin.md") for b in PAGE[page])
    for line in block.text.splitlines():
        assert line.split(" #")[0].strip() in done, line


NOT_RUN: dict[tuple[str, str], tuple[str, Callable[[Block], None]]] = {
    ("README.md", "git clone <this repository> dm_bridge && cd dm_bridge"): (
        "tests/cli/test_demo.py runs the demo", targets_exist),
    ("README.md", 'make demo ARGS="--network irc"   # the same with ngIRCd instead of Prosody'): (
        "the demo again, and this suite", targets_exist),
    ("README.md", "python3 -m venv venv && venv/bin/pip install .      # in a checkout; a wheel does as well"): (
        "run for install.md", commands_are_run),
    ("README.md", "venv/bin/dm-bridge run -c config.yaml"): ("run for install.md", commands_are_run),
    ("README.md", "venv/bin/dm-bridge doctor -c config.yaml            "
     "# checks everything, and says what to do where something is not right"): (
        "run for install.md", commands_are_run),
    ("install.md", "sudo apt-get install -y python3-venv git"): ("installs packages", lambda _: None),
    ("admin.md", "useradd --system --home-dir /var/lib/dm_bridge --shell /usr/sbin/nologin dm_bridge"): (
        "makes a system user", commands_exist),
    ("admin.md", "mkdir -m 700 secrets"): (
        "needs Docker; tests/ops/test_deployment.py does it without", commands_exist),
    ("admin.md", "docker compose up -d"): ("needs Docker", commands_exist),
    ("development.md", "make venv        # .venv with locked requirements"): ("takes hours", targets_exist),
    ("development.md", "make simulate                                        # seeds drawn, and shown"): (
        "takes minutes; tests/simulator plays some", targets_exist),
    ("library.md", "pip install --no-deps .      # in a checkout; a wheel does as well"): (
        "run for admin.md", commands_are_run),
    ("connector-guide.md", ".venv/bin/python -m pytest examples/mqtt"): (
        "part of this suite", targets_exist),
}  # fmt: skip
"""What is not run, by page and first line: why, and what is checked instead."""
RAN: set[tuple[str, str]] = set()


@pytest.mark.parametrize(("key", "why"), NOT_RUN.items(), ids=lambda _: "")
def test_what_is_not_run_could_be(
    key: tuple[str, str], why: tuple[str, Callable[[Block], None]]
) -> None:
    (block,) = (block for block in PAGE[key[0]] if block.key == key)
    why[1](block)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


def run(machine: Machine, page: str, words: str, *, answers: str = "") -> str:
    """Run a block; what it said, in which what the page shows must be."""
    block = of(page, words)
    RAN.add(block.key)
    said = machine.run(block.text, answers=answers)
    assert not missing(block.shown, said), said
    return said


async def token_of(machine: Machine) -> str:
    """Alice's, who logs in as a client does."""
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "wonderland",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://localhost:{machine.homeserver_port}/_matrix/client/v3/login", json=login
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["access_token"])


async def first_chat(machine: Machine, prosody: Prosody) -> None:
    """Step 6 of install.md, with Juliet on an XMPP server on this machine."""
    bot = "@dmbot:home.localhost"
    romeo = await prosody.add_user("docs-romeo", "secret")
    juliet = await prosody.add_user("docs-juliet", "secret")
    url = f"http://localhost:{machine.homeserver_port}"
    async with (
        MatrixUser(url, "@alice:home.localhost", await token_of(machine)) as alice,
        XmppUser(juliet, "secret", prosody.host, prosody.port, tls=prosody.tls) as contact,
    ):
        room = await alice.create_room(invite=[bot], is_direct=True)

        def joined(seen: Seen) -> bool:
            return (seen.room_id, seen.sender, seen.content.get("membership")) == (
                room,
                bot,
                "join",
            )

        def says(words: str, seen: Seen) -> bool:
            return seen.sender == bot and words in (seen.body or "\0")

        await alice.wait_for(joined)
        for line, words in (
            ("login xmpp", ""),
            (romeo, ""),
            ("secret", "You are logged in to XMPP as"),
        ):
            mark = alice.mark()
            await alice.send_text(room, line)
            await alice.wait_for(partial(says, words), after=mark)
        contact.send(romeo, "good morrow")
        shown = await alice.wait_for_text("good morrow")
        assert [shown.room_id] in (await alice.m_direct() or {}).values()
        await alice.send_text(shown.room_id or "", "is the day so young?")
        await contact.wait_for_text("is the day so young?")


async def test_install(machine: Machine, prosody: Prosody) -> None:
    page = "install.md"
    machine.page(machine.root)
    run(machine, page, "git clone")
    machine.run("export PIP_NO_DEPS=1")  # setuptools-rust is not here, and only building needs it
    run(machine, page, "--generate-config")
    machine.run("unset PIP_NO_DEPS")
    homeserver = machine.checkout / "synapse/homeserver.yaml"
    homeserver.write_text(
        homeserver.read_text().replace("port: 8008", f"port: {machine.homeserver_port}")
    )
    listen = f"127.0.0.1:{machine.bridge_port}"
    run(machine, page, "dm-bridge init", answers=f"\n\n\n{listen}\n")
    path = machine.checkout / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["networks"]["xmpp"]["servers"] = {
        prosody.domain: {"host": prosody.host, "port": prosody.port, "tls": prosody.tls}
    }
    path.write_text(yaml.safe_dump(config))
    run(machine, page, "--synapse")
    run(machine, page, "synctl start")
    start = of(page, "dm-bridge run")
    RAN.add(start.key)
    log = machine.leave(start.text, machine.checkout)
    assert not missing(start.shown, machine.until(log, "the homeserver reaches the bridge"))
    run(machine, page, "dm-bridge doctor")
    await first_chat(machine, prosody)
    machine.stop_left()


async def test_admin(machine: Machine) -> None:
    page, home = "admin.md", machine.root / "var-lib"
    generated = (machine.checkout / "synapse/homeserver.yaml").read_text()
    (machine.root / "matrix-synapse/homeserver.yaml").write_text(
        generated.split("app_service_config_files")[0].replace("home.localhost", "example.org")
    )
    machine.page(machine.checkout)
    run(machine, page, "dm-bridge() {")
    run(machine, page, "dm-bridge init --homeserver http://localhost:8008")
    assert load_config(home / "config.yaml", {}).homeserver.domain == "example.org"
    run(machine, page, "--synapse /etc/matrix-synapse")
    lists = yaml.safe_load((machine.root / "matrix-synapse/homeserver.yaml").read_text())
    for name in ("registration.yaml", "registration-accounts.yaml"):
        assert str(machine.root / "matrix-synapse" / name) in lists["app_service_config_files"]
    run(machine, page, "-m 600 registration.yaml")
    assert (machine.root / "matrix-synapse/dm_bridge-accounts.yaml").stat().st_mode & 0o777 == 0o600

    # The bridge of install.md becomes a service.
    shutil.copy(machine.checkout / "config.yaml", home)
    machine.run("cp -a /opt/dm_bridge/src/data /var/lib/dm_bridge && cd /opt/dm_bridge/src")
    assert "the homeserver reaches the bridge" in run(machine, page, "systemctl enable")
    assert re.search(r"\b1\b", run(machine, page, "psql dm_bridge"))
    decided = run(machine, page, "direct replay")
    assert '"action"' in decided
    run(machine, page, "/var/backups/dm_bridge-data")
    assert (machine.root / "backups/dm_bridge-data/sealing.key").exists()
    ready(machine)
    run(machine, page, "umask 077")
    assert (machine.root / "backups/dm_bridge.dump").read_bytes()[:5] == b"PGDMP"
    run(machine, page, "pg_restore")
    ready(machine)
    before = machine.run("dm-bridge direct show alice --json")
    assert "docs-juliet" in before
    run(machine, page, "git pull")
    ready(machine)


def ready(machine: Machine) -> None:
    """Until the service says that it is."""
    ask = f"curl -sf http://127.0.0.1:{machine.bridge_port}/health/ready"
    machine.run(f"for _ in $(seq 600); do {ask} && break; sleep 0.05; done; {ask}")


async def test_provisioning(machine: Machine) -> None:
    machine.page(machine.checkout, TOKEN=await token_of(machine))
    assert "docs-romeo" in run(machine, "provisioning.md", "curl")


def test_connector_guide(machine: Machine) -> None:
    shutil.copytree(machine.checkout / "examples/mqtt", machine.checkout / "mqtt")
    (machine.checkout / ".venv").symlink_to("venv")
    machine.page(machine.checkout)
    assert "mqtt" in run(machine, "connector-guide.md", "--no-deps ./mqtt")


def test_a_user_is_erased(machine: Machine) -> None:
    machine.page(machine.checkout)
    machine.run(of("admin.md", "dm-bridge() {").text)
    run(machine, "admin.md", "dm-bridge user erase", answers="y\ny\n")
    assert "docs-romeo" in (machine.root / "var-lib/alice.json").read_text()
    assert "docs-romeo" not in machine.run("dm-bridge user export @alice:example.org")


def test_the_end_of_install(machine: Machine) -> None:
    machine.run("systemctl stop dm_bridge")
    run(machine, "install.md", "synctl stop")
    assert not (machine.checkout / "synapse/homeserver.pid").exists()


@pytest.mark.parametrize("words", ["HOMESERVER__URL", "HS_TOKEN_FILE"])
def test_variables_of_configuration(words: str, tmp_path: Path) -> None:
    block = of("configuration.md", words)
    RAN.add(block.key)
    token = tmp_path / "hs_token"
    token.write_text("a-token-of-more-than-16-characters")
    command = block.text.replace("/run/secrets/hs_token", str(token))
    said = subprocess.run(
        ["bash", "-ac", f"{command}\nenv -0"], env={}, capture_output=True, check=True, text=True
    ).stdout
    variables = dict(line.split("=", 1) for line in said.split("\0") if "=" in line)
    ours = {key: value for key, value in variables.items() if key.startswith("DM_BRIDGE__")}
    assert len(ours) == len(command.splitlines())
    config = (ROOT / "config.example.yaml").read_text()
    (tmp_path / "config.yaml").write_text(re.sub(r"^  hs_token:.*\n", "", config, flags=re.M))
    if "HS_TOKEN_FILE" not in words:
        (tmp_path / "config.yaml").write_text(config)
    load_config(tmp_path / "config.yaml", ours)


def test_no_block_is_forgotten() -> None:
    """The last of this file: it needs the others to have been run."""
    known = RAN | set(NOT_RUN)
    assert [block.key for page in PAGE.values() for block in page if block.key not in known] == []
    assert RAN.isdisjoint(NOT_RUN)
