"""The configuration file's bytes and form: TOML, or the YAML of GMS.

Where the state directory and the configuration file are.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gms_hookd.config import yaml
from gms_hookd.errors import ConfigError
from gms_hookd.files import closed, read_regular

LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says, not yet looked at; `exposed` if others can read the file."""

    content: object = field(repr=False)
    yaml: bool
    exposed: bool


def read_config(path: Path) -> ConfigFile:
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
    except PermissionError:
        raise ConfigError(f"{path}: {closed(path)}") from None
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
        return yaml.loads(text)
    except yaml.YamlError as error:
        raise ConfigError(f"{path}: {error}") from None


def config_file(
    environ: Mapping[str, str], argument: str | None, folder: Path
) -> Path | None:
    """Return the file that is named, else the first that exists, else None.

    Raises ConfigError.
    """
    named = environ.get("GMS_HOOKD_CONFIG") if argument is None else argument
    if named:
        return Path(named).absolute()
    if argument is not None:
        raise ConfigError("--config: is empty: name a file")
    candidates = (folder / "config.toml", folder / "config.yaml")
    return next((path for path in candidates if _exists(path)), None)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        raise ConfigError(f"{path}: {closed(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return True
