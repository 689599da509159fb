"""The gateway on Fargate: tasks behind an internal load balancer that CloudFront alone reaches, by TLS all the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import appautoscaling, cloudfront, cloudwatch, ecs, elasticache, iam, lb

from pulumi_visgate.aws_prices import fargate_task
from pulumi_visgate.components._aws import domain, network
from pulumi_visgate.components._aws._children import AwsFamily, Statement, ids, policy, trust
from pulumi_visgate.components._aws.function import Identity
from pulumi_visgate.components._aws.network import GATEWAY_PORT, HTTPS, Network
from pulumi_visgate.components._aws_args import GatewayOnAws

PARTS = (
    *network.PARTS,
    "execution_role",
    "execution_role_policy",
    "cluster",
    "task",
    "service",
    "load_balancer",
    "target_group",
    "listener",
    "vpc_origin",
    "scaling",
    "scaling_policy",
    "cache",
)
_TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
_DRAIN_S = 30
_CPU_PERCENT = 60.0
_GRACE_S = 30
_IDLE_S = 120  # longer than CloudFront keeps a connection, so that it is never the one that finds it closed


@dataclass(frozen=True, slots=True)
class Front:
    """What the distribution and the alarms need.

    Args:
        host: Host name of the load balancer.
        vpc_origin: Way of CloudFront into the network.
        load_balancer: Suffix of its ARN.
        target_group: Suffix of its target group's ARN.
    """

    host: pulumi.Output[str]
    vpc_origin: cloudfront.VpcOrigin
    load_balancer: pulumi.Output[str]
    target_group: pulumi.Output[str]


def task_identity(aws: AwsFamily, name: str, *, log_retention_days: int) -> Identity:
    """Make role and log group of the tasks.

    Args:
        aws: Component that owns them.
        name: Name of the service in the program.
        log_retention_days: Days that its logs are kept.
    """
    role = aws.make(
        "role",
        iam.Role,
        f"{name}-role",
        iam.RoleArgs(description="Tasks of the gateway", assume_role_policy=trust("ecs-tasks.amazonaws.com")),
    )
    group = aws.make(
        "log_group",
        cloudwatch.LogGroup,
        f"{name}-log",
        cloudwatch.LogGroupArgs(name_prefix=f"/aws/ecs/{name}-", retention_in_days=log_retention_days),
    )
    return Identity(role, group)


def shared_counters(aws: AwsFamily, name: str, inside: Network) -> pulumi.Output[str]:
    """Make the Valkey store in which all tasks count requests, and return its URL.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        inside: Network that it is in.
    """
    cache = aws.make(
        "cache",
        elasticache.ServerlessCache,
        name,
        elasticache.ServerlessCacheArgs(
            engine="valkey",
            major_engine_version="8",
            description="Counters of the gateway's limits",
            security_group_ids=[inside.cache.id],
            subnet_ids=ids(inside.subnets),
        ),
    )
    endpoint = cache.endpoints.apply(lambda found: found[0])
    return pulumi.Output.concat("valkeys://", endpoint.address.apply(str), ":", endpoint.port.apply(str))


def service(
    aws: AwsFamily,
    name: str,
    who: Identity,
    inside: Network,
    wanted: GatewayOnAws,
    *,
    image: pulumi.Input[str],
    repository_arn: pulumi.Input[str],
    module: str,
    environment: Mapping[str, pulumi.Input[str]],
    may: tuple[Statement, ...],
) -> Front:
    """Make the service and what is in front of it.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        who: Its role and log group.
        inside: Network that it is in.
        wanted: What the program asks for.
        image: Image in ECR.
        repository_arn: Repository that the image is in.
        module: Python module that serves.
        environment: Its variables, none of them a secret.
        may: What it may do.
    """
    if wanted.domain is None or wanted.zone_id is None:  # checked with the arguments
        message = "compute fargate needs domain and zone_id"
        raise ValueError(message)
    aws.make("role_policy", iam.RolePolicy, f"{name}-policy", iam.RolePolicyArgs(role=who.role.id, policy=policy(*may)))
    starter = _starter(aws, name, who, repository_arn)
    certificate = domain.certificate(
        aws, f"{name}-front-certificate", domain=wanted.domain, zone_id=wanted.zone_id, region=None
    )
    balancer, group, listener = _front(aws, name, inside, certificate)
    cluster = aws.make("cluster", ecs.Cluster, f"{name}-cluster", ecs.ClusterArgs())
    task = _task(aws, name, who, wanted, starter=starter, image=image, module=module, environment=environment)
    running = aws.make(
        "service",
        ecs.Service,
        name,
        ecs.ServiceArgs(
            cluster=cluster.arn,
            task_definition=task.arn,
            launch_type="FARGATE",
            desired_count=wanted.min_tasks,
            health_check_grace_period_seconds=_GRACE_S,
            deployment_circuit_breaker=ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            network_configuration=ecs.ServiceNetworkConfigurationArgs(
                subnets=ids(inside.subnets), security_groups=[inside.tasks.id], assign_public_ip=True
            ),
            load_balancers=[
                ecs.ServiceLoadBalancerArgs(
                    target_group_arn=group.arn, container_name="gateway", container_port=GATEWAY_PORT
                )
            ],
        ),
        price=wanted.min_tasks * fargate_task(cpu=wanted.cpu, memory_mb=_memory_mb(wanted)),
        depends_on=[listener],
        ignore_changes=["desiredCount"],  # it is the scaling's from then on
    )
    _scale(aws, name, wanted, cluster, running)
    way = aws.make(
        "vpc_origin",
        cloudfront.VpcOrigin,
        f"{name}-way",
        cloudfront.VpcOriginArgs(
            vpc_origin_endpoint_config=cloudfront.VpcOriginVpcOriginEndpointConfigArgs(
                name=f"{pulumi.get_project()}-{pulumi.get_stack()}-{name}",
                arn=balancer.arn,
                http_port=80,
                https_port=HTTPS,
                origin_protocol_policy="https-only",
                origin_ssl_protocols=cloudfront.VpcOriginVpcOriginEndpointConfigOriginSslProtocolsArgs(
                    items=["TLSv1.2"], quantity=1
                ),
            )
        ),
        depends_on=[inside.gateway],
    )
    return Front(balancer.dns_name, way, balancer.arn_suffix, group.arn_suffix)


def _memory_mb(wanted: GatewayOnAws) -> int:
    return max(wanted.memory_mb, 2 * wanted.cpu)  # Fargate's least for so many CPUs


def _starter(aws: AwsFamily, name: str, who: Identity, repository_arn: pulumi.Input[str]) -> iam.Role:
    """Make the role with which ECS starts a task: it pulls the image and opens the log."""
    role = aws.make(
        "execution_role",
        iam.Role,
        f"{name}-starter",
        iam.RoleArgs(description="Starts tasks of the gateway", assume_role_policy=trust("ecs-tasks.amazonaws.com")),
    )
    pull = {
        "Sid": "PullImage",
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
        "Resource": repository_arn,
    }
    # The one action of it that AWS lets nobody restrict to a resource.
    sign_in = {"Sid": "SignInToRegistry", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
    log = {
        "Sid": "WriteLog",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": who.log_group.arn.apply(lambda arn: f"{arn.removesuffix(':*')}:log-stream:*"),
    }
    aws.make(
        "execution_role_policy",
        iam.RolePolicy,
        f"{name}-starter-policy",
        iam.RolePolicyArgs(role=role.id, policy=policy(pull, sign_in, log)),
    )
    return role


def _front(
    aws: AwsFamily, name: str, inside: Network, certificate: pulumi.Input[str]
) -> tuple[lb.LoadBalancer, lb.TargetGroup, lb.Listener]:
    balancer = aws.make(
        "load_balancer",
        lb.LoadBalancer,
        f"{name}-front",
        lb.LoadBalancerArgs(
            internal=True,
            load_balancer_type="application",
            security_groups=[inside.front.id],
            subnets=ids(inside.subnets),
            drop_invalid_header_fields=True,
            idle_timeout=_IDLE_S,
        ),
    )
    group = aws.make(
        "target_group",
        lb.TargetGroup,
        f"{name}-tasks",
        lb.TargetGroupArgs(
            vpc_id=inside.vpc.id,
            port=GATEWAY_PORT,
            protocol="HTTP",
            target_type="ip",
            deregistration_delay=_DRAIN_S,
            health_check=lb.TargetGroupHealthCheckArgs(path="/readyz", matcher="200", interval=10, timeout=5),
        ),
    )
    listener = aws.make(
        "listener",
        lb.Listener,
        f"{name}-https",
        lb.ListenerArgs(
            load_balancer_arn=balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=_TLS_POLICY,
            certificate_arn=certificate,
            default_actions=[lb.ListenerDefaultActionArgs(type="forward", target_group_arn=group.arn)],
        ),
    )
    return balancer, group, listener


def _task(
    aws: AwsFamily,
    name: str,
    who: Identity,
    wanted: GatewayOnAws,
    *,
    starter: iam.Role,
    image: pulumi.Input[str],
    module: str,
    environment: Mapping[str, pulumi.Input[str]],
) -> ecs.TaskDefinition:
    names = sorted(environment)
    # `awslogs` wants the region, which is in every ARN.
    known = pulumi.Output.all(image, who.log_group.name, who.log_group.arn, *(environment[key] for key in names))

    def containers(values: list[str]) -> str:
        image_uri, group, arn, *variables = values
        options = {"awslogs-group": group, "awslogs-region": arn.split(":")[3], "awslogs-stream-prefix": "gateway"}
        container = {
            "name": "gateway",
            "image": image_uri,
            "command": ["python", "-m", module],
            "essential": True,
            "readonlyRootFilesystem": True,
            "portMappings": [{"containerPort": GATEWAY_PORT, "protocol": "tcp"}],
            "environment": [{"name": key, "value": value} for key, value in zip(names, variables, strict=True)],
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        }
        return json.dumps([container], sort_keys=True)

    return aws.make(
        "task",
        ecs.TaskDefinition,
        f"{name}-task",
        ecs.TaskDefinitionArgs(
            family=f"{pulumi.get_project()}-{pulumi.get_stack()}-{name}",
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(wanted.cpu),
            memory=str(_memory_mb(wanted)),
            runtime_platform=ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture="X86_64", operating_system_family="LINUX"
            ),
            execution_role_arn=starter.arn,
            task_role_arn=who.role.arn,
            container_definitions=known.apply(containers),
        ),
    )


def _scale(aws: AwsFamily, name: str, wanted: GatewayOnAws, cluster: ecs.Cluster, running: ecs.Service) -> None:
    target = aws.make(
        "scaling",
        appautoscaling.Target,
        f"{name}-scaling",
        appautoscaling.TargetArgs(
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.concat("service/", cluster.name, "/", running.name),
            min_capacity=wanted.min_tasks,
            max_capacity=wanted.max_tasks,
        ),
    )
    metric = appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
        predefined_metric_type="ECSServiceAverageCPUUtilization"
    )
    aws.make(
        "scaling_policy",
        appautoscaling.Policy,
        f"{name}-scaling-cpu",
        appautoscaling.PolicyArgs(
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration=appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
                target_value=_CPU_PERCENT, predefined_metric_specification=metric
            ),
        ),
    )
