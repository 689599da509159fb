"""Finds or installs the programs that the project runs but Python cannot install.

Standard library only: this runs before any virtual environment exists.
"""
