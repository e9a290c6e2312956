"""When and where a recording was made: names, headers, sites and deployments of field recorders."""

from embedder.recorders.chunks import RiffFacts, read_riff, read_riff_from
from embedder.recorders.comments import HeaderNote, parse_comment, parse_guano
from embedder.recorders.describe import Describer
from embedder.recorders.names import NameTime, compile_user_pattern, parse_name
from embedder.recorders.sites import SiteRule, site_of
from embedder.recorders.times import ISSUES, resolve_time
from sonotheque.core.clock import ClockReading, load_zone
from sonotheque.core.deployments import Deployment, DeploymentTable, Match, load_deployments, load_times

__all__ = [
    "ISSUES",
    "ClockReading",
    "Deployment",
    "DeploymentTable",
    "Describer",
    "HeaderNote",
    "Match",
    "NameTime",
    "RiffFacts",
    "SiteRule",
    "compile_user_pattern",
    "load_deployments",
    "load_times",
    "load_zone",
    "parse_comment",
    "parse_guano",
    "parse_name",
    "read_riff",
    "read_riff_from",
    "resolve_time",
    "site_of",
]
