"""What a Synapse's configuration tells, and our registrations in it: with a file that Synapse itself made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dm_bridge.cli import local_synapse
from dm_bridge.cli.main import cli
from dm_bridge.errors import AdminError


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A configuration as a new Synapse has it."""
    path = tmp_path_factory.mktemp("synapse") / "homeserver.yaml"
    subprocess.run(
        [sys.executable, "-m", "synapse.app.homeserver", "--generate-config", "-H", "example.org",
         "-c", str(path), "--report-stats=no"],
        check=True, capture_output=True, cwd=path.parent, timeout=100,
    )  # fmt: skip
    return path.read_text()


@pytest.fixture
def place(tmp_path: Path, generated: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It lies where it is looked for."""
    path = tmp_path / "etc/homeserver.yaml"
    path.parent.mkdir()
    path.write_text(generated)
    monkeypatch.setattr(local_synapse, "PLACES", (path,))
    monkeypatch.setattr(local_synapse.find, "__defaults__", ((path,),))
    monkeypatch.chdir(tmp_path)
    return path


def run(*arguments: str, text: str = "") -> str:
    result = CliRunner().invoke(cli, arguments, text)
    assert result.exit_code == 0, result.output
    return result.output


def test_init_proposes_what_it_says(place: Path, tmp_path: Path) -> None:
    said = run("init", text="\n\n\n\n")
    assert f"There is a Synapse here ({place})" in said
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["homeserver"] == {"url": "http://localhost:8008", "domain": "example.org"}


def test_parts_of_it_win(place: Path) -> None:
    (place.parent / "conf.d").mkdir()
    (place.parent / "conf.d/server_name.yaml").write_text("server_name: other.example\n")
    listener = {"port": 8888, "type": "http", "resources": [{"names": ["client"]}]}
    (place.parent / "conf.d/a.yaml").write_text(
        yaml.safe_dump({"listeners": [{**listener, "tls": True}, {**listener, "port": 8009}]})
    )
    found = local_synapse.find((place,))
    assert found is not None
    assert (found.domain, found.url) == ("other.example", "http://localhost:8009")
    assert local_synapse.find((place.with_name("missing.yaml"),)) is None


def test_the_files_are_listed_once_and_the_rest_stays_as_it_was(
    place: Path, generated: str
) -> None:
    run("init", "--homeserver", "http://localhost:8008", "--domain", "example.org", "--yes")
    said = run("registration", "-o", "etc", "--synapse", str(place))
    assert "Restart Synapse" in said
    whole = place.read_text()
    assert whole.startswith(generated)
    files = [
        str(place.with_name(name)) for name in ("registration.yaml", "registration-accounts.yaml")
    ]
    assert yaml.safe_load(whole) == {**yaml.safe_load(generated), local_synapse.KEY: files}
    assert place.with_name("homeserver.yaml.before-dm_bridge").read_text() == generated
    assert "lists them already" in run("registration", "-o", "etc", "--synapse", str(place))
    assert place.read_text() == whole


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1", "a: 1\n\nK:\n  - /x\n"),
        ("K:\n- /y  # ours\n# end\nb: 2\n", "K:\n- /y  # ours\n- /x\n# end\nb: 2\n"),
        ("K:\n    - /y\n\n\n    - /z\nb: [1]\n", "K:\n    - /y\n\n\n    - /z\n    - /x\nb: [1]\n"),
        ("b: 1\nK: []\n", "b: 1\nK:\n  - /x\n"),
        ("K: [/y, '/z']  # two\nb: 1\n", "K:\n  - /y\n  - /z\n  - /x\nb: 1\n"),
        ("K:\n# nothing yet\nb: 1\n", "K:\n  - /x\n# nothing yet\nb: 1\n"),
    ],
)
def test_any_way_to_write_a_list_is_kept(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(before.replace("K", local_synapse.KEY))
    path.chmod(0o640)
    assert local_synapse.enlist(local_synapse.read(path), [Path("/x")]) == path
    assert path.read_text() == after.replace("K", local_synapse.KEY)
    assert path.stat().st_mode & 0o777 == 0o640
    assert local_synapse.enlist(local_synapse.read(path), [Path("/x")]) is None


@pytest.mark.parametrize(
    "text", ["K: [/y,\n  /z]\n", '"K": [/y]\n', "{K: [/y]}\n", "K: &a [/y]\nb: *a\n", "K: /y\n"]
)
def test_what_is_written_in_another_way_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(text.replace("K", local_synapse.KEY))
    with pytest.raises(AdminError, match=local_synapse.KEY):
        local_synapse.enlist(local_synapse.read(path), [Path("/x")])
    assert path.read_text() == text.replace("K", local_synapse.KEY)
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_that_fails_half_way_is_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_bytes(b"a: 1\r\nb: 2\r\n")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(AdminError, match="No space left on device"):
            local_synapse.enlist(local_synapse.read(path), [Path("/x")])
    assert list(tmp_path.iterdir()) == [path]
    assert local_synapse.enlist(local_synapse.read(path), [Path("/x")]) == path
    assert path.read_bytes().startswith(b"a: 1\r\nb: 2\r\n")
    kept = path.with_name("homeserver.yaml.before-dm_bridge")
    assert kept.read_bytes() == b"a: 1\r\nb: 2\r\n"


def test_the_configuration_of_another_server_is_not_touched(place: Path) -> None:
    run("init", "--homeserver", "http://localhost:8008", "--domain", "other.example", "--yes")
    before = place.read_text()
    result = CliRunner().invoke(cli, ["registration", "--synapse", str(place)])
    assert result.exit_code == 1
    assert "is the configuration of example.org" in result.stderr
    assert place.read_text() == before
