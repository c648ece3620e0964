"""The engine alone: what other projects get when they import it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dm_bridge import direct

ROOT = Path(__file__).resolve().parents[2]


def test_it_needs_python_and_nothing_else() -> None:
    """Imported where no package is installed, it loads its own three parts and the standard library."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "import dm_bridge.direct; print(*sorted(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = ran.stdout.split()
    ours = {name.split(".")[1] for name in loaded if name.startswith("dm_bridge.")}
    assert ours <= {"direct", "errors", "ids"}
    assert {name.split(".")[0] for name in loaded} - sys.stdlib_module_names <= {
        "dm_bridge",
        "__main__",
    }
    assert "asyncio" not in loaded


def test_its_surface_is_what_it_names_and_each_name_is_explained() -> None:
    page = (ROOT / "docs/library.md").read_text()
    for name in direct.__all__:
        assert hasattr(direct, name)
        thing = getattr(direct, name)
        if isinstance(thing, type) or callable(thing):
            assert thing.__doc__, name
        assert re.search(rf"`{name}`", page), f"{name} is not in docs/library.md"
    public = {
        name
        for name, thing in vars(direct).items()
        if not name.startswith("_") and not isinstance(thing, type(sys))
    }
    assert public == set(direct.__all__)
