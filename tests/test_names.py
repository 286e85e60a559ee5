"""The house rules that no linter knows: sizes, names, broad excepts, and what no file may say."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
NAMES_THAT_SAY_NOTHING = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common)(_|$)")
# "path::function": where a process ends and any failure must become a message, or where a library panics.
BROAD_EXCEPTS = {
    "engine/execution/worker.py::pickled_answer",  # a process boundary: the parent raises the error
    "engine/execution/worker.py::pickled_error",  # an error that cannot travel is told by its text
    "engine/plugins.py::blamed",  # code of other packages: what it raises becomes a message that names the package
    "engine/services/decoding.py::_serve",  # a thread that all pushes wait for: they are told, and it goes on
    "engine/services/ingester.py::_commit",  # likewise
    "engine/services/http/plain.py::answer",  # a process boundary: a bug is logged and answered without its text
    "engine/services/http/rpc.py::intercept_unary",  # likewise
    # Threads that every push, flush or merge waits for: what nobody foresaw is logged, answered and survived.
    "engine/services/compactor.py::run_once",
    "engine/services/compactor.py::_look",
    "engine/services/job_child.py::_done",  # a process boundary: the server logs it
    "engine/services/deleter.py::_work",
    "engine/services/decoding.py::_alone",
    "engine/services/decoding.py::_outcomes",
    "engine/services/ingester.py::_flush_all",
    "engine/formats/pprof.py::work",  # a panic of the Rust decoder derives from BaseException alone
}
# Written so that this file does not name them itself.
REGISTRIES = re.compile(
    "|".join(
        rf"{host}\b"
        for host in (r"pypi\.or" "g", r"pythonhosted\.or" "g", r"registry\.npmj" "s", r"proxy\.golan" "g")
    )
)
LOCK_FILES = {"uv.lock", "poetry.lock", "Pipfile.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml"}
GENERATED = "_pb2.py"


def kept() -> list[Path]:
    """The files of the tree that are not output, links left out; a clone without git has them too."""
    ignored = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line and line[0] != "#"]
    output = {pattern.strip("/") for pattern in ignored} | {".git", ".typing"}
    paths = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in output)]
        paths += [Path(folder, name) for name in names]
    return sorted(paths)


def sources() -> list[Path]:
    """The Python files that people write."""
    return [path for path in kept() if path.suffix == ".py" and not path.name.endswith(GENERATED)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_click_callback(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Click fills a command's parameters by name, one an option."""
    return any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


def parameter_count(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller gives: `self` and `cls` do not count."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in given)


def test_files_are_short() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in sources()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}::{function.name}": function.end_lineno - function.lineno + 1
        for path in sources()
        for function in functions(path)
        if function.end_lineno is not None
    }
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def test_functions_take_few_parameters() -> None:
    counts = {
        f"{name_of(path)}::{function.name}": parameter_count(function)
        for path in sources()
        for function in functions(path)
        if not is_click_callback(function)
    }
    assert {name: count for name, count in counts.items() if count > MAX_PARAMETERS} == {}


def test_file_names_say_something() -> None:
    assert [name_of(path) for path in sources() if NAMES_THAT_SAY_NOTHING.search(path.stem)] == []


def broad_excepts(path: Path) -> set[str]:
    """The functions that catch everything, with `except` or with `suppress`."""
    innermost = {}
    for function in functions(path):  # outer ones come before those inside them
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                caught = ast.unparse(node)
            else:
                continue
            if re.search(r"\b(Base)?Exception\b", caught):
                innermost[node.lineno] = f"{name_of(path)}::{function.name}"
    return set(innermost.values())


def test_broad_excepts_are_listed() -> None:
    assert set().union(*map(broad_excepts, sources())) - BROAD_EXCEPTS == set()


def test_no_registry_and_no_lock_file() -> None:
    """Any index will do for an install; a lock file would name the one that was used."""
    naming = [
        name_of(path) for path in kept() if REGISTRIES.search(path.read_bytes().decode(errors="replace"))
    ]
    assert naming + [name_of(path) for path in kept() if path.name in LOCK_FILES] == []


def test_modules_begin_with_a_docstring() -> None:
    texts = {name_of(path): path.read_text() for path in sources()}
    docstrings = {name: ast.get_docstring(ast.parse(text)) for name, text in texts.items() if text}
    assert [name for name, docstring in docstrings.items() if len(docstring or "") < 8] == []
