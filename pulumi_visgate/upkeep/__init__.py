"""What a stack needs doing while nobody looks: pools' minima moved in time, and what nobody owns ended.

A stateless HTTP service that a scheduler calls; every call says all that it needs but the account's key. No Pulumi.
"""
