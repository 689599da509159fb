"""What is at the edge: distributions, web ACLs, certificates, names, access logs."""

from typing import Any

from tests.aws_plugin.kinds import KINDS, Aws, Kind, Values, of_put, pascal, recorded, tag_list

EDGE = "us-east-1"
ZONE = "Z2FDTNDATAQYW2"  # of every distribution


def _items(values: list[Any]) -> Values:
    return {"Quantity": len(values), "Items": values}


def _cloudfront(aws: Aws) -> Any:
    return aws.client("cloudfront", EDGE)


def _access_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = _cloudfront(aws).create_origin_access_control(
        OriginAccessControlConfig={
            "Name": values["name"],
            "SigningProtocol": values["signingProtocol"],
            "SigningBehavior": values["signingBehavior"],
            "OriginAccessControlOriginType": values["originAccessControlOriginType"],
        }
    )
    return made["OriginAccessControl"]["Id"], {}


KINDS["aws:cloudfront/originAccessControl:OriginAccessControl"] = Kind(
    _access_create,
    lambda aws, id_, values: _cloudfront(aws).delete_origin_access_control(Id=id_),
    lambda aws, id_, values: _cloudfront(aws).get_origin_access_control(Id=id_) and {},
    named="name",
)
for _kind, _token in (
    ("cachePolicy", "CachePolicy"),
    ("originRequestPolicy", "OriginRequestPolicy"),
    ("responseHeadersPolicy", "ResponseHeadersPolicy"),
):
    KINDS[f"aws:cloudfront/{_kind}:{_token}"] = recorded(named="name", etag=lambda id_: f"etag-{id_}")


def _function_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = _cloudfront(aws).create_function(
        Name=values["name"],
        FunctionConfig={"Comment": values.get("comment", ""), "Runtime": values["runtime"]},
        FunctionCode=values["code"].encode(),
    )
    return values["name"], {
        "arn": made["FunctionSummary"]["FunctionMetadata"]["FunctionARN"],
        "etag": made["ETag"],
    }


KINDS["aws:cloudfront/function:Function"] = Kind(
    _function_create,
    lambda aws, id_, values: _cloudfront(aws).delete_function(Name=id_, IfMatch=values["etag"]),
    lambda aws, id_, values: _cloudfront(aws).describe_function(Name=id_) and {},
    named="name",
)


def _key_create(aws: Aws, values: Values) -> tuple[str, Values]:
    config = {"CallerReference": values["name"], "Name": values["name"], "EncodedKey": values["encodedKey"]}
    return _cloudfront(aws).create_public_key(PublicKeyConfig=config)["PublicKey"]["Id"], {}


KINDS["aws:cloudfront/publicKey:PublicKey"] = Kind(
    _key_create,
    lambda aws, id_, values: _cloudfront(aws).delete_public_key(Id=id_, IfMatch="any"),
    lambda aws, id_, values: _cloudfront(aws).get_public_key(Id=id_) and {},
    named="name",
)


def _group_create(aws: Aws, values: Values) -> tuple[str, Values]:
    config = {"Name": values["name"], "Items": values["items"]}
    return _cloudfront(aws).create_key_group(KeyGroupConfig=config)["KeyGroup"]["Id"], {}


KINDS["aws:cloudfront/keyGroup:KeyGroup"] = Kind(
    _group_create,
    lambda aws, id_, values: None,  # moto cannot delete one
    lambda aws, id_, values: _cloudfront(aws).get_key_group(Id=id_) and {},
    named="name",
)


def _origin(origin: Values) -> Values:
    made: Values = {"Id": origin["originId"], "DomainName": origin["domainName"]}
    headers = [{"HeaderName": one["name"], "HeaderValue": one["value"]} for one in origin.get("customHeaders", [])]
    made["CustomHeaders"] = _items(headers)
    if "originAccessControlId" in origin:
        made["OriginAccessControlId"] = origin["originAccessControlId"]
        made["S3OriginConfig"] = {"OriginAccessIdentity": ""}
    if custom := origin.get("customOriginConfig"):
        made["CustomOriginConfig"] = {
            "HTTPPort": int(custom["httpPort"]),
            "HTTPSPort": int(custom["httpsPort"]),
            "OriginProtocolPolicy": custom["originProtocolPolicy"],
            "OriginSslProtocols": _items(custom["originSslProtocols"]),
            "OriginReadTimeout": int(custom["originReadTimeout"]),
            "OriginKeepaliveTimeout": int(custom["originKeepaliveTimeout"]),
        }
    return made


def _behavior(given: Values) -> Values:
    methods = {**_items(given["allowedMethods"]), "CachedMethods": _items(given["cachedMethods"])}
    made: Values = {
        "TargetOriginId": given["targetOriginId"],
        "ViewerProtocolPolicy": given["viewerProtocolPolicy"],
        "AllowedMethods": methods,
        "CachePolicyId": given["cachePolicyId"],
        "Compress": bool(given["compress"]),
    }
    for key, name in (
        ("originRequestPolicyId", "OriginRequestPolicyId"),
        ("responseHeadersPolicyId", "ResponseHeadersPolicyId"),
    ):
        if key in given:
            made[name] = given[key]
    if groups := given.get("trustedKeyGroups"):
        made["TrustedKeyGroups"] = {"Enabled": True, **_items(groups)}
    associations = [
        {"EventType": one["eventType"], "FunctionARN": one["functionArn"]}
        for one in given.get("functionAssociations", [])
    ]
    made["FunctionAssociations"] = _items(associations)
    return made


def _viewer(given: Values) -> Values:
    if given.get("cloudfrontDefaultCertificate"):
        return {"CloudFrontDefaultCertificate": True}
    return {
        "ACMCertificateArn": given["acmCertificateArn"],
        "SSLSupportMethod": given["sslSupportMethod"],
        "MinimumProtocolVersion": given["minimumProtocolVersion"],
    }


def _distribution(reference: str, values: Values) -> Values:
    return {
        "CallerReference": reference,
        "Comment": values.get("comment", ""),
        "Enabled": bool(values["enabled"]),
        "Origins": _items([_origin(origin) for origin in values["origins"]]),
        "DefaultCacheBehavior": _behavior(values["defaultCacheBehavior"]),
        "ViewerCertificate": _viewer(values["viewerCertificate"]),
        "Aliases": _items(values.get("aliases") or []),
        "HttpVersion": values["httpVersion"],
        "IsIPV6Enabled": bool(values["isIpv6Enabled"]),
        "PriceClass": values["priceClass"],
        "WebACLId": values.get("webAclId", ""),
        "Restrictions": {"GeoRestriction": {"RestrictionType": "none", "Quantity": 0}},
    }


def _distribution_create(aws: Aws, values: Values) -> tuple[str, Values]:
    config = _distribution(str(abs(hash(str(values)))), values)
    made = _cloudfront(aws).create_distribution_with_tags(
        DistributionConfigWithTags={"DistributionConfig": config, "Tags": {"Items": tag_list(values)}}
    )["Distribution"]
    return made["Id"], {"arn": made["ARN"], "domainName": made["DomainName"], "hostedZoneId": ZONE}


def _distribution_update(aws: Aws, id_: str, values: Values) -> Values:
    found = _cloudfront(aws).get_distribution_config(Id=id_)
    config = _distribution(found["DistributionConfig"]["CallerReference"], values)
    _cloudfront(aws).update_distribution(Id=id_, IfMatch=found["ETag"], DistributionConfig=config)
    return {}


def _distribution_delete(aws: Aws, id_: str, values: Values) -> None:
    _distribution_update(aws, id_, {**values, "enabled": False})  # AWS deletes only what is not served
    etag = _cloudfront(aws).get_distribution_config(Id=id_)["ETag"]
    _cloudfront(aws).delete_distribution(Id=id_, IfMatch=etag)


def _distribution_read(aws: Aws, id_: str, values: Values) -> Values | None:
    found = _cloudfront(aws).get_distribution_config(Id=id_)["DistributionConfig"]
    return {"enabled": found["Enabled"], "comment": found["Comment"]}


KINDS["aws:cloudfront/distribution:Distribution"] = Kind(
    _distribution_create, _distribution_delete, _distribution_read, _distribution_update
)


def _of_acl(values: Values) -> Values:
    """The structure of a web ACL is Terraform's in small letters, but for these."""
    made = pascal({key: values[key] for key in ("description", "defaultAction", "rules", "visibilityConfig")})
    for rule in made["Rules"]:
        managed = rule["Statement"].get("ManagedRuleGroupStatement")
        if managed is not None:
            for override in managed.get("RuleActionOverrides", []):
                override["ActionToUse"] = {"Count": {}}
    return {**made, "Name": values["name"], "Scope": values["scope"]}


def _acl_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = aws.client("wafv2", EDGE).create_web_acl(**_of_acl(values), Tags=tag_list(values))["Summary"]
    return made["Id"], {"arn": made["ARN"]}


def _acl(aws: Aws, id_: str, values: Values) -> Any:
    return aws.client("wafv2", EDGE).get_web_acl(Name=values["name"], Scope=values["scope"], Id=id_)


def _acl_update(aws: Aws, id_: str, values: Values) -> Values:
    token = _acl(aws, id_, values)["LockToken"]
    aws.client("wafv2", EDGE).update_web_acl(**_of_acl(values), Id=id_, LockToken=token)
    return {}


KINDS["aws:wafv2/webAcl:WebAcl"] = Kind(
    _acl_create,
    lambda aws, id_, values: aws.client("wafv2", EDGE).delete_web_acl(
        Name=values["name"], Scope=values["scope"], Id=id_, LockToken=_acl(aws, id_, values)["LockToken"]
    ),
    lambda aws, id_, values: _acl(aws, id_, values) and {},
    _acl_update,
    named="name",
    fixed=frozenset({"name", "scope"}),
)


def _put_acl_logging(aws: Aws, values: Values) -> str:
    redacted = [pascal(field) for field in values["redactedFields"]]
    aws.client("wafv2", EDGE).put_logging_configuration(
        LoggingConfiguration={
            "ResourceArn": values["resourceArn"],
            "LogDestinationConfigs": values["logDestinationConfigs"],
            "RedactedFields": redacted,
        }
    )
    return str(values["resourceArn"])


KINDS["aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"] = of_put(
    _put_acl_logging,
    lambda aws, values: aws.client("wafv2", EDGE).get_logging_configuration(ResourceArn=values["resourceArn"]) and None,
    lambda aws, values: aws.client("wafv2", EDGE).delete_logging_configuration(ResourceArn=values["resourceArn"]),
    fixed=("resourceArn",),
)


def _source_create(aws: Aws, values: Values) -> tuple[str, Values]:
    aws.client("logs", EDGE).put_delivery_source(
        name=values["name"], resourceArn=values["resourceArn"], logType=values["logType"], tags=values.get("tags") or {}
    )
    return values["name"], {}


KINDS["aws:cloudwatch/logDeliverySource:LogDeliverySource"] = Kind(
    _source_create,
    lambda aws, id_, values: aws.client("logs", EDGE).delete_delivery_source(name=id_),
    lambda aws, id_, values: aws.client("logs", EDGE).get_delivery_source(name=id_) and {},
)


def _destination_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = aws.client("logs", EDGE).put_delivery_destination(
        name=values["name"],
        outputFormat=values["outputFormat"],
        deliveryDestinationConfiguration=values["deliveryDestinationConfiguration"],
        tags=values.get("tags") or {},
    )["deliveryDestination"]
    return values["name"], {"arn": made["arn"]}


KINDS["aws:cloudwatch/logDeliveryDestination:LogDeliveryDestination"] = Kind(
    _destination_create,
    lambda aws, id_, values: aws.client("logs", EDGE).delete_delivery_destination(name=id_),
    lambda aws, id_, values: aws.client("logs", EDGE).get_delivery_destination(name=id_) and {},
)


def _delivery_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = aws.client("logs", EDGE).create_delivery(
        deliverySourceName=values["deliverySourceName"],
        deliveryDestinationArn=values["deliveryDestinationArn"],
        recordFields=values["recordFields"],
        tags=values.get("tags") or {},
    )["delivery"]
    return made["id"], {"arn": made["arn"]}


KINDS["aws:cloudwatch/logDelivery:LogDelivery"] = Kind(
    _delivery_create,
    lambda aws, id_, values: aws.client("logs", EDGE).delete_delivery(id=id_),
    lambda aws, id_, values: aws.client("logs", EDGE).get_delivery(id=id_) and {},
)


def _certificate_create(aws: Aws, values: Values) -> tuple[str, Values]:
    acm = aws.client("acm", values.get("region"))
    arn = acm.request_certificate(
        DomainName=values["domainName"], ValidationMethod=values["validationMethod"], Tags=tag_list(values)
    )["CertificateArn"]
    record = {
        "domainName": values["domainName"],
        "resourceRecordName": f"_proof.{values['domainName']}",
        "resourceRecordType": "CNAME",
        "resourceRecordValue": "_proof.acm-validations.aws",
    }
    return arn, {"arn": arn, "domainValidationOptions": [record]}


KINDS["aws:acm/certificate:Certificate"] = Kind(
    _certificate_create,
    lambda aws, id_, values: aws.client("acm", values.get("region")).delete_certificate(CertificateArn=id_),
    lambda aws, id_, values: aws.client("acm", values.get("region")).describe_certificate(CertificateArn=id_) and {},
)
KINDS["aws:acm/certificateValidation:CertificateValidation"] = recorded(named="certificateArn")


def _change_record(aws: Aws, values: Values, action: str) -> None:
    record: Values = {"Name": values["name"], "Type": values["type"]}
    if values.get("aliases"):
        [alias] = values["aliases"]
        record["AliasTarget"] = {
            "DNSName": alias["name"],
            "HostedZoneId": alias["zoneId"],
            "EvaluateTargetHealth": False,
        }
    else:
        record |= {"TTL": int(values["ttl"]), "ResourceRecords": [{"Value": one} for one in values["records"]]}
    aws.client("route53", EDGE).change_resource_record_sets(
        HostedZoneId=values["zoneId"],
        ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
    )


def _record_create(aws: Aws, values: Values) -> tuple[str, Values]:
    _change_record(aws, values, "UPSERT")
    return f"{values['zoneId']}_{values['name']}_{values['type']}", {"fqdn": values["name"]}


def _record_read(aws: Aws, id_: str, values: Values) -> Values | None:
    found = aws.client("route53", EDGE).list_resource_record_sets(HostedZoneId=values["zoneId"])["ResourceRecordSets"]
    name = values["name"].rstrip(".") + "."
    return {} if any((one["Name"], one["Type"]) == (name, values["type"]) for one in found) else None


KINDS["aws:route53/record:Record"] = Kind(
    _record_create, lambda aws, id_, values: _change_record(aws, values, "DELETE"), _record_read
)
