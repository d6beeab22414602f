"""The commands as functions; :mod:`housevis.cli` puts them on the command line."""
