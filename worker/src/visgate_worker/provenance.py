"""What made a picture or clip: written into the file, where everyone finds it, and into the job's signed receipt.

Only what decides how it looks is written into files, so that the same request makes the same bytes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any
from xml.sax.saxutils import escape

from visgate_contract.tasks import TaskInput

NAMESPACE = "https://github.com/visgate-dev/pulumi-visgate/ns/1.0/"
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for pictures that a trained model has made."""

# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEFT_OUT = {"image", "mask", "embed_metadata", "num_images", "safety", "task", "seed"}
"""Addresses of pictures can hold secrets; the others are said elsewhere, or do not decide how a picture looks."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made one picture or clip.

    Args:
        model_id: Hub id of the model.
        revision: Its commit, or what was asked for; None where neither is known.
        task: What the model was asked for.
        parameters: How it was asked.
        seed: The picture's own.
    """

    model_id: str
    revision: str | None
    task: str
    parameters: Mapping[str, Any]
    seed: int | None = None

    @classmethod
    def of(cls, params: TaskInput, *, model_id: str, revision: str | None) -> "Provenance":
        """Return what is known of a job's pictures before they are made."""
        given = params.model_dump(mode="json", exclude=_LEFT_OUT, exclude_none=True, exclude_defaults=True)
        given["prompt"] = params.prompt
        for lora in given.get("loras", ()):
            lora["path"] = lora["path"].partition("?")[0]  # a query can hold a signature
        return cls(model_id, revision, params.task.value, given)

    def with_details(self, *, seed: int, **parameters: Any) -> "Provenance":
        """Return that of one picture, with what was decided for it."""
        return replace(self, seed=seed, parameters={**self.parameters, **parameters})

    def summary(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        said = {"model": self.model_id, "revision": self.revision, "task": self.task, "seed": self.seed}
        known = {name: value for name, value in said.items() if value is not None}
        return {"software": software(), **known, "parameters": dict(self.parameters)}

    def text(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(self.summary(), ensure_ascii=False, sort_keys=True)


def software() -> str:
    """Return this worker's name and version."""
    return f"visgate-worker {version('visgate-worker')}"


def xmp(text: str | None) -> bytes:
    """Return an XMP packet (ISO 16684-1): that a model has made the picture, and what it was asked.

    Args:
        text: A provenance's; only the first is said when it is left out.
    """
    said = {} if text is None else {name: value for name, value in json.loads(text).items() if name != "software"}
    own = "".join(f"<visgate:{name}>{_xml(value)}</visgate:{name}>" for name, value in said.items())
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:visgate="{NAMESPACE}">'
        f"<xmp:CreatorTool>{software()}</xmp:CreatorTool>"
        f"<Iptc4xmpExt:DigitalSourceType>{GENERATED}</Iptc4xmpExt:DigitalSourceType>"
        f"{own}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )
    return packet.encode()


def _xml(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return escape(_NOT_XML.sub("\ufffd", text))
