"""A run that is watched while the daemon carries it out."""

import io
import re

import pytest

from gms_hookd.cli.api_client import OverSocket
from gms_hookd.cli.session import Opened, Session
from gms_hookd.cli.terminal import Style
from gms_hookd.cli.watch import watched
from gms_hookd.errors import Failure


def test_a_daemon_that_ends_meanwhile_leaves_word_of_the_run(tmp_path):
    gone = tmp_path / "control.sock"
    session = Session({}, io.StringIO(), Style(0.0), None, str(tmp_path))
    said = f"{re.escape(str(gone))}: .*: `gms-hookd run show 7` says what becomes"
    with pytest.raises(Failure, match=said):
        watched(session, Opened(OverSocket(gone)), 7)
