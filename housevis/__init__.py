"""housevis: house prices that explain themselves.

Import from the packages (``housevis.vision``, ``housevis.pricing``,
``housevis.explain``, ``housevis.views``); this module stays light, so that
``data_pipeline`` and ``db`` work without torch.
"""

from __future__ import annotations

__version__ = "0.1.0"
