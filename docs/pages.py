"""Pages of the site whose text stands elsewhere in the repository; `mkdocs.yml` names this hook."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
TEXTS = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "how/fast.md": "embedkit/fast_model/README.md",
    "how/model.md": "embedkit/default_model/README.md",
    "results.md": "benchmarks/RESULTS.md",
    "security.md": "SECURITY.md",
}
LINKS = {
    "../docs/": "",
    "../embedkit/default_model/README.md": "how/model.md",
    "../embedkit/fast_model/README.md": "how/fast.md",
    "SECURITY.md": "security.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them."""
    for page, source in TEXTS.items():
        files.append(File.generated(config, page, content=_read(ROOT / source)))
    return files


def _read(path: Path) -> str:
    """Its text without front matter; links lead to pages, or are text where there is no page."""
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(), flags=re.DOTALL)
    for there, here in LINKS.items():
        text = text.replace(f"]({there}", f"]({here}")
    return re.sub(r"\[([^\]]+)\]\((LICENSE|CODE_OF_CONDUCT\.md)\)", r"\1 (`\2`)", text)
