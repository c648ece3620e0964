"""The same trace gives the same answers, to the order of keys, in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

X, Y, Z, U = ({f"@{name}:example.org": [f"!{name}"]} for name in "xyzu")
OPERATIONS = [
    {"op": "manage", "room": "!managed", "ghost": "@_dm_g:example.org"},
    *({"op": "observe", "content": content, "at": 0} for content in (X, X | Y | Z | U, X)),
    {"op": "observe", "content": {}, "at": 1},
]


def test_answers_do_not_depend_on_how_strings_are_hashed() -> None:
    trace = "".join(json.dumps(operation) + "\n" for operation in OPERATIONS)
    answers = {
        subprocess.run(
            [sys.executable, "-m", "dm_bridge", "direct", "replay"],
            input=trace,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in range(4)
    }
    assert len(answers) == 1
    assert next(iter(answers)).count("\n") == 4
