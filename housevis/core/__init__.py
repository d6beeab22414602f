"""What every package shares: errors, configuration, progress, files."""
