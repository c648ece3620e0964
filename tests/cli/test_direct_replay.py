"""``dm-bridge direct replay`` plays move by move, and names the line that makes no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MANAGE = {"op": "manage", "room": "!room", "ghost": "@ghost:example.org"}
OBSERVE = {"op": "observe", "content": {}, "at": 10}


def lines(*operations: object) -> str:
    return "".join(json.dumps(operation) + "\n" for operation in operations)


def answers(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def observed(command: Any, content: str) -> dict[str, Any]:
    """The one answer to ``content``, given as JSON text."""
    text = lines(MANAGE) + f'{{"op":"observe","content":{content},"at":1}}\n'
    result = command("direct", "replay", text=text)
    assert result.exit_code == 0, result.output
    (answer,) = answers(result.stdout)
    return answer


@pytest.mark.parametrize("arguments", [(), ("-",), ("trace.jsonl",)])
def test_a_trace_is_played_from_a_file_or_from_standard_input(
    command: Any, arguments: tuple[str, ...]
) -> None:
    trace = lines(MANAGE, OBSERVE)
    Path("trace.jsonl").write_text(trace, encoding="utf-8")
    result = command("direct", "replay", *arguments, text=trace)
    assert (result.exit_code, result.stderr) == (0, "")
    (answer,) = answers(result.stdout)
    assert answer["action"] == "put"
    assert answer["content"] == {"@ghost:example.org": ["!room"]}
    assert answer["opted_out"] == []
    assert [reason["kind"] for reason in answer["reasons"]] == ["adopted", "marked"]
    assert all(reason["sentence"].endswith(".") for reason in answer["reasons"])


def test_only_observations_are_answered_and_an_empty_trace_has_no_answer(command: Any) -> None:
    assert command("direct", "replay", text=lines(MANAGE)).stdout == ""
    assert command("direct", "replay", text="").exit_code == 0


def test_content_is_answered_only_with_a_put(command: Any) -> None:
    marked = {**OBSERVE, "content": {"@ghost:example.org": ["!room"]}}
    result = command("direct", "replay", text=lines(MANAGE, OBSERVE, marked))
    put, keep = answers(result.stdout)
    assert (put["action"], keep["action"]) == ("put", "keep")
    assert "content" not in keep


def test_empty_lines_and_remarks_are_skipped_and_the_last_line_needs_no_end(command: Any) -> None:
    text = "\ufeff# a trace\n\n" + lines(MANAGE) + "   \n  # more\n" + lines(OBSERVE).rstrip("\n")
    assert len(answers(command("direct", "replay", text=text).stdout)) == 1


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_each_answer_comes_before_the_next_line_is_sent(arguments: tuple[str, ...]) -> None:
    """A program that waits for every answer is never left waiting."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dm_bridge", "direct", "replay", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        content: dict[str, Any] = {}
        for number in range(5):
            chat = {"op": "manage", "room": f"!room{number}", "ghost": "@ghost:example.org"}
            process.stdin.write(lines(chat, {**OBSERVE, "content": content}))
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer["action"] == "put"
            content = answer["content"]
        assert len(content["@ghost:example.org"]) == 5
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "not a JSON object"),
        ('{"op": "observe", "content": {}', "not a JSON object"),
        ("[]", "JSON object"),
        ("5", "JSON object"),
        ('{"op": "dance"}', "no such operation: 'dance'"),
        ('{"op": ["observe"]}', "no such operation"),
        ("{}", "no such operation"),
        ('{"op": "manage", "room": "!room"}', '"ghost"'),
        ('{"op": "manage", "room": "room", "ghost": "@g:x"}', "not a room id"),
        ('{"op": "manage", "room": "!room", "ghost": 5}', '"ghost", a string'),
        ('{"op": "observe"}', '"content"'),
        ('{"op": "observe", "content": {}, "at": "now"}', '"at"'),
        ('{"op": "observe", "content": {}, "at": NaN}', '"at"'),
        ('{"op": "observe", "content": {}, "at": true}', '"at"'),
        ('{"op": "retire", "op": "observe", "content": {}}', "appears twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_the_first_line_that_makes_no_sense_ends_it_with_its_number(
    command: Any, line: str, complaint: str
) -> None:
    text = "# remark\n" + lines(MANAGE, OBSERVE) + line + "\n" + lines(OBSERVE)
    result = command("direct", "replay", text=text)
    assert result.exit_code == 1
    assert len(answers(result.stdout)) == 1
    assert result.stderr.startswith("dm-bridge: Line 4: ")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_a_line_that_is_no_text_is_named(command: Any) -> None:
    Path("trace").write_bytes(lines(MANAGE).encode() + b'{"op": "\xff"}\n')
    result = command("direct", "replay", "trace")
    assert result.exit_code == 1
    assert "Line 2: this is not UTF-8" in result.stderr


def test_a_file_that_is_not_there_is_wrong_usage(command: Any) -> None:
    result = command("direct", "replay", "absent.jsonl")
    assert result.exit_code == 2
    assert "absent.jsonl" in result.stderr


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('{"@a:x": ["!r"], "@a:x": ["!s"]}', "duplicate_key"),
        ('{"junk": [{"y": 1, "y": 1}]}', "duplicate_key"),
        ('{"junk": NaN}', "number_out_of_range"),
        ('{"junk": [-Infinity]}', "number_out_of_range"),
        ('{"junk": 1e999}', "number_out_of_range"),
        ('{"junk": ' + "9" * 5000 + "}", "number_out_of_range"),
        ('{"junk": ' + "[" * 150 + "]" * 150 + "}", "too_deep"),
        ("[]", "not_an_object"),
        ("5", "not_an_object"),
        ("true", "not_an_object"),
    ],
)
def test_content_that_could_not_be_written_back_is_refused(
    command: Any, content: str, kind: str
) -> None:
    answer = observed(command, content)
    assert answer["action"] == "refuse"
    assert [reason["kind"] for reason in answer["reasons"]] == [kind]
    assert "content" not in answer


def test_content_that_is_null_is_a_document_that_was_never_set(command: Any) -> None:
    assert observed(command, "null")["content"] == {"@ghost:example.org": ["!room"]}


@pytest.mark.parametrize(
    "junk", ['"\\ud800"', "1" + "0" * 400, "-0.1", "1.0", "true", "[[], {}]", '"\\u0000"']
)
def test_what_is_not_ours_comes_out_as_it_went_in(command: Any, junk: str) -> None:
    answer = observed(command, f'{{"junk": {junk}, "\\udfff": []}}')
    assert answer["action"] == "put"
    assert json.dumps(answer["content"]["junk"]) == json.dumps(json.loads(junk))
    assert "\udfff" in answer["content"]


def test_the_same_trace_gives_the_same_answers(command: Any) -> None:
    trace = lines(
        MANAGE,
        {"op": "manage", "room": "!two", "ghost": "@two:example.org"},
        {"op": "opt_out", "room": "!two"},
        OBSERVE,
        {"op": "observe", "content": {"@friend:x": ["!f"]}, "at": 20},
        {"op": "rename", "ghost": "@ghost:example.org", "to": "@new:example.org"},
        {"op": "replace", "room": "!room", "to": "!upgraded"},
        {"op": "observe", "content": None, "at": 30},
        {"op": "opt_in", "room": "!two"},
        {"op": "retire", "room": "!upgraded"},
        {"op": "observe", "content": {"@new:example.org": ["!upgraded"]}, "at": 40},
    )
    first = command("direct", "replay", text=trace)
    assert first.exit_code == 0, first.stderr
    assert command("direct", "replay", text=trace).stdout == first.stdout
    assert answers(first.stdout)[0]["opted_out"] == ["!two"]
    assert answers(first.stdout)[-1]["content"] == {"@two:example.org": ["!two"]}
