"""The parts of the platform in an AWS account. pulumi-aws is imported here and nowhere else, and late.

Each module makes the children of one component, with pulumi-aws's own argument classes, so that a type checker knows
every name. Annotations are not evaluated: pulumi-aws loads a service once a class of it is used, and those that a stack
does without, such as EC2's, take longer to load than the rest of the program.
"""
