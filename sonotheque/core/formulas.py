"""Which texts a spreadsheet would run as formulas, and how they are kept from it: one rule for every table that is written."""

from __future__ import annotations

import re
from typing import Any, Final

# A tab and line ends too: a spreadsheet skips them, and runs what comes after. Polars reads the same pattern.
FORMULA: Final = r"^[=+\-@\t\r\n]"
_FORMULA: Final = re.compile(FORMULA)


def inert_value(value: Any) -> Any:
    """Return a value that no spreadsheet runs: a text that could be a formula gets a leading apostrophe, others stay as they are."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
