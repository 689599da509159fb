"""A model from a folder, put on the volume that the workers mount."""

import pulumi

from pulumi_visgate import ModelCache, NetworkVolume

models = NetworkVolume("models", size_gb=50, data_center="EU-RO-1")
tiny = ModelCache("tiny", model_id="acme/tiny", source="models/tiny", volume_id=models.id, data_center="EU-RO-1")
pulumi.export("digest", tiny.digest)
