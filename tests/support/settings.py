"""Configuration files of the daemon."""

import json


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value if isinstance(value, (bool, int)) else str(value))


def tables(sections):
    """A file with these tables, each a name and its settings."""
    lines = []
    for name, settings in sections.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in settings.items()), ""]
    return "\n".join(lines)
