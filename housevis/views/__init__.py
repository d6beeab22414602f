"""What people look at: the map of sold houses, the report and the server that shows both."""
