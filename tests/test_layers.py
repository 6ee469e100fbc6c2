"""Imports point down one stack, each outside thing has one owner, no face lies."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gms_hookd"

ORDER = (
    {"safetext"},
    {
        "errors",
        "model",
        "contract",
        "units",
        "payload",
        "files",
        "futures",
        "pyz",
        "cron",
    },
    {"log", "runlog", "threads", "auth"},
    {"git", "http", "notify"},
    {"forges"},
    {"store", "sync", "config"},
    {"workers", "gms", "pages"},
    {"web"},
    {"service"},
    {"cli"},
)

OWNERS = {
    "sqlite3": {"store.dbthread"},
    "subprocess": {"git.process"},
    "http.server": {"http.server", "http.connection"},
    "http.client": {"http.client"},
    "smtplib": {"http.smtp"},
    "ssl": {"http.tls", "http.client", "http.timed"},
    "tomllib": {"config.file"},
    "argparse": {"cli.arguments"},
    "fcntl": {"files"},
    "concurrent.futures": set(),
    "_thread": set(),
    "multiprocessing": set(),
}

MODULES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
BASE = {path.stem for path in PACKAGE.glob("*.py")}


def name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> list[str]:
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def inner(path: Path) -> list[str]:
    own = [i.removeprefix("gms_hookd.") for i in imports(path) if "gms_hookd" in i]
    return [i for i in own if not i.startswith("__version__")]


def top(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def level(module: str) -> int:
    return next(i for i, line in enumerate(ORDER) if top(module) in line)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path):
    here = name(path)
    if here in {"__init__", "__main__", "pyz"}:
        return
    for target in inner(path):
        base = top(target) in BASE and top(here) in BASE
        same = top(target) == top(here) or base
        assert same or level(target) < level(here), f"{here} -> {target}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_each_outside_thing_has_one_owner(path):
    for target in imports(path):
        for thing, owners in OWNERS.items():
            if target == thing or target.startswith(thing + "."):
                assert name(path) in owners, f"{name(path)} imports {thing}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_thread_is_started_that_nobody_watches(path):
    """`threads` names each one and begins failed work again; see there."""
    starts = {"Thread", "Timer", "start_new_thread", "to_thread", "ThreadingMixIn"}
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in nodes(path)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    taken = {target.rpartition(".")[2] for target in imports(path)}
    assert name(path) == "threads" or not starts & (used | taken)


def test_nothing_but_the_standard_library_is_imported():
    for path in MODULES:
        for target in imports(path):
            assert top(target) == "gms_hookd" or top(target) in sys.stdlib_module_names


def module_of(target: str) -> str:
    """Return the module that an import of `package.module.name` loads."""
    parts = target.split(".")
    while parts:
        path = PACKAGE.joinpath(*parts)
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts)
        parts.pop()
    raise AssertionError(target)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name(p): {module_of(t) for t in inner(p)} - {name(p)} for p in MODULES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_package_uses_what_another_keeps_private(path):
    for target in inner(path):
        private = target.rpartition(".")[2].startswith("_")
        assert not private or top(target) == top(name(path)), f"{path}: {target}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_face_says_what_its_package_imports(package):
    face = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    said = re.search(r"May import: ([\w\s,]+)\.", face)
    assert said, f"{package.name}: its face has no line `May import:`"
    used = {top(t) for path in package.rglob("*.py") for t in inner(path)}
    assert set(re.findall(r"\w+", said[1])) - {"nothing"} == used - {package.name}


def test_every_module_imports_with_nothing_else_on_the_path():
    names = [".".join(("gms_hookd", name(p))) for p in MODULES if p.stem != "__main__"]
    code = f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]\n" + "\n".join(
        f"import {n.removesuffix('.__init__')}" for n in names
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
