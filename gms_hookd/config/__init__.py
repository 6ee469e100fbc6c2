"""config/: the configuration. Knows files and environment, and what each value may be.

Reads once and gives records; nobody else sees a dict from a file. Every refusal is a
ConfigError with the key's full name and the remedy. Names: load_config, Config and the
records below it. Owns tomllib.

May import: auth, contract, errors, files, forges, git, model, notify, safetext, units.
"""
