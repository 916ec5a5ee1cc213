"""The REST service and its page. ``palimpsest_api.main:create_app`` is the application factory."""
