"""A page of a report as tests read it."""

import html.parser


class Page(html.parser.HTMLParser):
    """Text, tags and their attributes of a page; fails if tags are not closed in their order."""

    VOID = frozenset(["img", "line", "link", "meta", "polyline"])

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open, self.found, self.said = [], [], []
        self.feed(self.source)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.said.append(data)

    def all(self, tag):
        """The attributes of every tag of a kind, dicts."""
        return [attributes for name, attributes in self.found if name == tag]
