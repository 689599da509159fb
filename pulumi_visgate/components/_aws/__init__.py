"""The parts of the platform in an AWS account. pulumi-aws is imported here and nowhere else, and late.

Each module makes the children of one component, with pulumi-aws's own argument classes, so that a type checker knows
every name.
"""
