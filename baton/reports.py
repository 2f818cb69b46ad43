"""What an executed notebook looks like as a page; `pipeline.yaml` names one of these for each of its tasks."""

import re

from jinja2 import BytecodeCache
from nbconvert.exporters import HTMLExporter, TemplateExporter
from nbconvert.filters import Highlight2HTML


class _Compiled(BytecodeCache):
    """The templates that a process has compiled: to do that takes as long as to fill them in."""

    def __init__(self):
        self.kept = {}

    def load_bytecode(self, bucket):
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket):
        self.kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = _Compiled()


class Report(HTMLExporter):
    """The notebook as a page that opens without fetching scripts from anywhere; none is needed to read it.

    The cell of parameters, with this machine's paths, is in the notebook beside it alone.
    """

    @property
    def default_config(self):
        settings = super().default_config
        settings.HTMLExporter.update(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
        settings.TagRemovePreprocessor.update(enabled=True, remove_cell_tags=["parameters", "injected-parameters"])
        return settings

    def default_filters(self):
        """Without sanitizing code that was escaped when it was coloured, which takes as long as all the rest."""
        yield from super().default_filters()
        yield "highlight_code", Highlight2HTML(pygments_lexer="python", parent=self)
        yield "clean_html", lambda escaped: escaped

    def from_notebook_node(self, notebook, resources=None, **options):
        """Fill in the template alone: nbconvert then parses the whole page for the attribute that is added here.

        It makes wide tables scroll with the keys.
        """
        page, resources = TemplateExporter.from_notebook_node(self, notebook, resources, **options)
        return re.sub('(?=class="jp-(Cell-inputWrapper|OutputArea-output))', 'tabindex="0" ', page), resources

    def _create_environment(self):
        environment = super()._create_environment()
        environment.bytecode_cache = COMPILED
        return environment


class Page(Report):
    """For readers: text, figures and tables. The code is in the notebook beside the page."""

    @property
    def default_config(self):
        settings = super().default_config
        settings.HTMLExporter.update(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
        return settings
