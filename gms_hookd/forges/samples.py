"""Bodies of a push as the forges send it, for test deliveries."""

OLD, NEW = "1" * 40, "2" * 40


def path_of(url: str) -> str:
    """Return the last two parts of a URL's path, without `.git`."""
    parts = url.replace(":", "/").removesuffix(".git").split("/")
    return "/".join(part for part in parts if part)[-200:]


def github_like(url: str, ref: str) -> dict[str, object]:
    """Return the body of GitHub and those who took over its shape."""
    repository = {"full_name": path_of(url), "clone_url": url}
    return {
        "ref": ref,
        "before": OLD,
        "after": NEW,
        "repository": repository,
        "commits": [],
    }


def gitlab_like(url: str, ref: str) -> dict[str, object]:
    """Return the body of GitLab and those who took over its shape."""
    kind = "tag_push" if ref.startswith("refs/tags/") else "push"
    return {
        "object_kind": kind,
        "ref": ref,
        "before": OLD,
        "after": NEW,
        "project": {"git_http_url": url},
        "repository": {"git_http_url": url},
        "commits": [],
    }
