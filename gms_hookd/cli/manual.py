"""The command that shows the user's manual, which is in the archive."""

from importlib import resources
from importlib.resources.abc import Traversable

from gms_hookd.cli.session import Args, Session
from gms_hookd.errors import Failure

START = "index"


def show(session: Session, args: Args) -> int:
    """Print a topic of the manual, as it is: Markdown. Failure for an unknown topic."""
    session.say(topic(args.topic or START, args.lang).rstrip())
    return 0


def topic(name: str, language: str = "en") -> str:
    """Return the text of a topic; Failure names those that there are."""
    known = topics(language)
    if name not in known and name in topics():
        raise Failure(f"{name} is in English only: gms-hookd manual {name}")
    if name not in known:
        raise Failure(f"no topic {name!r}: there are {', '.join(known)}")
    return _folder(language).joinpath(f"{name}.md").read_text(encoding="utf-8")


def _folder(language: str) -> Traversable:
    folder = resources.files("gms_hookd").joinpath("manual")
    return folder if language == "en" else folder.joinpath(language)


def topics(language: str = "en") -> list[str]:
    """Return the names of all topics; Failure for a language without a manual."""
    folder = _folder(language)
    if not folder.is_dir():
        raise Failure(f"no manual in {language!r}: there are en, zh")
    names = (each.name for each in folder.iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))
