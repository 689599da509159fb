"""What happens around every request: identity, limits, size, headers and faults."""
