"""Run as `python3 -m gms_hookd`."""

from gms_hookd.cli import main

raise SystemExit(main())
