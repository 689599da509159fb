"""Layer 2: Runpod and S3 things as Pulumi dynamic resources."""
