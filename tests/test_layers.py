"""Imports point down one stack, and each outside thing has one owner."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gms_hookd"

LAYERS = (
    {
        "__init__", "model", "message", "pyz", "failure", "files", "forgeurl", "init",
        "shapes",
    },
    {
        "signature", "ratelimit", "whitelist", "retry", "redact", "quantity",
        "miniyaml", "refspec", "giturl", "http1", "tls", "quota", "postbox",
        "systemd", "log", "flock", "futures", "jsontext", "porcelain", "journal",
        "secretfile", "look", "silence", "stop",
    },
    {"threads", "giterror", "glance", "plan", "runlog", "settings", "readers", "alias"},
    {"git", "order", "access", "configfile", "places"},
    {"leavings", "ssh", "summary"},
    {"cache", "idle"},
    {"tidy"},
    {"door"},
    {"remote"},
    {"intake", "outlet", "head", "lfs"},
    {"shared"},
    {"state", "listener", "live", "limits"},
    {"store", "forges"},
    {"config"},
    {"sync"},
    {"desk", "views", "engine"},
    {"hooks", "api"},
    {"forgehook"},
    {"web", "worker", "reconcile", "connection", "entrance"},
    {"server", "client"},
    {"callback"},
    {"health"},
    {"service"},
    {"daemon", "render", "values"},
    {"check", "demo", "watch"},
    {"session"},
    {"reach"},
    {"taskcommands", "runcommands", "triggercommands", "servicecommands"},
    {"hookcommands", "servecommand"},
    {"cli"},
    {"__main__"},
)  # fmt: skip

OWNERS = {
    "sqlite3": {"store.lane"},
    "subprocess": {"git"},
    "http.server": {"server", "connection"},
    "http.client": {"client"},
    "selectors": {"server"},
    "ssl": {"tls", "client"},
    "tomllib": {"configfile"},
    "argparse": {"cli"},
    "fcntl": {"flock"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def level(module: str) -> int:
    top = module.split(".", maxsplit=1)[0]
    return next(i for i, layer in enumerate(LAYERS) if top in layer)


def inner(path: Path) -> list[str]:
    own = [i.removeprefix("gms_hookd.") for i in imports(path) if "gms_hookd" in i]
    return [i for i in own if not i.startswith("__version__")]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path):
    here = name(path)
    for target in inner(path):
        same_package = target.split(".")[0] == here.split(".")[0]
        assert same_package or level(target) < level(here), f"{here} -> {target}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_each_outside_thing_has_one_owner(path):
    for target in imports(path):
        for thing, owners in OWNERS.items():
            if target == thing or target.startswith(thing + "."):
                assert name(path) in owners, f"{name(path)} imports {thing}"


def test_nothing_but_the_standard_library_is_imported():
    for path in MODULES:
        for target in imports(path):
            top = target.split(".")[0]
            assert top == "gms_hookd" or top in sys.stdlib_module_names, path


def test_every_module_imports_with_nothing_else_on_the_path():
    names = [".".join(("gms_hookd", name(p))) for p in MODULES if p.stem != "__main__"]
    code = f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]\n" + "\n".join(
        f"import {n.removesuffix('.__init__')}" for n in names
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
