"""Files that are no configuration, and where keys are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dm_bridge.config import InvalidConfigError
from dm_bridge.config.document import read_document


def problem(path: Path) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        read_document(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty. Write one with `dm-bridge init`."),
        (b"# only a comment\n", "the file is empty. Write one with `dm-bridge init`."),
        (
            b"\n- a\n- b\n",
            ":2: expected sections such as `homeserver:` with keys below them; found a list.",
        ),
        (
            b"just text",
            ":1: expected sections such as `homeserver:` with keys below them; found a single value.",
        ),
        (b"a: \xff\n", "the file is not UTF-8 text. Save it with that encoding."),
        (b"a: \x01\n", "contains a character that YAML forbids"),
        (b"a: 1\n b: 2\n", ":2: not valid YAML at column 3: mapping values are not allowed here."),
        (b"a: [1, 2\n", ":2: not valid YAML at column 1: "),
        (b"a:\n\tb: 1\n", "indent with spaces"),
        (b"p:\n  *: user\n", 'Put quotes around a key that begins with *, as in "*…".'),
        (b"p:\n  @a:b: user\n", 'Put quotes around a key that begins with @, as in "@…".'),
        (b"a: 1\n---\nb: 2\n", ":2: not valid YAML"),
        (b"a: *unknown\n", "undefined alias"),
        (b"a: &a [*a]\n", "an alias here repeats itself without end."),
    ],
)
def test_what_is_no_configuration_is_told_with_its_place(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    message = problem(path)
    assert message.startswith(str(path))
    assert expected in message


def test_aliases_cannot_blow_up(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path.write_text("\n".join(lines))
    assert "repeats itself without end" in problem(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: " + "[" * 3000 + "]" * 3000)
    assert "nested too deeply" in problem(path)


def test_files_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is no such file. Write one with `dm-bridge init`" in problem(tmp_path / "none")
    assert "this is a directory" in problem(tmp_path)

    def refused(*_args: object, **_kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "config.yaml"
    path.write_text("a: 1")
    monkeypatch.setattr(Path, "read_text", refused)
    assert problem(path) == (
        f"{path}: the file cannot be read (Permission denied). Check its owner and mode."
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "direct:\n  auto_join: true\n  auto_join: false\n",
            "config.yaml:10: direct.auto_join: this key is given twice, first in line 9. Keep one of them.",
        ),
        (
            "direct: {}\ndirect: {}\n",
            "config.yaml:9: direct: this key is given twice, first in line 8. Keep one of them.",
        ),
        (
            "? [a, b]\n: 1\n",
            "config.yaml:8: expected a key, which is text; found a list or a map.",
        ),
        (
            "  bot: !!python/name:os.system\n",
            "config.yaml:8: appservice.bot: the tag tag:yaml.org,2002:python/name:os.system has no meaning "
            "here. Remove it.",
        ),
        (
            "  id: !!int twelve\n",
            "config.yaml:8: appservice.id: the value does not fit its tag tag:yaml.org,2002:int.",
        ),
    ],
)
def test_nothing_in_a_file_is_lost_silently(complaints: Any, more: str, expected: str) -> None:
    assert complaints(more)[0] == expected


def test_values_are_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "date: 2024-01-01\ntime: 10:30\nnumber: 10\ntext: '10'\nyes: no\nnone: none\n"
        "nothing: ~\n5222: port\nlist: [a, {b: 1.5}]\n"
    )
    document = read_document(path)
    assert document.values == {
        "date": "2024-01-01",
        "time": "10:30",
        "number": 10,
        "text": "10",
        "yes": False,
        "none": "none",
        "nothing": None,
        "5222": "port",
        "list": ["a", {"b": 1.5}],
    }
    assert document.origin(("list", 1, "b")).line == 9
    assert document.origin(("number", "below")).line == 3
    assert str(document.origin(("elsewhere",))) == str(path)


def test_an_alias_gives_the_same_value_again(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &x {b: 1}\nc: *x\n")
    values = read_document(path).values
    assert values["a"] == values["c"] == {"b": 1}
    assert values["a"] is not values["c"]
