"""What answers look like, and the OpenAPI description made from the types that do the work."""
