"""Extract and transform: listings and aerial tiles into a database and one picture per house.

Nothing here imports torch. ``python -m data_pipeline CONFIG`` runs it alone.
"""
