"""A signed webhook becomes a finished git sync: durable queue, git, one daemon."""

__version__ = "1.0.0"
