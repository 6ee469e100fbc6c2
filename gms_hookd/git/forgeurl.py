"""One spelling for the several addresses that a forge gives for one repository.

Host and path come in lower case, without user, port, ".git" and outer slashes. What is
known of no forge stays as it is.
"""

from gms_hookd.git.patterns import late_pattern

# A forge's own name stands behind that of its host which speaks ssh on port 443: as
# ssh.github.com does (docs.github.com: Using SSH over the HTTPS port), ssh.gitee.com,
# altssh.gitlab.com, altssh.bitbucket.org, and installations of GitLab of one's own.
_SECOND_NAME = late_pattern(r"^(?:(?:alt)?ssh|www)\.(?=[^.]+\.)")
_AZURE = "dev.azure.com"
_AZURE_SSH = ("ssh.dev.azure.com", "vs-ssh.visualstudio.com")
_STUDIO = ".visualstudio.com"
_COLLECTION = "defaultcollection"
_MARKS = ("_git", "_ssh")
_CLONES = ("_optimized", "_full")  # how much of the repository is sent


def canonical(host: str, path: str, user: str | None) -> tuple[str, str]:
    """Return host and path in the one spelling of their forge.

    The user is of use for addresses of Azure DevOps whose user is the organisation.
    """
    parts = path.split("/")
    if host in (_AZURE, *_AZURE_SSH) or host.endswith(_STUDIO):
        found = _of_azure(host, parts, user)
        return (_AZURE, found) if found else (host, path)
    return _SECOND_NAME.sub("", host, count=1), _marked(parts) or path


def _of_azure(host: str, parts: list[str], user: str | None) -> str | None:
    """Return `organisation/project/_git/repository`, None for any other page.

    Addresses are those of learn.microsoft.com, "Azure Repos: clone", of today and of
    before; a repository without project is that of the project of its name.
    """
    if host in _AZURE_SSH and parts[0] == "v3":
        organisation, rest = _first(parts[1:])
        rest = [*rest[:1], "_git", *rest[1:]]
    elif host in _AZURE_SSH:
        organisation, rest = (user or "").lower(), parts
    elif host == _AZURE:
        organisation, rest = _first(parts)
    else:
        organisation, rest = host.removesuffix(_STUDIO), parts
    marked = _marked([part for part in rest if part != _COLLECTION])
    return f"{organisation}/{marked}" if organisation and marked else None


def _first(parts: list[str]) -> tuple[str, list[str]]:
    return next(iter(parts), ""), parts[1:]


def _marked(parts: list[str]) -> str | None:
    """Return `.../project/_git/repository`, also of a server of one's own.

    Without the project where the repository has its name.
    """
    at = next((n for n, part in enumerate(parts) if part in _MARKS), None)
    if at is None:
        return None
    before, after = parts[:at], parts[at + 1 :]
    repository = after[1:] if after[:1] and after[0] in _CLONES else after
    if before[-1:] == repository:
        before = before[:-1]
    return "/".join((*before, "_git", *repository)) if repository else None
