"""A machine on which the commands of the pages are run: a directory in which their paths lie, and a shell.

What a page would do to this very machine is done in the directory instead: `Machine.here` says which path stands
for which. ``systemctl`` is played by a script that runs what the unit says; everything runs as whoever runs the
tests. Python packages that are installed here are not fetched again: ``python3 -m venv`` also puts those of
requirements/run.txt into the new environment, and no others, so that pip finds them there and would notice one
that is missing.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dm_bridge.testing.processes import free_port
from tests.docs.pages import ROOT

_SECONDS = 60.0
_BUILD = ("hatchling", "pathspec", "pluggy", "packaging", "trove-classifiers", "editables")
_ACCOUNT = "embedded_postgres"
"""As whom the embedded PostgreSQL runs where root runs the bridge, as root does here if it runs the tests."""

_PYTHON = """\
#!/bin/sh
# python3, which fills new environments with what is installed here
"{python}" "$@" || exit
[ "$1 $2" = "-m venv" ] || exit 0
case $3 in synapse) from="{everything}" ;; *) from="{locked}" ;; esac
cp -Pr "$from/." "$3"/lib/python3*/site-packages/
[ ! -d "$from.bin" ] || for file in "$from.bin"/*; do
    sed "1s|.*|#!$(cd "$3" && pwd)/bin/python|" "$file" >"$3/bin/$(basename "$file")"
    chmod 755 "$3/bin/$(basename "$file")"
done
"""
_SUDO = """\
#!/bin/sh
# sudo -u USER COMMAND: as whoever this is, but that PostgreSQL is never root's
shift 2
case $1 in */pg_ctl) exec {become} "$@" ;; esac
exec "$@"
"""
_SYSTEMCTL = """\
#!/bin/bash
# systemctl [enable --now|start|stop|daemon-reload] dm_bridge, by what the unit says
set -eu
unit={units}/dm_bridge.service
of() {{ sed -n "s/^$1=//p" $unit | sed {here}; }}
begin() {{
    cd "$(of WorkingDirectory)"
    setsid $(of ExecStart) >>{root}/journal 2>&1 </dev/null &
    echo $! >{root}/pid
}}
case $1 in
    daemon-reload) test -f $unit ;;
    enable|start) begin ;;
    stop)
        kill -TERM "$(cat {root}/pid)"
        for _ in $(seq 600); do
            grep -qs '^State:.[^Z]' "/proc/$(cat {root}/pid)/status" || exit 0
            sleep 0.05
        done
        exit 1 ;;
    *) exit 64 ;;
esac
"""


_JOURNALCTL = """\
#!/bin/sh
# journalctl -u dm_bridge -f, which ends when the bridge says that all is well
for _ in $(seq 1200); do grep -q "homeserver reaches" {root}/journal && break; sleep 0.05; done
cat {root}/journal
"""


class Machine:
    """Made once; ended by `close`, which ends all that was started."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dm_bridge_docs_"))
        self.root.chmod(0o755)
        self.homeserver_port, self.bridge_port = free_port(), free_port()
        self.checkout = self.root / "dm_bridge"
        """Where install.md puts it."""
        for name in ("bin", "var-lib", "backups", "matrix-synapse", "units", "repository"):
            (self.root / name).mkdir()
        self._repository()
        self._programs()
        self.environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # as pip has it: there is none
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self._shell: Shell | None = None
        self._left: list[subprocess.Popen[bytes]] = []

    @property
    def become(self) -> str:
        """What makes a command one of the user of the embedded PostgreSQL."""
        if os.geteuid() != 0:
            return "env"
        return f"setpriv --reuid={_ACCOUNT} --clear-groups env"

    @property
    def replaced(self) -> tuple[tuple[str, str], ...]:
        """What stands in the pages, and what it is here."""
        return (
            ("<this repository>", str(self.root / "repository")),
            ("-o matrix-synapse", ""),
            ("/opt/dm_bridge/src", str(self.checkout)),
            ("/opt/dm_bridge", str(self.checkout)),
            ("/var/lib/dm_bridge", str(self.root / "var-lib")),
            ("/var/backups", str(self.root / "backups")),
            ("/etc/matrix-synapse", str(self.root / "matrix-synapse")),
            ("/etc/systemd/system", str(self.root / "units")),
            ("psql dm_bridge", f"psql -h {self.root}/var-lib/data/postgres -U postgres postgres"),
            ("https://bridge.example.org", f"http://127.0.0.1:{self.bridge_port}"),
            ("localhost:8008", f"localhost:{self.homeserver_port}"),
            ("127.0.0.1:29350", f"127.0.0.1:{self.bridge_port}"),
        )

    def here(self, text: str) -> str:
        """What a page says, for this machine."""
        for there, here in self.replaced:
            text = text.replace(there, here)
        return text

    def as_written(self, text: str) -> str:
        """The other way round, for what programs say."""
        for there, here in self.replaced:
            if here:
                text = text.replace(here, there)
        return text

    def run(self, text: str, *, answers: str = "") -> str:
        """What the commands say, as a page would have it. In one shell for a page: see `page`."""
        assert self._shell is not None, "no page has been opened"
        return self.as_written(self._shell.run(self.here(text), answers))

    def page(self, directory: Path, **variables: str) -> None:
        """A new shell in ``directory``, for the commands of another page."""
        if self._shell is not None:
            self._shell.close()
        self._shell = Shell(directory, {**self.environment, **variables}, self.root)

    def leave(self, text: str, directory: Path, **variables: str) -> Path:
        """Run what stays in the foreground until `close`; where its output goes."""
        log = self.root / f"left-{len(self._left)}"
        with log.open("wb") as output:
            self._left.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {self.here(text)}"],
                    cwd=directory,
                    env={**self.environment, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        return log

    def stop_left(self) -> None:
        """End what stayed in the foreground, as Ctrl-C would; each must end well."""
        while self._left:
            process = self._left.pop()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0

    def until(self, log: Path, words: str) -> str:
        """What is in a log once it has ``words``."""
        deadline = time.monotonic() + _SECONDS
        while words not in (said := log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline, said
            assert all(process.poll() is None for process in self._left), said
            time.sleep(0.05)
        return self.as_written(said)

    def close(self) -> None:
        for process in self._left:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._shell is not None:
            self._shell.close()
        for file in (self.root / "pid", *self.root.glob("*/synapse/homeserver.pid")):
            if file.exists():
                _end(int(file.read_text()))
        shutil.rmtree(self.root, ignore_errors=True)

    def _repository(self) -> None:
        """What would be pushed: a repository with the files of this working tree."""
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        target = self.root / "repository"
        for name in filter(None, listed):
            if (ROOT / name).exists():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target / name)
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
            subprocess.run([*git, *words], cwd=target, check=True)

    def _programs(self) -> None:
        locked, everything = self.root / "locked", self.root / "everything"
        locked.mkdir()
        for entry in _parts_of(_locked()):
            (locked / entry.name).symlink_to(entry)
        everything.mkdir()
        ours = {entry.name for entry in _parts_of(["dm-bridge"])}
        for entry in _site().iterdir():
            if entry.name not in ours and not entry.name.startswith(("pip", "setuptools", "__py")):
                (everything / entry.name).symlink_to(entry)
        (self.root / "everything.bin").mkdir()
        for name in ("synctl", "register_new_matrix_user"):
            shutil.copy(Path(sys.executable).parent / name, self.root / "everything.bin" / name)
        paths = [pair for pair in self.replaced if pair[0].startswith("/")]
        here = " ".join(f"-e 's|{there}|{here}|g'" for there, here in paths)
        places = {
            "python": Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}",
            "locked": locked, "everything": everything, "become": self.become,
            "units": self.root / "units", "root": self.root, "here": here,
        }  # fmt: skip
        programs = {
            "python3": _PYTHON, "sudo": _SUDO, "systemctl": _SYSTEMCTL, "journalctl": _JOURNALCTL,
        }  # fmt: skip
        for name, text in programs.items():
            program = self.root / "bin" / name
            program.write_text(text.format(**places))
            program.chmod(0o755)


class Shell:
    """One bash for a page: what a block sets and where it goes counts for the next. Any failure ends it."""

    def __init__(self, directory: Path, environment: dict[str, str], scratch: Path) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="shell-", dir=scratch))
        self._process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            cwd=directory, env=environment, stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._n = 0

    def run(self, text: str, answers: str) -> str:
        self._n += 1
        block, typed, said, done = (
            self._scratch / f"{self._n}.{kind}" for kind in ("sh", "in", "out", "done")
        )
        block.write_text(text)
        typed.write_text(answers)
        assert self._process.stdin is not None
        self._process.stdin.write(f". {block} <{typed} >{said} 2>&1; : >{done}\n".encode())
        self._process.stdin.flush()
        deadline = time.monotonic() + _SECONDS
        while not done.exists():
            output = said.read_text(errors="replace") if said.exists() else ""
            assert self._process.poll() is None, f"This failed:\n{text}\nIt said:\n{output}"
            assert time.monotonic() < deadline, f"This took too long:\n{text}\nIt said:\n{output}"
            time.sleep(0.02)
        return said.read_text(errors="replace")

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and "\nState:\tZ" not in _status(pid):
            time.sleep(0.05)
    except (ProcessLookupError, FileNotFoundError):
        return


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _site() -> Path:
    return Path(str(importlib.metadata.distribution("click").locate_file("")))


def _locked() -> list[str]:
    text = (ROOT / "requirements/run.txt").read_text()
    return [*re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE), *_BUILD]


def _parts_of(names: list[str]) -> Iterator[Path]:
    """The files and directories in site-packages that belong to these distributions."""
    site = _site()
    tops = {
        path.parts[0]
        for name in names
        for path in importlib.metadata.distribution(name).files or ()
        if path.parts[0] not in ("..", "__pycache__")
    }
    return (site / top for top in sorted(tops))
