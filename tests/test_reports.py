"""What an executed notebook looks like as a page."""

import nbformat
import pytest

from baton import reports

CELLS = [
    nbformat.v4.new_markdown_cell("# A title"),
    nbformat.v4.new_code_cell("folder = '/a/path/of/this/machine'", metadata={"tags": ["injected-parameters"]}),
    nbformat.v4.new_code_cell("shown + 1", outputs=[nbformat.v4.new_output("stream", text="an answer")]),
]


@pytest.mark.parametrize(("page", "code"), [(reports.Report, True), (reports.Page, False)])
def test_a_report_shows_all_but_the_parameters_and_fetches_nothing_and_a_page_no_code(page, code):
    for _ in range(2):  # from the compiled templates, too
        made, _ = page().from_notebook_node(nbformat.v4.new_notebook(cells=CELLS))
        assert ("A title" in made, "an answer" in made, ">shown<" in made) == (True, True, code)
        assert ("/a/path/of/this/machine" in made, '<script src="h' in made, "@import" in made) == (False,) * 3
