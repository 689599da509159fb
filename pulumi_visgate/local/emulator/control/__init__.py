"""Handlers of API v2, one module for each kind of resource."""
