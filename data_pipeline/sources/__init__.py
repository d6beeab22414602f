"""Imagery that lies on this machine: archives of tiles, GeoTIFFs, folders of pictures."""
