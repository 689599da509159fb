"""Pictures that everyone with the link may see, also from a web page."""

import pulumi

from pulumi_visgate import Bucket

pictures = Bucket("pictures", public_read=True)
pulumi.export("pictures", pictures.name)
