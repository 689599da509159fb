"""`visgate cleanup --stack`: what a stack has left behind in both clouds."""

import json
import subprocess
from typing import Any

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources._values import derived_name
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.engine.aws.conftest import REGION, Account, configure
from tests.engine.conftest import Stack
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

pytestmark = pytest.mark.engine
TAG = {"Key": "visgate:stack", "Value": "visgate/prod"}


def endpoint(runpod: RunpodClient, name: str) -> str:
    body: dict[str, Any] = {
        "name": name,
        "image": "acme/worker:1",
        "type": "QUEUE",
        "gpu": {"pools": ["ADA_24"]},
        "workers": {"min": 0, "max": 1},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    }
    return runpod.create_endpoint(CreateEndpoint.model_validate(body)).id


def leave_in_aws(aws: Account) -> dict[str, str]:
    """Make what a stack could have left, and something of nobody's."""
    s3, iam = aws.client("s3"), aws.client("iam")
    for name, tags in (("visgate-artifacts-1", [TAG]), ("somebody-elses", [{"Key": "team", "Value": "x"}])):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        s3.put_object(Bucket=name, Key="artifacts/a.png", Body=b"a")
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    for name, tags in (("visgate-gateway-role-1", [TAG]), ("visgate-other-stack", [{**TAG, "Value": "visgate/dev"}])):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Tags=tags)
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(may))
    secret = aws.client("secretsmanager").create_secret(Name="visgate-settings-1", SecretString="{}", Tags=[TAG])
    topic = aws.client("sns").create_topic(Name="visgate-alarms-1", Tags=[TAG])
    return {"secret": secret["ARN"], "topic": topic["TopicArn"]}


def test_leftovers_of_both_clouds_are_shown_with_their_cost_and_removed(
    prod: Stack, aws: Account, runpod: RunpodClient, runpod_emulator: RunpodEmulator
) -> None:
    configure(prod, regions=["EU-RO-1"])
    key = runpod_emulator.key
    on_demand = str(
        EndpointName.build(
            user_hash=user_hash(key), model_id="m/one", task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={}
        )
    )
    left = endpoint(runpod, on_demand)
    foreign = endpoint(runpod, "production")
    own = derived_name("visgate/prod/Everything that our team draws with-cache-eu-ro-1", ("EU-RO-1", None))
    others = derived_name("visgate/dev/visgate-cache-eu-ro-1", ("EU-RO-1", None))
    volumes = {
        name: runpod.create_network_volume(CreateNetworkVolume(name=name, size=100, data_center="EU-RO-1")).id
        for name in (own, others)
    }
    made = leave_in_aws(aws)

    refused = clean(prod)
    assert refused.returncode == 1
    assert "Nobody is there to confirm" in refused.stderr
    told = refused.stdout
    assert volumes[own] in told
    assert volumes[others] not in told
    assert "7.00" in told  # 100 GB at $0.07
    assert "holds data" in told
    assert "visgate-artifacts-1" in told
    assert "somebody-elses" not in told
    assert made["topic"] in told

    done = clean(prod, "--yes", "--keep", made["topic"])
    assert done.returncode == 0, done.stderr
    assert {found.id for found in runpod.list_endpoints()} == {foreign}
    assert left not in {found.id for found in runpod.list_endpoints()}
    assert [found.id for found in runpod.list_network_volumes()] == [volumes[others]]
    assert [found["Name"] for found in aws.client("s3").list_buckets()["Buckets"]] == ["somebody-elses"]
    assert [found["RoleName"] for found in aws.client("iam").list_roles()["Roles"]] == ["visgate-other-stack"]
    assert aws.client("secretsmanager").list_secrets()["SecretList"] == []
    assert [found["TopicArn"] for found in aws.client("sns").list_topics()["Topics"]] == [made["topic"]]

    again = clean(prod, "--yes", "--keep", made["topic"])
    assert again.returncode == 0, again.stderr
    assert "has left nothing behind" in again.stderr


def clean(prod: Stack, *options: str) -> Any:
    return subprocess.run(
        ["visgate", "cleanup", "--stack", "prod", *options],
        cwd=prod.folder,
        env=prod.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
