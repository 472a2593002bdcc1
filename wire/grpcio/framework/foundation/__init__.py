"""See `logging_pool`."""
