"""Layer 3: components that compose the resources.

No module here uses postponed annotations, and arguments are TypedDicts of plain types: the component plugin infers its
schema from them.
"""
