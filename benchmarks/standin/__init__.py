"""A stand-in of Perch 2: the published graph's shapes and arithmetic with random weights, for measuring speed and size.

The network is written once (``architecture``) against a few operations (``ops``), which three modules provide:
``calibrate`` computes them while it makes the weights, ``ops_onnx`` writes them down as ONNX nodes, ``ops_tensorflow``
traces them into a SavedModel. What it says about sounds means nothing, except that different sounds differ.
"""

from benchmarks.standin.architecture import PERCH_2, Architecture
from benchmarks.standin.build import StandIn, ensure

__all__ = ["PERCH_2", "Architecture", "StandIn", "ensure"]
