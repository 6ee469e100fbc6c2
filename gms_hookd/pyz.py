"""Build the zipapp: `python3 -m gms_hookd.pyz [FILE]`.

The same sources and the same Python give the same bytes, whoever builds them, when, and
where: names are sorted, times, rights and compression are fixed. Beside each source
goes the byte code that the Python that builds makes of it, so that a start compiles
nothing; another Python finds that it is not its own and takes the source. Byte code is
not compressed: to inflate it takes longer than to read it.

The archive is written here and not by the `zipapp` module, which takes times and rights
from the files, in 3.11 also their order, and drops the exit status of an entry point.
"""

import importlib.util
import marshal
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from gms_hookd.files import check_replaceable

PACKAGE = Path(__file__).parent
SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = """\
import gc
import os
import sys
import zipimport

if sys.version_info < (3, 11):
    sys.exit("gms-hookd: needs Python 3.11 or newer, this is " + sys.version.split()[0])


class Importer(zipimport.zipimporter):
    # zipimport's own way to tell where a module is compiles it, and loading it compiles
    # it again: a third of the time until the first command line is read.
    def get_filename(self, fullname):
        stem = os.path.join(self.archive, self.prefix + fullname.rpartition(".")[2])
        if self.is_package(fullname):
            return os.path.join(stem, "__init__.py")
        return stem + ".py"


gc.set_threshold(100_000, 20, 20)  # of what is loaded (67,000) nothing is garbage
sys.path_hooks.insert(0, Importer)
sys.path_importer_cache.clear()

try:
    from gms_hookd.cli.main import run
except KeyboardInterrupt:
    sys.exit(130)

run()
"""
TEXTS = ("md", "service", "socket", "toml", "css", "sql", "txt", "tsv", "bash")
KINDS = ("py", *TEXTS)
UNCHECKED = (1).to_bytes(4, "little")  # PEP 552: hash-based, not to be checked
PLAIN = 2  # a marshal version without back references, which vary from build to build
BEGINNING = (1980, 1, 1, 0, 0, 0)


def build(file: Path, package: Path = PACKAGE) -> None:
    """Write the zipapp of `package` to `file`, at once or not at all."""
    check_replaceable(file)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as out:
            out.write(SHEBANG)
            _pack(zipfile.ZipFile(out, "w"), package)
        fresh.chmod(0o755)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def _pack(archive: zipfile.ZipFile, package: Path) -> None:
    with archive:
        _add_source(archive, "__main__.py", MAIN.encode())
        for source in sources(package):
            name = source.relative_to(package.parent).as_posix()
            _add_source(archive, name, source.read_bytes())


def _add_source(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    _add(archive, name, content)
    if name.endswith(".py"):
        _add(archive, name + "c", _compiled(content, name), zipfile.ZIP_STORED)


def _compiled(source: bytes, name: str) -> bytes:
    """Return the content of a .pyc file."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source)
    return head + marshal.dumps(code, PLAIN)


def sources(package: Path) -> list[Path]:
    """Return the package's sources and texts in the order of their names."""
    found = (each for kind in KINDS for each in package.rglob(f"*.{kind}"))
    return sorted(found, key=lambda path: path.as_posix())


def _add(
    archive: zipfile.ZipFile, name: str, content: bytes, how: int = zipfile.ZIP_DEFLATED
) -> None:
    entry = zipfile.ZipInfo(name, BEGINNING)
    entry.create_system = 3
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, content, how, compresslevel=9)


def main(arguments: Sequence[str]) -> int:
    """Build to the file named in the arguments; exit status as of the commands."""
    file = Path(arguments[0] if arguments else "gms-hookd.pyz")
    try:
        build(file)
    except OSError as error:
        sys.stderr.write(f"gms-hookd: {file}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
