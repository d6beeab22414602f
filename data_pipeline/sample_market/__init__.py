"""The built-in sample market: a fictional town whose price drivers are known.

The town is generated from a seed, block by block: aerial tiles at zoom 18, the
sales of its houses, and for every house the true masks of what in its picture
moved the price.
"""

from data_pipeline.sample_market.market import SampleMarket
from data_pipeline.sample_market.prices import DRIVERS
from data_pipeline.sample_market.source import TileSource

__all__ = ["DRIVERS", "SampleMarket", "TileSource"]
