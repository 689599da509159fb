"""A Pulumi plugin `aws` for tests: it carries out the resource types that this product uses, against moto's server.

It is no emulation of the real plugin: it checks nothing that AWS or moto does not check, and what it reports of a
resource is what was asked for, and what AWS answered.
"""
