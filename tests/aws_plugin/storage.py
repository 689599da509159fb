"""Buckets, repositories, secrets and parameters."""

import json
from typing import Any

from tests.aws_plugin.kinds import KINDS, Aws, Kind, Values, of_put, pascal, tag_list


def _bucket_create(aws: Aws, values: Values) -> tuple[str, Values]:
    name, s3 = values["bucket"], aws.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    return name, _bucket_update(aws, name, values)


def _bucket_update(aws: Aws, name: str, values: Values) -> Values:
    aws.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(values)})
    return {
        "arn": f"arn:aws:s3:::{name}",
        "region": aws.region,
        "bucketRegionalDomainName": f"{name}.s3.{aws.region}.amazonaws.com",
    }


def _bucket_read(aws: Aws, name: str, values: Values) -> Values | None:
    s3 = aws.client("s3")
    s3.head_bucket(Bucket=name)
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    return {"tags": tags}


def _bucket_delete(aws: Aws, name: str, values: Values) -> None:
    s3 = aws.client("s3")
    if values.get("forceDestroy"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            for found in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                s3.delete_object(Bucket=name, Key=found["Key"], VersionId=found["VersionId"])
    s3.delete_bucket(Bucket=name)


KINDS["aws:s3/bucket:Bucket"] = Kind(
    _bucket_create,
    _bucket_delete,
    _bucket_read,
    _bucket_update,
    named="bucket",
    fixed=frozenset({"bucket"}),
)


def _of_bucket(put: str, get: str, delete: str | None, body: Any, observe: Any = None) -> Kind:
    def do_put(aws: Aws, values: Values) -> str:
        getattr(aws.client("s3"), put)(Bucket=values["bucket"], **body(values))
        return str(values["bucket"])

    def do_get(aws: Aws, values: Values) -> Any:
        answer = getattr(aws.client("s3"), get)(Bucket=values["bucket"])
        return {"__observed": True, **observe(answer)} if observe else None

    def do_delete(aws: Aws, values: Values) -> Any:
        return delete and getattr(aws.client("s3"), delete)(Bucket=values["bucket"])

    return of_put(do_put, do_get, do_delete, fixed=("bucket",))


def _lower(values: Values) -> Values:
    return {key[0].lower() + key[1:]: value for key, value in values.items()}


KINDS["aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"] = _of_bucket(
    "put_public_access_block",
    "get_public_access_block",
    "delete_public_access_block",
    lambda values: {"PublicAccessBlockConfiguration": pascal({k: v for k, v in values.items() if "ublic" in k})},
    lambda answer: _lower(answer["PublicAccessBlockConfiguration"]),
)
KINDS["aws:s3/bucketOwnershipControls:BucketOwnershipControls"] = _of_bucket(
    "put_bucket_ownership_controls",
    "get_bucket_ownership_controls",
    "delete_bucket_ownership_controls",
    lambda values: {"OwnershipControls": {"Rules": [pascal(values["rule"])]}},
)
KINDS["aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"] = _of_bucket(
    "put_bucket_encryption",
    "get_bucket_encryption",
    "delete_bucket_encryption",
    lambda values: {
        "ServerSideEncryptionConfiguration": {
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {
                        "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
                    }
                }
                for rule in values["rules"]
            ]
        }
    },
)
KINDS["aws:s3/bucketVersioning:BucketVersioning"] = _of_bucket(
    "put_bucket_versioning",
    "get_bucket_versioning",
    None,
    lambda values: {"VersioningConfiguration": pascal(values["versioningConfiguration"])},
)
KINDS["aws:s3/bucketCorsConfiguration:BucketCorsConfiguration"] = _of_bucket(
    "put_bucket_cors",
    "get_bucket_cors",
    "delete_bucket_cors",
    lambda values: {"CORSConfiguration": {"CORSRules": pascal(values["corsRules"])}},
)
KINDS["aws:s3/bucketPolicy:BucketPolicy"] = _of_bucket(
    "put_bucket_policy",
    "get_bucket_policy",
    "delete_bucket_policy",
    lambda values: {"Policy": values["policy"]},
    lambda answer: {"policy": answer["Policy"]},
)


def _rules(values: Values) -> list[Values]:
    rules = []
    for rule in values["rules"]:
        made: Values = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": rule["filter"]["prefix"]}}
        if "expiration" in rule:
            made["Expiration"] = pascal(rule["expiration"])
        if "abortIncompleteMultipartUpload" in rule:
            made["AbortIncompleteMultipartUpload"] = pascal(rule["abortIncompleteMultipartUpload"])
        if "noncurrentVersionExpiration" in rule:
            made["NoncurrentVersionExpiration"] = pascal(rule["noncurrentVersionExpiration"])
        rules.append(made)
    return rules


KINDS["aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"] = _of_bucket(
    "put_bucket_lifecycle_configuration",
    "get_bucket_lifecycle_configuration",
    "delete_bucket_lifecycle",
    lambda values: {"LifecycleConfiguration": {"Rules": _rules(values)}},
)


def _repository_create(aws: Aws, values: Values) -> tuple[str, Values]:
    made = aws.client("ecr").create_repository(
        repositoryName=values["name"].lower(),
        imageTagMutability=values["imageTagMutability"],
        imageScanningConfiguration=values["imageScanningConfiguration"],
        encryptionConfiguration=values["encryptionConfigurations"][0],
        tags=tag_list(values),
    )["repository"]
    told = {"arn": made["repositoryArn"], "repositoryUrl": made["repositoryUri"], "registryId": made["registryId"]}
    return made["repositoryName"], told


def _repository_update(aws: Aws, name: str, values: Values) -> Values:
    aws.client("ecr").tag_resource(resourceArn=values["arn"], tags=tag_list(values))
    return {}


def _repository_read(aws: Aws, name: str, values: Values) -> Values | None:
    [found] = aws.client("ecr").describe_repositories(repositoryNames=[name])["repositories"]
    return {"imageTagMutability": found["imageTagMutability"]}


KINDS["aws:ecr/repository:Repository"] = Kind(
    _repository_create,
    lambda aws, id_, values: aws.client("ecr").delete_repository(
        repositoryName=id_, force=bool(values.get("forceDelete"))
    ),
    _repository_read,
    _repository_update,
    named="name",
    fixed=frozenset({"name", "encryptionConfigurations"}),
)


def _put_lifecycle(aws: Aws, values: Values) -> str:
    name = values["repository"]
    aws.client("ecr").put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=values["policy"])
    return str(name)


KINDS["aws:ecr/lifecyclePolicy:LifecyclePolicy"] = of_put(
    _put_lifecycle,
    lambda aws, values: aws.client("ecr").get_lifecycle_policy(repositoryName=values["repository"]) and None,
    lambda aws, values: aws.client("ecr").delete_lifecycle_policy(repositoryName=values["repository"]),
    fixed=("repository",),
)


def _secret_create(aws: Aws, values: Values) -> tuple[str, Values]:
    arn = aws.client("secretsmanager").create_secret(
        Name=values["name"], Description=values.get("description", ""), Tags=tag_list(values)
    )["ARN"]
    return arn, {"arn": arn}


def _secret_update(aws: Aws, arn: str, values: Values) -> Values:
    aws.client("secretsmanager").update_secret(SecretId=arn, Description=values.get("description", ""))
    aws.client("secretsmanager").tag_resource(SecretId=arn, Tags=tag_list(values))
    return {}


def _secret_read(aws: Aws, arn: str, values: Values) -> Values | None:
    found = aws.client("secretsmanager").describe_secret(SecretId=arn)
    return None if "DeletedDate" in found else {}


KINDS["aws:secretsmanager/secret:Secret"] = Kind(
    _secret_create,
    lambda aws, id_, values: aws.client("secretsmanager").delete_secret(
        SecretId=id_, RecoveryWindowInDays=int(values["recoveryWindowInDays"])
    ),
    _secret_read,
    _secret_update,
    named="name",
    fixed=frozenset({"name"}),
)


def _version_create(aws: Aws, values: Values) -> tuple[str, Values]:
    json.loads(values["secretString"])
    made = aws.client("secretsmanager").put_secret_value(
        SecretId=values["secretId"], SecretString=values["secretString"]
    )
    return f"{values['secretId']}|{made['VersionId']}", {"versionId": made["VersionId"], "arn": made["ARN"]}


def _version_read(aws: Aws, id_: str, values: Values) -> Values | None:
    aws.client("secretsmanager").get_secret_value(SecretId=values["secretId"], VersionId=values["versionId"])
    return {}


KINDS["aws:secretsmanager/secretVersion:SecretVersion"] = Kind(
    _version_create, lambda aws, id_, values: None, _version_read
)


def _put_parameter(aws: Aws, values: Values) -> str:
    aws.client("ssm").put_parameter(Name=values["name"], Value=values["value"], Type=values["type"], Overwrite=True)
    return str(values["name"])


KINDS["aws:ssm/parameter:Parameter"] = of_put(
    _put_parameter,
    lambda aws, values: {
        "__observed": True,
        "value": aws.client("ssm").get_parameter(Name=values["name"])["Parameter"]["Value"],
    },
    lambda aws, values: aws.client("ssm").delete_parameter(Name=values["name"]),
    fixed=("name",),
)
