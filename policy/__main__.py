"""The policy pack `visgate`: all policies of the library."""

from pulumi_visgate.policies import policies, start

start("visgate", policies())
