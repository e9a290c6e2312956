"""Judges a parsed query: every node of its syntax tree is known and allowed, or the query is refused.

The tree is that of DuckDB's own parser (``json_serialize_sql``), so that nothing can be read in two ways. "It is a SELECT" says
little: DuckDB 2.0 accepts ``WITH x AS (COPY ... TO ...) SELECT * FROM x``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from search_api.safe_sql.functions import FUNCTIONS, TABLE_FUNCTIONS, TYPES
from sonotheque.core.errors import Invalid, Limit, Refused
from sonotheque.core.suggest import did_you_mean

NODES_MAX: Final = 20_000
_CTE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PLACE: Final = "query_location query_location_length"
_CALLED: Final = "function_name schema catalog qualified_name arguments distinct"

# What each node may hold; anything else in it must be empty.
_EXPRESSIONS: Final = {
    "BETWEEN": "input lower upper",
    "CASE": "case_checks else_expr",
    "CAST": "child try_cast type_expr",
    "COLLATE": "child collation",
    "COLUMN_REF": "column_names",
    "COMPARISON": "left right",
    "CONJUNCTION": "children",
    "CONSTANT": "literal",
    "FUNCTION": f"{_CALLED} filter order_bys is_operator",
    "LAMBDA": "lhs expr syntax_type",
    "OPERATOR": "children",
    "PARAMETER": "identifier",
    "POSITIONAL_REFERENCE": "index",
    "STAR": "relation_name exclude_list replace_list columns expr qualified_exclude_list rename_list",
    "SUBQUERY": "subquery_type subquery child comparison_type",
    "TYPE": "type_name children qualified_name",
    "WINDOW": f"{_CALLED} partitions orders start end start_expr end_expr offset_expr default_expr ignore_nulls has_ignore_nulls "
    "filter_expr exclude_clause arg_orders",
}
_TABLE: Final = f"alias sample {_PLACE}"
_NODES: Final = {
    # queries
    "SELECT_NODE": "modifiers cte_map select_list from_table where_clause group_expressions group_sets aggregate_handling having sample qualify",
    "SET_OPERATION_NODE": "modifiers cte_map setop_type setop_all left right children",
    "CTE_NODE": "modifiers cte_map cte_name query child aliases materialized",
    "RECURSIVE_CTE_NODE": "modifiers cte_map cte_name union_all left right aliases key_targets",
    # what they are read from
    "BASE_TABLE": f"{_TABLE} table_name schema_name catalog_name column_name_alias qualified_name",
    "EMPTY": _TABLE,
    "EXPRESSION_LIST": f"{_TABLE} expected_names expected_types values",
    "JOIN": f"{_TABLE} left right condition join_type ref_type using_columns is_implicit delim_flipped duplicate_eliminated_columns "
    "nearest_approx nearest_count nearest_order_type",
    "PIVOT": f"{_TABLE} source aggregates groups pivots unpivot_names include_nulls column_name_alias",
    "SHOW_REF": f"{_TABLE} query show_type qualified_name",
    "SUBQUERY": f"{_TABLE} subquery column_name_alias",
    "TABLE_FUNCTION": f"{_TABLE} function column_name_alias with_ordinality",
    # order and limits
    "ORDER_MODIFIER": "orders",
    "DISTINCT_MODIFIER": "distinct_on_targets",
    "LIMIT_MODIFIER": "limit offset limit_type",
    **dict.fromkeys(("ASCENDING", "DESCENDING", "ORDER_DEFAULT"), "null_order expression"),
}
_EXPRESSION_KEYS: Final = {
    name: frozenset(f"class type alias {_PLACE} {keys}".split()) for name, keys in _EXPRESSIONS.items()
}
_NODE_KEYS: Final = {name: frozenset(f"type {keys}".split()) for name, keys in _NODES.items()}
_PLAIN: Final = tuple(
    frozenset(keys.split())
    for keys in (
        "node named_param_map",
        "map",
        "key value",
        "aliases materialized key_targets payload_aggregates query_node",
        "kind text",
        "path",
        "name expression",
        "when_expr then_expr",
        "entries pivot_expressions unpivot_names pivot_enum",
        "alias star_expr values",
        "catalog schema table column",
        "sample_size is_percentage method seed repeatable sample_rate",
        "is_null type value",
        "id type_info",
    )
)
_STATEMENTS: Final = (
    "one SELECT over the views is all that can be asked: no statement that writes, sets or attaches something"
)


def judge(tree: Mapping[str, Any], views: frozenset[str], taken: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return which views a query reads, if all of it is allowed.

    Parameters
    ----------
    tree : mapping
        What ``json_serialize_sql`` gave.
    views : frozenset of str
        What can be read, in lower case.
    taken : frozenset of str
        Names of the engine's own tables, which no ``WITH`` may take: out of its scope the name would mean the engine's.

    Raises
    ------
    Invalid
        If it is no SQL, or not exactly one statement; kind ``unknown_column`` for a table that is not there.
    Refused
        If something in it is not allowed.
    Limit
        If it has more than ``NODES_MAX`` nodes.
    """
    if tree.get("error"):
        raise _unparsed(str(tree.get("error_type", "")), str(tree.get("error_message", "")))
    statements = tree.get("statements") or []
    if len(statements) != 1:
        raise Invalid(
            "the query is empty: expected one SELECT"
            if not statements
            else f"{len(statements)} statements: expected one SELECT, without a semicolon in it"
        )
    judge = _Judge(views, taken)
    judge.ctes = {name for node in _dicts(statements[0]) for name in _cte_names(node)}
    for node in _dicts(statements[0]):
        judge.node(node)
    return frozenset(judge.used)


def _unparsed(kind: str, message: str) -> Invalid | Refused:
    text = " ".join(message.split())
    if "Only SELECT statements" in text:
        return Refused(_STATEMENTS)
    return Invalid(f"SQL: {text}" if kind == "parser" or "syntax" in text else f"SQL: {text or 'it cannot be read'}")


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a tree; without recursion, since the tree is as deep as the caller likes."""
    stack, seen = [value], 0
    while stack:
        one = stack.pop()
        seen += 1
        if seen > 10 * NODES_MAX:
            raise Limit(
                f"the query has more than {NODES_MAX:,} parts; ask for less at once, or hand a list over as a parameter"
            )
        if isinstance(one, dict):
            yield one
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)


def _cte_names(node: dict[str, Any]) -> list[str]:
    names = [e["key"] for e in node["map"]] if isinstance(node.get("map"), list) else []
    own = node.get("cte_name")
    return [str(name).lower() for name in (*names, own) if isinstance(name, str) and name]


class _Judge:
    """Looks at one node at a time."""

    def __init__(self, views: frozenset[str], taken: frozenset[str]) -> None:
        self.views, self.taken = views, taken
        self.ctes: set[str] = set()
        self.used: set[str] = set()
        self._own: dict[str, Callable[[dict[str, Any]], None]] = {
            "FUNCTION": self._function,
            "WINDOW": self._function,
            "TYPE": self._type,
            "BASE_TABLE": self._base_table,
            "TABLE_FUNCTION": self._table_function,
            "SHOW_REF": self._show,
        }

    def node(self, node: dict[str, Any]) -> None:
        """Refuse an object of the tree that is not known, or not allowed."""
        kind = node.get("class")
        if isinstance(kind, str):
            allowed = _EXPRESSION_KEYS.get(kind)
        elif isinstance(node.get("type"), str):
            kind = node["type"]
            allowed = _NODE_KEYS.get(kind)
        else:
            if not any(node.keys() <= known for known in _PLAIN):
                raise Refused(f"a query may not have a part with {', '.join(sorted(node))[:80]}")
            self._with(node)
            return
        if allowed is None:
            raise Refused(f"{_words(str(kind))}: {_STATEMENTS}")
        if odd := next((key for key, value in node.items() if key not in allowed and not _is_empty(value)), None):
            raise Refused(f"{_words(str(kind))} with {_words(odd)} is not allowed here")
        if own := self._own.get(str(kind)):
            own(node)

    def _with(self, node: dict[str, Any]) -> None:
        for name in _cte_names(node):
            if not _CTE_NAME.fullmatch(name):
                raise Refused(
                    f"WITH {name[:40]!r}: expected a name that begins with a letter, of letters, digits and _"
                )
            if name in self.taken:
                raise Refused(f"WITH {name}: the engine has a table of this name; take another")

    def _function(self, node: dict[str, Any]) -> None:
        name = str(node.get("function_name", ""))
        plain = not node.get("schema") and not node.get("catalog") and len(_path(node)) <= 1
        if not plain or not name.isascii() or name.lower() not in FUNCTIONS:
            shown = ".".join(_path(node)) or name
            raise Refused(
                f"the function {shown[:60]} is not allowed here: only those that compute something from their arguments are"
            )

    def _type(self, node: dict[str, Any]) -> None:
        name = str(node.get("type_name", ""))
        if len(_path(node)) > 1 or name.lower() not in TYPES:
            raise Refused(f"the type {'.'.join(_path(node))[:60] or name[:60]} is not allowed here")

    def _base_table(self, node: dict[str, Any]) -> None:
        name, schema = str(node.get("table_name", "")), str(node.get("schema_name", ""))
        lower = name.lower()
        if not node.get("catalog_name") and name.isascii() and len(_path(node)) <= 2:
            if lower in self.ctes and not schema:
                self.used |= {lower} & self.views  # out of its scope, the name means the view
                return
            if lower in self.views and schema.lower() in ("", "main"):
                self.used.add(lower)
                return
        shown = ".".join(_path(node)) or name
        if schema or not _CTE_NAME.fullmatch(name) or lower in self.taken:
            raise Refused(f"{shown[:60]!r} cannot be read here: only {', '.join(sorted(self.views))} can")
        raise Invalid(
            f"SQL: there is no view {shown[:60]}; {did_you_mean(name, sorted(self.views))}", kind="unknown_column"
        )

    def _table_function(self, node: dict[str, Any]) -> None:
        name = str((node.get("function") or {}).get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise Refused(f"the table function {name[:60]} is not allowed here; range, generate_series and unnest are")

    def _show(self, node: dict[str, Any]) -> None:
        if node.get("show_type") not in ("DESCRIBE", "SUMMARY") or not node.get("query"):
            raise Refused("SHOW tells of the engine; DESCRIBE and SUMMARIZE of a view are allowed")


def _path(node: dict[str, Any]) -> list[str]:
    return [str(part) for part in (node.get("qualified_name") or {}).get("path", [])]


def _is_empty(value: Any) -> bool:
    return not value or value == {"map": []}


def _words(name: str) -> str:
    return name.replace("_", " ").lower()
