"""The REST service and its page."""
