"""Container settings in one place, and an endpoint that copies them when it is made."""

import pulumi

from pulumi_visgate import Endpoint, Template

settings = Template("settings", image="ghcr.io/acme/captions:1", env={"LANGUAGE": "en"}, container_disk_gb=30)
captions = Endpoint("captions", template_id=settings.id, gpu_pools=["ADA_24"], env={"BATCH": "8"})
pulumi.export("captions", captions.id)
