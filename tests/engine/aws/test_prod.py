"""`pulumi up -s prod`, from an empty account to an empty account."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint
from tests.conftest import CHECKOUT
from tests.engine.aws.conftest import ACCOUNT, CREDENTIALS, WORKER_IMAGE, Account, configure, statements
from tests.engine.aws.processes import WORKER, Starts, started
from tests.engine.conftest import DEADLINE_S, Stack
from tests.s3 import S3_SECRET
from visgate_contract.ledger import PREFIX as LEDGERS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]  # six runs of the engine over 90 resources

BLOCKED = {"BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"}
ALWAYS = {"start": "00:00", "end": "24:00", "timezone": "UTC", "minWorkers": 2}


def test_prod_comes_serves_and_goes(  # noqa: PLR0917, fixtures
    prod: Stack,
    aws: Account,
    runpod: RunpodClient,
    runpod_emulator: RunpodEmulator,
    key_secret: str,
    model_folder: Path,
    gateway_image: Starts,
) -> None:
    runpod_emulator.map_image(WORKER_IMAGE.partition(":")[0], [sys.executable, "-c", WORKER])
    model = {"modelId": "acme/tiny", "source": str(model_folder), "policy": "scheduled_warm", "windows": [ALWAYS]}
    configure(
        prod,
        regions=["EU-RO-1"],
        gpuPools=["ADA_24"],
        volumeSizeGb=10,
        models=[model],
        workerImage=WORKER_IMAGE,
        gatewayImage=f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/gateway:1",
        corsOrigins=["https://app.acme.example"],
        versioning=True,
        expireAfterDays=30,
        runpodKeySecretArn=key_secret,
        reaper="report",
        alarmEmail="ops@acme.example",
        monthlyBudgetUsd=200,
        tags={"team": "pictures"},
    )
    check_preview(prod)
    prod.up()
    outputs = json.loads(prod.run("stack", "output", "--json").text)
    assert outputs["idle_monthly_usd"] > 2 * 500  # two workers around the clock, by the pool's window
    check_account(aws, outputs, key_secret)
    check_watching(aws)
    check_state(prod, aws, runpod_emulator.key)

    prod.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    with plain_http_allowed(aws, outputs["bucket"]):
        check_gateway(gateway_image, aws, outputs, runpod_emulator)
    check_upkeep(gateway_image, aws, runpod, outputs)

    aws.client("s3").delete_public_access_block(Bucket=outputs["bucket"])
    assert prod.steps(PULUMI_OPTION_REFRESH="true") == {"visgate-artifacts-public-access": "create"}
    repaired = prod.run("up", "--yes", "--skip-preview", "--refresh").text
    assert "+ 1 created" in repaired
    assert "updated" not in repaired.rpartition("Resources:")[2]
    assert aws.client("s3").get_public_access_block(Bucket=outputs["bucket"])

    prod.run("destroy", "--yes", "--skip-preview")
    check_leftovers(aws, outputs)


def check_preview(prod: Stack) -> None:
    """See that a reviewer is told what idling costs, and that the policy pack has nothing to say."""
    done = subprocess.run(
        ["visgate", "diff", "--stack", "prod", "--policy-pack", str(CHECKOUT / "policy")],
        cwd=prod.folder,
        env=prod.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    told = done.stdout
    (prod.folder / "diff.md").write_text(told)
    assert done.returncode == 0, told + done.stderr
    assert "to create" in told
    assert "mandatory" not in told
    assert "advisory" not in told
    assert "aws:WebAcl" in told
    assert S3_SECRET not in told


def check_account(aws: Account, outputs: dict[str, Any], key_secret: str) -> None:
    """See that what the state says is there is there."""
    bucket, s3 = outputs["bucket"], aws.client("s3")
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert block == dict.fromkeys(BLOCKED, True)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule.get("Expiration", {}).get("Days") for rule in rules] == [None, 30]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    allowed = [
        found for found in statements(s3.get_bucket_policy(Bucket=bucket)["Policy"]) if found["Effect"] == "Allow"
    ]
    assert [found["Principal"] for found in allowed] == [{"Service": "cloudfront.amazonaws.com"}]

    iam = aws.client("iam")
    roles = {role["RoleName"].rpartition("-")[0]: role for role in iam.list_roles()["Roles"]}
    assert {"visgate-gateway-role", "visgate-gateway-uploader", "visgate-upkeep-role"} <= set(roles)
    uploader = roles["visgate-gateway-uploader"]["RoleName"]
    may = statements(iam.get_role_policy(RoleName=uploader, PolicyName="inline")["PolicyDocument"])
    assert {found["Resource"] for found in may} == {
        f"arn:aws:s3:::{bucket}/{prefix}/*" for prefix in ("artifacts", LEDGERS)
    }

    [repository] = aws.client("ecr").describe_repositories()["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    arn = aws.variables("visgate-gateway")["VISGATE_GATEWAY_SIGNING_KEY"].partition("#")[0]
    held = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
    assert set(held) == {"signing_key", "previous_signing_key", "origin_secret"}
    assert held["previous_signing_key"] == ""  # until the key is rotated
    schedules = {found["Name"].rpartition("-")[0] for found in aws.client("scheduler").list_schedules()["Schedules"]}
    assert schedules == {"visgate-upkeep-pools", "visgate-upkeep-reaper"}
    assert aws.variables("visgate-upkeep")["VISGATE_UPKEEP_RUNPOD_API_KEY"] == key_secret
    tagged = aws.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "visgate:stack", "Values": ["visgate/prod"]}]
    )
    assert len(tagged["ResourceTagMappingList"]) > 5


def check_watching(aws: Account) -> None:
    """See that alarms look at figures that somebody writes, and that somebody is told."""
    [topic] = aws.client("sns").list_topics()["Topics"]
    [told] = aws.client("sns").list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
    assert (told["Protocol"], told["Endpoint"]) == ("email", "ops@acme.example")
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert all(found["AlarmActions"] == [topic["TopicArn"]] for found in alarms)
    [counted] = aws.client("logs").describe_metric_filters()["metricFilters"]
    [figure] = counted["metricTransformations"]
    watched = {(found["Namespace"], found["MetricName"]) for found in alarms}
    assert (figure["metricNamespace"], figure["metricName"]) in watched
    functions = {where["Value"] for found in alarms for where in found["Dimensions"] if where["Name"] == "FunctionName"}
    assert functions == set(aws.functions())
    [budget] = aws.client("budgets", "us-east-1").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert float(budget["BudgetLimit"]["Amount"]) == 200
    [dashboard] = aws.client("cloudwatch").list_dashboards()["DashboardEntries"]
    shown = aws.client("cloudwatch").get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"]
    assert all(found["AlarmArn"] in shown for found in alarms if found["AlarmName"].startswith("visgate-gateway"))


def check_state(prod: Stack, aws: Account, runpod_key: str) -> None:
    """See that the state holds no secret in the clear."""
    arn = aws.variables("visgate-gateway")["VISGATE_GATEWAY_SIGNING_KEY"].partition("#")[0]
    held = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
    canaries = (*held.values(), runpod_key, S3_SECRET, CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    state = prod.exported()
    for canary in filter(None, canaries):
        assert canary not in state


@contextmanager
def plain_http_allowed(aws: Account, bucket: str) -> Iterator[None]:
    """Take the refusal of requests without TLS out of a bucket's policy: moto's server has no TLS."""
    s3 = aws.client("s3")
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    with pytest.raises(ClientError, match=r"Forbidden|AccessDenied"):
        s3.put_object(Bucket=bucket, Key="artifacts/plain", Body=b"")
    allowed = [found for found in statements(policy) if found["Effect"] == "Allow"]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({**json.loads(policy), "Statement": allowed}))
    yield
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def check_gateway(image: Starts, aws: Account, outputs: dict[str, Any], runpod_emulator: RunpodEmulator) -> None:
    """Start what the function's image starts, with the function's environment, and make a picture through it."""
    variables = aws.variables("visgate-gateway")
    log: list[str] = []
    held = secret_of(aws, variables)
    environment = {**variables, **aws.environment}
    with started(image, "pulumi_visgate.gateway", environment, "VISGATE_GATEWAY_PORT", log) as url:
        direct = httpx.get(f"{url}/v1/models", trust_env=False)
        assert (direct.status_code, direct.json()["detail"]) == (403, "This address is not for callers.")
        headers = {
            "Authorization": f"Bearer {runpod_emulator.key}",
            "X-Visgate-Origin": held["origin_secret"],
            "X-Visgate-Client": "203.0.113.7",
        }
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            [offered] = client.get("/v1/models").json()["models"]
            assert offered["model"] == "acme/tiny"
            body = {"model": "acme/tiny", "input": {"prompt": "a red fox"}}
            accepted = client.post("/v1/jobs", json=body).raise_for_status().json()
            assert accepted["endpoint_id"] == outputs["pools"][0]["endpoint_id"]
            with client.stream("GET", f"/v1/jobs/{accepted['job_id']}/events") as events:
                last = [line for line in events.iter_lines() if line.startswith("data:")][-1]
    assert "/v1/jobs" in log[0]
    for canary in filter(None, (*held.values(), runpod_emulator.key, CREDENTIALS["AWS_SECRET_ACCESS_KEY"])):
        assert canary not in log[0]
    data = json.loads(last.removeprefix("data:"))["data"]
    assert data["status"] == "ready", data["error"]
    link = data["artifacts"][0]["url"]
    assert link.startswith(f"{outputs['cdn_url']}/artifacts/")
    key = link.removeprefix(f"{outputs['cdn_url']}/")
    stored = aws.client("s3").get_object(Bucket=outputs["bucket"], Key=key)
    assert (stored["ContentType"], stored["Body"].read()) == ("image/png", b"a red fox")


def secret_of(aws: Account, variables: dict[str, str]) -> dict[str, str]:
    arn = variables["VISGATE_GATEWAY_SIGNING_KEY"].partition("#")[0]
    found: dict[str, str] = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
    return found


def check_upkeep(image: Starts, aws: Account, runpod: RunpodClient, outputs: dict[str, Any]) -> None:
    """Send the upkeep process what its schedules would send it."""
    endpoint = outputs["pools"][0]["endpoint_id"]
    secret_key = aws.client("secretsmanager").get_secret_value(SecretId="visgate/runpod")["SecretString"]
    work = {
        found["Name"].rpartition("-")[0]: json.loads(
            aws.client("scheduler").get_schedule(Name=found["Name"])["Target"]["Input"]
        )
        for found in aws.client("scheduler").list_schedules()["Schedules"]
    }
    [pool] = work["visgate-upkeep-pools"]["pools"]
    now = datetime.now(UTC)
    opened = {"start": f"{now - timedelta(minutes=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}"}
    edge = {**work["visgate-upkeep-pools"], "pools": [{**pool, "windows": [{**pool["windows"][0], **opened}]}]}
    runpod.update_endpoint(endpoint, UpdateEndpoint(workers=EndpointWorkers(min=0)))
    environment = {**aws.variables("visgate-upkeep"), **aws.environment}
    log: list[str] = []
    with started(image, "pulumi_visgate.upkeep", environment, "VISGATE_UPKEEP_PORT", log) as url:

        def send(event: dict[str, Any]) -> Any:
            return httpx.post(f"{url}/events", json=event, trust_env=False, timeout=30).raise_for_status().json()

        assert set(send(work["visgate-upkeep-pools"])["minima"]) <= {endpoint}  # in a quarter of an hour's first minute
        assert send(edge) == {"minima": {endpoint: 2}}
        assert runpod.get_endpoint(endpoint).workers.min == 2
        assert send(work["visgate-upkeep-reaper"]) == {"findings": []}
    assert secret_key not in log[0]


def check_leftovers(aws: Account, outputs: dict[str, Any]) -> None:
    """Only what holds data, and what somebody else has made, is left."""
    assert [found["Name"] for found in aws.client("s3").list_buckets()["Buckets"]] == [outputs["bucket"]]
    assert aws.client("s3").get_public_access_block(Bucket=outputs["bucket"])
    assert aws.client("iam").list_roles()["Roles"] == []
    assert aws.functions() == []
    assert aws.client("ecr").describe_repositories()["repositories"] == []
    assert aws.client("scheduler").list_schedules()["Schedules"] == []
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert aws.client("logs").describe_log_groups()["logGroups"] == []
    assert aws.client("budgets", "us-east-1").describe_budgets(AccountId=ACCOUNT)["Budgets"] == []
    secrets = aws.client("secretsmanager").list_secrets()["SecretList"]
    assert [found["Name"] for found in secrets] == ["visgate/runpod"]
    assert "Items" not in aws.client("cloudfront").list_distributions()["DistributionList"]


def test_a_key_that_is_not_known_is_named_before_anything_is_made(prod: Stack, aws: Account) -> None:
    configure(prod, regions=["EU-RO-1"], gpuPools=["ADA_24"], models=[{"modelId": "a/b", "colour": "red"}], region="EU")
    said = prod.preview(ok=False)
    assert said.code != 0
    assert "visgate:region is not known" in said.text
    assert "visgate:models.0.colour" in said.text
    assert "Traceback" not in said.text
    assert aws.client("s3").list_buckets()["Buckets"] == []
