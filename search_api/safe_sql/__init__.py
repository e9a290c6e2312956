"""SQL from callers nobody trusts: judged, then run where it can do no harm. See README.md."""

from search_api.safe_sql.limits import SqlLimits
from search_api.safe_sql.pool import SqlPool

__all__ = ["SqlLimits", "SqlPool"]
