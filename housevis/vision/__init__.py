"""Vision: a picture becomes a feature map, a pooled feature, and a 4-D visual feature."""
