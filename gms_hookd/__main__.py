"""Run as `python3 -m gms_hookd`."""

import sys

try:
    from gms_hookd.cli.main import run
except KeyboardInterrupt:
    sys.exit(130)

run()
