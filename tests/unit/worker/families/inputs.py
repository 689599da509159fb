"""Pictures that jobs begin from, as data URIs."""

import base64
import io

from PIL import Image


def data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def plain(colour: str, size: tuple[int, int] = (96, 64)) -> str:
    return data_uri(Image.new("RGB", size, colour))


def mask(left: int, right: int, size: tuple[int, int] = (96, 64)) -> str:
    """White from one column to another, black elsewhere."""
    picture = Image.new("RGB", size, "black")
    picture.paste("white", (left, 0, right, size[1]))
    return data_uri(picture)


RED, BLUE = plain("red"), plain("blue")
LEFT_HALF, RIGHT_HALF = mask(0, 48), mask(48, 96)
