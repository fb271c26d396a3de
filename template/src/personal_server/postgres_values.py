"""Values of PostgreSQL as JSON that every client reads, and JSON as values of PostgreSQL."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

LARGEST_WHOLE = 2**53 - 1  # above, JavaScript rounds
DEEPEST = 40  # levels of arrays and objects
# As text these are exact: Python has no infinite, very early or late times, nor months.
TIMES = frozenset(("date", "time", "timetz", "timestamp", "timestamptz", "interval"))
_WHOLE = frozenset(("int2", "int4", "int8", "oid"))
_FLOAT = frozenset(("float4", "float8"))


class TooDeep(ValueError):
    """A value has more levels than clients can read."""


def json_value(value: Any, kind: str = "") -> Any:
    """Returns a value as JSON without NaN; `kind` is the name of its type.

    Times, decimals, UUIDs and whole numbers above 2**53 become text, as PostgreSQL writes them;
    bytes become \\x and hexadecimal digits, arrays lists and composite values objects.
    """
    element = kind.removesuffix("[]")
    if element in ("json", "jsonb"):
        return _documents(value)
    return _plain(value, element, 0)


def cut(value: Any, most: int) -> tuple[Any, int]:
    """Returns a value of at most so many characters, and how many it has; 0 if nothing is cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return (value, 0) if len(text) <= most else (text[:most] + "…", len(text))


def parameter(value: Any, kind: str) -> Any:
    """Returns a value of JSON as asyncpg takes it for a parameter of that type."""
    if value is None:
        return None
    if kind.endswith("[]"):
        return [parameter(one, kind[:-2]) for one in value] if isinstance(value, list) else value
    if kind in ("json", "jsonb"):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if kind in _WHOLE or kind in _FLOAT:
        return _number(value, int if kind in _WHOLE else float)
    if kind == "numeric":
        return value if isinstance(value, bool) else str(value)
    if kind == "bool":
        return {"true": True, "false": False}.get(str(value).lower(), value)
    if kind == "bytea" and isinstance(value, str):
        return bytes.fromhex(value[2:]) if value.startswith("\\x") else value.encode()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    if isinstance(value, bool | list | dict) or (isinstance(value, float) and kind(value) != value):
        raise ValueError("The value is no number of this kind.")
    return kind(value)


def _documents(value: Any) -> Any:
    if isinstance(value, list):
        return [_documents(one) for one in value]
    if not isinstance(value, str):
        return value
    try:
        return _plain(json.loads(value), "", 0)
    except (ValueError, RecursionError):  # too deep: its text says it as well
        return value


def _plain(value: Any, kind: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise TooDeep("The value is nested too deeply.")
    match value:
        case None | bool():
            return value
        case str():
            return value.encode(errors="replace").decode()  # half characters of a json value
        case int():
            if kind == "pg_lsn":
                return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"
            return value if abs(value) <= LARGEST_WHOLE else str(value)
        case float():
            return value if math.isfinite(value) else str(Decimal(value))
        case Decimal():
            return f"{value:f}" if value.is_finite() else str(value)
        case bytes():
            return value.decode("latin-1") if kind == "char" else "\\x" + value.hex()
        case datetime.date() | datetime.time():
            return _time(value)
        case dict():
            return {str(k): _plain(one, "", depth + 1) for k, one in value.items()}
        case list():
            return [_plain(one, kind, depth + 1) for one in value]
    return _compound(value, depth)


def _compound(value: Any, depth: int) -> Any:
    if hasattr(value, "lower_inc"):
        return _range(value)
    if hasattr(value, "as_string"):  # a bit string
        return value.as_string().replace(" ", "")
    if hasattr(value, "points"):  # a path or a polygon
        return [_plain(list(point), "", depth + 1) for point in value.points]
    if hasattr(value, "keys"):  # a composite value; without names it is a tuple
        return {key: _plain(one, "", depth + 1) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one, "", depth + 1) for one in value]
    return str(value)


def _range(value: Any) -> str:
    if value.isempty:
        return "empty"
    ends = ["" if end is None else _plain(end, "", 0) for end in (value.lower, value.upper)]
    left, right = "[" if value.lower_inc else "(", "]" if value.upper_inc else ")"
    return f"{left}{ends[0]},{ends[1]}{right}"


def _time(value: datetime.date | datetime.time) -> str:
    """Returns a time inside a range or a composite value, where it does not come as text."""
    if not isinstance(value, datetime.time):
        naive = value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value
        if naive in (type(naive).max, type(naive).min):
            return "infinity" if naive == type(naive).max else "-infinity"
    return value.isoformat() if isinstance(value, datetime.time) else str(value)
