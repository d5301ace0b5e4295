"""The built site, checked without the net: ``python docs/parts/check.py build/site``.

Every link within the site leads to a file and to a place in it; nothing is loaded from elsewhere;
every picture and frame has a text alternative; every page has a language and a title; no
page is larger than 3 MB. What is wrong is listed, and the exit status says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGEST = 3e6  # bytes of a page
LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
ELSEWHERE = ("http", "https", "mailto")


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to by."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.wrong: list[str] = []
        self.has_title = self.has_language = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.has_title |= tag == "title"
        self.has_language |= tag == "html" and bool(found.get("lang"))
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif found.get(LOADS.get(tag, "")) and found.get("rel") not in ("canonical", "me"):
            self.loads.append(found[LOADS[tag]])
        hidden = found.get("aria-hidden") == "true"
        if tag == "img" and "alt" not in found and not hidden:
            self.wrong.append(f"a picture without a text alternative: {found.get('src', '')[:60]}")
        if tag == "iframe" and not found.get("title"):
            self.wrong.append(f"a frame without a title: {found.get('src')}")
        if found.get("role") == "img" and not found.get("aria-label"):
            self.wrong.append("a figure (role img) without a label")


def problems(site: Path) -> Iterator[str]:
    """One sentence for everything that is wrong."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: {what}" for what in page.wrong)
        if path.stat().st_size > LARGEST:
            yield f"{name}: {path.stat().st_size / 1e6:.1f} MB"
        if not (page.has_title and page.has_language):
            yield f"{name}: no title, or no language"
        for target in page.loads:
            if urlsplit(target).scheme in ELSEWHERE or target.startswith("//"):
                yield f"{name}: loads {target} from elsewhere"
        for target in page.links + page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not aim.is_file() and not (aim / "index.html").is_file():
                yield f"{name}: '{target}' leads nowhere"
            place = unquote(parts.fragment)
            if aim in pages and place not in {"", "top"} | pages[aim].places:
                yield f"{name}: '{target}' leads to no place in that page"


def main(folder: str) -> int:
    """Print what is wrong, or how large the site is."""
    site = Path(folder).resolve()
    found = list(problems(site))
    for sentence in found:
        print(sentence, file=sys.stderr)
    files = [path for path in site.rglob("*") if path.is_file()]
    pages = [path for path in files if path.suffix == ".html"]
    if not pages:
        print(f"{folder} holds no page.", file=sys.stderr)
        return 1
    largest = max(pages, key=lambda path: path.stat().st_size)
    print(
        f"{len(pages)} pages, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB in all; "
        f"the largest page is {largest.relative_to(site)}, {largest.stat().st_size / 1e6:.1f} MB"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
