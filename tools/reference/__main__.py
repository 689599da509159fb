"""`python -m tools.reference` writes the pages of `docs/resources` and that of the model families anew."""

from tools.reference import families
from tools.reference.pages import FOLDER, pages


def main() -> None:
    """Write every page, and remove those of resources that are no more."""
    texts = pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in set(FOLDER.glob("*.md")) - {FOLDER / name for name in texts}:
        old.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    families.PAGE.write_text(families.page(), encoding="utf-8")


main()
