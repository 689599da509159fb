"""A model hub with Hugging Face's routes: what is asked, what the answers mean, and which files a pipeline needs.

Nothing here sends anything: the resources ask in threads and for gigabytes, the gateway asks on its loop and for
kilobytes, and both do it by this one protocol. Imports the contract and nothing else of the product.
"""

HF_ENDPOINT = "https://huggingface.co"
