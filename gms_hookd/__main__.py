"""Run as `python3 -m gms_hookd`."""

from gms_hookd.cli.main import run

run()
