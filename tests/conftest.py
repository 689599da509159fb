"""Shared by every tier; fixtures of one tier live beside its tests."""
