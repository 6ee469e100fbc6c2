"""light/: what the standard library has too, and takes longer for; each says how long.

`frozen`: dataclasses, `patterns`: regular expressions, `uuids`. To be left again where
the standard library does it as fast.
Names: dataclass, late_pattern, random_uuid, uuid_of.

May import: nothing.
"""
