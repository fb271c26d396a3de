"""What PostgreSQL's catalog says of the tables that a role may read."""

from __future__ import annotations

import json
from typing import Any, NotRequired

from typing_extensions import TypedDict


class TableColumn(TypedDict):
    name: str
    type: str
    required: NotRequired[bool]
    default: NotRequired[str]
    comment: NotRequired[str]


class Table(TypedDict):
    name: str
    kind: str
    columns: list[TableColumn]
    keys: NotRequired[list[str]]
    rows_estimate: NotRequired[int]
    comment: NotRequired[str]


def as_table(row: Any) -> Table:
    """Returns a row of TABLES without what it has not."""
    table: Table = {
        "name": row["name"],
        "kind": row["kind"],
        "columns": json.loads(row["columns"] or "[]"),
    }
    if row["keys"]:
        table["keys"] = row["keys"]
    if row["estimate"] >= 0:
        table["rows_estimate"] = row["estimate"]
    if row["comment"]:
        table["comment"] = row["comment"]
    return table


# $1 names tables, with or without their schema, or is NULL for all; $2 is how many at most. The
# parts of a partitioned table are found by their names alone. An estimate of -1 is not known.
TABLES = """
SELECT n.nspname || '.' || c.relname AS name,
  CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'table' END AS kind,
  CASE WHEN c.relkind IN ('v', 'f') THEN -1 ELSE c.reltuples::bigint END AS estimate,
  pg_catalog.left(pg_catalog.obj_description(c.oid, 'pg_class'), 1000) AS comment,
  (SELECT pg_catalog.json_agg(pg_catalog.json_strip_nulls(pg_catalog.json_build_object(
      'name', a.attname,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'required', CASE WHEN a.attnotnull THEN true END,
      'default', pg_catalog.left(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 200),
      'comment', pg_catalog.left(pg_catalog.col_description(c.oid, a.attnum), 1000)
    )) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')) AS columns,
  (SELECT pg_catalog.array_agg(
      pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.contype DESC, k.conname)
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f')) AS keys
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
  AND CASE WHEN $1::text[] IS NULL THEN NOT c.relispartition
    ELSE c.relname = ANY ($1) OR n.nspname || '.' || c.relname = ANY ($1) END
ORDER BY n.nspname, c.relname
LIMIT $2
"""
