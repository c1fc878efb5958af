"""What `recipe=quick` gives."""
