"""House rules that no linter checks: sizes, asserts that cannot fail, a test file per module."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("untraced")

ROOT: Final = Path(__file__).parents[1]
MAX_FILE_LINES: Final = 300
MAX_FUNCTION_LINES: Final = 40  # without the docstring
VAGUE_NAMES: Final = {"utils", "util", "common", "helpers", "helper", "misc"}

# Modules whose tests stand elsewhere, because they mean something only together.
TESTED_IN: Final[dict[str, str]] = {
    "dstmrouter/daemon/client_asking.py": "tests/daemon/test_client_daemon.py",
    "dstmrouter/daemon/client_carrying.py": "tests/daemon/test_client_tunnel.py",
    "dstmrouter/daemon/client_upkeep.py": "tests/daemon/test_client_daemon.py",
    "dstmrouter/daemon/server_clients.py": "tests/daemon/test_server_rpc.py",
    "dstmrouter/daemon/compiled/turn.py": "tests/daemon/compiled/test_ringturn.py",
    "dstmrouter/io/port.py": "tests/io/test_memport.py",
    "dstmrouter/pipeline/surroundings.py": "tests/pipeline/test_icmp_steps.py",
    "lab/demo_acts.py": "tests/lab/test_demo.py",
    "lab/demo_daemons.py": "tests/lab/test_demo.py",
    "lab/demo_leases.py": "tests/lab/test_demo.py",
    "lab/demo_scene.py": "tests/lab/test_demo.py",
    "lab/demo_traffic.py": "tests/lab/test_demo.py",
    "lab/faults/guests.py": "tests/netns/test_faults.py",
    "lab/faults/machines.py": "tests/netns/test_faults.py",
    "lab/faults/run.py": "tests/netns/test_faults.py",
    "lab/faults/traffic.py": "tests/netns/test_faults.py",
    "lab/faults/watch.py": "tests/netns/test_faults.py",
    "lab/ringport.py": "tests/io/test_xskrings.py",
    "lab/demo_checks.py": "tests/lab/test_demo_stage.py",
}


def sources(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def vacuous_asserts(source: str) -> list[int]:
    """Lines of `assert a, b == c`: the comparison is only the failure message."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert)
        and (
            isinstance(node.msg, ast.Compare | ast.BoolOp | ast.Tuple)
            or isinstance(node.test, ast.Tuple | ast.Constant)
        )
    ]


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            lines -= len((ast.get_docstring(node, clean=False) or "").splitlines())
            if lines > MAX_FUNCTION_LINES:
                yield f"{node.name} at line {node.lineno}: {lines} lines"


ALL = sources("dstmrouter", "lab", "perf", "tests")


def test_there_is_something_to_check() -> None:
    assert ROOT / "dstmrouter" / "errors.py" in ALL
    assert Path(__file__) in ALL


@pytest.mark.parametrize("path", ALL, ids=name)
def test_house_rules(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert list(long_functions(source)) == []
    assert vacuous_asserts(source) == []
    assert path.stem not in VAGUE_NAMES


def mirror(path: Path) -> Path:
    """dstmrouter/wire/ipv6.py -> tests/wire/test_ipv6.py, lab/uml.py -> tests/lab/test_uml.py."""
    inside = path.relative_to(ROOT / "dstmrouter" if "dstmrouter" in path.parts else ROOT)
    return ROOT / "tests" / inside.with_name(f"test_{path.stem}.py")


def modules() -> list[Path]:
    found = sources("dstmrouter", "lab")
    return [path for path in found if not path.stem.startswith("__")]


@pytest.mark.parametrize("path", modules(), ids=name)
def test_every_module_has_its_test_file(path: Path) -> None:
    own = mirror(path)
    elsewhere = TESTED_IN.get(name(path))
    if elsewhere is None:
        assert own.is_file(), f"write {name(own)}"
    else:
        assert (ROOT / elsewhere).is_file()
        assert not own.exists(), "no longer an exception"


def test_exceptions_are_modules() -> None:
    assert set(TESTED_IN) <= {name(path) for path in modules()}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("assert a, b == c", [1]),
        ("\nassert (a, b)", [2]),
        ("assert 'text'", [1]),
        ("assert a == b, f'{a}'", []),
        ("assert a\nassert b, 'why'", []),
    ],
)
def test_vacuous_asserts_are_found(source: str, lines: list[int]) -> None:
    assert vacuous_asserts(source) == lines


def test_long_functions_are_found() -> None:
    body = "".join(f"    x{i} = {i}\n" for i in range(MAX_FUNCTION_LINES))
    docstring = '    """One.\n\n    Two.\n    """\n'
    assert list(long_functions(f"def f():\n{body}")) == ["f at line 1: 41 lines"]
    fits = body.removesuffix("\n").rpartition("\n")[0]
    assert list(long_functions(f"def f():\n{docstring}{fits}\n")) == []
