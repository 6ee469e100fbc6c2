"""The command that prints metrics, for the textfile collector of node_exporter."""

from gms_hookd.cli.session import Args, Session, opened
from gms_hookd.errors import Failure

PATH = "/metrics"


def metrics(session: Session, _args: Args) -> int:
    """Print what `GET /metrics` answers; without a daemon only gauges tell much."""
    with opened(session) as found:
        if found.service:
            found.service.housekeeping.measure()
        status, text = found.api.read(PATH)
    if status != 200:
        raise Failure(f"{PATH} answered {status}: restart gms-hookd")
    session.say(text.decode().rstrip("\n"))
    return 0
