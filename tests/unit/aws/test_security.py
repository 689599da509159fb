"""Security of target aws, as statements about everything that the program makes."""

import json
import re
from typing import Any

from tests.unit.aws.conftest import ACCOUNT, KEY, KEY_SECRET, MODEL, REGION, SIGNING_KEY, Build, Graph, Made, platform


def statements(graph: Graph) -> list[tuple[Made, dict[str, Any]]]:
    """Return every statement of every policy of a role, with its owner."""
    return [
        (policy, statement)
        for policy in graph.of("iam.RolePolicy")
        for statement in json.loads(policy["policy"])["Statement"]
    ]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def everything(graph: Graph, *, but: frozenset[str] = frozenset()) -> str:
    return json.dumps([one.inputs for one in graph.made if one.kind not in but], default=str)


def test_no_bucket_is_without_a_public_access_block(every: Graph) -> None:
    blocks = {block["bucket"]: block for block in every.of("s3.BucketPublicAccessBlock")}
    assert every.of("s3.Bucket")
    for bucket in every.of("s3.Bucket"):
        block = blocks[f"id-of-{bucket.name}"]
        for setting in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            assert block[setting] is True


def test_every_bucket_is_encrypted_owned_and_forgets_what_was_not_finished(every: Graph) -> None:
    for bucket in every.of("s3.Bucket"):
        id_ = f"id-of-{bucket.name}"
        [encryption] = [e for e in every.of("s3.BucketServerSideEncryptionConfiguration") if e["bucket"] == id_]
        assert encryption["rules"][0]["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
        [owned] = [o for o in every.of("s3.BucketOwnershipControls") if o["bucket"] == id_]
        assert owned["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
        [lifecycle] = [found for found in every.of("s3.BucketLifecycleConfiguration") if found["bucket"] == id_]
        first, *others = lifecycle["rules"]
        assert first["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 1}
        assert first["noncurrentVersionExpiration"] == {"noncurrentDays": 7}
        assert [(rule["filter"]["prefix"], rule["expiration"]["days"]) for rule in others] == [("artifacts/", 30)]


def test_a_bucket_answers_to_its_distribution_alone_and_only_by_tls(every: Graph) -> None:
    [policy] = [json.loads(found["policy"]) for found in every.of("s3.BucketPolicy")]
    tls, reader, ledgers = policy["Statement"]
    assert (ledgers["Effect"], ledgers["Principal"]) == ("Deny", {"Service": "cloudfront.amazonaws.com"})
    assert ledgers["Resource"] == "arn:aws:s3:::p-artifacts/.visgate/ledger/*"
    assert (tls["Effect"], tls["Principal"]) == ("Deny", "*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {"arn:aws:s3:::p-artifacts", "arn:aws:s3:::p-artifacts/*"} == set(tls["Resource"])
    assert (reader["Principal"], reader["Action"]) == ({"Service": "cloudfront.amazonaws.com"}, "s3:GetObject")
    distribution = every.one("cloudfront.Distribution", "p-cdn")
    arn = f"arn:aws:cloudfront:eu-central-1:{ACCOUNT}:{distribution.name}"
    assert reader["Condition"] == {"StringEquals": {"AWS:SourceArn": arn}}
    assert distribution["origins"][0]["originAccessControlId"] == "id-of-p-access"


def test_the_store_of_models_is_as_private_as_the_artifacts(build: Build) -> None:
    graph = build(platform(models=[{**MODEL, "policy": "on_demand", "windows": []}], aws={"model_store": True}))
    [found] = [json.loads(one["policy"]) for one in graph.of("s3.BucketPolicy") if "models" in one.name]
    tls, reader = found["Statement"]
    assert (tls["Effect"], tls["Principal"]) == ("Deny", "*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (reader["Principal"], reader["Action"]) == ({"Service": "cloudfront.amazonaws.com"}, "s3:GetObject")
    store = graph.one("cloudfront.Distribution", "store")
    assert reader["Condition"]["StringEquals"]["AWS:SourceArn"].endswith(f":{store.name}")
    assert "models" in reader["Resource"]
    [block] = [one for one in graph.of("s3.BucketPublicAccessBlock") if "models" in one.name]
    assert block["restrictPublicBuckets"] is True


def test_alarms_are_told_by_this_account_alone(every: Graph) -> None:
    [tell] = json.loads(every.one("sns.TopicPolicy")["policy"])["Statement"]
    assert tell["Action"] == "sns:Publish"
    assert tell["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_cors_lets_in_the_named_origins_and_no_other(every: Graph) -> None:
    [rule] = every.one("s3.BucketCorsConfiguration")["corsRules"]
    assert rule["allowedOrigins"] == ["https://app.acme.example"]
    assert rule["allowedMethods"] == ["GET", "HEAD"]


def test_no_role_may_do_everything_or_do_something_to_everything(every: Graph) -> None:
    assert statements(every)
    for policy, statement in statements(every):
        for action in listed(statement["Action"]):
            assert "*" not in action, policy.name
        for resource in listed(statement["Resource"]):
            if statement["Action"] == "ecr:GetAuthorizationToken":
                continue  # AWS lets nobody restrict it
            assert re.fullmatch(r"arn:aws:[a-z0-9-]+:.*[^*:]+.*", resource), policy.name
            assert "*" not in resource.removesuffix("*"), policy.name
            assert resource.rstrip("*")[-1] in ":/" or not resource.endswith("*"), policy.name


def test_uploads_are_signed_by_a_role_that_can_put_artifacts_keep_ledgers_and_do_nothing_else(every: Graph) -> None:
    [put, keep] = [found for policy, found in statements(every) if policy.name == "p-gateway-uploader-policy"]
    assert set(put["Action"]) == {"s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"}
    assert put["Resource"] == "arn:aws:s3:::p-artifacts/artifacts/*"
    assert set(keep["Action"]) == {"s3:PutObject", "s3:GetObject"}
    assert keep["Resource"] == "arn:aws:s3:::p-artifacts/.visgate/ledger/*"
    trust = json.loads(every.one("iam.Role", "uploader")["assumeRolePolicy"])
    assert [statement["Principal"] for statement in trust["Statement"]] == [
        {"AWS": f"arn:aws:iam:eu-central-1:{ACCOUNT}:p-gateway-role"}
    ]


def test_who_may_take_a_role_is_one_service_or_one_role(every: Graph) -> None:
    for role in every.of("iam.Role"):
        for statement in json.loads(role["assumeRolePolicy"])["Statement"]:
            [principal] = statement["Principal"].values()
            assert "*" not in principal, role.name


def test_schedules_take_their_role_for_this_account_only(every: Graph) -> None:
    trust = json.loads(every.one("iam.Role", "scheduler")["assumeRolePolicy"])
    assert trust["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_no_environment_variable_holds_a_secret(every: Graph) -> None:
    environments = [function["environment"]["variables"] for function in every.of("lambda.Function")]
    for task in every.of("ecs.TaskDefinition"):
        [container] = json.loads(task["containerDefinitions"])
        environments.append({pair["name"]: pair["value"] for pair in container["environment"]})
    seen = 0
    for environment in environments:
        assert SIGNING_KEY not in json.dumps(environment)
        assert KEY not in json.dumps(environment)
        for name, value in environment.items():
            if re.search(r"(KEY|SECRET|TOKEN|PASSWORD|VALKEY_URL)$", name):
                assert value.startswith("arn:aws:secretsmanager:"), name
                seen += 1
    assert seen >= 3


def test_the_signing_key_is_where_it_must_be_and_secret_there(every: Graph) -> None:
    holders = [one for one in every.made if SIGNING_KEY in json.dumps(one.inputs, default=str)]
    assert {one.name for one in holders} <= {"p-gateway-settings-version", "p-gateway-edge"}
    version = every.one("secretsmanager.SecretVersion")
    assert version.holds_secret("secretString")
    assert set(json.loads(version["secretString"])) >= {"signing_key", "origin_secret"}
    assert every.one("cloudfront.Distribution", "edge").holds_secret("origins")


def test_the_key_of_the_account_is_nowhere(every: Graph) -> None:
    assert KEY not in everything(every)
    reader = [s for p, s in statements(every) if p.name == "p-upkeep-policy" and s["Sid"] == "ReadKey"]
    assert [statement["Resource"] for statement in reader] == [KEY_SECRET]


def test_whatever_reaches_the_gateway_has_come_through_its_distribution(every: Graph) -> None:
    """The function's address asks for nothing, so every request must show what only the distribution knows."""
    edge = every.one("cloudfront.Distribution", "edge")
    [origin] = edge["origins"]
    [header] = origin["customHeaders"]
    held = json.loads(every.one("secretsmanager.SecretVersion")["secretString"])
    assert header == {"name": "x-visgate-origin", "value": held["origin_secret"]}
    environments = json.dumps([one.inputs for one in (*every.of("lambda.Function"), *every.of("ecs.TaskDefinition"))])
    assert "VISGATE_GATEWAY_ORIGIN_SECRET" in environments


def test_a_load_balancer_is_inside_and_only_cloudfront_reaches_it(on_fargate: Graph) -> None:
    balancer = on_fargate.one("lb.LoadBalancer")
    assert balancer["internal"] is True
    assert balancer["dropInvalidHeaderFields"] is True
    [front] = balancer["securityGroups"]
    rules = [rule for rule in on_fargate.of("vpc.SecurityGroupIngressRule") if rule["securityGroupId"] == front]
    assert [(rule["prefixListId"], rule["fromPort"], rule["toPort"]) for rule in rules] == [("pl-cloudfront", 443, 443)]
    assert on_fargate.one("lb.Listener")["protocol"] == "HTTPS"
    [origin] = on_fargate.one("cloudfront.Distribution", "edge")["origins"]
    assert origin["vpcOriginConfig"]["vpcOriginId"] == "id-of-p-gateway-way"


def test_nothing_in_the_network_is_open_to_the_world(on_fargate: Graph) -> None:
    for rule in on_fargate.of("vpc.SecurityGroupIngressRule"):
        assert rule["cidrIpv4"] is None
        assert rule["cidrIpv6"] is None
    default = on_fargate.one("ec2.DefaultSecurityGroup")
    assert (default["ingress"], default["egress"]) == ([], [])
    assert all(not subnet["mapPublicIpOnLaunch"] for subnet in on_fargate.of("ec2.Subnet"))


def test_callers_speak_tls_and_are_not_redirected_with_their_key_in_the_clear(every: Graph) -> None:
    behavior = every.one("cloudfront.Distribution", "edge")["defaultCacheBehavior"]
    assert behavior["viewerProtocolPolicy"] == "https-only"
    for distribution in every.of("cloudfront.Distribution"):
        viewer = distribution["viewerCertificate"]
        assert viewer.get("cloudfrontDefaultCertificate") or viewer["minimumProtocolVersion"] == "TLSv1.2_2021"
        for origin in distribution["origins"]:
            config = origin.get("customOriginConfig")
            assert config is None or config["originProtocolPolicy"] == "https-only"


def test_answers_to_callers_are_cached_nowhere(every: Graph) -> None:
    policy = every.one("cloudfront.CachePolicy")
    assert (policy["minTtl"], policy["defaultTtl"], policy["maxTtl"]) == (0, 0, 1)
    headers = policy["parametersInCacheKeyAndForwardedToOrigin"]["headersConfig"]["headers"]["items"]
    assert "Authorization" in headers


def test_logs_end_and_show_neither_queries_nor_keys_nor_addresses(every: Graph) -> None:
    for group in every.of("cloudwatch.LogGroup"):
        assert group["retentionInDays"] == 30
    deliveries = every.of("cloudwatch.LogDelivery")
    assert len(deliveries) == 2
    for delivery in deliveries:
        fields = set(delivery["recordFields"])
        assert not fields & {"cs-uri-query", "cs(Cookie)", "cs(Referer)", "c-ip", "x-forwarded-for", "cs(User-Agent)"}
        assert "cs-uri-stem" in fields
    redacted = every.one("wafv2.WebAclLoggingConfiguration")["redactedFields"]
    headers = {field["singleHeader"]["name"] for field in redacted if "singleHeader" in field}
    assert {"authorization", "x-hf-token", "x-visgate-origin"} <= headers
    assert {"queryString": {}} in redacted


def test_the_web_acl_counts_each_address_and_shows_no_sampled_request(every: Graph) -> None:
    acl = every.one("wafv2.WebAcl")
    assert every.one("cloudfront.Distribution", "edge")["webAclId"] == acl_arn(acl)
    rate, *managed = acl["rules"]
    assert rate["statement"]["rateBasedStatement"] == {
        "limit": 2000,
        "aggregateKeyType": "IP",
        "evaluationWindowSec": 300,
    }
    assert rate["action"] == {"block": {}}
    names = [rule["statement"]["managedRuleGroupStatement"]["name"] for rule in managed]
    assert names == [
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    ]
    for config in (acl["visibilityConfig"], *(rule["visibilityConfig"] for rule in acl["rules"])):
        assert config["sampledRequestsEnabled"] is False


def acl_arn(acl: Made) -> str:
    return f"arn:aws:wafv2:us-east-1:{ACCOUNT}:{acl.name}"


def test_repositories_scan_and_their_tags_stay(every: Graph) -> None:
    for repository in every.of("ecr.Repository"):
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
        assert repository["forceDelete"] is False
    assert len(every.of("ecr.LifecyclePolicy")) == len(every.of("ecr.Repository"))


def test_images_are_built_and_pulled_without_any_password(on_own_images: Graph) -> None:
    built = {one.name: one for one in on_own_images.made if one.kind.endswith(":ContainerImage")}
    assert set(built) == {"p-worker-build", "p-gateway-build"}
    for one in built.values():
        assert set(one.inputs) & {"username", "password", "insecure"} == set()
    registries = [one for one in on_own_images.made if one.kind.endswith(":RegistryAuth")]
    assert registries == []
    [delegation] = [one for one in on_own_images.made if one.kind.endswith(":EcrDelegation")]
    assert delegation["repository_arn"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:p-worker"


def test_what_has_to_be_in_the_region_of_cloudfront_is_there(every: Graph) -> None:
    for kind in ("wafv2.WebAcl", "wafv2.WebAclLoggingConfiguration", "cloudwatch.LogDelivery", "acm.Certificate"):
        for one in every.of(kind):
            assert one["region"] == ("us-east-1" if "front" not in one.name else None), one.name


def test_everything_carries_the_tags_of_stack_and_program(every: Graph) -> None:
    untagged = {
        "BucketOwnershipControls", "BucketPublicAccessBlock", "BucketServerSideEncryptionConfiguration",
        "BucketVersioning", "BucketLifecycleConfiguration", "BucketCorsConfiguration", "BucketPolicy",
        "OriginAccessControl", "ResponseHeadersPolicy", "PublicKey", "KeyGroup", "CachePolicy", "OriginRequestPolicy",
        "RolePolicy", "LifecyclePolicy", "SecretVersion", "WebAclLoggingConfiguration", "TopicPolicy",
        "TopicSubscription", "FunctionUrl", "Permission", "Dashboard", "Schedule", "RouteTableAssociation", "Policy",
        "Record", "CertificateValidation", "LogMetricFilter",
    }  # fmt: skip
    for one in every.aws:
        if one.kind.rpartition(":")[2] in untagged:
            assert one["tags"] is None
        else:
            assert one["tags"] == {"team": "pictures", "visgate:stack": "p/s"}, one.kind


def test_links_are_checked_where_they_are_signed(every: Graph, build: Build) -> None:
    cdn = every.one("cloudfront.Distribution", "p-cdn")
    assert cdn["defaultCacheBehavior"]["trustedKeyGroups"] == ["id-of-p-link-keys"]
    assert every.one("cloudfront.KeyGroup")["items"] == ["id-of-p-link-key"]
    assert every.one("cloudfront.PublicKey")["encodedKey"].startswith("-----BEGIN PUBLIC KEY-----")
    open_ = build(platform(cdn={"signed_links": False}))
    assert "trustedKeyGroups" not in open_.one("cloudfront.Distribution", "p-cdn")["defaultCacheBehavior"]


def test_artifacts_are_data_to_browsers(every: Graph) -> None:
    security = every.one("cloudfront.ResponseHeadersPolicy")["securityHeadersConfig"]
    assert security["contentSecurityPolicy"]["contentSecurityPolicy"] == "default-src 'none'; sandbox"
    assert security["contentTypeOptions"] == {"override": True}
    assert security["strictTransportSecurity"]["accessControlMaxAgeSec"] == 31_536_000
