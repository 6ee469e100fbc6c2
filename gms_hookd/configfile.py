"""The configuration file's bytes and form: TOML, or the YAML of GMS."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd import miniyaml
from gms_hookd.errors import ConfigError
from gms_hookd.files import read_regular

LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says, not yet looked at; `exposed` if others can read the file."""

    content: object = field(repr=False)
    yaml: bool
    exposed: bool


def read(path: Path) -> ConfigFile:
    """Read a file by its ending. Raises ConfigError."""
    form = path.suffix.lower()
    if form not in (".toml", ".yaml", ".yml"):
        raise ConfigError(f"{path}: the name must end in .toml, .yaml or .yml")
    raw, mode = _bytes(path)
    text = _text(path, raw)
    content = _toml(path, text) if form == ".toml" else _yaml(path, text)
    return ConfigFile(content, form != ".toml", bool(mode & 0o004))


def _bytes(path: Path) -> tuple[bytes, int]:
    try:
        raw, details = read_regular(path, LARGEST)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    return raw, details.st_mode


def _text(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 at byte {error.start + 1}: save it as UTF-8"
        ) from None
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}: begins with a byte order mark: save it without one")
    return text


def _toml(path: Path, text: str) -> object:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _yaml(path: Path, text: str) -> object:
    try:
        return miniyaml.loads(text)
    except miniyaml.YamlError as error:
        raise ConfigError(f"{path}: {error}") from None
