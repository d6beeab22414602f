"""Pricing: gradient boosting on attributes and visual features, and how well it values houses."""
