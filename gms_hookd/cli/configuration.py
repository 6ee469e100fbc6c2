"""The configuration, for the commands that need it, read as the service reads it."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from gms_hookd.cli.session import Session, ready_to_act
from gms_hookd.config import load
from gms_hookd.config.records import Config
from gms_hookd.config.sources import Name
from gms_hookd.contract import SERVICE_CREDENTIALS, SERVICE_STATE
from gms_hookd.service.identity import act_as_service


def read(
    session: Session, without: Collection[Name] = (), **overrides: object
) -> Config:
    """Read the configuration, as the service's user does, but for some settings.

    Raises ConfigError.
    """
    ready_to_act(session)
    act_as_service(session.state)
    return load.load_config(
        with_credentials(session.environ, session.state),
        file=session.file,
        state=Path(session.state),
        overrides=overrides,
        without=without,
    )


def webhook_secrets(session: Session) -> tuple[str, ...]:
    """Read the secrets of GMS's hook, and no other. Raises ConfigError."""
    ready_to_act(session)
    act_as_service(session.state)
    environ = with_credentials(session.environ, session.state)
    state = Path(session.state)
    return load.webhook_secrets(environ, file=session.file, state=state)


def with_credentials(environ: Mapping[str, str], state: str) -> Mapping[str, str]:
    """Let root see the secrets which systemd has handed to the service of this state.

    Without them a command would sign with another secret than the daemon expects.
    """
    usable = state == SERVICE_STATE and os.access(SERVICE_CREDENTIALS, os.R_OK)
    if "CREDENTIALS_DIRECTORY" in environ or not usable:
        return environ
    return {**environ, "CREDENTIALS_DIRECTORY": SERVICE_CREDENTIALS}
